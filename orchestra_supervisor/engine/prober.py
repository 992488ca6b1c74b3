"""Runs the probes of live services and tells the engine when a verdict changes.

Which probes should run is derived from the service after each step (`rules.health.active_probes`);
this module starts and cancels tasks to match. A task belongs to one run: the next run gets new ones.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import anyio.abc

from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.model.checks import LogCheck
from orchestra_supervisor.model.spec import Check, ProbeSpec, ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.rules.health import Tally, active_probes, count, next_interval
from orchestra_supervisor.rules.inputs import Probed, ProbeKind, ProbeSaw
from orchestra_supervisor.rules.service import Service

__all__ = ["ProbeMaker", "ProbeRunner", "Prober"]

ProbeRunner = Callable[[float], Awaitable[ProbeOutcome]]
"""Carries out one check within a timeout in seconds. It may remember what it saw: it is of one run."""
ProbeMaker = Callable[[ServiceSpec, ProbeKind, str, Check], ProbeRunner]
"""Returns what carries out the check of a service's probe for a run id."""

_Key = tuple[str, ProbeKind]


@dataclass
class _Task:
    run: str
    probe: ProbeSpec
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


def _tally_of(service: Service, kind: ProbeKind) -> Tally:
    """Return the counts that a probe begins with: what the service's state says was told of its run."""
    if service.run is None or not service.run.was_ready:
        return Tally()
    is_unhealthy = kind is ProbeKind.READINESS and service.state is State.UNHEALTHY
    return Tally(verdict=not is_unhealthy, passed_once=True)


class Prober:
    """Keeps the right probe tasks running.

    Args:
        clock: Time.
        checks: Makes what carries out a check.
        post: Takes (service, input) for the engine's inbox.
    """

    def __init__(
        self, *, clock: Clock, checks: ProbeMaker, post: Callable[[str, Probed | ProbeSaw], None]
    ) -> None:
        self._clock = clock
        self._checks = checks
        self._post = post
        self._tasks: dict[_Key, _Task] = {}

    def reconcile(self, service: Service, task_group: anyio.abc.TaskGroup) -> None:
        """Start and cancel tasks so that exactly the active probes of the service run.

        Args:
            service: The service after a step.
            task_group: Owner of the tasks; the engine's.
        """
        name, run = service.spec.name, service.run
        active = active_probes(service)
        for kind in ProbeKind:
            task = self._tasks.get((name, kind))
            probe: ProbeSpec | None = getattr(service.spec.probes, kind.value) if kind in active else None
            if task is not None:
                if probe is not None and run is not None and task.run == run.id and task.probe == probe:
                    continue
                task.scope.cancel()
                del self._tasks[name, kind]
            if probe is not None and run is not None:
                new = _Task(run.id, probe)
                self._tasks[name, kind] = new
                tally = _tally_of(service, kind)
                task_group.start_soon(self._probe, service.spec, kind, new, tally)

    def forget(self, name: str) -> None:
        """Cancel every probe of a service that is no more."""
        for kind in ProbeKind:
            task = self._tasks.pop((name, kind), None)
            if task is not None:
                task.scope.cancel()

    async def _probe(self, spec: ServiceSpec, kind: ProbeKind, task: _Task, tally: Tally) -> None:
        probe = task.probe
        is_of_run = isinstance(probe.check, LogCheck)  # passed once, it has passed for the whole run
        if is_of_run and tally.verdict:
            return
        check = self._checks(spec, kind, task.run, probe.check)
        with task.scope:
            began, told = self._clock.mono(), ""
            if probe.initial_delay:
                await anyio.sleep(probe.initial_delay)
            while True:
                started = self._clock.mono()
                outcome = await check(probe.timeout)
                now = self._clock.mono()
                tally, verdict = count(probe, kind, tally, passed=outcome.passed, elapsed=now - began)
                if verdict is not None:
                    told = outcome.detail
                    self._post(spec.name, Probed(task.run, kind, verdict, told))
                    if kind is ProbeKind.STARTUP or (is_of_run and verdict):
                        return
                elif not outcome.passed and outcome.detail != told:
                    told = outcome.detail
                    self._post(spec.name, ProbeSaw(task.run, told))
                await anyio.sleep(max(0.0, started + next_interval(probe, kind, tally) - now))
