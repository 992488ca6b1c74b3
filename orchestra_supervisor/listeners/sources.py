"""The output of all processes whose output makes something happen."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from orchestra_supervisor.listeners.capture import Capture
from orchestra_supervisor.listeners.catalog import Happening, communication, log_event
from orchestra_supervisor.listeners.directory import Entry
from orchestra_supervisor.listeners.output import Follower, Place
from orchestra_supervisor.logfile.index import run_number

__all__ = ["Source", "Sources"]

_RUNS = 64  # of one process whose pids are remembered
_PATIENCE = 50  # looks at a log whose next output is of a run that was not told of


class Source:
    """One process.

    Attributes:
        entry: As the fleet has it.
        follower: Reads its log.
        captures: What is under way, by run and stream.
        pids: Of its last runs, by number.
        ended: Streams that have ended, by run.
    """

    def __init__(self, entry: Entry, place: Place | None = None) -> None:
        self.entry = entry
        self.follower = Follower(entry.log, place)
        self.captures: dict[tuple[int, str], Capture] = {}
        self.pids: dict[int, int] = {}
        self.ended: set[tuple[int, str]] = set()
        self._waited: tuple[int, int] = (0, 0)

    def began(self, run: str, pid: int) -> None:
        """It has a run: what that writes is looked at."""
        number = run_number(run)
        self.pids = dict([*self.pids.items(), (number, pid)][-_RUNS:])
        self.follower.begin(number)

    def is_through(self, run: str) -> bool:
        """Return whether all that a run has written has been read."""
        wanted = {"stderr"} if self.entry.is_listener else {"stdout", "stderr"}
        return wanted <= {stream for number, stream in self.ended if number == run_number(run)}

    def read(self) -> list[Happening]:
        """Return what new output makes happen."""
        found: list[Happening] = []
        try:
            pieces = self.follower.read(self.pids)
        except OSError:
            return []  # another look follows
        self._mind_stranger()
        for piece in pieces:
            stream = "stdout" if self.entry.is_merged else piece.stream
            key = (piece.run, piece.stream)
            if piece.is_end:
                self.captures.pop(key, None)
                self.ended = {one for one in self.ended if one[0] in self.pids} | {key}
                continue
            found += self._told(key, stream, piece.data)
        return found

    def _mind_stranger(self) -> None:
        """Go on without the pid of a run that nobody has told of for long."""
        run = self.follower.waits_for
        if run is None:
            self._waited = (0, 0)
            return
        looks = self._waited[1] + 1 if self._waited[0] == run else 1
        self._waited = (run, looks)
        if looks > _PATIENCE:
            self.pids[run] = 0

    def _told(self, key: tuple[int, str], stream: str, data: bytes) -> list[Happening]:
        output, pid = self.entry.outputs[stream], self.pids.get(key[0])
        if pid is None or not (output.is_told or output.limit):
            return []
        capture = self.captures.setdefault(key, Capture(output.limit))
        capture.limit = output.limit
        names = {"process": self.entry.process, "group": self.entry.group}
        return [
            communication(stream, **names, pid=pid, data=part.data)
            if part.is_word
            else log_event(stream, **names, pid=pid, data=part.data)
            for part in capture.feed(data)
            if part.is_word or output.is_told
        ]


class Sources:
    """All processes whose output is followed, by service."""

    def __init__(self) -> None:
        self.by_service: dict[str, Source] = {}

    def configure(self, entries: Iterable[Entry], *, is_wanted: bool) -> None:
        """Take the processes as the fleet has them now.

        Args:
            entries: All of them.
            is_wanted: Some pool wants such events at all.
        """
        told = {
            entry.service: entry
            for entry in entries
            if is_wanted and any(one.is_told or one.limit for one in entry.outputs.values())
        }
        for service in [service for service in self.by_service if service not in told]:
            del self.by_service[service]
        for service, entry in told.items():
            known = self.by_service.get(service)
            if known is None or known.entry.log != entry.log:
                self.by_service[service] = Source(entry)
            else:
                known.entry = entry

    def join(self, services: Mapping[str, tuple[str, int]]) -> None:
        """Begin with what is written from now on.

        Args:
            services: Runs and pids by service; none: it does not run.
        """
        for service, source in self.by_service.items():
            with suppress(OSError):
                source.follower.begin_at_end()
            run, pid = services.get(service, ("", 0))
            if run:
                source.began(run, pid)

    def read(self) -> list[Happening]:
        """Return what new output of all of them makes happen."""
        return [happening for source in self.by_service.values() for happening in source.read()]
