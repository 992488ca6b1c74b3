"""What the daemon orders of the keeper, and what the keeper holds: typed, before the wire."""

from dataclasses import dataclass, field

from orchestra_supervisor.model.equipment import HookSpec, LimitsSpec, SocketSpec
from orchestra_supervisor.model.log import LogSpec
from orchestra_supervisor.model.spec import RlimitSpec, StopSpec
from orchestra_supervisor.process.groups import NO_GROUPS, RunGroups
from orchestra_supervisor.rules.inputs import Exited, Gone, Notified, Spawned, SpawnRefused, Stuck
from orchestra_supervisor.rules.successor import Successor

__all__ = [
    "PROBE_SLOT_PREFIX",
    "RUN_SUFFIX_LENGTH",
    "CommandNews",
    "FleetNews",
    "HeldRun",
    "HeldSockets",
    "ListenRefused",
    "LogTarget",
    "LoggerNews",
    "News",
    "Pinged",
    "ReloadAsked",
    "ReplaceAsked",
    "RoleNews",
    "RunNews",
    "ShutdownAsked",
    "SlotCalled",
    "SlotNews",
    "Snapshot",
    "SpawnOrder",
    "slot_of",
]

NO_LIMITS = LimitsSpec()

RUN_SUFFIX_LENGTH = 13
"""Characters of a run id after its slot: a dash and 12 hex digits."""
PROBE_SLOT_PREFIX = "probe:"
"""Slots of probe commands; a service's name has no colon."""


def slot_of(run: str) -> str:
    """Return the slot that a run id names."""
    return run[:-RUN_SUFFIX_LENGTH]


@dataclass(frozen=True, slots=True)
class LogTarget:
    """Where output goes.

    Attributes:
        path: Absolute path of the log.
        spec: How it is written and kept.
        directory_keep_bytes: What all logs of its directory may take; 0: no limit.
        secrets: Values that the run was given, for the logger to replace: never shown, never on a disk.
    """

    path: str
    spec: LogSpec
    directory_keep_bytes: int = 0
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class SpawnOrder:
    """Everything the keeper needs to start a run. `env` is the whole environment."""

    run: str
    slot: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    stop: StopSpec
    log: LogTarget | None = None
    stop_order: int = 0
    umask: int | None = None
    user: str | None = None
    group: str | None = None
    groups: tuple[str, ...] | None = None
    rlimits: dict[str, RlimitSpec] = field(default_factory=dict[str, RlimitSpec])
    nice: int | None = None
    oom_score_adj: int | None = None
    before: tuple[HookSpec, ...] = ()
    after: tuple[HookSpec, ...] = ()
    sockets: tuple[SocketSpec, ...] = ()
    notify: bool = False
    watchdog: float = 0.0
    limits: LimitsSpec = NO_LIMITS
    stdio: bool = False
    """Its stdin and stdout are pipes that the keeper holds for whoever has a channel; they are not logged."""
    stdin: bool = False
    """Its stdin is a pipe that stays open, for `KeeperClient.input`; an older keeper leaves it at its end."""
    channel: bool = False
    """It gets a channel, on which the keeper hands it the pipes of all stdio servers."""
    direct: bool = False
    """The keeper may wait until the program is executed: all that this touches is local."""
    key: str = ""
    """A word for all of the above, for a run that may follow by the same order; empty: none may."""
    successor: Successor | None = None
    """The run that follows, unless something else is said before this one's end."""


@dataclass(frozen=True, slots=True)
class HeldRun:
    """One record of the snapshot: what became of a run, as the inputs that tell it, in order."""

    run: str
    slot: str
    stopping: bool
    told: tuple[Spawned | Notified | Exited | Gone, ...]
    key: str = ""
    """By which the keeper knows what it was started by, for a run that may follow; empty: it does not."""


@dataclass(frozen=True, slots=True)
class HeldSockets:
    """The listening sockets of a slot.

    Attributes:
        slot: Whose.
        watched: The first connection will be told.
        called: Name of the socket on which one came that nobody has answered for yet, or empty.
    """

    slot: str
    watched: bool
    called: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the keeper hands a new daemon."""

    keeper_pid: int
    logger_pid: int | None
    started_wall: float
    daemon_starts: int
    shutdown: bool
    runs: tuple[HeldRun, ...]
    notes: dict[str, object]
    groups: RunGroups = NO_GROUPS
    sockets: tuple[HeldSockets, ...] = ()
    manager: bool = False
    """A service manager listens to the keeper: it is to be told how the fleet stands."""


@dataclass(frozen=True, slots=True)
class RunNews:
    """Something happened to the run in a slot."""

    slot: str
    input: Spawned | SpawnRefused | Notified | Exited | Gone | Stuck


@dataclass(frozen=True, slots=True)
class ShutdownAsked:
    """SIGTERM or SIGINT came to the keeper; the second one hurries."""

    hurry: bool


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    """SIGHUP came to the keeper."""


@dataclass(frozen=True, slots=True)
class ReplaceAsked:
    """SIGUSR2 came to the keeper: this daemon is to end, the next one takes over."""


@dataclass(frozen=True, slots=True)
class Pinged:
    """The keeper asks whether this daemon is alive; answered by `pong`."""

    number: int


@dataclass(frozen=True, slots=True)
class RoleNews:
    """One of our own processes started or ended."""

    role: str
    event: str
    pid: int | None
    text: str


@dataclass(frozen=True, slots=True)
class LoggerNews:
    """The logger reports: dropped, unwritable, recovered, rotated."""

    kind: str
    path: str
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class SlotCalled:
    """A connection came to a socket of a slot that waited for one."""

    slot: str
    name: str


@dataclass(frozen=True, slots=True)
class ListenRefused:
    """The sockets of a slot could not be opened."""

    slot: str
    message: str


@dataclass(frozen=True, slots=True)
class CommandNews:
    """A command beside a run failed: its stop command, or one that follows its end."""

    slot: str
    run: str
    command: str
    text: str


FleetNews = ShutdownAsked | ReloadAsked | ReplaceAsked | Pinged | RoleNews | LoggerNews
SlotNews = SlotCalled | ListenRefused | CommandNews
News = RunNews | SlotNews | FleetNews
