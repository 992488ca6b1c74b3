"""What a run is equipped with besides its program: commands, sockets, a word of its own, limits."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from orchestra_supervisor.model.schedule import check_cron

__all__ = ["HookSpec", "LimitsSpec", "RecycleSpec", "ReloadSpec", "SocketSpec"]

_Timeout = Annotated[float, Field(ge=0.01, le=86_400, allow_inf_nan=False)]
_NoNul = Annotated[str, Field(pattern=r"^[^\x00]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class HookSpec(_Part):
    """A command that belongs to a run, and how many seconds it may take."""

    argv: Annotated[tuple[_NoNul, ...], Field(min_length=1)]
    timeout: _Timeout = 60.0


class ReloadSpec(_Part):
    """How a running service is told to read its configuration again: a signal to its leader, or a command."""

    signal: str | None = None
    command: HookSpec | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.signal is None) is (self.command is None):
            raise ValueError("must have exactly one of signal and command")
        return self


class SocketSpec(_Part):
    """A listening socket that outlives runs and is handed to each."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    kind: Literal["tcp", "udp", "unix", "inherited"] = "tcp"
    host: str = ""
    """IP address; empty for unix."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """0 for unix."""
    path: _NoNul = ""
    """Absolute path of a unix socket, else empty."""
    backlog: Annotated[int, Field(ge=1, le=65_535)] = 4096
    mode: Annotated[int, Field(ge=0, le=0o777)] = 0o600
    user: str | None = None
    group: str | None = None
    shared: bool = False
    """Services that name the same socket have it together."""
    fd_name: str = ""
    """What the service manager calls an inherited one (FileDescriptorName=), else empty."""

    @field_validator("host")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return value and str(ipaddress.ip_address(value))

    @property
    def address(self) -> str:
        """Return the address for people."""
        if self.kind == "inherited":
            return f"systemd {self.fd_name}"
        if self.kind == "unix":
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class LimitsSpec(_Part):
    """What the processes of a run may use together; None: no limit."""

    memory: Annotated[int, Field(ge=1_048_576)] | None = None
    """Bytes."""
    cpu: Annotated[float, Field(ge=0.01, le=1_024)] | None = None
    """Processors: 1.5 is one and a half."""
    pids: Annotated[int, Field(ge=1, le=4_194_304)] | None = None
    """Processes and threads."""

    @property
    def named(self) -> dict[str, float]:
        """Return the limits that there are, by name."""
        every = {"memory": self.memory, "cpu": self.cpu, "pids": self.pids}
        return {name: value for name, value in every.items() if value is not None}


class RecycleSpec(_Part):
    """When a run is replaced by a fresh one though nothing is wrong with it; None: not."""

    memory: Annotated[int, Field(ge=1_048_576)] | None = None
    """Bytes that its processes use together."""
    age: Annotated[float, Field(ge=1, le=31_536_000)] | None = None
    """Seconds since its start."""
    cron: str | None = None
    """Times of day, in five cron fields."""
    timezone: str = "UTC"
    """IANA name of the zone whose time of day `cron` means."""

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        return None if value is None else check_cron(value)
