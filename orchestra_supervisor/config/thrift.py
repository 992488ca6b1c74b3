"""What the specs of many services have in common is kept once.

Most services of a fleet restart, stop, log and probe alike, and say so with the same keys; each with its own
copy of that would be two thirds of what a service costs, of a file as of the fleet that was applied.
"""

from collections.abc import Hashable
from functools import lru_cache
from typing import cast

from pydantic import BaseModel

from orchestra_supervisor.model.spec import ServiceSpec

__all__ = ["slim"]

_OWN = ("name", "title", "description")  # which no two services have in common


def slim(spec: ServiceSpec) -> ServiceSpec:
    """Have a spec that is new share what others have, too; it stays equal.

    Returns:
        The same one.
    """
    values, fields = cast("dict[str, object]", spec.__dict__), ServiceSpec.model_fields
    for name, value in values.items():
        if isinstance(value, BaseModel | tuple | str) and name not in _OWN:
            usual: object = fields[name].default
            values[name] = usual if value == usual else _shared(cast("object", value))
    object.__setattr__(spec, "__pydantic_fields_set__", _names(frozenset(spec.model_fields_set)))
    return spec


def _shared(value: object) -> object:
    try:
        return _known(cast("Hashable", value))
    except TypeError:  # it holds a mapping
        return value


@lru_cache(maxsize=1024)
def _known(value: Hashable) -> Hashable:
    return value


@lru_cache(maxsize=256)
def _names(names: frozenset[str]) -> set[str]:
    return set(names)  # never changed: specs are frozen, and a copy has its own
