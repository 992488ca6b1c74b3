"""A fleet whose roles and commands have a wall clock that the test sets; services keep the real one."""

import os
import shlex
import struct
import sys
import time
from pathlib import Path

from tests.e2e.fleet_driver import ROOT, Fleet

__all__ = ["DAY", "SteppedFleet"]

DAY = 86_400.0

# The Python of every command and role: as the real one, with the options that they are started with.
_SHIM = """\
#!/bin/sh
flags=
while [ "$1" = -P ] || [ "$1" = -I ] || [ "$1" = -S ]; do flags="$flags $1"; shift; done
exec {python} $flags {driver} "$@"
"""


class SteppedFleet(Fleet):
    """A fleet whose roles and commands have a wall clock that can be set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.step(0.0)
        shim = path / "python"
        driver = shlex.quote(str(ROOT / "tests/e2e/stepped_clock.py"))
        text = _SHIM.format(python=shlex.quote(sys.executable), driver=driver)
        shim.write_text(text, encoding="utf-8")
        shim.chmod(0o700)

    def step(self, offset: float) -> None:
        """Set the wall clock to so many seconds after the real one."""
        self.offset = offset
        fd = os.open(self.path / "clock", os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(fd, struct.pack("d", offset), 0)
        os.close(fd)

    def wall(self) -> float:
        """Return what the clock of the fleet shows."""
        return time.time() + self.offset

    def argv(self, *words: str) -> list[str]:
        """Return a command line of the command, under this clock."""
        return [str(self.path / "python"), "-P", "-m", "orchestra_supervisor", *words]
