"""What is made of objects that never change, kept by which object it was made of."""

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["IdentityCache"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_LIMIT = 4096  # objects; a thousand services have three probes each. All are forgotten when it is reached


class IdentityCache(Generic[_Key, _Value]):
    """See the module.

    Args:
        make: Makes the value of an object; its exceptions are not kept.
    """

    def __init__(self, make: Callable[[_Key], _Value]) -> None:
        self._make = make
        self._made: dict[int, tuple[_Key, _Value]] = {}

    def of(self, key: _Key) -> _Value:
        """Return the value of an object, which is kept from now on: no other can have its identity."""
        found = self._made.get(id(key))
        if found is not None:
            return found[1]
        value = self._make(key)
        if len(self._made) >= _LIMIT:
            self._made.clear()
        self._made[id(key)] = (key, value)
        return value
