"""All that is known between two turns, and its form in a file."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from orchestra_supervisor.listeners.capture import Capture
from orchestra_supervisor.listeners.output import Place
from orchestra_supervisor.listeners.pools import Numbered, Pool, Pools, PoolSpec
from orchestra_supervisor.listeners.protocol import Listener, ListenerState
from orchestra_supervisor.listeners.sources import Source, Sources
from orchestra_supervisor.listeners.translation import Known, Translator

__all__ = ["Scene", "dump_scene", "load_scene"]

Json = dict[str, object]


@dataclass(slots=True)
class Scene:
    """All that is known.

    Attributes:
        pools: The pools and their listeners.
        translator: The processes.
        sources: Their output.
        cursor: Number of the last event of the daemon that was taken.
        mark: Number and time of the last event that told of a daemon's start, or None.
        slices: Of TICK, see `ticks`.
        places: Where the reading of logs stopped, until `sources` is configured.
    """

    pools: Pools
    translator: Translator = field(default_factory=Translator)
    sources: Sources = field(default_factory=Sources)
    cursor: int = 0
    mark: tuple[int, float] | None = None
    slices: dict[int, int] = field(default_factory=dict[int, int])
    places: dict[str, Json] = field(default_factory=dict[str, Json])

    def restore_sources(self) -> None:
        """Go on in logs where the last one stopped."""
        for service, source in self.sources.by_service.items():
            if (held := self.places.pop(service, None)) is not None:
                _restore(source, held)


def dump_scene(scene: Scene) -> Json:
    """Return a scene as JSON."""
    pools, translator = scene.pools, scene.translator
    events = {
        event.serial: asdict(event)
        for event in (*pools.events.values(), *(one for pool in pools.pools.values() for one in pool.buffer))
    }
    return {
        "cursor": scene.cursor,
        "mark": scene.mark,
        "slices": list(scene.slices.items()),
        "serial": pools.serial,
        "events": list(events.values()),
        "pools": {
            name: {
                "is_subscribed": pool.is_subscribed,
                "serial": pool.serial,
                "buffer": [event.serial for event in pool.buffer],
                "spec": asdict(pool.spec),
            }
            for name, pool in pools.pools.items()
        },
        "listeners": {
            service: {
                "name": one.name,
                "run": one.run,
                "state": one.state.value,
                "buffer": _text(one.buffer),
                "result": _text(one.result),
                "length": one.length,
                "event": pools.events[service].serial if service in pools.events else None,
            }
            for service, one in pools.listeners.items()
        },
        "processes": {service: asdict(known) for service, known in translator.processes.items()},
        "groups": translator.groups,
        "is_stopping": translator.is_stopping,
        "outputs": {service: _held(source) for service, source in scene.sources.by_service.items()},
    }


def load_scene(held: Mapping[str, object], identifier: str, say: Callable[[str], None]) -> Scene:
    """Return a scene that was kept.

    Raises:
        KeyError, TypeError, ValueError: It is none.
    """
    pools = Pools(identifier, say)
    pools.serial = _int(held["serial"])
    events = {event.serial: event for event in (Numbered(**row) for row in _rows(held["events"]))}
    for name, row in _table(held["pools"]).items():
        spec = row["spec"]
        members = tuple((str(one), str(other)) for one, other in spec["members"])
        plain = PoolSpec(name, tuple(spec["events"]), spec["buffer_size"], members)
        buffer = [events[serial] for serial in row["buffer"]]
        pools.pools[name] = Pool(plain, row["is_subscribed"], row["serial"], buffer)
    for service, row in _table(held["listeners"]).items():
        pools.listeners[service] = Listener(
            row["name"],
            row["run"],
            ListenerState(row["state"]),
            _bytes(row["buffer"]),
            _bytes(row["result"]),
            row["length"],
        )
        if row["event"] is not None:
            pools.events[service] = events[row["event"]]
    scene = Scene(pools, cursor=_int(held["cursor"]))
    mark = cast("list[float] | None", held["mark"])
    scene.mark = None if mark is None else (int(mark[0]), float(mark[1]))
    scene.slices = dict(cast("list[tuple[int, int]]", held["slices"]))
    translator = scene.translator
    translator.processes = {service: Known(**row) for service, row in _table(held["processes"]).items()}
    translator.groups = [str(one) for one in cast("list[object]", held["groups"])]
    translator.is_stopping = bool(held["is_stopping"])
    scene.places = dict(_table(held["outputs"]))
    return scene


def _held(source: Source) -> Json:
    return {
        "place": None if source.follower.place is None else asdict(source.follower.place),
        "pids": list(source.pids.items()),
        "captures": [
            {
                "run": run,
                "stream": stream,
                "limit": one.limit,
                "buffer": _text(one.buffer),
                "is_inside": one.is_inside,
                "word": _text(one.word),
            }
            for (run, stream), one in source.captures.items()
        ],
    }


def _restore(source: Source, held: Mapping[str, object]) -> None:
    place = cast("dict[str, int] | None", held["place"])
    source.follower.place = None if place is None else Place(**place)
    source.pids = dict(cast("list[tuple[int, int]]", held["pids"]))
    for run in source.pids:
        source.follower.begin(run)
    for row in _rows(held["captures"]):
        source.captures[row["run"], row["stream"]] = Capture(
            row["limit"], _bytes(row["buffer"]), row["is_inside"], _bytes(row["word"])
        )


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _bytes(text: object) -> bytes:
    return str(text).encode("latin-1")


def _int(value: object) -> int:
    return int(cast("int", value))


def _rows(value: object) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", value)


def _table(value: object) -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", value)
