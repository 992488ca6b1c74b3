"""What the `supervisor` package makes of a file, as values: groups, their processes, and what it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["BadValue", "Group", "Process", "Socket"]


class BadValue(Exception):
    """A value that the package refuses.

    Args:
        section: Where it stands.
        option: Its key, or empty: what is wrong is wrong with the section.
        text: What the package says.
    """

    def __init__(self, section: str, option: str, text: str) -> None:
        super().__init__(text)
        self.section = section
        self.option = option
        self.text = text


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a program.

    Attributes:
        section: Of its program.
        params: What the package's `ProcessConfig` is made of.
        user: As written, or None.
        logfiles: By stream: a path as written, `auto`, `none` or `syslog`.
    """

    section: str
    params: Mapping[str, Any]
    user: str | None
    logfiles: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return its name within its group."""
        return str(self.params["name"])


@dataclass(frozen=True, slots=True)
class Socket:
    """The socket of an fcgi-program, as written."""

    address: str
    backlog: int | None = None
    mode: int | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """One group of processes, a pool of listeners, or the processes of an fcgi-program."""

    name: str
    section: str
    priority: int
    processes: tuple[Process, ...]
    kind: str = "program"
    events: tuple[str, ...] = ()
    buffer_size: int = 10
    result_handler: str = ""
    socket: Socket | None = None
