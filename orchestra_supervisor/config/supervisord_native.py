"""One process of supervisord's file in the native form, and what of it the native form says otherwise.

Texts are written so that our own variables leave them alone: a dollar sign is nothing to supervisord.
"""

import os
import re
import shlex
import signal
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from orchestra_supervisor.config.draft import Body, KeyPath
from orchestra_supervisor.config.supervisord_groups import BadValue, Group, Process, Socket
from orchestra_supervisor.config.supervisord_log import log_body, logfile_of, sends_to_syslog
from orchestra_supervisor.config.supervisord_words import Note, literal
from orchestra_supervisor.model.spec import SERVICE_NAME_PATTERN

__all__ = ["Around", "ServiceBody", "in_start_order", "service_body", "service_name"]

_YEAR = 31_536_000  # seconds; the longest span that the native form takes
_ODD = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST = 64
FROM_STDIN = 'exec "$@" 0<&3 3<&-'
"""Line of a shell that gives a program the socket that is handed to it as its standard input."""


@dataclass(frozen=True, slots=True)
class Around:
    """What the rest of the file says to all processes.

    Attributes:
        cwd: Where supervisord would stand.
        environment: Of [supervisord].
        user: Of [supervisord]: whom it becomes.
        umask: Of [supervisord], where it has an effect.
        serverurl: Address of the server that its children are told, or None.
    """

    cwd: str
    environment: Mapping[str, str]
    user: str | None = None
    umask: int | None = None
    serverurl: str | None = None


@dataclass(slots=True)
class ServiceBody:
    """A service in the native form, and from which option each key comes."""

    body: Body
    aliases: dict[KeyPath, KeyPath] = field(default_factory=dict[KeyPath, KeyPath])


def service_name(group: str, process: str, taken: Collection[str] = ()) -> str:
    """Return the name of a service for a process: `process`, or `group.process`, as far as names may have it.

    A name with other characters, one that is taken, or too long a one, gets some digits that tell it from
    all others.
    """
    plain = process if group == process else f"{group}.{process}"
    name = _ODD.sub("_", plain)
    fits = name == plain and len(name) <= _LONGEST and re.match(SERVICE_NAME_PATTERN, name)
    if fits and name not in taken:
        return name
    digits = sha256(f"{group}:{process}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name.lstrip('.-') or '_'}"[: _LONGEST - 9] + f"-{digits}"


def in_start_order(groups: Iterable[Group]) -> list[tuple[Group, Process, int]]:
    """Return all processes in the order in which supervisord starts them, each with a priority that says it.

    A group starts before another by its priority, a process within it by its own. Where one number can say
    both, it is that of the group; else it is the place in the order.
    """
    ordered = sorted(
        ((group, process) for group in groups for process in group.processes),
        key=lambda pair: (pair[0].priority, pair[0].name, int(pair[1].params["priority"]), pair[1].name),
    )
    named = [(group.priority, service_name(group.name, process.name)) for group, process in ordered]
    fits = all(abs(priority) <= 1_000_000 for priority, _ in named)
    if fits and named == sorted(named):
        return [(group, process, group.priority) for group, process in ordered]
    return [(group, process, place) for place, (group, process) in enumerate(ordered)]


def service_body(group: Group, process: Process, priority: int, around: Around, note: Note) -> ServiceBody:
    """Rewrite one process.

    Args:
        group: Its group.
        process: What the package makes of it.
        priority: As `in_start_order` gives it.
        around: What the file says to all.
        note: Gets what cannot be had as it is written.

    Raises:
        BadValue: Its command is none.
    """
    params = process.params
    argv = _argv(process)
    service = ServiceBody(
        {
            "command": [literal(word) for word in argv],
            "cwd": literal(os.path.normpath(os.path.join(around.cwd, params["directory"] or ""))),  # noqa: PTH118 - text, not a file
            "env": {name: literal(value) for name, value in _environment(group, process, around).items()},
            "enabled": params["autostart"],
            "priority": priority,
            "start": {"after": _span(params["startsecs"]), "retries": max(0, params["startretries"])},
            "startup_timeout": 0,
            "restart": _restart(params),
            "stop": {
                "signal": signal.Signals(params["stopsignal"]).name,
                "grace": _span(params["stopwaitsecs"]),
                "scope": "group" if params["stopasgroup"] else "leader",
            },
            "log": log_body(process, around.cwd, note),
            "supervisor": _names(group, process, around),
        },
        dict(_ALIASES),
    )
    user = process.user or around.user
    if user is not None:
        service.body["user"] = literal(user)
    umask = around.umask if params["umask"] is None else params["umask"]
    if umask is not None:
        service.body["umask"] = f"{umask & 0o777:03o}"
    if group.name != process.name:
        service.body["title"] = f"{group.name}:{process.name}"
        service.body["tags"] = [group.name]
    if group.socket is not None:
        service.body["sockets"] = {"fcgi": _socket(group, group.socket, process)}
        service.body["command"] = ["/bin/sh", "-c", literal(FROM_STDIN), "sh", *map(literal, argv)]
        service.aliases[("sockets",)] = ("socket",)
    for name in params["environment"]:
        service.aliases["env", name] = ("environment",)
    return service


_ALIASES: dict[KeyPath, KeyPath] = {
    ("cwd",): ("directory",),
    ("env",): ("environment",),
    ("enabled",): ("autostart",),
    ("start",): ("startsecs",),
    ("start", "after"): ("startsecs",),
    ("start", "retries"): ("startretries",),
    ("restart",): ("autorestart",),
    ("restart", "policy"): ("autorestart",),
    ("restart", "success_exit_codes"): ("exitcodes",),
    ("stop",): ("stopsignal",),
    ("stop", "signal"): ("stopsignal",),
    ("stop", "steps"): ("stopsignal",),
    ("stop", "grace"): ("stopwaitsecs",),
    ("stop", "scope"): ("stopasgroup",),
    ("log",): ("stdout_logfile",),
    ("log", "max_bytes"): ("stdout_logfile_maxbytes",),
    ("log", "backups"): ("stdout_logfile_backups",),
    ("log", "sinks"): ("stdout_syslog",),
    ("supervisor", "stdout"): ("stdout_logfile",),
    ("supervisor", "stderr"): ("stderr_logfile",),
    ("supervisor", "events"): ("events",),
    ("supervisor", "process"): ("process_name",),
    ("supervisor", "buffer_size"): ("buffer_size",),
}


def _argv(process: Process) -> list[str]:
    try:
        words = shlex.split(process.params["command"])
    except ValueError as error:
        raise BadValue(process.section, "command", f"cannot be split into words: {error}") from error
    if not words:
        raise BadValue(process.section, "command", "is empty")
    return words


def _environment(group: Group, process: Process, around: Around) -> dict[str, str]:
    url = process.params["serverurl"] or around.serverurl
    return {
        "SUPERVISOR_ENABLED": "1",
        **({"SUPERVISOR_SERVER_URL": url} if url else {}),
        "SUPERVISOR_PROCESS_NAME": process.name,
        "SUPERVISOR_GROUP_NAME": group.name,
        **around.environment,
        **process.params["environment"],
    }


def _span(seconds: int) -> int:
    return min(max(0, seconds), _YEAR)


def _word(autorestart: object) -> str:
    """Return the word for one of the package's values, which are classes."""
    if not autorestart:
        return "false"
    return "true" if getattr(autorestart, "__name__", "") == "RestartUnconditionally" else "unexpected"


def _restart(params: Mapping[str, Any]) -> Body:
    policy = {"true": "always", "unexpected": "on-failure", "false": "never"}[_word(params["autorestart"])]
    return {
        "policy": policy,
        "success_exit_codes": list(params["exitcodes"]),
        "max_restarts": "unlimited",
        "stable_after": 0,
        "backoff": {"initial": 0, "jitter": 0, "first_immediate": True},
    }


def _names(group: Group, process: Process, around: Around) -> Body:
    params = process.params
    body: Body = {
        "group": group.name,
        "process": process.name,
        "kind": group.kind,
        "group_priority": _small(group.priority),
        "priority": _small(params["priority"]),
        "command": literal(params["command"]),
        "startsecs": max(0, params["startsecs"]),
        "startretries": max(0, params["startretries"]),
        "autostart": params["autostart"],
        "autorestart": _word(params["autorestart"]),
        "exitcodes": list(params["exitcodes"]),
        "stopsignal": signal.Signals(params["stopsignal"]).name,
        "stopwaitsecs": max(0, params["stopwaitsecs"]),
        "stopasgroup": params["stopasgroup"],
        "killasgroup": params["killasgroup"],
        "redirect_stderr": params["redirect_stderr"],
    }
    for key, value in (("directory", params["directory"]), ("user", process.user)):
        if value is not None:
            body[key] = literal(value)
    if params["serverurl"]:
        body["serverurl"] = literal(params["serverurl"])
    for stream in ("stdout", "stderr"):
        path = logfile_of(process, stream, around.cwd)
        body[stream] = {
            "logfile": literal(path or "none"),
            "maxbytes": max(0, params[f"{stream}_logfile_maxbytes"]),
            "backups": max(0, params[f"{stream}_logfile_backups"]),
            "syslog": sends_to_syslog(process, stream),
            "capture_maxbytes": max(0, params[f"{stream}_capture_maxbytes"]),
            "events_enabled": params[f"{stream}_events_enabled"],
        }
    if group.kind == "eventlistener":
        body |= {"events": list(group.events), "buffer_size": group.buffer_size}
    return body


def _small(priority: int) -> int:
    return min(max(priority, -1_000_000_000), 1_000_000_000)


def _socket(group: Group, socket: Socket, process: Process) -> Body:
    """Return the socket of an fcgi-program as one that is held from run to run, by all its processes."""
    body: Body = {"shared": True} if len(group.processes) > 1 else {}
    if socket.backlog is not None:
        body["backlog"] = socket.backlog
    if socket.address.startswith("unix://"):
        body["path"] = literal(os.path.normpath(socket.address.removeprefix("unix://")))
        if not str(body["path"]).startswith("/"):
            raise BadValue(process.section, "socket", "must have an absolute path after unix://")
        body["mode"] = f"{(0o700 if socket.mode is None else socket.mode) & 0o777:03o}"
        owner = socket.owner or process.user
        if owner is not None:
            user, _, owning = owner.partition(":")
            body |= {"user": literal(user)} | ({"group": literal(owning)} if owning else {})
        return body
    match = re.fullmatch(r"tcp://([^\s:]+):([0-9]+)", socket.address, re.ASCII)
    if match is None:
        raise BadValue(process.section, "socket", "must be unix:///PATH or tcp://HOST:PORT")
    return {**body, "host": match[1].lower(), "port": int(match[2])}
