"""Frozen views of a service, handed to whoever asks."""

from dataclasses import asdict, dataclass, fields

from orchestra_supervisor.model.states import Desired, DownReason, Kind, State

__all__ = ["ExitReport", "RunReport", "ServiceReport", "VerbResult"]


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How the last run ended.

    Attributes:
        code: Exit code, or None when a signal ended it or the status is unknown.
        signal: Signal name (`SIGKILL`), or None.
        at_wall: Seconds since the epoch.
        success: True when policy counts it as a success.
        text: For people: `exit code 1`, `killed by SIGSEGV`, `exec failed: No such file (argv[0])`.
    """

    code: int | None
    signal: str | None
    at_wall: float
    success: bool
    text: str


@dataclass(frozen=True, slots=True)
class RunReport:
    """How the last planned run of a periodic service went.

    Attributes:
        planned: Wall seconds for which it was planned, or at which somebody asked for it.
        started: Wall seconds of its last start, or None: no process came to be.
        ended: Wall seconds at which it was over.
        lasted: Seconds of its last start.
        success: True when it counts as a success.
        text: For people, as in `ExitReport`.
    """

    planned: float
    started: float | None
    ended: float
    lasted: float
    success: bool
    text: str


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One service as status shows it. Instants are wall seconds; ids and pids are None when nothing runs."""

    name: str
    title: str
    kind: Kind
    state: State
    desired: Desired
    down_reason: DownReason
    reason: str
    """Why it is in this state, for people."""
    since: float
    pid: int | None
    run: str | None
    started: float | None
    restarts: int
    failed_starts: int
    """Starts in a row that did not count as started; above 0 and failed: it was given up for that."""
    exit: ExitReport | None
    port: int | None
    url: str | None
    enabled: bool
    required: bool
    waiting_for: tuple[str, ...]
    next_start: float | None
    probe_error: str
    listening: bool
    """It waits for the first connection to its sockets."""
    status_text: str
    """What it says of itself (STATUS= of sd_notify), or empty."""
    sockets: tuple[str, ...]
    """Addresses that are held for it."""
    limits: dict[str, dict[str, object]]
    """Limit name to `{"value", "held"}`; held is `cgroup`, `watched` or `no`."""
    depends_on: tuple[str, ...]
    tags: tuple[str, ...]
    last_run: RunReport | None
    next_run: float | None
    """When the next planned run of a periodic service is due."""
    watching: dict[str, object] | None = None
    """For which files it is restarted: `paths`, `files` (how many there are), `error`; None: for none."""
    group: str | None = None
    """The name it shares with its replicas, or None."""
    replica: int | None = None
    stdio: bool = False
    """It is an MCP server on its stdin and stdout."""
    protected: bool = False
    """Agents ask before they stop or restart it."""

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form of `status --json`."""
        # Field by field: status of a thousand services must not wait for the deep copies of asdict.
        report: dict[str, object] = {name: getattr(self, name) for name in _FIELDS}
        report["exit"] = None if self.exit is None else asdict(self.exit)
        report["last_run"] = None if self.last_run is None else asdict(self.last_run)
        return report


_FIELDS = tuple(field.name for field in fields(ServiceReport))


@dataclass(frozen=True, slots=True)
class VerbResult:
    """What became of one service in a verb."""

    name: str
    before: str
    after: str
    ok: bool
    changed: bool
    message: str
    took: float

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form of the control API."""
        return asdict(self)
