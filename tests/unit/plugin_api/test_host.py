"""The host with real plugins in real threads: applying, events, secrets, watching."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.model.errors import PluginError, SecretError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.plugin import PluginSpec
from orchestra_supervisor.plugin_api.host import EARLY_EVENTS, PluginHost
from tests.unit.plugin_api.plugin_files import spec_of, write_plugin

pytestmark = pytest.mark.anyio

SINK = """
class Sink:
    name = "list"
    def __init__(self, context):
        self.path, self.context = context.options["path"], context
    async def take(self, events):
        value = await self.context.reveal(self.context.options.get("value", "plain"))
        with open(self.path, "a", encoding="utf-8") as file:
            for event in events:
                file.write(f"{event.kind} {value}\\n")

@hookimpl
def register_event_sinks(context):
    return [Sink(context)]
"""

VAULT = """
class Vault:
    scheme = "vault"
    async def resolve(self, names):
        return {name: Secret("v-" + name) for name in names}
    async def watch(self):
        yield ["a", "b"]
        yield ["c"]

@hookimpl
def register_secret_providers(context):
    return [Vault()]
"""


@dataclass
class Desk:
    host: PluginHost
    published: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    changed: list[tuple[str, tuple[str, ...]]] = field(default_factory=list[tuple[str, tuple[str, ...]]])

    async def apply(self, *specs: PluginSpec) -> None:
        await self.host.apply(specs, entry_points=False)

    def states(self) -> dict[str, str]:
        return {report.name: report.state.value for report in self.host.reports()}


async def reveal(reference: str) -> str:
    if reference == "secret:none":
        raise SecretError("there is none")
    return reference.upper()


@asynccontextmanager
async def hosting() -> AsyncGenerator[Desk]:
    published: list[tuple[str, str]] = []
    changed: list[tuple[str, tuple[str, ...]]] = []
    host = PluginHost(
        lambda kind, message, _: published.append((kind, message)),
        reveal,
        lambda scheme, names: changed.append((scheme, tuple(names))),
    )
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await tasks.start(host.run)
            yield Desk(host, published, changed)
            tasks.cancel_scope.cancel()


def kinds(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


async def test_events_from_before_the_plugins_were_loaded_reach_them_and_so_do_later_ones(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    async with hosting() as desk:
        desk.host.hand_on(Event("first", "", 0.0))
        await desk.apply(spec_of(write_plugin(tmp_path, SINK), options={"path": str(out)}))
        desk.host.hand_on(Event("second", "", 0.0))
        await desk.host.drain()
    assert kinds(out) == ["first PLAIN", "second PLAIN"]


async def test_what_waits_for_plugins_that_take_their_time_is_bounded() -> None:
    async with hosting() as desk:
        for _ in range(EARLY_EVENTS + 10):
            desk.host.hand_on(Event("x", "", 0.0))
        assert len(desk.host._waiting) == EARLY_EVENTS
        await desk.apply()
        assert desk.host._waiting == []


async def test_a_plugin_gets_a_secret_when_it_asks_and_a_failure_of_that_is_its_own(tmp_path: Path) -> None:
    path, out = write_plugin(tmp_path, SINK), tmp_path / "out"
    async with hosting() as desk:
        await desk.apply(spec_of(path, options={"path": str(out), "value": "secret:x"}))
        desk.host.hand_on(Event("one", "", 0.0))
        await desk.host.drain()
        assert kinds(out) == ["one SECRET:X"]
        await desk.apply(spec_of(path, options={"path": str(out), "value": "secret:none"}))
        plugin = desk.host.working[0]
        with pytest.raises(PluginError, match="there is none"):
            await plugin.call("x", plugin.offers.event_sinks["list"].take, [Event("two", "", 0.0)])
    assert kinds(out) == ["one SECRET:X"]


async def test_one_that_cannot_be_loaded_is_told_once_and_the_others_work(tmp_path: Path) -> None:
    out = tmp_path / "out"
    good = spec_of(write_plugin(tmp_path, SINK), options={"path": str(out)})
    bad = spec_of(write_plugin(tmp_path, "raise OSError('x')", "bad.py"))
    async with hosting() as desk:
        await desk.apply(bad, good)
        desk.host.hand_on(Event("one", "", 0.0))
        await desk.host.drain()
        assert desk.states() == {"bad": "failed", "demo": "ok"}
        assert [kind for kind, _ in desk.published] == ["plugin.failed"]
        assert "plugin bad: not loaded: OSError: x" in desk.published[0][1]
    assert kinds(out) == ["one PLAIN"]


async def test_going_over_keeps_what_has_not_changed_and_ends_what_is_no_longer_wanted(
    tmp_path: Path,
) -> None:
    path, out = write_plugin(tmp_path, SINK), tmp_path / "out"
    spec = spec_of(path, options={"path": str(out)})
    other = spec_of(path, name="other", options={"path": str(tmp_path / "other")})
    async with hosting() as desk:
        await desk.apply(spec, other)
        first = desk.host.working[0]
        await desk.apply(spec)
        assert desk.host.working == [first]
        desk.host.hand_on(Event("one", "", 0.0))
        await desk.host.drain()
        await desk.apply()
        assert desk.states() == {}
        desk.host.hand_on(Event("two", "", 0.0))
        await desk.host.drain()
    assert kinds(out) == ["one PLAIN"]
    assert kinds(tmp_path / "other") == []


async def test_a_disabled_plugin_is_listed_and_gets_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with hosting() as desk:
        path = write_plugin(tmp_path, SINK)
        await desk.apply(spec_of(path, enabled=False, options={"path": str(out)}))
        desk.host.hand_on(Event("one", "", 0.0))
        await desk.host.drain()
        assert desk.states() == {"demo": "disabled"}
    assert kinds(out) == []


async def test_what_a_provider_says_has_changed_is_passed_on(tmp_path: Path) -> None:
    async with hosting() as desk:
        await desk.apply(spec_of(write_plugin(tmp_path, VAULT)))
        while len(desk.changed) < 2:
            await anyio.sleep(0.001)
        assert desk.changed == [("vault", ("a", "b")), ("vault", ("c",))]
