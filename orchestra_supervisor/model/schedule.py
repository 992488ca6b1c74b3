"""The schedule of a periodic service: when its runs are planned, and what happens to those that cannot be."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from orchestra_supervisor.model.zones import zone_of

__all__ = ["CRON_FIELDS", "ScheduleSpec", "check_cron"]

CRON_FIELDS = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day-of-month", "1 to 31 or L"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day-of-week", "0 to 7 or SUN to SAT"),
)
"""The fields of a cron expression in order, each with its values."""
_ANY_DAY = datetime(2000, 1, 1)  # noqa: DTZ001  # where the search begins does not matter


def check_cron(expression: str) -> str:
    """Return a cron expression of five fields that names at least one instant.

    Raises:
        ValueError: It does not; the message names the field.
    """
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  # of a fleet without schedules nobody needs it

    parts = expression.split()
    if len(parts) != len(CRON_FIELDS):
        names = " ".join(name for name, _ in CRON_FIELDS)
        msg = f"must be five fields ({names})"
        raise ValueError(msg)
    try:
        if next(CronSim(expression, _ANY_DAY), None) is None:
            raise ValueError("must name a day that comes")
    except CronSimError as error:
        for (name, values), part in zip(CRON_FIELDS, parts, strict=True):
            if str(error) == f"Bad {name}":
                msg = f"must have a {name} field of {values}, lists, ranges and steps ({part!r} is none)"
                raise ValueError(msg) from error
        msg = f"must be a cron expression ({error})"
        raise ValueError(msg) from error
    return expression


class ScheduleSpec(BaseModel):
    """When runs are planned: every so many seconds, or at the times of day that a cron expression names."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    every: Annotated[float, Field(ge=1, le=31_536_000, allow_inf_nan=False)] | None = None
    """Seconds of monotonic time from one planned run to the next."""
    cron: str | None = None
    timezone: str = "UTC"
    """IANA name of the zone whose time of day `cron` means."""
    jitter: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 0.0
    """A run begins up to so many seconds after its planned instant; always the same for the same instant."""
    overlap: Literal["skip", "queue", "replace"] = "skip"
    """For a run that is due while another is in the works: it is left out; it waits, at most one; or the
    other is stopped for it."""
    missed: Literal["skip", "once", "all"] = "once"
    """For runs that came due while nobody could begin them: left out, made up for by one, or each of them."""
    on_start: bool = False
    """A run is also due when the fleet starts."""

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        return None if value is None else check_cron(value)

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        zone_of(value)
        return value

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if (self.every is None) is (self.cron is None):
            raise ValueError("must have exactly one of every and cron")
        if self.every is not None and self.jitter > self.every:
            raise ValueError("must not have a jitter above every")
        return self
