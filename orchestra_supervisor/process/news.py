"""Messages of the keeper made into typed news. Source: docs/keeper-protocol.md."""

from typing import Any, cast

from orchestra_supervisor.process.groups import RunGroups
from orchestra_supervisor.process.orders import (
    CommandNews,
    FleetNews,
    HeldRun,
    HeldSockets,
    LoggerNews,
    Pinged,
    ReloadAsked,
    ReplaceAsked,
    RoleNews,
    RunNews,
    ShutdownAsked,
    SlotCalled,
    SlotNews,
    Snapshot,
    slot_of,
)
from orchestra_supervisor.rules.inputs import Exited, Gone, Notified, Spawned, SpawnRefused, Stuck
from orchestra_supervisor.wire.frames import Message

__all__ = [
    "to_fleet_news",
    "to_held_run",
    "to_held_sockets",
    "to_refused_spawn",
    "to_run_news",
    "to_slot_news",
    "to_snapshot",
]


def to_snapshot(welcome: Message, runs: list[HeldRun], notes: dict[str, object]) -> Snapshot:
    """Return what the keeper holds, from its welcome and what came with it."""
    held = cast("dict[str, Any]", welcome)
    return Snapshot(
        keeper_pid=int(held["keeper_pid"]),
        logger_pid=held.get("logger_pid"),
        started_wall=float(held["started_wall"]),
        daemon_starts=int(held["daemon_starts"]),
        shutdown=bool(held["shutdown"]),
        manager=bool(held.get("manager")),
        runs=tuple(runs),
        notes=notes,
        groups=_groups(held.get("cgroups") or {}),
    )


def _groups(held: dict[str, Any]) -> RunGroups:
    bases = tuple(str(base) for base in held.get("bases", ()))
    limits = tuple(str(name) for name in held.get("limits", ()))
    return RunGroups(held.get("version"), bases, str(held.get("mark", "")), str(held.get("key", "")), limits)


def to_held_run(message: Message) -> HeldRun:
    """Return one record of the snapshot."""
    held = cast("dict[str, Any]", message)
    told: list[Spawned | Notified | Exited | Gone] = []
    if held["phase"] != "exec":
        told.append(_spawned(held))
        if held.get("said") or held.get("beat_mono") is not None:
            at_mono = float(held.get("beat_mono") or held["started_mono"])
            told.append(Notified(held["run"], _fields(held.get("said")), held.get("beat_mono"), at_mono))
    if held["phase"] in {"exited", "gone"}:
        told.append(_exited(held))
    if held["phase"] == "gone":
        told.append(Gone(held["run"], str(held.get("next") or "")))
    return HeldRun(held["run"], held["slot"], bool(held["stopping"]), tuple(told), str(held.get("key") or ""))


def _spawned(held: dict[str, Any]) -> Spawned:
    return Spawned(
        run=held["run"],
        pid=int(held["pid"]),
        started_mono=float(held["started_mono"]),
        started_wall=float(held["started_wall"]),
        start_ticks=int(held.get("start_ticks") or 0),
    )


def _exited(held: dict[str, Any]) -> Exited:
    return Exited(
        run=held["run"],
        code=held.get("code"),
        signal=held.get("signal"),
        at_mono=float(held["at_mono"]),
        at_wall=float(held["at_wall"]),
        remaining=len(held.get("remaining") or ()),
        out_of_memory=bool(held.get("out_of_memory")),
    )


def to_run_news(message: Message) -> RunNews | None:
    """Return what a message tells of a run, or None: it tells of something else."""
    held = cast("dict[str, Any]", message)
    match held["type"]:
        case "spawned":
            news = _spawned(held)
        case "spawn_failed":
            news = SpawnRefused(held["run"], held["stage"], int(held["errno"]), held["message"])
        case "exit":
            news = _exited(held)
        case "notify":
            news = Notified(
                held["run"], _fields(held["fields"]), held.get("beat_mono"), float(held["at_mono"])
            )
        case "gone":
            news = Gone(held["run"], str(held.get("next") or ""))
        case "stop_stuck":
            news = Stuck(held["run"], tuple(held["pids"]))
        case _:
            return None
    return RunNews(slot_of(news.run), news)


def to_refused_spawn(message: Message) -> RunNews | None:
    """An error that names a run answers its spawn: the service must hear of it."""
    run = message.get("run")
    if message["type"] != "error" or not isinstance(run, str) or message.get("request") != "spawn":
        return None
    text = f"{message.get('message')} ({message.get('code')})"
    return RunNews(slot_of(run), SpawnRefused(run, "keeper", 0, text))


def to_held_sockets(message: Message) -> HeldSockets:
    """Return the sockets that a slot holds."""
    return HeldSockets(str(message["slot"]), bool(message.get("watched")), str(message.get("called") or ""))


def _fields(said: object) -> tuple[tuple[str, str], ...]:
    words = cast("dict[str, str]", said or {})
    return tuple((str(key), str(value)) for key, value in words.items())


def to_slot_news(message: Message) -> SlotNews | None:
    """Return what a message tells of a slot, or None: it tells of something else."""
    held = cast("dict[str, Any]", message)
    match held["type"]:
        case "connection":
            return SlotCalled(str(held["slot"]), str(held.get("name")))
        case "command_failed":
            return CommandNews(str(held["slot"]), str(held["run"]), str(held["command"]), str(held["text"]))
        case _:
            return None


def to_fleet_news(message: Message) -> FleetNews | None:
    """Return what a message tells of the fleet, or None: it is not known here."""
    held = cast("dict[str, Any]", message)
    match held["type"]:
        case "shutdown":
            return ShutdownAsked(bool(held.get("hurry")))
        case "reload":
            return ReloadAsked()
        case "replace":
            return ReplaceAsked()
        case "ping":
            return Pinged(int(held["id"]))
        case "role":
            return RoleNews(held["role"], held["event"], held.get("pid"), str(held.get("text", "")))
        case "logger":
            data = {key: value for key, value in held.items() if key not in {"type", "kind", "path"}}
            return LoggerNews(str(held["kind"]), str(held.get("path", "")), data)
        case _:
            return None
