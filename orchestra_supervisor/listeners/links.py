"""The pipes of listeners: what is read of them, what is sent to them, and who was told only half."""

import os
import selectors
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

__all__ = ["Link", "Links"]

_READ = 64 * 1024
_LAST_READS = 64  # of what is left of a run that is over; a pipe holds 1 MiB at most


@dataclass(slots=True)
class Link:
    """The far ends of the pipes of one run; -1 where one is closed.

    Attributes:
        run: Which run.
        stdin: Write end of its stdin.
        stdout: Read end of its stdout.
        pending: What its stdin has not taken yet.
        is_read: It is a listener: what it says is looked at.
    """

    run: str
    stdin: int
    stdout: int
    pending: bytes = b""
    is_read: bool = False


class Links:
    """The pipes of all stdio services, by service.

    Args:
        selector: Where they are waited for.
        on_said: Told of a service that has said something.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        on_said: Callable[[str], None],
    ) -> None:
        self.by_service: dict[str, Link] = {}
        self._selector = selector
        self._on_said = on_said

    @property
    def half_told(self) -> frozenset[str]:
        """Runs that were sent something which they have not got wholly."""
        return frozenset(link.run for link in self.by_service.values() if link.pending)

    def put(self, service: str, run: str, stdin: int, stdout: int) -> None:
        """Take the pipes of a new run."""
        self.drop(service)
        os.set_blocking(stdin, False)  # os takes it by position only
        os.set_blocking(stdout, False)
        self.by_service[service] = Link(run, stdin, stdout)

    def listen(self, service: str) -> None:
        """Look at what a service says from now on."""
        link = self.by_service[service]
        if not link.is_read and link.stdout >= 0:
            link.is_read = True
            self._selector.register(link.stdout, selectors.EVENT_READ, partial(self._heard, service))

    def read(self, service: str) -> bytes:
        """Return what a service has said, 64 KiB at most; nothing more comes after the end of its stdout.

        Nor of one whose pipes were let go of, though that was in the very turn in which it said something.
        """
        link = self.by_service.get(service)
        if link is None or link.stdout < 0:
            return b""
        try:
            data = os.read(link.stdout, _READ)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            data = b""
        if not data:
            self._close_stdout(link)
        return data

    def rest(self, service: str) -> Iterator[bytes]:
        """Yield what a run that is over said last: what a pipe holds, not what its children go on to add."""
        for _ in range(_LAST_READS):
            data = self.read(service)
            if not data:
                return
            yield data

    def write(self, service: str, data: bytes) -> bool:
        """Send to a service; what its stdin does not take at once follows. False: nobody reads there."""
        link = self.by_service.get(service)
        if link is None or link.stdin < 0:
            return False
        was_pending = bool(link.pending)
        link.pending += data
        if not self._flush(link):
            return False
        if link.pending and not was_pending:
            self._selector.register(link.stdin, selectors.EVENT_WRITE, partial(self._more, service))
        return True

    def drop(self, service: str) -> None:
        """Let go of the pipes of a run."""
        link = self.by_service.pop(service, None)
        if link is not None:
            self._close_stdin(link)
            self._close_stdout(link)

    def _heard(self, service: str, _events: int) -> None:
        self._on_said(service)

    def _more(self, service: str, _events: int) -> None:
        link = self.by_service.get(service)
        if link is None or not link.pending:
            return  # what there was room for in this turn belonged to the run before
        if self._flush(link) and not link.pending:
            self._selector.unregister(link.stdin)

    def _flush(self, link: Link) -> bool:
        while link.pending:
            try:
                sent = os.write(link.stdin, link.pending)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                link.pending = b""
                self._close_stdin(link)
                return False
            link.pending = link.pending[sent:]
        return True

    def _close_stdin(self, link: Link) -> None:
        if link.stdin >= 0:
            with suppress(KeyError):
                self._selector.unregister(link.stdin)
            os.close(link.stdin)
            link.stdin, link.pending = -1, b""

    def _close_stdout(self, link: Link) -> None:
        if link.stdout >= 0:
            if link.is_read:
                self._selector.unregister(link.stdout)
            os.close(link.stdout)
            link.stdout = -1
