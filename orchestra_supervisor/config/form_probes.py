"""The part of the native form that says how a service is checked: what, when, and how many results count."""

import re
from typing import Annotated, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from orchestra_supervisor.config.form_parts import AlsoWritten, Form, spell_out
from orchestra_supervisor.config.values import CommandLine, Duration, Integer, PortNumber, StatusRange, Text
from orchestra_supervisor.model.line_pattern import compile_line_pattern

__all__ = [
    "CHECK_KEYS",
    "GrpcForm",
    "HttpForm",
    "LogLineForm",
    "PluginCheckForm",
    "ProbeForm",
    "ProbeTimingForm",
    "ProbesForm",
    "TcpForm",
]

CHECK_KEYS = ("http", "tcp", "grpc", "log", "command", "plugin")
"""Keys of a probe of which it has one."""

_ADDRESS_SCHEMA: dict[str, object] = {
    "anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string"}]
}


def _to_line_pattern(text: str) -> str:
    compile_line_pattern(text)
    return text


def _to_address(value: object) -> object:
    if isinstance(value, str):
        host, _, port = value.rpartition(":")
        if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII):
            raise ValueError('must be a port, or "host:port"')
        address: dict[str, object] = {"port": int(port)}
        if host:
            address["host"] = host.removeprefix("[").removesuffix("]")
        return address
    if isinstance(value, int) and not isinstance(value, bool):
        return {"port": value}
    return cast("object", value)


class HttpForm(Form):
    """An HTTP request and the answer it must get."""

    url: Text = Field(pattern=r"^https?://[^\s/]\S*$", description="http:// or https:// address.")
    method: Literal["GET", "HEAD", "POST"] | None = Field(None, description="Default: GET.")
    headers: dict[str, Text] | None = Field(None, description="Sent with the request.")
    unix: Text | None = Field(
        None,
        min_length=1,
        description="Path of a Unix socket that is asked instead of the URL's host, from this file's folder.",
    )
    status: StatusRange | None = Field(
        None, description="Status that counts as healthy, or [lowest, highest]. Default: [200, 299]."
    )
    body: Text | None = Field(
        None, description="Regular expression that must be found in the first 64 KiB of the body."
    )

    @field_validator("body")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            compile_line_pattern(value)
        return value


class TcpForm(Form):
    """An address that must accept a connection."""

    host: Text | None = Field(None, description="Default: 127.0.0.1.")
    port: PortNumber = Field(description="TCP port.")


class GrpcForm(Form):
    """A gRPC server, and which of its services is asked for."""

    host: Text | None = Field(None, min_length=1, description="Default: 127.0.0.1.")
    port: PortNumber | None = Field(None, description="TCP port.")
    unix: Text | None = Field(
        None, min_length=1, description="Path of a Unix socket, from this file's folder; in place of a port."
    )
    service: Text | None = Field(
        None, description="As the server calls it. Default: empty, the server as a whole."
    )

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        if (self.port is None) == (self.unix is None):
            raise ValueError("must have a port or a unix socket" + (", not both" if self.port else ""))
        if self.unix is not None and self.host is not None:
            raise ValueError("must not have a host with a unix socket")
        return self


class LogLineForm(Form):
    """A line that the service writes once it has come so far."""

    pattern: Annotated[Text, AfterValidator(_to_line_pattern)] = Field(
        min_length=1,
        max_length=1_000,
        description="Regular expression that must be found in one line of the present run.",
        json_schema_extra={"format": "regex"},
    )
    stream: Literal["stdout", "stderr", "any"] | None = Field(
        None, description="Where the line is written. Default: any."
    )


class ProbeTimingForm(Form):
    """When a probe checks, and how many results count."""

    initial_delay: Duration | None = Field(None, description="From spawn to the first check. Default: 0.")
    period: Annotated[Duration, Field(ge=0.01, le=86_400)] | None = Field(
        None,
        description="Between the starts of two checks, 10ms to 1d. Default: 10s. "
        "Until it first passes, a probe checks more often.",
    )
    timeout: Annotated[Duration, Field(ge=0.01, le=3_600)] | None = Field(
        None, description="A check that takes longer has failed, 10ms to 1h. Default: 5s."
    )
    success_threshold: Annotated[Integer, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Passes in a row that count as healthy. Default: 1."
    )
    failure_threshold: Annotated[Integer, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Failures in a row that count as unhealthy. Default: 3."
    )


class PluginCheckForm(Form):
    """A check that a plugin carries out."""

    probe: Text = Field(min_length=1, description="The kind of check, as a plugin calls it.")
    options: dict[str, JsonValue] | None = Field(None, description="What that kind of check takes.")


class ProbeForm(ProbeTimingForm):
    """One probe: exactly one check, and its timing."""

    http: (
        Annotated[HttpForm, spell_out("url"), AlsoWritten({"type": "string", "pattern": r"^https?://|\$\{"})]
        | None
    ) = Field(None, description="Passes when the answer has the wanted status and body.")
    tcp: (
        Annotated[
            TcpForm,
            BeforeValidator(_to_address),
            AlsoWritten(_ADDRESS_SCHEMA),
        ]
        | None
    ) = Field(None, description="Passes when a connection is accepted: port, host:port, or an object.")
    command: CommandLine | None = Field(
        None, description="Passes when it exits with 0; runs with the service's cwd, env and user."
    )
    plugin: Annotated[PluginCheckForm, spell_out("probe"), AlsoWritten({"type": "string"})] | None = Field(
        None, description="Passes when a plugin's check does: its kind, or an object."
    )

    grpc: Annotated[GrpcForm, BeforeValidator(_to_address), AlsoWritten(_ADDRESS_SCHEMA)] | None = Field(
        None, description="Passes when a gRPC server says SERVING: port, host:port, or an object."
    )
    log: Annotated[LogLineForm, spell_out("pattern"), AlsoWritten({"type": "string"})] | None = Field(
        None,
        description="Passes once a line of the run's output matches: a regular expression, or an object.",
    )

    @model_validator(mode="after")
    def _has_one_check(self) -> Self:
        given = [name for name in CHECK_KEYS if getattr(self, name) is not None]
        if len(given) != 1:
            known = f"{', '.join(CHECK_KEYS[:-1])} and {CHECK_KEYS[-1]}"
            msg = f"must have exactly one of {known}, not {' and '.join(given) or 'none'}"
            raise ValueError(msg)
        return self


class ProbesForm(Form):
    """The probes of one service."""

    startup: ProbeForm | None = Field(
        None, description="Until it passes, readiness and liveness do not check; its failure ends the run."
    )
    readiness: ProbeForm | None = Field(None, description="Decides between ready and unhealthy.")
    liveness: ProbeForm | None = Field(None, description="Its failure restarts the run.")

    @field_validator("liveness")
    @classmethod
    def _speaks_of_now(cls, value: ProbeForm | None) -> ProbeForm | None:
        if value is not None and value.log is not None:
            raise PydanticCustomError(
                "log_liveness",
                "must not look for a line of the log: that it was written once says nothing of now",
                {"hint": "make it startup or readiness; check liveness by http, tcp, grpc or command"},
            )
        return value
