"""The part of the native form that says what becomes of a service's output."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field

from orchestra_supervisor.config.form_parts import AlsoWritten, Form, spell_out
from orchestra_supervisor.config.form_sinks import SinkForm, SinksForm, to_sink_spec
from orchestra_supervisor.config.values import ByteSize, Duration, Flag, Integer, Text
from orchestra_supervisor.model.log import LogFileSpec, LogSpec, RateLimitSpec

__all__ = ["LogFileForm", "LogForm", "RateLimitForm", "to_log_spec"]


def _to_pattern(text: str) -> str:
    try:
        pattern = re.compile(text.encode("utf-8"))
    except (re.error, UnicodeError, OverflowError, RecursionError) as error:
        msg = f"must be a regular expression, and {text!r} is none: {error}"
        raise ValueError(msg) from None
    if pattern.match(b"") is not None:
        msg = f"must not match empty text, as {text!r} does: say what it looks for at least"
        raise ValueError(msg)
    return text


Pattern = Annotated[str, Field(min_length=1, max_length=1_000), AfterValidator(_to_pattern)]
"""A regular expression as of Python's `re`, searched in the bytes of a line."""


class RateLimitForm(Form):
    """How much of a service's output is written in a time."""

    size: Annotated[ByteSize, Field(ge=1)] = Field(alias="bytes", description="What may come in each `per`.")
    per: Annotated[Duration, Field(ge=0.01, le=86_400)] | None = Field(
        None, description="Time to which `bytes` refers, 10ms to 1d. Default: 1s."
    )
    burst: ByteSize | None = Field(
        None, description="What may come at once after a quiet spell. Default: as much as `bytes`."
    )
    on_limit: Literal["drop", "block"] | None = Field(
        None,
        description="What is over is left out, counted and shown; or it waits, and the service with it. "
        "Default: drop.",
    )


class LogFileForm(Form):
    """A file that gets a copy of the output."""

    path: Text = Field(
        min_length=1,
        description="Relative to the file's folder.",
    )
    stream: Literal["stdout", "stderr", "both"] | None = Field(None, description="Default: both.")
    max_bytes: ByteSize | None = Field(
        None, description="Size at which it becomes PATH.1, and that PATH.2; 0: never. Default: 50MB."
    )
    backups: Annotated[Integer, Field(ge=0, le=10_000)] | None = Field(
        None, description="Rotated files that are kept. Default: 10."
    )


LogFilesForm = Annotated[
    list[Annotated[LogFileForm, spell_out("path"), AlsoWritten({"type": "string", "minLength": 1})]],
    Field(max_length=8),
]


class LogForm(Form):
    """The log of a service: how it is written, rotated and kept."""

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
    format: Literal["raw", "json"] | None = Field(
        None, description="As the service writes it, or an object for each line. Default: raw."
    )
    redact: Annotated[list[Pattern], Field(max_length=100)] | None = Field(
        None, description="Regular expressions: what they match in a line is written as [redacted]."
    )
    redact_secrets: Flag | None = Field(
        None, description="Write the values of the service's secrets as [redacted]. Default: true."
    )
    rate_limit: RateLimitForm | None = Field(
        None, description="How much is written in a time. Default: no limit."
    )

    sinks: SinksForm | None = Field(
        None, description='Where each line goes besides the file: "journald", "syslog", or an object of one.'
    )
    files: LogFilesForm | None = Field(
        None, description="Further files that get a copy of the output: paths, or objects."
    )


def to_log_spec(defaults: LogForm | None, own: LogForm | None, directory: Path) -> LogSpec:
    """Return what a service's form says of its log, and the file's defaults where it says nothing.

    Args:
        defaults: Of the file.
        own: Of the service.
        directory: The folder of the file, from which paths start.
    """
    values: dict[str, Any] = {}
    for form in (defaults, own):
        for name in LogForm.model_fields if form else ():
            value = getattr(form, name)
            if value is not None:
                values[name] = value
    if "redact" in values:
        values["redact"] = tuple(values["redact"])
    if "sinks" in values:
        values["sinks"] = tuple(to_sink_spec(form) for form in cast("list[SinkForm]", values["sinks"]))
    if "rate_limit" in values:
        given = cast("RateLimitForm", values["rate_limit"]).model_dump(exclude_none=True)
        values["rate_limit"] = RateLimitSpec(**given)
    if "files" in values:
        forms = cast("list[LogFileForm]", values["files"])
        values["files"] = tuple(_copy(form, directory) for form in forms)
    return LogSpec(**values)


def _copy(form: LogFileForm, directory: Path) -> LogFileSpec:
    values: dict[str, Any] = form.model_dump(exclude_none=True)
    values["path"] = os.path.normpath(directory / form.path)
    return LogFileSpec(**values)
