"""What a server lists: asked for again in parts, without forgetting what is known of the other parts."""

from collections.abc import Sequence

import pytest

from orchestra_supervisor.gateway.backends.introduction import Introduction
from orchestra_supervisor.gateway.backends.link import LinkError, Trouble
from orchestra_supervisor.gateway.backends.lister import Lister
from orchestra_supervisor.gateway.backends.listing import Lists
from orchestra_supervisor.gateway.endpoint import ChangeKind, Era
from orchestra_supervisor.gateway.messages import Json

pytestmark = pytest.mark.anyio

INTRODUCTION = Introduction(Era.HANDSHAKE, "2025-11-25", {"tools": {}, "prompts": {}})
ALL: frozenset[ChangeKind] = frozenset()
PROMPTS = frozenset({ChangeKind.PROMPTS})


class Answered:
    """A call with its answer."""

    id = "o1-1"

    def __init__(self, answer: Json) -> None:
        self._answer = answer

    async def next(self) -> Json:
        return self._answer

    async def answer(self, message: Json) -> None:
        pass

    def drop(self, reason: str = "") -> None:
        pass


class Server:
    """Is a link to itself, and keeps what is listed of it."""

    def __init__(self, **answers: Json) -> None:
        self.answers = answers
        self.lists = Lists()

    def speak(self, era: Era, version: str) -> None:
        pass

    async def begin(
        self,
        method: str,
        params: Json,
        *,
        has_progress: bool = False,
        headers: Sequence[tuple[str, str]] = (),
        is_attended: bool = False,
    ) -> Answered:
        return Answered(self.answers[method.partition("/")[0]])

    async def notify(self, method: str, params: Json) -> None:
        pass

    async def respond(self, message: Json) -> None:
        pass

    async def run(self) -> LinkError:
        return LinkError(Trouble.LOST, "over")

    def listed(self, lists: Lists, introduction: Introduction) -> None:
        self.lists = lists

    def updated(self, uri: str) -> None:
        pass

    def lists_before(self) -> Lists:
        return self.lists


async def ask(lister: Lister, server: Server, kinds: frozenset[ChangeKind]) -> None:
    lists = await lister.fetch(server, INTRODUCTION, kinds)
    lister.publish(lists, INTRODUCTION, kinds)


def tools(*names: str) -> Json:
    return {"result": {"tools": [{"name": name} for name in names]}}


def prompts(*names: str) -> Json:
    return {"result": {"prompts": [{"name": name} for name in names]}}


async def test_other_prompts_say_nothing_of_tools_that_are_missed() -> None:
    server = Server(tools=tools("a"), prompts=prompts())
    lister = Lister(server, is_idle=False)
    await ask(lister, server, ALL)
    server.answers |= {"tools": tools(), "prompts": prompts("p")}
    await ask(lister, server, ALL)
    assert (lister.shrunk, lister.doubt) == (1, 5.0)
    await ask(lister, server, PROMPTS)
    assert (lister.shrunk, lister.doubt) == (1, 5.0)
    for _ in range(2):
        lister.doubted()
        await ask(lister, server, ALL)
    assert (lister.shrunk, lister.doubt, server.lists.tools) == (0, None, ())


async def test_a_list_that_could_not_be_had_is_a_fault_until_it_is_had() -> None:
    server = Server(tools={"error": {"code": -32603, "message": "no"}}, prompts=prompts())
    lister = Lister(server, is_idle=False)
    await ask(lister, server, ALL)
    assert lister.faults == ("tools/list: no",)
    await ask(lister, server, PROMPTS)
    assert lister.faults == ("tools/list: no",)
    server.answers["tools"] = tools("a")
    await ask(lister, server, frozenset({ChangeKind.TOOLS}))
    assert lister.faults == ()
