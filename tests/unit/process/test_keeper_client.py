"""The client over a real socketpair; the peer is a script that speaks frames."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.abc import SocketStream, UNIXSocketStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra_supervisor.model.equipment import HookSpec, LimitsSpec, SocketSpec
from orchestra_supervisor.model.errors import ConflictError, KeeperLost, OrchestraError
from orchestra_supervisor.model.log import LogSpec, RateLimitSpec, SinkSpec
from orchestra_supervisor.model.spec import RlimitSpec, StopSpec, StopStep
from orchestra_supervisor.process import keeper_client
from orchestra_supervisor.process.keeper_client import KeeperClient
from orchestra_supervisor.process.orders import (
    CommandNews,
    HeldRun,
    ListenRefused,
    LoggerNews,
    LogTarget,
    News,
    Pinged,
    ReloadAsked,
    ReplaceAsked,
    RoleNews,
    RunNews,
    ShutdownAsked,
    SlotCalled,
    SpawnOrder,
)
from orchestra_supervisor.rules.inputs import Exited, Gone, Notified, Spawned, SpawnRefused, Stuck
from orchestra_supervisor.wire.frames import VERSION, FrameDecoder, Message, encode_frame

pytestmark = pytest.mark.anyio

RUN = "web-0123456789ab"
WELCOME: Message = {
    "type": "welcome",
    "re": 1,
    "version": VERSION,
    "keeper_pid": 10,
    "logger_pid": 11,
    "started_wall": 5.0,
    "daemon_starts": 2,
    "shutdown": False,
}
END: Message = {"type": "snapshot_end"}
SPAWNED: Message = {
    "type": "spawned",
    "re": 9,
    "run": RUN,
    "pid": 42,
    "start_ticks": 7,
    "started_mono": 1.0,
    "started_wall": 2.0,
}
EXIT: Message = {
    "type": "exit",
    "run": RUN,
    "slot": "web",
    "pid": 42,
    "code": None,
    "signal": "SIGKILL",
    "core": False,
    "at_mono": 3.0,
    "at_wall": 4.0,
    "remaining": [43, 44],
}
GONE: Message = {
    "type": "gone",
    "run": RUN,
    "slot": "web",
    "at_mono": 5.0,
    "utime": 0,
    "stime": 0,
    "maxrss": 0,
}

TOLD: list[tuple[Message, News]] = [
    (SPAWNED, RunNews("web", Spawned(RUN, 42, 1.0, 2.0, 7))),
    (EXIT, RunNews("web", Exited(RUN, None, "SIGKILL", 3.0, 4.0, 2))),
    (GONE, RunNews("web", Gone(RUN))),
    ({**GONE, "next": "web-00000000000b"}, RunNews("web", Gone(RUN, "web-00000000000b"))),
    (
        {
            "type": "spawn_failed",
            "re": None,
            "run": RUN,
            "slot": "web",
            "stage": "exec",
            "errno": 2,
            "message": "no",
        },
        RunNews("web", SpawnRefused(RUN, "exec", 2, "no")),
    ),
    ({"type": "stop_stuck", "run": RUN, "slot": "web", "pids": [1, 2]}, RunNews("web", Stuck(RUN, (1, 2)))),
    ({"type": "shutdown", "hurry": False}, ShutdownAsked(hurry=False)),
    ({"type": "shutdown", "hurry": True}, ShutdownAsked(hurry=True)),
    ({"type": "reload"}, ReloadAsked()),
    ({"type": "replace"}, ReplaceAsked()),
    ({"type": "ping", "id": 3}, Pinged(3)),
    (
        {"type": "role", "role": "logger", "event": "exited", "pid": 11, "text": "killed by SIGKILL"},
        RoleNews("logger", "exited", 11, "killed by SIGKILL"),
    ),
    (
        {"type": "logger", "kind": "dropped", "path": "/l/web.log", "bytes": 5, "since_wall": 1.0},
        LoggerNews("dropped", "/l/web.log", {"bytes": 5, "since_wall": 1.0}),
    ),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Peer:
    """The keeper's end."""

    stream: SocketStream
    decoder: FrameDecoder = field(default_factory=FrameDecoder)
    got: list[Message] = field(default_factory=list[Message])

    async def send(self, *messages: Message) -> None:
        await self.stream.send(b"".join(encode_frame(message) for message in messages))

    async def next(self) -> Message:
        while not self.got:
            data = await self.stream.receive()
            self.got += [message for message, _ in self.decoder.feed(data)]
        return self.got.pop(0)

    async def greet(self, *between: Message, after: tuple[Message, ...] = ()) -> None:
        assert (await self.next())["type"] == "hello"
        await self.send(WELCOME, *between, END, *after)


@asynccontextmanager
async def connected() -> AsyncGenerator[tuple[KeeperClient, Peer]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    client = await KeeperClient.from_fd(ours.detach())
    peer = Peer(await UNIXSocketStream.from_socket(theirs))
    try:
        with anyio.fail_after(5):
            yield client, peer
    finally:
        with anyio.CancelScope(shield=True):
            await client.aclose()
            await peer.stream.aclose()


async def hear(client: KeeperClient, count: int) -> list[News]:
    """Return the next news; the generator is left open by a client that goes on listening."""
    heard: list[News] = []
    news = client.news()
    while len(heard) < count:
        heard.append(await anext(news))
    await news.aclose()  # type: ignore[attr-defined]  # an async generator
    return heard


async def test_the_greeting_brings_the_snapshot() -> None:
    live: Message = {
        "type": "run",
        "run": RUN,
        "slot": "web",
        "pid": 42,
        "start_ticks": 7,
        "started_mono": 1.0,
        "started_wall": 2.0,
        "phase": "live",
        "stopping": True,
    }
    ended = {**live, "run": "db-0123456789ab", "slot": "db", "phase": "gone", "code": 0, "signal": None}
    ended |= {"at_mono": 3.0, "at_wall": 4.0, "remaining": []}
    begins = {**live, "run": "new-0123456789ab", "slot": "new", "phase": "exec", "stopping": False}
    note: Message = {"type": "slot_note", "slot": "web", "note": {"state": "ready"}}
    async with connected() as (client, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(peer.greet, live, ended, begins, note)
        snapshot = await client.hello()
        assert (snapshot.keeper_pid, snapshot.logger_pid, snapshot.daemon_starts) == (10, 11, 2)
        assert (snapshot.shutdown, snapshot.notes) == (False, {"web": {"state": "ready"}})
        web, db, new = snapshot.runs
        assert web == HeldRun(RUN, "web", True, (Spawned(RUN, 42, 1.0, 2.0, 7),))
        assert [type(told) for told in db.told] == [Spawned, Exited, Gone]
        assert new.told == ()


async def test_events_between_the_parts_of_the_snapshot_are_news_afterwards() -> None:
    async with connected() as (client, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: peer.greet(EXIT, {"type": "reload"}))
        await client.hello()
        assert await hear(client, 2) == [TOLD[1][1], ReloadAsked()]


async def test_events_in_one_piece_with_the_end_of_the_snapshot_are_not_held_back() -> None:
    async with connected() as (client, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: peer.greet(after=(EXIT, GONE)))
        await client.hello()
        assert await hear(client, 2) == [TOLD[1][1], TOLD[2][1]]


@pytest.mark.parametrize(("message", "news"), TOLD)
async def test_every_message_becomes_the_news_it_is(message: Message, news: News) -> None:
    async with connected() as (client, peer):
        await peer.send(message)
        assert await hear(client, 1) == [news]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 40), max_size=30))
async def test_news_is_the_same_however_the_bytes_are_split(cuts: list[int]) -> None:
    data = b"".join(encode_frame(message) for message, _ in TOLD)
    async with connected() as (client, peer):

        async def trickle() -> None:
            start = 0
            for cut in (*cuts, len(data)):
                await peer.stream.send(data[start : start + cut])
                start += cut
                if start >= len(data):
                    return

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trickle)
            assert await hear(client, len(TOLD)) == [news for _, news in TOLD]


async def test_what_it_does_not_know_is_passed_over() -> None:
    async with connected() as (client, peer):
        await peer.send({"type": "from_the_future", "x": 1}, {"type": "ok", "re": 99}, {"type": "reload"})
        assert await hear(client, 1) == [ReloadAsked()]


LOG = LogSpec(
    max_bytes=1,
    max_age=3600,
    backups=2,
    compress=False,
    keep_bytes=9,
    format="json",
    redact=("x+",),
    redact_secrets=False,
    rate_limit=RateLimitSpec(size=5, on_limit="block"),
    sinks=(SinkSpec(protocol="rfc5424", transport="udp", address="::1", port=9),),
)


async def test_orders_leave_in_order_and_in_the_words_of_the_protocol() -> None:
    order = SpawnOrder(
        run=RUN,
        slot="web",
        argv=("srv", "--x"),
        cwd="/srv",
        env={"A": "\udcff"},
        stop=StopSpec(steps=(StopStep(signal="INT", wait=1.5),), scope="leader"),
        log=LogTarget("/l/web.log", LOG, 8, ("hush",)),
        stop_order=3,
        umask=0o22,
        user="u",
        group="g",
        groups=("h",),
        rlimits={"nofile": RlimitSpec(soft=1, hard=None)},
        nice=4,
        oom_score_adj=5,
        before=(HookSpec(argv=("migrate",), timeout=30),),
        after=(HookSpec(argv=("sweep",)),),
        sockets=(
            SocketSpec(name="http", host="127.0.0.1", port=80),
            SocketSpec(name="ctl", kind="unix", path="/run/s", mode=0o660, group="adm", backlog=5),
        ),
        notify=True,
        watchdog=2.5,
        limits=LimitsSpec(memory=1 << 20, cpu=0.5),
    )
    async with connected() as (client, peer):
        client.spawn(order, {"n": 1})
        client.stop(RUN)
        client.stop(RUN, StopSpec(steps=()))
        client.ack(RUN)
        client.note("web", None)
        client.log_config(LogTarget("/l/web.log", LogSpec(max_bytes=9)))
        client.shutdown()
        client.quit(3)
        await client.flush()
        spawn = await peer.next()
        assert {key: value for key, value in spawn.items() if key != "id"} == {
            "type": "spawn",
            "run": RUN,
            "slot": "web",
            "argv": ["srv", "--x"],
            "cwd": "/srv",
            "env": {"A": "\udcff"},
            "umask": 0o22,
            "user": "u",
            "group": "g",
            "groups": ["h"],
            "rlimits": {"nofile": [1, None]},
            "nice": 4,
            "oom_score_adj": 5,
            "log": {
                "path": "/l/web.log",
                "options": {
                    "max_bytes": 1,
                    "max_age": 3600,
                    "backups": 2,
                    "compress": False,
                    "keep_bytes": 9,
                    "directory_keep_bytes": 8,
                    "format": "json",
                    "redact": ["x+"],
                    "redact_secrets": False,
                    "rate_limit": {"bytes": 5, "per": 1, "burst": 0, "on_limit": "block"},
                    "sinks": [
                        {
                            "protocol": "rfc5424",
                            "transport": "udp",
                            "address": "::1",
                            "port": 9,
                            "facility": 3,
                            "stream": "both",
                            "layout": "raw",
                        }
                    ],
                    "files": [],
                },
                "secrets": ["hush"],
            },
            "stop": {"steps": [["SIGINT", 1.5]], "scope": "leader"},
            "stop_order": 3,
            "before": [{"argv": ["migrate"], "timeout": 30}],
            "after": [{"argv": ["sweep"], "timeout": 60}],
            "sockets": [
                {"name": "http", "kind": "tcp", "backlog": 4096, "host": "127.0.0.1", "port": 80},
                {
                    "name": "ctl",
                    "kind": "unix",
                    "backlog": 5,
                    "path": "/run/s",
                    "mode": 0o660,
                    "user": None,
                    "group": "adm",
                },
            ],
            "notify": True,
            "watchdog": 2.5,
            "limits": {"memory": 1 << 20, "cpu": 0.5},
            "stdio": False,
            "stdin": False,
            "channel": False,
            "direct": False,
            "key": None,
            "next": None,
            "note": {"n": 1},
        }
        rest = [await peer.next() for _ in range(7)]
        assert [message["type"] for message in rest] == [
            "stop",
            "stop",
            "ack",
            "note",
            "log_config",
            "shutdown",
            "quit",
        ]
        assert rest[4]["options"]["max_bytes"] == 9
        assert "secrets" not in rest[4]
        assert "plan" not in rest[0]
        assert rest[1]["plan"] == {"steps": [], "scope": "group"}
        assert (rest[3]["note"], rest[6]["status"]) == (None, 3)
        numbers = [message["id"] for message in (spawn, *rest) if "id" in message]
        assert len(set(numbers)) == 3


async def test_a_stop_command_is_the_first_step_of_the_plan() -> None:
    stop = StopSpec(command=HookSpec(argv=("app", "stop"), timeout=20), steps=(StopStep(wait=1),))
    async with connected() as (client, peer):
        client.stop(RUN, stop)
        await client.flush()
        told = await peer.next()
        assert told["plan"] == {"steps": [[["app", "stop"], 20], ["SIGTERM", 1]], "scope": "group"}


STDIO_STOP = StopSpec(steps=(StopStep(signal="eof", wait=2), StopStep(wait=1)))
STDIO = SpawnOrder(RUN, "web", ("srv",), "/", {}, STDIO_STOP, stdio=True)
CHANNEL = SpawnOrder(RUN, "web", ("gw",), "/", {}, StopSpec(), channel=True)


async def test_a_stdio_server_and_its_stop_are_ordered_of_a_keeper_that_holds_pipes() -> None:
    async with connected() as (client, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(peer.send, {**WELCOME, "stdio": True}, END)
        await client.hello()
        client.spawn(STDIO, None)
        client.spawn(CHANNEL, None)
        client.stop(RUN, STDIO_STOP)
        await client.flush()
        hello, server, gateway, stop = [await peer.next() for _ in range(4)]
        assert hello["type"] == "hello"
        plan = {"steps": [["EOF", 2], ["SIGTERM", 1]], "scope": "group"}
        assert (server["stdio"], server["channel"], server["stop"]) == (True, False, plan)
        assert (gateway["stdio"], gateway["channel"]) == (False, True)
        assert stop["plan"] == plan


@pytest.mark.parametrize("order", [STDIO, CHANNEL], ids=["stdio", "channel"])
async def test_a_keeper_of_an_older_version_is_never_ordered_what_it_would_not_heed(
    order: SpawnOrder,
) -> None:
    async with connected() as (client, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(peer.greet)
        await client.hello()
        with pytest.raises(ConflictError, match=r"older version.*`orchestra down`"):
            client.spawn(order, None)
        client.stop(RUN, STDIO_STOP)
        await client.flush()
        told = await peer.next()
        assert (told["type"], told["plan"]) == ("stop", {"steps": [["SIGTERM", 1]], "scope": "group"})


async def test_sockets_that_cannot_be_opened_are_news_for_their_service() -> None:
    async with connected() as (client, peer):
        client.listen("web", (SocketSpec(name="http", host="127.0.0.1", port=80),))
        client.listen("api", (SocketSpec(name="http", host="127.0.0.1", port=81),))
        client.unlisten("old")
        client.limits(RUN, LimitsSpec(pids=5))
        await client.flush()
        web, api, old, limits = [await peer.next() for _ in range(4)]
        assert (web["type"], web["slot"], web["watch"]) == ("listen", "web", True)
        assert (old["type"], old["slot"]) == ("unlisten", "old")
        assert (limits["type"], limits["limits"]) == ("limits", {"pids": 5})
        await peer.send(
            {"type": "ok", "re": web["id"]},
            {"type": "error", "re": api["id"], "code": "listen_failed", "message": "in use"},
        )
        assert await hear(client, 1) == [ListenRefused("api", "in use")]


async def test_what_services_say_and_who_calls_are_news() -> None:
    async with connected() as (client, peer):
        await peer.send(
            {
                "type": "notify",
                "run": RUN,
                "slot": "web",
                "fields": {"READY": "1"},
                "beat_mono": None,
                "at_mono": 5.0,
            },
            {"type": "connection", "slot": "web", "name": "http"},
            {"type": "command_failed", "run": RUN, "slot": "web", "command": "stop", "text": "exit code 1"},
        )
        assert await hear(client, 3) == [
            RunNews("web", Notified(RUN, (("READY", "1"),), None, 5.0)),
            SlotCalled("web", "http"),
            CommandNews("web", RUN, "stop", "exit code 1"),
        ]


async def test_a_spawn_that_the_keeper_refuses_is_news_for_its_service() -> None:
    async with connected() as (client, peer):
        await peer.send(
            {
                "type": "error",
                "re": 5,
                "code": "slot_busy",
                "message": "web: run web-1 (pid 9) is not gone",
                "request": "spawn",
                "run": RUN,
            }
        )
        (heard,) = await hear(client, 1)
    text = "web: run web-1 (pid 9) is not gone (slot_busy)"
    assert heard == RunNews("web", SpawnRefused(RUN, "keeper", 0, text))


async def listen(client: KeeperClient) -> None:
    async for _ in client.news():
        pass


async def test_input_waits_for_the_keepers_word_and_keeps_its_reason() -> None:
    async with connected() as (client, peer), anyio.create_task_group() as tasks:
        tasks.start_soon(peer.send, WELCOME, END)
        await client.hello()

        async def answer() -> None:
            await peer.next()  # hello
            asked = await peer.next()
            assert {key: asked[key] for key in ("type", "run", "data")} == {
                "type": "input",
                "run": RUN,
                "data": "yes\n",
            }
            await peer.send({"type": "ok", "re": asked["id"]})
            asked = await peer.next()
            await peer.send(
                {"type": "error", "re": asked["id"], "code": "no_input", "message": "nothing reads it"}
            )

        async def listen() -> None:
            async for _ in client.news():
                pass

        tasks.start_soon(answer)
        tasks.start_soon(listen)
        await client.input(RUN, "yes\n")
        with pytest.raises(ConflictError, match="nothing reads it") as refused:
            await client.input(RUN, "yes\n")
        assert refused.value.context == {"refusal": "no_input"}
        tasks.cancel_scope.cancel()


async def test_a_signal_waits_for_the_keepers_word() -> None:
    async with connected() as (client, peer), anyio.create_task_group() as tasks:

        async def answer(reply: Message) -> None:
            asked = await peer.next()
            assert {key: asked[key] for key in ("type", "run", "signal", "scope")} == {
                "type": "signal",
                "run": RUN,
                "signal": "SIGHUP",
                "scope": "group",
            }
            await peer.send({"type": "reload"}, {**reply, "re": asked["id"]})

        tasks.start_soon(listen, client)
        taken: Message = {"type": "ok"}
        refused: Message = {"type": "error", "code": "no_such_run", "message": "no run"}
        tasks.start_soon(answer, taken)
        await client.signal(RUN, "SIGHUP", "group")
        tasks.start_soon(answer, refused)
        with pytest.raises(ConflictError, match=f"the keeper refuses SIGHUP to {RUN}: no run"):
            await client.signal(RUN, "SIGHUP", "group")
        tasks.cancel_scope.cancel()


async def test_a_keeper_that_does_not_answer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_client, "REPLY_TIMEOUT", 0.05)
    async with connected() as (client, _peer):
        with pytest.raises(KeeperLost, match=r"did not answer within 0\.05 s"):
            await client.signal(RUN, "SIGHUP", "group")


async def test_the_end_of_the_connection_is_the_loss_of_the_keeper() -> None:
    async with connected() as (client, peer):
        await peer.send({"type": "reload"})
        await peer.stream.aclose()
        news = client.news()
        assert await anext(news) == ReloadAsked()
        with pytest.raises(KeeperLost, match="the connection to the keeper ended"):
            await anext(news)
        client.ack(RUN)
        with pytest.raises(KeeperLost, match="the connection to the keeper ended"):
            await client.flush()


async def test_a_keeper_that_ends_in_its_greeting_is_lost() -> None:
    async with connected() as (client, peer):
        await peer.send(WELCOME)
        await peer.stream.send_eof()
        with pytest.raises(KeeperLost):
            await client.hello()


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"\x00" * 8, "version byte 0"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "not a frame"),
        (encode_frame({"type": "x"})[:8] + b"{{{{{{{{{{{{{", "not JSON"),
        (b"\xff\xff\xff\xff\x02\x00\x00\x00", "over the limits"),
    ],
)
async def test_garbage_is_the_loss_of_the_keeper(garbage: bytes, words: str) -> None:
    async with connected() as (client, peer):
        await peer.stream.send(garbage)
        with pytest.raises(KeeperLost, match=f"the keeper sent garbage: .*{words}"):
            await hear(client, 1)


async def test_a_keeper_that_refuses_the_greeting_is_lost_with_its_words() -> None:
    async with connected() as (client, peer):
        await peer.send({"type": "error", "re": 1, "code": "bad_message", "message": "speaks version 2"})
        with pytest.raises(KeeperLost, match="the keeper refuses: speaks version 2"):
            await client.hello()


async def test_a_snapshot_without_a_welcome_is_refused() -> None:
    async with connected() as (client, peer):
        await peer.send(END)
        with pytest.raises(KeeperLost, match="no welcome"):
            await client.hello()


async def test_an_order_over_the_limit_is_refused_and_the_connection_stays_whole() -> None:
    big = SpawnOrder(RUN, "web", ("x",), "/", {"BIG": "x" * (4 * 1024 * 1024)}, StopSpec())
    async with connected() as (client, peer):
        with pytest.raises(OrchestraError, match="over the limit") as caught:
            client.spawn(big, None)
        assert "environment" in caught.value.hint
        client.ack(RUN)
        await client.flush()
        assert (await peer.next())["type"] == "ack"


async def test_a_caller_that_is_cancelled_while_it_sends_cuts_no_order_in_half() -> None:
    """A probe that ends while it flushes must not take the orders of others with it."""
    got: list[Message] = []
    async with connected() as (client, peer):
        for number in range(40):
            client.note(f"s{number}", "x" * 60_000)  # far over what the socket takes at once
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def flush() -> None:
                with scope:
                    await client.flush()

            tasks.start_soon(flush)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            client.ack(RUN)
            tasks.start_soon(client.flush)
            await anyio.wait_all_tasks_blocked()
            got += [await peer.next() for _ in range(41)]
    assert [message["slot"] for message in got[:40]] == [f"s{number}" for number in range(40)]
    assert got[40] == {"type": "ack", "run": RUN}


async def test_a_keeper_that_does_not_read_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_client, "REPLY_TIMEOUT", 0.05)
    async with connected() as (client, _peer):
        client.note("web", "x" * 3_000_000)
        with pytest.raises(KeeperLost, match="did not read"):
            await client.flush()
