"""Probes that somebody asks for, beside those that run by themselves: what is seen now, and no verdict.

Nothing that is decided of a service depends on what is found here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import anyio

from orchestra_supervisor.engine.ports import Checker, Clock
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.model.checks import GrpcCheck, LogCheck
from orchestra_supervisor.model.equipment import HookSpec
from orchestra_supervisor.model.spec import Check, CommandCheck, HttpCheck, PluginCheck, ProbeSpec, TcpCheck
from orchestra_supervisor.probes.log_line import LogSearch
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.rules.inputs import ProbeKind
from orchestra_supervisor.rules.service import Service

__all__ = ["AskedChecks", "CheckResult", "ServiceCheck"]

AT_ONCE = 16
"""Services that are checked at the same time; the others wait for their turn."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one probe saw.

    Attributes:
        probe: `startup`, `readiness` or `liveness`.
        type: How it looks: `http`, `tcp`, ...
        target: What it looks at, for people.
        passed: Whether it passed; False where nothing could be looked at.
        detail: What was seen, for people.
        took: Seconds.
    """

    probe: str
    type: str
    target: str
    passed: bool
    detail: str
    took: float


@dataclass(frozen=True, slots=True)
class ServiceCheck:
    """What the probes of one service saw; `note` says why there are no results, where there are none."""

    name: str
    state: str
    results: tuple[CheckResult, ...]
    note: str


class AskedChecks:
    """Carries out the probes of services once, each within its own time.

    Args:
        supervisor: Knows the services, and runs commands beside them.
        network: Carries out checks that need no process.
        log_path: Returns the log of a service.
        clock: Time.
    """

    def __init__(
        self, supervisor: Supervisor, network: Checker, log_path: Callable[[str], Path], clock: Clock
    ) -> None:
        self._supervisor = supervisor
        self._network = network
        self._log_path = log_path
        self._clock = clock
        self._turns = anyio.CapacityLimiter(AT_ONCE)
        self._readers = anyio.CapacityLimiter(AT_ONCE)
        self._locks: dict[str, anyio.Lock] = {}

    async def check(self, names: Sequence[str]) -> list[ServiceCheck]:
        """Run the probes of services now; a service is checked for one caller at a time.

        Args:
            names: Known services.
        """
        found: dict[str, ServiceCheck] = {}

        async def look(name: str) -> None:
            lock = self._locks.setdefault(name, anyio.Lock())
            async with lock, self._turns:
                found[name] = await self._look(name)
            if not lock.statistics().tasks_waiting:
                self._locks.pop(name, None)

        async with anyio.create_task_group() as tasks:
            for name in dict.fromkeys(names):
                tasks.start_soon(look, name)
        return [found[name] for name in dict.fromkeys(names)]

    async def _look(self, name: str) -> ServiceCheck:
        service = self._supervisor.services.get(name)
        if service is None:
            return ServiceCheck(name, "removed", (), "it is no longer configured")
        probes = service.spec.probes
        every = [(kind, probe) for kind in ProbeKind if (probe := getattr(probes, kind.value)) is not None]
        results = tuple([await self._result(service, kind, probe) for kind, probe in every])
        note = "" if every else "it has no probes: that its process lives is all that is known"
        return ServiceCheck(name, service.state.value, results, note)

    async def _result(self, service: Service, kind: ProbeKind, probe: ProbeSpec) -> CheckResult:
        check = probe.check
        began = self._clock.mono()
        outcome = await self._outcome(service, kind, probe)
        took = outcome.took or self._clock.mono() - began
        return CheckResult(kind.value, check.type, _target(check), outcome.passed, outcome.detail, took)

    async def _outcome(self, service: Service, kind: ProbeKind, probe: ProbeSpec) -> ProbeOutcome:
        run, check = service.run, probe.check
        if run is None or run.pid is None or run.leader_ended:
            detail = f"not looked at: it does not run ({service.state.value})"
            return ProbeOutcome(passed=False, detail=detail)
        if isinstance(check, CommandCheck):
            hook = HookSpec(argv=check.argv, timeout=probe.timeout)
            return await self._supervisor.run_beside(service.spec, f"asked-{kind.value}", hook)
        if isinstance(check, LogCheck):
            search = LogSearch(check, str(self._log_path(service.spec.name)), run.id, self._readers)
            return await search.look(probe.timeout)
        return await self._network(check, probe.timeout)


def _target(check: Check) -> str:
    match check:
        case HttpCheck():
            return f"{check.method} {check.url}" + (f" over {check.unix}" if check.unix else "")
        case TcpCheck():
            return f"{check.host}:{check.port}"
        case GrpcCheck():
            return check.unix or f"{check.host}:{check.port}"
        case LogCheck():
            return f"a line of its log that matches {check.pattern!r}"
        case CommandCheck():
            return f"the exit code of {check.argv[0]}"
        case PluginCheck():
            return f"plugin check {check.probe}"
        case _:
            assert_never(check)
