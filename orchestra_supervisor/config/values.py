"""The written forms of single values: durations, sizes, commands, umasks, limits, statuses.

Each is an annotated type for the models of `form`: strict about its type, generous about its
spelling, and with a JSON Schema of what may be written. Text that came out of a variable
(`Expanded`) may stand where a number or a truth is wanted.
"""

import re
import resource
from typing import Annotated, cast

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from orchestra_supervisor.model.spec import SERVICE_NAME_PATTERN

__all__ = [
    "DURATION_PATTERN",
    "RLIMIT_NAMES",
    "SHELL",
    "UNLIMITED",
    "ByteSize",
    "CommandLine",
    "Duration",
    "EnvValue",
    "Expanded",
    "Flag",
    "Integer",
    "LimitPair",
    "PortNumber",
    "RestartLimit",
    "ServiceName",
    "StatusRange",
    "Text",
    "Umask",
    "is_shell_line",
    "shell_argv",
]

SHELL = "/bin/sh"
"""Runs shell lines; POSIX promises it."""

RLIMIT_NAMES = tuple(sorted(name[7:].lower() for name in dir(resource) if name.startswith("RLIMIT_")))
"""Resources that may be limited on this host."""

UNLIMITED = -1
"""Stands for "unlimited" restarts between reading and resolving."""

DURATION_PATTERN = r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|sec|m|min|h|d)?\s*"
"""What a duration looks like as text."""
_DURATION = re.compile(DURATION_PATTERN, re.ASCII)
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"\s*([0-9]+)\s*([kmg]?)(?:i?b)?\s*", re.ASCII | re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_VARIABLE_TEXT = {"type": "string", "pattern": r"\{"}


class Expanded(str):
    """Text that a variable has put in; it may be read as a number or a truth."""

    __slots__ = ()


def shell_argv(line: str) -> list[str]:
    """Return the argument vector that runs a shell line."""
    return [SHELL, "-c", line]


def is_shell_line(argv: "list[str] | tuple[str, ...]") -> bool:
    """Tell whether an argument vector is a shell line."""
    return len(argv) == 3 and argv[0] == SHELL and argv[1] == "-c"


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not hold a NUL character")
    return value


def _to_integer(value: object) -> object:
    if isinstance(value, Expanded):
        text = value.strip()
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII):
            return int(text)
        msg = f"must be a whole number, and its variables give {str(value)!r}"
        raise ValueError(msg)
    return value


def _to_restart_limit(value: object) -> object:
    if isinstance(value, str) and value == "unlimited":
        return UNLIMITED
    value = _to_integer(value)
    if isinstance(value, str) or (isinstance(value, int) and value < 0):
        raise ValueError('must be a whole number from 0, or "unlimited"')
    return value


def _to_flag(value: object) -> object:
    if isinstance(value, Expanded):
        word = value.strip().lower()
        if word in ("true", "1", "yes", "on"):
            return True
        if word in ("false", "0", "no", "off", ""):
            return False
        msg = f"must be true or false, and its variables give {str(value)!r}"
        raise ValueError(msg)
    return value


def _to_seconds(value: object) -> object:
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            raise ValueError('must be seconds or text like "500ms", "2s", "5m", "1h"')
        return float(match.group(1)) * _DURATION_UNITS[match.group(2) or "s"]
    return value


def _to_bytes(value: object) -> object:
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is None or len(match.group(1)) > 15:
            raise ValueError('must be bytes or text like "50MB"')
        return int(match.group(1)) * _SIZE_UNITS[match.group(2).lower()]
    return value


def _to_argv(value: object) -> object:
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("must not be empty")
        return shell_argv(str(value))
    if isinstance(value, list) and value and value[0] == "":
        raise ValueError("must name a program first")
    return cast("object", value)


def _to_umask(value: object) -> object:
    if isinstance(value, str):
        if not re.fullmatch(r"(?:0o?)?[0-7]{1,3}", value):
            raise ValueError('must be octal text like "027"')
        return int(value.removeprefix("0o"), 8)
    raise ValueError('must be octal text like "027", in quotes (a number would not be read as octal)')


def _to_env_text(value: object) -> object:
    """Take numbers and truths as they are commonly written in `env` objects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value


def _to_limits(value: object) -> object:
    pair = value
    if isinstance(value, dict):
        mapping = cast("dict[str, object]", value)
        if set(mapping) != {"soft", "hard"}:
            raise ValueError("must have exactly the keys soft and hard")
        pair = [mapping["soft"], mapping["hard"]]
    elif not isinstance(value, list):
        pair = [value, value]
    items = cast("list[object]", pair)
    if len(items) != 2:
        raise ValueError("must be one limit, or [soft, hard]")
    limits = [None if item in (None, "unlimited") else _to_integer(item) for item in items]
    for limit in limits:
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
            raise ValueError('must be a whole number, "unlimited", or [soft, hard] of these')
    soft, hard = cast("list[int | None]", limits)
    if hard is not None and (soft is None or soft > hard):
        raise ValueError("the soft limit must not be above the hard one")
    return limits


def _to_statuses(value: object) -> object:
    value = _to_integer(value)
    items = cast("list[object]", value) if isinstance(value, list) else [value, value]
    whole = [item for item in items if isinstance(item, int) and not isinstance(item, bool)]
    if len(items) != 2 or len(whole) != 2 or not 100 <= whole[0] <= whole[1] <= 599:
        raise ValueError("must be a status like 200, or [lowest, highest] like [200, 299]")
    return whole


Text = Annotated[str, AfterValidator(_no_nul)]
"""Text without NUL, which no argument, path or environment can hold."""

ServiceName = Annotated[str, Field(pattern=SERVICE_NAME_PATTERN)]

Integer = Annotated[
    int, BeforeValidator(_to_integer), WithJsonSchema({"anyOf": [{"type": "integer"}, _VARIABLE_TEXT]})
]
"""A whole number, or variables that give one."""

RestartLimit = Annotated[
    int,
    Field(le=1_000_000_000),
    BeforeValidator(_to_restart_limit),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "unlimited"}, _VARIABLE_TEXT]}),
]
"""A number of restarts, or "unlimited"."""

Flag = Annotated[
    bool, BeforeValidator(_to_flag), WithJsonSchema({"anyOf": [{"type": "boolean"}, _VARIABLE_TEXT]})
]
"""True or false, or variables that give one."""

PortNumber = Annotated[
    int,
    Field(ge=1, le=65535),
    BeforeValidator(_to_integer),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, _VARIABLE_TEXT]}),
]

Duration = Annotated[
    float,
    Field(ge=0, le=31_536_000, allow_inf_nan=False),
    BeforeValidator(_to_seconds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 31_536_000},
                {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|sec|m|min|h|d)?\s*$|\{"},
            ]
        }
    ),
]
"""Seconds, written as a number or as "500ms", "2s", "5m", "1h", "1d"; up to a year."""

ByteSize = Annotated[
    int,
    Field(ge=0),
    BeforeValidator(_to_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^\s*[0-9]+\s*[kKmMgG]?([iI]?[bB])?\s*$|\{"},
            ]
        }
    ),
]
"""Bytes, written as a number or as "64KB", "50MB", "1GB" (powers of 1024)."""

CommandLine = Annotated[
    list[Text],
    Field(min_length=1),
    BeforeValidator(_to_argv),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "string", "minLength": 1},
            ]
        }
    ),
]
"""An argument vector (no shell), or a line for `/bin/sh -c`."""

Umask = Annotated[
    int, BeforeValidator(_to_umask), WithJsonSchema({"type": "string", "pattern": "^(0o?)?[0-7]{1,3}$"})
]

EnvValue = Annotated[
    Text, BeforeValidator(_to_env_text), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
"""Text of an environment variable; numbers and truths are taken as text."""

_LIMIT_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 0}, {"const": "unlimited"}]}
LimitPair = Annotated[
    list[int | None],
    BeforeValidator(_to_limits),
    WithJsonSchema(
        {
            "anyOf": [
                *_LIMIT_SCHEMA["anyOf"],
                {"type": "array", "items": _LIMIT_SCHEMA, "minItems": 2, "maxItems": 2},
                {
                    "type": "object",
                    "properties": {"soft": _LIMIT_SCHEMA, "hard": _LIMIT_SCHEMA},
                    "required": ["soft", "hard"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
"""One limit for both, [soft, hard], or an object of both; "unlimited" is no limit."""

StatusRange = Annotated[
    list[int],
    BeforeValidator(_to_statuses),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
            ]
        }
    ),
]
"""One HTTP status, or the lowest and the highest that count."""
