"""The part of the native form that says where a service's lines go besides their file."""

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from orchestra_supervisor.config.form_parts import AlsoWritten, Form
from orchestra_supervisor.config.values import Text
from orchestra_supervisor.model.log import SinkSpec

__all__ = ["ConsoleForm", "JournaldForm", "SinkForm", "SinksForm", "SyslogForm", "to_sink_spec"]

_JOURNALD = "/run/systemd/journal/socket"
_SYSLOG = "/dev/log"
_SYSLOG_PORT = 514
_WORDS = ("journald", "syslog", "console")
# fmt: off
_FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
)  # RFC 5424, table 1, in its order
# fmt: on


def _parse_address(text: str) -> tuple[Literal["unix", "udp", "tcp"], str, int | None]:
    if text.startswith("/"):
        return "unix", text, None
    match = re.fullmatch(r"(udp|tcp)://(?:\[([^\]]+)\]|([^:/\[\]]+))(?::([0-9]{1,5}))?", text, re.ASCII)
    if match is None:
        raise ValueError('must be a path, or "udp://127.0.0.1:514", or "tcp://127.0.0.1:514"')
    host = match[2] or match[3]
    port = int(match[4] or _SYSLOG_PORT)
    try:
        number = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        msg = f"must have the number of a host, and {host!r} is none: the logger looks no names up"
        raise ValueError(msg) from None
    if not 1 <= port <= 65535:
        msg = f"must have a port from 1 to 65535, not {port}"
        raise ValueError(msg)
    return ("udp" if match[1] == "udp" else "tcp"), str(number), port


class JournaldForm(Form):
    """The journal of systemd, by its own protocol."""

    address: Annotated[Text, Field(pattern=r"^/")] | None = Field(
        None, description=f"Absolute path of its socket. Default: {_JOURNALD}."
    )


class SyslogForm(Form):
    """A receiver of syslog messages."""

    address: Text | None = Field(
        None,
        description=f"Path of a datagram socket, udp://HOST:PORT or tcp://HOST:PORT. Default: {_SYSLOG}.",
    )
    facility: Text | None = Field(None, description="kern, user, daemon, local0 and so on. Default: daemon.")
    format: Literal["rfc5424", "rfc3164"] | None = Field(
        None, description="Default: rfc3164 for a path, which local receivers expect, else rfc5424."
    )

    @field_validator("address")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            _parse_address(value)
        return value

    @field_validator("facility")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None and value not in _FACILITIES:
            msg = f"unknown facility {value!r}; known: {', '.join(_FACILITIES)}"
            raise ValueError(msg)
        return value


class ConsoleForm(Form):
    """The output that the keeper was started with: that of a container."""

    to: Literal["stdout", "stderr"] | None = Field(None, description="Default: stdout.")
    layout: Literal["raw", "prefix", "json"] | None = Field(
        None, description="Lines as they are, with the service before them, or as objects. Default: raw."
    )


class SinkForm(Form):
    """One destination: exactly one of journald, syslog and console."""

    journald: JournaldForm | None = Field(None, description="The journal of systemd.")
    syslog: SyslogForm | None = Field(None, description="A receiver of syslog messages.")
    console: ConsoleForm | None = Field(
        None, description="The output of the keeper, where `orchestra up --exec` became it."
    )
    stream: Literal["stdout", "stderr", "both"] | None = Field(
        None, description="Whose lines go there. Default: both."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(one is not None for one in (self.journald, self.syslog, self.console)) != 1:
            raise ValueError("must have exactly one of journald, syslog and console")
        return self


def _spell_out(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in _WORDS:
        msg = f'must be "journald", "syslog", "console", or an object of one of them, not {value!r}'
        raise ValueError(msg)
    return {str(value): dict[str, object]()}


SinksForm = Annotated[
    list[Annotated[SinkForm, BeforeValidator(_spell_out), AlsoWritten({"enum": list(_WORDS)})]],
    Field(max_length=8),
]
"""Destinations; a word stands for one with all defaults."""


def to_sink_spec(form: SinkForm) -> SinkSpec:
    """Return a destination as the logger takes it."""
    stream = form.stream or "both"
    if form.console is not None:
        address = f"/dev/{form.console.to or 'stdout'}"
        layout = form.console.layout or "raw"
        return SinkSpec(protocol="console", transport="stream", address=address, stream=stream, layout=layout)
    if form.syslog is None:
        address = form.journald.address if form.journald else None
        return SinkSpec(protocol="journald", address=address or _JOURNALD, stream=stream)
    transport, address, port = _parse_address(form.syslog.address or _SYSLOG)
    protocol = form.syslog.format or ("rfc3164" if transport == "unix" else "rfc5424")
    facility = _FACILITIES.index(form.syslog.facility or "daemon")
    return SinkSpec(
        protocol=protocol,
        transport=transport,
        address=address,
        port=port,
        facility=facility,
        stream=stream,
    )
