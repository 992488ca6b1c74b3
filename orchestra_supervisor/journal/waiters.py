"""Those who wait for what they handed over to be safe."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import anyio

from orchestra_supervisor.model.errors import JournalError

__all__ = ["Waiter", "Waiters"]


@dataclass(eq=False, slots=True)
class Waiter:
    """One of them."""

    done: anyio.Event = field(default_factory=anyio.Event)
    error: JournalError | None = None


class Waiters:
    """All of them, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: list[Waiter] = []

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self) -> None:
        """Wait to be told.

        Raises:
            JournalError: It could not be written.
        """
        waiter = Waiter()
        self._waiting.append(waiter)
        await waiter.done.wait()
        if waiter.error is not None:
            raise waiter.error

    def take(self) -> list[Waiter]:
        """Return all that wait now; somebody else has to see to them."""
        taken, self._waiting = self._waiting, []
        return taken

    def put_back(self, waiters: list[Waiter]) -> None:
        """Have those that were taken wait on."""
        self._waiting = waiters + self._waiting

    @staticmethod
    def tell(waiters: Iterable[Waiter], fault: Callable[[], JournalError] | None = None) -> None:
        """Tell those that were taken what became of it.

        Args:
            waiters: Who.
            fault: Makes the error of each; None: all is safe.
        """
        for waiter in waiters:
            waiter.error = None if fault is None else fault()
            waiter.done.set()
