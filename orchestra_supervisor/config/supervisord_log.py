"""Where a process's output goes by supervisord's file, in the words of the native form.

Our own log is kept in any case: `orchestra logs` and probes live on it. What the file names comes besides.
"""

import os
from collections.abc import Mapping

from orchestra_supervisor.config.draft import Body
from orchestra_supervisor.config.findings import Severity
from orchestra_supervisor.config.supervisord_groups import Process
from orchestra_supervisor.config.supervisord_words import Note, literal

__all__ = ["log_body", "logfile_of", "sends_to_syslog"]

_MOST_BACKUPS = 10_000  # that the native form takes
_UNKEPT = 1024 * 1024  # bytes of a log that nobody wants
_BESIDE = 10 * 1024 * 1024  # bytes of our log where the file names another
_CONSOLES: Mapping[str, str] = {
    "/dev/stdout": "stdout",
    "/dev/fd/1": "stdout",
    "/proc/self/fd/1": "stdout",
    "/dev/stderr": "stderr",
    "/dev/fd/2": "stderr",
    "/proc/self/fd/2": "stderr",
}


def logfile_of(process: Process, stream: str, cwd: str) -> str | None:
    """Return the path of a stream's file, `auto`, or None where there is none.

    Args:
        process: The process.
        stream: `stdout` or `stderr`; of one that is redirected to the other there is none.
        cwd: From which paths start.
    """
    written = process.logfiles.get(stream, "auto")
    if written in ("none", "syslog") or (stream == "stderr" and process.params["redirect_stderr"]):
        return None
    if written == "auto":
        return written
    path = os.path.normpath(os.path.join(cwd, os.path.expanduser(written)))  # noqa: PTH111, PTH118 - as supervisord
    console = _CONSOLES.get(path)
    return f"/dev/{console}" if console else path


def sends_to_syslog(process: Process, stream: str) -> bool:
    """Return whether each line of a stream goes to syslog."""
    return bool(process.params[f"{stream}_syslog"]) or process.logfiles.get(stream) == "syslog"


def log_body(process: Process, cwd: str, note: Note) -> Body:
    """Return the native `log` of a process.

    Args:
        process: The process.
        cwd: From which paths start.
        note: Gets what is otherwise than it is written.
    """
    streams = ["stdout"] if process.params["redirect_stderr"] else ["stdout", "stderr"]
    targets = {stream: logfile_of(process, stream, cwd) for stream in streams}
    body = _own(process, targets, note)
    files, sinks = _routes(process, targets)
    named = [stream for stream in streams if sends_to_syslog(process, stream)]
    if named:
        sinks.append({"syslog": {"facility": "user"}, "stream": _both(named, streams)})
    if files:
        body["files"] = files
    if sinks:
        body["sinks"] = sinks
    return body


def _own(process: Process, targets: Mapping[str, str | None], note: Note) -> Body:
    """Return how large our own log gets: as the file says where it leaves the log to us."""
    ours = [stream for stream, path in targets.items() if path == "auto"]
    if not ours:
        if all(path is None for path in targets.values()):
            message = "output is kept all the same, for `orchestra logs`: 1 MB and one rotated file at most"
            note(Severity.INFO, "supervisord.log_none", "stdout_logfile", message, "")
            return {"max_bytes": _UNKEPT, "backups": 1}
        return {"max_bytes": _BESIDE, "backups": 1}
    sizes = [process.params[f"{stream}_logfile_maxbytes"] for stream in ours]
    backups = [process.params[f"{stream}_logfile_backups"] for stream in ours]
    return {"max_bytes": 0 if 0 in sizes else max(0, *sizes), "backups": _backups(max(backups))}


def _backups(number: int) -> int:
    return min(max(0, number), _MOST_BACKUPS)


def _both(named: list[str], streams: list[str]) -> str:
    return "both" if named == streams else named[0]


def _routes(process: Process, targets: Mapping[str, str | None]) -> tuple[list[Body], list[Body]]:
    """Return the files, and the consoles, to which the streams go."""
    files: list[Body] = []
    sinks: list[Body] = []
    streams = list(targets)
    for path in dict.fromkeys(path for path in targets.values() if path not in (None, "auto", "/dev/null")):
        named = [stream for stream in streams if targets[stream] == path]
        route: Body = {"stream": _both(named, streams)}
        if path in ("/dev/stdout", "/dev/stderr"):
            sinks.append({"console": {"to": path.removeprefix("/dev/")}, **route})
            continue
        size = max(0, process.params[f"{named[0]}_logfile_maxbytes"])
        backups = _backups(process.params[f"{named[0]}_logfile_backups"])
        files.append({"path": literal(str(path)), **route, "max_bytes": size, "backups": backups})
    return files, sinks
