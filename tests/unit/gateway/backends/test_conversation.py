"""A call in which the server asks: what it may ask of a client at a time."""

import anyio
import pytest

from orchestra_supervisor.gateway.backends.conversation import Conversation, Deadline
from orchestra_supervisor.gateway.messages import Json
from tests.unit.gateway.backends.test_calling import Asking, of

pytestmark = pytest.mark.anyio


class Curious:
    """A call of a server that asks and asks, and answers once enough was refused."""

    id = "o1-1"

    def __init__(self) -> None:
        self.asked = 0
        self.answers: list[Json] = []

    async def next(self) -> Json:
        if len(self.answers) >= 100:
            return {"id": self.id, "result": {"asked": self.asked}}
        self.asked += 1
        if self.asked > 10_000:
            await anyio.sleep_forever()
        return {"id": self.asked, "method": "elicitation/create", "params": {}}

    async def answer(self, message: Json) -> None:
        self.answers.append(message)

    def drop(self, reason: str = "") -> None:
        pass


class Slow(Asking):
    """A client whose user thinks."""

    async def ask(self, method: str, params: Json) -> Json:
        await anyio.sleep_forever()
        raise AssertionError


async def test_a_server_that_asks_without_end_is_refused_what_is_too_much() -> None:
    call, client = Curious(), Slow(of("ada").caller)
    with anyio.fail_after(10):
        result = await Conversation(call, client, Deadline(60), None).result()
    assert result == {"asked": 132}
    assert {str(answer["error"]) for answer in call.answers} == {
        "{'code': -32600, 'message': 'elicitation/create: 32 questions wait for the client already'}"
    }
