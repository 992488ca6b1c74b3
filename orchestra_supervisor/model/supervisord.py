"""What supervisord's clients and event listeners have to be told that no other part of a spec says.

The names by which they know a process, what they ask of its options (`getAllConfigInfo`), and where they
connect. Source: supervisor 4.3, `options.py` and `rpcinterface.py`.
"""

import hashlib
import hmac
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "LAST_WORDS",
    "LISTENERS",
    "TOLD",
    "AuthSpec",
    "OutputSpec",
    "ServerSpec",
    "SupervisorName",
    "SupervisorSpec",
    "password_digest",
]

LISTENERS = "@listeners"
"""The service of our own that speaks with event listeners."""
LAST_WORDS = "listeners.last"
"""The event after which that service says that listeners were told of all before it."""
TOLD = "@told"
"""What listeners wait for beside the ends of others: to have been told of them. No service is called so."""

_ROUNDS = 20_000  # of PBKDF2: a few milliseconds for each password that is tried
_KNOWN = 64  # passwords that need not be worked out again

_Count = Annotated[int, Field(ge=0)]


class _Spec(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class OutputSpec(_Spec):
    """One stream of a process, as supervisord's file has it."""

    logfile: str | None = "auto"
    """Absolute path; `auto`: a log of ours; None: none is kept for them."""
    maxbytes: _Count = 50 * 1024 * 1024
    backups: _Count = 10
    syslog: bool = False
    capture_maxbytes: _Count = 0
    events_enabled: bool = False


class SupervisorName(_Spec):
    """A process as supervisord's clients know it: `group:process`, and its options as they ask for them."""

    group: str
    process: str
    kind: Literal["program", "eventlistener", "fcgi"] = "program"
    group_priority: int = 999
    priority: int = 999
    command: str = ""
    """As written, variables expanded."""
    directory: str | None = None
    user: str | None = None
    startsecs: _Count = 1
    startretries: _Count = 3
    autostart: bool = True
    autorestart: Literal["true", "false", "unexpected"] = "unexpected"
    exitcodes: tuple[int, ...] = (0,)
    stopsignal: str = "SIGTERM"
    stopwaitsecs: _Count = 10
    stopasgroup: bool = False
    killasgroup: bool = False
    redirect_stderr: bool = False
    serverurl: str | None = None
    """None: that of our own server (AUTO)."""
    stdout: OutputSpec = OutputSpec()
    stderr: OutputSpec = OutputSpec()
    events: tuple[str, ...] = ()
    """Of an event listener: names of the event types that its pool subscribes to."""
    buffer_size: Annotated[int, Field(ge=1)] = 10
    """Of an event listener: events that wait for its pool."""

    @property
    def namespec(self) -> str:
        """Return the name that supervisorctl shows and takes: short where group and process share it."""
        return self.process if self.group == self.process else f"{self.group}:{self.process}"


class AuthSpec(_Spec):
    """Who may use a server. The password itself is not kept, only what can tell whether one is right."""

    username: str
    password_digest: Annotated[str, Field(pattern=r"^(pbkdf2|sha1):[^:]*(:[0-9a-f]+)?$", repr=False)]

    def accepts(self, username: str, password: str) -> bool:
        """Return whether a name and a password are those of this server; takes as long for wrong ones."""
        trial = hashlib.sha256(_bytes(password)).digest()
        is_name = hmac.compare_digest(_bytes(username), _bytes(self.username))
        return _fits(self.password_digest, trial, _sha1(password)) and is_name


class ServerSpec(_Spec):
    """One XML-RPC server."""

    path: str | None = None
    """Absolute path of a Unix socket; None: TCP."""
    mode: Annotated[int, Field(ge=0, le=0o777)] = 0o700
    owner: tuple[int, int] | None = None
    """Numbers of user and group of the socket's path; -1: as it is."""
    host: str = ""
    """Empty: all addresses."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    auth: AuthSpec | None = None

    @property
    def url(self) -> str:
        """Return the address as SUPERVISOR_SERVER_URL says it."""
        return (
            f"unix://{self.path}"
            if self.path is not None
            else f"http://{self.host or 'localhost'}:{self.port}"
        )


class SupervisorSpec(_Spec):
    """What a fleet is to supervisord's clients."""

    identifier: str = "supervisor"
    logfile: str | None = None
    """Absolute path of supervisord's own log as the file has it; None: ours."""
    unix: ServerSpec | None = None
    inet: tuple[ServerSpec, ...] = ()


def password_digest(password: str, *, salt: str) -> str:
    """Return what a spec keeps of a password: the same for the same password and salt, and no way back.

    Args:
        password: As it is written; `{SHA}` and 40 hex digits stand for a password of that SHA-1.
        salt: Says whose password it is, so that two equal ones do not look equal.
    """
    if password.startswith("{SHA}"):
        return f"sha1:{password.removeprefix('{SHA}').lower()}"
    trial, own = hashlib.sha256(_bytes(password)).digest(), hashlib.sha256(_bytes(salt)).digest()[:16]
    return f"pbkdf2:{own.hex()}:{_stretch(trial, own).hex()}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _sha1(password: str) -> str:
    return hashlib.sha1(_bytes(password), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=_KNOWN)
def _fits(digest: str, trial: bytes, sha1: str) -> bool:
    kind, first, *rest = digest.split(":")
    if kind == "sha1":
        return hmac.compare_digest(first, sha1)
    return bool(rest) and hmac.compare_digest(rest[0], _stretch(trial, bytes.fromhex(first)).hex())


def _stretch(trial: bytes, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", trial, salt, _ROUNDS)
