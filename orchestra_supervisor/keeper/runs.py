"""What the keeper knows: one record a run, the strays of each, and a note a slot."""

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orchestra_supervisor.keeper.cgroups import Group, read_groups
from orchestra_supervisor.keeper.loop import Timer
from orchestra_supervisor.keeper.request import Command, LogTarget, Plan, SpawnRequest
from orchestra_supervisor.keeper.successor import Successor
from orchestra_supervisor.wire.frames import Message

__all__ = ["Killing", "Run", "RunTable", "Stray"]


@dataclass(slots=True, eq=False)
class Stray:
    """A process that became our child when its parent ended. Its pid is ours until we reap it."""

    pid: int
    run: "Run | None"
    pidfd: int | None = None
    looks: int = 1
    """How often its run was looked for."""
    on_end: Callable[[int], None] | None = None
    """Called with its wait status."""


@dataclass(slots=True, eq=False)
class Killing:
    """A stop that goes on: which step is next, and since when SIGKILL has been sent."""

    plan: Plan
    next_step: int = 0
    timer: Timer | None = None
    due_mono: float = 0.0
    killing_since: float | None = None
    is_commanding: bool = False
    """The step that goes on is a command, and it has not ended."""
    pause: float = 0.0
    is_stuck: bool = False


@dataclass(slots=True, eq=False)
class Run:
    """One run. Phases: exec (forked), live (executed), exited (the leader is a zombie), gone.

    `failed` in place of exited: its program was never executed.
    """

    run: str
    slot: str
    pid: int
    start_ticks: int
    started_mono: float
    started_wall: float
    plan: Plan
    stop_order: int
    tag: int
    log: LogTarget | None
    places: dict[str, str]
    """What each stage of the spawn is about, for messages; empty once it has succeeded."""
    group: Group | None = None
    """Its control group, where there are any."""
    request_id: object = None
    phase: str = "exec"
    pidfd: int | None = None
    status_fd: int | None = None
    streams: dict[str, int] = field(default_factory=dict[str, int])
    failure: tuple[str, int, int] | None = None
    request: SpawnRequest | None = None
    """What it was started by; kept only where a command is to be run as it was, or another run."""
    key: str | None = None
    """The daemon's word for what it was started by, where that is kept for a run that may follow."""
    successor: Successor | None = None
    """What follows its end, if anything does before the daemon has said so."""
    uid: int | None = None
    """As whom it runs, where that is not our own user."""
    notify: socket.socket | None = None
    """Where it says how it is."""
    said: dict[str, str] = field(default_factory=dict[str, str])
    """What it has said, the last word for each key."""
    beat_mono: float | None = None
    """When it last said that it is alive."""
    main_pid: int | None = None
    """The process that it has named its main one, in place of the leader."""
    epilogue: list[Command] = field(default_factory=list[Command])
    """Commands that are yet to be run when nothing of it is left."""
    is_over: bool = False
    """Nothing but its last commands is there."""
    killing: Killing | None = None
    strays: dict[int, Stray] = field(default_factory=dict[int, Stray])
    seen: dict[int, int] = field(default_factory=dict[int, int])
    """Processes that a walk of the tree has met: pid to start ticks."""
    utime: float = 0.0
    stime: float = 0.0
    maxrss: int = 0
    exit_facts: Message = field(default_factory=Message)
    gone_facts: Message = field(default_factory=Message)

    def to_record(self) -> Message:
        """Return the record that the snapshot shows."""
        record: Message = {
            "run": self.run,
            "slot": self.slot,
            "pid": self.pid,
            "start_ticks": self.start_ticks,
            "started_mono": self.started_mono,
            "started_wall": self.started_wall,
            "phase": "exec" if self.phase == "failed" else self.phase,
            "stopping": self.killing is not None,
        }
        if self.key is not None:
            record["key"] = self.key
        if self.said or self.beat_mono is not None:
            record["said"], record["beat_mono"] = self.said, self.beat_mono
        record |= self.exit_facts
        record |= {"gone_mono" if key == "at_mono" else key: value for key, value in self.gone_facts.items()}
        return record


class RunTable:
    """All records and notes, found by run id, slot or process."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._by_slot: dict[str, Run] = {}
        self._by_pid: dict[int, Run] = {}
        self._by_tag: dict[int, Run] = {}
        self._by_group: dict[str, Run] = {}
        self.strays: dict[int, Stray] = {}
        self._notes: dict[str, bytes] = {}
        """As JSON: as objects they would be what the keeper has most of."""

    @property
    def has_notes(self) -> bool:
        """Return whether a daemon has ever left a note that is still there."""
        return bool(self._notes)

    def keep_note(self, slot: str, note: object) -> None:
        """Keep a note for the next daemon; None: forget the one of this slot."""
        if note is None:
            self._notes.pop(slot, None)
        else:
            self._notes[slot] = json.dumps(note, separators=(",", ":")).encode("ascii")

    def notes(self) -> Iterator[tuple[str, object]]:
        """Yield slots and their notes."""
        for slot, note in self._notes.items():
            yield slot, json.loads(note)

    def add(self, run: Run) -> None:
        """Take up a run that was just forked."""
        self._runs[run.run] = run
        self._by_slot[run.slot] = run
        self._by_pid[run.pid] = run
        self._by_tag[run.tag] = run
        if run.group is not None:
            self._by_group[run.group.name] = run

    def release(self, run: Run) -> None:
        """Free slot, pid and tag of a run of which nothing is left; its record stays."""
        if self._by_slot.get(run.slot) is run:
            del self._by_slot[run.slot]
        self._by_pid.pop(run.pid, None)
        self._by_tag.pop(run.tag, None)
        if run.group is not None:
            self._by_group.pop(run.group.name, None)

    def forget(self, run: Run) -> None:
        """Drop the record as well."""
        self.release(run)
        self._runs.pop(run.run, None)

    def get(self, run: object) -> Run | None:
        """Return the record of a run id, or None."""
        return self._runs.get(run) if isinstance(run, str) else None

    def in_slot(self, slot: str) -> Run | None:
        """Return the run that holds a slot, or None."""
        return self._by_slot.get(slot)

    def led_by(self, pid: int) -> Run | None:
        """Return the run whose leader has this pid, be it alive or a zombie."""
        return self._by_pid.get(pid)

    def tagged(self, tag: int | None) -> Run | None:
        """Return the run that is not gone and has this tag."""
        return None if tag is None else self._by_tag.get(tag)

    def grouped(self, pid: int) -> Run | None:
        """Return the run that is not gone and in whose control group a process is."""
        if not self._by_group:
            return None
        return next((run for name in read_groups(pid) if (run := self._by_group.get(name))), None)

    def records(self) -> list[Run]:
        """Return every run, gone ones included, oldest first."""
        return list(self._runs.values())

    def present(self) -> list[Run]:
        """Return every run that is not gone, oldest first."""
        return list(self._by_pid.values())
