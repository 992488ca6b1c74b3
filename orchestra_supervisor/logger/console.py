"""Lines on the output that the keeper was started with: that of a container.

Whoever reads it may be slow or gone, and the services must not notice: it is written only as far as that
does not block. Its description is shared with others, so its flags are left alone.
"""

import errno
import os
import select
import stat

from orchestra_supervisor.logfile.envelope import encode_envelope

__all__ = ["Console", "encode_console"]

_NUMBERS = {"/dev/stdout": 1, "/dev/stderr": 2}
_ROOM = 4096  # bytes that a pipe takes without blocking once it is writable: PIPE_BUF


class Console:
    """An open output.

    Args:
        name: `/dev/stdout` or `/dev/stderr`.

    Raises:
        OSError: There is none.
    """

    def __init__(self, name: str) -> None:
        number = _NUMBERS.get(name)
        if number is None:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), name)
        self._never_blocks = False
        self._fd = self._own(number)

    def _own(self, number: int) -> int:
        """Return a descriptor of our own: with flags of its own where it can be opened anew.

        A file is not: whoever else writes there goes on from the place up to which we all have written.
        """
        mode = os.fstat(number).st_mode
        if not stat.S_ISREG(mode):
            try:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
                fd = os.open(f"/proc/self/fd/{number}", flags)
            except OSError:  # a socket, or somebody else's
                pass
            else:
                self._never_blocks = True
                return fd
        else:
            self._never_blocks = True
        return os.dup(number)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def send(self, data: bytes) -> int:
        """Write what can be written now; return the number of bytes.

        Raises:
            BlockingIOError: Nothing can be.
            OSError: Nobody reads any more.
        """
        if not self._never_blocks:
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            if not poll.poll(0):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            data = data[:_ROOM]
        return os.write(self._fd, data)


def encode_console(layout: str, *, service: str, run: str, stream: str, data: bytes, at_wall: float) -> bytes:
    """Return a line as it is shown: `raw`, `prefix` (the service before it) or `json` (an object)."""
    if layout == "json":
        return encode_envelope(
            service=service, run=run, stream=stream, at_wall=at_wall, data=data, complete=True
        )
    if layout == "prefix":
        return service.encode("utf-8", "backslashreplace") + b" | " + data + b"\n"
    return data + b"\n"
