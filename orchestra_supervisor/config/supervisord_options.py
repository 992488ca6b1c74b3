"""Every section and option of supervisord's file. Source: supervisor 4.3, `options.py`."""

from collections.abc import Mapping

__all__ = ["DEFAULT_HANDLER", "KNOWN", "kind_of"]

DEFAULT_HANDLER = "supervisor.dispatchers:default_handler"
"""What judges the answers of event listeners where nothing else is said."""

_STREAM = (
    "logfile",
    "logfile_maxbytes",
    "logfile_backups",
    "capture_maxbytes",
    "events_enabled",
    "syslog",
)
_PROGRAM = frozenset(
    [
        "command",
        "process_name",
        "numprocs",
        "numprocs_start",
        "priority",
        "autostart",
        "startsecs",
        "startretries",
        "autorestart",
        "exitcodes",
        "stopsignal",
        "stopwaitsecs",
        "stopasgroup",
        "killasgroup",
        "user",
        "redirect_stderr",
        "environment",
        "directory",
        "umask",
        "serverurl",
        *(f"{stream}_{option}" for stream in ("stdout", "stderr") for option in _STREAM),
    ]
)
_SERVER = frozenset({"username", "password"})

KNOWN: Mapping[str, frozenset[str]] = {
    "supervisord": frozenset(
        [
            "logfile",
            "logfile_maxbytes",
            "logfile_backups",
            "loglevel",
            "pidfile",
            "umask",
            "nodaemon",
            "silent",
            "minfds",
            "minprocs",
            "nocleanup",
            "childlogdir",
            "user",
            "directory",
            "strip_ansi",
            "environment",
            "identifier",
        ]
    ),
    "program:": _PROGRAM,
    "eventlistener:": _PROGRAM | {"events", "buffer_size", "result_handler"},
    "fcgi-program:": _PROGRAM | {"socket", "socket_backlog", "socket_owner", "socket_mode"},
    "group:": frozenset({"programs", "priority"}),
    "include": frozenset({"files"}),
    "unix_http_server": _SERVER | {"file", "chmod", "chown"},
    "inet_http_server": _SERVER | {"port"},
    "supervisorctl": frozenset({"serverurl", "username", "password", "prompt", "history_file"}),
    "rpcinterface:": frozenset(),
    "ctlplugin:": frozenset(),
}
"""Beginning of a section's name to its options; none: it has those of a plugin."""


def kind_of(section: str) -> str | None:
    """Return the kind of a section, or None for one that supervisord does not know."""
    head, colon, _ = section.partition(":")
    if head in ("unix_http_server", "inet_http_server"):  # may have a name behind a colon
        return head
    kind = head + colon
    return kind if kind in KNOWN else None
