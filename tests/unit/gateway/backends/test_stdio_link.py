"""A link over two pipes: whatever a server says, calls end as they should and nothing breaks."""

import json
import os
import signal
from collections.abc import AsyncIterator

import anyio
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from orchestra_supervisor.gateway.backends.channel import Pipes
from orchestra_supervisor.gateway.backends.framing import Noise
from orchestra_supervisor.gateway.backends.link import LinkError, Trouble
from orchestra_supervisor.gateway.backends.stdio_link import StdioLink
from orchestra_supervisor.gateway.messages import Json

pytestmark = pytest.mark.anyio


class Far:
    """The server's ends of the pipes."""

    def __init__(self) -> None:
        self.stdin, ours_in = os.pipe()
        ours_out, self.stdout = os.pipe()
        self.pipes = Pipes("s", "s-1", ours_in, ours_out)
        self.stray: list[Json] = []
        self.noise = Noise()
        self.is_open = True

    def link(self, *, is_used: bool = False) -> StdioLink:
        return StdioLink(self.pipes, self.stray.append, self.noise, is_used=is_used)

    def say(self, message: object) -> None:
        os.write(self.stdout, json.dumps(message).encode() + b"\n")

    def heard(self) -> list[Json]:
        return [json.loads(line) for line in os.read(self.stdin, 65536).splitlines() if line]

    def end(self) -> None:
        if self.is_open:
            self.is_open = False
            os.close(self.stdin)
            os.close(self.stdout)


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    far = Far()
    yield far
    far.end()
    far.pipes.close()


async def test_calls_are_told_apart_and_late_answers_dropped(far: Far) -> None:
    link = far.link()
    async with anyio.create_task_group() as group:
        group.start_soon(link.run)
        first = await link.begin("a", {}, has_progress=True)
        second = await link.begin("b", {"x": 1})
        sent = far.heard()
        assert [(m["id"], m["method"]) for m in sent] == [(first.id, "a"), (second.id, "b")]
        assert sent[0]["params"] == {"_meta": {"progressToken": first.id}}
        far.say({"id": "o-of-an-earlier-life-3", "result": {}})
        far.say({"method": "notifications/progress", "params": {"progressToken": first.id, "progress": 1}})
        far.say({"id": second.id, "result": {"n": 2}})
        far.say({"id": first.id, "result": {"n": 1}})
        with anyio.fail_after(5):
            assert (await second.next())["result"] == {"n": 2}
            assert (await first.next())["method"] == "notifications/progress"
            assert (await first.next())["result"] == {"n": 1}
        assert far.noise == Noise(unknown_ids=1)
        group.cancel_scope.cancel()


async def test_used_pipes_get_a_line_end_first_and_fresh_ones_do_not(far: Far) -> None:
    await far.link().begin("a", {})
    await far.link(is_used=True).begin("b", {})
    lines = os.read(far.stdin, 65536).split(b"\n")
    assert [bool(line) for line in lines] == [True, False, True, False]


async def test_the_last_words_of_a_server_that_ended_are_heard(far: Far) -> None:
    link = far.link()
    found: list[LinkError] = []
    async with anyio.create_task_group() as group:

        async def run() -> None:
            found.append(await link.run())

        group.start_soon(run)
        answered, lost = await link.begin("a", {}), await link.begin("b", {})
        far.say({"id": answered.id, "result": {"last": True}})
        far.pipes.end()
        with anyio.fail_after(5):
            assert (await answered.next())["result"] == {"last": True}
            with pytest.raises(LinkError, match="its process ended"):
                await lost.next()
        with pytest.raises(LinkError) as caught:
            await link.begin("c", {})
    assert (caught.value.was_sent, found[0].trouble) == (False, Trouble.LOST)
    assert not far.pipes.is_open


async def test_a_server_that_does_not_read_is_refused_more_in_the_end(far: Far) -> None:
    link = far.link()
    for _ in range(16):
        await link.begin("a", {"x": "x" * 1_000_000})
    with pytest.raises(LinkError, match="it does not read its stdin") as caught:
        await link.begin("a", {"x": "x" * 1_000_000})
    assert caught.value.trouble is Trouble.BUSY


async def test_pipes_that_cannot_be_written_are_free_for_the_next_link(far: Far) -> None:
    os.close(far.stdin)
    far.stdin = os.open(os.devnull, os.O_RDONLY)  # the fixture closes it
    with pytest.raises(LinkError, match="its stdin is closed"):
        far.link(is_used=True)
    with anyio.fail_after(5):
        await far.pipes.wait_free()


async def test_a_flood_of_whoever_is_left_does_not_keep_a_server_that_ended(far: Far) -> None:
    flood = await anyio.open_process("yes | head -c 12000000", stdout=far.stdout)
    async with flood:
        os.close(far.stdout)
        far.stdout = os.open(os.devnull, os.O_WRONLY)  # the fixture closes it
        link = far.link()
        await anyio.wait_readable(far.pipes.stdout)
        far.pipes.end()
        await link.run()
        await flood.wait()
    assert flood.returncode == 128 + signal.SIGPIPE, "it was heard until it had nothing more to say"


async def test_what_a_server_says_for_a_call_that_nobody_reads_is_bounded(far: Far) -> None:
    link, count = far.link(), 3_000
    call = await link.begin("a", {}, is_attended=True)
    for number in range(count):
        link._take(b'{"id": "q%d", "method": "roots/list", "params": {}}\n' % number)
    assert len(far.stray) == count - 1_000, "those for which there is no room are refused"
    for _ in range(count):
        link._take(b'{"id": "%s", "result": {}}\n' % call.id.encode())
    assert far.noise.unknown_ids == count - 1, "one answer is the answer"
    messages = [await call.next()]
    while "method" in messages[-1]:
        messages.append(await call.next())
    assert len(messages) == 1_001


async def test_pipes_that_are_closed_between_two_looks_are_at_their_end(far: Far) -> None:
    link = far.link()
    far.pipes.close()
    with anyio.fail_after(5):
        assert (await link._read()).trouble is Trouble.LOST


ids = st.none() | st.text(max_size=3) | st.integers() | st.lists(st.integers(), max_size=1)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
values = st.recursive(scalars, lambda v: st.dictionaries(st.text(max_size=3), v, max_size=2), max_leaves=4)
methods = st.sampled_from(
    ["ping", "notifications/progress", "notifications/message", "notifications/cancelled", "roots/list", "x"]
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "id": ids,
        "method": methods | values,
        "params": values
        | st.fixed_dictionaries({}, optional={"requestId": ids, "progressToken": ids, "_meta": values}),
        "result": values,
        "error": values,
    },
)


@given(st.lists(messages, max_size=12))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_no_message_breaks_a_link(said: list[Json]) -> None:
    far = Far()
    link = far.link()
    async with anyio.create_task_group() as group:
        group.start_soon(link.run)
        calls = [await link.begin("a", {}, is_attended=True) for _ in range(2)]
        for message in said:
            far.say(message)
        far.say({"id": calls[0].id, "result": {"end": True}})
        with anyio.fail_after(5):
            while (await calls[0].next()).get("result") != {"end": True}:
                pass
        group.cancel_scope.cancel()
    far.end()
    far.pipes.close()
