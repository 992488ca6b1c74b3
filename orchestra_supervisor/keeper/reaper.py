"""Ends: leaders, strays, and the moment when nothing of a run is left.

Every living process of a run is a descendant of its live leader or of one of our own children,
because we are the subreaper. So strays are found by reading our own children, never by a scan
of /proc (docs/adr/0001-a-zombie-pins-the-run.md).
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestra_supervisor.keeper.loop import Loop
from orchestra_supervisor.keeper.runs import Run, RunTable, Stray
from orchestra_supervisor.keeper.spawn import is_reserved
from orchestra_supervisor.keeper.tree import own_children, read_proc, read_run_id, read_tag, walk
from orchestra_supervisor.wire.frames import Message

__all__ = ["EndHooks", "Reaper", "open_pidfd"]

_LOOKS = 4  # at a stray's marks: in the middle of an exec a process shows no environment for a moment
_RETRY_AFTER = 0.1  # seconds until a look that failed is repeated
_RSS_UNIT = 1024  # bytes; ru_maxrss counts KiB on Linux


@dataclass(frozen=True, slots=True)
class EndHooks:
    """What follows ends of runs.

    Attributes:
        settle: Called with a run whose leader ended in phase exec; learns how exec went. False means that
            the program was never executed, and the run is dropped.
        on_left: Called with such a run when processes of it are left; also with one whose last command has
            ended and left some.
        on_failed: Called with such a run when nothing of it is left any more.
        follow: Called with a run of which nothing is left; True: a command has been started that follows it.
        hear: Takes what a run has said; called before its end is told.
        ended: Called with a run whose leader (or who took its place) has ended, once that is told.
        due: Called with a run of which nothing is left; returns the id of the run that follows it by a
            standing order, or None.
        succeed: Called with a run once its end is told, where another follows: starts it.
    """

    settle: Callable[[Run], bool]
    on_left: Callable[[Run], None]
    on_failed: Callable[[Run], None]
    follow: Callable[[Run], bool]
    hear: Callable[[Run], object]
    ended: Callable[[Run], None]
    due: Callable[[Run], str | None]
    succeed: Callable[[Run], None]


class Reaper:
    """Sees what ends, tells the daemon, and reaps when it is safe.

    Args:
        loop: The keeper's loop; the reaper looks at the end of each turn in which a child changed.
        table: All runs.
        emit: Sends an event to the daemon.
        hooks: What follows ends.
        on_end: Called with a run after one of its strays ended, and after it is gone.
        is_ours: True for a pid that is the daemon or the logger.
    """

    def __init__(
        self,
        loop: Loop,
        table: RunTable,
        *,
        emit: Callable[[Message], None],
        hooks: EndHooks,
        on_end: Callable[[Run], None],
        is_ours: Callable[[int], bool],
    ) -> None:
        self._loop = loop
        self._table = table
        self._emit = emit
        self._hooks = hooks
        self._on_end = on_end
        self._is_ours = is_ours
        self._ended: dict[str, Run] = {}
        self._exited: dict[str, Run] = {}
        self._unwatched: set[Run | Stray] = set()
        self._is_due = False
        self._is_fresh = False
        loop.at_turn_end(self.look)

    def watch(self, run: Run) -> None:
        """Watch the leader of a run."""
        run.pidfd = open_pidfd(run.pid)
        if run.pidfd is None:
            self._unwatched.add(run)
        else:
            self._loop.watch(run.pidfd, lambda _events: self._leader_ended(run))

    def adopt(self, pid: int, run: Run, on_end: Callable[[int], None]) -> None:
        """Take up a child of ours that was forked beside a run.

        Args:
            pid: The child.
            run: What it belongs to.
            on_end: Called with its wait status when it has been reaped.
        """
        stray = Stray(pid, run, open_pidfd(pid), on_end=on_end)
        run.strays[pid] = stray
        self._hold(stray)

    def child_changed(self) -> None:
        """Note that SIGCHLD came: look at the end of this turn."""
        self._is_due = True

    def look(self) -> None:
        """Find strays, and announce and bury what has ended. Does nothing unless a child changed."""
        if not self._is_due:
            self._is_fresh = False
            return
        self._is_due = False
        self._poll_unwatched()
        self._is_fresh = False
        ok = self._loop.guarded(self.find_strays)
        for run in list(self._ended.values()):
            ok &= self._loop.guarded(self._announce_exit, run)
        for run in list(self._exited.values()):
            if not run.strays and ok:  # whoever could not look must not say that nothing is left
                ok &= self._loop.guarded(self._bury, run)
            elif run.is_over and all(stray.on_end is None for stray in run.strays.values()):
                self._loop.guarded(self._hooks.on_left, run)  # by a command that has ended
        if not ok:
            self._loop.call_later(_RETRY_AFTER, self.child_changed)
        self._is_fresh = False

    def _leader_ended(self, run: Run) -> None:
        self._unwatch(run)
        self._ended[run.run] = run
        self._is_due = True

    def _poll_unwatched(self) -> None:
        """Ask for the state of those for which there was no pidfd."""
        for child in list(self._unwatched):
            if isinstance(child, Stray):
                self._stray_ended(child)
            elif _peek(child.pid) is not None:
                self._unwatched.discard(child)
                self._leader_ended(child)

    def find_strays(self) -> None:
        """Take up children of ours that nobody has seen yet; once a turn is enough.

        Raises:
            OSError: /proc could not be read; nothing can be said about what is there.
        """
        if self._is_fresh:
            return
        known = self._table.strays
        for pid in own_children():
            if pid not in known and self._table.led_by(pid) is None and not self._is_ours(pid):
                stray = Stray(pid, None, open_pidfd(pid))
                self._assign(stray)
                self._hold(stray)
        for stray in known.values():
            if stray.run is None and stray.looks < _LOOKS:
                stray.looks += 1
                self._assign(stray)
        self._is_fresh = True

    def _hold(self, stray: Stray) -> None:
        # A child of ours keeps its pid until we reap it, so its identity needs no further check.
        self._table.strays[stray.pid] = stray
        if stray.pidfd is not None:
            self._loop.watch(stray.pidfd, lambda _events: self._stray_ended(stray))
        else:
            self._unwatched.add(stray)
            self._stray_ended(stray)

    def _assign(self, stray: Stray) -> None:
        stray.run = self._owner(stray.pid)
        if stray.run is not None:
            stray.run.strays[stray.pid] = stray

    def _owner(self, pid: int) -> Run | None:
        run = self._table.tagged(read_tag(pid)) or self._table.grouped(pid)
        if run is None:
            run = self._table.get(read_run_id(pid))
        proc = read_proc(pid)
        if run is None and proc is not None:
            run = self._table.led_by(proc.session)
        if run is None and proc is not None:
            runs = self._table.present()
            run = next((run for run in runs if run.seen.get(pid) == proc.start_ticks), None)
        return None if run is None or run.phase == "gone" else run

    def _stray_ended(self, stray: Stray) -> None:
        try:
            pid, status, usage = os.wait4(stray.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status, usage = stray.pid, 0, None
        if not pid:
            return
        if stray.pidfd is not None:
            self._loop.unwatch(stray.pidfd)
            os.close(stray.pidfd)
        self._unwatched.discard(stray)
        self._table.strays.pop(stray.pid, None)
        self._is_due = True  # its children, if any, are ours now
        run = stray.run
        if run is not None:
            run.strays.pop(stray.pid, None)
            if usage is not None:
                _add_usage(run, usage.ru_utime, usage.ru_stime, usage.ru_maxrss)
            if stray.on_end is not None:
                self._loop.guarded(stray.on_end, status)
            self._on_end(run)

    def _announce_exit(self, run: Run) -> None:
        if run.phase == "exec" and not self._hooks.settle(run):
            run.phase = "failed"
            self._ended.pop(run.run, None)
            self._exited[run.run] = run
            if run.strays:
                self._hooks.on_left(run)
            return
        status = _peek(run.pid)
        if status is None:
            return
        self._hooks.hear(run)
        main = run.strays.get(run.main_pid or 0)
        if main is not None and run.killing is None:
            # It has named another process its main one, and that lives: its end is the run's.
            self._ended.pop(run.run, None)
            main.on_end = lambda code: self._main_ended(run, code)
            return
        is_exit = status.si_code == os.CLD_EXITED
        self._tell_exit(
            run,
            code=status.si_status if is_exit else None,
            number=None if is_exit else status.si_status,
            core=status.si_code == os.CLD_DUMPED,
        )

    def _main_ended(self, run: Run, status: int) -> None:
        """Tell the end of a run whose main process was not its leader."""
        run.main_pid = None
        is_exit = os.WIFEXITED(status)
        self._loop.guarded(self.find_strays)
        self._tell_exit(
            run,
            code=os.WEXITSTATUS(status) if is_exit else None,
            number=None if is_exit else os.WTERMSIG(status),
            core=os.WCOREDUMP(status),
        )

    def _tell_exit(self, run: Run, *, code: int | None, number: int | None, core: bool) -> None:
        run.exit_facts = {
            "code": code,
            "signal": None if number is None else _signal_name(number),
            "core": core,
            "out_of_memory": run.group is not None and run.group.was_out_of_memory(),
            "at_mono": time.monotonic(),
            "at_wall": time.time(),
            "remaining": [proc.pid for proc in walk(run.strays)],
        }
        run.phase = "exited"
        self._ended.pop(run.run, None)
        self._exited[run.run] = run
        self._emit({"type": "exit", "run": run.run, "slot": run.slot, "pid": run.pid, **run.exit_facts})
        self._hooks.ended(run)

    def _drop(self, run: Run) -> None:
        """Forget a run whose program was never executed."""
        os.wait4(run.pid, 0)
        self._exited.pop(run.run, None)
        self._table.forget(run)
        self._on_end(run)
        self._hooks.on_failed(run)

    def _bury(self, run: Run) -> None:
        if run.phase == "failed":
            self._drop(run)
            return
        following = self._hooks.due(run)
        if self._hooks.follow(run):
            return
        _, _, usage = os.wait4(run.pid, 0)
        _add_usage(run, usage.ru_utime, usage.ru_stime, usage.ru_maxrss)
        run.phase = "gone"
        run.seen.clear()
        run.gone_facts = {
            "at_mono": time.monotonic(),
            "utime": round(run.utime, 6),
            "stime": round(run.stime, 6),
            "maxrss": run.maxrss,
        }
        if following is not None:
            run.gone_facts["next"] = following
        self._exited.pop(run.run, None)
        self._table.release(run)
        self._on_end(run)
        self._emit({"type": "gone", "run": run.run, "slot": run.slot, **run.gone_facts})
        if following is not None:
            self._hooks.succeed(run)  # what is told of it follows the end of the first
        run.request = run.successor = None

    def _unwatch(self, run: Run) -> None:
        if run.pidfd is not None:
            self._loop.unwatch(run.pidfd)
            os.close(run.pidfd)
            run.pidfd = None


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends, or None when there is none to give.

    The last descriptors are not given away: without them /proc could not be read.
    """
    try:
        fd = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None
    if is_reserved(fd):
        os.close(fd)
        return None
    return fd


def _peek(pid: int) -> os.waitid_result | None:
    """Return how a child ended and leave it a zombie; None while it lives."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal between SIGRTMIN and SIGRTMAX
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _add_usage(run: Run, utime: float, stime: float, maxrss: int) -> None:
    run.utime += utime
    run.stime += stime
    run.maxrss = max(run.maxrss, maxrss * _RSS_UNIT)
