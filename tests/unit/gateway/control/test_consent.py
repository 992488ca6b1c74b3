"""The word of the user: it holds for what they were asked, and for nothing that came to it since."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from orchestra_supervisor.gateway.control.consent import Consent
from orchestra_supervisor.gateway.control.seal import Sealer
from orchestra_supervisor.gateway.control.tool import Call
from orchestra_supervisor.gateway.control.trouble import NeedsInput, ToolTrouble
from orchestra_supervisor.gateway.endpoint import AskRefused, Caller, Era, Role
from orchestra_supervisor.gateway.messages import Json

pytestmark = pytest.mark.anyio

YES: Json = {"confirm": {"action": "accept", "content": {"confirm": True}}}


@dataclass
class Asking:
    """A stateless client that can ask its user."""

    caller: Caller = field(
        default_factory=lambda: Caller(
            "alice", Role.ADMIN, Era.STATELESS, "2026-07-28", capabilities={"elicitation": {}}
        )
    )
    meta: Mapping[str, object] = field(default_factory=dict[str, object])

    async def notify(self, method: str, params: Json) -> None:
        pass

    async def ask(self, method: str, params: Json) -> Json:
        raise AskRefused


def call(**params: object) -> Call:
    return Call("config", {"action": "apply"}, {"arguments": {"action": "apply"}, **params}, Asking())


async def asked(consent: Consent, deed: str, protected: list[str]) -> Json:
    with pytest.raises(NeedsInput) as needs:
        await consent.get(call(), deed, protected)
    state = needs.value.result["requestState"]
    return {"requestState": state, "inputResponses": YES}


async def test_a_yes_holds_for_the_deed_that_it_was_asked_for() -> None:
    consent = Consent(Sealer(b"k" * 32, lambda: 1_000.0))
    again = await asked(consent, "apply the files, which ends web", ["web"])
    assert await consent.get(call(**again), "apply the files, which ends web", ["web"]) == "user"


@pytest.mark.parametrize(
    ("deed", "protected"),
    [
        ("apply the files, which ends web", ["web", "db"]),
        ("apply the files, which ends web, db", ["web"]),
    ],
)
async def test_a_yes_to_one_deed_is_none_to_what_has_become_of_it(deed: str, protected: list[str]) -> None:
    consent = Consent(Sealer(b"k" * 32, lambda: 1_000.0))
    again = await asked(consent, "apply the files, which ends web", ["web"])
    with pytest.raises(ToolTrouble, match="it was made for another call"):
        await consent.get(call(**again), deed, protected)
