"""Calls that come again: each goes on where it was, for its own client alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestra_supervisor.gateway.backends.backend import Backend
from orchestra_supervisor.gateway.backends.callbacks import Callbacks
from orchestra_supervisor.gateway.backends.channel import StdioChannel
from orchestra_supervisor.gateway.backends.link import LinkError, Trouble
from orchestra_supervisor.gateway.backends.listing import Lists
from orchestra_supervisor.gateway.backends.memory import EraMemory
from orchestra_supervisor.gateway.backends.parking import fingerprint
from orchestra_supervisor.gateway.backends.spec import BackendSpec, Sharing
from orchestra_supervisor.gateway.backends.surroundings import Surroundings
from orchestra_supervisor.gateway.backends.visit import Visit
from orchestra_supervisor.gateway.endpoint import AskRefused, Caller, Era, Role
from orchestra_supervisor.gateway.messages import Json, RpcError

pytestmark = pytest.mark.anyio

QUESTION: Json = {"resultType": "input_required", "requestState": "1"}


class Nobody:
    """Is told of lists and resources."""

    def listed(self, backend: Backend) -> None:
        pass

    def updated(self, backend: Backend, uri: str) -> None:
        pass


@dataclass
class Asking:
    """The request of a client."""

    caller: Caller
    meta: Mapping[str, object] = field(default_factory=dict[str, object])

    async def notify(self, method: str, params: Json) -> None:
        pass

    async def ask(self, method: str, params: Json) -> Json:
        raise AskRefused


def of(principal: str, *, session: str = "", era: Era = Era.STATELESS) -> Asking:
    return Asking(
        Caller(
            principal,
            Role.OPERATOR,
            era,
            "2026-07-28",
            capabilities={"elicitation": {}},
            session=session,
        )
    )


def backend(home: Path, sharing: Sharing) -> Backend:
    spec = BackendSpec("s", is_stdio=True, service="s", members=("s", "s-2"), size=2, sharing=sharing)
    around = Surroundings(StdioChannel(None), EraMemory(home / "state.json"), Callbacks())
    return Backend(spec, around, Nobody(), Lists(), None)


class Parked:
    """A call that was put aside, whose server does not take the answer."""

    id = "o1-1"

    def __init__(self) -> None:
        self.dropped = False

    async def next(self) -> Json:
        raise AssertionError

    async def answer(self, message: Json) -> None:
        raise LinkError(Trouble.FAULT, "answers HTTP 503")

    def drop(self, reason: str = "") -> None:
        self.dropped = True


async def test_a_call_whose_answer_the_server_does_not_take_is_dropped(tmp_path: Path) -> None:
    calling = backend(tmp_path, Sharing.SHARED)._calling
    instance, call, ada = calling._chooser.seats[0].instance, Parked(), of("ada")
    params: Json = {"name": "t"}
    question: Json = {"id": 1, "method": "elicitation/create"}
    visit = Visit(instance)
    parked = calling._parking.park(call, question, ada.caller, fingerprint("tools/call", params), visit)
    assert parked is not None
    with pytest.raises(RpcError, match="answers HTTP 503"):
        await calling.make("tools/call", {**params, "requestState": parked["requestState"]}, ada)
    assert (call.dropped, instance.in_flight, calling.failures) == (True, 0, 1)


async def test_a_call_to_a_server_that_cannot_be_started_has_failed(tmp_path: Path) -> None:
    calling = backend(tmp_path, Sharing.SHARED)._calling
    with pytest.raises(RpcError, match="cannot be started"):
        await calling.make("tools/call", {"name": "t"}, of("ada"))
    assert (calling.count, calling.failures) == (1, 1)


async def test_a_call_that_comes_again_finds_the_instance_that_asked(tmp_path: Path) -> None:
    calling = backend(tmp_path, Sharing.POOL)._calling
    seats = calling._chooser.seats
    calling._bound(dict(QUESTION), seats[1], of("ada"))
    again: Json = {"requestState": "1"}
    assert await calling._seat_for(again, of("ada")) is seats[1]
    assert await calling._seat_for(again, of("ada")) is seats[0], "once"


async def test_what_a_server_gave_one_client_takes_no_other_to_its_instance(tmp_path: Path) -> None:
    calling = backend(tmp_path, Sharing.PER_CLIENT)._calling
    adas = await calling._seat_for({}, of("ada"))
    calling._bound(dict(QUESTION), adas, of("ada"))
    assert await calling._seat_for({"requestState": "1"}, of("bob")) is not adas
    assert await calling._seat_for({"requestState": "1"}, of("ada")) is adas


async def test_an_instance_that_is_somebody_elses_by_now_is_not_gone_back_to(tmp_path: Path) -> None:
    calling = backend(tmp_path, Sharing.PER_CLIENT)._calling
    adas = await calling._seat_for({}, of("ada"))
    calling._bound(dict(QUESTION), adas, of("ada"))
    adas.owner = "bob"
    assert await calling._seat_for({"requestState": "1"}, of("ada")) is not adas
