"""How the signals of a user become orders: the first one stops in order, the next one hurries."""

import signal
from collections.abc import Callable, Iterable

__all__ = ["StopOrder"]


class StopOrder:
    """Counts what the user asked for.

    A terminal that closes asks for a stop like Ctrl-C does (SIGHUP itself would mean "reload" to the keeper),
    and never for haste: a session that ends sends SIGHUP and SIGTERM in one breath. Two signals of a
    kind in short order would arrive as one, so orders alternate between two kinds.

    Args:
        send: Sends a signal to the keeper.
    """

    def __init__(self, send: Callable[[int], None]) -> None:
        self._send = send
        self._explicit = 0
        self._sent: list[int] = []

    @property
    def is_hurried(self) -> bool:
        """Return whether the keeper was told to hurry."""
        return len(self._sent) > 1

    def take(self, signals: Iterable[int]) -> list[str]:
        """Pass on what came; return what to tell about it."""
        told: list[str] = []
        for number in signals:
            self._explicit += number != signal.SIGHUP
            if self._sent and (number == signal.SIGHUP or self._explicit < 2):
                continue
            if self._sent:
                order = signal.SIGTERM if self._sent[-1] == signal.SIGINT else signal.SIGINT
            else:
                order = signal.SIGINT if number == signal.SIGINT else signal.SIGTERM
            self._send(order)
            self._sent.append(order)
            told.append("hurrying" if self.is_hurried else "stopping in order")
        return told
