"""Reads fields out of JSON that nobody has checked: what is not of the kind asked for counts as absent."""

from collections.abc import Iterable
from typing import cast

from orchestra_supervisor.gateway.messages import Json

__all__ = ["decimal", "flag", "member", "objects", "text", "texts", "whole"]


def member(source: object, key: str) -> Json:
    """Return the object under a key, empty where there is none."""
    value = cast("Json", source).get(key) if isinstance(source, dict) else None
    return cast("Json", value) if isinstance(value, dict) else {}


def objects(source: object, key: str) -> list[Json]:
    """Return the objects of the list under a key; what is no object in it is left out."""
    return [cast("Json", one) for one in _listed(source, key) if isinstance(one, dict)]


def text(source: object, key: str, default: str = "") -> str:
    """Return the string under a key."""
    value = cast("Json", source).get(key) if isinstance(source, dict) else None
    return value if isinstance(value, str) else default


def texts(source: object, key: str) -> tuple[str, ...]:
    """Return the strings of the list under a key."""
    return tuple(one for one in _listed(source, key) if isinstance(one, str))


def flag(source: object, key: str, *, default: bool = False) -> bool:
    """Return the boolean under a key."""
    value = cast("Json", source).get(key) if isinstance(source, dict) else None
    return value if isinstance(value, bool) else default


def decimal(source: object, key: str, default: float = 0.0) -> float:
    """Return the number under a key."""
    value = cast("Json", source).get(key) if isinstance(source, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def whole(source: object, key: str, default: int = 0) -> int:
    """Return the whole number under a key."""
    value = cast("Json", source).get(key) if isinstance(source, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _listed(source: object, key: str) -> Iterable[object]:
    value = cast("Json", source).get(key) if isinstance(source, dict) else None
    return cast("list[object]", value) if isinstance(value, list) else ()
