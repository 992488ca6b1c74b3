"""The written form of a schedule, and the spec that it becomes."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self, cast

from pydantic import BeforeValidator, Field, field_validator, model_validator

from orchestra_supervisor.config.form_parts import AlsoWritten, Form
from orchestra_supervisor.config.values import DURATION_PATTERN, Duration, Flag, Text
from orchestra_supervisor.model.schedule import ScheduleSpec, check_cron
from orchestra_supervisor.model.zones import zone_of

__all__ = ["ScheduleForm", "ScheduleOrText", "host_zone", "to_schedule"]


class ScheduleForm(Form):
    """When the runs of a periodic service are planned: exactly one of every and cron, and the rest."""

    every: Annotated[Duration, Field(ge=1)] | None = Field(
        None, description="Time from one planned run to the next, 1s to a year; counted without drift."
    )
    cron: Text | None = Field(
        None, description="Five cron fields: minute, hour, day of month, month, day of week."
    )
    timezone: Text | None = Field(
        None, description="IANA name of the zone that cron means. Default: the host's."
    )
    jitter: Annotated[Duration, Field(le=86_400)] | None = Field(
        None, description="A run begins up to this much after its planned instant, at most 1d. Default: 0."
    )
    overlap: Literal["skip", "queue", "replace"] | None = Field(
        None,
        description="A run that is due while another runs: skip it, queue it (at most one waits), "
        "or replace the other. Default: skip.",
    )
    missed: Literal["skip", "once", "all"] | None = Field(
        None,
        description="Runs that came due while nothing could begin them: skip them, make up for them once, "
        "or for all (at most 100). Default: once.",
    )
    on_start: Flag | None = Field(None, description="Run at the fleet's start too. Default: false.")

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        return None if value is None else check_cron(value)

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                zone_of(value)
            except ValueError as error:
                raise ValueError('must be the IANA name of a time zone like "Europe/Berlin"') from error
        return value

    @model_validator(mode="after")
    def _is_one_form(self) -> Self:
        if (self.every is None) is (self.cron is None):
            raise ValueError("must have exactly one of every and cron")
        if self.timezone is not None and self.cron is None:
            raise ValueError("must have a timezone only beside cron: every counts seconds, whatever the hour")
        if self.every is not None and (self.jitter or 0.0) > self.every:
            raise ValueError("must not have a jitter longer than every")
        return self


def _spell_out(value: object) -> object:
    """Take a duration, or else five fields, for the whole schedule."""
    if isinstance(value, str):
        if len(value.split()) < 2 and not re.fullmatch(DURATION_PATTERN, value, re.ASCII):
            raise ValueError('must be a duration like "5m", or five cron fields like "0 3 * * *"')
        return {"every" if re.fullmatch(DURATION_PATTERN, value, re.ASCII) else "cron": value}
    return cast("object", value) if isinstance(value, dict) else {"every": value}


ScheduleOrText = Annotated[
    ScheduleForm,
    BeforeValidator(_spell_out),
    AlsoWritten({"anyOf": [{"type": "string"}, {"type": "number", "minimum": 1}]}),
]
"""A schedule, or its duration or cron expression alone."""


def host_zone(environ: Mapping[str, str]) -> str:
    """Return the name of this host's time zone: that of TZ, else the system's; UTC where it has no name."""
    try:
        name = environ.get("TZ", "").removeprefix(":")
        if name:
            zone_of(name)
            return name
    except ValueError:
        pass  # a POSIX rule like CET-1CEST, which names no zone
    import tzlocal  # noqa: PLC0415  # of a fleet without schedules nobody needs it

    try:
        # Annotated as text, and None where the system has no zone.
        found = cast("str | None", tzlocal.get_localzone_name())
        if found:
            zone_of(found)
            return found
    except (LookupError, ValueError):  # the system contradicts itself, or names no zone of the table
        pass
    return "UTC"


def to_schedule(form: ScheduleForm | None, environ: Mapping[str, str]) -> ScheduleSpec | None:
    """Return the spec of a schedule, the host's time zone filled in."""
    if form is None:
        return None
    given = form.model_dump(exclude_none=True)
    if form.cron is not None:
        given.setdefault("timezone", host_zone(environ))
    return ScheduleSpec.model_validate(given)
