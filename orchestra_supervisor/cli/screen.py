"""One place where lines are said: above the live region on a terminal, plainly anywhere else."""

import os

from orchestra_supervisor.cli.live import Frame
from orchestra_supervisor.cli.terminal import LiveRegion, Terminal

__all__ = ["Screen"]


class Screen:
    """What a person watches.

    A terminal that goes away while the fleet runs is no reason to leave the fleet alone: from then
    on nothing is shown and everything else goes on.

    Args:
        terminal: Where to show it.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self._region = LiveRegion(terminal) if terminal.is_live else None
        self._frame: Frame = []
        self._is_gone = False

    @property
    def is_live(self) -> bool:
        """True where frames are shown."""
        return self._region is not None and not self._is_gone

    def show(self, frame: Frame) -> None:
        """Replace the live region; does nothing where there is none."""
        if self._region is not None and not self._is_gone:
            self._frame = frame
            try:
                self._region.draw(frame)
            except OSError:
                self._lose()

    def say(self, lines: list[str]) -> None:
        """Write lines that stay, above the region."""
        if self._is_gone or not lines:
            return
        try:
            if self._region is not None and self._frame:
                self._region.clear()
            self.terminal.write("".join(f"{line}\n" for line in lines))
            if self._region is not None and self._frame:
                self._region.draw(self._frame)
        except OSError:
            self._lose()

    def end_region(self, *, is_kept: bool = False) -> None:
        """Take the region away, or leave it as it is and go on below it."""
        if self._region is not None and self._frame and not self._is_gone:
            try:
                if is_kept:
                    self._region.release()
                else:
                    self._region.clear()
            except OSError:
                self._lose()
        self._frame = []

    def _lose(self) -> None:
        self._is_gone = True
        # What is still in the stream's buffer would fail again, and loudly, when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.terminal.stream.fileno())
