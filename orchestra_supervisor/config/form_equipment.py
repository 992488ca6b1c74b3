"""The parts of the native form for what a run is equipped with: commands, sockets, limits.

None means "not said"; defaults are filled in by `resolve_equipment`.
"""

import ipaddress
import re
from typing import Annotated, Self, cast

from pydantic import BeforeValidator, Field, field_validator, model_validator

from orchestra_supervisor.config.form_parts import AlsoWritten, Form
from orchestra_supervisor.config.values import (
    ByteSize,
    CommandLine,
    Duration,
    Flag,
    Integer,
    PortNumber,
    Text,
    Umask,
)
from orchestra_supervisor.model.schedule import check_cron
from orchestra_supervisor.model.spec import known_signal
from orchestra_supervisor.model.zones import zone_of

__all__ = [
    "HookForm",
    "HookLine",
    "LimitsForm",
    "RecycleForm",
    "ReloadForm",
    "ReloadLine",
    "SocketForm",
    "SocketLine",
]

_Timeout = Annotated[Duration, Field(ge=0.01, le=86_400)]


def _to_hook(value: object) -> object:
    return {"command": cast("object", value)} if isinstance(value, str | list) else value


def _to_reload(value: object) -> object:
    return {"signal": value} if isinstance(value, str) else value


def _to_socket(value: object) -> object:
    """Spell out a port, `host:port`, or the path of a Unix socket."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return value
    if isinstance(value, str) and "/" in value:
        return {"path": value}
    host, _, port = str(value).rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII):
        raise ValueError('must be a port, "address:port", a path with a slash, or an object')
    address: dict[str, object] = {"port": int(port)}
    if host:
        address["host"] = host.removeprefix("[").removesuffix("]")
    return address


class HookForm(Form):
    """A command, and how long it may take."""

    command: CommandLine = Field(description="An argument vector, or a line for /bin/sh.")
    timeout: _Timeout | None = Field(None, description="It is killed after this. Default: 60s.")


class ReloadForm(Form):
    """How the service is told to read its configuration again: exactly one of signal and command."""

    signal: Text | None = Field(None, description="Sent to the main process, SIGHUP for example.")
    command: CommandLine | None = Field(None, description="Run with the service's cwd, env and user.")
    timeout: _Timeout | None = Field(None, description="The command is killed after this. Default: 60s.")

    @field_validator("signal")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        return None if value is None else known_signal(value)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.signal is None) is (self.command is None):
            raise ValueError("must have exactly one of signal and command")
        if self.signal is not None and self.timeout is not None:
            raise ValueError("must not have a timeout with a signal")
        return self


class SocketForm(Form):
    """A listening socket: a TCP or UDP port, or the path of a Unix socket."""

    host: Text | None = Field(None, description="IP address to listen on. Default: 127.0.0.1.")
    port: PortNumber | None = Field(None, description="TCP port, 1 to 65535.")
    udp: PortNumber | None = Field(None, description="UDP port, in place of port.")
    path: Text | None = Field(
        None, min_length=1, description="Unix socket, relative to the file's folder, in place of a port."
    )
    systemd: Text | None = Field(
        None,
        pattern=r"^[^:\s]{1,255}$",
        description="In place of a port: a socket that systemd passes to us, by its FileDescriptorName=.",
    )
    backlog: Annotated[Integer, Field(ge=1, le=65_535)] | None = Field(
        None, description="Connections that may wait. Default: 4096."
    )
    mode: Umask | None = Field(None, description='Permissions of a Unix socket, octal text. Default: "600".')
    shared: Flag | None = Field(
        None, description="Services that name the same socket have it together. Default: false."
    )
    user: Text | None = Field(None, min_length=1, description="Owner of a Unix socket.")
    group: Text | None = Field(None, min_length=1, description="Group of a Unix socket.")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(value is not None for value in (self.port, self.udp, self.path, self.systemd)) != 1:
            raise ValueError("must have exactly one of port, udp, path and systemd")
        if self.systemd is not None and (self.host is not None or self.backlog is not None):
            raise ValueError("must not have a host or a backlog with systemd, which has opened it")
        if self.host not in (None, "localhost"):
            try:
                ipaddress.ip_address(self.host or "")
            except ValueError:
                msg = f"must have an IP address or localhost for a host, not {self.host!r}"
                raise ValueError(msg) from None
        if self.path is not None and self.host is not None:
            raise ValueError("must not have a host with a path")
        if self.path is None and (self.mode, self.user, self.group) != (None, None, None):
            raise ValueError("has mode, user and group only with a path")
        return self


class LimitsForm(Form):
    """What the processes of a run may use together."""

    memory: Annotated[ByteSize, Field(ge=1_048_576)] | None = Field(
        None, description="More than this ends the run, which counts as failed."
    )
    cpu: Annotated[float, Field(ge=0.01, le=1_024, allow_inf_nan=False)] | None = Field(
        None, description="Processors: 1.5 is one and a half. Held by control groups only."
    )
    pids: Annotated[Integer, Field(ge=1, le=4_194_304)] | None = Field(
        None, description="Processes and threads. Held by control groups only."
    )


class RecycleForm(Form):
    """When a run is replaced by a fresh one though nothing is wrong with it."""

    memory: Annotated[ByteSize, Field(ge=1_048_576)] | None = Field(
        None, description="When its processes use more than this together."
    )
    age: Annotated[Duration, Field(ge=1)] | None = Field(None, description="When it is older than this.")
    cron: Text | None = Field(None, description="At these times of day: five cron fields.")
    timezone: Text | None = Field(
        None, description="IANA name of the zone that cron means. Default: the host's."
    )

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        return None if value is None else check_cron(value)

    @model_validator(mode="after")
    def _has_use_for_a_zone(self) -> Self:
        if self.timezone is not None and self.cron is None:
            raise ValueError("must have a timezone only beside cron")
        if self.timezone is not None:
            try:
                zone_of(self.timezone)
            except ValueError as error:
                raise ValueError('must have a timezone like "Europe/Berlin"') from error
        return self


HookLine = Annotated[
    HookForm,
    BeforeValidator(_to_hook),
    AlsoWritten(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]
"""A command with its timeout, or the command alone."""

ReloadLine = Annotated[ReloadForm, BeforeValidator(_to_reload), AlsoWritten({"type": "string"})]
"""An object, or the name of a signal."""

SocketLine = Annotated[
    SocketForm,
    BeforeValidator(_to_socket),
    AlsoWritten({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string"}]}),
]
"""An object, or a port, "address:port", or a path."""
