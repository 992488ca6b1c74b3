"""The supervisor: carries out what the rules decide, and offers the verbs that control calls."""

import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import anyio
import anyio.abc

from orchestra_supervisor.engine.carrier import Carrier
from orchestra_supervisor.engine.command_probes import CheckCarrier
from orchestra_supervisor.engine.core import Core
from orchestra_supervisor.engine.last_words import LastWords
from orchestra_supervisor.engine.outside import Outside
from orchestra_supervisor.engine.phase import Phase
from orchestra_supervisor.engine.plans import PlanLedger
from orchestra_supervisor.engine.prober import Prober
from orchestra_supervisor.engine.roller import ROLL_SLOT_PREFIX, Roller
from orchestra_supervisor.engine.secret_ledger import LEDGER_PREFIX
from orchestra_supervisor.engine.sockets import hold_sockets
from orchestra_supervisor.engine.standing import Standing
from orchestra_supervisor.engine.strangers import Strangers
from orchestra_supervisor.model.equipment import HookSpec
from orchestra_supervisor.model.spec import CommandCheck, Fleet, ServiceSpec
from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.process.orders import (
    PROBE_SLOT_PREFIX,
    CommandNews,
    FleetNews,
    ListenRefused,
    LoggerNews,
    Pinged,
    ReloadAsked,
    ReplaceAsked,
    RoleNews,
    RunNews,
    ShutdownAsked,
    SlotCalled,
    SlotNews,
    Snapshot,
)
from orchestra_supervisor.rules.exit_policy import exit_of, may_end
from orchestra_supervisor.rules.fleet import steady_at, still_up, tally, unsettled
from orchestra_supervisor.rules.graph import start_order, stop_ranks
from orchestra_supervisor.rules.inputs import Boot, Called, Gone, Input, ListenFailed, Stop
from orchestra_supervisor.rules.resume import Held, forget, resume, resume_strangers
from orchestra_supervisor.rules.service import Service, from_note

__all__ = ["FLEET_SLOT", "Supervisor"]

FLEET_SLOT = "fleet:"
"""Slot of the note about the fleet as a whole; a service's name has no colon."""
_KEPT_SLOTS = (FLEET_SLOT, ROLL_SLOT_PREFIX, LEDGER_PREFIX)
"""Slots of notes that are of no service."""
_EXIT = "exit"
"""Key of that note when the fleet goes down by itself: its exit status."""
_AT_ONCE = 32  # inputs; then the keeper has what was decided, while we decide the rest, and clients are heard


class Supervisor:
    """Runs one fleet. Verbs are synchronous: they decide now, and the loop carries it out."""

    def __init__(self, fleet: Fleet, outside: Outside) -> None:
        self.fleet = fleet
        self.phase = Phase.STARTING
        self.at_once = 32
        """Inputs; then the keeper has what was decided, while we decide the rest, and clients are heard."""
        self._looked_at: set[str] = set()
        self._witness = ""
        self.taken_over = anyio.Event()
        """Set when every service is known as it stands: nobody is answered before."""
        self.rewired = anyio.Event()
        """Set when the next fleet is taken."""
        self.exit_status = 0
        self.failure = ""
        self.logger_pid: int | None = None
        self.strangers = Strangers()
        self.limits_held: frozenset[str] = frozenset()
        """Limits that control groups hold; others are watched, or not held."""
        self._out = outside
        self._keeper = outside.keeper
        self._bus = outside.bus
        self._task_group: anyio.abc.TaskGroup | None = None
        self._carrier = Carrier(
            keeper=outside.keeper,
            launcher=outside.launcher,
            secrets=outside.secrets,
            targets=outside.targets,
            take_down=outside.take_down,
            inbox=lambda: self.core,
            start=self._start_task,
        )
        self.core = Core(clock=outside.clock, bus=outside.bus, carry_out=self._carrier.carry_out)
        self.last_words = LastWords(self.core, outside.bus, outside.clock)
        self._checks = CheckCarrier(
            keeper=outside.keeper,
            launcher=outside.launcher,
            clock=outside.clock,
            network=outside.network,
            secrets=outside.secrets,
        )
        self._plans = PlanLedger(outside.on_plan)
        self._prober = Prober(clock=outside.clock, checks=self._checks.prepare, post=self.core.post)
        self.roller = Roller(
            self, keeper=outside.keeper, clock=outside.clock, bus=outside.bus, keep=outside.keep
        )
        self.standing = Standing(outside.keeper, wake=self.core.wake)

    def _start_task(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        assert self._task_group is not None, "orders are given only while running"
        self._task_group.start_soon(task)

    @property
    def services(self) -> Mapping[str, Service]:
        """The records of all services."""
        return self.core.services

    # Taking over.

    async def run(
        self,
        snapshot: Snapshot,
        *,
        down: Mapping[str, DownReason],
        reached: Mapping[str, float] | None = None,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> Phase:
        """Take over what the keeper holds and run the fleet until it is down or replaced.

        Args:
            snapshot: What the keeper holds.
            down: Services that a fresh start leaves down, and why.
            reached: How far earlier fleets came with the schedules of services, as `on_plan` was told.
            task_status: Told when the first orders have been decided.

        Returns:
            The last phase: `down` (the keeper has been told to quit) or `replaced`.

        Raises:
            KeeperLost: The keeper is gone.
        """
        async with anyio.create_task_group() as task_group:
            self._task_group = task_group
            self._plans.begin(reached or {}, self.fleet.services)
            self._take_over(snapshot, down)
            task_group.start_soon(self._listen)
            task_status.started()
            await self._loop()
            task_group.cancel_scope.cancel()
        return self.phase

    def _take_over(self, snapshot: Snapshot, down: Mapping[str, DownReason]) -> None:
        self.logger_pid = snapshot.logger_pid
        self.fleet = self.roller.take_over(self.fleet, snapshot.notes)
        self._carrier.ranks = stop_ranks(self.fleet.services)
        self.limits_held = frozenset(snapshot.groups.limits)
        held: dict[str, list[Held]] = {}
        for record in snapshot.runs:
            held.setdefault(record.slot, []).append(Held(record.run, record.stopping, record.told))
            self._carrier.succession.holds(record.run, record.key)
            if record.slot.startswith(PROBE_SLOT_PREFIX) and Gone(record.run) not in record.told:
                self._checks.expect_end(record.run)
        slots = {slot: tuple(records) for slot, records in held.items()}
        inputs: list[tuple[str, Input]] = []
        for name in start_order(self.fleet.services):
            spec = self.fleet.services[name]
            note, rest = snapshot.notes.get(name), down.get(name, DownReason.NONE)
            resumed = resume(spec, note, slots.get(name, ()), self.core.moment(name), rest)
            if resumed is None:
                self.core.put(Service(spec))
                self._carrier.order(*forget(slots.get(name, ())))  # over, and of a note that says nothing
                inputs.append((name, Boot(rest, self._plans.reached(name))))
                continue
            self.core.put(resumed.service)
            if noted := from_note(spec, note):
                self._carrier.holds(noted)
            self._carrier.leave_note(resumed.service)  # another one, where a spawn order left no trace
            self._carrier.carry_out(resumed.service, resumed.effects)
            inputs.extend((name, event) for event in resumed.inputs)
            self.core.watch_deadline(name)
        for slot in snapshot.notes:
            if slot not in self.fleet.services and not slot.startswith(_KEPT_SLOTS):
                self._keeper.note(slot, None)  # of a service that is no longer configured
        effects = resume_strangers(self.fleet.services, slots)
        self.strangers.expect(effects)
        self._carrier.order(*effects)
        hold_sockets(self.core, self._keeper, snapshot.sockets)
        self.core.rewire(self.fleet.services)
        self.standing.begin(self.core.services, is_wanted=snapshot.manager)
        for name, event in inputs:
            self.core.take_up(name, event)
        if snapshot.notes.get(FLEET_SLOT) == Phase.RUNNING:
            self.phase = Phase.RUNNING
        elif isinstance(note := snapshot.notes.get(FLEET_SLOT), dict):
            self.exit_status = int(note.get(_EXIT, 1))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]  # our own note
        if snapshot.shutdown:
            self.shutdown("the fleet was going down when the last daemon ended")

    async def _loop(self) -> None:
        while True:
            self.decide(self.at_once)
            is_over = self.phase in {Phase.DOWN, Phase.REPLACED}
            if is_over:
                self._checks.abandon()
            await self._keeper.flush()
            if not self.core.is_behind and not self.taken_over.is_set():
                await self._out.written()  # what clients are shown is on record, whatever becomes of us
                self.taken_over.set()
            if is_over:
                return
            await self.core.wait()

    def decide(self, most: float = math.inf) -> None:
        """Apply all that is in the inbox now, or so much of it, and order what follows; the loop sends it."""
        assert self._task_group is not None, "decisions are made only while running"
        drained = self.core.drain(most)
        self._looked_at |= drained
        for name in drained:
            service = self.core.services.get(name)
            if service is not None:
                self._prober.reconcile(service, self._task_group)
                self._carrier.keep_up(service)
                self._plans.look(service)
        if self.core.is_behind:
            return  # a fleet of which a part was not looked at yet may only seem to be at rest
        touched, self._looked_at = self._looked_at, set()
        self._watch_phase(touched)
        self.standing.update(touched, self.phase, self.fleet.settings, self.failure)
        if touched:
            self.core.wake()
        if self.phase in {Phase.STARTING, Phase.RUNNING} and self.roller.advance():
            self.decide()

    async def commit(self) -> None:
        """Decide, and let the keeper have what follows: what has been answered for outlives this daemon.

        Raises:
            KeeperLost: The connection ended.
        """
        self.decide()
        await self._keeper.flush()

    async def _listen(self) -> None:
        async for news in self._keeper.news():
            if not isinstance(news, RunNews):
                if isinstance(news, SlotCalled | ListenRefused | CommandNews):
                    self._slot_news(news)
                else:
                    self._fleet_news(news)
                continue
            if news.slot.startswith(PROBE_SLOT_PREFIX):
                self._checks.deliver(news.input.run, news.input)
                self.core.wake()
                continue
            self._out.on_run(news)
            if news.slot in self.core.services:
                self.core.post_news(news.slot, news.input)
            elif isinstance(news.input, Gone):
                self._carrier.order(*self.strangers.is_gone(news.input))
                self.core.wake()

    def _slot_news(self, news: SlotNews) -> None:
        match news:
            case SlotCalled(slot, name):
                self.core.post_news(slot, Called(name))
            case ListenRefused(slot, message):
                self.core.post_news(slot, ListenFailed(message))
            case CommandNews(slot, run, command, text):
                words = f"{command} command: {text}"
                self._bus.publish(
                    "service.command_failed", words, service=slot, run=run, data={"command": command}
                )

    def _fleet_news(self, news: FleetNews) -> None:
        match news:
            case ShutdownAsked(hurry=False):
                self.shutdown("a signal asked for it")
            case ShutdownAsked():
                self._bus.publish("daemon.stopping", "hurrying: every wait is cut to a second")
            case ReloadAsked():
                self._out.on_reload()
            case Pinged(number):
                self.standing.answer(number)
            case ReplaceAsked():
                self.phase = Phase.REPLACED
                self.core.wake()
            case RoleNews(role, event, pid, text):
                if role == "logger":
                    self.logger_pid = pid if event == "started" else None
                self._bus.publish(
                    f"role.{event}",
                    f"{role} {event}: {text}" if text else f"{role} {event}",
                    data={"role": role, "pid": pid},
                )
            case LoggerNews(kind, path, data):
                self._bus.publish(f"log.{kind}", f"{path}: {kind}", data={"path": path, **data})

    async def run_beside(self, spec: ServiceSpec, name: str, hook: HookSpec) -> ProbeOutcome:
        """Run a command of a service beside it, as a probe's command is run; a bad end is a value."""
        return await self._checks.command(spec, name, CommandCheck(argv=hook.argv), hook.timeout)

    # The fleet as a whole.

    def shutdown(self, why: str) -> None:
        """Stop every service, dependents first; when all are down the keeper is told to quit."""
        if self.phase in {Phase.STOPPING, Phase.DOWN}:
            return
        self.phase, self._witness = Phase.STOPPING, ""
        self._keeper.shutdown()
        self.roller.abandon()
        self._bus.publish("daemon.stopping", f"the fleet goes down: {why}")
        services, waits = self.core.services, self.last_words.begin()
        for name in sorted(services, key=lambda name: -self._carrier.ranks.get(name, 0)):
            after = (*self.core.dependents(name), *waits.get(name, ()))
            self.core.post(name, Stop(DownReason.SHUTDOWN, "the fleet goes down", after))
        self.core.wake()

    def rewire(self, fleet: Fleet) -> None:
        """Take another fleet's graph; the services have been put and dropped already."""
        self.fleet = fleet
        self._carrier.ranks = stop_ranks(fleet.services)
        self.core.rewire(fleet.services)
        self.core.wake()
        rewired, self.rewired = self.rewired, anyio.Event()
        rewired.set()

    def forget(self, name: str) -> None:
        """Let go of a service that is down and no longer configured."""
        self.core.drop(name)
        self._prober.forget(name)
        self._carrier.forget(name)
        self._plans.forget(name)
        self.standing.forget(name)
        self._bus.publish("service.removed", "no longer configured", service=name)

    def _watch_phase(self, touched: set[str]) -> None:
        services = self.core.services
        if self.phase in {Phase.STARTING, Phase.RUNNING} and self._has_ended(touched):
            return
        if self.phase is Phase.STARTING:
            now = self._out.clock.mono()
            if self._is_pending(lambda: unsettled(services, now)):
                self._wait_steady(services.get(self._witness))
                return
            self.phase = Phase.RUNNING
            self._keeper.note(FLEET_SLOT, Phase.RUNNING)
            ready, count = tally(services)
            data: dict[str, object] = {"ready": ready, "services": count}
            self._bus.publish("fleet.ready", f"{ready} of {count} services are ready", data=data)
            self._has_ended(set(services))
        elif self.phase is Phase.STOPPING:
            self.last_words.watch()
            if self._is_pending(lambda: still_up(services)):
                return
            self.phase = Phase.DOWN
            self._bus.publish("fleet.stopped", "every service is down")
            self._keeper.quit(self.exit_status)

    def _wait_steady(self, witness: Service | None) -> None:
        """Look again when the service that keeps the fleet from counting as started has lived long enough."""
        steady = steady_at(witness) if witness is not None and witness.state is State.READY else None
        if steady is not None:
            self.core.wake_at(steady)

    def _has_ended(self, touched: set[str]) -> bool:
        """End the fleet where its services or its settings want it."""
        policy, is_starting = self.fleet.settings.exit_when, self.phase is Phase.STARTING
        suspects = (self.core.services[name] for name in touched if name in self.core.services)
        if not any(may_end(policy, one, is_starting=is_starting) for one in suspects):
            return False
        found = exit_of(policy, self.core.services, is_starting=is_starting)
        if found is None:
            return False
        if found.is_failure:
            self.failure = found.why
            self._bus.publish("fleet.failed", found.why)
        self.exit_status = found.status
        self._keeper.note(FLEET_SLOT, {_EXIT: found.status})
        self._out.on_exit(found)
        self.shutdown(found.why)
        return True

    def _is_pending(self, find: Callable[[], list[str]]) -> bool:
        """Return whether any service is on the list that `find` makes.

        The list is long to make and asked for after every change, so one member is remembered and
        the list made again only when that one is through.
        """
        witness = self.core.services.get(self._witness)
        if witness is not None and self._witness_holds(witness):
            return True
        found = find()
        self._witness = found[0] if found else ""
        return bool(found)

    def _witness_holds(self, witness: Service) -> bool:
        if self.phase is Phase.STOPPING:
            return witness.run is not None
        return witness.run is not None and witness.state in {State.STARTING, State.RUNNING}
