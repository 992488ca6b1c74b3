"""The unit that runs a fleet: the keeper as its main process."""

import re
from dataclasses import dataclass, field

from orchestra_supervisor.model.errors import ERROR_KINDS, InvalidRequest
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.systemd.hardening import LEVELS, restrictions
from orchestra_supervisor.systemd.syntax import UnitText, plain, quote, quote_command, seconds

__all__ = ["NOTIFY_RELOAD_SINCE", "UnitOptions", "check_name", "render_unit", "stop_time"]

NOTIFY_RELOAD_SINCE = 253
"""The version of systemd that brought `Type=notify-reload`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OWN_STOP = 25.0  # seconds: a silent daemon 5, the logger 10, the daemon's end 5, SIGKILL 5
_LEAST_STOP = 60.0
_START = 300  # seconds: reading files and stopping what a killed keeper left; the fleet itself asks for more
_FILES = "1024:524288"  # what a service gets, and what the keeper raises its own to


@dataclass(frozen=True, slots=True)
class UnitOptions:
    """What the unit is made of; paths are absolute.

    Attributes:
        name: Of the unit and its state directory, without a suffix.
        argv: The command that becomes the keeper.
        cwd: Its working directory.
        env: Variables that it needs.
        is_user: For a user's own manager.
        run_as: User of the fleet, or None: root, or the user whose manager it is.
        home: The state directory, or None: the one that systemd makes.
        writable: Further directories that are written to.
        hardening: One of `LEVELS`.
        version: Of systemd.
        stop_time: Seconds that a stop of the fleet may take.
    """

    name: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = field(default_factory=dict[str, str])
    is_user: bool = False
    run_as: str | None = None
    home: str | None = None
    writable: tuple[str, ...] = ()
    hardening: str = LEVELS[0]
    version: int = NOTIFY_RELOAD_SINCE
    stop_time: float = _LEAST_STOP


def check_name(name: str) -> str:
    """Return a unit's name without `.service`.

    Raises:
        InvalidRequest: It is not one.
    """
    bare = name.removesuffix(".service")
    if _NAME.fullmatch(bare) is None:
        raise InvalidRequest(
            f"{name!r} is no name for a unit",
            hint="letters, digits, `_`, `.` and `-`, up to 64: --name orchestra",
        )
    return bare


def stop_time(fleet: Fleet) -> float:
    """Return how long a stop of a fleet may take, in seconds, SIGKILL and our own end included.

    Dependents stop first, so it is the longest chain of dependencies that counts.
    """
    longest: dict[str, float] = {}

    def chain(name: str) -> float:
        if name not in longest:
            longest[name] = 0.0  # a cycle is refused when the fleet is loaded; here it must only end
            spec = fleet.services[name]
            own = sum(step.wait for step in spec.stop.steps) + sum(hook.timeout for hook in spec.post_stop)
            own += spec.stop.command.timeout if spec.stop.command else 0.0
            longest[name] = own + max(
                (chain(one) for one in spec.depends_on if one in fleet.services), default=0.0
            )
        return longest[name]

    return max(_LEAST_STOP, _OWN_STOP + max(map(chain, fleet.services), default=0.0))


def render_unit(options: UnitOptions) -> str:
    """Return the unit file.

    Raises:
        ConfigError: A path cannot be written in one.
    """
    unit = UnitText()
    unit.note(
        f"Made by `orchestra systemd print`. Install as {options.name}.service; docs/systemd.md tells more."
    )
    unit.section("Unit")
    unit.set("Description", f"Orchestra Supervisor fleet {options.name}")
    if not options.is_user:
        unit.set("Wants", "network-online.target", "Services listen on and connect to addresses.")
        unit.set("After", "network-online.target")
    unit.set("StartLimitIntervalSec", "300", "A fleet that fails five times in five minutes is left alone.")
    unit.set("StartLimitBurst", "5")
    unit.section("Service")
    _add_main(unit, options)
    _add_end(unit, options)
    _add_place(unit, options)
    unit.note(f"Hardening, level {options.hardening}.")
    for one in restrictions(options.hardening, is_user=options.is_user):
        unit.set(one.key, one.value, one.why)
    unit.section("Install")
    unit.set("WantedBy", "default.target" if options.is_user else "multi-user.target")
    return unit.render()


def _add_main(unit: UnitText, options: UnitOptions) -> None:
    if options.version >= NOTIFY_RELOAD_SINCE:
        unit.set(
            "Type",
            "notify-reload",
            "The keeper says when the fleet is ready; SIGHUP reloads, and it says when.",
        )
    else:
        unit.set(
            "Type",
            "notify",
            f"The keeper says when the fleet is ready. From systemd {NOTIFY_RELOAD_SINCE} on: notify-reload.",
        )
        unit.set("ExecReload", "/bin/kill -HUP $MAINPID")
    unit.set("NotifyAccess", "main", "The keeper alone speaks for the fleet.")
    unit.set(
        "ExecStart", quote_command(options.argv), "--exec: this process becomes the keeper, the main process."
    )
    unit.set("WorkingDirectory", plain(options.cwd, "the directory"))
    for name, value in options.env.items():
        unit.set("Environment", quote(f"{name}={value}"))
    if options.run_as is not None:
        unit.set("User", plain(options.run_as, "the user"))
    unit.set(
        "WatchdogSec",
        "30",
        "A keeper that hangs is killed and started again; a daemon that hangs it replaces itself.",
    )
    unit.set("TimeoutStartSec", str(_START), "The keeper asks for more while services start.")


def _add_end(unit: UnitText, options: UnitOptions) -> None:
    unit.set(
        "KillMode",
        "mixed",
        "SIGTERM reaches the keeper alone, which stops services in order; SIGKILL whatever is left.",
    )
    unit.set(
        "TimeoutStopSec",
        seconds(options.stop_time),
        "The stop sequences along the longest chain of dependencies, and our own end.",
    )
    unit.set("Restart", "on-failure")
    unit.set("RestartSec", "1")
    useless = sorted({ERROR_KINDS[code].exit for code in ("invalid_request", "config", "secret", "conflict")})
    unit.set(
        "RestartPreventExitStatus",
        " ".join(map(str, useless)),
        "A wrong command line or file, or another fleet on this home: trying again changes nothing.",
    )
    unit.set("OOMPolicy", "continue", "A service that the kernel kills is restarted by us; the others go on.")


def _add_place(unit: UnitText, options: UnitOptions) -> None:
    unit.set("Delegate", "yes", "Services get control groups of their own below this unit's.")
    unit.set("LimitNOFILE", _FILES, "The keeper raises its own limit; services start with the first number.")
    if options.home is None:
        unit.set(
            "StateDirectory",
            options.name,
            f"The fleet's state: orchestra --home {_state_place(options)} status",
        )
        unit.set("StateDirectoryMode", "0700")
    written = [*([options.home] if options.home else []), *options.writable]
    if options.hardening == "strict" and not options.is_user and written:
        unit.set("ReadWritePaths", " ".join(quote(f"-{path}") for path in written))
    unit.note("Secrets: LoadCredential=NAME:/path/of/a/file makes `secret:NAME` known to the fleet.")


def _state_place(options: UnitOptions) -> str:
    if options.is_user:
        return f"~/.{'local/state' if options.version >= 254 else 'config'}/{options.name}"
    return f"/var/lib/{options.name}"
