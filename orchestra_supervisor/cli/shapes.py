"""What the control API answers, as the CLI reads it: every field optional, of the type it should have.

A CLI may be older or newer than the daemon it talks to, so a missing or odd field becomes
its empty value and never an error. Plain classes: `dataclasses` costs more to import than
the rest of `orchestra status`.
"""

from orchestra_supervisor.control_client import Json, rows

__all__ = [
    "SETTLED",
    "DaemonView",
    "EventView",
    "FigureView",
    "FiguresView",
    "PluginView",
    "ResultView",
    "ServiceView",
    "StatusView",
]

SETTLED = frozenset({"stopped", "ready", "completed", "failed"})
"""States that last until something happens from outside (those of model/states.py)."""


def _text(row: Json, key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _integer(row: Json, key: str) -> int | None:
    value = row.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(row: Json, key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _texts(row: Json, key: str) -> list[str]:
    value = row.get(key)
    if not isinstance(value, list):
        return []
    return [entry for entry in value if isinstance(entry, str)]  # pyright: ignore[reportUnknownVariableType]  # JSON


def _object(row: Json, key: str) -> Json:
    value = row.get(key)
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # JSON


class FigureView:
    """One object of figures: what a process tree uses; fields as in docs/control-api.md."""

    def __init__(self, row: Json) -> None:
        self.at = _number(row, "at") or 0.0
        self.cpu = _number(row, "cpu")
        self.memory = _integer(row, "memory")
        self.memory_kind = _text(row, "memory_kind")
        self.processes = _integer(row, "processes")
        self.threads = _integer(row, "threads")
        self.fds = _integer(row, "fds")
        self.read_bytes = _integer(row, "read_bytes")
        self.write_bytes = _integer(row, "write_bytes")


class FiguresView:
    """The answer of `GET /v1/figures`."""

    def __init__(self, answer: Json) -> None:
        self.is_on = (_number(answer, "period") or 0.0) > 0
        self.services = _figures(_object(answer, "services"))
        self.roles = _figures(_object(answer, "roles"))
        self.history = {name: _points(rows) for name, rows in _object(answer, "history").items()}
        """By name: pairs of wall seconds and percent of a processor, ascending."""


def _figures(row: Json) -> dict[str, FigureView]:
    return {name: FigureView(_object(row, name)) for name, one in row.items() if isinstance(one, dict)}


def _points(value: object) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for entry in _list(value):
        match _list(entry)[:2]:
            case [int() | float() as at, int() | float() as cpu]:
                points.append((float(at), float(cpu)))
            case _:
                continue
    return points


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]  # JSON


class ServiceView:
    """One row of `services`; fields as in docs/control-api.md, `exit_text` is that of `exit`."""

    def __init__(self, row: Json) -> None:
        self.name = _text(row, "name")
        self.kind = _text(row, "kind")
        self.state = _text(row, "state") or "unknown"
        self.desired = _text(row, "desired")
        self.down_reason = _text(row, "down_reason")
        self.reason = _text(row, "reason")
        self.since = _number(row, "since")
        self.pid = _integer(row, "pid")
        self.started = _number(row, "started")
        self.restarts = _integer(row, "restarts") or 0
        self.exit_text = _text(_object(row, "exit"), "text")
        self.port = _integer(row, "port")
        self.url = _text(row, "url")
        self.is_enabled = row.get("enabled") is not False
        self.is_required = row.get("required") is True
        self.waiting_for = _texts(row, "waiting_for")
        self.depends_on = _texts(row, "depends_on")
        self.next_start = _number(row, "next_start")
        self.probe_error = _text(row, "probe_error")
        self.watch_error = _text(_object(row, "watching"), "error")
        self.status_text = _text(row, "status_text")
        self.limits_held = [
            _text(_object(_object(row, "limits"), name), "held") for name in _object(row, "limits")
        ]
        self.is_listening = row.get("listening") is True
        self.next_run = _number(row, "next_run")

    @property
    def is_wanted(self) -> bool:
        """True when the fleet is meant to run it now."""
        return self.desired != "down"

    @property
    def is_left_out(self) -> bool:
        """True when the configuration or `up --only` leaves it out."""
        return not self.is_enabled or self.down_reason in {"disabled", "not_selected"}

    @property
    def is_due(self) -> bool:
        """True when it is about to be started and nothing of that shows yet."""
        return self.state == "stopped" and self.desired == "up" and self.is_enabled

    @property
    def is_planned(self) -> bool:
        """True when it waits for the first run of its schedule and for nothing else."""
        return self.state == "waiting" and self.next_run is not None and not self.is_held_up

    @property
    def is_held_up(self) -> bool:
        """True when a run of it waits for other services or for its start delay."""
        return bool(self.waiting_for) or self.next_start is not None

    @property
    def is_good(self) -> bool:
        """True when it does, or has done, what it is for."""
        at_hand = self.is_listening or (self.state == "stopped" and self.down_reason == "demand")
        return self.state in {"ready", "completed"} or self.is_planned or at_hand


class DaemonView:
    """The object `daemon`."""

    def __init__(self, row: Json) -> None:
        self.version = _text(row, "version")
        self.home = _text(row, "home")
        self.pid = _integer(row, "pid")
        self.keeper_pid = _integer(row, "keeper_pid")
        self.logger_pid = _integer(row, "logger_pid")
        self.gateway_pid = _integer(row, "gateway_pid")
        self.phase = _text(row, "phase")
        groups = _object(row, "cgroups")
        self.cgroup_version = _integer(groups, "version")
        self.cgroup_limits = _texts(groups, "limits")
        self.count = _integer(row, "services")
        self.ready = _integer(row, "ready")


class StatusView:
    """The answer of `GET /v1/status`."""

    def __init__(self, answer: Json) -> None:
        self.daemon = DaemonView(_object(answer, "daemon"))
        self.services = [ServiceView(row) for row in rows(answer, "services")]

    @property
    def unheld(self) -> list[str]:
        """Return the services that have a limit which nobody holds."""
        return [one.name for one in self.services if "no" in one.limits_held]

    def unsettled(self) -> list[ServiceView]:
        """Return the services that are on their way somewhere.

        A service that waits for one that will not come is settled: nothing happens until somebody acts.
        """
        by_name = {service.name: service for service in self.services}
        moving = [
            one
            for one in self.services
            if (one.state not in SETTLED and not one.is_planned and not one.is_listening) or one.is_due
        ]
        blocked: set[str] = set()
        while True:
            found = {
                one.name
                for one in moving
                if one.name not in blocked and one.state == "waiting" and _is_blocked(one, by_name, blocked)
            }
            if not found:
                return [one for one in moving if one.name not in blocked]
            blocked |= found

    def tally(self) -> tuple[int, int]:
        """Return how many services are ready or completed, and of how many that are meant to take part."""
        count, ready = self.daemon.count, self.daemon.ready
        if count is not None and ready is not None and count != len(self.services):
            return ready, count  # asked for some of them only
        part = [one for one in self.services if one.is_good or not one.is_left_out]
        return sum(one.is_good for one in part), len(part)

    def shortfalls(self) -> list[ServiceView]:
        """Return the services that are wanted and neither ready nor completed."""
        return [one for one in self.services if one.is_wanted and one.is_enabled and not one.is_good]


def _is_blocked(service: ServiceView, by_name: dict[str, ServiceView], blocked: set[str]) -> bool:
    for name in service.waiting_for:
        other = by_name.get(name)
        if other is None:
            continue
        if (
            name in blocked
            or other.state == "failed"
            or other.is_planned
            or (other.state == "stopped" and not other.is_wanted)
        ):
            return True
    return False


class ResultView:
    """One row of `results`."""

    def __init__(self, row: Json) -> None:
        self.name = _text(row, "name")
        self.before = _text(row, "before")
        self.after = _text(row, "after")
        self.is_ok = row.get("ok") is not False
        self.is_changed = row.get("changed") is not False
        self.message = _text(row, "message")
        self.took = _number(row, "took")


class EventView:
    """One row of `events`."""

    def __init__(self, row: Json) -> None:
        self.seq = _integer(row, "seq") or 0
        self.at = _number(row, "at") or 0.0
        self.kind = _text(row, "kind")
        self.service = _text(row, "service")
        self.message = _text(row, "message")


class PluginView:
    """One row of `plugins`."""

    def __init__(self, row: Json) -> None:
        self.name = _text(row, "name")
        self.version = _text(row, "version")
        self.source = _text(row, "source")
        self.state = _text(row, "state") or "unknown"
        self.hooks = _texts(row, "hooks")
        self.calls = _integer(row, "calls") or 0
        self.failures = _integer(row, "failures") or 0
        self.dropped = _integer(row, "dropped") or 0
        self.last_error = _text(row, "last_error")
