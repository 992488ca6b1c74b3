"""The pipes of the stdio servers, as the keeper hands them over.

The gateway inherits one end of a socket (`ORCHESTRA_STDIO_FD`), on which the keeper sends two descriptors
for each run, and says when a run is at its end. Nothing is sent back.

Source: docs/keeper-protocol.md.
"""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

import anyio

from orchestra_supervisor.wire.channel import Channel, ChannelClosed
from orchestra_supervisor.wire.frames import Message

__all__ = ["STDIO_FD_VARIABLE", "Pipes", "StdioChannel", "inherited_stdio_socket"]

STDIO_FD_VARIABLE = "ORCHESTRA_STDIO_FD"
"""Environment variable with the number of the gateway's socket."""


class Pipes:
    """The far ends of one run's stdin and stdout.

    Args:
        slot: The service.
        run: Its run.
        stdin: Write end of its stdin.
        stdout: Read end of its stdout.
    """

    def __init__(self, slot: str, run: str, stdin: int, stdout: int) -> None:
        self.slot = slot
        self.run = run
        self.stdin = stdin
        self.stdout = stdout
        self.ended = anyio.Event()
        self._taken: anyio.Event | None = None
        os.set_blocking(stdin, False)  # os takes it by position only
        os.set_blocking(stdout, False)

    @property
    def is_open(self) -> bool:
        """True until they are closed."""
        return self.stdout >= 0

    def take(self) -> None:
        """Have them for oneself: to read them, and to close them when they end."""
        self._taken = anyio.Event()

    def release(self) -> None:
        """Let somebody else have them."""
        if self._taken is not None:
            self._taken.set()
            self._taken = None

    async def wait_free(self) -> None:
        """Wait until nobody has them."""
        while self._taken is not None:
            await self._taken.wait()

    def end(self) -> None:
        """Let go of the server's stdin, so that it can see its end; what it said last can still be read."""
        self.ended.set()
        self._close_stdin()
        if self._taken is None:
            self.close()

    def close(self) -> None:
        """Close both. May be called twice."""
        self.ended.set()
        self._close_stdin()
        if self.stdout >= 0:
            anyio.notify_closing(self.stdout)
            os.close(self.stdout)
            self.stdout = -1

    def _close_stdin(self) -> None:
        if self.stdin >= 0:
            anyio.notify_closing(self.stdin)
            os.close(self.stdin)
            self.stdin = -1


class StdioChannel:
    """Knows which stdio services have a run, and its pipes.

    Args:
        sock: The socket that the keeper handed down; owned from here on. None: there are no stdio servers.
    """

    def __init__(self, sock: socket.socket | None) -> None:
        self._channel = Channel(sock) if sock is not None else None
        self._pipes: dict[str, Pipes] = {}
        self._news: dict[str, anyio.Event] = {}
        self._watchers: list[Callable[[str], None]] = []
        self.held = anyio.Event()
        """Set when all runs that were there at the beginning are known."""
        self.is_lost = False

    def pipes_of(self, slot: str) -> Pipes | None:
        """Return the pipes of a service's run, or None where it has none that lives."""
        pipes = self._pipes.get(slot)
        return pipes if pipes is not None and not pipes.ended.is_set() else None

    def on_news(self, watcher: Callable[[str], None]) -> None:
        """Have a function called with the slot whenever one has a new run or lost its run."""
        self._watchers.append(watcher)

    async def wait_news(self, slot: str) -> None:
        """Wait until something is said of a slot."""
        await self._news.setdefault(slot, anyio.Event()).wait()

    async def run(self) -> None:
        """Take what the keeper says, until it closes the channel; then no run is news any more."""
        if self._channel is None:
            self.held.set()
            await anyio.sleep_forever()
            return
        try:
            while True:
                await anyio.wait_readable(self._channel.fileno())
                for message, descriptors in self._channel.on_readable():
                    self._take(message, descriptors)
        except ChannelClosed:
            self.is_lost = True
            self.held.set()
        finally:
            self._channel.close()
            for pipes in self._pipes.values():
                pipes.close()

    def _take(self, message: Message, descriptors: list[int]) -> None:
        slot, run = message.get("slot"), message.get("run")
        match message["type"]:
            case "stdio" if len(descriptors) == 2 and isinstance(slot, str) and isinstance(run, str):
                if slot in self._pipes:
                    self._pipes[slot].end()
                self._pipes[slot] = Pipes(slot, run, descriptors[0], descriptors[1])
                self._tell(slot)
                return
            case "stdio_end" if isinstance(slot, str):
                pipes = self._pipes.get(slot)
                if pipes is not None and pipes.run == run:
                    pipes.end()
                    self._tell(slot)
            case "held":
                self.held.set()
            case _:
                pass  # of a newer keeper
        for descriptor in descriptors:
            with suppress(OSError):
                os.close(descriptor)

    def _tell(self, slot: str) -> None:
        event = self._news.pop(slot, None)
        if event is not None:
            event.set()
        for watcher in self._watchers:
            watcher(slot)


def inherited_stdio_socket(environ: Mapping[str, str]) -> socket.socket | None:
    """Take over the socket that the keeper handed down; None where the process was started without.

    Raises:
        ValueError: The variable is not a number.
        OSError: The descriptor is not an open socket.
    """
    number = environ.get(STDIO_FD_VARIABLE)
    if number is None:
        return None
    sock = socket.socket(fileno=int(number))
    sock.set_inheritable(False)
    return sock
