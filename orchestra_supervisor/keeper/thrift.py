"""What the requests of many services have in common is kept once.

The keeper has the request of each run for as long as another run may follow by it, and nearly all of one
request is its environment, most of which all services inherit.
"""

import marshal
from collections import ChainMap
from dataclasses import replace
from typing import cast

from orchestra_supervisor.keeper.request import LogTarget, SpawnRequest

__all__ = ["Thrift"]

_MAX_OPTIONS = 256  # kinds of log options that are remembered


class Thrift:
    """Makes requests share what they have in common."""

    def __init__(self) -> None:
        self._base: dict[bytes, bytes] | None = None
        self._options: dict[bytes, object] = {}

    def slim(self, request: SpawnRequest) -> SpawnRequest:
        """Return an equal request that shares with those before it what it has in common with them."""
        if isinstance(request.env, ChainMap):
            return request
        base = self._base
        if base is None:
            base = self._base = dict(request.env)
        elif not all(request.env.get(name) == value for name, value in base.items()):
            # What is not common to all is forgotten: what is left soon is what all inherit.
            base = {name: value for name, value in base.items() if request.env.get(name) == value}
            self._base = base
        own = {name: value for name, value in request.env.items() if name not in base}
        return replace(request, env=ChainMap(own, base), log=self._log(request.log))

    def _log(self, log: LogTarget | None) -> LogTarget | None:
        if log is None:
            return None
        key = marshal.dumps(cast("dict[str, int]", log.options))  # of JSON
        if key not in self._options and len(self._options) >= _MAX_OPTIONS:
            self._options.clear()
        return replace(log, options=self._options.setdefault(key, log.options))
