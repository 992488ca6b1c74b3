"""What can happen to a service, and what a step may ask the engine to do."""

from dataclasses import dataclass
from enum import StrEnum

from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import DownReason

__all__ = [
    "Ack",
    "Boot",
    "Called",
    "Dependencies",
    "Due",
    "Effect",
    "Emit",
    "Exited",
    "Gone",
    "Hung",
    "Input",
    "Listen",
    "ListenFailed",
    "Notified",
    "ProbeKind",
    "ProbeSaw",
    "Probed",
    "Proceed",
    "Remember",
    "Respec",
    "Restart",
    "RunNow",
    "Spawn",
    "SpawnRefused",
    "Spawned",
    "Start",
    "Stop",
    "StopRun",
    "Stuck",
    "Took",
    "Unlisten",
    "Used",
]


class ProbeKind(StrEnum):
    """Which question a probe answers."""

    STARTUP = "startup"
    READINESS = "readiness"
    LIVENESS = "liveness"


# Inputs.


@dataclass(frozen=True, slots=True)
class Boot:
    """The fleet starts; `down_reason` is why this service stays down, or NONE: it is wanted up.

    `reached` is the wall instant up to which an earlier fleet dealt with its schedule, if any did.
    """

    down_reason: DownReason
    reached: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Somebody wants it up; forgets what counted against it."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody wants it down, once the dependents in `after` are down."""

    down_reason: DownReason
    why: str = ""
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restart:
    """Somebody wants a new run of it, once the dependents in `after` are down.

    A run of the spec with the digest `unless` is new enough.
    """

    why: str = ""
    after: tuple[str, ...] = ()
    unless: str = ""


@dataclass(frozen=True, slots=True)
class RunNow:
    """Somebody wants a run of a periodic service now; `planned` is the wall instant at which they ask."""

    planned: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Proceed:
    """The dependents that a stop waited for are down."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The dependencies that do not meet their condition have changed: (name, state) each."""

    unmet: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Spawned:
    """The keeper: exec succeeded."""

    run: str
    pid: int
    started_mono: float
    started_wall: float
    start_ticks: int = 0
    """Field 22 of /proc/PID/stat: with the pid, the process's identity after everything of ours has died."""


@dataclass(frozen=True, slots=True)
class SpawnRefused:
    """No process came to be; stage and errno say where and why (`errno` 0: not a system error)."""

    run: str
    stage: str
    errno: int
    message: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The leader ended. Code and signal both None: its status is not known."""

    run: str
    code: int | None
    signal: str | None
    at_mono: float
    at_wall: float
    remaining: int
    out_of_memory: bool = False
    """The kernel ended a process of it for want of memory within its limit."""


@dataclass(frozen=True, slots=True)
class Notified:
    """The run has said something of itself (sd_notify).

    Attributes:
        run: Which run.
        fields: The words by key: READY, STATUS, MAINPID, RELOADING, STOPPING, WATCHDOG (trigger), ...
        beat_mono: When it said that it is alive, or None: it did not.
        at_mono: When it was heard.
    """

    run: str
    fields: tuple[tuple[str, str], ...]
    beat_mono: float | None
    at_mono: float


@dataclass(frozen=True, slots=True)
class Called:
    """A connection came to a socket of the service, which waited for one."""

    socket: str


@dataclass(frozen=True, slots=True)
class ListenFailed:
    """The sockets on which the service waits could not be opened."""

    message: str


@dataclass(frozen=True, slots=True)
class Used:
    """The processes of the run use this much memory together.

    Attributes:
        run: Which run.
        memory: Bytes.
        is_watched: No control group holds its limit: it is held by whoever looks.
    """

    run: str
    memory: int
    is_watched: bool


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing of the run is left."""

    run: str
    next: str = ""
    """Id of the run that the keeper has started after it, by a standing order; empty: none."""


@dataclass(frozen=True, slots=True)
class Hung:
    """Somebody who talks with the run has found that it does not answer any more."""

    run: str
    why: str


@dataclass(frozen=True, slots=True)
class Stuck:
    """SIGKILL was sent and these processes are still there."""

    run: str
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """The service's deadline has come, its schedule's among them."""


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe's verdict changed, thresholds counted."""

    run: str
    kind: ProbeKind
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ProbeSaw:
    """A probe failed with words that are new; no verdict changed."""

    run: str
    detail: str


@dataclass(frozen=True, slots=True)
class Respec:
    """The configuration changed in ways that need no new run."""

    spec: ServiceSpec


Input = (
    Boot
    | Start
    | Stop
    | Restart
    | RunNow
    | Proceed
    | Dependencies
    | Spawned
    | SpawnRefused
    | Notified
    | Called
    | Used
    | ListenFailed
    | Exited
    | Gone
    | Hung
    | Stuck
    | Due
    | Probed
    | ProbeSaw
    | Respec
)


# Effects.


@dataclass(frozen=True, slots=True)
class Spawn:
    """Order the keeper to spawn the run."""

    run: str


@dataclass(frozen=True, slots=True)
class Took:
    """A run that the keeper has started by a standing order is the service's own from here on."""

    run: str
    before: str
    """The one that it follows."""


@dataclass(frozen=True, slots=True)
class StopRun:
    """Order the keeper to carry out the stop sequence of the spec on the run."""

    run: str


@dataclass(frozen=True, slots=True)
class Ack:
    """The run's record is understood; the keeper may forget it."""

    run: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Leave the note now: what it was learnt from may be forgotten before this turn is over."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Order the keeper to open the sockets of the spec and to tell of the first connection."""


@dataclass(frozen=True, slots=True)
class Unlisten:
    """Order the keeper to close the sockets of the service."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell the world; the engine adds time, service and run."""

    kind: str
    message: str
    data: tuple[tuple[str, object], ...] = ()


Effect = Spawn | Took | StopRun | Ack | Remember | Listen | Unlisten | Emit
