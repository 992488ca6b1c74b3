"""The fleet: who is alive, who may call, what is left of earlier ones, what the files say."""

import grp
import json
import os
import pwd
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from orchestra_supervisor.cli.doctor.verdict import Check, Verdict
from orchestra_supervisor.cli.holder import keeper_pid_of
from orchestra_supervisor.cli.render import counts_text
from orchestra_supervisor.cli.shapes import StatusView
from orchestra_supervisor.control_client import ControlClient, ControlError
from orchestra_supervisor.control_home import socket_path

__all__ = ["Sight", "fleet_checks", "look"]

_LIMIT = 5.0  # seconds for the daemon's answer
_WAIT = 2.0  # seconds for a daemon that is on its way


class Sight(NamedTuple):
    """What a first look at a home shows.

    Attributes:
        keeper: Pid of the keeper; 0: not known; None: no fleet runs.
        status: What the daemon says, or None.
        trouble: Why it says nothing.
        log_directory: Where the logs are, or None.
        size: How many services there are, as far as is known.
        files: Configuration files of the fleet as applied.
    """

    keeper: int | None
    status: StatusView | None
    trouble: str
    log_directory: Path | None
    size: int
    files: list[Path]


def look(home: Path) -> Sight:
    """Look at a home; what cannot be seen is left open."""
    status, trouble = None, ""
    keeper = keeper_pid_of(home)
    if keeper is not None:
        try:
            status = StatusView(ControlClient(socket_path(home), timeout=_LIMIT, connect_wait=_WAIT).status())
        except ControlError as error:
            trouble = error.message
    logs, count = None, 0
    try:
        layout: dict[str, list[str]] = json.loads((home / "layout.json").read_text(encoding="utf-8"))
        logs, count = home / str(layout["log_directory"]), len(layout["services"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no fleet was ever started here, or another user's was
    files: list[Path] = []
    try:
        fleet: dict[str, list[str]] = json.loads((home / "fleet.json").read_text(encoding="utf-8"))
        files = [Path(str(file)) for file in fleet["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return Sight(keeper, status, trouble, logs, len(status.services) if status else count, files)


def fleet_checks(home: Path, directory: Path, sight: Sight) -> Iterator[tuple[str, Check]]:
    """Yield the checks, each with its subject."""
    yield "processes", partial(_processes, home, sight)
    if sight.keeper is not None:
        yield "control socket", partial(_socket, home, sight)
    if sight.status is not None:
        yield "services", partial(_services, sight.status)
    yield "orphans", partial(_orphans, home, sight)
    yield "configuration", partial(_configuration, directory, sight)


def _processes(home: Path, sight: Sight) -> list[Verdict]:
    if sight.keeper is None:
        return [Verdict("processes", "ok", f"no fleet runs on {home}")]
    who = f"keeper {sight.keeper or '?'}"
    if sight.status is None:
        hint = (
            f"services run on; see {home / 'supervisor.log'}, then `orchestra upgrade-daemon` tries at once"
        )
        return [
            Verdict("processes", "fail", f"{who} runs, its daemon does not answer: {sight.trouble}", hint)
        ]
    daemon = sight.status.daemon
    if daemon.logger_pid is None:
        hint = f"it is brought back, and what services write waits in pipes; see {home / 'supervisor.log'}"
        return [Verdict("processes", "fail", f"{who} and daemon {daemon.pid} run, the logger does not", hint)]
    return [
        Verdict("processes", "ok", f"{who}, daemon {daemon.pid}, logger {daemon.logger_pid}; {daemon.phase}")
    ]


def _socket(home: Path, sight: Sight) -> list[Verdict]:
    path = Path(socket_path(home))
    try:
        facts = path.stat()
    except OSError as error:
        hint = "the daemon makes it when it starts"
        return [Verdict("control socket", "fail", f"{path}: {error.strerror}", hint)]
    owner = _name_of(facts.st_uid)
    users = owner if owner == "root" else f"{owner} and root"
    if facts.st_mode & stat.S_IWGRP:
        users = f"{users}; the group {_group_of(facts.st_gid)} may operate"
    if facts.st_mode & stat.S_IWOTH:
        text = f"{path} may be used by everybody, as viewers at least"
        return [
            Verdict(
                "control socket", "warn", text, f"chmod 0600 {path}; `orchestra upgrade-daemon` makes it anew"
            )
        ]
    if sight.status is None:
        return [Verdict("control socket", "fail", f"{path}: {sight.trouble}", "see the line on processes")]
    return [Verdict("control socket", "ok", f"{path}: {users}")]


def _services(status: StatusView) -> list[Verdict]:
    ready, total = status.tally()
    bad = [one for one in status.services if one.state in {"failed", "unhealthy", "backoff"}]
    text = f"{ready} ready of {total}: {counts_text(status.services)}" if status.services else "none"
    if bad:
        hint = f"`orchestra logs {bad[0].name}`, `orchestra events --service {bad[0].name}`"
        return [Verdict("services", "warn", f"{text}; look at {', '.join(one.name for one in bad)}", hint)]
    return [Verdict("services", "ok", text)]


def _orphans(home: Path, sight: Sight) -> list[Verdict]:
    # The engine looks the same way, before it starts anything; here nobody is touched.
    from orchestra_supervisor.process.leftovers import find_leftovers

    ours = {pid for pid in _our_pids(sight) if pid}
    found = [one for one in find_leftovers(str(home), (), (), ours) if not _is_under(one.identity.pid, ours)]
    if not found:
        return [Verdict("orphans", "ok", "nothing of an earlier fleet is left")]
    who = ", ".join(f"{one.name} (pid {one.identity.pid}) of {one.service}" for one in found[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    hint = "the next `orchestra up` ends them, where settings.leftovers is stop"
    return [Verdict("orphans", "fail", f"left by an earlier fleet: {who}{more}", hint)]


def _our_pids(sight: Sight) -> list[int | None]:
    daemon = sight.status.daemon if sight.status is not None else None
    return [sight.keeper, *((daemon.pid, daemon.logger_pid, daemon.keeper_pid) if daemon else ())]


def _is_under(pid: int, ours: set[int]) -> bool:
    """Return whether a process descends from one of ours: then it belongs to the fleet that runs."""
    from orchestra_supervisor.process.identity import read_stat

    while pid > 1 and pid not in ours:
        facts = read_stat(pid)
        pid = facts.ppid if facts is not None else 0
    return pid in ours


def _configuration(directory: Path, sight: Sight) -> list[Verdict]:
    from orchestra_supervisor.config.check import check
    from orchestra_supervisor.config.findings import Severity
    from orchestra_supervisor.config.load import default_files

    files = sight.files or default_files(directory)
    if not files:
        text = f"no configuration file in {directory}, and no fleet was applied"
        return [Verdict("configuration", "ok", text)]
    # Without a look at the host: a fleet that runs has taken its ports itself.
    report = check(files, environ=os.environ, preflight=False)
    errors, warnings = report.count(Severity.ERROR), report.count(Severity.WARNING)
    text = f"{report.services} services in {', '.join(report.files)}"
    names = " ".join(str(file) for file in files)
    if errors:
        hint = f"`orchestra check {names}`; what runs goes on as it was applied"
        return [Verdict("configuration", "fail", f"{text}: {errors} errors, {warnings} warnings", hint)]
    if warnings:
        return [
            Verdict("configuration", "warn", f"{text}: {warnings} warnings", f"`orchestra check {names}`")
        ]
    return [Verdict("configuration", "ok", text)]


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _group_of(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid {gid}"
