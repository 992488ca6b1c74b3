"""Bytes as they are: from pipe to file inside the kernel, or by hand where the file system cannot do that."""

import errno
import os

from orchestra_supervisor.logger.logfile import CHUNK, LogFile
from orchestra_supervisor.logger.pipe import Pipe

__all__ = ["Raw"]

_COPY = 64 * 1024  # bytes held outside the kernel where splice does not work


class Raw:
    """Moves bytes from pipes to one log.

    Args:
        log: The log.
    """

    def __init__(self, log: LogFile) -> None:
        self.room = CHUNK
        """Bytes that may be moved in one turn."""
        self.can_splice = True
        """False once the file system has refused."""
        self._log = log

    def move(self, pipe: Pipe, flags: int) -> int:
        """Move what a pipe holds, one turn of it.

        Returns:
            How many bytes have left the pipe; 0: it is at its end.

        Raises:
            BlockingIOError: It is empty.
            OSError: The log cannot be written. What was not written is still in the pipe.
        """
        log = self._log
        log.begin(pipe.number, pipe.code, flags)
        try:
            moved = self._transfer(pipe)
        except OSError:
            log.take_back()
            raise
        if moved:
            log.advance(moved)
        else:
            log.take_back()
        return moved

    def _transfer(self, pipe: Pipe) -> int:
        log = self._log
        if self.can_splice and not pipe.held:
            try:
                return os.splice(
                    pipe.fd, log.fd, self.room, offset_dst=log.offset, flags=os.SPLICE_F_NONBLOCK
                )
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self.can_splice = False
        if not pipe.held:
            pipe.held = os.read(pipe.fd, min(self.room, _COPY))
        written = 0
        while pipe.held:
            try:
                size = os.pwrite(log.fd, pipe.held, log.offset + written)
            except OSError:
                if not written:
                    raise
                break  # the next attempt meets the error again
            pipe.held = pipe.held[size:]
            written += size
        return written
