"""The fake keeper and the processes it holds: they outlive every daemon of a schedule.

It keeps the promises of docs/keeper-protocol.md and checks, from outside the engine, what must
always hold.
"""

import errno
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import anyio
import anyio.abc

from orchestra_supervisor.model.spec import DependencySpec, Fleet, ServiceSpec, StopSpec
from orchestra_supervisor.model.states import Condition, Kind
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.process.orders import (
    HeldRun,
    LogTarget,
    News,
    ReplaceAsked,
    RunNews,
    ShutdownAsked,
    Snapshot,
    SpawnOrder,
)
from orchestra_supervisor.rules.inputs import Exited, Gone, Spawned, SpawnRefused, Stuck
from orchestra_supervisor.rules.successor import Successor

BASE_PORT = 10_000
_READ_TOGETHER = 0.7
"""How often all that has been told by now is read at once."""


class Violation(AssertionError):
    """Something that must never happen has happened."""


@dataclass
class Nature:
    """How a run will behave."""

    exec_delay: float = 0.001
    exec_errno: int = 0
    lifetime: float | None = None
    code: int | None = 0
    signal: str | None = None
    leaves_behind: int = 0
    obeys_after: float | None = 0.01
    """Seconds from the stop signal to the end; None: it has to be killed."""
    dies_after_kill: float = 0.01
    healthy_after: float | None = 0.05
    healthy_until: float | None = None


@dataclass
class Record:
    run: str
    slot: str
    stop: StopSpec
    nature: Nature
    phase: str = "exec"
    stopping: bool = False
    spawned: Spawned | None = None
    exited: Exited | None = None
    born: float = 0.0
    passed: bool = False
    key: str = ""
    successor: Successor | None = None
    ordered_for: Fleet | None = None
    """The fleet for which its successor was ordered."""
    followed_by: str = ""
    stop_scope: anyio.CancelScope | None = None
    heir: Nature | None = None
    """Of the run that follows, if one does; None: the dice say."""


@dataclass
class World:
    """Truth."""

    rng: random.Random
    fleet: Fleet
    faults: bool = True
    records: dict[str, Record] = field(default_factory=dict[str, Record])
    notes: dict[str, object] = field(default_factory=dict[str, object])
    shutdown: bool = False
    quit_status: int | None = None
    standing: tuple[str, str] = ("", "")
    pong: int = 0
    link: "Link | None" = None
    tasks: anyio.abc.TaskGroup | None = None
    orders: Counter[str] = field(default_factory=Counter[str])
    """By slot, periodic services aside: those are never at rest."""
    spawns: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    interventions: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    completed: set[str] = field(default_factory=set[str])
    ever_completed: set[str] = field(default_factory=set[str])
    log: list[str] = field(default_factory=list[str])
    untold: dict[str, SpawnRefused] = field(default_factory=dict[str, SpawnRefused])
    specs: dict[str, ServiceSpec] = field(default_factory=dict[str, ServiceSpec])
    """Of every service that has ever been: an order outlives the service it is for."""
    next_pid: int = 100
    followed: int = 0
    """Runs that began by a standing order."""
    daemon_starts: int = 0

    needs: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """On whom each has ever depended."""
    lost: dict[str, dict[str, DependencySpec]] = field(default_factory=dict[str, dict[str, DependencySpec]])
    """By run: the dependencies that have ended during its life and mean its end, as it had them then."""

    def __post_init__(self) -> None:
        self._learn(self.fleet)

    def _learn(self, fleet: Fleet) -> None:
        self.specs.update(fleet.services)
        for name, spec in fleet.services.items():
            self.needs.setdefault(name, set()).update(spec.depends_on)

    def reconfigure(self, fleet: Fleet) -> None:
        """Take the fleet that a daemon has applied."""
        self.say(f"applied {sorted(fleet.services)}")
        old, self.fleet = self.fleet, fleet
        self._learn(fleet)
        for name in old.services.keys() ^ fleet.services.keys():
            self.completed.discard(name)  # one that comes back begins anew
        for record in self.records.values():
            spec = old.services.get(record.slot)
            if record.phase == "live" and spec is not None and not spec.probes.readiness:
                record.passed = True  # it was ready without a probe: one that is added takes nothing back
            now = fleet.services.get(record.slot)
            for name, wanted in list(self.lost.get(record.run, {}).items()):
                if now is None or now.depends_on.get(name) != wanted:
                    del self.lost[record.run][name]  # what it means is another thing now

    def say(self, text: str) -> None:
        self.log.append(f"{anyio.current_time():10.4f} {text}")

    def fail(self, text: str) -> None:
        self.say(f"VIOLATION {text}")
        raise Violation(text)

    def live(self, slot: str) -> Record | None:
        for record in self.records.values():
            if record.slot == slot and record.phase != "gone":
                return record
        return None

    def has_successor(self, slot: str) -> bool:
        """Return whether another run would follow at once if what runs in a slot crashed now."""
        record = self.live(slot)
        if record is None or record.successor is None or record.phase != "live" or record.stopping:
            return False
        return anyio.current_time() - record.born >= record.successor.min_life

    def is_foundation(self, slot: str) -> bool:
        """Return whether an end in a slot means something to others."""
        return bool(self._who_loses(slot))

    def flash(self, slot: str) -> None:
        """Let what runs in a slot crash, and what follows it be there in the same instant."""
        record = self.live(slot)
        if record is not None:
            record.nature = replace(record.nature, leaves_behind=0)
            record.heir = Nature(exec_delay=0.0)
            self.end(record, None, "SIGKILL")

    # Orders from a daemon.

    def count(self, slot: str) -> None:
        spec = self.fleet.services.get(slot)
        if spec is None or spec.schedule is None:
            self.orders[slot] += 1

    def spawn(self, order: SpawnOrder, note: object) -> None:
        self.count(order.slot)
        now = anyio.current_time()
        self.say(f"spawn {order.run}")
        if self.live(order.slot) is not None:
            self.fail(f"two live runs of {order.slot}")
        if self.shutdown:
            self.tell(order.slot, SpawnRefused(order.run, "keeper", 0, "shutting_down"))
            return
        self.notes[order.slot] = note
        self.spawns.setdefault(order.slot, []).append(now)
        self._begin(
            Record(
                order.run,
                order.slot,
                order.stop,
                self.draw_nature(order.slot),
                born=now,
                key=order.key,
                successor=order.successor,
                ordered_for=self.fleet,
            )
        )

    def _begin(self, record: Record) -> None:
        self.records[record.run] = record
        assert self.tasks is not None
        if record.nature.exec_delay <= 0:
            self._execute(record)  # as posix_spawn does it: what is told of it now follows in the same breath
        else:
            self.tasks.start_soon(self._execute_later, record)

    def again(self, run: str, successor: Successor | None) -> None:
        record = self.records.get(run)
        self.count("" if record is None else record.slot)
        if record is None:
            return
        self.say(f"again {run} {successor}")
        if record.key and not record.stopping and record.phase in {"exec", "live"}:
            record.successor, record.ordered_for = successor, self.fleet

    def check_dependencies(self, slot: str, told: "dict[str, Known]") -> None:
        """Hold an order against what the daemon that gives it has been told so far."""
        for name, wanted in self.fleet.services[slot].depends_on.items():
            spec = self.fleet.services[name]
            if spec.schedule is not None:
                if name not in self.ever_completed:
                    self.fail(f"{slot} started although no run of {name} has completed")
                continue
            if wanted.condition is Condition.COMPLETED or (
                spec.kind is Kind.ONCE and wanted.condition is Condition.READY
            ):
                if name not in self.completed:
                    self.fail(f"{slot} started although {name} has not completed")
                continue
            known = told.get(name)
            if spec.kind is Kind.ONCE and name in self.completed:
                continue
            if known is None or known.phase in {"exec", "gone"} or known.told_end:
                self.fail(f"{slot} started although {name} is known not to run")
                continue
            if known.stopping:
                self.fail(f"{slot} started although {name} is being stopped")
            if wanted.condition is Condition.READY and spec.probes.readiness and not known.record.passed:
                self.fail(f"{slot} started although {name} was never ready in this run")

    def stop(self, run: str, stop: StopSpec | None) -> None:
        record = self.records.get(run)
        self.count("" if record is None else record.slot)
        if record is None or record.phase == "gone":
            return
        self.say(f"stop {run}")
        self.lost.pop(run, None)
        record.successor = None
        if self.shutdown and record.phase == "live" and not record.stopping:
            self._check_dependents_down(record.slot)
        record.stopping = True
        if record.stop_scope is not None:
            record.stop_scope.cancel()
        assert self.tasks is not None
        self.tasks.start_soon(self._stop, record, record.stop if stop is None else stop)

    def _check_dependents_down(self, slot: str) -> None:
        for name, spec in self.fleet.services.items():
            if slot in spec.depends_on and self.live(name) is not None:
                self.fail(f"{slot} is stopped in the shutdown before its dependent {name}")

    def ack(self, run: str) -> None:
        record = self.records.get(run)
        self.count("" if record is None else record.slot)
        if record is not None:
            if record.phase != "gone":
                self.fail(f"{run} acknowledged while it lives")
            del self.records[run]

    # Lives.

    def draw_nature(self, slot: str) -> Nature:
        rng, spec = self.rng, self.specs[slot]
        nature = Nature(exec_delay=rng.choice([0.0, 0.0, 0.0005, 0.002, 0.01]))
        if spec.kind is not Kind.DAEMON:
            nature.lifetime = rng.uniform(0.01, 3.0)
        if not self.faults:
            return nature
        if rng.random() < 0.1:
            nature.exec_errno = 2
        if rng.random() < 0.1:
            nature.exec_delay = rng.uniform(0.1, 2.0)
        if rng.random() < 0.4:
            nature.lifetime = rng.choice([0.0, 0.002, 0.5, 5.0, 40.0]) * rng.uniform(0.5, 1.5)
        nature.code, nature.signal = rng.choice([(0, None), (1, None), (3, None), (None, "SIGSEGV")])
        nature.leaves_behind = rng.choice([0, 0, 0, 2])
        nature.obeys_after = rng.choice([0.0, 0.01, 1.0, None])
        nature.dies_after_kill = rng.choice([0.0, 0.01, 8.0])
        nature.healthy_after = rng.choice([0.0, 0.05, 1.0, 15.0, None])
        nature.healthy_until = rng.choice([None, None, 2.0, 15.0, 90.0])
        return nature

    async def _execute_later(self, record: Record) -> None:
        await anyio.sleep(record.nature.exec_delay)
        if record.phase == "exec":
            self._execute(record)

    def _execute(self, record: Record) -> None:
        """Let the program of a run begin, or fail to; one that ends at once does so before anybody looks."""
        nature = record.nature
        if nature.exec_errno:
            self._refuse(record, nature.exec_errno, "No such file")
            return
        now = anyio.current_time()
        self.next_pid += 1
        record.phase, record.born = "live", now
        record.spawned = Spawned(record.run, self.next_pid, now, now)
        self.tell(record.slot, record.spawned)
        if nature.lifetime is None:
            return
        if nature.lifetime <= 0:
            self.end(record, nature.code, nature.signal)
            return
        assert self.tasks is not None
        self.tasks.start_soon(self._end_later, record, nature.lifetime)

    async def _end_later(self, record: Record, lifetime: float) -> None:
        await anyio.sleep(lifetime)
        self.end(record, record.nature.code, record.nature.signal)

    def end(self, record: Record, code: int | None, signal: str | None) -> None:
        if record.phase == "exec":
            self._refuse(record, errno.ECANCELED, "stopped before its program began")
        if record.phase != "live":
            return
        now = anyio.current_time()
        left = record.nature.leaves_behind if not record.stopping else 0
        record.phase = "exited"
        record.exited = Exited(record.run, code, signal, now, now, left)
        if code == 0:
            self.completed.add(record.slot)
            self.ever_completed.add(record.slot)
        else:
            self.completed.discard(record.slot)
        self.lost.pop(record.run, None)
        for above, wanted in self._who_loses(record.slot):
            self.lost.setdefault(above.run, {})[record.slot] = wanted
        self.tell(record.slot, record.exited)
        if not left:
            self.vanish(record)

    def _who_loses(self, slot: str) -> list[tuple[Record, DependencySpec]]:
        """Return who runs on top of a slot's run, and may not go on as if nothing had been when that ends."""
        found: list[tuple[Record, DependencySpec]] = []
        for name, spec in self.fleet.services.items():
            wanted, above = spec.depends_on.get(slot), self.live(name)
            if wanted is None or wanted.on_failure == "keep" or self.specs[slot].schedule is not None:
                continue
            if above is not None and above.phase in {"exec", "live"} and not above.stopping:
                found.append((above, wanted))
        return found

    def _refuse(self, record: Record, number: int, message: str) -> None:
        """End a run whose program never began: there is no record of it and nothing to acknowledge."""
        record.phase = "refused"
        del self.records[record.run]
        self.tell(record.slot, SpawnRefused(record.run, "exec", number, message))

    def vanish(self, record: Record) -> None:
        if record.phase not in {"gone", "refused"}:
            record.phase = "gone"
            if self._is_due(record):
                assert record.successor is not None
                record.followed_by = record.successor.run
            self.tell(record.slot, Gone(record.run, record.followed_by))
            if record.followed_by:
                self._follow(record)

    def _check_foundations(self, slot: str) -> None:
        """What runs for as long as its dependents do must be there when one of them follows itself."""
        for name, wanted in self.fleet.services[slot].depends_on.items():
            spec, below = self.fleet.services[name], self.live(name)
            if spec.kind is not Kind.DAEMON or wanted.condition is Condition.COMPLETED:
                continue
            if below is None or below.phase != "live" or below.stopping:
                self.fail(f"{slot} follows although {name} does not run")

    def _is_due(self, record: Record) -> bool:
        successor, exited = record.successor, record.exited
        if successor is None or exited is None or exited.remaining or self.shutdown:
            return False
        if exited.at_mono - record.born < successor.min_life or exited.code in successor.unless:
            return False
        needs = [self.records.get(run) for run in successor.needs]
        return all(need is not None and need.phase == "live" and not need.stopping for need in needs)

    def _follow(self, record: Record) -> None:
        """Start what follows a run that is gone, as a standing order says."""
        now = anyio.current_time()
        self.say(f"{record.followed_by} follows")
        if self.live(record.slot) is not None:
            self.fail(f"two live runs of {record.slot}")
        if record.ordered_for is self.fleet:  # else word of what was applied since may not have come
            if self.specs[record.slot].restart.policy == "never":
                self.fail(f"{record.followed_by} follows, which policy never wants")
            self._check_foundations(record.slot)
        self.followed += 1
        self.spawns.setdefault(record.slot, []).append(now)
        self._begin(
            Record(
                record.followed_by,
                record.slot,
                record.stop,
                record.heir or self.draw_nature(record.slot),
                born=now,
                key=record.key,
            )
        )

    async def _stop(self, record: Record, stop: StopSpec) -> None:
        with anyio.CancelScope() as scope:
            record.stop_scope = scope
            grace = sum(step.wait for step in stop.steps)
            obeys = record.nature.obeys_after
            if stop.steps and obeys is not None and obeys <= grace:
                await anyio.sleep(obeys)
                self.end(record, None, "SIGTERM")
                self.vanish(record)
                return
            await anyio.sleep(grace)
            if record.nature.dies_after_kill > 5:
                await anyio.sleep(5)
                self.tell(record.slot, Stuck(record.run, (1,)))
            await anyio.sleep(record.nature.dies_after_kill)
            self.end(record, None, "SIGKILL")
            self.vanish(record)

    # To the daemon.

    def tell(self, slot: str, news: Spawned | SpawnRefused | Exited | Gone | Stuck) -> None:
        self.say(f"news {news}")
        if self.link is not None:
            self.link.send(RunNews(slot, news))
        elif isinstance(news, SpawnRefused):
            self.untold[slot] = news  # a failure leaves no record: the next daemon is told after the snapshot

    def snapshot(self) -> Snapshot:
        self.daemon_starts += 1
        runs: list[HeldRun] = []
        for record in self.records.values():
            told: list[Spawned | Exited | Gone] = []
            if record.phase != "exec":
                assert record.spawned is not None
                told.append(record.spawned)
            if record.exited is not None:
                told.append(record.exited)
            if record.phase == "gone":
                told.append(Gone(record.run, record.followed_by))
            runs.append(HeldRun(record.run, record.slot, record.stopping, tuple(told), record.key))
        return Snapshot(
            1, 2, 0.0, self.daemon_starts, self.shutdown, tuple(runs), dict(self.notes), manager=True
        )

    # Health.

    def slot_at(self, port: int) -> str:
        return f"s{port - BASE_PORT}"

    async def check(self, check: object, timeout: float) -> ProbeOutcome:
        port: int = check.port  # type: ignore[attr-defined]  # the schedules use tcp checks alone
        slot = self.slot_at(port)
        await anyio.sleep(0.001)
        record = self.live(slot)
        if record is None or record.phase != "live":
            return ProbeOutcome(passed=False, detail="connection refused")
        age, nature = anyio.current_time() - record.born, record.nature
        healthy = nature.healthy_after is not None and age >= nature.healthy_after
        if healthy and nature.healthy_until is not None and age > nature.healthy_until and self.faults:
            healthy = False
        if healthy:
            record.passed = True
        return ProbeOutcome(passed=healthy, detail="ok" if healthy else "connection refused")


@dataclass
class Known:
    """What one daemon has been told of a slot's latest run."""

    record: Record
    phase: str
    told_end: bool = False
    stopping: bool = False


class Link:
    """One daemon's connection: a KeeperPort whose unsent orders die with the daemon."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.buffer: list[tuple[object, ...]] = []
        self.known: dict[str, Known] = {}
        self.is_stuck = False
        self.on_end: Callable[[], None] = lambda: None
        """Called when the daemon is told of a run's end."""
        self._send, self._receive = anyio.create_memory_object_stream[News](float("inf"))
        for record in world.records.values():
            known = self.known[record.slot] = Known(record, record.phase)
            known.told_end = record.exited is not None
            known.stopping = record.stopping
        world.link = self
        for slot, refused in world.untold.items():
            self.send(RunNews(slot, refused))
        world.untold.clear()

    def send(self, news: News) -> None:
        self._send.send_nowait(news)

    def close(self) -> None:
        """Lose what was not sent, and let nobody listen any more."""
        self.buffer.clear()
        self._send.close()
        self._receive.close()

    async def news(self) -> AsyncIterator[News]:
        async for first in self._receive:
            told = [first]
            if self.world.rng.random() < _READ_TOGETHER:
                with suppress(anyio.WouldBlock, anyio.ClosedResourceError):  # it may have died by now
                    while True:
                        told.append(self._receive.receive_nowait())
            for item in told:  # nobody's turn comes between what was read at once
                if isinstance(item, RunNews):
                    self._learn(item)
                yield item

    def _learn(self, item: RunNews) -> None:
        record = self.world.records.get(item.input.run)
        known = self.known.get(item.slot)
        is_latest = known is not None and known.record.run == item.input.run
        match item.input:
            case Spawned() if record is not None:
                self.known[item.slot] = Known(record, "live")
            case Exited() if known is not None and is_latest:
                known.told_end = True
                self.on_end()
            case Gone() | SpawnRefused() if is_latest:
                del self.known[item.slot]
            case _:
                pass

    def spawn(self, order: SpawnOrder, note: object) -> None:
        self.world.check_dependencies(order.slot, self.known)
        self.buffer.append(("spawn", order, note))

    def again(self, run: str, successor: Successor | None) -> None:
        self.buffer.append(("again", run, successor))

    def stop(self, run: str, stop: StopSpec | None = None) -> None:
        for known in self.known.values():
            if known.record.run == run:
                known.stopping = True
        self.buffer.append(("stop", run, stop))

    def ack(self, run: str) -> None:
        self.buffer.append(("ack", run))

    def note(self, slot: str, note: object) -> None:
        self.buffer.append(("note", slot, note))

    def limits(self, run: str, limits: object) -> None:
        raise AssertionError

    def listen(self, slot: str, sockets: object) -> None:
        raise AssertionError

    def unlisten(self, slot: str) -> None:
        raise AssertionError

    def log_config(self, target: LogTarget) -> None:
        raise AssertionError

    def shutdown(self) -> None:
        self.buffer.append(("shutdown",))

    def quit(self, status: int) -> None:
        self.buffer.append(("quit", status))

    def status(self, state: str, text: str) -> None:
        self.buffer.append(("status", state, text))

    def pong(self, number: int) -> None:
        self.buffer.append(("pong", number))

    async def signal(self, run: str, signal: str, scope: str) -> None:
        raise AssertionError

    async def input(self, run: str, text: str) -> None:
        raise AssertionError

    async def flush(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.is_stuck:
            await anyio.sleep_forever()
        self.deliver(len(self.buffer))
        for _ in range(self.world.rng.choice([0, 0, 1, 3])):
            await anyio.lowlevel.checkpoint()  # the answer may be there before this turn is over

    def deliver(self, number: int) -> None:
        """Hand the first `number` buffered orders to the world."""
        orders, self.buffer = self.buffer[:number], self.buffer[number:]
        for order in orders:
            self._hand_over(order)

    def _hand_over(self, order: tuple[object, ...]) -> None:
        world = self.world
        match order:
            case ("spawn", SpawnOrder() as spawn, note):
                world.spawn(spawn, note)
            case ("stop", str(run), stop):
                world.stop(run, stop)  # type: ignore[arg-type]  # as put in above
            case ("again", str(run), successor):
                world.again(run, successor)  # type: ignore[arg-type]  # as put in above
            case ("ack", str(run)):
                world.ack(run)
            case ("note", str(slot), note):
                world.count(slot)
                if note is None:
                    world.notes.pop(slot, None)
                else:
                    world.notes[slot] = note
            case ("status", str(state), str(text)):
                if not any(spec.schedule for spec in world.fleet.services.values()):
                    world.count("fleet:")
                world.standing = (state, text)
            case ("pong", int(number)):
                world.pong = number
            case ("shutdown",):
                world.shutdown = True
                world.say("shutdown")
            case ("quit", int(status)):
                world.say(f"quit {status}")
                if any(record.phase != "gone" for record in world.records.values()):
                    world.fail("the daemon quits while something runs")
                world.quit_status = status
            case _:
                raise AssertionError(order)


__all__ = ["BASE_PORT", "Link", "ReplaceAsked", "ShutdownAsked", "Violation", "World"]
