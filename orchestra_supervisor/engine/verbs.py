"""What can be asked of a running fleet: start, stop, restart, wait, reload.

Each verb works out whom it concerns and posts the inputs in an order in which nobody slips in
between; the lifecycle does the rest, so that a verb outlives the daemon that took it.
"""

from collections.abc import Iterable, Mapping

from orchestra_supervisor.engine.phase import Phase
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.rules.demand import callers, refusal
from orchestra_supervisor.rules.graph import above, below, stop_ranks
from orchestra_supervisor.rules.inputs import Boot, Hung, Input, Respec, Restart, RunNow, Start, Stop
from orchestra_supervisor.rules.moves import begin_after
from orchestra_supervisor.rules.reload import Action, ReloadPlan, ServiceChange, plan_reload
from orchestra_supervisor.rules.service import Service
from orchestra_supervisor.rules.updates import staged

__all__ = ["Verbs"]


class Verbs:
    """The verbs of one supervisor. All but the waits are synchronous and cannot be interrupted."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._core = supervisor.core

    def _by_rank(self, names: Iterable[str]) -> list[str]:
        specs = self._supervisor.fleet.services
        ranks = stop_ranks(specs)
        return sorted(
            names, key=lambda name: (ranks.get(name, 0), specs[name].priority if name in specs else 0, name)
        )

    def check_open(self) -> None:
        """Raise when the fleet takes no more orders.

        Raises:
            ConflictError: It is going down.
        """
        if self._supervisor.phase in {Phase.STOPPING, Phase.DOWN}:
            raise ConflictError("the fleet is going down", hint="wait for it, then run `orchestra up`")

    def start(self, names: Iterable[str], why: str, *, on_demand: bool = False) -> list[str]:
        """Start services, and those of their dependencies that are down or failed.

        Args:
            names: Services.
            why: For people.
            on_demand: Somebody needs them who does not decide about them: what was stopped by hand stays
                so, and what is on its way is left alone.

        Returns:
            Everyone concerned, dependencies first.

        Raises:
            ConflictError: On demand: one of them must not be started so; none is.
        """
        self.check_open()
        if on_demand:
            self._supervisor.decide()  # what was asked for before is seen
        wanted = set(names)
        concerned = [
            name
            for name in self._by_rank(below(wanted, self._supervisor.fleet.services))
            if name in wanted or self._is_down(self._core.services[name])
        ]
        for name in concerned if on_demand else ():
            if text := refusal(self._core.services[name]):
                raise ConflictError(f"{name} {text}", hint=f"orchestra start {name}", service=name)
        for name in concerned:
            if not on_demand or self._core.services[name].desired is Desired.DOWN:
                self._core.post(name, Start(why))
        return concerned

    @staticmethod
    def _is_down(service: Service) -> bool:
        return service.desired is Desired.DOWN or service.state is State.FAILED

    def run(self, names: Iterable[str], why: str, *, planned: float) -> list[str]:
        """Run services to their end now: a periodic one beside its schedule, any other as `start` does.

        Args:
            names: Services.
            why: For people.
            planned: Wall instant at which they are asked to.

        Returns:
            Everyone concerned, dependencies first.
        """
        wanted = set(names)
        specs = self._supervisor.fleet.services
        periodic = {name for name in wanted if specs[name].schedule is not None}
        concerned = self.start(wanted - periodic, why)
        for name in self._by_rank(periodic):
            self._core.post(name, RunNow(planned, why))
        return [*concerned, *self._by_rank(periodic)]

    def stop(self, names: Iterable[str], why: str, *, with_dependents: bool) -> list[str]:
        """Stop services; with their dependents, those come first.

        Returns:
            Everyone concerned, dependents first.
        """
        self.check_open()
        wanted = set(names)
        concerned = above(wanted, self._supervisor.fleet.services) if with_dependents else wanted
        ordered = self._by_rank(concerned)[::-1]
        for name in ordered:
            after = self._before(name, concerned) if with_dependents else ()
            self._core.post(name, Stop(DownReason.OPERATOR, why, after))
        return ordered

    def stop_idle(self, names: Iterable[str], why: str) -> list[str]:
        """Let services that nobody needs rest until somebody asks for them again; who is down stays as it is.

        Returns:
            The services.

        Raises:
            ConflictError: One of them does not start on demand, or somebody depends on it; none is stopped.
        """
        self.check_open()
        self._supervisor.decide()  # what was asked for before is seen
        ordered, services = self._by_rank(set(names))[::-1], self._core.services
        for name in ordered:
            if services[name].spec.start_on != "demand":
                hint = f"orchestra stop {name}"
                raise ConflictError(f"{name} does not start on demand", hint=hint, service=name)
            needed_by = callers(name, set(self._core.dependents(name)) - set(ordered), services)
            if needed_by:
                text = f"{name} is needed by {', '.join(needed_by)}"
                raise ConflictError(text, hint="stop those first", service=name)
        for name in ordered:
            if services[name].desired is Desired.UP:
                self._core.post(name, Stop(DownReason.DEMAND, why, self._before(name, set(ordered))))
        return ordered

    def restart(self, names: Iterable[str], why: str, *, with_dependents: bool) -> list[str]:
        """Restart services; dependents stop before them and start after them.

        Dependents that are down stay down.

        Returns:
            Everyone concerned, dependencies first.
        """
        self.check_open()
        wanted = set(names)
        concerned = wanted
        if with_dependents:
            others = above(wanted, self._supervisor.fleet.services) - wanted
            concerned = wanted | {name for name in others if self._core.services[name].desired is Desired.UP}
        ordered = self._by_rank(concerned)
        for name in ordered:
            self._core.post(name, Restart(why, self._before(name, concerned)))
        return ordered

    def end_hung(self, names: Iterable[str], why: str) -> list[str]:
        """End the present runs of services that do not answer; their restart policies say what follows.

        Returns:
            Those that had a run.
        """
        self.check_open()
        self._supervisor.decide()  # what was asked for before is seen
        runs = {name: run.id for name in names if (run := self._core.services[name].run) is not None}
        for name, run in runs.items():
            self._core.post(name, Hung(run, why))
        return list(runs)

    def roll(self, names: Iterable[str], why: str, batch: int) -> list[str]:
        """Restart services, those of one name one after the other, `batch` at a time at most.

        Returns:
            The names that are rolled.

        Raises:
            ConflictError: One of them is being rolled already.
        """
        self.check_open()
        return self._supervisor.roller.begin(self._by_number(names), why, batch)

    def _by_number(self, names: Iterable[str]) -> list[str]:
        order = {name: index for index, name in enumerate(self._supervisor.fleet.services)}
        return sorted(names, key=lambda name: order.get(name, len(order)))

    def _before(self, name: str, concerned: set[str]) -> tuple[str, ...]:
        """Return the dependents among those concerned, which must be down before this one stops."""
        return tuple(other for other in self._core.dependents(name) if other in concerned)

    def stage(self, fleet: Fleet) -> Fleet:
        """Return a fleet as a reload goes over to it: what is updated one after the other is held back.

        Args:
            fleet: As the files have it.
        """
        self._supervisor.decide()  # what was asked for before is seen
        return staged(self._supervisor.fleet, fleet, self._core.services)

    def plan(self, fleet: Fleet, down: Mapping[str, DownReason]) -> ReloadPlan:
        """Return what going over to another fleet would do now.

        Args:
            fleet: As `stage` returned it, in this same moment.
            down: Services that a fresh start would leave down, and why.
        """
        return plan_reload(self._supervisor.fleet, fleet, self._core.services, down)

    def reload(self, fleet: Fleet, down: Mapping[str, DownReason]) -> ReloadPlan:
        """Go over to another fleet: only what changed restarts, what can change live changes live.

        Args:
            fleet: As `stage` returned it, in this same moment.
            down: Services that a fresh start would leave down, and why.

        Raises:
            ConflictError: The fleet is going down.
        """
        self.check_open()
        plan = self.plan(fleet, down)
        removed, added = set(plan.names(Action.REMOVE)), plan.names(Action.ADD)
        self._take_in_strangers(fleet, added)
        back = {name for name in added if name in self._core.services}  # not down yet
        for change in plan.services:
            name = change.name
            if change.action is Action.ADD and name not in back:
                self._core.put(Service(fleet.services[name]))
            elif name not in removed:
                self._core.post(name, Respec(fleet.services[name]))
        why = "removed from the configuration"
        for name in self._by_rank(removed)[::-1]:
            self._core.post(name, Stop(DownReason.REMOVED, why, self._before(name, removed)))
        self._supervisor.rewire(fleet)
        for change in plan.services:
            kept_down = down.get(change.name, DownReason.NONE)
            if event := self._follows(change, kept_down, is_back=change.name in back):
                self._core.post(change.name, event)
        self._supervisor.roller.update()
        return plan

    def _take_in_strangers(self, fleet: Fleet, names: Iterable[str]) -> None:
        """Let services of names under which something is still being stopped begin when that is gone."""
        for name in names:
            run = self._supervisor.strangers.take(name)
            if run is not None and name not in self._core.services:
                self._core.put(begin_after(fleet.services[name], run, self._core.moment(name)))

    def _follows(self, change: ServiceChange, kept_down: DownReason, *, is_back: bool) -> Input | None:
        """Return what is to happen to a service once it has its new spec."""
        match change.action:
            case Action.ADD if is_back and kept_down:
                return Stop(kept_down, change.why)
            case Action.ADD if is_back:
                return Restart("back in the configuration")
            case Action.ADD:
                return Boot(kept_down)
            case Action.RESTART:
                return Restart(change.why)
            case Action.START:
                return Start(change.why)
            case Action.STOP:
                return Stop(DownReason.DISABLED, change.why)
            case Action.LATER if self._is_enabled_on_demand(change.name, kept_down):
                return Stop(kept_down, change.why)
            case Action.REMOVE | Action.LIVE | Action.LATER | Action.ROLL:
                return None

    def _is_enabled_on_demand(self, name: str, kept_down: DownReason) -> bool:
        """Return whether a service was disabled, and from now on rests until somebody asks for it."""
        return kept_down is DownReason.DEMAND and self._core.services[name].down_reason is DownReason.DISABLED

    async def forget_removed(self, names: Iterable[str]) -> None:
        """Wait until removed services are down, and let go of them."""
        for name in names:
            while (service := self._core.services.get(name)) is not None:
                if name in self._supervisor.fleet.services:
                    break  # a later reload wants it again
                if service.run is None:
                    self._supervisor.forget(name)
                    self._supervisor.rewire(self._supervisor.fleet)
                    break
                await self._core.wait_changed()
