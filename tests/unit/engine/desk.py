"""An engine on a desk: a keeper that writes orders down and says what it is told to, and a virtual clock."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.engine.order_secrets import TakeDown
from orchestra_supervisor.engine.outside import Outside, at_once
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.journal.memory import MemoryJournal
from orchestra_supervisor.model.equipment import LimitsSpec, SocketSpec
from orchestra_supervisor.model.replicas import GroupSpec
from orchestra_supervisor.model.spec import Fleet, ServiceSpec, StopSpec
from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.process.orders import (
    HeldRun,
    LogTarget,
    News,
    RunNews,
    Snapshot,
    SpawnOrder,
    slot_of,
)
from orchestra_supervisor.rules.inputs import Exited, Gone, Spawned, SpawnRefused
from orchestra_supervisor.rules.reload import ReloadPlan
from orchestra_supervisor.rules.successor import Successor

__all__ = ["Desk", "FakeKeeper", "VirtualClock", "fleet_of", "replicas_of", "running", "scaled", "settle"]

PASS = ProbeOutcome(passed=True, detail="ok")


class VirtualClock:
    """The event loop's time, and run ids that count."""

    def __init__(self) -> None:
        self.count = 0

    def mono(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return 1_000_000.0 + anyio.current_time()

    def run_digits(self) -> str:
        self.count += 1
        return f"{self.count:012x}"


@dataclass
class FakeKeeper:
    """Writes orders down. Services begin when ordered and end when stopped, unless told otherwise."""

    begins: bool = True
    obeys: bool = True
    orders: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    spawned: list[SpawnOrder] = field(default_factory=list[SpawnOrder])
    notes: dict[str, object] = field(default_factory=dict[str, object])
    on_spawn: Callable[[SpawnOrder], None] | None = None

    def __post_init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[News](10_000)

    def close(self) -> None:
        self._send.close()
        self._receive.close()

    def tell(self, news: News) -> None:
        self._send.send_nowait(news)

    def of(self, verb: str) -> list[str]:
        """Return the first word of each order of a kind."""
        return [str(order[1]) for order in self.orders if order[0] == verb]

    def slots(self) -> list[str]:
        return [order.slot for order in self.spawned]

    def begin(self, run: str) -> None:
        now = anyio.current_time()
        self.tell(RunNews(slot_of(run), Spawned(run, 1000 + len(self.spawned), now, now)))

    def end(self, run: str, code: int | None = 0, signal: str | None = None) -> None:
        now = anyio.current_time()
        self.tell(RunNews(slot_of(run), Exited(run, code, signal, now, now, 0)))
        self.tell(RunNews(slot_of(run), Gone(run)))

    def refuse(self, run: str, stage: str, message: str) -> None:
        self.tell(RunNews(slot_of(run), SpawnRefused(run, stage, 2, message)))

    def spawn(self, order: SpawnOrder, note: object) -> None:
        self.orders.append(("spawn", order.run))
        self.spawned.append(order)
        if note is not None:
            self.notes[order.slot] = note
        if self.on_spawn is not None:
            self.on_spawn(order)
        elif self.begins:
            self.begin(order.run)

    def stop(self, run: str, stop: StopSpec | None = None) -> None:
        self.orders.append(("stop", run, stop))
        if self.obeys:
            self.end(run, None, "SIGTERM")

    def ack(self, run: str) -> None:
        self.orders.append(("ack", run))

    def note(self, slot: str, note: object) -> None:
        self.orders.append(("note", slot))
        if note is None:
            self.notes.pop(slot, None)
        else:
            self.notes[slot] = note

    def limits(self, run: str, limits: LimitsSpec) -> None:
        self.orders.append(("limits", run, limits))

    def listen(self, slot: str, sockets: tuple[SocketSpec, ...]) -> None:
        self.orders.append(("listen", slot, sockets))

    def unlisten(self, slot: str) -> None:
        self.orders.append(("unlisten", slot))

    def again(self, run: str, successor: Successor | None) -> None:
        self.orders.append(("again", run, successor))

    def log_config(self, target: LogTarget) -> None:
        self.orders.append(("log_config", target))

    def shutdown(self) -> None:
        self.orders.append(("shutdown", ""))

    def quit(self, status: int) -> None:
        self.orders.append(("quit", status))

    def status(self, state: str, text: str) -> None:
        self.orders.append(("status", state, text))

    def pong(self, number: int) -> None:
        self.orders.append(("pong", number))

    async def signal(self, run: str, signal: str, scope: str) -> None:
        self.orders.append(("signal", run, signal, scope))

    async def input(self, run: str, text: str) -> None:
        self.orders.append(("input", run, text))

    async def flush(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def news(self) -> AsyncIterator[News]:
        async for item in self._receive:
            yield item

    def snapshot(self, runs: Sequence[HeldRun] = (), *, shutdown: bool = False) -> Snapshot:
        return Snapshot(1, 2, 0.0, 1, shutdown, tuple(runs), dict(self.notes))


@dataclass
class Desk:
    keeper: FakeKeeper
    supervisor: Supervisor
    verbs: Verbs
    journal: MemoryJournal
    bus: EventBus
    clock: VirtualClock
    checks: list[tuple[float, str]]
    kept: list[Fleet] = field(default_factory=list[Fleet])
    """Fleets that were to be made the applied one."""

    async def rescale(self, counts: Mapping[str, int]) -> ReloadPlan:
        """Go over to other numbers of replicas, as the daemon does it with its files."""
        done = self.verbs.reload(self.verbs.stage(scaled(self.supervisor.fleet, counts)), {})
        await self.supervisor.commit()
        return done

    def state(self, name: str) -> State:
        return self.supervisor.services[name].state

    def run(self, name: str) -> str:
        run = self.supervisor.services[name].run
        assert run is not None
        return run.id

    async def until(self, name: str, state: State) -> None:
        """Wait for a service to be in a state."""
        with anyio.fail_after(1000):
            while self.state(name) is not state:
                await self.supervisor.core.wait_changed()


def fleet_of(*specs: ServiceSpec) -> Fleet:
    return Fleet(services={spec.name: spec for spec in specs})


def replicas_of(base: str, count: int, update: str = "all", **fields: object) -> Fleet:
    """Return a fleet of the replicas of one name."""
    services: dict[str, ServiceSpec] = {}
    for number in range(1, count + 1):
        replica = {"group": base, "number": number, "count": count}
        one = {"argv": ("x",), "cwd": "/"} | fields | {"name": f"{base}@{number}", "replica": replica}
        services[f"{base}@{number}"] = ServiceSpec.model_validate(one)
    groups = {base: GroupSpec.model_validate({"configured": count, "count": count, "update": update})}
    return Fleet(services=services, groups=groups)


def scaled(fleet: Fleet, counts: Mapping[str, int]) -> Fleet:
    """Return a fleet with other numbers of replicas, like the first of each."""
    services = {name: spec for name, spec in fleet.services.items() if spec.replica is None}
    groups = dict(fleet.groups)
    for group, count in counts.items():
        first = next(
            spec
            for spec in fleet.services.values()
            if spec.replica is not None and spec.replica.group == group
        )
        fields = first.model_dump(exclude={"name", "replica"})
        services |= replicas_of(group, count, **fields).services
        groups[group] = groups[group].model_copy(update={"count": count})
    return fleet.model_copy(update={"services": services, "groups": groups})


async def settle() -> None:
    """Let everything that is due now happen."""
    await anyio.wait_all_tasks_blocked()


async def _plain(env: dict[str, str]) -> dict[str, str]:
    return env


@asynccontextmanager
async def running(
    fleet: Fleet,
    *,
    keeper: FakeKeeper | None = None,
    snapshot: Snapshot | None = None,
    down: dict[str, DownReason] | None = None,
    check: Callable[[str], ProbeOutcome] = lambda _: PASS,
    secrets: Callable[[dict[str, str]], object] = _plain,
    journal: MemoryJournal | None = None,
    take_down: TakeDown | None = None,
    written: Callable[[], Awaitable[None]] = at_once,
) -> AsyncGenerator[Desk]:
    """Run a fleet for the time of the block."""
    keeper = keeper or FakeKeeper()
    clock, journal = VirtualClock(), journal or MemoryJournal()
    bus = EventBus(journal, clock)
    checks: list[tuple[float, str]] = []
    kept: list[Fleet] = []

    async def network(asked: object, timeout: float) -> ProbeOutcome:
        port = str(asked.port)  # type: ignore[attr-defined]  # tcp checks alone
        checks.append((anyio.current_time(), port))
        return check(port)

    outside = Outside(
        keeper=keeper,
        clock=clock,
        bus=bus,
        launcher=Launcher(home=Path("/h"), log_directory=Path("/h/logs"), environ={"PATH": "/bin"}),
        network=network,
        secrets=secrets,  # type: ignore[arg-type]  # async, as drawn up by the test
        on_reload=lambda: None,
        on_run=lambda _: None,
        keep=kept.append,
        on_plan=journal.set_plan,
        take_down=take_down,
        written=written,
    )
    supervisor = Supervisor(fleet, outside)
    desk = Desk(keeper, supervisor, Verbs(supervisor), journal, bus, clock, checks, kept)

    async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        await supervisor.run(
            snapshot or keeper.snapshot(), down=down or {}, reached=journal.plans(), task_status=task_status
        )

    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(run)
            await settle()
            yield desk
            tasks.cancel_scope.cancel()
    finally:
        keeper.close()
        bus.publish("desk.cleared", "listeners that have left are let go of")
