"""A terminal with a person at it: a pseudo-terminal, keys, and what has been shown so far."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.cli.runner import argv, environment

LIMIT = 15.0


class Seat:
    """One program on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.master = master
        self.text = ""

    def read(self, timeout: float) -> bool:
        """Take what was written; return False at the end."""
        if select.select([self.master], [], [], timeout)[0]:
            try:
                data = os.read(self.master, 65_536)
            except OSError:
                return False  # EIO: nobody has the other side any more
            self.text += data.decode("utf-8", "replace")
            return bool(data)
        return True

    def until(self, what: str, after: int = 0) -> int:
        """Read until a text has come after a position; return the position behind it."""
        end = time.monotonic() + LIMIT
        while what not in self.text[after:]:
            assert time.monotonic() < end, f"{what!r} did not come; there is: {self.text[after:]!r}"
            assert self.read(0.05) or what in self.text[after:], f"ended without {what!r}: {self.text!r}"
        return self.text.index(what, after) + len(what)

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, as a window manager does."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> int:
        """Read to the end and return the exit status."""
        until = time.monotonic() + LIMIT
        while self.read(0.05) and self.process.poll() is None:
            assert time.monotonic() < until, f"did not end: {self.text[-500:]!r}"
        with contextlib.suppress(OSError):
            while select.select([self.master], [], [], 0)[0] and self.read(0):
                pass
        return self.process.wait(LIMIT)


@contextlib.contextmanager
def seated(
    *words: str, cwd: Path, columns: int = 100, rows: int = 30, command: list[str] | None = None, **env: str
) -> Iterator[Seat]:
    """Run a command on a new terminal: the one that the words say, or another program."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = environment(**env)
    del variables["COLUMNS"]
    process = subprocess.Popen(
        command or argv(*words),
        cwd=cwd,
        env=variables,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no other thread holds a lock
    )
    os.close(slave)
    seat = Seat(process, master)
    try:
        yield seat
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(LIMIT)
        with contextlib.suppress(OSError):
            os.close(seat.master)
