"""The only verbs that outsiders may call: who may, what happens, and what is written down.

Every surface (HTTP API, XML-RPC, the gateway behind it) goes through here, so that roles, names,
waiting and the audit exist once.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from orchestra_supervisor.config.plan import PlanReport
from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.meter import Meter
from orchestra_supervisor.engine.outcome import wait_outcome
from orchestra_supervisor.engine.phase import Phase
from orchestra_supervisor.engine.ports import Clock, KeeperPort
from orchestra_supervisor.engine.roller import ROLL_PATIENCE
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.engine.telling import Teller, check_can_be_told
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.journal.records import AnyJournal, EventQuery, Hold
from orchestra_supervisor.model.caller import Principal, Role
from orchestra_supervisor.model.errors import (
    ConflictError,
    ControlDenied,
    InvalidRequest,
    JournalError,
    WaitTimeout,
)
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.report import ServiceReport, VerbResult
from orchestra_supervisor.model.states import Desired
from orchestra_supervisor.rules.goals import Goal, has_run, is_completed, is_down, is_ready
from orchestra_supervisor.rules.naming import resolve_names, visible
from orchestra_supervisor.rules.planning import check_run
from orchestra_supervisor.rules.reload import Action, ReloadPlan
from orchestra_supervisor.rules.replicas import check_counts, group_of, names_for_several
from orchestra_supervisor.rules.schedule import Clocks
from orchestra_supervisor.rules.service import Service, to_report

__all__ = ["Ask", "Control"]


@dataclass(frozen=True, slots=True)
class Ask:
    """How a verb is wanted.

    Attributes:
        wait: Answer when the goal is reached (ready, stopped), not when the verb is taken.
        patience: Seconds to wait for it at most.
        reason: The caller's words, for the audit.
        with_dependents: Whatever depends on the named services comes along.
        demand: Somebody needs them, no longer does or finds them hung, who does not decide about them.
    """

    wait: bool = True
    patience: float = 60.0
    reason: str = ""
    with_dependents: bool = False
    demand: bool = False


@dataclass(frozen=True, slots=True)
class _Deed:
    who: Principal
    verb: str
    names: list[str]
    ask: Ask
    before: dict[str, str]
    goal: Goal | None


@dataclass
class Control:
    """The verbs of one daemon.

    Attributes:
        supervisor: Runs the fleet.
        verbs: Its verbs.
        keeper: For signals.
        journal: Where the audit goes.
        bus: Where events go.
        clock: Time.
        load: Reads the configuration files anew and applies them, for whoever is named; raises ConfigError.
        look: Returns what `load` would do, by these files or by those of the fleet; raises ConfigError.
        rescale: Goes over to other numbers of replicas; raises ConfigError, ConflictError.
        watching: Returns what status says of a service's watch.
        meter: Measures what the services use; None: nobody does.
    """

    supervisor: Supervisor
    verbs: Verbs
    keeper: KeeperPort
    journal: AnyJournal
    bus: EventBus
    clock: Clock
    load: Callable[[str], Awaitable[PlanReport]]
    look: Callable[[tuple[Path, ...]], Awaitable[PlanReport]]
    rescale: Callable[[Mapping[str, int]], Awaitable[ReloadPlan]]
    watching: Callable[[str], dict[str, object] | None] = lambda _: None
    meter: Meter | None = None

    # Reading.

    def told(self, names: Iterable[str] = ()) -> list[str]:
        """Return whom status tells of: the named services as `resolve` does, or all in their order."""
        return self.resolve(names) if names else self._in_order()

    def now(self) -> Clocks:
        """Return the instant as of which services are reported."""
        return Clocks(self.clock.mono(), self.clock.wall())

    def report(self, name: str, now: Clocks) -> ServiceReport:
        """Return a service as it stands."""
        supervisor = self.supervisor
        report = to_report(supervisor.services[name], now, supervisor.limits_held)
        watching = self.watching(name)
        return report if watching is None else replace(report, watching=watching)

    async def events(self, query: EventQuery) -> list[Event]:
        """Return events from the journal."""
        return await self.journal.events(query)

    def resolve(self, names: Iterable[str]) -> list[str]:
        """Return the services that names, globs and `all` mean, each once, in the order given.

        Raises:
            InvalidRequest: No name was given.
            UnknownService: A name or glob matches nothing; the hint has the nearest name.
        """
        return resolve_names(names, self.supervisor.services, names_for_several(self.supervisor.fleet))

    # Changing.

    async def start(self, who: Principal, names: Iterable[str], ask: Ask) -> list[VerbResult]:
        """Start services and the dependencies they need, on demand too; one that is up is left alone."""
        chosen, before = self._allowed(who, names), self._states()
        concerned = self.verbs.start(chosen, _why("started", who, ask), on_demand=ask.demand)
        for name in concerned if not ask.demand else ():
            await self._clear_hold(name)
        return await self._carry(_Deed(who, "start", concerned, ask, before, is_ready))

    async def stop(self, who: Principal, names: Iterable[str], ask: Ask) -> list[VerbResult]:
        """Stop services; they stay down until somebody starts them, or until the next demand."""
        chosen, before = self._allowed(who, names), self._states()
        why = _why("stopped", who, ask)
        if ask.demand:
            idle = self.verbs.stop_idle(chosen, why)
            return await self._carry(_Deed(who, "stop", idle, ask, before, is_down))
        concerned = self.verbs.stop(chosen, why, with_dependents=ask.with_dependents)
        if self.supervisor.fleet.settings.remember_stops:
            for name in concerned:  # dependents that come along are stopped by hand as well
                await self.journal.set_hold(Hold(name, self.clock.wall(), who.name, ask.reason))
        return await self._carry(_Deed(who, "stop", concerned, ask, before, is_down))

    async def restart(self, who: Principal, names: Iterable[str], ask: Ask) -> list[VerbResult]:
        """Give services a new run, with dependents around it; on demand, end hung ones: policy goes on."""
        chosen, before = self._allowed(who, names), self._states()
        if ask.demand:
            hung = self.verbs.end_hung(chosen, _why("found not to answer", who, ask))
            return await self._carry(_Deed(who, "restart", hung, ask, before, None))
        runs = {name: one.run.id for name, one in self.supervisor.services.items() if one.run}
        why = _why("restarted", who, ask)
        concerned = self.verbs.restart(chosen, why, with_dependents=ask.with_dependents)
        for name in concerned:
            await self._clear_hold(name)

        def is_anew(service: Service) -> bool | None:
            if service.run is not None and service.run.id == runs.get(service.spec.name):
                return None
            return is_ready(service)

        return await self._carry(_Deed(who, "restart", concerned, ask, before, is_anew))

    async def roll(self, who: Principal, names: Iterable[str], ask: Ask, batch: int) -> list[VerbResult]:
        """Restart services, at most `batch` replicas of one name at a time; whoever is down is passed over.

        Raises:
            ConflictError: One of the names is being rolled already.
        """
        chosen, before = self._allowed(who, names), self._states()
        roller, services = self.supervisor.roller, self.supervisor.services
        groups = {name: group_of(services[name].spec) for name in chosen}
        self.verbs.roll(chosen, _why("rolling restart asked for", who, ask), batch)

        def has_turned(service: Service) -> bool | None:
            roll = roller.roll_of(groups[service.spec.name])
            if service.desired is Desired.DOWN or roll is None or service.spec.name in roll.done:
                return True
            return False if roll.is_over else None

        results = await self._carry(_Deed(who, "restart", chosen, ask, before, has_turned))
        return [
            one if one.ok else replace(one, message=roller.fault_of(groups[one.name]) or one.message)
            for one in results
        ]

    async def scale(self, who: Principal, counts: Mapping[str, int], ask: Ask) -> list[VerbResult]:
        """Have other numbers of replicas; the others are left alone. Returns those that come and go.

        Raises:
            InvalidRequest: A number is out of bounds, or a name has no replicas.
            UnknownService: A name is not known.
            ConflictError: The files have changed since they were applied, or a rolling update goes on.
        """
        self._require(who, Role.OPERATOR)
        check_counts(counts, self.supervisor.fleet)
        before = self._states()
        done = await self.rescale(counts)
        come, gone = done.names(Action.ADD), done.names(Action.REMOVE)

        def has_come_or_gone(service: Service) -> bool | None:
            return is_down(service) if service.spec.name in gone else is_ready(service)

        words = " ".join(f"{name}={count}" for name, count in counts.items())
        deed = _Deed(who, f"scale {words}", [*come, *gone], ask, before, has_come_or_gone)
        return await self._carry(deed)

    async def run(self, who: Principal, names: Iterable[str], ask: Ask) -> list[VerbResult]:
        """Run services to their end now, beside their schedules; waiting is for that end.

        Raises:
            InvalidRequest: A service is a daemon, which has no end.
            ConflictError: A service is stopped, or one of its runs is not over and rules out another.
        """
        chosen = self._allowed(who, names)
        before, now = self._states(), self.clock.wall()
        for name in chosen:
            check_run(self.supervisor.services[name])
        concerned = self.verbs.run(chosen, _why("run", who, ask), planned=now)
        for name in concerned:
            await self._clear_hold(name)
        return await self._carry(_Deed(who, "run", concerned, ask, before, has_run(now)))

    async def signal(self, who: Principal, names: Iterable[str], signal: str, scope: str) -> list[VerbResult]:
        """Send a signal to the runs of services.

        Raises:
            ConflictError: A service has no run, or the keeper refuses.
        """
        chosen, before = self._allowed(who, names), self._states()
        for name in chosen:
            run = self.supervisor.services[name].run
            if run is None or run.pid is None:
                raise ConflictError(f"{name} is not running", hint=f"orchestra start {name}")
        for name in chosen:
            run = self.supervisor.services[name].run
            if run is not None:
                await self.keeper.signal(run.id, signal, scope)
        return await self._carry(_Deed(who, f"signal {signal}", chosen, Ask(wait=False), before, None))

    async def tell(self, who: Principal, names: Iterable[str]) -> list[VerbResult]:
        """Tell services to read their own configuration again, each by its signal or its command.

        Raises:
            ConflictError: One cannot be told or does not run, and nobody was; or its command failed.
        """
        chosen, before, services = self._allowed(who, names), self._states(), self.supervisor.services
        for name in chosen:
            check_can_be_told(services[name])
        for name in chosen:
            await Teller(self.supervisor, self.keeper).tell_to_reload(services[name])
        return await self._carry(_Deed(who, "reload", chosen, Ask(wait=False), before, None))

    async def wait(self, names: Iterable[str], goal: str, patience: float) -> list[VerbResult]:
        """Wait for services to be ready, stopped or completed.

        Raises:
            WaitTimeout: Not all are there in time, or one will not get there by itself.
        """
        goals: dict[str, Goal] = {"ready": is_ready, "stopped": is_down, "completed": is_completed}
        if goal not in goals:
            raise InvalidRequest(f"cannot wait for {goal!r}", hint="ready, stopped or completed")
        chosen = self.resolve(names)
        results = await self._outcome(chosen, self._states(), goals[goal], patience)
        if not all(result.ok for result in results):
            missing = ", ".join(f"{one.name} is {one.after}" for one in results if not one.ok)
            raise WaitTimeout(
                f"not {goal}: {missing}",
                hint="orchestra status shows why",
                results=[one.to_dict() for one in results],
            )
        return results

    async def plan(self, who: Principal, files: Iterable[str] = ()) -> PlanReport:
        """Return what a reload would do, without doing it.

        Raises:
            ConfigError: A file is wrong.
            ControlDenied: Files are named by somebody for whom they must not be read: it is the daemon
                who reads them, and what it says of them quotes them.
        """
        paths = tuple(Path(file) for file in files)
        if paths:
            self._require(who, Role.ADMIN)
        if not all(path.is_absolute() for path in paths):
            raise InvalidRequest("files of a plan are named by absolute paths", hint="orchestra plan FILES")
        return await self.look(paths)

    async def reload(self, who: Principal) -> PlanReport:
        """Read the configuration anew and go over to it; a bad file changes nothing."""
        self._require(who, Role.ADMIN)
        done = await self.load(who.name)
        with anyio.move_on_after(ROLL_PATIENCE):
            await self.supervisor.roller.wait_over(done.rolling)
        told: dict[str, object] = {note.name: note.action for note in done.services}
        await self._audit(who, "reload", (), "", told)
        return done

    async def shutdown(self, who: Principal, reason: str) -> int:
        """Take the fleet down. Returns how many services were up."""
        self._require(who, Role.ADMIN)
        up = sum(one.run is not None for one in visible(self.supervisor.services).values())
        await self._audit(who, "shutdown", (), reason, {"stopping": up})
        self.supervisor.shutdown(_why("asked", who, Ask(reason=reason)))
        await self.supervisor.commit()
        return up

    # Parts of the verbs.

    def _allowed(self, who: Principal, names: Iterable[str]) -> list[str]:
        self._require(who, Role.OPERATOR)
        return self.resolve(names)

    @staticmethod
    def _require(who: Principal, role: Role) -> None:
        if who.role < role:
            raise ControlDenied(
                f"{who.name} is {who.role.name.lower()}, this needs {role.name.lower()}",
                hint="the owner of the fleet, or a member of settings.control_group, may do this",
            )

    def _in_order(self) -> list[str]:
        """Return all services as the fleet has them, then those that are about to be let go of."""
        services, fleet = visible(self.supervisor.services), self.supervisor.fleet.services
        return [name for name in fleet if name in services] + [name for name in services if name not in fleet]

    def _states(self) -> dict[str, str]:
        return {name: service.state.value for name, service in self.supervisor.services.items()}

    async def _clear_hold(self, name: str) -> None:
        if name in self.journal.holds():
            await self.journal.clear_hold(name)

    async def _carry(self, deed: _Deed) -> list[VerbResult]:
        self._announce(deed)
        await self.supervisor.commit()
        goal = deed.goal if deed.ask.wait else None
        results = await self._outcome(deed.names, deed.before, goal, deed.ask.patience)
        told: dict[str, object] = {one.name: one.message for one in results}
        await self._audit(deed.who, deed.verb, deed.names, deed.ask.reason, told)
        return results

    def _announce(self, deed: _Deed) -> None:
        data: dict[str, object] = {"who": deed.who.name, "names": deed.names, "reason": deed.ask.reason}
        kind = f"control.{deed.verb.split(' ', maxsplit=1)[0]}"
        self.bus.publish(kind, f"{deed.who.name}: {deed.verb} {', '.join(deed.names)}", data=data)

    async def _audit(
        self, who: Principal, verb: str, names: Iterable[str], reason: str, result: dict[str, object]
    ) -> None:
        data: dict[str, object] = {"who": who.name, "verb": verb, "names": list(names), "reason": reason}
        data["result"] = result
        event = Event("control.result", f"{who.name}: {verb} done", self.clock.wall(), data=data)
        try:
            self.bus.hand_on(await self.journal.record(event))
        except JournalError:
            # The deed is done and the event waits in memory; the journal itself reports its trouble.
            return

    async def _outcome(
        self, names: list[str], before: dict[str, str], goal: Goal | None, patience: float
    ) -> list[VerbResult]:
        return await wait_outcome(self.supervisor.core, self.clock, names, before, goal, patience)

    def is_stopping(self) -> bool:
        """Return whether the fleet goes down."""
        return self.supervisor.phase in {Phase.STOPPING, Phase.DOWN}


def _why(done: str, who: Principal, ask: Ask) -> str:
    return f"{done} by {who.name}" + (f": {ask.reason}" if ask.reason else "")
