"""The heart of the engine: one inbox, one owner of every service's record.

All services share one inbox and one task (ADR-0003): inputs are applied in order, then what they
mean for dependents, and the orders that come of it leave together. So what is decided depends on
the order of inputs alone, which the simulation replays.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Mapping

import anyio

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.ports import Clock
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.rules.demand import calls_for, rests
from orchestra_supervisor.rules.graph import dependents_of, unmet_of
from orchestra_supervisor.rules.inputs import (
    Dependencies,
    Due,
    Effect,
    Emit,
    Exited,
    Gone,
    Input,
    Notified,
    Proceed,
    Spawn,
    Spawned,
    SpawnRefused,
    Start,
    Took,
)
from orchestra_supervisor.rules.lifecycle import step
from orchestra_supervisor.rules.listening import is_given_up
from orchestra_supervisor.rules.records import replace
from orchestra_supervisor.rules.service import Moment, Service

__all__ = ["Core"]


class Core:
    """Applies inputs to services and keeps what follows from one service to another.

    Args:
        clock: Time and fresh run ids.
        bus: Where events go.
        carry_out: Takes (service after the step, effects of the step other than Emit).
    """

    def __init__(
        self,
        *,
        clock: Clock,
        bus: EventBus,
        carry_out: Callable[[Service, tuple[Effect, ...]], None],
    ) -> None:
        self._clock = clock
        self._bus = bus
        self._carry_out = carry_out
        self._services: dict[str, Service] = {}
        self._dependents: dict[str, tuple[str, ...]] = {}
        self._inbox: deque[tuple[str, Input]] = deque()
        self._news: deque[tuple[str, Input]] = deque()
        self._ends: deque[tuple[str, Input]] = deque()
        """What may be followed by another run. It comes after all other news: of two things told together,
        that a dependency has ended is known before anybody starts on top of it. A service's own order is
        kept, for nothing more is told of a run after its end, and its next one has yet to be ordered. The
        end of one that the keeper has let follow is news like all others: nothing is to be decided."""
        self._wake = anyio.Event()
        self._changed = anyio.Event()
        self._due: list[tuple[float, str]] = []
        self._alarm = math.inf
        self._touched: set[str] = set()
        self._told: dict[str, tuple[tuple[str, str], ...]] = {}
        self._awaited: dict[str, set[str]] = {}
        """By service: those that stop once it is down."""
        self._held: set[str] = set()
        """What is waited for as for services that are up, and is none."""
        self._unsure: deque[str] = deque()
        """Services whose dependencies changed. They are looked at when the inbox is empty, so that nobody
        starts on top of a service whose end is already known; and never recursively, for a chain of a
        thousand dependents is a legal fleet."""

    @property
    def services(self) -> Mapping[str, Service]:
        """The records of all services, as they stand."""
        return self._services

    def dependents(self, name: str) -> tuple[str, ...]:
        """Return the services that name this one in depends_on."""
        return self._dependents.get(name, ())

    def moment(self, name: str) -> Moment:
        """Return now, with a fresh run id for a service."""
        return Moment(self._clock.mono(), self._clock.wall(), f"{name}-{self._clock.run_digits()}")

    # Who is there.

    def put(self, service: Service) -> None:
        """Add a service, or replace its record. `rewire` must follow."""
        self._services[service.spec.name] = service
        self._await_others(service)
        self._touched.add(service.spec.name)

    def drop(self, name: str) -> None:
        """Remove a service that has no run left. `rewire` must follow."""
        assert self._services[name].run is None, "a run would be left that nobody accounts for"
        del self._services[name]
        self._told.pop(name, None)
        self._awaited.pop(name, None)

    def rewire(self, specs: Mapping[str, ServiceSpec]) -> None:
        """Work out anew who depends on whom, and tell each service what is unmet."""
        self._dependents = dependents_of(specs)
        self._unsure.extend(self._services)

    def touch(self, name: str) -> None:
        """Let those who wait for a change look at a service again, at the next `drain`."""
        if name in self._services:
            self._touched.add(name)

    def hold(self, what: str) -> None:
        """Let who waits for this name to be down wait until `let_go`, though it is no service."""
        self._held.add(what)

    def let_go(self, what: str) -> None:
        """Let those go on who waited for it. Nothing happens where it is not held."""
        if what in self._held:
            self._held.discard(what)
            self._unsure.extend(self._awaited.pop(what, ()))
            self._wake.set()

    # Inputs.

    def post(self, name: str, event: Input) -> None:
        """Put an input into the inbox; it is applied by the next `drain`."""
        self._inbox.append((name, event))
        self._wake.set()

    def post_news(self, name: str, event: Input) -> None:
        """Put what the keeper says before everything that is still to be decided."""
        is_end = isinstance(event, SpawnRefused) or (isinstance(event, Gone) and not event.next)
        (self._ends if is_end else self._news).append((name, event))
        self._wake.set()

    def take_up(self, name: str, event: Input) -> None:
        """Put what a new daemon finds: what has happened already, or what is to be decided of it.

        What has happened is news, older than all that the keeper tells from now on: a fleet is taken over a
        part at a time, and a run's end must not be known before its beginning.
        """
        put = self.post_news if isinstance(event, Spawned | Notified | Exited | Gone) else self.post
        put(name, event)

    def wake(self) -> None:
        """Let the loop go round once."""
        self._wake.set()

    @property
    def is_behind(self) -> bool:
        """Return whether something is still to be applied."""
        return bool(self._news or self._ends or self._inbox or self._unsure)

    def drain(self, most: float = math.inf) -> set[str]:
        """Apply everything in the inbox, or so much of it, and return the names of the services touched."""
        while self.is_behind and most > 0:
            most -= 1
            if queue := self._news or self._ends or self._inbox:
                name, event = queue.popleft()
                self._apply(name, event)
            else:
                self._settle_dependencies(self._unsure.popleft())
        touched, self._touched = self._touched, set()
        if self.is_behind:
            self._wake.set()
        if touched:
            changed, self._changed = self._changed, anyio.Event()
            changed.set()
        return touched

    def _apply(self, name: str, event: Input) -> None:
        before = self._services.get(name)
        if before is None:
            return
        now = self.moment(name)
        unmet = unmet_of(before.spec, self._services)
        current = before if unmet == before.unmet else replace(before, unmet=unmet)
        result = step(current, event, now)
        after = result.service
        self._services[name] = after
        if after is before and not result.effects:
            return
        self._touched.add(name)
        if after.ending is not before.ending:
            self._await_others(after)
        self._publish(before, after, result.effects)
        self._carry_out(after, tuple(effect for effect in result.effects if not isinstance(effect, Emit)))
        if after.deadline is not None and after.deadline != before.deadline:
            heapq.heappush(self._due, (after.deadline, name))
        self._tell_others(before, after)
        self._call_for(after)

    def _call_for(self, service: Service) -> None:
        """Start what a service depends on and what rests until somebody asks for it."""
        if not service.unmet or not calls_for(service):
            return
        for name, _ in service.unmet:
            other = self._services.get(name)
            if other is not None and rests(other):
                self._inbox.append((name, Start(f"{service.spec.name} needs it")))

    def _publish(self, before: Service, after: Service, effects: tuple[Effect, ...]) -> None:
        name = after.spec.name
        run = after.run or before.run
        run_id = run.id if run else ""
        for effect in effects:
            if isinstance(effect, Emit):
                self._bus.publish(
                    effect.kind, effect.message, service=name, run=run_id, data=dict(effect.data)
                )
        started_anew = any(isinstance(effect, Spawn | Took) for effect in effects)
        if after.state is not before.state or started_anew:
            data: dict[str, object] = {"from": before.state.value, "restarts": after.restarts}
            data["tries"] = after.failed_starts if after.spec.start is not None else after.attempts
            if after.run and after.run.pid:
                data["pid"] = after.run.pid
            if after.is_idle:
                data["idle"] = True
            if after.state is State.FAILED:
                data["given_up"] = is_given_up(after)
            words = after.reason
            if after.state is State.BACKOFF and after.next_start is not None:
                data["next_start_in"] = delay = round(after.next_start - self._clock.mono(), 3)
                words = f"{words}; next start in {delay:.1f} s"
            self._bus.publish(f"service.{after.state}", words, service=name, run=run_id, data=data)

    def _tell_others(self, before: Service, after: Service) -> None:
        """Let dependents know what changed for them, and who waited for this one to be down."""
        self._unsure.extend(self.dependents(after.spec.name))
        if after.run is not None and after.run.leader_ended and not (before.run and before.run.leader_ended):
            # Told now: what follows may be known in the same breath, and nobody would see that it was away.
            # Who does not run has lost nothing, and would begin before all news are known.
            for name in self.dependents(after.spec.name):
                above = self._services.get(name)
                if above is not None and above.run is not None:
                    self._settle_dependencies(name)
        if after.is_leaving:
            self._unsure.append(after.spec.name)
        if before.run is not None and after.run is not None and before.run.id != after.run.id:
            self._touched.update(self.dependents(after.spec.name))  # they may be told which run they need
        if before.run is not None and after.run is None:
            self._unsure.extend(after.spec.depends_on)
            self._unsure.extend(self._awaited.pop(after.spec.name, ()))
        elif before.run is not None and after.run is not None and before.run.id != after.run.id:
            self._unsure.extend(self._awaited.get(after.spec.name, ()))  # it may need nobody's end any more

    def _await_others(self, service: Service) -> None:
        for other in service.ending.after if service.ending is not None else ():
            self._awaited.setdefault(other, set()).add(service.spec.name)

    def _settle_dependencies(self, name: str) -> None:
        service = self._services.get(name)
        if service is None:
            return
        after = service.ending.after if service.ending is not None else ()
        if after and not any(self._is_before(other, name) for other in after):
            self._apply(name, Proceed())
            service = self._services[name]
        unmet = unmet_of(service.spec, self._services)
        is_other = unmet != self._told.get(name, ()) or unmet != service.unmet  # seen with another input
        if is_other or (not unmet and service.refresh and service.ending is None):
            self._told[name] = unmet
            self._apply(name, Dependencies(unmet))
        elif unmet:
            self._call_for(service)  # of those that it has been told of, one may rest by now

    def _is_before(self, other: str, name: str) -> bool:
        """Return whether another service has to be down before this one is stopped.

        One that runs, is not being ended and does not depend on it is none of those that were to go first any
        more: a reload has let it begin again.
        """
        service = self._services.get(other)
        if service is None:
            return other in self._held
        return service.run is not None and (service.ending is not None or name in service.spec.depends_on)

    # Time.

    async def wait(self) -> None:
        """Wait for an input or for the next deadline, and post what has become due."""
        deadline = min(self._next_deadline(), self._alarm)
        if not (self._news or self._ends or self._inbox):
            with anyio.CancelScope(deadline=deadline):
                await self._wake.wait()
        if self._wake.is_set():
            self._wake = anyio.Event()
        now = self._clock.mono()
        if self._alarm <= now:
            self._alarm = math.inf
        while self._due and self._due[0][0] <= now:
            at, name = heapq.heappop(self._due)
            service = self._services.get(name)
            if service is not None and service.deadline == at:
                self._inbox.append((name, Due()))

    def wake_at(self, instant: float) -> None:
        """Let the loop go round once at an instant, or at an earlier one asked for before."""
        self._alarm = min(self._alarm, instant)

    def watch_deadline(self, name: str) -> None:
        """Take up the deadline of a service whose record was put, not stepped."""
        deadline = self._services[name].deadline
        if deadline is not None:
            heapq.heappush(self._due, (deadline, name))

    def _next_deadline(self) -> float:
        while self._due:
            at, name = self._due[0]
            service = self._services.get(name)
            if service is not None and service.deadline == at:
                return at
            heapq.heappop(self._due)
        return math.inf

    async def wait_changed(self) -> None:
        """Wait until any service has changed."""
        await self._changed.wait()
