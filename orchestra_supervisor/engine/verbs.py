"""What can be asked of a running fleet: start, stop, restart, wait, reload.

Each verb works out whom it concerns and posts the inputs in an order in which nobody slips in
between; the lifecycle does the rest, so that a verb outlives the daemon that took it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestra_supervisor.engine.supervisor import Phase, Supervisor
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.rules.diff import diff_fleets, needs_restart
from orchestra_supervisor.rules.graph import above, below, stop_ranks
from orchestra_supervisor.rules.inputs import Boot, Respec, Restart, RunNow, Start, Stop
from orchestra_supervisor.rules.moves import begin_after
from orchestra_supervisor.rules.service import Service
from orchestra_supervisor.rules.updates import staged

__all__ = ["Reloaded", "Verbs"]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did: names of services, by what became of them."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    restarted: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: int
    rolling: tuple[str, ...] = ()
    """Names whose replicas get their new configuration one after the other."""


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

    def _check_open(self) -> None:
        if self._supervisor.phase in {Phase.STOPPING, Phase.DOWN}:
            raise ConflictError("the fleet is going down", hint="wait for it, then run `orchestra up`")

    def start(self, names: Iterable[str], why: str) -> list[str]:
        """Start services, and those of their dependencies that are down or failed.

        Returns:
            Everyone concerned, dependencies first.
        """
        self._check_open()
        wanted = set(names)
        concerned = [
            name
            for name in self._by_rank(below(wanted, self._supervisor.fleet.services))
            if name in wanted or self._is_down(self._core.services[name])
        ]
        for name in concerned:
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
        self._check_open()
        wanted = set(names)
        concerned = above(wanted, self._supervisor.fleet.services) if with_dependents else wanted
        ordered = self._by_rank(concerned)[::-1]
        for name in ordered:
            after = self._before(name, concerned) if with_dependents else ()
            self._core.post(name, Stop(DownReason.OPERATOR, why, after))
        return ordered

    def restart(self, names: Iterable[str], why: str, *, with_dependents: bool) -> list[str]:
        """Restart services; dependents stop before them and start after them.

        Dependents that are down stay down.

        Returns:
            Everyone concerned, dependencies first.
        """
        self._check_open()
        wanted = set(names)
        concerned = wanted
        if with_dependents:
            others = above(wanted, self._supervisor.fleet.services) - wanted
            concerned = wanted | {name for name in others if self._core.services[name].desired is Desired.UP}
        ordered = self._by_rank(concerned)
        for name in ordered:
            self._core.post(name, Restart(why, self._before(name, concerned)))
        return ordered

    def roll(self, names: Iterable[str], why: str, batch: int) -> list[str]:
        """Restart services, those of one name one after the other, `batch` at a time at most.

        Returns:
            The names that are rolled.

        Raises:
            ConflictError: One of them is being rolled already.
        """
        self._check_open()
        return self._supervisor.roller.begin(self._by_number(names), why, batch)

    def _by_number(self, names: Iterable[str]) -> list[str]:
        order = {name: index for index, name in enumerate(self._supervisor.fleet.services)}
        return sorted(names, key=lambda name: order.get(name, len(order)))

    def _before(self, name: str, concerned: set[str]) -> tuple[str, ...]:
        """Return the dependents among those concerned, which must be down before this one stops."""
        return tuple(other for other in self._core.dependents(name) if other in concerned)

    def stage(self, fleet: Fleet) -> Fleet:
        """Return a fleet as a reload goes over to it: what is updated one after the other is held back."""
        return staged(self._supervisor.fleet, fleet, self._core.services)

    def reload(self, fleet: Fleet, down: dict[str, DownReason]) -> Reloaded:
        """Go over to another fleet: only what changed restarts, what can change live changes live."""
        self._check_open()
        diff = diff_fleets(self._supervisor.fleet.services, fleet.services)
        self._take_in_strangers(fleet, diff.added)
        back = {name for name in diff.added if name in self._core.services}  # removed, and not down yet
        restarted: list[str] = []
        updated: list[str] = []
        for name in diff.changed:
            old, new = self._supervisor.fleet.services[name], fleet.services[name]
            (restarted if needs_restart(old, new) else updated).append(name)
        for name in diff.added:
            if name not in back:
                self._core.put(Service(fleet.services[name]))
        for name in (*restarted, *updated, *back):
            self._core.post(name, Respec(fleet.services[name]))
        for name in self._by_rank(diff.removed)[::-1]:
            after = self._before(name, set(diff.removed))
            self._core.post(name, Stop(DownReason.REMOVED, "removed from the configuration", after))
        self._supervisor.rewire(fleet)
        for name in restarted:
            self._renew(name, is_enabled=fleet.services[name].enabled)
        for name in diff.added:
            if name not in back:
                self._core.post(name, Boot(down.get(name, DownReason.NONE)))
            elif name not in down:
                self._core.post(name, Start("back in the configuration"))
            else:
                self._core.post(name, Stop(down[name]))
        return Reloaded(
            added=diff.added,
            removed=diff.removed,
            restarted=tuple(restarted),
            updated=tuple(updated),
            unchanged=len(fleet.services) - len(diff.added) - len(diff.changed),
            rolling=self._supervisor.roller.update(),
        )

    def _take_in_strangers(self, fleet: Fleet, names: Iterable[str]) -> None:
        """Let services of names under which something is still being stopped begin when that is gone."""
        for name in names:
            run = self._supervisor.strangers.pop(name, None)
            if run is not None and name not in self._core.services:
                self._core.put(begin_after(fleet.services[name], run, self._core.moment(name)))

    def _renew(self, name: str, *, is_enabled: bool) -> None:
        """Let a service whose configuration changed run as it is configured now."""
        service = self._core.services[name]
        if not is_enabled and service.spec.enabled:
            self._core.post(name, Stop(DownReason.DISABLED, "disabled in the configuration"))
        elif service.desired is Desired.UP:
            self._core.post(name, Restart("its configuration changed"))
        elif service.down_reason is DownReason.DISABLED and is_enabled:
            self._core.post(name, Start("enabled in the configuration"))

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
