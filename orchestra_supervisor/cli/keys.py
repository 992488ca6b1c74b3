"""Single keys from a terminal, and the terminal as it was on every way out."""

import os
import select
import signal
import termios
import tty
from types import FrameType
from typing import Self

__all__ = ["Keys"]


class Keys:
    """Keys as they are pressed, without Enter and without echo; nothing where the input is no terminal.

    Ctrl-Z gives the terminal back for as long as the program is stopped.

    Args:
        descriptor: Of the input.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before: list[int | list[bytes | int]] | None = None
        self._on_stop: object = None

    def __enter__(self) -> Self:
        # In the background a change of the terminal would stop us; and its keys are not for us.
        if os.isatty(self._descriptor) and os.tcgetpgrp(self._descriptor) == os.getpgrp():
            self._before = termios.tcgetattr(self._descriptor)
            self._on_stop = signal.signal(signal.SIGTSTP, self._stop)
            tty.setcbreak(self._descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            self._restore()
            signal.signal(signal.SIGTSTP, self._on_stop)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what signal() returned

    @property
    def is_active(self) -> bool:
        """True where keys may come."""
        return self._before is not None

    def fileno(self) -> int:
        """Return the descriptor that is readable when a key was pressed; ask only while active."""
        return self._descriptor

    def take(self) -> str:
        """Return the keys that were pressed; where the terminal has gone, none any more (`is_active`)."""
        if self._before is None or not select.select([self._descriptor], [], [], 0)[0]:
            return ""
        try:
            data = os.read(self._descriptor, 256)
        except OSError:
            data = b""
        if not data:
            self._before = None
        return data.decode("ascii", "ignore")

    def _restore(self) -> None:
        try:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)  # pyright: ignore[reportArgumentType]  # what tcgetattr() returned
        except (OSError, termios.error):
            return  # the terminal is gone, and with it what there was to restore

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        # Here it goes on after `fg`.
        if os.tcgetpgrp(self._descriptor) == os.getpgrp():
            tty.setcbreak(self._descriptor)
