"""One random schedule: a fleet, faults, operators, daemon deaths; then peace, and the reckoning."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import cast

import anyio
import anyio.abc
import anyio.lowlevel
import trio
import trio.testing

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.engine.outside import Outside
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import (
    BackoffSpec,
    DependencySpec,
    Fleet,
    ProbeSet,
    ProbeSpec,
    RestartSpec,
    ServiceSpec,
    StopSpec,
    StopStep,
    TcpCheck,
)
from orchestra_supervisor.model.states import Condition, Desired, DownReason, Kind, State
from orchestra_supervisor.rules.service import to_note
from tests.simulation.world import BASE_PORT, Link, ShutdownAsked, Violation, World

__all__ = ["Schedule", "draw_fleet", "replay", "violation_of"]

PEACE = 900.0
"""Virtual seconds without faults after which everything must have settled."""


class _Clock:
    def __init__(self, rng: random.Random, wall: float) -> None:
        self._rng = rng
        self._wall = wall

    def mono(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return self._wall + anyio.current_time()

    def run_digits(self) -> str:
        return f"{self._rng.getrandbits(48):012x}"


class _EventLog:
    def __init__(self, world: World, listen: Callable[[Event], None]) -> None:
        self.world = world
        self.listen = listen
        self.count = 0

    def record_nowait(self, event: Event) -> Event:
        self.count += 1
        self.world.say(f"event {event.kind} {event.service} {event.message}")
        self.listen(event)
        return event


def draw_fleet(rng: random.Random) -> Fleet:
    services: dict[str, ServiceSpec] = {}
    for number in range(rng.randint(1, 6)):
        name = f"s{number}"
        others = [f"s{other}" for other in range(number)]
        depends_on = {
            other: DependencySpec(
                condition=_condition(rng, services[other].kind),
                on_failure=rng.choice(["keep", "keep", "stop", "restart"]),
            )
            for other in rng.sample(others, min(len(others), rng.choice([0, 0, 1, 2])))
        }
        services[name] = _draw_service(rng, name, number, depends_on)
    return Fleet(services=services)


def _condition(rng: random.Random, kind: Kind) -> Condition:
    if kind is not Kind.DAEMON:
        return rng.choice([Condition.READY, Condition.COMPLETED])
    return rng.choice([Condition.STARTED, Condition.READY, Condition.READY])


def _draw_service(
    rng: random.Random, name: str, number: int, depends_on: dict[str, DependencySpec]
) -> ServiceSpec:
    probe = ProbeSpec(
        check=TcpCheck(port=BASE_PORT + number),
        period=rng.choice([4.0, 30.0, 30.0]),
        timeout=1.0,
        failure_threshold=rng.choice([1, 3]),
    )
    kind = rng.choice([Kind.DAEMON] * 6 + [Kind.ONCE] * 2 + [Kind.PERIODIC])
    wanted = rng.choice(["", "r", "r", "rl", "srl"]) if kind is Kind.DAEMON else ""
    return ServiceSpec(
        name=name,
        kind=kind,
        schedule=_draw_schedule(rng) if kind is Kind.PERIODIC else None,
        argv=("x",),
        cwd="/",
        enabled=rng.random() < 0.9,
        priority=rng.choice([1, 2, 999]),
        start_delay=rng.choice([0.0, 0.0, 0.0, 2.0]),
        depends_on=depends_on,
        startup_timeout=rng.choice([0.0, 10.0, 60.0]),
        probes=ProbeSet(
            startup=probe if "s" in wanted else None,
            readiness=probe if "r" in wanted else None,
            liveness=probe if "l" in wanted else None,
        ),
        restart=RestartSpec(
            policy=rng.choice(["always", "on-failure", "on-failure", "never"]),
            max_restarts=rng.choice([None, 0, 2, 5]),
            window=rng.choice([20.0, 300.0]),
            backoff=BackoffSpec(first_immediate=rng.random() < 0.7, cap=rng.choice([2.0, 30.0])),
            stable_after=rng.choice([1.0, 20.0]),
        ),
        stop=StopSpec(
            steps=rng.choice([(), (StopStep(wait=2.0),), (StopStep(wait=1.0), StopStep(wait=0.5))])
        ),
    )


def _draw_schedule(rng: random.Random) -> ScheduleSpec:
    return ScheduleSpec(
        every=None if (is_cron := rng.random() < 0.3) else rng.choice([10.0, 20.0, 120.0]),
        cron="* * * * *" if is_cron else None,
        jitter=rng.choice([0.0, 0.0, 3.0]),
        overlap=rng.choice(["skip", "queue", "replace"]),
        missed=rng.choice(["skip", "once", "all"]),
        on_start=rng.random() < 0.3,
    )


class Schedule:
    """Plays one seed.

    Args:
        seed: Of the dice.
        fleet: What is played with; None: one that the dice make.
        wall: Wall seconds at the beginning.
    """

    def __init__(self, seed: int, fleet: Fleet | None = None, wall: float = 1_000_000.0) -> None:
        self.rng = random.Random(seed)
        self.fleet = fleet or draw_fleet(self.rng)
        self.world = World(self.rng, self.fleet)
        self.clock = _Clock(self.rng, wall)
        self.supervisor: Supervisor | None = None
        self.verbs: Verbs | None = None
        self._scope: anyio.CancelScope | None = None
        self._link: Link | None = None

    async def play(self) -> None:
        async with anyio.create_task_group() as tasks:
            self.world.tasks = tasks
            await self._start_daemon(tasks)
            for _ in range(self.rng.randint(3, 20)):
                await anyio.sleep(self.rng.choice([0.0, 0.001, 0.01, 0.3, 2.0, 20.0]) * self.rng.random())
                await self._disturb(tasks)
            self.world.faults = False
            await self._settle(tasks)
            await self._end(tasks)
            tasks.cancel_scope.cancel()

    async def play_through(self, deaths: list[float], span: float) -> None:
        """Let a span of seconds pass without faults, but for a daemon that dies at these instants of it."""
        self.world.faults = False
        async with anyio.create_task_group() as tasks:
            self.world.tasks = tasks
            await self._start_daemon(tasks)
            for death in deaths:
                await anyio.sleep_until(death)
                await self._kill_daemon(tasks)
            await anyio.sleep_until(span)
            tasks.cancel_scope.cancel()

    def close(self) -> None:
        """Let go of the last daemon's connection."""
        if self._link is not None:
            self._link.close()

    async def _start_daemon(self, tasks: anyio.abc.TaskGroup) -> None:
        self.world.say("daemon starts")
        link = self._link = Link(self.world)
        supervisor = Supervisor(
            self.fleet,
            Outside(
                keeper=link,
                clock=self.clock,
                bus=EventBus(_EventLog(self.world, self._listen), self.clock),
                launcher=Launcher(home=Path("/h"), log_directory=Path("/h/logs"), environ={}),
                network=self.world.check,
                secrets=_no_secrets,
                on_reload=lambda: None,
                on_run=lambda _: None,
                keep=self._keep,
                on_plan=lambda _name, _reached: None,
            ),
        )
        self.supervisor, self.verbs = supervisor, Verbs(supervisor)
        scope = self._scope = anyio.CancelScope()
        snapshot = self.world.snapshot()
        down = {n: DownReason.DISABLED for n, spec in self.fleet.services.items() if not spec.enabled}

        async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            with scope:
                await supervisor.run(snapshot, down=down, task_status=task_status)

        await tasks.start(run)

    def _listen(self, event: Event) -> None:
        """Hear of everything that the engine tells; for schedules that hold more."""

    def _keep(self, fleet: Fleet) -> None:
        """Put the applied fleet on a disk that outlives daemons."""
        self.fleet = fleet

    async def _kill_daemon(self, tasks: anyio.abc.TaskGroup) -> None:
        """The daemon dies: of what it had decided to send, only a part has left."""
        assert self._link is not None
        assert self._scope is not None
        self.world.say("daemon dies")
        for name in self.fleet.services:  # a refusal that nobody heard is tried again, once a death
            self.world.interventions.setdefault(name, []).append(anyio.current_time())
        self._link.deliver(self.rng.randint(0, len(self._link.buffer)))
        self._link.buffer.clear()
        self.world.link = None
        self._scope.cancel()
        await anyio.lowlevel.checkpoint()
        self._link.close()
        await anyio.sleep(self.rng.choice([0.0, 0.01, 3.0]))
        await self._start_daemon(tasks)

    async def _disturb(self, tasks: anyio.abc.TaskGroup) -> None:
        assert self.verbs is not None
        verbs, names = self.verbs, list(self.fleet.services)
        some = self.rng.sample(names, self.rng.randint(1, len(names)))
        both = self.rng.random() < 0.5
        actions: list[Callable[[], object]] = [
            lambda: verbs.start(some, "by hand"),
            lambda: verbs.stop(some, "by hand", with_dependents=both),
            lambda: verbs.restart(some, "by hand", with_dependents=both),
            lambda: verbs.run([n for n in some if self._is_planned(n)], "by hand", planned=self.clock.wall()),
            lambda: self._crash(some[0]),
        ]
        choice = self.rng.randint(0, len(actions) + 1)
        if choice >= len(actions):
            await self._kill_daemon(tasks)
            return
        self.world.say(f"operator {choice} {some} with_dependents={both}")
        for name in names:
            self.world.interventions.setdefault(name, []).append(anyio.current_time())
        actions[choice]()
        if self.rng.random() < 0.2:
            await self._kill_daemon(tasks)

    def _is_planned(self, name: str) -> bool:
        return self.world.fleet.services[name].schedule is not None

    def _crash(self, name: str) -> None:
        record = self.world.live(name)
        if record is not None:
            self.world.end(record, None, "SIGKILL")

    async def _settle(self, tasks: anyio.abc.TaskGroup) -> None:
        """Without faults the fleet comes to rest, stays there, and a new daemon sees the same."""
        await anyio.sleep(PEACE)
        began, planned = anyio.current_time(), Counter[str]()
        for name, starts in self.world.spawns.items():
            planned[name] -= len(starts)
        assert self.supervisor is not None
        for name, service in self.supervisor.services.items():
            self._check_rest(name, service.state, service.desired)
        orders = self.world.orders.copy()
        view = self._view()
        await anyio.sleep(PEACE / 3)
        if self.world.orders != orders:
            raise Violation(f"orders although nothing happened: {self.world.orders - orders}")
        await self._kill_daemon(tasks)
        await anyio.sleep(5.0)
        after = self._view()
        if after != view:
            changed = {name: (view[name], after[name]) for name in view if view[name] != after[name]}
            raise Violation(f"the next daemon sees something else: {changed}")
        for name, record in ((r.slot, r) for r in self.world.records.values()):
            service = self.supervisor.services[name]
            if service.run is None or service.run.id != record.run:
                raise Violation(f"a run nobody accounts for: {record}")
        for name, starts in self.world.spawns.items():
            planned[name] += len(starts)
        for name in filter(self._is_planned, self.fleet.services):
            self._check_planned(name, planned[name], anyio.current_time() - began)
        self._check_restarts()

    def _view(self) -> dict[str, dict[str, object]]:
        """Return what the daemon knows of the services that are at rest when nothing happens."""
        assert self.supervisor is not None
        services = self.supervisor.services.items()
        return {name: to_note(service) for name, service in services if not self._is_planned(name)}

    def _check_planned(self, name: str, runs: int, span: float) -> None:
        """Every planned run of peaceful times begins once, daemon's death or not."""
        assert self.supervisor is not None
        service, schedule = self.supervisor.services[name], self.fleet.services[name].schedule
        assert schedule is not None
        wanted = span / (schedule.every or 60.0) if service.desired is Desired.UP else 0.0
        if service.plan is not None and service.plan.current is not None and service.unmet:
            wanted = 0.0
        if abs(runs - wanted) > 1.5:
            raise Violation(f"{name}: {runs} runs in {span:.1f} s, {wanted:.1f} were planned")

    def _check_rest(self, name: str, state: State, desired: Desired) -> None:
        assert self.supervisor is not None
        service = self.supervisor.services[name]
        calm = {State.READY, State.COMPLETED, State.FAILED} if desired is Desired.UP else {State.STOPPED}
        if service.spec.schedule is not None and desired is Desired.UP:
            if service.last is not None and service.last.success:
                return  # its last run, since none fails in peace
        elif state in calm:
            return
        if state is State.WAITING and service.unmet:
            return
        if state is State.UNHEALTHY or (state is State.RUNNING and service.run is not None):
            nature = self.world.records[service.run.id].nature  # type: ignore[union-attr]
            if nature.healthy_after is None and not service.spec.startup_timeout:
                return
        raise Violation(f"{name} is {state} ({service.reason}) after {PEACE} s of peace, desired {desired}")

    def _check_restarts(self) -> None:
        """By policy alone, no window holds more starts than the limit and the first one allow."""
        for name, starts in self.world.spawns.items():
            policy = self.world.fleet.services[name].restart
            if policy.max_restarts is None or self._is_planned(name):
                continue
            for first in starts:
                inside = [at for at in starts if first <= at < first + policy.window]
                by_hand = [
                    at
                    for at in self.world.interventions.get(name, [])
                    if first - policy.window <= at < first + policy.window
                ]
                others = sum(
                    len([at for at in self.world.spawns.get(dep, []) if first <= at < first + policy.window])
                    for dep in self.world.fleet.services[name].depends_on
                )
                allowed = (policy.max_restarts + 1) * (1 + len(by_hand)) + others
                if len(inside) > allowed:
                    raise Violation(
                        f"{name}: {len(inside)} starts within {policy.window} s, {allowed} allowed"
                    )

    async def _end(self, tasks: anyio.abc.TaskGroup) -> None:
        """The fleet goes down, whatever happens to the daemon meanwhile."""
        self.world.faults = self.rng.random() < 0.5
        assert self.world.link is not None
        self.world.link.send(ShutdownAsked(hurry=False))
        for _ in range(self.rng.choice([0, 0, 1, 3])):
            await anyio.sleep(self.rng.choice([0.0, 0.001, 0.5, 2.0]))
            if self.world.quit_status is not None:
                return
            if self.world.shutdown:
                await self._kill_daemon(tasks)
        with anyio.move_on_after(PEACE):
            while self.world.quit_status is None:
                await anyio.sleep(1.0)
        if self.world.quit_status is None:
            raise Violation("the shutdown never ended")
        assert self.verbs is not None
        try:
            self.verbs.start(list(self.fleet.services), "too late")
        except ConflictError:
            return
        raise Violation("a fleet that is down takes orders")


async def _no_secrets(env: dict[str, str]) -> dict[str, str]:
    return env


def violation_of(error: BaseException) -> str:
    """Return the words of what went wrong, from however deep in the task groups it came."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return violation_of(group.exceptions[0])
    return f"{type(error).__name__}: {error}"


def replay(seed: int, kind: "type[Schedule]" = Schedule) -> World:
    """Play one seed of a kind of schedules to its end.

    Raises:
        Violation: Something happened that must never happen; `world.log` tells the story.
    """
    # Trio shuffles ready tasks on purpose; seeded, the shuffle is part of the schedule.
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[attr-defined]
    trio._core._run._r.seed(seed)  # type: ignore[attr-defined]
    schedule = kind(seed)

    async def main() -> None:
        try:
            with closing(schedule):
                await schedule.play()
        except BaseExceptionGroup as group:
            schedule.world.say(f"ended by {group!r}")
            raise

    try:
        anyio.run(
            main,
            backend="trio",
            backend_options={"clock": trio.testing.MockClock(autojump_threshold=0)},
        )
    except BaseException as error:
        error.add_note("\n".join(schedule.world.log[-80:]))
        word = "" if kind is Schedule else f" --{kind.__module__.rpartition('.')[2]}"
        error.add_note(f"replay this schedule: .venv/bin/python -m tests.simulation {seed}{word}")
        raise
    return schedule.world
