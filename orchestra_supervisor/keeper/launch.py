"""From a spawn message to a run that lives, or to the reason why not."""

import errno
import os
import time
from collections.abc import Callable

from orchestra_supervisor.keeper.cgroups import Cgroups, Group
from orchestra_supervisor.keeper.identity import SpawnFailure
from orchestra_supervisor.keeper.loop import Loop, say
from orchestra_supervisor.keeper.request import SpawnRequest
from orchestra_supervisor.keeper.runs import Run, RunTable
from orchestra_supervisor.keeper.spawn import Surroundings, close_all, read_failure, spawn_run
from orchestra_supervisor.keeper.tree import read_proc
from orchestra_supervisor.wire.frames import Message

__all__ = ["Launcher"]


class Launcher:
    """Forks runs and learns whether their program was executed.

    Args:
        loop: The keeper's loop.
        table: All runs.
        around: What children get of the keeper's surroundings.
        cgroups: Makes the control group of each run.
        reply: Sends the outcome of a spawn to the daemon.
        on_live: Called with a run once its program was executed.
        on_forked: Called with a run once its process exists.
    """

    def __init__(
        self,
        loop: Loop,
        table: RunTable,
        around: Surroundings,
        cgroups: Cgroups,
        *,
        reply: Callable[[Message], None],
        on_live: Callable[[Run], None],
        on_forked: Callable[[Run], None],
    ) -> None:
        self._loop = loop
        self._table = table
        self._around = around
        self._cgroups = cgroups
        self._reply = reply
        self._on_live = on_live
        self._on_forked = on_forked
        self._serial = 0

    def launch(self, request: SpawnRequest, request_id: object) -> None:
        """Fork; the outcome is sent as `spawned` or `spawn_failed`, now or when it is known."""
        self._serial += 1
        group = self._make_group(request.slot)
        started_mono, started_wall = time.monotonic(), time.time()
        try:
            spawned = spawn_run(request, self._around, self._serial, group)
        except SpawnFailure as failure:
            self._cgroups.remove(group)
            self._reply(
                _failed(request_id, request.run, request.slot, failure.stage, failure.errno, str(failure))
            )
            return
        proc = read_proc(spawned.pid)
        run = Run(
            run=request.run,
            slot=request.slot,
            pid=spawned.pid,
            start_ticks=proc.start_ticks if proc else 0,
            started_mono=started_mono,
            started_wall=started_wall,
            plan=request.plan,
            stop_order=request.stop_order,
            tag=spawned.tag,
            log=request.log,
            group=group,
            request_id=request_id,
            status_fd=spawned.status_fd,
            streams=spawned.streams,
            places=_places(request),
        )
        self._table.add(run)
        self._on_forked(run)
        self._loop.watch(spawned.status_fd, lambda _events: self._status_ready(run))

    def _make_group(self, slot: str) -> Group | None:
        try:
            return self._cgroups.make(slot, self._serial)
        except OSError as error:  # it is known by ancestry all the same
            say(f"{slot}: no control group: {error.strerror}")
            return None

    def settle(self, run: Run) -> bool:
        """Learn how exec went in a run whose leader has ended. Returns False when it never happened."""
        self._status_ready(run)
        if run.phase == "exec":
            run.failure = run.failure or ("exec", errno.ECANCELED)
            self._report_failure(run)
            return False
        return True

    def _status_ready(self, run: Run) -> None:
        if run.status_fd is None:
            return
        try:
            run.failure = read_failure(run.status_fd)
        except BlockingIOError:
            return
        self._loop.unwatch(run.status_fd)
        os.close(run.status_fd)
        run.status_fd = None
        if run.failure is not None:
            return  # told once the child has ended, which it is about to
        proc = read_proc(run.pid)
        if proc is not None and not proc.executed:
            return  # killed before exec; its end tells
        run.phase = "live"
        run.places = {}
        self._reply(
            {
                "type": "spawned",
                "re": run.request_id,
                "run": run.run,
                "pid": run.pid,
                "start_ticks": run.start_ticks,
                "started_mono": run.started_mono,
                "started_wall": run.started_wall,
            }
        )
        self._on_live(run)

    def _report_failure(self, run: Run) -> None:
        close_all(list(run.streams.values()))
        run.streams = {}
        stage, number = run.failure or ("exec", errno.EINVAL)
        text = "ended before its program was executed" if number == errno.ECANCELED else os.strerror(number)
        text = f"{run.places.get(stage, stage)}: {text}"
        self._reply(_failed(run.request_id, run.run, run.slot, stage, number, text))


def _places(request: SpawnRequest) -> dict[str, str]:
    return {
        "nice": f"nice {request.nice}",
        "oom": f"oom_score_adj {request.oom_score_adj}",
        "rlimit": "rlimits",
        "group": f"group {request.group}, groups {request.groups}",
        "user": f"user {request.user}",
        "chdir": f"cwd {(request.cwd or b'').decode('utf-8', 'replace')}",
        "exec": request.argv[0].decode("utf-8", "replace"),
    }


def _failed(request_id: object, run: str, slot: str, stage: str, number: int, message: str) -> Message:
    return {
        "type": "spawn_failed",
        "re": request_id,
        "run": run,
        "slot": slot,
        "stage": stage,
        "errno": number,
        "message": message,
    }
