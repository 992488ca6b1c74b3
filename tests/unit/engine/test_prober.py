from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import anyio
import anyio.abc
import pytest

from orchestra_supervisor.engine.prober import Prober, ProbeRunner
from orchestra_supervisor.model.checks import LogCheck
from orchestra_supervisor.model.spec import ProbeSet, ProbeSpec, ServiceSpec, TcpCheck
from orchestra_supervisor.model.states import State
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.rules.inputs import Probed, ProbeKind, ProbeSaw
from orchestra_supervisor.rules.service import Run, Service
from tests.unit.engine.desk import VirtualClock

pytestmark = pytest.mark.anyio

RUN = Run("web-00000000000a", 0.0, 0.0, pid=1)
READY_RUN = replace(RUN, was_ready=True)


def probe(**fields: float) -> ProbeSpec:
    return ProbeSpec.model_validate({"check": TcpCheck(port=1), "period": 10.0, **fields})


def web(**probes: ProbeSpec) -> ServiceSpec:
    return ServiceSpec(name="web", argv=("x",), cwd="/", probes=ProbeSet(**probes))


@dataclass
class Bench:
    """A prober whose checks are written down and answered by the test."""

    answer: Callable[[int], ProbeOutcome]
    takes: float = 0.0
    times: list[float] = field(default_factory=list[float])
    kinds: list[ProbeKind] = field(default_factory=list[ProbeKind])
    posted: list[Probed | ProbeSaw] = field(default_factory=list[Probed | ProbeSaw])
    began: float = 0.0

    def __post_init__(self) -> None:
        self.prober = Prober(clock=VirtualClock(), checks=self._checks, post=self._post)

    def _checks(self, spec: ServiceSpec, kind: ProbeKind, run: str, check: object) -> ProbeRunner:
        return lambda _: self._check(kind)

    async def _check(self, kind: ProbeKind) -> ProbeOutcome:
        self.times.append(round(anyio.current_time() - self.began, 4))
        self.kinds.append(kind)
        await anyio.sleep(self.takes)
        return self.answer(len(self.times))

    def _post(self, name: str, event: Probed | ProbeSaw) -> None:
        assert name == "web"
        self.posted.append(event)

    @asynccontextmanager
    async def probing(self, service: Service) -> AsyncGenerator[anyio.abc.TaskGroup]:
        self.began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            self.prober.reconcile(service, tasks)
            yield tasks
            tasks.cancel_scope.cancel()


def says(passed: bool, detail: str = "no") -> ProbeOutcome:
    return ProbeOutcome(passed=passed, detail="ok" if passed else detail)


async def test_the_first_check_is_at_once_and_the_next_ones_come_ever_slower() -> None:
    bench = Bench(lambda _: says(False))
    service = Service(web(readiness=probe()), state=State.RUNNING, run=RUN)
    async with bench.probing(service):
        await anyio.sleep(5.0)
    gaps = [round(after - before, 4) for before, after in zip(bench.times, bench.times[1:], strict=False)]
    assert bench.times[0] == 0.0
    assert gaps[:3] == pytest.approx([0.005, 0.0075, 0.01125], abs=1e-4)
    assert all(after > before - 1e-3 for before, after in pairwise(gaps)), gaps
    assert gaps[-1] == 1.0
    assert bench.posted == [ProbeSaw(RUN.id, "no")], "words that are not new are not told again"


async def test_after_the_first_pass_the_period_holds_from_start_to_start() -> None:
    bench = Bench(lambda _: says(True), takes=2.0)
    service = Service(web(readiness=probe()), state=State.RUNNING, run=RUN)
    async with bench.probing(service):
        await anyio.sleep(35.0)
    assert bench.times == [0.0, 10.0, 20.0, 30.0]
    assert bench.posted == [Probed(RUN.id, ProbeKind.READINESS, True, "ok")]


async def test_a_check_that_takes_longer_than_the_period_is_followed_at_once() -> None:
    bench = Bench(lambda _: says(True), takes=15.0)
    service = Service(web(readiness=probe()), state=State.RUNNING, run=RUN)
    async with bench.probing(service):
        await anyio.sleep(40.0)
    assert bench.times == [0.0, 15.0, 30.0]


async def test_an_initial_delay_is_kept() -> None:
    bench = Bench(lambda _: says(True))
    service = Service(web(readiness=probe(initial_delay=3.0)), state=State.RUNNING, run=RUN)
    async with bench.probing(service):
        await anyio.sleep(3.5)
    assert bench.times == [3.0]


async def test_a_startup_probe_ends_with_its_verdict() -> None:
    bench = Bench(lambda number: says(number == 3))
    service = Service(web(startup=probe()), state=State.STARTING, run=RUN)
    async with bench.probing(service):
        await anyio.sleep(100.0)
    assert len(bench.times) == 3
    assert bench.posted == [ProbeSaw(RUN.id, "no"), Probed(RUN.id, ProbeKind.STARTUP, True, "ok")]


async def test_a_startup_probe_fails_when_its_time_is_over() -> None:
    bench = Bench(lambda _: says(False))
    service = Service(web(startup=probe(period=2.0, failure_threshold=3)), state=State.STARTING, run=RUN)
    async with bench.probing(service):
        await anyio.sleep(100.0)
    assert 6.0 <= bench.times[-1] <= 7.0
    assert bench.posted[-1] == Probed(RUN.id, ProbeKind.STARTUP, False, "no")


async def test_probes_follow_the_state_of_the_service() -> None:
    bench = Bench(lambda _: says(True))
    spec = web(startup=probe(), readiness=probe(), liveness=probe())
    starting = Service(spec, state=State.STARTING, run=RUN)
    async with bench.probing(starting) as tasks:
        await anyio.sleep(0.1)
        assert bench.kinds == [ProbeKind.STARTUP]
        ready = replace(starting, state=State.READY, run=READY_RUN)
        bench.prober.reconcile(ready, tasks)
        await anyio.sleep(0.1)
        assert set(bench.kinds[1:]) == {ProbeKind.READINESS, ProbeKind.LIVENESS}
        bench.prober.reconcile(ready, tasks)
        await anyio.sleep(1.0)
        assert len(bench.kinds) == 3, "a probe that runs is left alone"
        bench.prober.reconcile(replace(ready, state=State.STOPPING), tasks)
        await anyio.sleep(100.0)
        assert len(bench.kinds) == 3


async def test_a_new_run_and_a_changed_probe_begin_anew() -> None:
    bench = Bench(lambda _: says(True))
    ready = Service(web(readiness=probe()), state=State.READY, run=READY_RUN)
    async with bench.probing(ready) as tasks:
        await anyio.sleep(0.1)
        bench.prober.reconcile(replace(ready, run=replace(READY_RUN, id="web-00000000000b")), tasks)
        await anyio.sleep(0.1)
        assert len(bench.times) == 2
        bench.prober.reconcile(replace(ready, spec=web(readiness=probe(period=5.0))), tasks)
        await anyio.sleep(0.1)
        assert len(bench.times) == 3
        bench.prober.forget("web")
        await anyio.sleep(100.0)
        assert len(bench.times) == 3


async def test_an_unhealthy_service_that_is_taken_over_can_recover() -> None:
    bench = Bench(lambda _: says(True))
    unhealthy = Service(web(readiness=probe()), state=State.UNHEALTHY, run=READY_RUN)
    async with bench.probing(unhealthy):
        await anyio.sleep(1.0)
    assert bench.posted == [Probed(RUN.id, ProbeKind.READINESS, True, "ok")]


async def test_a_ready_service_that_is_taken_over_is_news_only_when_it_fails() -> None:
    bench = Bench(lambda number: says(number < 3))
    ready = Service(web(readiness=probe(failure_threshold=2)), state=State.READY, run=READY_RUN)
    async with bench.probing(ready):
        await anyio.sleep(45.0)
    assert bench.times == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert bench.posted == [ProbeSaw(RUN.id, "no"), Probed(RUN.id, ProbeKind.READINESS, False, "no")]


def log_probe(**fields: float) -> ProbeSpec:
    return ProbeSpec.model_validate({"check": LogCheck(pattern="up"), "period": 10.0, **fields})


async def test_a_line_that_was_found_is_not_looked_for_again() -> None:
    bench = Bench(lambda number: says(number >= 3))
    service = Service(web(readiness=log_probe()), state=State.RUNNING, run=RUN)
    async with bench.probing(service):
        await anyio.sleep(100.0)
    assert bench.posted == [
        ProbeSaw(RUN.id, "no"),
        Probed(RUN.id, ProbeKind.READINESS, True, "ok"),
    ]
    assert len(bench.times) == 3


async def test_a_run_that_was_ready_is_not_searched_for_the_line_again() -> None:
    bench = Bench(lambda _: says(False))
    ready = Service(web(readiness=log_probe()), state=State.READY, run=READY_RUN)
    async with bench.probing(ready) as tasks:
        await anyio.sleep(100.0)
        assert not bench.times, "its log may be rotated away by now"
        bench.prober.reconcile(replace(ready, state=State.RUNNING, run=replace(RUN, id="web-0b")), tasks)
        await anyio.sleep(1.0)
        assert bench.times, "the next run is"
