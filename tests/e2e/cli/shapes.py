"""The shapes of docs/control-api.md that CLI tests are written against: one place for all of them."""

STARTED = 1_700_000_000.0


def service(name: str, state: str = "ready", **fields: object) -> dict[str, object]:
    """Return one row of `services`."""
    is_alive = state in {"starting", "running", "ready", "unhealthy", "stopping"}
    row: dict[str, object] = {
        "name": name,
        "title": "",
        "kind": "daemon",
        "state": state,
        "desired": "up",
        "down_reason": "",
        "reason": "",
        "since": STARTED + 1.5,
        "pid": 4_000 + sum(name.encode()) % 1_000 if is_alive else None,
        "run": f"{name}-0123456789ab" if is_alive else None,
        "started": STARTED if is_alive else None,
        "restarts": 0,
        "exit": None,
        "port": None,
        "url": None,
        "enabled": True,
        "required": False,
        "waiting_for": [],
        "next_start": None,
        "probe_error": "",
        "listening": False,
        "status_text": "",
        "sockets": [],
        "limits": {},
        "depends_on": [],
        "tags": [],
        "watching": None,
        "last_run": None,
        "next_run": None,
        "figures": None,
    }
    assert set(fields) <= set(row), set(fields) - set(row)
    return row | fields


def exit_report(text: str, code: int | None = 1, signal: str | None = None) -> dict[str, object]:
    """Return the object `exit`."""
    return {"code": code, "signal": signal, "at_wall": STARTED, "success": code == 0, "text": text}


def daemon(home: str, services: list[dict[str, object]], **fields: object) -> dict[str, object]:
    """Return the object `daemon`."""
    return {
        "pid": 124,
        "keeper_pid": 123,
        "logger_pid": 125,
        "version": "0.1.0",
        "home": home,
        "started": STARTED,
        "daemon_started": STARTED,
        "daemon_starts": 1,
        "phase": "running",
        "files": [],
        "log_directory": f"{home}/logs",
        "services": len(services),
        "ready": sum(row["state"] in {"ready", "completed"} for row in services),
    } | fields


def figures(**fields: object) -> dict[str, object]:
    """Return one object of figures."""
    row: dict[str, object] = {
        "at": STARTED,
        "cpu": 1.0,
        "memory": 10 << 20,
        "memory_kind": "pss",
        "processes": 1,
        "threads": 4,
        "fds": 9,
        "read_bytes": 4_096,
        "write_bytes": 0,
    }
    return row | fields


def all_figures(
    services: dict[str, dict[str, object] | None], history: dict[str, list[list[float]]], period: float = 10.0
) -> dict[str, object]:
    """Return the answer of `GET /v1/figures`."""
    roles = {"keeper": figures(cpu=0.1), "logger": figures(cpu=0.2), "daemon": figures(cpu=None)}
    return {"period": period, "services": services, "roles": roles, "history": history}


def status(home: str, services: list[dict[str, object]], **fields: object) -> dict[str, object]:
    """Return the answer of `GET /v1/status`."""
    return {"daemon": daemon(home, services, **fields), "services": services}


def event(seq: int, kind: str, message: str, name: str = "", at: float = STARTED) -> dict[str, object]:
    """Return one row of `events`."""
    return {"seq": seq, "at": at, "kind": kind, "service": name, "run": "", "message": message, "data": {}}


def result(name: str, before: str, after: str, message: str = "", **fields: object) -> dict[str, object]:
    """Return one row of `results`."""
    row = {"name": name, "before": before, "after": after, "ok": True, "changed": before != after}
    return row | {"message": message, "took": 0.25} | fields


def error(code: str, message: str, hint: str = "") -> dict[str, object]:
    """Return the body of a refusal."""
    return {"error": {"code": code, "message": message, "hint": hint, "context": {}}}
