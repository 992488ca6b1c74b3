"""What the daemon tells of the fleet's processes and pools: the answer of `GET /v1/listeners`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from orchestra_supervisor.listeners.pools import DEFAULT_BUFFER, PoolSpec

__all__ = ["Directory", "Entry", "Output", "parse_directory"]

Json = Mapping[str, object]

_LISTENER = "eventlistener"


@dataclass(frozen=True, slots=True)
class Output:
    """What a stream of a process makes happen: PROCESS_LOG, and PROCESS_COMMUNICATION up to `limit` bytes."""

    is_told: bool = False
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One process.

    Attributes:
        service: Our name of it.
        group: Its group.
        process: Its name.
        is_listener: It speaks the protocol on its stdin and stdout.
        state: Where it stands, in supervisord's words.
        pid: Of its run, or 0.
        run: Its present or last run, or empty.
        tries: Starts in a row that came to nothing.
        outputs: By stream.
        is_merged: Its stderr counts as stdout.
        log: Path of its log.
    """

    service: str
    group: str
    process: str
    is_listener: bool
    state: str
    pid: int
    run: str
    tries: int
    outputs: Mapping[str, Output]
    is_merged: bool
    log: str


@dataclass(frozen=True, slots=True)
class Directory:
    """The fleet as it is now.

    Attributes:
        identifier: What it is called.
        fleet: When its keeper started, seconds since the epoch: no other fleet has the same.
        last: Number of the newest event.
        entries: Its processes, in the order of their groups.
        pools: Its pools.
    """

    identifier: str
    fleet: float
    last: int
    entries: tuple[Entry, ...]
    pools: tuple[PoolSpec, ...]


def parse_directory(answer: Json) -> Directory:
    """Return what an answer says.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    rows = [cast("Json", row) for row in cast("list[object]", answer["processes"])]
    entries = tuple(_entry(row) for row in rows)
    pools: dict[str, PoolSpec] = {}
    for entry, row in zip(entries, rows, strict=True):
        if not entry.is_listener:
            continue
        known = pools.get(entry.group)
        members = (*(known.members if known else ()), (entry.service, entry.process))
        events = known.events if known else tuple(str(one) for one in cast("list[object]", row["events"]))
        pools[entry.group] = PoolSpec(
            entry.group, events, _int(row["buffer_size"]) or DEFAULT_BUFFER, members
        )
    return Directory(
        identifier=str(answer["identifier"]),
        fleet=float(cast("float", answer["started"])),
        last=_int(answer["last"]),
        entries=entries,
        pools=tuple(pools.values()),
    )


def _entry(row: Json) -> Entry:
    return Entry(
        service=str(row["service"]),
        group=str(row["group"]),
        process=str(row["process"]),
        is_listener=row["kind"] == _LISTENER,
        state=str(row["state"]),
        pid=_int(row["pid"]),
        run=str(row["run"] or ""),
        tries=_int(row["tries"]),
        outputs={stream: _output(cast("Json", row[stream])) for stream in ("stdout", "stderr")},
        is_merged=bool(row["redirect_stderr"]),
        log=str(row["log"]),
    )


def _output(row: Json) -> Output:
    return Output(bool(row["events_enabled"]), _int(row["capture_maxbytes"]))


def _int(value: object) -> int:
    return int(cast("int", value or 0))
