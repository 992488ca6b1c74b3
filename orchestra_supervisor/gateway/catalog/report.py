"""How a backend is, as one JSON object: for the control endpoint and `orchestra status`."""

from dataclasses import asdict

import anyio

from orchestra_supervisor.gateway.backends.backend import Backend
from orchestra_supervisor.gateway.backends.choice import Seat
from orchestra_supervisor.gateway.backends.fields import text
from orchestra_supervisor.gateway.backends.health import Health, judge
from orchestra_supervisor.gateway.backends.instance import Instance
from orchestra_supervisor.gateway.catalog.results import ResultCache
from orchestra_supervisor.gateway.catalog.shelf import Shelf
from orchestra_supervisor.gateway.messages import Json

__all__ = ["report_on"]

_SHOWN = 20  # malformed entries of one server


def report_on(backend: Backend, shelf: Shelf, results: ResultCache) -> Json:
    """Return how a backend is."""
    spec, introduction = backend.spec, backend.introduction
    seats = [_seat(seat) for seat in backend.seats]
    state: Json = dict(seats[0]) if seats else {"state": Health.DOWN.value, "why": "it has no instance"}
    if state["state"] == Health.READY.value:
        state |= _worse(shelf)
    return {
        "name": spec.name,
        "transport": "stdio" if spec.is_stdio else "http",
        "url": spec.url or None,
        "service": spec.service or None,
        "sharing": spec.sharing.value,
        "lazy": spec.is_lazy,
        "state": state["state"],
        "why": state["why"],
        "hint": state.get("hint", ""),
        "levels": state.get("levels", {}),
        "era": introduction.era.value if introduction is not None else None,
        "version": introduction.version if introduction is not None else None,
        "server": {
            "name": text(introduction.server_info, "name") if introduction is not None else "",
            "version": text(introduction.server_info, "version") if introduction is not None else "",
        },
        "tools": len(shelf.tools),
        "resources": len(shelf.resources),
        "templates": len(shelf.templates),
        "prompts": len(shelf.prompts),
        "left_out": list(shelf.left_out[:_SHOWN]),
        "changed_tools": sorted(shelf.changed),
        "blocked_tools": sorted(name for name, tool in shelf.tools.items() if tool.is_blocked),
        "calls": backend.calls,
        "failures": backend.failures,
        "waiting_for_clients": backend.parked,
        "cache": {"entries": len(results), "hits": results.hits, "misses": results.misses},
        "instances": seats,
    }


def _worse(shelf: Shelf) -> Json:
    """Return what is wrong with a server that answers."""
    if shelf.changed:
        why = f"{len(shelf.changed)} of its tools are not what they were when they were first seen"
        return {"state": Health.DEGRADED.value, "why": why, "hint": "look at what changed, then accept it"}
    if shelf.left_out:
        why = f"{len(shelf.left_out)} of what it lists is malformed and left out"
        return {"state": Health.DEGRADED.value, "why": why, "hint": "tell its author"}
    return {}


def _seat(seat: Seat) -> Json:
    instance: Instance = seat.instance
    answered = instance.last_answer
    return {
        "name": instance.name,
        "service": seat.service or None,
        "owner": seat.owner or None,
        **judge(instance.facts()).to_json(),
        "in_flight": instance.in_flight,
        "connects": instance.starts,
        "crashes_in_a_row": instance.crashes,
        "last_answer": round(anyio.current_time() - answered, 3) if answered else None,
        "noise": asdict(instance.noise),
    }
