"""What becomes of a service's output: how its log is rotated and kept."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LogFileSpec", "LogSpec", "RateLimitSpec", "SinkSpec"]

_Bytes = Annotated[int, Field(ge=0)]


class _Spec(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class RateLimitSpec(_Spec):
    """How much of a service's output is written in a time."""

    size: Annotated[int, Field(ge=1)]
    """Bytes that may come in each `per`."""
    per: Annotated[float, Field(gt=0, le=86_400)] = 1.0
    burst: _Bytes = 0
    """Bytes that may come at once after a quiet spell; 0: as many as `size`."""
    on_limit: Literal["drop", "block"] = "drop"
    """What is over is left out, counted and shown; or waits in the pipe, and the service with it."""


class SinkSpec(_Spec):
    """Where each line goes besides the file."""

    protocol: Literal["journald", "rfc5424", "rfc3164", "console"]
    transport: Literal["unix", "udp", "tcp", "stream"] = "unix"
    """stream: of a console."""
    address: str
    """Absolute path of a socket, or the number of a host: the logger looks no names up. Of a console
    /dev/stdout or /dev/stderr: what the keeper was started with."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    facility: Annotated[int, Field(ge=0, le=23)] = 3
    """RFC 5424, table 1."""
    stream: Literal["stdout", "stderr", "both"] = "both"
    layout: Literal["raw", "prefix", "json"] = "raw"
    """Of a console: lines as they are, with the service before them, or as objects."""


class LogFileSpec(_Spec):
    """A file that gets a copy of the output, byte by byte, rotated as supervisord does it."""

    path: str
    """Absolute."""
    stream: Literal["stdout", "stderr", "both"] = "both"
    max_bytes: _Bytes = 50 * 1024 * 1024
    """Size at which it becomes `PATH.1`, and that `PATH.2`; 0: never."""
    backups: Annotated[int, Field(ge=0, le=10_000)] = 10
    """So many are kept; 0: it is emptied."""


class LogSpec(_Spec):
    """The log of one service."""

    max_bytes: _Bytes = 50 * 1024 * 1024
    """Size at which the segment is rotated; 0: never."""
    backups: Annotated[int, Field(ge=0, le=10_000)] = 5
    compress: bool = True
    max_age: Annotated[float, Field(ge=0, le=31_536_000)] = 0.0
    """Seconds after a segment's first byte at which it is rotated; 0: never."""
    keep_bytes: _Bytes = 0
    """What it may take with all its rotated segments, the oldest go first; 0: no limit."""
    format: Literal["raw", "json"] = "raw"
    redact: tuple[str, ...] = ()
    """Regular expressions; what they match in a line is replaced before it is written."""
    redact_secrets: bool = True
    """So are the values of the service's secrets."""
    rate_limit: RateLimitSpec | None = None
    sinks: tuple[SinkSpec, ...] = ()
    files: tuple[LogFileSpec, ...] = ()
