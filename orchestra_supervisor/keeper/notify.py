"""What services say of themselves: a datagram socket for each run that asks for one.

The words are kept with the run, so that none is lost while there is no daemon; descriptors that come
along are closed, which is all that BARRIER=1 waits for. Each run has an address of its own, so that a helper
that has ended by the time its word is read is still known; who may speak is judged by the sender's user.
Source: sd_notify(3).
"""

import array
import errno
import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from orchestra_supervisor.keeper.identity import SpawnFailure
from orchestra_supervisor.keeper.loop import Loop
from orchestra_supervisor.keeper.runs import Run
from orchestra_supervisor.keeper.stop import members
from orchestra_supervisor.wire.frames import Message

__all__ = ["Notifications"]

_DATAGRAM = 4096  # bytes; what is longer is cut
_BATCH = 64  # datagrams of one run in one turn
_REST = 0.005  # seconds between two looks at one run, so that one which talks all the time costs little
_STATUS_LIMIT = 1000  # characters
_CREDENTIALS = struct.Struct("=iII")  # struct ucred of unix(7)
_SPACE = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(253 * 4)
_KEPT = frozenset(
    [
        "READY",
        "RELOADING",
        "STOPPING",
        "STATUS",
        "ERRNO",
        "MAINPID",
        "WATCHDOG",
        "WATCHDOG_USEC",
        "EXTEND_TIMEOUT_USEC",
    ]
)


class Notifications:
    """The sockets on which runs speak.

    Args:
        loop: The keeper's loop.
        emit: Sends an event to the daemon.
        find_strays: Takes up what has left the tree of a leader.
    """

    def __init__(self, loop: Loop, emit: Callable[[Message], None], find_strays: Callable[[], None]) -> None:
        self._loop = loop
        self._find_strays = find_strays
        self._emit = emit
        self._key = os.urandom(8).hex()

    def make(self, serial: int) -> tuple[socket.socket, str]:
        """Make the socket of a run.

        Returns:
            The socket, and its address as NOTIFY_SOCKET has it.

        Raises:
            SpawnFailure: At stage notify.
        """
        name = f"orchestra/{self._key}/{serial}"
        if not hasattr(socket, "SO_PASSCRED"):
            raise SpawnFailure("notify", errno.ENOTSUP, "this system does not tell who speaks on a socket")
        try:
            one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            one.setblocking(False)  # noqa: FBT003  # by position only
            one.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            one.bind(f"\0{name}")
        except OSError as error:
            raise SpawnFailure("notify", error.errno or errno.EINVAL) from error
        return one, f"@{name}"

    def watch(self, run: Run) -> None:
        """Listen to a run from now on."""
        if run.notify is not None:
            self._loop.watch(run.notify.fileno(), lambda _events: self._readable(run))

    def close(self, run: Run) -> None:
        """Hear what a run has said before its end, and close its socket."""
        if run.notify is not None:
            self.hear(run)
            self._loop.unwatch(run.notify.fileno())
            run.notify.close()
            run.notify = None

    def hear(self, run: Run) -> None:
        """Take what a run has said, at most so much in one look."""
        fields: dict[str, str] = {}
        beat: float | None = None
        count = 0
        while run.notify is not None and count < _BATCH:
            datagram = _receive(run.notify)
            if datagram is None:
                break
            count += 1
            text, uid = datagram
            if uid in (0, os.geteuid(), run.uid):
                said = _parse(text)
                fields |= said
                if said.get("WATCHDOG") == "1":
                    beat = time.monotonic()
        if fields:
            self._take(run, fields, beat)

    def _readable(self, run: Run) -> None:
        self.hear(run)
        if run.notify is not None:
            self._loop.unwatch(run.notify.fileno())
            self._loop.call_later(_REST, lambda: self._again(run))

    def _again(self, run: Run) -> None:
        if run.notify is not None:
            with suppress(KeyError):  # it is watched already
                self.watch(run)

    def _take(self, run: Run, fields: dict[str, str], beat: float | None) -> None:
        if "MAINPID" in fields:
            self._loop.guarded(self._find_strays)  # it may have lost its parent already
            if not _set_main(run, fields["MAINPID"]):
                del fields["MAINPID"]
        if fields.get("READY") == "1":
            run.said.pop("RELOADING", None)
        run.said |= {key: value for key, value in fields.items() if key != "WATCHDOG" or value == "trigger"}
        if beat is not None:
            run.beat_mono = beat
        self._emit(
            {
                "type": "notify",
                "run": run.run,
                "slot": run.slot,
                "fields": fields,
                "beat_mono": beat,
                "at_mono": time.monotonic(),
            }
        )


def _receive(one: socket.socket) -> tuple[bytes, int] | None:
    """Return one datagram and the user who sent it, or None; descriptors are closed."""
    try:
        data, ancillary, _, _ = one.recvmsg(_DATAGRAM, _SPACE, socket.MSG_CMSG_CLOEXEC)
    except (BlockingIOError, InterruptedError):
        return None
    uid = -1
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            _, uid, _ = _CREDENTIALS.unpack(value[: _CREDENTIALS.size])
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds = array.array("i")
            fds.frombytes(value[: len(value) - len(value) % fds.itemsize])
            for fd in fds:
                os.close(fd)
    return data, uid


def _parse(data: bytes) -> dict[str, str]:
    said: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").split("\n"):
        key, found, value = line.partition("=")
        if found and key in _KEPT:
            said[key] = value[:_STATUS_LIMIT]
    return said


def _set_main(run: Run, text: str) -> bool:
    """Take another process of the run for its main one. Returns False when it is none."""
    if not text.isdecimal():
        return False
    pid = int(text)
    if pid == run.pid or not any(proc.pid == pid and proc.state not in "ZX" for proc in members(run)):
        return False
    run.main_pid = pid
    return True
