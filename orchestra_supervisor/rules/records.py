"""Changed copies of records, which a service goes through some fifteen of at each start."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

__all__ = ["replace"]

R = TypeVar("R")
_Set = Callable[[object, object], None]


def replace(record: R, /, **changes: object) -> R:
    """Return a copy of a record with other values, as `dataclasses.replace`, in half its time.

    The record is of a frozen dataclass with slots, more than one field and no `__post_init__`: so its slots
    are filled directly, where `__init__` would go through `object.__setattr__` for each.

    Raises:
        KeyError: It has no such field.
    """
    kind = type(record)
    values, slots = _shape(kind)
    copy = object.__new__(kind)
    for put, value in zip(slots.values(), values(record), strict=True):
        put(copy, value)
    for name, value in changes.items():
        slots[name](copy, value)
    return copy


@cache
def _shape(kind: type) -> tuple[Callable[[object], tuple[Any, ...]], dict[str, _Set]]:
    """Return what reads all fields of a kind of record, and what fills each."""
    names = [field.name for field in fields(kind)]
    assert len(names) > 1, "attrgetter makes no tuple of one"
    assert not hasattr(kind, "__post_init__"), f"{kind.__name__} would not be checked"
    return attrgetter(*names), {name: getattr(kind, name).__set__ for name in names}
