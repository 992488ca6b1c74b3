"""Messages of the daemon made into checked values: nothing behind this module meets a wrong type."""

import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from orchestra_supervisor.keeper.fields import (
    BadMessage,
    account,
    known_account,
    list_of,
    optional_flag,
    optional_int,
    seconds,
    take_text,
    to_bytes,
)
from orchestra_supervisor.keeper.socket_request import ListenSpec, parse_sockets
from orchestra_supervisor.keeper.successor import Successor, parse_successor
from orchestra_supervisor.wire.frames import Message

__all__ = [
    "BadSignal",
    "Command",
    "EndOfInput",
    "Limits",
    "LogTarget",
    "Plan",
    "SpawnRequest",
    "parse_limits",
    "parse_log",
    "parse_plan",
    "parse_signal",
    "parse_spawn",
]

_MAX_STEPS = 64
_EOF = "EOF"
_LIMITS = {
    name.removeprefix("RLIMIT_"): getattr(resource, name) for name in dir(resource) if "RLIMIT_" in name
}


class BadSignal(BadMessage):
    """A signal has no such name here."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that belongs to a run, and how many seconds it may take."""

    argv: list[bytes]
    timeout: float


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """A step that ends the input of a stdio server; `EOF` in place of a signal."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A stop plan: (signal number, command or end of input, seconds to wait), SIGKILL after the last."""

    steps: tuple[tuple[int | Command | EndOfInput, float], ...]
    leader_only: bool


@dataclass(frozen=True, slots=True)
class LogTarget:
    """Where the logger writes a run's output, and how: the keeper carries it and looks at the path alone.

    Attributes:
        path: Of the log.
        options: What the logger is told of this log.
        secrets: What it is told of this run, never shown and never changed by a `log_config`.
    """

    path: str
    options: object = None
    secrets: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run's control group may use; None: no limit of ours."""

    memory: int | None = None
    """Bytes."""
    cpu: float | None = None
    """Processors: 1.5 is one and a half."""
    pids: int | None = None
    """Processes and threads."""


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """One process to start. Bytes are what the kernel gets; None leaves the keeper's own setting."""

    run: str
    slot: str
    argv: list[bytes]
    env: Mapping[bytes, bytes]
    cwd: bytes | None
    umask: int | None
    user: str | int | None
    group: str | int | None
    groups: list[str | int] | None
    rlimits: list[tuple[int, tuple[int, int]]]
    nice: int | None
    oom_score_adj: int | None
    log: LogTarget | None
    plan: Plan
    stop_order: int
    before: tuple[Command, ...] = ()
    """What the process runs before it becomes the program."""
    after: tuple[Command, ...] = ()
    """What is run when nothing of the run is left, before it counts as gone."""
    sockets: tuple[ListenSpec, ...] = ()
    """Listening sockets that it gets, in this order."""
    notify: bool = False
    """It gets a socket on which it can tell how it is."""
    watchdog: float | None = None
    """Seconds within which it is to say that it is alive; told to it in its environment."""
    limits: Limits = Limits()
    stdio: bool = False
    """Its stdin and stdout are pipes whose far ends are held for whoever has a channel."""
    stdin: bool = False
    """Its stdin is a pipe whose far end is held, for `input`."""
    channel: bool = False
    """It gets a channel, on which it is handed the pipes of all stdio servers."""
    key: str | None = None
    """The daemon's word for all of the above: another run may follow by the same request."""
    successor: Successor | None = None
    """The one that does, if nothing else is said."""
    direct: bool = False
    """The keeper may wait until the program is executed: it lies on local file systems."""


def parse_spawn(message: Message) -> SpawnRequest:
    """Check a `spawn` message.

    Raises:
        BadMessage: A key is missing, or has a wrong type or value.
    """
    argv = _argv("argv", message.get("argv"))
    env = message.get("env")
    if not isinstance(env, dict):
        raise BadMessage("env is not an object of strings")
    cwd = message.get("cwd")
    groups = message.get("groups")
    log = message.get("log")
    return SpawnRequest(
        run=take_text(message, "run"),
        slot=take_text(message, "slot"),
        argv=argv,
        env=dict(_env_entry(name, value) for name, value in cast("dict[object, object]", env).items()),
        cwd=None if cwd is None else to_bytes("cwd", cwd),
        umask=optional_int(message, "umask", 0, 0o777),
        user=account("user", message.get("user")),
        group=account("group", message.get("group")),
        groups=None
        if groups is None
        else [known_account("groups", item) for item in list_of(message, "groups", str, int)],
        rlimits=_rlimits(message.get("rlimits")),
        nice=optional_int(message, "nice", -20, 19),
        oom_score_adj=optional_int(message, "oom_score_adj", -1000, 1000),
        log=None if log is None else parse_log(log),
        plan=parse_plan(message.get("stop", {"steps": [["SIGTERM", 10.0]]})),
        stop_order=optional_int(message, "stop_order", -(2**53), 2**53) or 0,
        before=_commands(message, "before"),
        after=_commands(message, "after"),
        sockets=parse_sockets(message.get("sockets")),
        notify=optional_flag(message, "notify"),
        watchdog=None if message.get("watchdog") is None else seconds("watchdog", message["watchdog"]),
        limits=parse_limits(message.get("limits")),
        stdio=optional_flag(message, "stdio"),
        stdin=optional_flag(message, "stdin"),
        channel=optional_flag(message, "channel"),
        key=None if message.get("key") is None else take_text(message, "key"),
        successor=parse_successor(message.get("next")),
        direct=optional_flag(message, "direct"),
    )


def parse_plan(value: object) -> Plan:
    """Check a stop plan.

    Raises:
        BadMessage: It is not `{"steps": [[signal, EOF or argv, seconds], ...], "scope": "group" | "leader"}`.
        BadSignal: A step names an unknown signal.
    """
    if not isinstance(value, dict):
        raise BadMessage(f"a stop plan is an object with steps, not {value!r}")
    plan = cast("Message", value)
    scope = plan.get("scope", "group")
    if scope not in ("group", "leader"):
        raise BadMessage(f"scope of a stop plan is {scope!r}, not group or leader")
    steps: list[object] = list_of(plan, "steps", object)
    if len(steps) > _MAX_STEPS:
        raise BadMessage(f"a stop plan has at most {_MAX_STEPS} steps, not {len(steps)}")
    return Plan(tuple(_step(step) for step in steps), scope == "leader")


def parse_signal(value: object) -> int:
    """Return the number of a signal given by name.

    Raises:
        BadSignal: There is no such signal.
    """
    if not isinstance(value, str) or value not in signal.Signals.__members__:
        raise BadSignal(f"no signal is called {value!r}")
    return int(signal.Signals[value])


def parse_log(value: object) -> LogTarget:
    """Check the log target of a `spawn` or `log_config`.

    Raises:
        BadMessage: There is no path.
    """
    if not isinstance(value, dict):
        raise BadMessage("log is neither an object nor null")  # the value is not shown: it may hold secrets
    log = cast("Message", value)
    path = log.get("path")
    if not isinstance(path, str):
        raise BadMessage(f"log needs a path, not {str(path)[:80]!r}")
    return LogTarget(path, log.get("options"), log.get("secrets"))


def parse_limits(value: object) -> Limits:
    """Check the limits of a `spawn` or `limits`.

    Raises:
        BadMessage: A value has a wrong type, or is out of bounds.
    """
    if value is None:
        return Limits()
    if not isinstance(value, dict):
        raise BadMessage(f"limits is {value!r}, not an object or null")
    given = cast("Message", value)
    cpu = given.get("cpu")
    if cpu is not None and (isinstance(cpu, bool) or not isinstance(cpu, int | float) or _is_odd(cpu)):
        raise BadMessage(f"limits: cpu is {cpu!r}, not 0.01 to 1024 processors")
    return Limits(
        memory=optional_int(given, "memory", 1, 2**62),
        cpu=None if cpu is None else float(cpu),
        pids=optional_int(given, "pids", 1, 2**22),
    )


def _is_odd(cpu: float) -> bool:
    return not 0.01 <= cpu <= 1024


def _commands(message: Message, key: str) -> tuple[Command, ...]:
    if message.get(key) is None:
        return ()
    commands: list[Command] = []
    entries: list[object] = list_of(message, key, object)
    for entry in entries:
        given = cast("Message", entry) if isinstance(entry, dict) else {}
        commands.append(Command(_argv(key, given.get("argv")), seconds(key, given.get("timeout"))))
    if len(commands) > _MAX_STEPS:
        raise BadMessage(f"{key} has at most {_MAX_STEPS} commands, not {len(commands)}")
    return tuple(commands)


def _argv(key: str, value: object) -> list[bytes]:
    words = cast("list[object]", value) if isinstance(value, list) else []
    argv = [to_bytes(key, word) for word in words]
    if not argv or not argv[0]:
        raise BadMessage(f"{key} is empty: give the program to run")
    return argv


def _step(value: object) -> tuple[int | Command | EndOfInput, float]:
    step = cast("list[object]", value) if isinstance(value, list) else []
    if len(step) != 2:
        raise BadMessage(f"a step is [signal, EOF or argv, seconds], not {str(cast('object', value))[:80]}")
    wait = seconds("a step", step[1])
    if isinstance(step[0], list):
        return Command(_argv("a step", cast("object", step[0])), wait), wait
    return EndOfInput() if step[0] == _EOF else parse_signal(step[0]), wait


def _rlimits(value: object) -> list[tuple[int, tuple[int, int]]]:
    if value is None:
        return []
    if not isinstance(value, dict):
        raise BadMessage(f"rlimits is {value!r}, not an object")
    limits: list[tuple[int, tuple[int, int]]] = []
    for name, pair in cast("dict[str, object]", value).items():
        number = _LIMITS.get(name.upper().removeprefix("RLIMIT_"))
        if number is None:
            raise BadMessage(f"rlimits: no resource is called {name!r}")
        values = cast("list[object]", pair) if isinstance(pair, list) else []
        if len(values) != 2:
            raise BadMessage(f"rlimits: {name} is {pair!r}, not [soft, hard]")
        limits.append((number, (_limit(name, values[0]), _limit(name, values[1]))))
    return limits


def _limit(name: str, value: object) -> int:
    if value is None:
        return resource.RLIM_INFINITY
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise BadMessage(f"rlimits: {name} is {value!r}, not a number or null for unlimited")
    return value


def _env_entry(name: object, value: object) -> tuple[bytes, bytes]:
    key = to_bytes("env", name)
    if not key or b"=" in key:
        raise BadMessage(f"env: {name!r} is no name for a variable")
    return key, to_bytes(f"env {name}", value)
