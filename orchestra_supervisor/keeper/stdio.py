"""Stdin and stdout of stdio servers: their far ends held here, and handed to whoever talks to the servers.

As a descriptor of each far end stays open here, a server sees no end of its input and no broken pipe when
the one who talks to it dies; the next one gets the very same pipes. Nothing is ever read or written here.
Of a run whose stdin alone is a pipe, the far end is an input (`inputs`).

Who talks to them is a run, too (the gateway): it is started with a channel, a socket on which it is told of
every server. What it has not taken waits in a bounded queue without any descriptor of its own, and nobody
waits for it.
"""

import errno
import os
import select
import selectors
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestra_supervisor.keeper.identity import SpawnFailure
from orchestra_supervisor.keeper.inputs import Inputs
from orchestra_supervisor.keeper.loop import Loop, say
from orchestra_supervisor.keeper.request import SpawnRequest
from orchestra_supervisor.keeper.runs import Run
from orchestra_supervisor.keeper.spawn import close_all, enlarge, is_reserved, make_pipes
from orchestra_supervisor.wire.channel import Channel, ChannelClosed
from orchestra_supervisor.wire.frames import Message

__all__ = ["Stdio", "Wiring"]

_WAITING = 512  # messages that may wait for one who does not read, besides its snapshot


@dataclass(slots=True)
class Wiring:
    """What was made for one run: the near ends are its own, the far ends ours.

    Attributes:
        near: Read end of its stdin and write end of its stdout, or the former alone, or empty.
        far: Write end of its stdin and read end of its stdout, or the former alone, or empty.
        theirs: Its end of its channel, or None.
        ours: Our end of its channel, or None.
    """

    near: Sequence[int] = ()
    far: Sequence[int] = ()
    theirs: socket.socket | None = None
    ours: socket.socket | None = None

    def close(self) -> None:
        """Close all of it."""
        close_all(self.far)
        if self.ours is not None:
            self.ours.close()
        self.close_near()

    def close_near(self) -> None:
        """Close what only the run is to have."""
        close_all(self.near)
        self.near = ()
        if self.theirs is not None:
            self.theirs.close()


@dataclass(slots=True, eq=False)
class _Server:
    """The far ends of one server's pipes."""

    run: str
    slot: str
    stdin: int | None
    """None once its input is ended: from then on nobody is told of it any more."""
    stdout: int
    is_live: bool = False
    """Its program was executed."""


@dataclass(slots=True, eq=False)
class _Receiver:
    """One who talks to servers."""

    slot: str
    channel: Channel
    bound: int
    """Messages that may wait: as many as its snapshot has, and _WAITING."""
    waiting: deque[tuple[str, _Server | None]]
    """Types of messages, and which server each is about."""
    told: set[_Server] = field(default_factory=set[_Server])
    """Servers whose pipes it was sent, and not yet their end."""


class Stdio:
    """The pipes of all stdio servers, and the channels of those who talk to them.

    Args:
        loop: The keeper's loop.
        inputs: Holds the stdin of runs that are no servers.
    """

    def __init__(self, loop: Loop, inputs: Inputs) -> None:
        self._loop = loop
        self._inputs = inputs
        self._servers: dict[Run, _Server] = {}
        self._talks: dict[Run, socket.socket] = {}
        """Our ends of channels whose run has not executed its program yet."""
        self._receivers: dict[Run, _Receiver] = {}

    def make(self, request: SpawnRequest) -> Wiring:
        """Make the pipes and the channel that a run is to have.

        Raises:
            SpawnFailure: At stage pipe. Nothing is left open.
        """
        wiring = Wiring()
        if request.stdio:
            (stdin_read, stdin_write), (stdout_read, stdout_write) = make_pipes(2)
            wiring.near, wiring.far = (stdin_read, stdout_write), (stdin_write, stdout_read)
            for fd in wiring.far:
                os.set_blocking(fd, False)
                enlarge(fd)
        elif request.stdin:
            ((stdin_read, stdin_write),) = make_pipes(1)
            wiring.near, wiring.far = (stdin_read,), (stdin_write,)
            os.set_blocking(stdin_write, False)
        if request.channel:
            try:
                wiring.ours, wiring.theirs = socket.socketpair()
                if is_reserved(max(wiring.ours.fileno(), wiring.theirs.fileno())):
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            except OSError as error:
                wiring.close()
                raise SpawnFailure("pipe", error.errno or errno.EMFILE) from error
        return wiring

    def take(self, run: Run, wiring: Wiring) -> None:
        """Hold the far ends of a run that was forked, and close the near ones."""
        wiring.close_near()
        match wiring.far:
            case [stdin, stdout]:
                self._servers[run] = _Server(run.run, run.slot, stdin, stdout)
            case [stdin]:
                self._inputs.hold(run, stdin)
            case _:
                pass
        if wiring.ours is not None:
            self._talks[run] = wiring.ours

    def announce(self, run: Run) -> None:
        """The program of a run is there: tell of its pipes, and tell it of those of all others."""
        server = self._servers.get(run)
        if server is not None:
            server.is_live = True
            if server.stdin is not None:
                self._tell("stdio", server)
        talk = self._talks.pop(run, None)
        if talk is not None:
            # Nobody is told of himself: with its own stdin in hand a server would never see its end.
            others = [one for one in self._servers.values() if one is not server and one.is_live]
            waiting = deque[tuple[str, _Server | None]](("stdio", one) for one in others)
            waiting.append(("held", None))
            receiver = _Receiver(run.slot, Channel(talk), len(waiting) + _WAITING, waiting)
            self._receivers[run] = receiver
            self._loop.watch(talk.fileno(), lambda events: self._on_events(run, events))
            self._feed(run, receiver)

    def end_input(self, run: Run) -> bool:
        """Close our end of a server's stdin, and tell all who have it to do the same.

        Returns:
            False when the run is no stdio server, or its leader has ended.
        """
        server = self._servers.get(run)
        if server is None:
            return False
        if server.stdin is not None:
            os.close(server.stdin)
            server.stdin = None
            self._tell("stdio_end", server)
        return True

    def end(self, run: Run) -> None:
        """The leader of a run has ended, or it was never executed: close all that was held for it."""
        self.end_input(run)
        self._inputs.end(run)
        server = self._servers.pop(run, None)
        if server is not None:
            os.close(server.stdout)
        talk = self._talks.pop(run, None)
        if talk is not None:
            talk.close()
        self._cut_off(run)

    def _tell(self, kind: str, server: _Server) -> None:
        for run, receiver in list(self._receivers.items()):
            receiver.waiting.append((kind, server))
            self._feed(run, receiver)

    def _on_events(self, run: Run, events: int) -> None:
        receiver = self._receivers.get(run)
        if receiver is None:
            return
        try:
            if events & selectors.EVENT_READ:
                said = receiver.channel.on_readable()
                close_all([fd for _, fds in said for fd in fds])
                if said:
                    self._cut_off(run, "it says something, where it only has to listen")
                    return
            if events & selectors.EVENT_WRITE:
                receiver.channel.on_writable()
        except ChannelClosed:
            self._cut_off(run)
            return
        self._feed(run, receiver)

    def _feed(self, run: Run, receiver: _Receiver) -> None:
        """Send what waits, as far as the socket takes it at once."""
        channel, waiting = receiver.channel, receiver.waiting
        try:
            while waiting and _takes(channel):
                self._send(receiver, *waiting[0])
                waiting.popleft()
        except (ChannelClosed, OSError):  # without a descriptor to spare the next receiver fares better
            self._cut_off(run)
            return
        if len(waiting) > receiver.bound:
            self._cut_off(run, f"it does not read, {len(waiting)} messages wait for it")
            return
        self._loop.want_write(channel.fileno(), wanted=bool(waiting) or channel.wants_write)

    def _send(self, receiver: _Receiver, kind: str, server: _Server | None) -> None:
        """Send one message; of a server whose end came before it could be told of, nothing is said."""
        if server is None:
            receiver.channel.send({"type": kind})
            return
        message: Message = {"type": kind, "slot": server.slot, "run": server.run}
        if kind == "stdio" and server.stdin is not None:
            receiver.channel.send(message, (server.stdin, server.stdout))
            receiver.told.add(server)
        elif kind == "stdio_end" and server in receiver.told:
            receiver.channel.send(message)
            receiver.told.discard(server)

    def _cut_off(self, run: Run, why: str = "") -> None:
        receiver = self._receivers.pop(run, None)
        if receiver is not None:
            if why:
                say(f"{receiver.slot}: its channel is closed: {why}")
            self._loop.unwatch(receiver.channel.fileno())
            receiver.channel.close()


def _takes(channel: Channel) -> bool:
    """Return whether a message would go out at once, so that no descriptors have to be kept for it."""
    poller = select.poll()
    poller.register(channel, select.POLLOUT)
    return not channel.wants_write and bool(poller.poll(0))
