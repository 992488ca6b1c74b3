"""One service as a unit of its own: what carries over is a setting, what does not is a comment and a line."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from orchestra_supervisor.config.findings import is_sensitive
from orchestra_supervisor.config.secrets import secret_names
from orchestra_supervisor.model.checks import GrpcCheck, LogCheck
from orchestra_supervisor.model.equipment import SocketSpec
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import (
    CommandCheck,
    HttpCheck,
    PluginCheck,
    ProbeSpec,
    ServiceSpec,
    TcpCheck,
)
from orchestra_supervisor.model.states import Condition, Kind
from orchestra_supervisor.systemd.equipment import add_equipment, add_socket, start_limit
from orchestra_supervisor.systemd.programs import command_line
from orchestra_supervisor.systemd.stop_commands import add_stop
from orchestra_supervisor.systemd.syntax import UnitText, plain, quote, seconds
from orchestra_supervisor.systemd.timer import add_timer

__all__ = ["Place", "Rendered", "render_service", "unit_name"]

_STEPS_SINCE = 254  # the version of systemd that brought RestartSteps=
_MOST_STEPS = 100
_KNOWN = frozenset(
    {
        "name",
        "title",
        "description",
        "kind",
        "argv",
        "cwd",
        "env",
        "inherit_env",
        "user",
        "group",
        "groups",
        "umask",
        "nice",
        "oom_score_adj",
        "rlimits",
        "pre_start",
        "post_stop",
        "reload",
        "sockets",
        "start_on",
        "notify",
        "watchdog",
        "limits",
        "recycle",
        "schedule",
        "enabled",
        "priority",
        "start_delay",
        "required_for_system",
        "depends_on",
        "restart",
        "stop",
        "probes",
        "startup_timeout",
        "port",
        "url",
        "log",
        "tags",
        "replica",
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the units will live.

    Attributes:
        fleet: Name of the fleet: begins the names of all units.
        version: Of systemd.
        is_user: For a user's own manager.
    """

    fleet: str
    version: int
    is_user: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """The unit files of a service, and what of it they cannot say.

    Attributes:
        files: Text by name: a unit, and the timer of a periodic one.
        lost: One clause each.
        start: The units that a target starts: the service, its timer, its sockets.
    """

    files: dict[str, str]
    lost: tuple[str, ...]
    start: tuple[str, ...]


class _Unit(UnitText):
    """A unit that remembers what it could not say."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[str] = []

    def lose(self, what: str) -> None:
        self.note(f"Lost: {what}.")
        self.lost.append(what)


def unit_name(place: Place, service: str) -> str:
    """Return the name of a service's unit; `@` would make it a template's instance."""
    return f"{place.fleet}-{service.replace('@', chr(92) + 'x40')}.service"


def render_service(spec: ServiceSpec, place: Place) -> Rendered:
    """Return the unit of a service.

    Raises:
        ConfigError: A value cannot be written in a unit file at all.
    """
    unit = _Unit()
    unit.note(f"Made by `orchestra systemd export` from the service {spec.name}.")
    unit.section("Unit")
    unit.set("Description", _description(spec))
    unit.set("PartOf", f"{place.fleet}.target")
    _add_dependencies(unit, spec, place)
    for socket in spec.sockets:
        unit.set("Requires", _socket_name(unit_name(place, spec.name), socket))
        unit.set("After", _socket_name(unit_name(place, spec.name), socket))
    _add_limit(unit, spec)
    unit.section("Service")
    for socket in spec.sockets:
        unit.set("Sockets", _socket_name(unit_name(place, spec.name), socket))
    schedule = spec.schedule
    is_job = spec.kind is Kind.ONCE or schedule is not None
    _add_command(unit, spec, schedule, is_job=is_job)
    add_equipment(unit, spec, unit.lose, is_job=is_job)
    _add_environment(unit, spec, place)
    _add_identity(unit, spec, place)
    _add_restart(unit, spec, place, is_job=is_job)
    add_stop(unit, spec, unit.lose)
    _add_probes(unit, spec)
    _add_unknown(unit, spec)
    name = unit_name(place, spec.name)
    if schedule is not None:
        timer = _timer(spec, schedule, place)
        start = name.removesuffix(".service") + ".timer"
        return Rendered({name: unit.render(), start: timer.render()}, (*unit.lost, *timer.lost), (start,))
    sockets = {_socket_name(name, one): _socket(spec, one, place).render() for one in spec.sockets}
    waits = spec.start_on != "boot"
    if spec.start_on == "demand":
        unit.note("start_on: demand. It is started by hand, or by a service that needs it.")
    elif not waits:
        _add_install(unit, spec, place)
    return Rendered(
        {name: unit.render(), **sockets}, tuple(unit.lost), tuple(sockets) if waits else (*sockets, name)
    )


def _socket_name(service: str, socket: SocketSpec) -> str:
    return f"{service.removesuffix('.service')}-{socket.name}.socket"


def _socket(spec: ServiceSpec, socket: SocketSpec, place: Place) -> UnitText:
    unit = UnitText()
    unit.note(f"Made by `orchestra systemd export` from the service {spec.name}.")
    unit.section("Unit")
    unit.set("Description", f"Socket {socket.name} of {_description(spec)}")
    unit.set("PartOf", f"{place.fleet}.target")
    add_socket(unit, socket, unit_name(place, spec.name))
    _add_install(unit, spec, place)
    return unit


def _add_install(unit: UnitText, spec: ServiceSpec, place: Place) -> None:
    unit.section("Install")
    if spec.enabled:
        unit.set("WantedBy", f"{place.fleet}.target")
    else:
        unit.note("enabled: false. It is started by hand, or by a service that needs it.")


def _timer(spec: ServiceSpec, schedule: ScheduleSpec, place: Place) -> _Unit:
    timer = _Unit()
    timer.note(f"Made by `orchestra systemd export` from the service {spec.name}.")
    timer.section("Unit")
    timer.set("Description", f"Schedule of {_description(spec)}")
    timer.set("PartOf", f"{place.fleet}.target")
    add_timer(timer, schedule, timer.lose)
    _add_install(timer, spec, place)
    return timer


def _description(spec: ServiceSpec) -> str:
    text = " ".join(": ".join(filter(None, (spec.title or spec.name, spec.description))).split())
    return "".join(c for c in text if c.isprintable()).rstrip("\\").replace("%", "%%")


def _add_dependencies(unit: _Unit, spec: ServiceSpec, place: Place) -> None:
    for name, wanted in spec.depends_on.items():
        other = unit_name(place, name)
        unit.set("After", other)
        unit.set("Requires" if wanted.on_failure == "keep" else "BindsTo", other)
        if wanted.condition is Condition.READY:
            unit.lose(f"it waits until {name} runs, not until it is ready (a job: until it is completed)")
        if wanted.on_failure == "keep":
            unit.lose(f"a stop of {name} by hand stops it too")
        else:
            unit.lose(f"when {name} ends it is stopped, and not started again once {name} is back")


def _add_limit(unit: _Unit, spec: ServiceSpec) -> None:
    if spec.restart.policy == "never":
        return
    if spec.restart.max_restarts is None:
        unit.set("StartLimitIntervalSec", "0")
    else:
        unit.set("StartLimitIntervalSec", seconds(spec.restart.window))
        unit.set("StartLimitBurst", str(spec.restart.max_restarts + 1), "Restarts, and the first start.")


def _add_command(unit: _Unit, spec: ServiceSpec, schedule: ScheduleSpec | None, *, is_job: bool) -> None:
    if schedule is not None:
        unit.set("Type", "oneshot", "Its timer starts it.")
    elif spec.kind is Kind.ONCE:
        unit.set("Type", "oneshot")
        unit.set("RemainAfterExit", "yes", "Completed is as good as running to those that depend on it.")
    else:
        unit.set("Type", "notify" if spec.notify else "exec")
    if spec.notify and not is_job:
        unit.set("NotifyAccess", "all")
    if spec.start_delay:
        unit.set(
            "ExecStartPre", f"/bin/sleep {spec.start_delay:g}", "After its dependencies, not after the fleet."
        )
    if is_job:
        unit.set("TimeoutStartSec", "infinity")
    elif spec.start_delay or spec.pre_start or spec.notify:
        unit.set("TimeoutStartSec", start_limit(spec))
    unit.set("ExecStart", command_line(spec.argv, spec, unit.lose))
    unit.set("WorkingDirectory", plain(spec.cwd, f"{spec.name}: cwd"))


def _add_environment(unit: _Unit, spec: ServiceSpec, place: Place) -> None:
    env = dict(spec.env)
    if spec.port is not None:
        env.setdefault("PORT", str(spec.port))
    if spec.replica is not None:
        env["ORCHESTRA_REPLICAS"] = str(spec.replica.count)
    loaded: set[str] = set()
    for name, value in env.items():
        secrets = secret_names(value)
        if not secrets:
            if any(0xDC80 <= ord(c) <= 0xDCFF for c in value):
                unit.lose(f"{name} is not UTF-8, which systemd does not pass on")
            if is_sensitive(name):
                unit.lose(f"{name} stands here for everybody to read; LoadCredential= would keep it")
            unit.set("Environment", quote(f"{name}={value}"))
            continue
        for secret in secrets:
            credential = re.sub(r"[^A-Za-z0-9_.-]", "_", secret)
            unit.lose(f"{name} is the file $CREDENTIALS_DIRECTORY/{credential}, not a variable")
            if credential not in loaded:
                loaded.add(credential)
                unit.set("LoadCredential", f"{credential}:%E/{place.fleet}/credentials/{credential}")


def _add_identity(unit: _Unit, spec: ServiceSpec, place: Place) -> None:
    who = (("User", spec.user), ("Group", spec.group))
    for key, value in who:
        if value is not None and place.is_user:
            unit.lose(f"{key.lower()} {value}: a user's manager runs everything as that user")
        elif value is not None:
            unit.set(key, plain(value, f"{spec.name}: {key.lower()}"))
    if spec.groups and not place.is_user:
        unit.set(
            "SupplementaryGroups", " ".join(plain(group, f"{spec.name}: groups") for group in spec.groups)
        )
    if spec.umask is not None:
        unit.set("UMask", f"{spec.umask:04o}")
    if spec.nice is not None:
        unit.set("Nice", str(spec.nice))
    if spec.oom_score_adj is not None:
        unit.set("OOMScoreAdjust", str(spec.oom_score_adj))
    for name, limit in spec.rlimits.items():
        soft, hard = ("infinity" if one is None else str(one) for one in (limit.soft, limit.hard))
        unit.set(f"Limit{name.upper()}", soft if soft == hard else f"{soft}:{hard}")


def _add_restart(unit: _Unit, spec: ServiceSpec, place: Place, *, is_job: bool) -> None:
    restart, backoff = spec.restart, spec.restart.backoff
    policy = {"never": "no"}.get(restart.policy, restart.policy)
    if policy == "always" and is_job:
        policy = "on-failure"
        unit.lose("a job that succeeded is not run again")
    unit.set("Restart", policy)
    others = [code for code in restart.success_exit_codes if code]
    if others:
        unit.set("SuccessExitStatus", " ".join(map(str, others)))
    if 0 not in restart.success_exit_codes:
        unit.lose("exit code 0 is always a success")
    if policy == "no":
        return
    if policy == "on-failure" and is_job:
        unit.lose("ended by SIGHUP, SIGINT, SIGTERM or SIGPIPE is a success")  # oneshot knows no other
    elif policy == "on-failure":
        unit.set(
            "RestartForceExitStatus",
            "SIGHUP SIGINT SIGTERM SIGPIPE",
            "Ended by a stranger's signal is a failure.",
        )
    unit.set("RestartSec", seconds(backoff.initial))
    if backoff.initial <= 0 or backoff.multiplier <= 1 or backoff.cap <= backoff.initial:
        return
    if place.version < _STEPS_SINCE:
        unit.lose(f"delays between restarts do not grow to {backoff.cap:g} s before systemd {_STEPS_SINCE}")
        return
    steps = math.ceil(math.log(backoff.cap / backoff.initial, backoff.multiplier))
    unit.set("RestartSteps", str(min(steps, _MOST_STEPS)))
    unit.set("RestartMaxDelaySec", seconds(backoff.cap))


def _add_probes(unit: _Unit, spec: ServiceSpec) -> None:
    for kind, probe in _probes(spec):
        unit.lose(f"{kind} probe: {_check_text(probe)} every {probe.period:g} s")
    if spec.startup_timeout and (spec.probes.startup or spec.probes.readiness):
        unit.lose(f"no limit of {spec.startup_timeout:g} s for becoming ready")
    if spec.priority != ServiceSpec.model_fields["priority"].default:
        unit.lose(f"priority {spec.priority}: systemd starts what is free to start at once")


def _probes(spec: ServiceSpec) -> Iterator[tuple[str, ProbeSpec]]:
    for kind in ("startup", "readiness", "liveness"):
        probe = getattr(spec.probes, kind)
        if probe is not None:
            yield kind, probe


def _check_text(probe: ProbeSpec) -> str:
    match probe.check:
        case HttpCheck(method=method, url=url, unix=unix):
            return f"http {method} {url}" + (f" at {unix}" if unix else "")
        case TcpCheck(host=host, port=port):
            return f"tcp {host}:{port}"
        case CommandCheck(argv=argv):
            return f"command {argv[0]}"
        case PluginCheck(probe=name):
            return f"plugin {name}"
        case GrpcCheck(host=host, port=port, unix=unix):
            return f"grpc {unix or f'{host}:{port}'}"
        case LogCheck(pattern=pattern):
            return f"log line {pattern!r}"


def _add_unknown(unit: _Unit, spec: ServiceSpec) -> None:
    """Say what this module has not heard of, rather than leave it out in silence."""
    for key, info in ServiceSpec.model_fields.items():
        if key not in _KNOWN and getattr(spec, key) != info.get_default(call_default_factory=True):
            unit.lose(f"`{key}` has no counterpart here")
