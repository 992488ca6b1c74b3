"""Every error a person can meet: one root, one code each, one table of statuses."""

from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "ERROR_KINDS",
    "ConfigError",
    "ConflictError",
    "ControlDenied",
    "ErrorKind",
    "GraphError",
    "IllegalTransition",
    "InvalidRequest",
    "JournalError",
    "KeeperLost",
    "OrchestraError",
    "PluginError",
    "ProbeFailed",
    "SecretError",
    "SpawnFailed",
    "UnknownService",
    "WaitTimeout",
]


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Where one error code ends up.

    Attributes:
        http: HTTP status of the control API.
        exit: Exit status of the CLI.
        meaning: One clause for the documentation.
    """

    http: int
    exit: int
    meaning: str


ERROR_KINDS: dict[str, ErrorKind] = {
    "internal": ErrorKind(500, 1, "a fault of ours: please report it"),
    "failed": ErrorKind(409, 1, "the action was carried out and did not succeed"),
    "invalid_request": ErrorKind(400, 2, "an argument is missing or malformed"),
    "config": ErrorKind(422, 3, "a configuration file is wrong; nothing was changed"),
    "graph": ErrorKind(422, 3, "dependencies form a cycle or name nothing"),
    "secret": ErrorKind(422, 3, "a secret is missing or its file is readable by others"),
    "no_daemon": ErrorKind(503, 4, "no fleet runs on this home"),
    "keeper_lost": ErrorKind(503, 4, "the keeper is gone; the daemon cannot act"),
    "unknown_service": ErrorKind(404, 5, "no service of that name"),
    "denied": ErrorKind(403, 6, "the caller's role does not allow this"),
    "timeout": ErrorKind(408, 7, "the condition was not met in time"),
    "conflict": ErrorKind(409, 8, "the state does not allow this, or another fleet holds the home"),
    "spawn_failed": ErrorKind(409, 9, "a process could not be started: (stage, errno)"),
    "probe_failed": ErrorKind(409, 1, "a probe did not pass"),
    "plugin": ErrorKind(502, 1, "a plugin could not be loaded, failed, or did not answer in time"),
    "illegal_transition": ErrorKind(500, 1, "the lifecycle table has no such pair: a fault of ours"),
    "journal": ErrorKind(500, 1, "the journal cannot be read or written"),
}
"""Code to statuses, the only such table. Documented in docs/errors.md, held to it by a test."""


class OrchestraError(Exception):
    """Root of all errors that are shown to people.

    Args:
        message: What happened and where; names the service and the value.
        hint: The way out, one clause, or empty.
        context: Further facts, JSON-ready, never secrets.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str = "", **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context

    @property
    def kind(self) -> ErrorKind:
        """Return the row of `ERROR_KINDS` of this error."""
        return ERROR_KINDS[self.code]

    def to_dict(self) -> dict[str, object]:
        """Return the JSON body that the control API sends."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "context": self.context}


class InvalidRequest(OrchestraError):
    """An argument from outside is missing or malformed."""

    code = "invalid_request"


class ConfigError(OrchestraError):
    """A configuration file is wrong. Context: path, line, pointer."""

    code = "config"


class GraphError(OrchestraError):
    """Dependencies form a cycle, or name a service that does not exist. Context: cycle."""

    code = "graph"


class SecretError(OrchestraError):
    """A secret is missing, or its file may be read by others."""

    code = "secret"


class UnknownService(OrchestraError):
    """No service of that name. Context: name, nearest."""

    code = "unknown_service"


class IllegalTransition(OrchestraError):
    """The lifecycle table was asked for a pair that it does not define: a fault of ours."""

    code = "illegal_transition"


class SpawnFailed(OrchestraError):
    """A process could not be started. Context: stage, errno."""

    code = "spawn_failed"


class KeeperLost(OrchestraError):
    """The connection to the keeper ended; the daemon cannot act and must end."""

    code = "keeper_lost"


class ProbeFailed(OrchestraError):
    """A probe did not pass; the message says what was seen."""

    code = "probe_failed"


class PluginError(OrchestraError):
    """A plugin could not be loaded, failed, or did not answer in time. Context: plugin, call."""

    code = "plugin"


class ControlDenied(OrchestraError):
    """The caller's role does not allow the action."""

    code = "denied"


class ConflictError(OrchestraError):
    """The present state does not allow the action."""

    code = "conflict"


class WaitTimeout(OrchestraError):
    """A condition was not met within the caller's time."""

    code = "timeout"


class JournalError(OrchestraError):
    """The journal cannot be read or written."""

    code = "journal"
