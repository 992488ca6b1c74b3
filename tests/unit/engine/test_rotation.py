"""Changed secrets on a virtual clock: who restarts, who is told, who goes on, what the next daemon knows."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from orchestra_supervisor.config.secrets import fill_secrets
from orchestra_supervisor.engine.rotation import FIRST_PAUSE, LONGEST_PAUSE, Rotation
from orchestra_supervisor.engine.secret_ledger import LEDGER_PREFIX, SecretLedger
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.equipment import ReloadSpec
from orchestra_supervisor.model.errors import SecretError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.rotation import SecretChangeSpec
from orchestra_supervisor.model.spec import RestartSpec, ServiceSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.process.orders import HeldRun
from orchestra_supervisor.rules.inputs import Spawned
from orchestra_supervisor.rules.watching import MOST_ACTIONS
from tests.unit.engine.desk import Desk, FakeKeeper, fleet_of, running, settle

pytestmark = pytest.mark.anyio

OLD, NEW = "hunter2-old", "hunter2-new"


@dataclass
class Store:
    """Where the values are, as the test changes them."""

    values: dict[str, str]
    lasting: set[str] = field(default_factory=set[str])
    asked: list[str] = field(default_factory=list[str])
    takes: float = 0.0

    async def resolve(self, env: Mapping[str, str]) -> dict[str, str]:
        def value_of(name: str, variable: str) -> str:
            self.asked.append(name)
            if name not in self.values:
                raise SecretError(f"secret {name!r} is not there")
            return self.values[name]

        filled = fill_secrets(env, value_of)
        if self.takes:
            await anyio.sleep(self.takes)
        return filled

    def is_lasting(self, name: str) -> bool:
        return name in self.lasting


@dataclass
class Room:
    desk: Desk
    store: Store
    rotation: Rotation

    async def events(self, kind: str = "secret.") -> list[Event]:
        return await self.desk.journal.events(EventQuery(limit=1000, kind_prefix=kind))

    async def look(self) -> None:
        self.rotation.look()
        await settle()

    def spawns(self, name: str) -> int:
        return self.desk.keeper.slots().count(name)

    def signals(self) -> list[tuple[object, ...]]:
        return [order[1:] for order in self.desk.keeper.orders if order[0] == "signal"]


def one(name: str, secret: str, action: str = "restart", **fields: object) -> ServiceSpec:
    signal = action if action.startswith("SIG") else None
    wish = SecretChangeSpec.model_validate({"action": "signal" if signal else action, "signal": signal})
    env = {"A": f"x ${{secret:{secret}}}"}
    return ServiceSpec.model_validate(
        {"name": name, "argv": ("x",), "cwd": "/", "env": env, "on_secret_change": wish, **fields}
    )


@asynccontextmanager
async def a_room(*specs: ServiceSpec, store: Store, keeper: FakeKeeper | None = None) -> AsyncGenerator[Room]:
    """Run a fleet; with a keeper that has been used, as the daemon that takes over from the last one."""
    keeper = keeper or FakeKeeper()
    held = [
        HeldRun(str(run["id"]), spec.name, stopping=False, told=(Spawned(str(run["id"]), 1000, 0.0, 0.0),))
        for spec in specs
        if isinstance(note := keeper.notes.get(spec.name), dict) and (run := note["run"])
    ]
    ledger = SecretLedger(keeper, keeper.notes)
    async with (
        running(
            fleet_of(*specs),
            keeper=keeper,
            snapshot=keeper.snapshot(held),
            secrets=store.resolve,
            take_down=ledger.begin,
        ) as desk,
        anyio.create_task_group() as tasks,
    ):
        rotation = Rotation(desk.supervisor, desk.verbs, keeper, ledger, store, desk.bus)
        tasks.start_soon(rotation.run)
        await settle()
        yield Room(desk, store, rotation)
        tasks.cancel_scope.cancel()


async def test_only_the_user_of_a_value_that_changed_gets_a_new_run() -> None:
    store = Store({"db": OLD, "api": OLD})
    async with a_room(one("web", "db"), one("cron", "api"), store=store) as room:
        await room.look()
        assert await room.events() == [], "nothing has changed"
        store.values["db"] = NEW
        await room.look()
        assert (room.spawns("web"), room.spawns("cron")) == (2, 1)
        assert room.desk.keeper.spawned[-1].env["A"] == f"x {NEW}"
        (event,) = await room.events()
        assert (event.kind, event.message) == ("secret.changed", "secrets have changed: web restarts")
        assert event.data == {
            "scheme": "",
            "names": ["db"],
            "services": ["web"],
            "actions": {"web": "restart"},
        }
        (stopping,) = await room.events("service.stopping")
        assert stopping.message == "its secrets have changed: db"
        await room.look()
        assert room.spawns("web") == 2


async def test_a_service_is_told_by_the_signal_it_asks_for_once() -> None:
    store = Store({"db": OLD})
    by_reload = one("nginx", "db", "reload", reload=ReloadSpec(signal="SIGUSR1"))
    async with a_room(
        one("web", "db", "SIGUSR2"), by_reload, one("old", "db", "reload"), store=store
    ) as room:
        runs = {name: room.desk.run(name) for name in ("web", "nginx", "old")}
        store.values["db"] = NEW
        for _ in range(3):
            await room.look()
        assert sorted(room.signals()) == [
            (runs["nginx"], "SIGUSR1", "leader"),
            (runs["old"], "SIGHUP", "leader"),
            (runs["web"], "SIGUSR2", "leader"),
        ]
        assert len(room.desk.keeper.spawned) == 3
        (event,) = await room.events()
        assert event.data["actions"] == {"web": "SIGUSR2", "nginx": "reload", "old": "reload"}
        store.values["db"] = OLD
        await room.look()
        assert len(room.signals()) == 6, "back is a change as well"


async def test_a_service_that_wants_nothing_goes_on_and_is_named_once() -> None:
    store = Store({"db": OLD})
    async with a_room(one("web", "db", "ignore"), store=store) as room:
        store.values["db"] = NEW
        for _ in range(3):
            await room.look()
        assert (room.spawns("web"), room.signals()) == (1, [])
        (event,) = await room.events()
        assert event.message == "secrets have changed: web goes on with an old value"
        del store.values["db"]
        await room.look()
        assert len(await room.events()) == 1, (
            "what it could not be started with again is none of its business"
        )


async def test_a_word_of_a_provider_is_acted_on_where_the_value_is_another_one() -> None:
    store = Store({"vault:db#a": OLD, "vault:db#b": OLD})
    async with a_room(one("web", "vault:db#a"), one("api", "vault:db#b"), store=store) as room:
        store.values["vault:db#a"] = NEW
        await room.look()
        assert await room.events() == [], "what a provider has is its own to tell"
        room.rotation.tell("vault", ["db#a", "db#b"])
        await settle()
        assert (room.spawns("web"), room.spawns("api")) == (2, 1)
        (event,) = await room.events()
        assert event.message == "secrets of vault have changed: web restarts"
        assert event.data["names"] == ["db#a", "db#b"]
        room.rotation.tell("vault", ["db#b"])
        await settle()
        assert [event.message for event in await room.events()][1:] == [
            "secrets of vault have changed: no service holds an old value"
        ]


async def test_a_service_is_not_stopped_while_it_could_not_be_started_again() -> None:
    store = Store({"vault:db": OLD})
    async with a_room(one("web", "vault:db"), store=store) as room:
        del store.values["vault:db"]
        room.rotation.tell("vault", ["db"])
        await anyio.sleep(FIRST_PAUSE * 10)
        assert room.desk.state("web") is State.READY
        events = await room.events()
        assert [event.kind for event in events] == ["secret.failed", "secret.changed"]
        assert events[0].message == "it goes on with the secrets it has: secret 'vault:db' is not there"
        store.values["vault:db"] = NEW
        await anyio.sleep(LONGEST_PAUSE + 1)
        assert room.spawns("web") == 2, "what was told is not forgotten"
        asked = len(store.asked)
        await anyio.sleep(LONGEST_PAUSE * 10)
        assert len(store.asked) == asked, "and nobody is asked for ever"


async def test_a_change_while_a_run_is_being_given_its_secrets_is_not_missed() -> None:
    store = Store({"db": OLD}, takes=3.0)
    async with a_room(one("web", "db"), store=store) as room:
        store.values["db"], store.takes = NEW, 0.0  # after the run's value was read, before it is spawned
        await room.look()
        assert room.desk.keeper.spawned == []
        await anyio.sleep(20.0)
        assert [order.env["A"] for order in room.desk.keeper.spawned] == [f"x {OLD}", f"x {NEW}"]


async def test_a_run_that_begins_while_values_are_read_is_not_held_against_them() -> None:
    store = Store({"db": OLD})
    async with a_room(one("web", "db"), store=store) as room:
        store.takes = 3.0
        room.rotation.look()
        await anyio.sleep(1.0)  # the look has read the old value
        store.values["db"], store.takes = NEW, 0.0
        room.desk.verbs.restart(["web"], "by hand", with_dependents=False)
        await anyio.sleep(20.0)
        assert [order.env["A"] for order in room.desk.keeper.spawned] == [f"x {OLD}", f"x {NEW}"]
        assert await room.events() == []


async def test_the_next_daemon_acts_on_what_changed_while_there_was_none() -> None:
    keeper, specs = FakeKeeper(), (one("web", "db"), one("same", "api"), one("hup", "vault:x", "SIGHUP"))
    store = Store({"db": OLD, "api": OLD, "vault:x": OLD}, lasting={"vault:x"})
    async with a_room(*specs, store=store, keeper=keeper) as room:
        assert len(keeper.spawned) == 3
        assert OLD not in repr(keeper.notes)
    used = FakeKeeper(notes=dict(keeper.notes))
    store.values |= {"db": NEW, "vault:x": NEW}
    async with a_room(*specs, store=store, keeper=used) as room:
        await settle()
        assert used.slots() == ["web"]
        assert [signal for _, signal, _ in room.signals()] == ["SIGHUP"]
        assert used.notes[LEDGER_PREFIX] == keeper.notes[LEDGER_PREFIX]
        assert NEW not in repr(used.notes) + repr(await room.events(""))
    third = FakeKeeper(notes=dict(used.notes))
    async with a_room(*specs, store=store, keeper=third) as room:
        await settle()
        assert (third.slots(), room.signals()) == ([], [])


async def test_a_provider_that_gives_another_value_each_time_restarts_nothing_when_a_daemon_takes_over() -> (
    None
):
    keeper, store = FakeKeeper(), Store({"vault:lent": OLD})
    async with a_room(one("web", "vault:lent"), store=store, keeper=keeper):
        pass
    used = FakeKeeper(notes=dict(keeper.notes))
    store.values["vault:lent"] = NEW
    async with a_room(one("web", "vault:lent"), store=store, keeper=used) as room:
        await settle()
        assert used.slots() == []
        assert await room.events() == []


async def test_a_service_that_failed_with_its_secret_is_tried_again_with_another() -> None:
    store = Store({"db": OLD})
    never = RestartSpec(policy="never")
    async with a_room(
        one("web", "db", restart=never), one("hup", "db", "SIGHUP", restart=never), store=store
    ) as room:
        for name in ("web", "hup"):
            room.desk.keeper.end(room.desk.run(name), 1)
        await settle()
        store.values["db"] = NEW
        await room.look()
        assert (room.desk.state("web"), room.desk.state("hup")) == (State.READY, State.FAILED)


async def test_a_service_that_is_down_or_on_its_way_down_is_left_alone() -> None:
    store = Store({"db": OLD})
    async with a_room(one("web", "db"), one("slow", "db"), store=store) as room:
        room.desk.verbs.stop(["web"], "by hand", with_dependents=False)
        room.desk.keeper.obeys = False
        room.desk.verbs.stop(["slow"], "by hand", with_dependents=False)
        await settle()
        store.values["db"] = NEW
        await room.look()
        assert (room.spawns("web"), room.spawns("slow"), await room.events()) == (1, 1, [])


async def test_a_service_that_changes_its_own_secret_is_not_restarted_without_end() -> None:
    store = Store({"db": OLD})
    async with a_room(one("web", "db"), store=store) as room:
        for number in range(MOST_ACTIONS + 5):
            store.values["db"] = f"{NEW}-{number}"
            await room.look()
            await anyio.sleep(0.1)
        assert room.spawns("web") == 1 + MOST_ACTIONS
        await anyio.sleep(120.0)
        assert room.spawns("web") == 2 + MOST_ACTIONS, "the last value is not forgotten"


async def test_what_is_known_of_a_service_that_is_no_more_is_forgotten() -> None:
    store = Store({"db": OLD})
    async with a_room(one("web", "db"), store=store) as room:
        keeper = room.desk.keeper
        assert f"{LEDGER_PREFIX}web" in keeper.notes
        room.desk.verbs.stop(["web"], "no more", with_dependents=False)
        await settle()
        room.desk.supervisor.forget("web")
        await room.look()
        assert set(keeper.notes) & {"web", f"{LEDGER_PREFIX}web"} == set()
