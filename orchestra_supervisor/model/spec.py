"""A validated fleet: what every service is, resolved and complete.

A spec is what configuration files become: paths absolute, variables expanded, shorthands
spelled out, defaults filled in. Two specs that compare equal describe the same service, so
"what changed" is a comparison of whole specs. Secrets stay references (`secret:NAME`) here.
"""

import signal as _signal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from orchestra_supervisor.model.checks import GrpcCheck, LogCheck
from orchestra_supervisor.model.equipment import HookSpec, LimitsSpec, RecycleSpec, ReloadSpec, SocketSpec
from orchestra_supervisor.model.exit_policy import ExitPolicySpec
from orchestra_supervisor.model.log import LogSpec
from orchestra_supervisor.model.mcp import GATEWAY, McpSettings, McpSpec
from orchestra_supervisor.model.plugin import PluginSpec
from orchestra_supervisor.model.replicas import GroupSpec, ReplicaSpec
from orchestra_supervisor.model.rotation import SecretChangeSpec
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.states import Condition, Kind
from orchestra_supervisor.model.supervisord import LISTENERS, SupervisorName, SupervisorSpec
from orchestra_supervisor.model.watch import WatchSpec

__all__ = [
    "END_OF_INPUT",
    "SERVICE_NAME_PATTERN",
    "BackoffSpec",
    "ByteCount",
    "Check",
    "CommandCheck",
    "DependencySpec",
    "Fleet",
    "FleetSettings",
    "HttpCheck",
    "NetworkCheck",
    "PluginCheck",
    "Port",
    "ProbeSet",
    "ProbeSpec",
    "RestartSpec",
    "RlimitSpec",
    "Seconds",
    "ServiceSpec",
    "StartSpec",
    "StopSpec",
    "StopStep",
    "TargetSpec",
    "TcpCheck",
    "known_signal",
]

SERVICE_NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$"
"""A service's name is also its log file's name and an URL segment: no slash, no leading dot."""

END_OF_INPUT = "EOF"
"""In place of a stop signal: the input of a stdio service ends. For any other the step is passed over."""

Seconds = Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)]
ByteCount = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
NoNul = Annotated[str, Field(pattern=r"^[^\x00]*$")]


def known_signal(value: str) -> str:
    """Return the full name of a signal, `SIGTERM` for `term`.

    Raises:
        ValueError: There is no such signal.
    """
    name = value.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name not in _signal.Signals.__members__:
        msg = f"unknown signal {value!r}"
        raise ValueError(msg)
    return name


def _known_step(value: str) -> str:
    return END_OF_INPUT if value.upper() == END_OF_INPUT else known_signal(value)


class _Spec(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class HttpCheck(_Spec):
    """Passes when an HTTP answer has the wanted status, and body where asked for."""

    type: Literal["http"] = "http"
    url: str
    unix: str | None = None
    """Absolute path of a socket that is connected to in place of the URL's host."""
    method: Literal["GET", "HEAD", "POST"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    status: tuple[int, int] = (200, 299)
    """Lowest and highest accepted status, both included."""
    body_match: str | None = None
    """Regular expression searched in the first 64 KiB of the body (UTF-8, bad bytes replaced)."""


class TcpCheck(_Spec):
    """Passes when a TCP connection is accepted."""

    type: Literal["tcp"] = "tcp"
    host: str = "127.0.0.1"
    port: Port


class CommandCheck(_Spec):
    """Passes when a command ends with exit code 0; runs with the service's cwd, env and user."""

    type: Literal["command"] = "command"
    argv: Annotated[tuple[NoNul, ...], Field(min_length=1)]


class PluginCheck(_Spec):
    """Passes when a plugin's check does."""

    type: Literal["plugin"] = "plugin"
    probe: str
    """The kind of check, as a plugin registers it."""
    options: dict[str, JsonValue] = Field(default_factory=dict)


NetworkCheck = HttpCheck | TcpCheck | GrpcCheck
"""What one connection of the daemon finds out."""
Check = NetworkCheck | LogCheck | CommandCheck | PluginCheck


class ProbeSpec(_Spec):
    """One probe: what is checked, when, and how many results count."""

    check: Annotated[Check, Field(discriminator="type")]
    initial_delay: Seconds = 0.0
    period: Annotated[float, Field(ge=0.01, le=86_400)] = 10.0
    """Between the starts of two checks. Until a probe first passes it is checked more often."""
    timeout: Annotated[float, Field(ge=0.01, le=3_600)] = 5.0
    success_threshold: Annotated[int, Field(ge=1)] = 1
    failure_threshold: Annotated[int, Field(ge=1)] = 3


class ProbeSet(_Spec):
    """The probes of one service.

    startup: until it passes, liveness and readiness do not run; failing for
    `failure_threshold` times, or not passing within `startup_timeout`, ends the run.
    readiness: decides between ready and unhealthy. liveness: failing restarts the run.
    """

    startup: ProbeSpec | None = None
    readiness: ProbeSpec | None = None
    liveness: ProbeSpec | None = None


class BackoffSpec(_Spec):
    """How long to wait before the next start: initial * multiplier**n, capped, jittered."""

    initial: Seconds = 0.5
    multiplier: Annotated[float, Field(ge=1, le=100)] = 2.0
    cap: Seconds = 60.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the delay that is added at random, so that services do not restart in step."""
    first_immediate: bool = True
    """The first restart after a stable spell happens at once."""


class RestartSpec(_Spec):
    """When a run that ended is followed by another."""

    policy: Literal["always", "on-failure", "never"] = "on-failure"
    success_exit_codes: tuple[Annotated[int, Field(ge=0, le=255)], ...] = (0,)
    backoff: BackoffSpec = BackoffSpec()
    max_restarts: Annotated[int, Field(ge=0)] | None = 10
    """Restarts within `window` before the service is failed; None: no limit."""
    window: Seconds = 300.0
    stable_after: Seconds = 30.0
    """A run this long resets the backoff."""


class StartSpec(_Spec):
    """When a run counts as started, and how often one that does not is tried again."""

    after: Seconds = 1.0
    """Seconds that a run has to last; until then it is starting. 0: started once it is spawned."""
    retries: Annotated[int, Field(ge=0)] | None = 3
    """Starts in a row that may fail and be tried again; None: no limit."""
    delay: Seconds = 1.0
    """Waited before the first of them; twice that before the second, three times before the third."""


class StopStep(_Spec):
    """One signal of a stop sequence and the time it is given."""

    signal: str = "SIGTERM"
    """Or END_OF_INPUT, in place of a signal."""
    wait: Seconds = 10.0

    _check_signal = field_validator("signal")(_known_step)


class StopSpec(_Spec):
    """The stop sequence. SIGKILL to all that is left always follows its last step."""

    steps: tuple[StopStep, ...] = (StopStep(),)
    command: HookSpec | None = None
    """Run first; it has its timeout to end the run. MAINPID in its environment names the main process."""
    scope: Literal["group", "leader"] = "group"
    """Whom the signals reach: the process group and its strays, or the leader alone. SIGKILL reaches all."""


class RlimitSpec(_Spec):
    """Soft and hard limit of one resource; None is unlimited."""

    soft: int | None
    hard: int | None


class DependencySpec(_Spec):
    """What a service needs of another."""

    condition: Condition = Condition.READY
    on_failure: Literal["keep", "stop", "restart"] = "keep"
    """When the dependency stops meeting its condition while this service runs: keep it running;
    stop it until the condition is met again; or restart it once the condition is met again."""


class TargetSpec(_Spec):
    """Where a service runs."""

    name: str = "process"
    """process: as a process here; else as a plugin calls it."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """What the target takes."""


class ServiceSpec(_Spec):
    """One service, complete. Paths absolute, command an argument vector, variables expanded."""

    name: Annotated[str, Field(pattern=rf"^{GATEWAY}$|^{LISTENERS}$|{SERVICE_NAME_PATTERN}")]
    title: str = ""
    description: str = ""
    kind: Kind = Kind.DAEMON
    schedule: ScheduleSpec | None = None
    """Of a periodic service; others have none."""
    argv: Annotated[tuple[NoNul, ...], Field(min_length=1)]
    cwd: NoNul
    env: dict[NoNul, NoNul] = Field(default_factory=dict)
    """Added to the inherited environment; a value may be `secret:NAME`, resolved at spawn."""
    inherit_env: bool = True
    user: str | None = None
    group: str | None = None
    groups: tuple[str, ...] | None = None
    """Supplementary groups; None: those of `user`, when a user is given."""
    umask: Annotated[int, Field(ge=0, le=0o777)] | None = None
    nice: Annotated[int, Field(ge=-20, le=19)] | None = None
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    rlimits: dict[str, RlimitSpec] = Field(default_factory=dict)
    """Resource name without prefix, lower case (`nofile`, `core`, ...)."""
    enabled: bool = True
    priority: int = 999
    """Lower starts first among services that are free to start; dependencies come before it."""
    start_delay: Seconds = 0.0
    """After the fleet's start, not after the previous service."""
    required_for_system: bool = False
    depends_on: dict[str, DependencySpec] = Field(default_factory=dict)
    target: TargetSpec = TargetSpec()
    start: StartSpec | None = None
    """None: a run has started once it is spawned, and one that ends at once is for the restart policy."""
    restart: RestartSpec = RestartSpec()
    stop: StopSpec = StopSpec()
    probes: ProbeSet = ProbeSet()
    startup_timeout: Seconds = 60.0
    """From spawn to first readiness; 0: no limit. Not reached: the run is stopped and counts as failed."""
    pre_start: tuple[HookSpec, ...] = ()
    """Run one after another before the program, as it will; one that fails fails the start."""
    post_stop: tuple[HookSpec, ...] = ()
    """Run one after another when nothing of a run is left, before it counts as gone."""
    reload: ReloadSpec | None = None
    """None: it cannot be told to read its configuration again, only restarted."""
    sockets: tuple[SocketSpec, ...] = ()
    """Handed to the program from descriptor 3 on, in this order (LISTEN_FDS)."""
    start_on: Literal["boot", "connection", "demand"] = "boot"
    """connection: started by a connection to one of its sockets. demand: by whoever asks for it."""
    stdio: bool = False
    """Its stdin and stdout are pipes whose far ends the keeper holds, for the gateway; stderr is its log."""
    channel: bool = False
    """It is told of the pipes of all stdio services, on a socket of its own."""
    notify: bool = False
    """It says by READY=1 on NOTIFY_SOCKET when it has started; until then it is starting."""
    watchdog: Seconds = 0.0
    """It says WATCHDOG=1 at least this often once it has started, else the run is ended; 0: it need not."""
    limits: LimitsSpec = LimitsSpec()
    recycle: RecycleSpec = RecycleSpec()
    port: Port | None = None
    url: str | None = None
    """Where a person finds it; shown in the table of `up`."""
    log: LogSpec = LogSpec()
    tags: tuple[str, ...] = ()
    watch: WatchSpec | None = None
    replica: ReplicaSpec | None = None
    """Which of several it is, where the files have one service with `replicas`."""
    on_secret_change: SecretChangeSpec = SecretChangeSpec()
    protected: bool = False
    """Whoever acts for somebody else asks before stopping or restarting it."""
    supervisor: SupervisorName | None = None
    """What supervisord's clients know it as; None: by its own name alone."""

    @property
    def says_started(self) -> bool:
        """True where a probe or the service itself says that a run has started."""
        return self.probes.startup is not None or self.notify


class FleetSettings(_Spec):
    """What holds for the whole fleet."""

    log_directory: str | None = None
    """Absolute; None: `logs` in the state directory."""
    remember_stops: bool = False
    """A stop by hand also outlives a full stop of the fleet."""
    control_group: str | None = None
    """Named group that may use the control socket (mode 0660); None: the owner alone (0600)."""
    secrets_file: str | None = None
    """Absolute path of a JSON file of secret values, unreadable for others."""
    leftovers: Literal["stop", "report"] = "stop"
    """What `up` does with what a killed keeper left behind: stop it first, or refuse to start."""
    journal_keep: Annotated[int, Field(ge=1_000)] = 100_000
    """Events kept in the journal."""
    log_keep_bytes: ByteCount = 0
    """What all logs may take with their rotated segments; 0: no limit."""
    figures_period: Annotated[Seconds, Field(le=3_600)] = 10.0
    """Between two looks at what the services use; 0: none are taken."""
    watch_config: bool = False
    """A change of a configuration file is a reload."""
    watch_debounce: Annotated[float, Field(ge=0.01, le=60)] = 0.5
    """Seconds of quiet that end a burst of changes of the configuration."""
    credentials: bool | None = None
    """Secrets may come from systemd's credentials; None: where there are any."""
    journald: bool = False
    """Events also go to the systemd journal, with fields."""
    systemd_ready: Literal["fleet", "daemon"] = "fleet"
    """When a service manager is told `READY=1`: the fleet has settled, or the daemon supervises it."""
    plugins: tuple[PluginSpec, ...] = ()
    plugin_entry_points: bool = False
    """The plugins that installed packages bring are loaded too."""
    mcp: McpSettings = McpSettings()
    supervisor: SupervisorSpec | None = None
    """Where supervisord's clients connect; None: nowhere."""
    exit_when: ExitPolicySpec = ExitPolicySpec()
    console: Literal["off", "raw", "prefix", "json"] = "off"
    """Output of all services also goes to that of the keeper, where `up --exec` became it."""


class Fleet(_Spec):
    """All services of one home."""

    services: dict[str, ServiceSpec] = Field(default_factory=dict)
    groups: dict[str, GroupSpec] = Field(default_factory=dict)
    """The services with replicas, by the name that the files give them."""
    coming: dict[str, ServiceSpec] = Field(default_factory=dict)
    """What a rolling update brings to replicas, while `services` has what they are to fall back to."""
    settings: FleetSettings = FleetSettings()
    mcp: McpSpec = McpSpec()
    files: tuple[str, ...] = ()
    """Absolute paths of the files it was read from."""
