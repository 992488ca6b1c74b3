"""What becomes of a service's output: how its log is rotated and kept."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LogSpec"]

_Bytes = Annotated[int, Field(ge=0)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
