"""Reads a configuration file's bytes as text, or says why it cannot be."""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from orchestra_supervisor.config.findings import Finding, Location, Severity

__all__ = ["MAX_FILE_SIZE", "opened", "read_all", "read_text"]

MAX_FILE_SIZE = 8 * 1024 * 1024
"""Bytes; 2,000 services are about 1 MB."""


@contextmanager
def opened(path: Path) -> Generator[int]:
    """Open a file for reading, without waiting for the writer of a FIFO.

    Raises:
        OSError: It cannot be opened.
        ValueError: The path holds a NUL character.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_all(descriptor: int) -> bytes:
    """Read a regular file to its end, but not more than one byte over MAX_FILE_SIZE.

    Raises:
        OSError: It cannot be read.
    """
    chunks: list[bytes] = []
    wanted = MAX_FILE_SIZE + 1
    while wanted and (chunk := os.read(descriptor, min(wanted, 1 << 20))):
        chunks.append(chunk)
        wanted -= len(chunk)
    return b"".join(chunks)


def read_text(path: Path, shown: str) -> str | Finding:
    """Read a UTF-8 file.

    Args:
        path: The file.
        shown: Its name in findings.

    Returns:
        The text, or the error that kept it from being read.
    """

    def fault(code: str, message: str, hint: str = "", line: int = 0, column: int = 0) -> Finding:
        return Finding(Severity.ERROR, code, message, (Location(shown, line, column),), hint=hint)

    try:
        with opened(path) as descriptor:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                return fault("file.directory", "is a directory, not a file", "name a file in it")
            if not stat.S_ISREG(status.st_mode):
                return fault("file.special", "is not a regular file", "name a file with JSON in it")
            data = read_all(descriptor)
    except FileNotFoundError:
        return fault("file.missing", "no such file", "check the name and the folder")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return fault("file.unreadable", f"cannot be read: {reason}", "check its owner and mode")
    if len(data) > MAX_FILE_SIZE:
        return fault(
            "file.too_large",
            f"has {max(status.st_size, len(data))} bytes, over the limit of {MAX_FILE_SIZE}",
            "is it a configuration file? split it with `include`",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        binary = b"\x00" in data[:4096]
        message = "is a binary file" if binary else f"is not UTF-8: byte 0x{data[error.start]:02x}"
        hint = "is it the right file? configurations are text" if binary else "save it as UTF-8"
        return fault("file.encoding", message, hint, line, column)
