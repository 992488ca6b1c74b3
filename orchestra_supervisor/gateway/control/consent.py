"""What an agent may not do by itself: end what carries it, or touch what is protected unasked.

A client that can ask its user is asked to, in the way of its era; its answer counts, and nothing that the
model says in its place. Where the client cannot, the model has to name the services in `confirm`.

Source: MCP 2025-11-25, `client/elicitation`; 2026-07-28, `basic/patterns/input_required`.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import cast

from orchestra_supervisor.gateway.control.fields import flag, member, text, texts
from orchestra_supervisor.gateway.control.seal import BadSeal, Sealer
from orchestra_supervisor.gateway.control.tool import Call
from orchestra_supervisor.gateway.control.trouble import NeedsInput, ToolTrouble
from orchestra_supervisor.gateway.endpoint import AskRefused, Caller, Era
from orchestra_supervisor.gateway.messages import Json, RpcError

__all__ = ["GATEWAY", "Consent", "check_own", "with_dependents"]

GATEWAY = "@gateway"
"""The service that carries every caller of this endpoint."""
_QUESTION = "confirm"


def check_own(verb: str, names: Collection[str]) -> None:
    """Refuse what would end the caller's own connection.

    Raises:
        ToolTrouble: It would.
    """
    if GATEWAY in names:
        raise ToolTrouble(
            f"{verb} of {GATEWAY} would cut the connection that you are asking through; nothing was done",
            f"leave it out; a person does it at a terminal: orchestra {verb} {GATEWAY}",
            code="conflict",
        )


def with_dependents(names: Iterable[str], services: Iterable[Mapping[str, object]]) -> list[str]:
    """Return services and all that depend on them, directly or not, in the order in which they are found."""
    dependents: dict[str, list[str]] = {}
    for row in services:
        for needed in texts(row, "depends_on"):
            dependents.setdefault(needed, []).append(text(row, "name"))
    found = list(dict.fromkeys(names))
    seen = set(found)
    for one in found:  # grows meanwhile
        for name in dependents.get(one, ()):
            if name not in seen:
                seen.add(name)
                found.append(name)
    return found


class Consent:
    """Gets the word of the user.

    Args:
        sealer: Seals what stateless clients carry.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def get(self, call: Call, deed: str, protected: list[str]) -> str:
        """Return how the deed was allowed: `not protected`, `user`, `confirm argument`.

        Args:
            call: The call.
            deed: What would be done, as a question can say it: `stop web`.
            protected: The protected services among those concerned.

        Raises:
            ToolTrouble: It was not allowed.
            NeedsInput: The client is to ask, and to come again.
        """
        if not protected:
            return "not protected"
        names, caller = ", ".join(protected), call.exchange.caller
        question = f"{_be(protected)} protected. Really {deed}?"
        if _can_ask(caller):
            if caller.era is Era.STATELESS:
                self._stateless(call, f"{names} {question}")
                return "user"
            try:
                answer = await call.exchange.ask("elicitation/create", _form(f"{names} {question}"))
            except (AskRefused, RpcError):
                pass  # it says that it can, and cannot: as one that does not say so
            else:
                _judge(answer, deed)
                return "user"
        self._by_argument(call, deed, protected)
        return "confirm argument"

    def _stateless(self, call: Call, question: str) -> None:
        # The question belongs to it: the fleet or its files may be others by the time of the answer.
        principal, subject = call.exchange.caller.principal, [call.params.get("arguments"), question]
        responses = member(call.params, "inputResponses")
        if _QUESTION in responses and "requestState" in call.params:
            try:
                self._sealer.open(call.params["requestState"], principal, call.tool, subject)
            except BadSeal as error:
                raise ToolTrouble(
                    f"the confirmation does not hold: {error}",
                    "call the tool again without it: the user is asked anew",
                ) from error
            _judge(member(responses, _QUESTION), question)
            return
        raise NeedsInput(
            {
                "resultType": "input_required",
                "inputRequests": {
                    _QUESTION: {
                        "method": "elicitation/create",
                        "params": {"mode": "form", **_form(question)},
                    }
                },
                "requestState": self._sealer.seal(principal, call.tool, subject),
            }
        )

    @staticmethod
    def _by_argument(call: Call, deed: str, protected: list[str]) -> None:
        named = {one.strip() for one in text(call.arguments, "confirm").split(",") if one.strip()}
        missing = [name for name in protected if name not in named]
        if missing:
            raise ToolTrouble(
                f"{', '.join(missing)} {_be(missing)} protected, and your client cannot ask: not done",
                f"ask the user whether to {deed}; if so, call again with confirm: {','.join(protected)!r}",
                code="denied",
            )


def _be(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _can_ask(caller: Caller) -> bool:
    able = caller.capabilities.get("elicitation")
    if not isinstance(able, dict):
        return False
    modes = cast("Json", able)
    return not modes or "form" in modes  # none named: forms, as before there were others


def _form(question: str) -> Json:
    yes: Json = {"type": "boolean", "title": "Yes, do it", "default": False}
    schema: Json = {"type": "object", "properties": {_QUESTION: yes}, "required": [_QUESTION]}
    return {"message": question, "requestedSchema": schema}


def _judge(answer: Mapping[str, object], deed: str) -> None:
    action = text(answer, "action")
    if action == "accept" and flag(member(answer, "content"), _QUESTION):
        return
    said = "declined" if action in {"accept", "decline"} else "closed the question without an answer"
    raise ToolTrouble(
        f"the user {said}: {deed}", "nothing was done; do not try again unless the user asks for it"
    )
