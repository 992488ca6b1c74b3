"""The parts of the native form that say when a run has started, and what supervisord's clients are told.

The keys under `supervisor` are those of supervisord's file, so that who knows that one knows these.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from orchestra_supervisor.config.form_parts import Form
from orchestra_supervisor.config.values import (
    UNLIMITED,
    ByteSize,
    Duration,
    Flag,
    Integer,
    PortNumber,
    RestartLimit,
    Text,
    Umask,
)
from orchestra_supervisor.model.spec import StartSpec
from orchestra_supervisor.model.supervisord import (
    AuthSpec,
    OutputSpec,
    ServerSpec,
    SupervisorName,
    SupervisorSpec,
    password_digest,
)

__all__ = [
    "OutputForm",
    "ServerForm",
    "StartForm",
    "SupervisorForm",
    "SupervisorNameForm",
    "start_spec",
    "supervisor_name",
    "supervisor_spec",
]

_Name = Annotated[Text, Field(min_length=1, pattern=r"^[^\s:/]+$")]
_Count = Annotated[Integer, Field(ge=0, le=2_147_483_647)]
_Priority = Annotated[Integer, Field(ge=-1_000_000_000, le=1_000_000_000)]


class StartForm(Form):
    """When a run counts as started, and how often one that does not is tried again."""

    after: Duration | None = Field(
        None, description="Once it has lasted this long; until then it is starting. Default: 1s."
    )
    retries: RestartLimit | None = Field(
        None, description='Failed starts in a row that are tried again, or "unlimited". Default: 3.'
    )
    delay: Duration | None = Field(
        None, description="Before the first of them; twice that before the second, and so on. Default: 1s."
    )


class OutputForm(Form):
    """One stream of a process, as supervisord's file has it."""

    logfile: Text | None = Field(None, description="Path, auto or none. Default: auto.")
    maxbytes: ByteSize | None = Field(None, description="Size at which it is rotated. Default: 50MB.")
    backups: _Count | None = Field(None, description="Rotated files that are kept. Default: 10.")
    syslog: Flag | None = Field(None, description="Each line goes to syslog, too. Default: false.")
    capture_maxbytes: ByteSize | None = Field(
        None, description="What is kept of a PROCESS_COMMUNICATION event. Default: 0, there are none."
    )
    events_enabled: Flag | None = Field(None, description="PROCESS_LOG events are sent. Default: false.")


class SupervisorNameForm(Form):
    """A process as supervisord's clients know it."""

    group: _Name | None = Field(None, description="Default: the process.")
    process: _Name = Field(description="Its name within the group.")
    # `kind` stands in for three kinds of sections.
    kind: Literal["program", "eventlistener", "fcgi"] | None = Field(None, description="Default: program.")
    group_priority: _Priority | None = Field(None, description="As clients are told. Default: 999.")
    priority: _Priority | None = Field(None, description="As clients are told. Default: 999.")
    command: Text | None = Field(None, description="As clients are told.")
    directory: Text | None = Field(None, description="As clients are told.")
    user: Text | None = Field(None, description="As clients are told.")
    startsecs: _Count | None = Field(None, description="As clients are told. Default: 1.")
    startretries: _Count | None = Field(None, description="As clients are told. Default: 3.")
    autostart: Flag | None = Field(None, description="As clients are told. Default: true.")
    autorestart: Literal["true", "false", "unexpected"] | None = Field(
        None, description="As clients are told. Default: unexpected."
    )
    exitcodes: list[Annotated[int, Field(ge=0, le=255)]] | None = Field(
        None, description="Exit codes of which an EXITED event says that they were expected. Default: [0]."
    )
    stopsignal: Text | None = Field(None, description="As clients are told. Default: SIGTERM.")
    stopwaitsecs: _Count | None = Field(None, description="As clients are told. Default: 10.")
    stopasgroup: Flag | None = Field(None, description="As clients are told. Default: false.")
    killasgroup: Flag | None = Field(None, description="As clients are told. Default: false.")
    redirect_stderr: Flag | None = Field(None, description="stderr counts as stdout. Default: false.")
    serverurl: Text | None = Field(None, description="SUPERVISOR_SERVER_URL. Default: that of our server.")
    stdout: OutputForm | None = Field(None, description="Its standard output.")
    stderr: OutputForm | None = Field(None, description="Its standard error.")
    events: list[Annotated[Text, Field(pattern=r"^[A-Z0-9_]+$")]] | None = Field(
        None, description="Of an event listener: event types that its pool gets."
    )
    buffer_size: Annotated[Integer, Field(ge=1)] | None = Field(
        None, description="Of an event listener: events that wait for its pool. Default: 10."
    )

    @model_validator(mode="after")
    def _listens_to_something(self) -> Self:
        if (self.kind == "eventlistener") is not bool(self.events):
            raise ValueError("must have events exactly where its kind is eventlistener")
        return self


class ServerForm(Form):
    """One XML-RPC server: the path of a Unix socket, or a port."""

    path: Text | None = Field(None, min_length=1, description="Unix socket, relative to the file's folder.")
    mode: Umask | None = Field(None, description='Permissions of the socket, octal text. Default: "700".')
    owner: Annotated[list[Annotated[int, Field(ge=-1)]], Field(min_length=2, max_length=2)] | None = Field(
        None, description="Numbers of user and group that own the socket; -1: as it is."
    )
    host: Text | None = Field(None, description="Address or name. Default: all addresses.")
    port: PortNumber | None = Field(None, description="TCP port, in place of a path.")
    username: Text | None = Field(None, description="Who may use it; with a password.")
    password: Text | None = Field(None, description="Plain, or {SHA} and its SHA-1. It is never shown.")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.path is None) is (self.port is None):
            raise ValueError("must have exactly one of path and port")
        if (self.username is None) is not (self.password is None):
            raise ValueError("must have both of username and password, or none")
        if self.path is None and (self.mode is not None or self.owner is not None):
            raise ValueError("has mode and owner only with a path")
        return self


class SupervisorForm(Form):
    """Where supervisord's clients connect, and what they are told of the fleet."""

    identifier: Text | None = Field(None, min_length=1, description="Its name. Default: supervisor.")
    logfile: Text | None = Field(None, description="Its own log, as clients read it. Default: ours.")
    unix: ServerForm | None = Field(None, description="The server on a Unix socket.")
    inet: list[ServerForm] | None = Field(None, description="Servers on TCP ports.")


def start_spec(form: StartForm | None) -> StartSpec | None:
    """Return when a run counts as started, or None where nothing is said."""
    if form is None:
        return None
    values = form.model_dump(exclude_none=True)
    if values.get("retries") == UNLIMITED:
        values["retries"] = None
    return StartSpec(**values)


def supervisor_name(form: SupervisorNameForm | None) -> SupervisorName | None:
    """Return what clients know a service as, or None where nothing is said."""
    if form is None:
        return None
    values = form.model_dump(exclude_none=True)
    values.setdefault("group", form.process)
    for key in ("exitcodes", "events"):
        if key in values:
            values[key] = tuple(values[key])
    for key in ("stdout", "stderr"):
        if key in values:
            values[key] = _output(values[key])
    return SupervisorName(**values)


def _output(values: dict[str, Any]) -> OutputSpec:
    word = str(values.get("logfile", "auto"))
    if word.lower() in {"auto", "none"}:
        values["logfile"] = None if word.lower() == "none" else "auto"
    return OutputSpec(**values)


def supervisor_spec(form: SupervisorForm, directory: Path) -> SupervisorSpec:
    """Return where clients connect.

    Args:
        form: As it is written.
        directory: The folder of its file, from which paths start.
    """
    values: dict[str, Any] = {}
    if form.identifier is not None:
        values["identifier"] = form.identifier
    if form.logfile is not None:
        values["logfile"] = os.path.normpath(directory / form.logfile)
    if form.unix is not None:
        values["unix"] = _server(form.unix, directory)
    values["inet"] = tuple(_server(one, directory) for one in form.inet or ())
    return SupervisorSpec(**values)


def _server(form: ServerForm, directory: Path) -> ServerSpec:
    values: dict[str, Any] = {"host": (form.host or "").removeprefix("*")}
    if form.port is not None:
        values["port"] = form.port
    if form.path is not None:
        values["path"] = os.path.normpath(directory / form.path)
    if form.mode is not None:
        values["mode"] = form.mode
    if form.owner is not None:
        values["owner"] = tuple(form.owner)
    if form.username is not None and form.password is not None:
        salt = f"{form.username}@{values.get('path') or form.port}"
        digest = password_digest(form.password, salt=salt)
        values["auth"] = AuthSpec(username=form.username, password_digest=digest)
    return ServerSpec(**values)
