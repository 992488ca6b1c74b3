"""Members of JSON objects, each as what it should be: what is missing or odd becomes its empty value."""

from collections.abc import Mapping
from typing import cast

from orchestra_supervisor.gateway.messages import Json

__all__ = ["flag", "member", "members", "number", "opt_text", "text", "texts", "whole"]


def text(row: Mapping[str, object], key: str) -> str:
    """Return a text; empty where there is none."""
    value = row.get(key)
    return value if isinstance(value, str) else ""


def opt_text(row: Mapping[str, object], key: str) -> str | None:
    """Return a text, or None where there is none or it is empty."""
    return text(row, key) or None


def number(row: Mapping[str, object], key: str) -> float | None:
    """Return a number, or None."""
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def whole(row: Mapping[str, object], key: str) -> int | None:
    """Return a whole number, or None."""
    value = row.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def flag(row: Mapping[str, object], key: str) -> bool:
    """Return whether something is true; what is missing is not."""
    return row.get(key) is True


def texts(row: Mapping[str, object], key: str) -> list[str]:
    """Return the texts of a list."""
    value = row.get(key)
    return (
        [one for one in cast("list[object]", value) if isinstance(one, str)]
        if isinstance(value, list)
        else []
    )


def member(row: Mapping[str, object], key: str) -> Json:
    """Return an object; empty where there is none."""
    value = row.get(key)
    return cast("Json", value) if isinstance(value, dict) else {}


def members(row: Mapping[str, object], key: str) -> list[Json]:
    """Return the objects of a list."""
    value = row.get(key)
    if not isinstance(value, list):
        return []
    return [cast("Json", one) for one in cast("list[object]", value) if isinstance(one, dict)]
