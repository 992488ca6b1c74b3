"""Results of safe tools, kept for a while: least recently used, bounded in number and size.

What is kept of a server is thrown away when its lists change, and when a tool is called that does not say
that it only reads.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import anyio

from orchestra_supervisor.gateway.backends.rounds import is_question
from orchestra_supervisor.gateway.backends.spec import CachePolicy
from orchestra_supervisor.gateway.messages import Json

__all__ = ["ResultCache", "result_key"]

_ENTRIES = 1024
_BYTES = 32 * 1024 * 1024
_ENTRY = 1024 * 1024  # bytes of one result; larger ones are not kept


@dataclass(frozen=True, slots=True)
class _Kept:
    result: Json
    size: int
    until: float


def result_key(tool: str, arguments: Mapping[str, object], owner: str) -> Hashable:
    """Return what results are found by.

    Args:
        tool: Its name.
        arguments: Of the call.
        owner: Whose instance answers, where each has their own; else empty.
    """
    arguments_hash = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode("ascii")).digest()
    return (tool, arguments_hash, owner)


class ResultCache:
    """The results of one server."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._size = 0
        self._version = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def version(self) -> int:
        """Return a number that changes whenever what is kept is thrown away."""
        return self._version

    def get(self, key: Hashable) -> Json | None:
        """Return a result that is still good."""
        kept = self._kept.get(key)
        if kept is None or kept.until <= anyio.current_time():
            if kept is not None:
                self._drop(key)
            self.misses += 1
            return None
        self._kept.move_to_end(key)
        self.hits += 1
        return dict(kept.result)

    def put(self, key: Hashable, result: Json, policy: CachePolicy, version: int) -> None:
        """Keep a result, unless it is an error, too large, or was asked for before something changed."""
        if version != self._version or result.get("isError") or is_question(result):
            return
        size = len(json.dumps(result))
        if size > _ENTRY:
            return
        if key in self._kept:
            self._drop(key)
        self._kept[key] = _Kept(result, size, anyio.current_time() + policy.ttl)
        self._size += size
        while len(self._kept) > _ENTRIES or self._size > _BYTES:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        """Throw everything away, and what is on its way."""
        self._kept.clear()
        self._size = 0
        self._version += 1

    def _drop(self, key: Hashable) -> None:
        self._size -= self._kept.pop(key).size
