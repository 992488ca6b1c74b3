"""Values out of a message, checked one at a time."""

import math
from typing import TypeVar, cast

from orchestra_supervisor.wire.frames import Message

__all__ = [
    "BadMessage",
    "account",
    "known_account",
    "list_of",
    "optional_flag",
    "optional_int",
    "seconds",
    "take_text",
    "to_bytes",
]

_T = TypeVar("_T")

_NAME_LIMIT = 256
_MAX_WAIT = 31_536_000.0  # seconds, one year; the limit of the daemon's specs


class BadMessage(Exception):
    """A message lacks a key or has a wrong type; the text names key and value."""


def take_text(message: Message, key: str) -> str:
    """Return a name from a message: text of 1 to 256 characters.

    Raises:
        BadMessage: It is missing or something else.
    """
    value = message.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= _NAME_LIMIT:
        raise BadMessage(f"{key} is {str(value)[:80]!r}, not text of 1 to {_NAME_LIMIT} characters")
    to_bytes(key, value)
    return value


def seconds(key: str, value: object) -> float:
    """Return a duration: 0 to a year, in seconds.

    Raises:
        BadMessage: It is something else.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= _MAX_WAIT
        or math.isnan(value)
    ):
        raise BadMessage(f"{key} waits 0 to {_MAX_WAIT:.0f} seconds, not {value!r}")
    return float(value)


def optional_int(message: Message, key: str, low: int, high: int) -> int | None:
    """Return a whole number within bounds, or None where it is null or missing.

    Raises:
        BadMessage: It is something else.
    """
    value = message.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadMessage(f"{key} is {value!r}, not a whole number from {low} to {high}")
    return value


def list_of(message: Message, key: str, *kinds: type[_T]) -> list[_T]:
    """Return a list whose items are of these types.

    Raises:
        BadMessage: It is missing or something else.
    """
    value = message.get(key)
    if not isinstance(value, list):
        raise BadMessage(f"{key} is {str(value)[:80]!r}, not a list")
    items = cast("list[object]", value)
    for item in items:
        if not isinstance(item, kinds):
            raise BadMessage(f"{key} holds {str(item)[:80]!r}, which has the wrong type")
    return cast("list[_T]", items)


def optional_flag(message: Message, key: str) -> bool:
    """Return true or false; false where it is null or missing.

    Raises:
        BadMessage: It is something else.
    """
    value = message.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadMessage(f"{key} is {str(value)[:80]!r}, not true or false")
    return bool(value)


def to_bytes(key: str, value: object) -> bytes:
    """Return text as the kernel gets it: UTF-8, lone surrogates as the bytes that they stand for.

    Raises:
        BadMessage: It is no text, or holds a NUL. The value is not told: it may be a secret.
    """
    try:
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else None
    except UnicodeEncodeError:
        data = None
    if data is None or b"\0" in data:  # the value is not shown: it may be a secret
        raise BadMessage(f"{key}: a value is not text, or holds a NUL")
    return data


def account(key: str, value: object) -> str | int | None:
    """Return a user or group as a name or a number, or None.

    Raises:
        BadMessage: It is neither.
    """
    return None if value is None else known_account(key, value)


def known_account(key: str, value: object) -> str | int:
    """Return a user or group as a name or a number.

    Raises:
        BadMessage: It is neither.
    """
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise BadMessage(f"{key}: {value!r} is neither a name nor a number")
    if isinstance(value, str):
        to_bytes(key, value)
        if not value.isdecimal():
            return value
    if not 0 <= int(value) < 2**32 - 1:
        raise BadMessage(f"{key}: {value!r} is not a valid id")
    return int(value)
