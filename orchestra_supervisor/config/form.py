"""The native file form: what may be written in a file, key by key.

These models are the source of `configs/orchestra.schema.json` and the judge of every dialect: other
dialects are rewritten into this form and then held to it. None means "not said"; defaults are
filled in by `resolve`.
"""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from orchestra_supervisor.config.form_equipment import (
    HookLine,
    LimitsForm,
    RecycleForm,
    ReloadLine,
    SocketLine,
)
from orchestra_supervisor.config.form_exit import ExitWhenForm
from orchestra_supervisor.config.form_log import LogForm
from orchestra_supervisor.config.form_mcp import McpOrFlag
from orchestra_supervisor.config.form_parts import (
    DependenciesForm,
    Form,
    RestartOrPolicy,
    StopForm,
    closes_stdin,
)
from orchestra_supervisor.config.form_plugins import PluginOrSource, TargetOrName
from orchestra_supervisor.config.form_probes import ProbesForm, ProbeTimingForm
from orchestra_supervisor.config.form_replicas import ReplicaCount, TemplateValues, Update
from orchestra_supervisor.config.form_rotation import SecretChangeOrWord
from orchestra_supervisor.config.form_schedule import ScheduleOrText
from orchestra_supervisor.config.form_supervisord import StartForm, SupervisorForm, SupervisorNameForm
from orchestra_supervisor.config.form_watch import WatchOrPaths
from orchestra_supervisor.config.values import (
    RLIMIT_NAMES,
    ByteSize,
    CommandLine,
    Duration,
    EnvValue,
    Flag,
    Integer,
    LimitPair,
    PortNumber,
    RestartLimit,
    ServiceName,
    Text,
    Umask,
)

__all__ = ["DefaultsForm", "FileForm", "HeadForm", "ServiceForm", "SettingsForm", "TemplateForm"]

_Env = dict[Annotated[Text, Field(pattern=r"^[^=]+$")], EnvValue]


class ServiceForm(Form):
    """One service as it is written in a file."""

    title: Text | None = Field(None, description="What people read. Default: the service's id.")
    name: Text | None = Field(None, description="The same as title.")
    description: Text | None = Field(None, description="One sentence on what it is for.")
    kind: Literal["daemon", "once", "periodic"] | None = Field(
        None,
        description="daemon runs until stopped; once runs to its end; periodic does so by a schedule. "
        "Default: periodic where there is a schedule, else daemon.",
    )
    type: Literal["daemon", "once", "periodic"] | None = Field(None, description="The same as kind.")
    schedule: ScheduleOrText | None = Field(
        None, description='When the runs of a periodic service are planned: "5m", "0 3 * * *", or an object.'
    )
    command: CommandLine = Field(
        description="An argument vector, run without a shell, or a text that /bin/sh -c runs."
    )
    cwd: Text | None = Field(
        None,
        min_length=1,
        description="Working directory, relative to the file's folder. Default: that folder.",
    )
    env: _Env | None = Field(None, description="Environment variables, added to the inherited ones.")
    env_files: list[Text] | None = Field(
        None, description='Files of NAME=value lines, relative to the file; "?path" may be missing.'
    )
    secrets: dict[Text, Text] | None = Field(
        None, description="Environment variable to the name of a secret in the secrets file."
    )
    inherit_env: Flag | None = Field(
        None, description="Start from the environment of the supervisor. Default: true."
    )
    user: Text | None = Field(None, min_length=1, description="User name or number it runs as.")
    group: Text | None = Field(None, min_length=1, description="Group name or number it runs as.")
    groups: list[Text] | None = Field(None, description="Supplementary groups. Default: those of user.")
    umask: Umask | None = Field(None, description='File mode mask in octal text, such as "027".')
    nice: Annotated[Integer, Field(ge=-20, le=19)] | None = Field(None, description="Scheduling priority.")
    oom_score_adj: Annotated[Integer, Field(ge=-1000, le=1000)] | None = Field(
        None, description="How soon the kernel kills it when memory runs out."
    )
    rlimits: dict[str, LimitPair] | None = Field(
        None, description="Resource limits by lower-case name: nofile, core, nproc, as, ..."
    )
    enabled: Flag | None = Field(None, description="false: known, but not started by itself. Default: true.")
    priority: Annotated[Integer, Field(ge=-1_000_000, le=1_000_000)] | None = Field(
        None, description="Lower starts first among services that are free to start. Default: 999."
    )
    start_delay: Duration | None = Field(None, description="After the fleet's start. Default: 0.")
    required_for_system: Flag | None = Field(
        None, description="If it cannot start, the whole start fails. Default: false."
    )
    depends_on: DependenciesForm | None = Field(
        None, description="Names, or name to condition, or name to {condition, on_failure}."
    )
    dependencies: list[Text] | None = Field(None, description="Names that must be ready first.")
    target: TargetOrName | None = Field(
        None, description="Where it runs: process (here), or as a plugin calls it. Default: process."
    )
    start: StartForm | None = Field(None, description="When a run counts as started.")
    restart: RestartOrPolicy | None = Field(None, description="Policy, or policy with its limits and delays.")
    restart_delay: Duration | None = Field(None, description="The same as restart.backoff.initial.")
    max_restarts: RestartLimit | None = Field(None, description="The same as restart.max_restarts.")
    restart_window: Duration | None = Field(None, description="The same as restart.window.")
    stop: StopForm | None = Field(None, description="How it is stopped.")
    pre_start: list[HookLine] | None = Field(
        None, description="Commands before the program, in order; one that fails fails the start."
    )
    post_stop: list[HookLine] | None = Field(
        None, description="Commands after the end of a run, in order, before anything else follows."
    )
    reload: ReloadLine | None = Field(None, description="How it is told to read its configuration again.")
    sockets: dict[Annotated[Text, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")], SocketLine] | None = Field(
        None,
        max_length=12,
        description="Listening sockets held from run to run (LISTEN_FDS), by name.",
    )
    start_on: Literal["boot", "connection", "demand"] | None = Field(
        None,
        description="connection: started by the first connection to its sockets; demand: by whoever asks "
        "for it. Default: boot.",
    )
    stdio: Flag | None = Field(
        None, description="An MCP server on its stdin and stdout, for the gateway. Default: false."
    )
    protected: Flag | None = Field(
        None, description="Agents ask before they stop or restart it. Default: false."
    )
    notify: Flag | None = Field(
        None, description="It tells by sd_notify READY=1 when it has started. Default: false."
    )
    watchdog: Duration | None = Field(
        None,
        description="It tells WATCHDOG=1 at least this often, or is restarted. Default: 0, it need not.",
    )
    limits: LimitsForm | None = Field(None, description="What its processes may use together.")
    recycle: RecycleForm | None = Field(None, description="When a fresh run takes the place of a good one.")
    probes: ProbesForm | None = Field(None, description="Startup, readiness and liveness probes.")
    health_url: Text | None = Field(
        None,
        pattern=r"^https?://[^\s/]\S*$",
        description="Shorthand: an http probe for readiness and liveness.",
    )
    health_check_retries: Annotated[Integer, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="failure_threshold of the probes that health_url makes."
    )
    port: PortNumber | None = Field(None, description="TCP port it listens on, 1 to 65535.")
    url: Text | None = Field(None, description="Where a person finds it.")
    startup_timeout: Duration | None = Field(
        None, description="From spawn to first readiness; 0: no limit. Default: 60s."
    )
    log: LogForm | None = Field(None, description="What becomes of its output.")
    tags: list[Text] | None = Field(None, description="Words to select it by.")
    replicas: ReplicaCount | None = Field(None, description="How many of it run, as web@1, web@2, ...")
    update: Update | None = Field(
        None, description="How a changed configuration reaches the replicas. Default: all."
    )
    template: Text | None = Field(None, description="The entry of `templates` that its keys are laid over.")
    values: TemplateValues | None = Field(None, description="What {KEY} stands for in the template.")
    watch: WatchOrPaths | None = Field(
        None, description="Files whose change restarts it: a list of globs and folders, or an object."
    )
    on_secret_change: SecretChangeOrWord | None = Field(
        None, description="ignore, restart, reload, or a signal, when a secret has changed. Default: ignore."
    )

    supervisor: SupervisorNameForm | None = Field(
        None, description="What supervisord's clients know it as, and are told of it."
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        said = self.notify or self.watchdog or (self.probes is not None and self.probes.startup is not None)
        if said and self.start is not None and self.start.after != 0:
            raise ValueError(
                "has start.after beside notify or a startup probe: only one can say that it has started"
            )
        if self.start_on == "connection" and not self.sockets:
            raise ValueError("has start_on: connection and no sockets on which one could come")
        if (self.kind or self.type) in {"once", "periodic"} or self.schedule is not None:
            if self.start_on == "demand":
                raise ValueError("has start_on: demand, which is for daemons")
            if self.stdio:
                raise ValueError("has stdio, which is for daemons")
        if not self.stdio and closes_stdin(self.stop):
            raise ValueError("has a stop step EOF, which is for stdio services")
        if (self.notify or self.watchdog) and self.probes is not None and self.probes.startup is not None:
            raise ValueError("has notify and a startup probe: only one can say when it has started")
        if self.watchdog and self.notify is False:
            raise ValueError("has a watchdog, for which notify must not be false")
        return self

    @field_validator("rlimits")
    @classmethod
    def _are_known(cls, value: dict[str, list[int | None]] | None) -> dict[str, list[int | None]] | None:
        for name in value or {}:
            if name not in RLIMIT_NAMES:
                msg = f"unknown resource {name!r}; known: {', '.join(RLIMIT_NAMES)}"
                raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _is_periodic_by_schedule(self) -> Self:
        kind = self.kind or self.type
        if kind == "periodic" and self.schedule is None:
            raise ValueError('must have a schedule like "5m" or "0 3 * * *", for it is periodic')
        if self.schedule is not None and kind not in {None, "periodic"}:
            msg = f"must not have a schedule, for its kind is {kind}; periodic services have one"
            raise ValueError(msg)
        return self


class TemplateForm(ServiceForm):
    """What several services have in common; held to its keys when a service uses it."""

    command: CommandLine | None = Field(None, description="As in a service.")  # type: ignore[assignment]  # may be the service's own


class DefaultsForm(Form):
    """What holds for every service of the file that does not say otherwise."""

    restart: RestartOrPolicy | None = Field(None, description="As in a service.")
    stop: StopForm | None = Field(None, description="As in a service.")
    probes: ProbeTimingForm | None = Field(None, description="Timing of all probes.")
    log: LogForm | None = Field(None, description="As in a service.")
    startup_timeout: Duration | None = Field(None, description="As in a service.")


class SettingsForm(Form):
    """What holds for the fleet, and for all services of this file."""

    log_directory: Text | None = Field(
        None, min_length=1, description="Relative to the file's folder. Default: logs in the state directory."
    )
    environment: _Env | None = Field(None, description="Environment variables of all services of this file.")
    env_files: list[Text] | None = Field(
        None, description='Files of NAME=value lines for all services of this file; "?path" may be missing.'
    )
    secrets_file: Text | None = Field(
        None, min_length=1, description="JSON file of secret values that only its owner may read."
    )
    remember_stops: Flag | None = Field(
        None, description="A stop by hand also outlives a full stop of the fleet. Default: false."
    )
    control_group: Text | None = Field(
        None, min_length=1, description="Group whose members may operate the fleet. Default: the owner alone."
    )
    leftovers: Literal["stop", "report"] | None = Field(
        None, description="What up does with processes of a fleet whose keeper was killed. Default: stop."
    )
    journal_keep: Annotated[Integer, Field(ge=1_000, le=1_000_000_000)] | None = Field(
        None, description="Events kept in the journal. Default: 100000."
    )
    log_keep_bytes: ByteSize | None = Field(
        None,
        description="What all logs may take with their rotated segments, the oldest go first; 0: no limit. "
        "Default: 0.",
    )
    figures_period: Annotated[Duration, Field(le=3_600)] | None = Field(
        None, description="Between two looks at what the services use; 0: none. Default: 10s."
    )
    watch_config: Flag | None = Field(
        None, description="Reload when a file of the configuration changes. Default: false."
    )
    watch_debounce: Annotated[Duration, Field(ge=0.01, le=60)] | None = Field(
        None, description="Quiet that ends a burst of changes of the configuration. Default: 500ms."
    )
    credentials: Flag | None = Field(
        None,
        description="Look for secrets in the credentials that systemd passes, after the secrets file. "
        "Default: where it passes some.",
    )
    journald: Flag | None = Field(
        None, description="Send events to the systemd journal too, with fields. Default: false."
    )
    systemd_ready: Literal["fleet", "daemon"] | None = Field(
        None,
        description="When systemd is told that we are ready: the services are settled, or the daemon runs. "
        "Default: fleet.",
    )
    plugins: list[PluginOrSource] | None = Field(None, description="Plugins of the fleet.")
    plugin_entry_points: Flag | None = Field(
        None, description="Also load the plugins that installed packages bring. Default: false."
    )
    mcp: McpOrFlag | None = Field(
        None, description="The gateway: what talks MCP; false: there is none. Default: on its Unix socket."
    )
    supervisor: SupervisorForm | None = Field(
        None, description="Where supervisord's clients connect. Default: nowhere."
    )
    exit_when: ExitWhenForm | None = Field(
        None, description="What ends the fleet by itself. Default: a required service that cannot start."
    )
    console: Literal["off", "raw", "prefix", "json"] | None = Field(
        None,
        description="Output of all services also goes to that of the keeper, where `up --exec` became it. "
        "Default: off.",
    )
    defaults: DefaultsForm | None = Field(None, description="Defaults for the services of this file.")


class HeadForm(Form):
    """Everything of a file but its services."""

    model_config = ConfigDict(defer_build=True, title="Orchestra Supervisor fleet")

    schema_: str | None = Field(None, alias="$schema", description="Where this schema is, for editors.")
    include: list[Text] | None = Field(
        None, description="Further files or globs of any dialect, relative to this file."
    )
    settings: SettingsForm | None = Field(None, description="What holds for the fleet.")
    health_check_interval: Annotated[Duration, Field(ge=0.01, le=86_400)] | None = Field(
        None, description="The same as settings.defaults.probes.period."
    )
    monitor_interval: Duration | None = Field(
        None, description="Read and not needed: the end of a process is seen at once."
    )


class FileForm(HeadForm):
    """A whole file."""

    services: dict[ServiceName, ServiceForm] = Field(description="Service id to service.")
    templates: dict[ServiceName, TemplateForm] | None = Field(
        None, description="Name to what services of this file have in common; `{KEY}` stands for a value."
    )
