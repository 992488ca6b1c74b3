"""Schedules of a fleet with replicas: rolled, scaled and updated, under the same faults as all others."""

import random
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.abc

from orchestra_supervisor.config.load import LoadResult, Sources
from orchestra_supervisor.engine.reload import Reloader
from orchestra_supervisor.engine.roller import ROLL_SLOT_PREFIX
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.replicas import GroupSpec, ReplicaSpec
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
from orchestra_supervisor.model.states import Desired
from orchestra_supervisor.rules.diff import run_digest
from orchestra_supervisor.rules.reload import Action
from orchestra_supervisor.rules.rolling import is_available
from tests.simulation.schedule import Schedule
from tests.simulation.world import BASE_PORT, Violation, World

__all__ = ["RollingSchedule"]

GROUP = "web"
MOST = 6
"""Replicas of a schedule at most."""


class ReplicaWorld(World):
    """A world that knows replicas by their ports."""

    def slot_at(self, port: int) -> str:
        return f"{GROUP}@{port - BASE_PORT}"


class RollingSchedule(Schedule):
    """Plays one seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._style = _draw_style(self.rng)
        self._word = 0
        self.fleet = self._fleet_of(self.rng.randint(2, 4), "all" if self.rng.random() < 0.2 else "rolling")
        self.world = ReplicaWorld(self.rng, self.fleet)

    def _fleet_of(self, count: int, update: str) -> Fleet:
        services: dict[str, ServiceSpec] = {"db": self._style.model_copy(update={"name": "db"})}
        for number in range(1, count + 1):
            name = f"{GROUP}@{number}"
            probe = ProbeSpec(check=TcpCheck(port=BASE_PORT + number), period=5.0, timeout=1.0)
            is_probed = self._style.startup_timeout > 0
            services[name] = self._style.model_copy(
                update={
                    "name": name,
                    "argv": (f"v{self._word}",),
                    "probes": ProbeSet(readiness=probe if is_probed else None),
                    "depends_on": {"db": DependencySpec()} if self._style.priority == 1 else {},
                    "replica": ReplicaSpec(group=GROUP, number=number, count=count),
                }
            )
        needs = {name: DependencySpec() for name in services if name != "db"}
        services["api"] = self._style.model_copy(update={"name": "api", "depends_on": needs})
        group = GroupSpec.model_validate({"configured": 3, "count": count, "update": update})
        return Fleet(services=services, groups={GROUP: group})

    # What happens.

    async def _disturb(self, tasks: anyio.abc.TaskGroup) -> None:
        dice = self.rng.random()
        if dice < 0.4:
            await super()._disturb(tasks)
            return
        assert self.supervisor is not None
        assert self.verbs is not None
        members = [name for name, spec in self.supervisor.fleet.services.items() if spec.replica is not None]
        if dice < 0.65 and members:
            batch = self.rng.choice([1, 1, 2, 3])
            self.world.say(f"operator rolls {members}, {batch} at a time")
            try:
                self.verbs.roll(members, "rolling restart", batch)
            except ConflictError as error:
                self.world.say(f"refused: {error.message}")
        elif dice < 0.8:
            self._ask_scale(self.rng.randint(0, MOST))
        else:
            self._word += self.rng.choice([0, 1, 1])
            self._ask_reload()
        if self.rng.random() < 0.3:
            await self._kill_daemon(tasks)

    async def _load(self, _paths: tuple[Path, ...], live: Mapping[str, GroupSpec]) -> LoadResult:
        fleet = self._fleet_of(live[GROUP].count, live[GROUP].update)
        await anyio.sleep(self.rng.choice([0.0, 0.003, 0.3]))
        self.world.say(f"read: {[f'{name} {spec.argv[0]}' for name, spec in fleet.services.items()]}")
        return LoadResult(fleet, (), Sources())

    def _ask_scale(self, count: int) -> None:
        assert self._own is not None
        assert self.verbs is not None
        assert self.reloader is not None
        self._own.start_soon(self._scale, self.reloader, self.verbs, count)

    async def _scale(self, reloader: Reloader, verbs: Verbs, count: int) -> None:
        self.world.say(f"operator scales to {count}")
        try:
            plan = await reloader.rescale({GROUP: count})
        except ConflictError as error:
            self.world.say(f"refused: {error.message}")
        else:
            await verbs.forget_removed(plan.names(Action.REMOVE))

    # What must hold.

    def _listen(self, event: Event) -> None:
        """Hold each stop that a roll has ordered against how many others are away."""
        if not event.message.startswith("roll"):
            return
        self.world.interventions.setdefault(event.service, []).append(anyio.current_time())
        if event.kind != "service.stopping" or event.data["from"] != "ready":
            return
        assert self.supervisor is not None
        run = self.supervisor.services[event.service].run
        if run is None or run.leader_ended:
            return  # what was ready has ended by itself
        roll = self.supervisor.roller.roll_of(GROUP)
        assert roll is not None
        away = [
            name
            for name, one in self.supervisor.services.items()
            if one.spec.replica is not None
            and name in self.supervisor.fleet.services
            and one.desired is Desired.UP
            and not is_available(one, anyio.current_time())
        ]
        if len(away) > roll.batch:
            raise Violation(f"{roll.why} of {event.service}, {roll.batch} at a time, while {away} are away")

    async def _settle(self, tasks: anyio.abc.TaskGroup) -> None:
        await super()._settle(tasks)
        assert self.supervisor is not None
        if self.supervisor.roller.reports() or self.supervisor.fleet.coming:
            raise Violation(f"a roll goes on in peace: {self.supervisor.roller.reports()}")
        notes = [slot for slot in self.world.notes if slot.startswith(ROLL_SLOT_PREFIX)]
        if notes:
            raise Violation(f"notes of rolls that are over: {notes}")
        for name, service in self.supervisor.services.items():
            if service.spec != self.fleet.services.get(name):
                raise Violation(f"{name} is not what was kept")
            if service.run is not None and service.run.digest != run_digest(service.spec):
                raise Violation(f"{name} runs what is configured no more")


def _draw_style(rng: random.Random) -> ServiceSpec:
    return ServiceSpec(
        name="x",
        argv=("x",),
        cwd="/",
        priority=rng.choice([1, 2]),
        startup_timeout=rng.choice([0.0, 10.0, 10.0, 30.0]),
        restart=RestartSpec(
            policy=rng.choice(["always", "on-failure", "never"]),
            max_restarts=rng.choice([None, 2, 5]),
            window=20.0,
            backoff=BackoffSpec(cap=2.0),
            stable_after=rng.choice([0.3, 20.0]),
        ),
        stop=StopSpec(steps=(StopStep(wait=2.0),)),
    )
