"""Checks beside those of addresses and commands: a line of the service's log, and gRPC's health service."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["GrpcCheck", "LogCheck"]


class _Spec(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class GrpcCheck(_Spec):
    """Passes when a server says of itself, or of one of its services, that it is serving.

    Source: grpc.health.v1, "GRPC Health Checking Protocol".
    """

    type: Literal["grpc"] = "grpc"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """None: `unix` is the address."""
    unix: str | None = None
    """Absolute path of a socket."""
    service: str = ""
    """As the server calls it; empty: the server as a whole."""


class LogCheck(_Spec):
    """Passes once a line that the present run has written matches, and then for as long as it runs."""

    type: Literal["log"] = "log"
    pattern: str
    """Regular expression searched in each line as it stands in the log, UTF-8 with bad bytes replaced."""
    stream: Literal["stdout", "stderr", "any"] = "any"
