"""What a killed keeper left behind: found by identity, stopped without touching anyone else.

A process is ours when its environment names this home and a run that nobody accounts for, when
the journal knows its pid with its very start time, when it is in the control group of a run of
an earlier keeper, or when it descends from such a process or lives in the session of one.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestra_supervisor.process.groups import NO_GROUPS, RunGroups
from orchestra_supervisor.process.identity import ProcessIdentity, ProcessStat, boot_id, read_stat

__all__ = ["Leftover", "RecordedRun", "find_leftovers"]

_PROC = Path("/proc")
_HOME = b"ORCHESTRA_HOME="
_RUN = b"ORCHESTRA_RUN_ID="
COMMAND_LIMIT = 120
"""Characters of a command line that are shown."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run that the journal has as not ended: its id, its service, and its leader."""

    run: str
    service: str
    leader: ProcessIdentity


@dataclass(frozen=True, slots=True)
class Leftover:
    """One process that is left of an earlier fleet of this home.

    Attributes:
        identity: Which process.
        run: Id of its run.
        service: The run's service.
        name: Its command name.
        command: Its command line, shortened. For a terminal, not for events: it may hold a secret.
        how: What gave it away: `environment`, `journal`, `cgroup`, `session` or `descendant`.
    """

    identity: ProcessIdentity
    run: str
    service: str
    name: str
    command: str
    how: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """One process of the system: what it is, and which home and run its environment names."""

    stat: ProcessStat
    home: bytes | None
    run: str | None


def find_leftovers(
    home: str,
    known_runs: Collection[str],
    journal_runs: Iterable[RecordedRun] = (),
    protected: Collection[int] = (),
    groups: RunGroups = NO_GROUPS,
) -> list[Leftover]:
    """Look through all processes for what is left of this home's earlier fleets.

    Blocks for some tens of milliseconds: call it in a worker thread.

    Args:
        home: Absolute path of the state directory, exactly as services get it in ORCHESTRA_HOME.
        known_runs: Runs that the present keeper accounts for; none of their processes is returned.
        journal_runs: Runs without an end in the journal, for processes that cleared their environment.
        protected: Pids of our keeper, logger and gateway. They, we, and the ancestors of all of
            them are never returned.
        groups: Where the present keeper puts runs.

    Returns:
        The leftovers, parents before their children.
    """
    table = {seen.stat.pid: seen for seen in _scan()}
    untouchable = _with_ancestors({os.getpid(), *protected}, table)
    own_home = os.fsencode(home)
    # A fleet started from within a run of the same home must not saw off its own branch.
    accounted = set(known_runs) | {table[pid].run for pid in untouchable if pid in table} - {None}
    found: dict[int, Leftover] = {}

    def add(seen: _Seen, run: str, service: str, how: str) -> None:
        pid = seen.stat.pid
        if pid in untouchable or pid in found or seen.stat.has_ended:
            return
        identity = ProcessIdentity(pid, seen.stat.start_ticks, boot_id())
        found[pid] = Leftover(identity, run, service, seen.stat.name, _command(pid), how)

    for seen in table.values():
        if seen.home == own_home and seen.run is not None and seen.run not in accounted:
            add(seen, seen.run, _service_of(seen.run), "environment")
    for seen, run, service, how in (*_recorded(journal_runs, table), *_grouped(groups, table)):
        if run not in accounted and not _belongs_elsewhere(seen, own_home, accounted):
            add(seen, run, service, how)
    before = 0
    while before != len(found):
        before = len(found)
        for relative, seen, how in _relatives(found, table):
            if not _belongs_elsewhere(seen, own_home, accounted):
                add(seen, found[relative].run, found[relative].service, how)
    return _parents_first(found, table)


_Evidence = tuple[_Seen, str, str, str]
"""A process, its run, its service, and what gave it away."""


def _recorded(runs: Iterable[RecordedRun], table: dict[int, _Seen]) -> Iterator[_Evidence]:
    for row in runs:
        seen = table.get(row.leader.pid)
        if (
            seen is not None
            and ProcessIdentity(seen.stat.pid, seen.stat.start_ticks, boot_id()) == row.leader
        ):
            yield seen, row.run, row.service, "journal"


def _grouped(groups: RunGroups, table: dict[int, _Seen]) -> Iterator[_Evidence]:
    for pid, service, name in groups.left_behind():
        seen, is_in = table.get(pid), groups.holds(name, pid)
        again = read_stat(
            pid
        )  # the same process as before the look at its group, so it was the one looked at
        if seen is not None and again is not None and is_in and again.start_ticks == seen.stat.start_ticks:
            yield seen, seen.run or name, service, "cgroup"


def _scan() -> Iterator[_Seen]:
    for entry in os.scandir(_PROC):
        if not entry.name.isdecimal():
            continue
        stat = read_stat(int(entry.name))
        if stat is None:
            continue
        home, run = _named(int(entry.name))
        # Read again: between the two looks the pid may have gone to another process.
        again = read_stat(stat.pid)
        if again is not None and again.start_ticks == stat.start_ticks:
            yield _Seen(again, home, run)


def _named(pid: int) -> tuple[bytes | None, str | None]:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # gone, or another user's: then it is none of ours
        return None, None
    home = next((entry[len(_HOME) :] for entry in environment if entry.startswith(_HOME)), None)
    run = next((entry[len(_RUN) :] for entry in environment if entry.startswith(_RUN)), None)
    return home, os.fsdecode(run) if run else None


def _belongs_elsewhere(seen: _Seen, own_home: bytes, accounted: Collection[str | None]) -> bool:
    """Return whether a process names another fleet's home, or a run that is accounted for."""
    if seen.home is not None and seen.home != own_home:
        return True
    return seen.run is not None and seen.run in accounted


def _with_ancestors(pids: Collection[int], table: dict[int, _Seen]) -> set[int]:
    chain = set(pids)
    for pid in pids:
        seen = table.get(pid)
        while seen is not None and seen.stat.ppid not in chain and seen.stat.ppid > 0:
            chain.add(seen.stat.ppid)
            seen = table.get(seen.stat.ppid)
    return chain | {0, 1}


def _relatives(found: dict[int, Leftover], table: dict[int, _Seen]) -> Iterator[tuple[int, _Seen, str]]:
    """Yield (leftover, process, how) for each child of a leftover and each member of its session.

    The kernel does not give a session's number away while it has members, so a living process with that
    number is the session's leader.
    """
    for pid, seen in table.items():
        if pid in found:
            continue
        if seen.stat.ppid in found:
            yield seen.stat.ppid, seen, "descendant"
        elif seen.stat.session in found:
            yield seen.stat.session, seen, "session"


def _parents_first(found: dict[int, Leftover], table: dict[int, _Seen]) -> list[Leftover]:
    def depth(pid: int) -> int:
        steps = 0
        while (pid := table[pid].stat.ppid if pid in table else 0) in found and steps < len(found):
            steps += 1
        return steps

    return [found[pid] for pid in sorted(found, key=lambda pid: (depth(pid), pid))]


def _service_of(run: str) -> str:
    return run.rpartition("-")[0] or run


def _command(pid: int) -> str:
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    text = os.fsdecode(raw).rstrip("\0").replace("\0", " ")
    return text if len(text) <= COMMAND_LIMIT else text[: COMMAND_LIMIT - 1] + "…"
