"""The record of one service: everything its next decision depends on.

The record is a value: a step takes one and returns another. What must outlive the daemon is in
`to_note`, which the keeper holds; instants are CLOCK_MONOTONIC, one clock for every process of
a boot, so a note means the same to the next daemon.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, cast

from orchestra_supervisor.model.report import ExitReport, RunReport, ServiceReport
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.rules.diff import run_digest
from orchestra_supervisor.rules.schedule import Clocks, Plan, next_planned

__all__ = [
    "Ending",
    "Moment",
    "Run",
    "Service",
    "Then",
    "from_note",
    "is_told_by_clock",
    "to_note",
    "to_report",
]


@dataclass(frozen=True, slots=True)
class Moment:
    """When a step happens, and the id that a run started by it will bear.

    Attributes:
        mono: Seconds of CLOCK_MONOTONIC.
        wall: Seconds since the epoch, for people; of decisions, those on a cron schedule alone depend on it.
        run_id: A fresh run id; its random digits also seed the jitter, so rules need no dice.
    """

    mono: float
    wall: float
    run_id: str

    @property
    def clocks(self) -> Clocks:
        """The instant, for those who go by a schedule."""
        return Clocks(self.mono, self.wall)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the service, from the order to spawn it until nothing of it is left."""

    id: str
    ordered_mono: float
    ordered_wall: float
    pid: int | None = None
    """None until the keeper says that exec succeeded."""
    leader_ended: bool = False
    ended_mono: float = 0.0
    was_ready: bool = False
    was_started: bool = False
    """It has been more than starting."""
    main_pid: int | None = None
    """The process that it has named its main one, where that is not the leader."""
    extended_until: float | None = None
    """Instant up to which it has asked for time to start."""
    recycle_at: float | None = None
    """Instant of the time of day at which it makes room for a fresh one."""
    watchdog: float | None = None
    """Seconds within which it wants to say that it is alive, where it has asked for other than configured."""
    digest: str = ""
    """Of the spec it was started from (`rules.diff.run_digest`)."""


class Then(StrEnum):
    """What follows when a run that is being ended is gone."""

    DOWN = "down"
    AGAIN = "again"
    """Start again as soon as the dependencies allow; not a failure, not counted."""
    POLICY = "policy"
    """The restart policy decides."""
    NEXT = "next"
    """The planned run is over, and the next one begins."""


@dataclass(frozen=True, slots=True)
class Ending:
    """That, why and when the present run is to end.

    Attributes:
        then: What follows.
        why: For people.
        failed: The run counts as failed whatever its exit status will be.
        after: Names of dependents that must be down first; the stop sequence starts when none of
            them has a run left. While it waits, nobody may start on top of this service.
    """

    then: Then
    why: str
    failed: bool = False
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """One service as the rules see it."""

    spec: ServiceSpec
    state: State = State.STOPPED
    desired: Desired = Desired.DOWN
    down_reason: DownReason = DownReason.NONE
    reason: str = ""
    since_wall: float = 0.0
    run: Run | None = None
    ending: Ending | None = None
    restarts: int = 0
    """Runs that followed another, by policy or by hand, since the fleet started."""
    attempts: int = 0
    """Restarts by policy since the last stable spell: the exponent of the backoff."""
    failed_starts: int = 0
    """Starts in a row that ended before they counted as started, where the spec says when one does."""
    recent: tuple[float, ...] = ()
    """Instants of restarts by policy within the restart window."""
    exit: ExitReport | None = None
    next_start: float | None = None
    """Instant before which no run starts: start delay or backoff."""
    unmet: tuple[tuple[str, str], ...] = ()
    """Dependencies that do not meet their condition now, each with the state it is in."""
    refresh: bool = False
    """A dependency with `on_failure: restart` was lost: restart when it is back."""
    probe_error: str = ""
    listening: bool = False
    """It waits for the first connection to its sockets."""
    called: bool = False
    """One came, or somebody started it by hand: the next run need not wait for one."""
    said: str = ""
    """Its own status text; not in the note, for the keeper keeps it."""
    beat: float | None = None
    """Instant at which the run last said that it is alive; likewise."""
    plan: Plan | None = None
    """Of a periodic service: how far it has come with its schedule."""
    last: RunReport | None = None
    """Of a periodic service: its last planned run."""
    look: float = 0.0
    """Instant of the next look at the schedule; not in the note, for a new daemon looks at once."""

    @property
    def is_undecided(self) -> bool:
        """True while nobody has said yet whether it is wanted: whoever is down is so for a reason."""
        return self.desired is Desired.DOWN and self.down_reason is DownReason.NONE and self.run is None

    @property
    def is_idle(self) -> bool:
        """True for a periodic service of which no planned run is in the works."""
        return self.plan is not None and self.plan.current is None

    @property
    def is_at_rest(self) -> bool:
        """True when nothing of it runs and nothing is about to by itself."""
        return self.state in {State.STOPPED, State.COMPLETED, State.FAILED}

    @property
    def is_leaving(self) -> bool:
        """True while the run is up but is to be stopped once its dependents are down."""
        return self.ending is not None and self.state is not State.STOPPING

    def is_current(self, run: str) -> bool:
        """Return whether a run id is that of the present run; news of any other is stale."""
        return self.run is not None and self.run.id == run

    @property
    def started_at(self) -> float | None:
        """Instant from which the present run counts as started because it has lasted, or None."""
        run, start = self.run, self.spec.start
        if run is None or run.pid is None or run.leader_ended or self.ending is not None:
            return None
        if self.state is not State.STARTING or start is None or self.spec.says_started:
            return None
        return run.ordered_mono + start.after

    @property
    def startup_deadline(self) -> float | None:
        """Instant by which the present run must have been ready, or None. One that leaves need not be."""
        run, probes = self.run, self.spec.probes
        if run is None or run.was_ready or run.leader_ended or self.ending is not None:
            return None
        shows = probes.startup is not None or probes.readiness is not None or self.spec.notify
        if not self.spec.startup_timeout or not shows:
            return None
        return max(run.ordered_mono + self.spec.startup_timeout, run.extended_until or 0.0)

    @property
    def watchdog_deadline(self) -> float | None:
        """Instant by which the present run must have said again that it is alive, or None."""
        run = self.run
        if run is None or run.leader_ended or self.ending is not None or self.beat is None:
            return None
        if not self.spec.watchdog or self.state not in {State.RUNNING, State.READY, State.UNHEALTHY}:
            return None
        return self.beat + (self.spec.watchdog if run.watchdog is None else run.watchdog)

    @property
    def recycle_deadline(self) -> float | None:
        """Instant at which the present run is to make room for a fresh one, or None."""
        run, age = self.run, self.spec.recycle.age
        if run is None or run.leader_ended or self.ending is not None:
            return None
        if self.state not in {State.READY, State.UNHEALTHY}:
            return None
        instants = (None if age is None else run.ordered_mono + age, run.recycle_at)
        return min((at for at in instants if at is not None), default=None)

    @property
    def begin_at(self) -> float | None:
        """Instant at which a run that only waits for time is to begin, or None."""
        if self.is_idle or self.listening:
            return None
        if self.state is State.BACKOFF or (self.state is State.WAITING and not self.unmet):
            return 0.0 if self.next_start is None else self.next_start
        return None

    @property
    def deadline(self) -> float | None:
        """Instant of the next `Due` input, or None: derived, so that no timer is ever forgotten."""
        look = self.look if self.plan is not None and self.desired is Desired.UP else None
        instants = (
            self.begin_at,
            self.started_at,
            self.startup_deadline,
            self.watchdog_deadline,
            self.recycle_deadline,
            look,
        )
        return min((at for at in instants if at is not None), default=None)


_UNGROUPED = {"memory": "watched", "cpu": "no", "pids": "no"}
"""How limits are held where control groups do not."""
_NOTE_FIELDS = (
    "state",
    "desired",
    "down_reason",
    "reason",
    "since_wall",
    "restarts",
    "attempts",
    "failed_starts",
    "recent",
    "next_start",
    "refresh",
    "probe_error",
    "listening",
    "called",
)


def to_note(service: Service) -> dict[str, object]:
    """Return the JSON form of what must outlive the daemon."""
    note: dict[str, object] = {name: getattr(service, name) for name in _NOTE_FIELDS}
    note["run"] = _plain(service.run)
    note["ending"] = _plain(service.ending)
    note["exit"] = _plain(service.exit)
    note["plan"] = _plain(service.plan)
    note["last"] = _plain(service.last)
    note["digest"] = run_digest(service.spec)  # by which spec all this was decided
    return note


def _plain(record: Run | Ending | ExitReport | Plan | RunReport | None) -> dict[str, object] | None:
    """Return the fields of a flat record; `asdict` takes six times as long to find that it is one."""
    return None if record is None else {name: getattr(record, name) for name in record.__slots__}


def from_note(spec: ServiceSpec, note: object) -> Service | None:
    """Return the service as the last daemon left it; None: the note cannot be read and counts as none."""
    if not isinstance(note, dict):
        return None
    held = cast("dict[str, Any]", note)
    try:
        run, ending, ended = held["run"], held["ending"], held["exit"]
        # A note may be older than the configuration, or than this program; only a schedule has a plan.
        planned = held if spec.schedule is not None else {}
        plan, last = planned.get("plan"), planned.get("last")
        return Service(
            spec=spec,
            state=State(held["state"]),
            desired=Desired(held["desired"]),
            down_reason=DownReason(held["down_reason"]),
            reason=str(held["reason"]),
            since_wall=float(held["since_wall"]),
            run=Run(**run) if run else None,
            ending=_ending(ending) if ending else None,
            restarts=int(held["restarts"]),
            attempts=int(held["attempts"]),
            failed_starts=int(held.get("failed_starts", 0)),
            recent=tuple(float(at) for at in held["recent"]),
            exit=ExitReport(**ended) if ended else None,
            next_start=None if held["next_start"] is None else float(held["next_start"]),
            refresh=bool(held["refresh"]),
            probe_error=str(held["probe_error"]),
            listening=bool(held.get("listening", False)),
            called=bool(held.get("called", False)),
            plan=_plan(plan) if plan else None,
            last=RunReport(**last) if last else None,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _ending(held: dict[str, Any]) -> Ending:
    ending = Ending(**held)
    return replace(ending, then=Then(ending.then), after=tuple(ending.after))


def _plan(held: dict[str, Any]) -> Plan:
    plan = Plan(**held)
    return replace(plan, waiting=tuple(float(at) for at in plan.waiting))


def is_told_by_clock(service: Service) -> bool:
    """Return whether the report of a service depends on when it is made."""
    return service.begin_at is not None or service.plan is not None


def to_report(service: Service, now: Clocks, by_group: Collection[str] = ()) -> ServiceReport:
    """Return the frozen view of a service for people and programs.

    Args:
        service: The service.
        now: Matters where `is_told_by_clock`.
        by_group: Limits that control groups hold here.
    """
    spec, run = service.spec, service.run
    next_start, next_run = service.begin_at, None
    if spec.schedule is not None and service.plan is not None and service.desired is Desired.UP:
        next_run = next_planned(spec.schedule, spec.name, service.plan, now)
    return ServiceReport(
        name=spec.name,
        title=spec.title,
        kind=spec.kind,
        state=service.state,
        desired=service.desired,
        down_reason=service.down_reason,
        reason=service.reason,
        since=service.since_wall,
        pid=(run.main_pid or run.pid) if run and not run.leader_ended else None,
        run=run.id if run else None,
        started=run.ordered_wall if run and run.pid else None,
        restarts=service.restarts,
        failed_starts=service.failed_starts,
        exit=service.exit,
        port=spec.port,
        url=spec.url,
        enabled=spec.enabled,
        required=spec.required_for_system,
        waiting_for=tuple(name for name, _ in service.unmet) if service.state is State.WAITING else (),
        next_start=None if next_start is None else now.wall + max(0.0, next_start - now.mono),
        probe_error=service.probe_error,
        listening=service.listening,
        status_text=service.said,
        sockets=tuple(one.address for one in spec.sockets),
        limits={
            name: {"value": value, "held": "cgroup" if name in by_group else _UNGROUPED[name]}
            for name, value in spec.limits.named.items()
        },
        depends_on=tuple(spec.depends_on),
        tags=spec.tags,
        group=spec.replica.group if spec.replica else None,
        replica=spec.replica.number if spec.replica else None,
        stdio=spec.stdio,
        protected=spec.protected,
        last_run=service.last,
        next_run=next_run,
    )
