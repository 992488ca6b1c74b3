"""One random schedule: a fleet, faults, operators, daemon deaths; then peace, and the reckoning."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import cast

import anyio
import anyio.abc
import anyio.lowlevel
import trio
import trio.testing

from orchestra_supervisor.config.load import LoadResult, Sources
from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.engine.outside import Outside
from orchestra_supervisor.engine.reload import Files, Reloader
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.model.errors import ConfigError, ConflictError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.replicas import GroupSpec
from orchestra_supervisor.model.spec import Fleet, FleetSettings
from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.process.orders import Pinged
from orchestra_supervisor.rules.demand import calls_for, rests
from orchestra_supervisor.rules.diff import run_digest
from orchestra_supervisor.rules.left_down import left_down
from orchestra_supervisor.rules.service import to_note
from tests.simulation.fleets import draw_change, draw_fleet
from tests.simulation.world import Link, ShutdownAsked, Violation, World

__all__ = ["Schedule", "replay", "violation_of"]

_PING = 7
_A_TURN = 1e-6  # virtual seconds: they pass when nobody has anything left to do
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
        self.reloader: Reloader | None = None
        self._is_doomed = False
        self._own: anyio.abc.TaskGroup | None = None
        self._scope: anyio.CancelScope | None = None
        self._link: Link | None = None

    async def play(self) -> None:
        async with anyio.create_task_group() as tasks:
            self.world.tasks = tasks
            await self._start_daemon(tasks)
            for _ in range(self.rng.randint(3, 20)):
                await anyio.sleep(self.rng.choice([0.0, 0.001, 0.01, 0.3, 2.0, 20.0]) * self.rng.random())
                await self._disturb(tasks)
            if self.rng.random() < 0.3:
                self._is_doomed = True  # the last thing before peace is a reload that is cut short
                self._ask_reload()
                await anyio.sleep(1.0)
                self._is_doomed = False  # it may still wait for what was removed before
            self.world.faults = False
            await self._bury(tasks)
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
        outside = Outside(
            keeper=link,
            clock=self.clock,
            bus=EventBus(_EventLog(self.world, self._listen), self.clock),
            launcher=Launcher(home=Path("/h"), log_directory=Path("/h/logs"), environ={}),
            network=self.world.check,
            secrets=_no_secrets,
            on_reload=lambda: None,
            on_run=lambda _: None,
            keep=self._apply,
            on_plan=lambda _name, _reached: None,
        )
        supervisor = Supervisor(self.fleet, outside)
        supervisor.at_once = self.rng.choice([1, 3, 32])  # these fleets are too small for several parts
        self.supervisor, self.verbs = supervisor, Verbs(supervisor)
        files = Files(
            load=self._load,
            apply=self._apply,
            tell=lambda _: None,
            down=left_down,
            launcher=outside.launcher,
            on_applied=lambda: None,
            go_over=_no_plugins,
        )
        self.reloader = Reloader(
            supervisor=supervisor, verbs=self.verbs, keeper=link, bus=outside.bus, files=files
        )
        scope = self._scope = anyio.CancelScope()
        snapshot = self.world.snapshot()
        down = left_down(self.fleet)

        async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            with scope:
                async with anyio.create_task_group() as own:
                    self._own = own
                    await supervisor.run(snapshot, down=down, task_status=task_status)
                    own.cancel_scope.cancel()

        await tasks.start(run)
        link.on_end = partial(tasks.start_soon, self._see_losses, link)
        link.on_end()  # of what has ended while there was none, it is told now

    def _listen(self, event: Event) -> None:
        """Hear of everything that the engine tells; for schedules that hold more."""

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

    async def _bury(self, tasks: anyio.abc.TaskGroup) -> bool:
        """Let a daemon that is stuck die; returns whether one was."""
        if self._link is None or not self._link.is_stuck:
            return False
        await self._kill_daemon(tasks)
        return True

    async def _disturb(self, tasks: anyio.abc.TaskGroup) -> None:
        if await self._bury(tasks):
            return
        assert self.verbs is not None
        assert self.supervisor is not None
        states = {service.state for service in self.supervisor.services.values()}
        if State.UNHEALTHY in states and self.rng.random() < 0.3:
            await self._kill_daemon(tasks)  # what the next daemon makes of that is seen at no other time
            return
        followed = [name for name in self.fleet.services if self.world.has_successor(name)]
        founded = [name for name in followed if self.world.is_foundation(name)]
        if followed and self.rng.random() < (0.5 if founded else 0.2):
            self._flash(self.rng.sample(founded or followed, self.rng.randint(1, len(founded or followed))))
            if self.rng.random() < 0.3:
                await self._kill_daemon_soon(tasks)
            return
        verbs, names = self.verbs, list(self.fleet.services)
        some = self.rng.sample(names, self.rng.randint(1, len(names)))
        both = self.rng.random() < 0.5
        actions: list[Callable[[], object]] = [
            lambda: verbs.start(some, "by hand"),
            lambda: verbs.stop(some, "by hand", with_dependents=both),
            lambda: verbs.restart(some, "by hand", with_dependents=both),
            lambda: verbs.run([n for n in some if self._is_planned(n)], "by hand", planned=self.clock.wall()),
            lambda: self._demand(verbs, some),
            lambda: self._demand(verbs, some[:1]),
            lambda: self._release(verbs, some[:1]),
            lambda: self._crash(some[0]),
            self._ask_reload,
            self._ask_reload,
        ]
        if self.rng.random() < 0.15:
            cross = partial(self._cross, verbs, some)
            actions = [cross, cross, cross, self._crash_together] * 4
        choice = self.rng.randint(0, len(actions) + 1)
        if choice >= len(actions):
            await self._kill_daemon(tasks)
            return
        self.world.say(f"operator {choice} {some} with_dependents={both}")
        for name in names:
            self.world.interventions.setdefault(name, []).append(anyio.current_time())
        actions[choice]()
        if self.rng.random() < 0.2:
            await self._kill_daemon_soon(tasks)

    async def _kill_daemon_soon(self, tasks: anyio.abc.TaskGroup) -> None:
        """The daemon dies in the midst of what it makes of the last news, or before it has heard of them."""
        for _ in range(self.rng.randint(0, 8)):
            await anyio.lowlevel.checkpoint()
        await self._kill_daemon(tasks)
        if self.rng.random() < 0.4:
            self._crash_together()  # while the next one takes over what it found before

    def _demand(self, verbs: Verbs, names: list[str]) -> None:
        """Somebody needs services who does not decide about them; a stop by hand stays what it is."""
        assert self.supervisor is not None
        self.supervisor.decide()
        before = {name: one for name, one in self.supervisor.services.items() if one.desired is Desired.DOWN}
        try:
            verbs.start(names, "on demand", on_demand=True)
        except ConflictError as error:
            self.world.say(f"refused: {error.message}")
        self.supervisor.decide()
        for name, was in before.items():
            is_up = self.supervisor.services[name].desired is Desired.UP
            if is_up and was.down_reason is not DownReason.DEMAND:
                raise Violation(f"{name} ({was.reason}) was started on demand")

    def _release(self, verbs: Verbs, names: list[str]) -> None:
        """Nobody needs a service any more; it rests where nothing depends on it."""
        try:
            verbs.stop_idle(names, "idle")
        except ConflictError as error:
            self.world.say(f"refused: {error.message}")

    def _crash_together(self) -> None:
        """All that run die in one moment, foundations first: nothing may follow on top of what is gone."""
        for name in self.fleet.services:
            self._crash(name)

    def _cross(self, verbs: Verbs, names: list[str]) -> None:
        """Somebody stops services at the moment of their crash: the order meets what follows by itself."""
        followed = [name for name in self.fleet.services if self.world.has_successor(name)]
        names = followed or names
        verbs.stop(names, "by hand", with_dependents=False)
        for name in names:
            self._crash(name)

    def _flash(self, names: list[str]) -> None:
        """What others depend on crashes, and is back before anybody could see that it was away."""
        self.world.say(f"flash {names}")
        for name in names:
            self.world.interventions.setdefault(name, []).append(anyio.current_time())
            self.world.flash(name)

    def _is_planned(self, name: str) -> bool:
        return self.world.specs[name].schedule is not None

    # Reloads: they are the daemon's own tasks, and die with it wherever they are.

    def _ask_reload(self) -> None:
        assert self._own is not None
        assert self.reloader is not None
        reloader = self.reloader
        for _ in range(self.rng.choice([1, 1, 2])):  # two at once, now and then
            self._own.start_soon(self._reload, reloader)

    async def _reload(self, reloader: Reloader) -> None:
        plan = ""
        if self.rng.random() < 0.3:
            with suppress(ConfigError):
                plan = (await reloader.plan()).summary
        self.world.say(f"reload; plan: {plan!r}")
        with suppress(ConfigError, ConflictError):
            await reloader.reload("schedule")

    async def _load(self, _paths: tuple[Path, ...], _live: Mapping[str, GroupSpec]) -> LoadResult:
        is_bad, fleet = self.rng.random() < 0.2, draw_change(self.rng, self.fleet)
        await anyio.sleep(self.rng.choice([0.0, 0.003, 0.3]))
        if is_bad:
            raise ConfigError("orchestra.json:7: no such key", path="orchestra.json", line=7)
        return LoadResult(fleet, (), Sources())

    def _apply(self, fleet: Fleet) -> None:
        for name in fleet.services.keys() | self.fleet.services.keys():
            self.world.interventions.setdefault(name, []).append(anyio.current_time())
        self.fleet = fleet
        self.world.reconfigure(fleet)
        if self._link is not None and (self._is_doomed or (self.world.faults and self.rng.random() < 0.3)):
            self._is_doomed = False
            self.world.say("the daemon sends no more")
            self._link.is_stuck = True  # it dies before all that follows has left, at the next disturbance

    def _crash(self, name: str) -> None:
        record = self.world.live(name)
        if record is not None:
            self.world.end(record, None, "SIGKILL")

    async def _settle(self, tasks: anyio.abc.TaskGroup) -> None:
        """Without faults the fleet comes to rest, stays there, and a new daemon sees the same."""
        assert self.world.link is not None
        self.world.link.send(Pinged(_PING))
        await anyio.sleep(PEACE)
        began, planned = anyio.current_time(), Counter[str]()
        for name, starts in self.world.spawns.items():
            planned[name] -= len(starts)
        assert self.supervisor is not None
        self._check_applied()
        self._check_standing()
        if self.world.pong != _PING:
            raise Violation("a ping was not answered")
        for name, service in self.supervisor.services.items():
            self._check_rest(name, service.state, service.desired)
            self._check_demand(name)
        self._check_losses()
        orders = self.world.orders.copy()
        view = self._view()
        await anyio.sleep(PEACE / 3)
        if self.world.orders != orders:
            raise Violation(f"orders although nothing happened: {self.world.orders - orders}")
        await self._kill_daemon(tasks)
        await anyio.sleep(5.0)
        self._check_standing()
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

    def _check_applied(self) -> None:
        """What runs is what was last applied, whoever died on the way."""
        assert self.supervisor is not None
        services = self.supervisor.services
        if {name: service.spec for name, service in services.items()} != self.fleet.services:
            raise Violation(f"{sorted(services)} run, {sorted(self.fleet.services)} are configured")
        for name, service in services.items():
            if service.run is not None and service.run.digest != run_digest(service.spec):
                raise Violation(f"{name} still runs as it was configured before")
            kept_out = service.down_reason is DownReason.DISABLED and service.spec.enabled
            if kept_out or service.down_reason is DownReason.REMOVED:
                raise Violation(f"{name} is enabled and was not started")

    def _check_standing(self) -> None:
        """What was said of the fleet step by step is what a count of it says now."""
        assert self.supervisor is not None
        trouble = {State.FAILED, State.UNHEALTHY, State.BACKOFF}
        wanted = [
            one
            for name, one in self.supervisor.services.items()
            if one.desired is Desired.UP and (one.state in trouble or not self._is_planned(name))
        ]
        ready = sum(one.state in {State.READY, State.COMPLETED} for one in wanted)
        state, text = self.world.standing
        if not text.startswith(f"{ready} of {len(wanted)} ready"):
            raise Violation(f"{state}, {text!r} is said of a fleet with {ready} of {len(wanted)} ready")

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
        if service.is_leaving:
            raise Violation(f"{name} waits for {service.ending} after {PEACE} s of peace")
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
            if nature.healthy_after is None and service.startup_deadline is None:
                return  # it will never be healthy, and a run that was ready once is not held to the timeout
        raise Violation(f"{name} is {state} ({service.reason}) after {PEACE} s of peace, desired {desired}")

    def _check_demand(self, name: str) -> None:
        """Nobody rests whom somebody needs, and only who starts on demand rests at all."""
        assert self.supervisor is not None
        services = self.supervisor.services
        service = services[name]
        if not rests(service):
            return
        if service.spec.start_on != "demand":
            raise Violation(f"{name} starts with the fleet, and rests")
        for other in self.supervisor.core.dependents(name):
            if calls_for(services[other]):
                raise Violation(f"{name} rests, and {other} needs it")

    async def _see_losses(self, link: Link) -> None:
        """Look at them once the daemon has had its turn, which in virtual time takes none."""
        await anyio.sleep(_A_TURN)
        if self.world.link is link and not link.is_stuck:
            self._check_losses()

    def _check_losses(self) -> None:
        """Nobody goes on as if what it depends on had never been away, however quickly that was back."""
        assert self.supervisor is not None
        for service in self.supervisor.services.values():
            lost = {} if service.run is None else self.world.lost.get(service.run.id, {})
            if service.ending is not None:
                continue
            for name, wanted in lost.items():
                if wanted.on_failure == "restart" and service.refresh and service.unmet:
                    continue  # it restarts when that is back
                raise Violation(f"{service.spec.name} goes on although {name} has ended during its life")

    def _check_restarts(self) -> None:
        """By policy alone, no window holds more starts than the limit and the first one allow."""
        for name, starts in self.world.spawns.items():
            policy = self.world.specs[name].restart
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
                    for dep in self.world.needs[name]
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


async def _no_plugins(_: FleetSettings) -> None:
    """The fleets here have none."""


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
