"""Listening sockets: held here from run to run, so that a restart refuses nobody.

They belong to a slot. A run gets those that its order names; what a slot held and no order names any more is
closed. Nothing is ever accepted or read here: a slot that waits for its first connection is told of it, once.
"""

import errno
import os
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from orchestra_supervisor.keeper.identity import SpawnFailure, group_number, user_number
from orchestra_supervisor.keeper.loop import Loop
from orchestra_supervisor.keeper.socket_request import ListenSpec
from orchestra_supervisor.wire.frames import Message

__all__ = ["Sockets"]

_Place = tuple[int, int]


@dataclass(slots=True, eq=False)
class _Slot:
    """The listening sockets of one service."""

    held: dict[ListenSpec, socket.socket] = field(default_factory=dict[ListenSpec, socket.socket])
    places: dict[ListenSpec, _Place] = field(default_factory=dict[ListenSpec, _Place])
    """Which file is ours, of those that have a path."""
    is_watched: bool = False
    called: str = ""
    """Name of the socket on which a connection came while it was watched."""


class Sockets:
    """The listening sockets of all slots.

    Args:
        loop: The keeper's loop.
        emit: Sends an event to the daemon.
        handed_down: Listening sockets of the service manager, by its names for them; never closed.
    """

    def __init__(
        self, loop: Loop, emit: Callable[[Message], None], handed_down: Mapping[str, Sequence[int]]
    ) -> None:
        self._handed_down = handed_down
        self._loop = loop
        self._emit = emit
        self._slots: dict[str, _Slot] = {}

    def open(self, slot: str, wanted: Sequence[ListenSpec]) -> list[int]:
        """Hold exactly the sockets that are wanted for a slot, and end the wait for a connection.

        Args:
            slot: Whose sockets.
            wanted: Those that are held already stay as they are.

        Returns:
            Their descriptors, in this order. They stay ours.

        Raises:
            SpawnFailure: At stage socket; those that could be opened are held.
        """
        here = self._slots.get(slot)
        if here is None:
            if not wanted:
                return []
            here = self._slots[slot] = _Slot()
        self._unwatch(here)
        here.called = ""
        for spec in [spec for spec in here.held if spec not in wanted]:
            self._let_go(here, spec)
        for spec in wanted:
            if spec not in here.held:
                self._hold(here, spec)
        if not here.held:
            del self._slots[slot]
        return [here.held[spec].fileno() for spec in wanted]

    def _hold(self, here: _Slot, spec: ListenSpec) -> None:
        """Give a slot a new socket, or a share of one that another slot has and shares."""
        other = self._sharer(here, spec)
        if other is not None:
            here.held[spec] = other.held[spec].dup()
            place = other.places.get(spec)  # not looked up: by now somebody else's file may be there
        else:
            here.held[spec] = self._take(spec) if spec.kind == "inherited" else _listen(spec)
            place = _place_of(spec.path) if spec.kind == "unix" else None
        if place is not None:
            here.places[spec] = place

    def _let_go(self, here: _Slot, spec: ListenSpec) -> None:
        """Close what a slot has of a socket; the file goes with the last slot that has it."""
        one, place = here.held.pop(spec), here.places.pop(spec, None)
        _close(spec, one, place if self._sharer(here, spec) is None else None)

    def _sharer(self, here: _Slot, spec: ListenSpec) -> _Slot | None:
        """Return another slot that has the same socket, where it may be shared."""
        others = (one for one in self._slots.values() if one is not here and spec in one.held)
        return next(others, None) if spec.shared else None

    def _take(self, spec: ListenSpec) -> socket.socket:
        """Return our share of a socket of the service manager; of several under one name the first."""
        fds = self._handed_down.get(spec.fd_name)
        if not fds:
            known = ", ".join(sorted(self._handed_down)) or "none"
            text = f"socket {spec.name}: the service manager passed no {spec.fd_name!r} (passed: {known})"
            raise SpawnFailure("socket", errno.ENOENT, text)
        try:
            return socket.socket(fileno=os.dup(fds[0]))
        except OSError as error:
            raise SpawnFailure("socket", error.errno or errno.EINVAL) from error

    def watch(self, slot: str) -> None:
        """Tell the daemon, once, when a connection comes to a socket of the slot."""
        here = self._slots.get(slot)
        if here is None or here.is_watched:
            return
        here.is_watched = True
        for spec, one in here.held.items():
            self._loop.watch(one.fileno(), lambda _events, name=spec.name: self._called(slot, here, name))

    def close(self, slot: str) -> None:
        """Close what a slot holds."""
        here = self._slots.pop(slot, None)
        if here is not None:
            self._unwatch(here)
            for spec in list(here.held):
                self._let_go(here, spec)

    def close_all(self) -> None:
        """Close what every slot holds."""
        for slot in list(self._slots):
            self.close(slot)

    def records(self) -> list[Message]:
        """Return what the snapshot shows."""
        return [
            {
                "type": "sockets",
                "slot": slot,
                "names": [spec.name for spec in here.held],
                "watched": here.is_watched,
                "called": here.called,
            }
            for slot, here in self._slots.items()
        ]

    def _called(self, slot: str, here: _Slot, name: str) -> None:
        self._unwatch(here)
        here.called = name
        self._emit({"type": "connection", "slot": slot, "name": name})

    def _unwatch(self, here: _Slot) -> None:
        if here.is_watched:
            here.is_watched = False
            for one in here.held.values():
                self._loop.unwatch(one.fileno())


def _listen(spec: ListenSpec) -> socket.socket:
    family = (
        socket.AF_UNIX if spec.kind == "unix" else socket.AF_INET6 if ":" in spec.host else socket.AF_INET
    )
    kind = socket.SOCK_DGRAM if spec.kind == "udp" else socket.SOCK_STREAM
    one = socket.socket(family, kind)
    try:
        if spec.kind == "unix":
            _bind_path(one, spec)
        else:
            if spec.kind == "tcp":
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((spec.host, spec.port))
        if spec.kind != "udp":
            one.listen(spec.backlog)
    except OSError as error:
        one.close()
        number = error.errno or errno.EINVAL
        # Without a number the text says more than the system's word for it: a path that is too long.
        text = os.strerror(number) if error.errno else str(error)
        raise SpawnFailure("socket", number, f"socket {spec.name} on {spec.address}: {text}") from error
    return one


def _bind_path(one: socket.socket, spec: ListenSpec) -> None:
    """Bind a path, in place of a socket that nobody listens on; anything else there is left alone."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(spec.path).st_mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        if not _is_dead(spec.path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        os.unlink(spec.path)
    before = os.umask(0o777 & ~spec.mode)
    try:
        one.bind(spec.path)
    finally:
        os.umask(before)
    if spec.user is not None or spec.group is not None:
        user = -1 if spec.user is None else user_number(spec.user)
        os.chown(spec.path, user, -1 if spec.group is None else group_number(spec.group))


def _close(spec: ListenSpec, one: socket.socket, place: _Place | None) -> None:
    """Close a socket and remove its file, unless somebody else has bound the path anew.

    That somebody has the socket does not tell whose it is: each child has it until it becomes a program.
    """
    one.close()
    if place is not None and _place_of(spec.path) == place:
        with suppress(OSError):
            os.unlink(spec.path)


def _place_of(path: str) -> _Place | None:
    """Return which file is at a path; None: there is none to be seen."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_dead(path: str) -> bool:
    """Return whether nobody has the socket of a path any more, without a connection that anybody would see.

    A datagram socket cannot be connected to a stream socket that lives (EPROTOTYPE), nor to a dead one.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED
