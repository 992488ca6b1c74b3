"""Stopping a run: the plan's signals, then SIGKILL, again and again, until nothing is left.

The group may be signalled by number because the leader, alive or a zombie, holds that number. Every
other process is signalled through a pidfd whose identity was checked by its start time.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from orchestra_supervisor.keeper.loop import Loop, say
from orchestra_supervisor.keeper.reaper import open_pidfd
from orchestra_supervisor.keeper.request import Command, EndOfInput, Plan
from orchestra_supervisor.keeper.runs import Killing, Run
from orchestra_supervisor.keeper.tree import Proc, read_proc, walk
from orchestra_supervisor.wire.frames import Message

__all__ = ["STUCK_AFTER", "Stopper", "members", "send_signal"]

STUCK_AFTER = 5.0
"""Seconds of SIGKILL after which processes that are still there are reported."""

_FIRST_PAUSE = 0.01  # seconds between two rounds of SIGKILL; doubles
_LONGEST_PAUSE = 0.5
_SEEN_LIMIT = 65_536  # processes remembered of one run


class Stopper:
    """Carries out stop plans.

    Args:
        loop: The keeper's loop.
        emit: Sends an event to the daemon.
        find_strays: Takes up what has left the tree of a living leader; called before each round.
        run_command: Runs a command of a plan beside a run, and calls back with True if it exited with 0.
        end_input: Ends the input of a stdio server. Returns False for a run that is none (any more).
        on_stuck: Called with a run that SIGKILL does not end.
    """

    def __init__(
        self,
        loop: Loop,
        *,
        emit: Callable[[Message], None],
        find_strays: Callable[[], None],
        run_command: Callable[[Run, Command, Callable[[bool], None]], None],
        end_input: Callable[[Run], bool],
        on_stuck: Callable[[Run], None],
    ) -> None:
        self._loop = loop
        self._emit = emit
        self._find_strays = find_strays
        self._run_command = run_command
        self._end_input = end_input
        self._on_stuck = on_stuck

    def begin(self, run: Run, plan: Plan) -> None:
        """Stop a run by a plan, which takes the place of one that is being carried out."""
        self.end(run)
        run.successor = None
        run.killing = Killing(plan)
        self._step(run)

    def end(self, run: Run) -> None:
        """Drop the plan of a run."""
        if run.killing is not None and run.killing.timer is not None:
            run.killing.timer.cancel()
        run.killing = None

    def hurry(self, run: Run, limit: float) -> None:
        """Cut the wait that goes on to `limit` seconds, and have SIGKILL follow it."""
        killing = run.killing
        if killing is None or killing.killing_since is not None:
            return
        killing.next_step = len(killing.plan.steps)
        self._schedule(run, killing, min(limit, max(0.0, killing.due_mono - time.monotonic())))

    def look_again(self, run: Run) -> None:
        """Leader or stray ended: what was below it is now in reach, and a round of SIGKILL may be due."""
        killing = run.killing
        if killing is None or run.phase == "gone":
            return
        if killing.killing_since is not None:
            killing.pause = 0.0
            self._schedule(run, killing, 0.0)
        elif _leader_is_over(run, killing) and not killing.is_commanding:
            self._schedule(run, killing, 0.0)

    def _step(self, run: Run) -> None:
        killing = run.killing
        if killing is None:
            return
        plan = killing.plan
        killing.is_commanding = False  # one that takes longer than its wait holds nothing up
        if killing.next_step >= len(plan.steps) or _leader_is_over(run, killing):
            self._kill(run, killing)
            return
        act, wait = plan.steps[killing.next_step]
        killing.next_step += 1
        self._schedule(run, killing, wait)  # before anything that may fail: SIGKILL always follows
        match act:
            case EndOfInput():
                if not self._end_input(run):
                    self._schedule(run, killing, 0.0)
            case Command() if run.request is None:
                say(f"{run.slot}: its stop command is newer than the run; going on with the next step")
                self._schedule(run, killing, 0.0)
            case Command():
                killing.is_commanding = True
                self._run_command(run, act, lambda is_ok: self._command_ended(run, killing, is_ok=is_ok))
            case _:
                self._signal(run, act, "leader" if plan.leader_only else "tree")

    def _signal(self, run: Run, number: int, scope: str) -> None:
        self._loop.guarded(self._find_strays)
        send_signal(run, number, scope)
        if number not in (signal.SIGKILL, signal.SIGCONT, signal.SIGSTOP):
            send_signal(run, signal.SIGCONT, scope)  # a stopped process acts on no signal until continued

    def _command_ended(self, run: Run, killing: Killing, *, is_ok: bool) -> None:
        """Go on at once where a stop command failed; one that succeeded has its wait to take effect."""
        killing.is_commanding = False
        if not is_ok and run.killing is killing and killing.killing_since is None:
            self._schedule(run, killing, 0.0)

    def _kill(self, run: Run, killing: Killing) -> None:
        now = time.monotonic()
        if killing.killing_since is None:
            killing.killing_since = now
        killing.pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, killing.pause * 2))
        self._schedule(run, killing, killing.pause)
        self._loop.guarded(self._find_strays)
        if run.group is not None:
            run.group.kill()  # whoever forks faster than we can look does not outrun this
        left = send_signal(run, signal.SIGKILL, "tree")
        if now - killing.killing_since >= STUCK_AFTER * self._loop.patience and not killing.is_stuck:
            killing.is_stuck = True
            pids = [proc.pid for proc in left]
            self._emit({"type": "stop_stuck", "run": run.run, "slot": run.slot, "pids": pids})
            self._on_stuck(run)

    def _schedule(self, run: Run, killing: Killing, delay: float) -> None:
        if killing.timer is not None:
            killing.timer.cancel()
        killing.due_mono = time.monotonic() + delay
        killing.timer = self._loop.call_later(delay, lambda: self._step(run))


def send_signal(run: Run, number: int, scope: str) -> list[Proc]:
    """Signal a run that is not gone.

    Args:
        run: The run.
        number: The signal.
        scope: `leader`; `group`: its process group; `tree`: group, strays, all their descendants, and
            what is in the run's control group.

    Returns:
        The processes that were found alive, for scope `tree`.

    Raises:
        PermissionError: Scope leader or group, and the process changed to a user whom we may not signal.
    """
    if scope == "leader":
        _kill_main(run, number)
        return []
    if scope == "group":
        try:
            os.killpg(run.pid, number)
        except ProcessLookupError:  # between fork and setsid: there is no group yet, only the leader
            _kill_child(run.pid, number)
        return []
    procs = [proc for proc in members(run) if proc.state not in "ZX"]
    if len(run.seen) < _SEEN_LIMIT:
        run.seen.update((proc.pid, proc.start_ticks) for proc in procs)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(run.pid, number)
    for proc in procs:
        if proc.pgrp == run.pid:
            continue
        try:
            if proc.pid == run.pid or proc.pid in run.strays:
                _kill_child(proc.pid, number)
            else:
                _kill_stranger(proc, number)
        except PermissionError:  # reported as stuck in the end
            continue
    return procs


def _leader_is_over(run: Run, killing: Killing) -> bool:
    """Return whether a plan that is for the leader alone has nobody left to wait for."""
    if not killing.plan.leader_only or run.phase != "exited":
        return False
    # The process that the run named its main one is meant in the leader's place, and may end after it.
    return run.main_pid is None or all(
        proc.pid != run.main_pid or proc.state in "ZX" for proc in members(run)
    )


def members(run: Run) -> list[Proc]:
    """Return the processes of a run that can be seen now, zombies included."""
    procs = walk([run.pid, *run.strays])
    if run.group is None:
        return procs
    known = {proc.pid for proc in procs}
    others = walk(pid for pid in run.group.pids() if pid not in known)
    return procs + [proc for proc in others if proc.pid not in known and run.group.holds(proc.pid)]


def _kill_main(run: Run, number: int) -> None:
    if run.main_pid is not None:
        main = next((proc for proc in members(run) if proc.pid == run.main_pid), None)
        if main is not None:
            _kill_stranger(main, number)
            return
    _kill_child(run.pid, number)


def _kill_child(pid: int, number: int) -> None:
    # Our own child: its pid cannot be reused before we reap it, which happens in this thread alone.
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _kill_stranger(proc: Proc, number: int) -> None:
    pidfd = open_pidfd(proc.pid)
    if pidfd is None:  # ended, or no descriptor is free: the next round tries again
        return
    try:
        current = read_proc(proc.pid)
        if current is not None and current.start_ticks == proc.start_ticks:
            signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
