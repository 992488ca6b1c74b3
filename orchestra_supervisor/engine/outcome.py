"""What becomes of services after a verb: whether each got where it was to get, and in what time."""

from collections.abc import Mapping, Sequence

import anyio

from orchestra_supervisor.engine.core import Core
from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.model.report import VerbResult
from orchestra_supervisor.rules.goals import Goal
from orchestra_supervisor.rules.service import Service

__all__ = ["wait_outcome"]


async def wait_outcome(
    core: Core,
    clock: Clock,
    names: Sequence[str],
    before: Mapping[str, str],
    goal: Goal | None,
    patience: float,
) -> list[VerbResult]:
    """Wait until all of these services have reached a goal, or will not by themselves.

    Args:
        core: Knows how they stand.
        clock: Time.
        names: The services; one that is let go of meanwhile is through.
        before: Their states before the verb.
        goal: Where they are to get; None: nowhere, so nobody waits.
        patience: Seconds to wait at most.

    Returns:
        What became of each, in the order of the names.
    """
    began = clock.mono()
    done: dict[str, VerbResult] = {}

    def look(*, waited: bool) -> bool:
        took = clock.mono() - began if waited else 0.0
        for name in names:
            if name not in done:
                result = _judge(name, core.services.get(name), before.get(name, ""), goal, took)
                if result is not None:
                    done[name] = result
        return len(done) == len(names)

    with anyio.move_on_after(patience):
        found = look(waited=False)
        while not found:
            await core.wait_changed()
            found = look(waited=True)
    look(waited=True)  # whoever was let go of in the last moment is told of as that
    took = clock.mono() - began
    return [
        done[name] if name in done else _late(core.services[name], before.get(name, ""), took)
        for name in names
    ]


def _judge(
    name: str, service: Service | None, before: str, goal: Goal | None, took: float
) -> VerbResult | None:
    if service is None:
        return VerbResult(name, before, "removed", ok=True, changed=True, message="removed", took=took)
    met = True if goal is None else goal(service)
    if met is None:
        return None
    after = service.state.value
    changed = after != before or took > 0 or service.ending is not None
    return VerbResult(name, before, after, met, changed, _words(service), took)


def _late(service: Service, before: str, took: float) -> VerbResult:
    message = f"still {service.state} after {took:.1f} s: {_words(service)}"
    after = service.state.value
    return VerbResult(service.spec.name, before, after, ok=False, changed=True, message=message, took=took)


def _words(service: Service) -> str:
    pid = f" (pid {service.run.pid})" if service.run is not None and service.run.pid else ""
    return f"{service.reason or service.state}{pid}"
