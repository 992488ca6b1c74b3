"""Messages of the daemon made into checked values: nothing behind this module meets a wrong type."""

import math
import resource
import signal
from dataclasses import dataclass, field
from typing import TypeVar, cast

from orchestra_supervisor.wire.frames import Message

__all__ = [
    "BadMessage",
    "BadSignal",
    "LogTarget",
    "Plan",
    "SpawnRequest",
    "parse_log",
    "parse_plan",
    "parse_signal",
    "parse_spawn",
    "take_text",
]

_T = TypeVar("_T")

_NAME_LIMIT = 256
_MAX_STEPS = 64
_MAX_WAIT = 31_536_000.0  # seconds, one year; the limit of the daemon's specs
_LIMITS = {
    name.removeprefix("RLIMIT_"): getattr(resource, name) for name in dir(resource) if "RLIMIT_" in name
}


class BadMessage(Exception):
    """A message lacks a key or has a wrong type; the text names key and value."""


class BadSignal(BadMessage):
    """A signal has no such name here."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A stop plan: (signal number, seconds to wait), SIGKILL after the last."""

    steps: tuple[tuple[int, float], ...]
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
class SpawnRequest:
    """One process to start. Bytes are what the kernel gets; None leaves the keeper's own setting."""

    run: str
    slot: str
    argv: list[bytes]
    env: dict[bytes, bytes]
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


def parse_spawn(message: Message) -> SpawnRequest:
    """Check a `spawn` message.

    Raises:
        BadMessage: A key is missing, or has a wrong type or value.
    """
    argv = [_to_bytes("argv", item) for item in _list_of(message, "argv", str)]
    if not argv or not argv[0]:
        raise BadMessage("argv is empty: give the program to run")
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
        cwd=None if cwd is None else _to_bytes("cwd", cwd),
        umask=_optional_int(message, "umask", 0, 0o777),
        user=_account("user", message.get("user")),
        group=_account("group", message.get("group")),
        groups=None
        if groups is None
        else [_known("groups", item) for item in _list_of(message, "groups", str, int)],
        rlimits=_rlimits(message.get("rlimits")),
        nice=_optional_int(message, "nice", -20, 19),
        oom_score_adj=_optional_int(message, "oom_score_adj", -1000, 1000),
        log=None if log is None else parse_log(log),
        plan=parse_plan(message.get("stop", {"steps": [["SIGTERM", 10.0]]})),
        stop_order=_optional_int(message, "stop_order", -(2**53), 2**53) or 0,
    )


def parse_plan(value: object) -> Plan:
    """Check a stop plan.

    Raises:
        BadMessage: It is not `{"steps": [[signal, seconds], ...], "scope": "group" | "leader"}`.
        BadSignal: A step names an unknown signal.
    """
    if not isinstance(value, dict):
        raise BadMessage(f"a stop plan is an object with steps, not {value!r}")
    plan = cast("Message", value)
    scope = plan.get("scope", "group")
    if scope not in ("group", "leader"):
        raise BadMessage(f"scope of a stop plan is {scope!r}, not group or leader")
    steps: list[object] = _list_of(plan, "steps", object)
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


def take_text(message: Message, key: str) -> str:
    """Return a name from a message: text of 1 to 256 characters.

    Raises:
        BadMessage: It is missing or something else.
    """
    value = message.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= _NAME_LIMIT:
        raise BadMessage(f"{key} is {str(value)[:80]!r}, not text of 1 to {_NAME_LIMIT} characters")
    _to_bytes(key, value)
    return value


def _step(value: object) -> tuple[int, float]:
    step = cast("list[object]", value) if isinstance(value, list) else []
    if len(step) != 2:
        raise BadMessage(f"a step is [signal, seconds], not {str(cast('object', value))[:80]}")
    wait = step[1]
    if (
        isinstance(wait, bool)
        or not isinstance(wait, int | float)
        or not 0 <= wait <= _MAX_WAIT
        or math.isnan(wait)
    ):
        raise BadMessage(f"a step waits 0 to {_MAX_WAIT:.0f} seconds, not {wait!r}")
    return parse_signal(step[0]), float(wait)


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


def _account(key: str, value: object) -> str | int | None:
    return None if value is None else _known(key, value)


def _known(key: str, value: object) -> str | int:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise BadMessage(f"{key}: {value!r} is neither a name nor a number")
    if isinstance(value, str):
        _to_bytes(key, value)
        if not value.isdecimal():
            return value
    if not 0 <= int(value) < 2**32 - 1:
        raise BadMessage(f"{key}: {value!r} is not a valid id")
    return int(value)


def _optional_int(message: Message, key: str, low: int, high: int) -> int | None:
    value = message.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadMessage(f"{key} is {value!r}, not a whole number from {low} to {high}")
    return value


def _list_of(message: Message, key: str, *kinds: type[_T]) -> list[_T]:
    value = message.get(key)
    if not isinstance(value, list):
        raise BadMessage(f"{key} is {str(value)[:80]!r}, not a list")
    items = cast("list[object]", value)
    for item in items:
        if not isinstance(item, kinds):
            raise BadMessage(f"{key} holds {str(item)[:80]!r}, which has the wrong type")
    return cast("list[_T]", items)


def _env_entry(name: object, value: object) -> tuple[bytes, bytes]:
    key = _to_bytes("env", name)
    if not key or b"=" in key:
        raise BadMessage(f"env: {name!r} is no name for a variable")
    return key, _to_bytes(f"env {name}", value)


def _to_bytes(key: str, value: object) -> bytes:
    try:
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else None
    except UnicodeEncodeError:
        data = None
    if data is None or b"\0" in data:  # the value is not shown: it may be a secret
        raise BadMessage(f"{key}: a value is not text, or holds a NUL")
    return data
