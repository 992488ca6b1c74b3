"""The daemon's end of the keeper protocol: typed orders out, typed news in.

Orders are buffered in order and leave with `flush`, so that all that one decision asks for
travels in one write. Source: docs/keeper-protocol.md.
"""

import os
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

from orchestra_supervisor.model.equipment import HookSpec, LimitsSpec, SocketSpec
from orchestra_supervisor.model.errors import ConflictError, KeeperLost, OrchestraError
from orchestra_supervisor.model.spec import END_OF_INPUT, StopSpec
from orchestra_supervisor.process.log_options import log_message
from orchestra_supervisor.process.news import (
    to_fleet_news,
    to_held_run,
    to_held_sockets,
    to_refused_spawn,
    to_run_news,
    to_slot_news,
    to_snapshot,
)
from orchestra_supervisor.process.orders import (
    HeldRun,
    HeldSockets,
    ListenRefused,
    LogTarget,
    News,
    Snapshot,
    SpawnOrder,
)
from orchestra_supervisor.rules.successor import Successor
from orchestra_supervisor.wire.frames import VERSION, FrameDecoder, Message, WireError, encode_frame

__all__ = ["REPLY_TIMEOUT", "KeeperClient"]

REPLY_TIMEOUT = 10.0
"""Seconds to wait for a reply; the keeper does no I/O that could take longer."""
_READ_SIZE = 64 * 1024  # as in wire/channel


class KeeperClient:
    """A connection to the keeper. One task may iterate `news`; orders come from the same event loop."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream
        self._decoder = FrameDecoder()
        self._out: list[bytes] = []
        self._sending = anyio.Lock()
        self._next_id = 0
        self._replies: dict[int, tuple[anyio.Event, list[Message]]] = {}
        self._listening: dict[int, str] = {}
        """Slots whose `listen` has not been answered."""
        self._early: list[Message] = []
        self._holds_stdio = False
        """The keeper knows of stdio servers; one that was started by an older version does not."""
        self._knows_again = False
        """It takes standing orders; likewise."""

    @classmethod
    async def from_fd(cls, fd: int) -> "KeeperClient":
        """Take over the inherited socket with this descriptor number."""
        return cls(await anyio.abc.UNIXSocketStream.from_socket(fd))

    async def hello(self) -> Snapshot:
        """Greet the keeper and return what it holds.

        Raises:
            KeeperLost: The connection ended, or the keeper speaks another version.
        """
        self._send(
            {"type": "hello", "id": self._new_id(), "version": VERSION, "pid": os.getpid(), "again": True}
        )
        await self.flush()
        welcome: Message | None = None
        runs: list[HeldRun] = []
        notes: dict[str, object] = {}
        sockets: list[HeldSockets] = []
        async for message in self._messages():
            match message["type"]:
                case "welcome":
                    welcome = message
                case "run":
                    runs.append(to_held_run(message))
                case "slot_note":
                    notes[str(message["slot"])] = message["note"]
                case "sockets":
                    sockets.append(to_held_sockets(message))
                case "snapshot_end":
                    break
                case "error":
                    raise KeeperLost(f"the keeper refuses: {message.get('message')}")
                case _:
                    self._early.append(message)
        if welcome is None:
            raise KeeperLost("the keeper sent no welcome")
        self._holds_stdio = bool(welcome.get("stdio"))
        self._knows_again = bool(welcome.get("again"))
        return replace(to_snapshot(welcome, runs, notes), sockets=tuple(sockets))

    async def news(self) -> AsyncIterator[News]:
        """Yield what happens, in order.

        Raises:
            KeeperLost: The connection ended.
        """
        early, self._early = self._early, []
        for message in early:
            if (item := self._take(message)) is not None:
                yield item
        async for message in self._messages():
            if (item := self._take(message)) is not None:
                yield item

    def _take(self, message: Message) -> News | None:
        run_news = to_run_news(message)
        if run_news is not None:
            return run_news
        reply_to = message.get("re")
        if isinstance(reply_to, int):
            slot = self._listening.pop(reply_to, None)
            if slot is not None and message["type"] == "error":
                return ListenRefused(slot, str(message.get("message")))
            waiting = self._replies.pop(reply_to, None)
            if waiting is not None:
                waiting[1].append(message)
                waiting[0].set()
            return to_refused_spawn(message)
        return to_slot_news(message) or to_fleet_news(message)

    async def _messages(self) -> AsyncIterator[Message]:
        data = b""  # what came in one piece with the end of the snapshot waits in the decoder
        while True:
            try:
                for message, _ in self._decoder.feed(data):
                    yield message
                data = await self._stream.receive(_READ_SIZE)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise KeeperLost("the connection to the keeper ended") from error
            except WireError as error:
                raise KeeperLost(f"the keeper sent garbage: {error}") from error

    # Orders.

    def spawn(self, order: SpawnOrder, note: object) -> None:
        """Order a run; its slot's note is set in the same breath.

        Raises:
            ConflictError: The keeper was started by a version that knows of no stdio servers.
            OrchestraError: The order is over the limit of a message.
        """
        if (order.stdio or order.channel) and not self._holds_stdio:
            raise ConflictError(
                "the keeper was started by an older version, which cannot hold a server's stdin and stdout: "
                "`orchestra down` and `orchestra up` start this one"
            )
        log = order.log
        self._send(
            {
                "type": "spawn",
                "id": self._new_id(),
                "run": order.run,
                "slot": order.slot,
                "argv": order.argv,
                "cwd": order.cwd,
                "env": order.env,
                "umask": order.umask,
                "user": order.user,
                "group": order.group,
                "groups": order.groups,
                "rlimits": {name: [limit.soft, limit.hard] for name, limit in order.rlimits.items()},
                "nice": order.nice,
                "oom_score_adj": order.oom_score_adj,
                "log": None if log is None else log_message(log),
                "stop": self._plan(order.stop),
                "stop_order": order.stop_order,
                "before": _commands(order.before),
                "after": _commands(order.after),
                "sockets": _sockets(order.sockets),
                "notify": order.notify,
                "watchdog": order.watchdog or None,
                "limits": _limits(order.limits),
                "stdio": order.stdio,
                "stdin": order.stdin,
                "channel": order.channel,
                "direct": order.direct,
                "key": order.key or None,
                "next": _successor(order.successor),
                "note": note,
            }
        )

    def again(self, run: str, successor: Successor | None) -> None:
        """Leave a standing order for what follows a run, or take it back."""
        if self._knows_again:
            self._send({"type": "again", "run": run, "next": _successor(successor)})

    def stop(self, run: str, stop: StopSpec | None = None) -> None:
        """Order the stop sequence: the run's own, or another one."""
        message: Message = {"type": "stop", "id": self._new_id(), "run": run}
        if stop is not None:
            message["plan"] = self._plan(stop)
        self._send(message)

    def ack(self, run: str) -> None:
        """Let the keeper forget a run that is gone."""
        self._send({"type": "ack", "run": run})

    def note(self, slot: str, note: object) -> None:
        """Leave a note for the next daemon; None deletes it."""
        self._send({"type": "note", "slot": slot, "note": note})

    def limits(self, run: str, limits: LimitsSpec) -> None:
        """Change the limits of a run, where control groups hold them."""
        self._send({"type": "limits", "id": self._new_id(), "run": run, "limits": _limits(limits)})

    def listen(self, slot: str, sockets: tuple[SocketSpec, ...]) -> None:
        """Open the sockets of a slot and be told of the first connection."""
        number = self._new_id()
        self._listening[number] = slot
        self._send(
            {"type": "listen", "id": number, "slot": slot, "sockets": _sockets(sockets), "watch": True}
        )

    def unlisten(self, slot: str) -> None:
        """Close the sockets of a slot."""
        self._send({"type": "unlisten", "slot": slot})

    def log_config(self, target: LogTarget) -> None:
        """Change how a log that is being written is written on and kept."""
        self._send({"type": "log_config", **log_message(target)})

    def shutdown(self) -> None:
        """Mark the fleet as going down, so that a next daemon goes on with it."""
        self._send({"type": "shutdown"})

    def quit(self, status: int) -> None:
        """Say that the fleet is down; the keeper ends with this exit status."""
        self._send({"type": "quit", "status": status})

    def status(self, state: str, text: str) -> None:
        """Say how the fleet stands.

        Args:
            state: `starting`, `ready`, `reloading` or `stopping`.
            text: One line.
        """
        self._send({"type": "status", "state": state, "text": text})

    def pong(self, number: int) -> None:
        """Answer the keeper's ping."""
        self._send({"type": "pong", "re": number})

    async def signal(self, run: str, signal: str, scope: str) -> None:
        """Send a signal to a run and wait for the keeper's word.

        Args:
            run: Run id.
            signal: Signal name, `SIGHUP`.
            scope: `leader`, `group` or `tree`.

        Raises:
            ConflictError: There is no such run any more, or the keeper refuses.
        """
        reply = await self._ask({"type": "signal", "run": run, "signal": signal, "scope": scope})
        if reply["type"] == "error":
            raise ConflictError(f"the keeper refuses {signal} to {run}: {reply.get('message')}")

    async def input(self, run: str, text: str) -> None:
        """Write to the stdin of a run, after what was written before, and wait for the keeper's word.

        Args:
            run: Run id.
            text: At most 1 MiB in UTF-8.

        Raises:
            ConflictError: Nothing was written; `refusal` in its context is the keeper's code for why.
        """
        reply = await self._ask({"type": "input", "run": run, "data": text})
        if reply["type"] == "error":
            why = f"the keeper refuses input to {run}: {reply.get('message')}"
            raise ConflictError(why, refusal=str(reply.get("code")))

    async def _ask(self, message: Message) -> Message:
        number = self._new_id()
        event: anyio.Event = anyio.Event()
        got: list[Message] = []
        self._replies[number] = (event, got)
        self._send({**message, "id": number})
        await self.flush()
        try:
            with anyio.fail_after(REPLY_TIMEOUT):
                await event.wait()
        except TimeoutError as error:
            raise KeeperLost(f"the keeper did not answer within {REPLY_TIMEOUT:g} s") from error
        finally:
            self._replies.pop(number, None)
        return got[0]

    async def flush(self) -> None:
        """Send what has been ordered, by whomever; a caller that is cancelled cuts no order in half.

        Raises:
            KeeperLost: The connection ended, or the keeper does not read.
        """
        if not self._out:
            await checkpoint()  # another task may be sending for us
            return
        async with self._sending:
            data, self._out = b"".join(self._out), []
            try:
                with anyio.fail_after(REPLY_TIMEOUT, shield=True):
                    await self._stream.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise KeeperLost("the connection to the keeper ended") from error
            except TimeoutError as error:
                raise KeeperLost(f"the keeper did not read for {REPLY_TIMEOUT:g} s") from error

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _plan(self, stop: StopSpec) -> dict[str, object]:
        steps: list[list[object]] = [
            [step.signal, step.wait]
            for step in stop.steps
            if self._holds_stdio or step.signal != END_OF_INPUT  # no run of an older keeper has such an input
        ]
        if stop.command is not None:
            steps.insert(0, [list(stop.command.argv), stop.command.timeout])
        return {"steps": steps, "scope": stop.scope}

    def _send(self, message: Message) -> None:
        try:
            self._out.append(encode_frame(message))
        except WireError as error:
            # Only a spawn can be this large; its service is told, the connection stays whole.
            raise OrchestraError(str(error), hint="is the environment over 4 MiB?") from error


def _successor(successor: Successor | None) -> Message | None:
    if successor is None:
        return None
    return {
        "run": successor.run,
        "min_life": successor.min_life,
        "unless": list(successor.unless),
        "needs": list(successor.needs),
    }


def _commands(hooks: tuple[HookSpec, ...]) -> list[Message]:
    return [{"argv": list(hook.argv), "timeout": hook.timeout} for hook in hooks]


def _limits(limits: LimitsSpec) -> Message | None:
    return {**limits.named} or None


def _sockets(sockets: tuple[SocketSpec, ...]) -> list[Message]:
    return [
        {"name": one.name, "kind": one.kind, "backlog": one.backlog, **_address(one), **_sharing(one)}
        for one in sockets
    ]


def _address(one: SocketSpec) -> Message:
    if one.kind == "inherited":
        return {"fd_name": one.fd_name}
    if one.kind == "unix":
        return {"path": one.path, "mode": one.mode, "user": one.user, "group": one.group}
    return {"host": one.host, "port": one.port}


def _sharing(one: SocketSpec) -> Message:
    return {"shared": True} if one.shared else {}
