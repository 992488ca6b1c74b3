"""A call's claim on an instance."""

from typing import Self

import anyio

from orchestra_supervisor.gateway.backends.instance import Instance

__all__ = ["Visit"]


class Visit:
    """A call's claim on an instance: while there is one, the instance is not stopped for want of calls."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.is_kept = False
        """The call was parked, and holds its claim."""
        self._is_over = False
        instance.in_flight += 1
        instance.last_used = anyio.current_time()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give up the claim, unless the call holds it."""
        if not self.is_kept:
            self.end()

    def end(self) -> None:
        """Give up the claim."""
        if not self._is_over:
            self._is_over = True
            self.instance.in_flight -= 1
            self.instance.last_used = anyio.current_time()
