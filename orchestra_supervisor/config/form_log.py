"""The part of the native form that says what becomes of a service's output."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from orchestra_supervisor.config.values import ByteSize, Duration, Flag, Integer
from orchestra_supervisor.model.log import LogSpec

__all__ = ["LogForm", "to_log_spec"]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LogForm(_Form):
    """The log of a service: how it is rotated and kept."""

    max_bytes: ByteSize | None = Field(
        None, description="Size at which it is rotated; 0: never. Default: 50MB."
    )
    max_age: Duration | None = Field(
        None, description="Age of a segment's first line at which it is rotated; 0: never. Default: 0."
    )
    backups: Annotated[Integer, Field(ge=0, le=10_000)] | None = Field(
        None, description="Rotated segments that are kept. Default: 5."
    )
    keep_bytes: ByteSize | None = Field(
        None,
        description="What the log may take with its rotated segments, the oldest go first; 0: no limit. "
        "Default: 0.",
    )
    compress: Flag | None = Field(None, description="Compress rotated segments. Default: true.")


def to_log_spec(defaults: LogForm | None, own: LogForm | None) -> LogSpec:
    """Return what a service's form says of its log, and the file's defaults where it says nothing."""
    values: dict[str, Any] = {}
    for form in (defaults, own):
        for name in LogForm.model_fields if form else ():
            value = getattr(form, name)
            if value is not None:
                values[name] = value
    return LogSpec(**values)
