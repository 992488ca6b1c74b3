"""Where the bytes of a stream stand: in a file that the user named for it, or in our own log."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestra_supervisor.model.spec import ServiceSpec

__all__ = ["LogPath", "LogSource", "named_files", "source_of"]

LogPath = Callable[[str], Path]
"""Returns our log of a service."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """Where a stream is read.

    Attributes:
        path: Of the file; empty: clients are to have none.
        stream: Which bytes of our log are meant; empty: the file has no others.
        own: Our log, beside a file of the user's: where it is, there has been a run.
    """

    path: str
    stream: str = ""
    own: str = ""

    @property
    def exists(self) -> bool:
        """True when there is a log; a file comes with its first byte, and counts as empty until then."""
        return any(path and Path(path).exists() for path in (self.path, self.own))


def source_of(spec: ServiceSpec, stream: str, log_path: LogPath) -> LogSource:
    """Return where a stream of a service is read.

    Args:
        spec: The service.
        stream: `stdout` or `stderr`.
        log_path: Returns our log of a service: one for both streams, told apart by its index.
    """
    told = spec.supervisor
    if told is None:
        return LogSource(str(log_path(spec.name)), stream)
    output = told.stdout if stream == "stdout" else told.stderr
    if output.logfile is None or (stream == "stderr" and told.redirect_stderr):
        return LogSource("")
    if output.logfile in named_files(spec):
        return LogSource(output.logfile, own=str(log_path(spec.name)))
    return LogSource(str(log_path(spec.name)), "both" if told.redirect_stderr else stream)


def named_files(spec: ServiceSpec) -> tuple[str, ...]:
    """Return the files that get copies of a service's output because clients know them as its logs."""
    told = spec.supervisor
    known = () if told is None else (told.stdout.logfile, told.stderr.logfile)
    return tuple(file.path for file in spec.log.files if file.path in known)
