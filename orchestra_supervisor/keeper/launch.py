"""From a spawn message to a run that lives, or to the reason why not."""

import errno
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from orchestra_supervisor.keeper.before import outcome_text
from orchestra_supervisor.keeper.cgroups import Cgroups, Group
from orchestra_supervisor.keeper.handover import Handed
from orchestra_supervisor.keeper.identity import SpawnFailure
from orchestra_supervisor.keeper.loop import Loop, say
from orchestra_supervisor.keeper.notify import Notifications
from orchestra_supervisor.keeper.request import Command, Limits, SpawnRequest
from orchestra_supervisor.keeper.runs import Run, RunTable
from orchestra_supervisor.keeper.sockets import Sockets
from orchestra_supervisor.keeper.spawn import (
    Surroundings,
    close_all,
    new_tag,
    read_failure,
    spawn_run,
)
from orchestra_supervisor.keeper.stdio import Stdio, Wiring
from orchestra_supervisor.keeper.successor import may_follow
from orchestra_supervisor.keeper.thrift import Thrift
from orchestra_supervisor.keeper.tree import read_proc
from orchestra_supervisor.wire.frames import Message

__all__ = ["Equipment", "Launcher"]


@dataclass(frozen=True, slots=True)
class Equipment:
    """Where what a run is handed comes from."""

    cgroups: Cgroups
    sockets: Sockets
    notifications: Notifications
    stdio: Stdio


class Launcher:
    """Starts runs and learns whether their program was executed.

    Args:
        loop: The keeper's loop.
        table: All runs.
        around: What children get of the keeper's surroundings.
        equipment: Where what a run is handed comes from.
        reply: Sends the outcome of a spawn to the daemon.
        on_output: Called with a run whose streams are to be read from now on.
        on_forked: Called with a run once its process exists.
        is_going: Tells whether the fleet goes down: nothing follows then.
    """

    def __init__(
        self,
        loop: Loop,
        table: RunTable,
        around: Surroundings,
        equipment: Equipment,
        *,
        reply: Callable[[Message], None],
        on_output: Callable[[Run], None],
        on_forked: Callable[[Run], None],
        is_going: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._table = table
        self._around = around
        self._equipment = equipment
        self._reply = reply
        self._on_output = on_output
        self._on_forked = on_forked
        self._is_going = is_going
        self._serial = 0
        self._thrift = Thrift()

    def launch(self, request: SpawnRequest, request_id: object) -> None:
        """Start a run; the outcome is sent as `spawned` or `spawn_failed`, now or when it is known."""
        self._serial += 1
        if request.key is not None:
            request = self._thrift.slim(request)
        started_mono, started_wall = time.monotonic(), time.time()
        handed = Handed(new_tag(self._serial))
        talk: socket.socket | None = None
        wiring = Wiring()
        try:
            handed, talk = self._equip(request, handed)
            wiring = self._equipment.stdio.make(request)
            channel = None if wiring.theirs is None else wiring.theirs.fileno()
            handed = replace(handed, stdio=wiring.near, channel=channel)
            spawned = spawn_run(request, self._around, handed)
        except SpawnFailure as failure:
            self._equipment.cgroups.remove(handed.group)
            wiring.close()
            if talk is not None:
                talk.close()
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
            tag=handed.tag,
            log=request.log,
            group=handed.group,
            request_id=request_id,
            status_fd=spawned.status_fd,
            streams=spawned.streams,
            places=_places(request),
            request=request if _is_needed(request) else None,
            key=request.key,
            successor=request.successor,
            uid=spawned.uid,
            notify=talk,
            epilogue=list(request.after),
        )
        self._equipment.notifications.watch(run)
        self._equipment.stdio.take(run, wiring)
        self._table.add(run)
        self._on_forked(run)
        if request.before:  # what they write must be read before the program is there
            self._on_output(run)
        if spawned.status_fd is not None:
            self._loop.watch(spawned.status_fd, lambda _events: self._status_ready(run))
        elif proc is None or proc.executed:
            self._executed(run)  # else it was killed at once; its end tells

    def follow(self, run: Run) -> None:
        """Start what follows a run that is gone, as that was started."""
        request, successor = run.request, run.successor
        assert request is not None, "`due` has looked"
        assert successor is not None, "`due` has looked"
        run.successor = run.request = None
        self.launch(replace(request, run=successor.run, successor=None), None)

    def due(self, run: Run) -> str | None:
        """Return the id of the run that is to follow one whose leader has ended and left nothing, or None."""
        successor = run.successor
        if successor is None or run.request is None or self._is_going():
            return None
        lasted = float(cast("float", run.exit_facts["at_mono"])) - run.started_mono
        code = cast("int | None", run.exit_facts["code"])
        needs = (self._table.get(need) for need in successor.needs)
        if not all(need is not None and need.phase == "live" and need.killing is None for need in needs):
            return None
        if self._table.get(successor.run) is not None or not may_follow(successor, lasted=lasted, code=code):
            return None
        return successor.run

    def _equip(self, request: SpawnRequest, handed: Handed) -> tuple[Handed, socket.socket | None]:
        """Return what the run is handed, and our end of the socket on which it speaks.

        Raises:
            SpawnFailure: At stage socket, limit or notify.
        """
        fds = self._equipment.sockets.open(request.slot, request.sockets)
        sockets = tuple(zip((spec.name for spec in request.sockets), fds, strict=True))
        talk, address = self._equipment.notifications.make(self._serial) if request.notify else (None, "")
        try:
            group = self._make_group(request)
        except SpawnFailure:
            if talk is not None:
                talk.close()
            raise
        return replace(handed, group=group, sockets=sockets, notify=address), talk

    def _make_group(self, request: SpawnRequest) -> Group | None:
        try:
            return self._equipment.cgroups.make(request.slot, self._serial, request.limits)
        except OSError as error:
            if request.limits != Limits():
                text = f"control group: {error.filename}: {error.strerror}"
                raise SpawnFailure("limit", error.errno or errno.EINVAL, text) from error
            # It is known by ancestry all the same.
            say(f"{request.slot}: no control group: {error.strerror}")
            return None

    def settle(self, run: Run) -> bool:
        """Learn how exec went in a run whose leader has ended. Returns False when it never happened."""
        self._status_ready(run)
        if run.phase == "exec":
            run.failure = run.failure or ("exec", errno.ECANCELED, 0)
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
        self._executed(run)

    def _executed(self, run: Run) -> None:
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
        if run.streams:
            self._on_output(run)
        self._equipment.stdio.announce(run)

    def report_failure(self, run: Run) -> None:
        """Tell why the program of a run was never executed; nothing of the run is left."""
        close_all(list(run.streams.values()))
        run.streams = {}
        stage, number, index = run.failure or ("exec", errno.EINVAL, 0)
        text = outcome_text(number)
        if number == errno.ECANCELED:
            text = "ended before its program was executed"
        place = (
            f"{stage} {index + 1} ({run.places.get(f'{stage}:{index}', '')})"
            if stage == "pre_start"
            else stage
        )
        text = f"{run.places.get(stage, place)}: {text}"
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
        **{
            f"pre_start:{index}": command.argv[0].decode("utf-8", "replace")
            for index, command in enumerate(request.before)
        },
    }


def _is_needed(request: SpawnRequest) -> bool:
    """Return whether a command, or another run, may have to be run as the run was."""
    has_commands = bool(request.after) or any(isinstance(what, Command) for what, _ in request.plan.steps)
    return has_commands or request.key is not None


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
