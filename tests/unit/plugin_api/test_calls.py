"""Calls into a plugin that fails, hangs or lies: an error in time, and nobody else notices."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from orchestra_supervisor.model.errors import PluginError
from orchestra_supervisor.plugin_api.loader import PluginLoader
from orchestra_supervisor.plugin_api.loop import OPEN_CALLS
from orchestra_supervisor.plugin_api.plugin import Plugin
from orchestra_supervisor.plugin_api.probe import ProbeRequest, Verdict
from orchestra_supervisor.plugin_api.standing import FAILURES_IN_A_ROW
from tests.unit.plugin_api.plugin_files import load_text

pytestmark = pytest.mark.anyio

Make = Callable[..., Plugin]


@pytest.fixture
def make(loader: PluginLoader, tmp_path: Path) -> Make:
    """Load a plugin whose probe does what the text says."""

    def make(body: str, **fields: object) -> Plugin:
        lines = "\n".join(f"        {line}" for line in body.splitlines())
        text = (
            "RELEASE = threading.Event()\n"
            "class Probe:\n    type = 'demo'\n    def release(self): RELEASE.set()\n"
            f"    async def check(self, request):\n{lines}\n"
            "@hookimpl\ndef register_probes(context): return [Probe()]\n"
        )
        plugin = load_text(loader, tmp_path, text, **({"timeout": 0.1} | fields))
        assert plugin.fault is None, plugin.fault
        return plugin

    return make


async def ask(plugin: Plugin, timeout: float = 1.0) -> Verdict:
    check = plugin.offers.probes["demo"].check
    with anyio.fail_after(5):
        return await plugin.call("probe demo", check, ProbeRequest({}, timeout), wanted=Verdict)


async def test_a_call_runs_in_the_plugins_own_thread(make: Make) -> None:
    plugin = make("return Verdict(True, threading.current_thread().name)", timeout=5)
    verdict = await ask(plugin)
    assert verdict == Verdict(passed=True, detail="plugin demo")
    assert threading.current_thread().name != "plugin demo"
    assert (plugin.standing.calls, plugin.standing.failures) == (1, 0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck"),
        ("return 5", "returned int"),
        ("sys.exit(1)", "tried to end the process"),
        ("raise asyncio.CancelledError", "cancelled"),
        ("raise TimeoutError('own')", "TimeoutError: own"),
    ],
)
async def test_a_call_that_fails_is_an_error_under_the_plugins_name(make: Make, body: str, said: str) -> None:
    plugin = make(body, timeout=5)
    with pytest.raises(PluginError) as caught:
        await ask(plugin)
    assert said in caught.value.message
    assert "plugin demo: probe demo" in caught.value.message
    assert plugin.standing.failures == 1
    assert said in plugin.report(anyio.current_time()).last_error
    with pytest.raises(PluginError):
        await ask(plugin)
    assert plugin.standing.failures == 2, "it was asked again"


async def test_an_async_call_that_hangs_is_cancelled_and_the_next_one_is_served(make: Make) -> None:
    plugin = make("if request.timeout == 9: await asyncio.sleep(3600)\nreturn Verdict(True, 'fine')")
    with pytest.raises(PluginError, match=r"no answer within 0\.1 s"):
        await ask(plugin, 9)
    with anyio.fail_after(5):
        while plugin.loop.stuck_in:  # the cancellation is on its way
            await anyio.sleep(0.001)
    assert (await ask(plugin)).passed


async def test_a_call_that_blocks_its_thread_does_not_block_ours_and_gets_company_only_when_it_is_back(
    make: Make,
) -> None:
    plugin = make("if request.timeout == 9: RELEASE.wait()\nreturn Verdict(True, 'fine')")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        with pytest.raises(PluginError, match="no answer"):
            await ask(plugin, 9)
        tasks.cancel_scope.cancel()
    assert ticks > 10, "our loop went on"
    assert plugin.state(anyio.current_time()) == "stuck"
    before = time.monotonic()
    with pytest.raises(PluginError, match="hangs in probe demo"):
        await ask(plugin)
    assert time.monotonic() - before < 1, "nothing is asked of it, so nothing is waited for"
    plugin.offers.probes["demo"].release()  # type: ignore[attr-defined]  # the test's own
    with anyio.fail_after(5):
        while plugin.loop.stuck_in:
            await anyio.sleep(0.001)
    assert (await ask(plugin)).passed


async def test_one_that_fails_again_and_again_is_left_alone_and_tried_again_later(make: Make) -> None:
    plugin = make("if FAIL: raise RuntimeError('x')\nreturn Verdict(True, 'fine')", timeout=5)
    module = type(plugin.offers.probes["demo"]).check.__globals__
    module["FAIL"] = True
    told: list[str] = []
    plugin.tell = lambda _, kind, message: told.append(f"{kind}: {message}")
    for _ in range(FAILURES_IN_A_ROW):
        with pytest.raises(PluginError):
            await ask(plugin)
    assert plugin.state(anyio.current_time()) == "suspended"
    with pytest.raises(PluginError, match="suspended after 3 failures"):
        await ask(plugin)
    assert plugin.standing.calls == FAILURES_IN_A_ROW, "it was not asked"
    until = plugin.standing.suspended_until
    assert until is not None
    assert plugin.state(until) == "ok"
    module["FAIL"] = False
    plugin.standing = type(plugin.standing)(3, 3, 3, anyio.current_time() - 1, "x")  # the time has come
    assert (await ask(plugin)).passed
    assert [line.partition(":")[0] for line in told] == [
        "plugin.failed",
        "plugin.suspended",
        "plugin.resumed",
    ]


async def test_a_caller_that_goes_away_takes_its_call_along(make: Make) -> None:
    plugin = make("await asyncio.sleep(3600)", timeout=60)
    with anyio.move_on_after(0.05):
        await ask(plugin)
    with anyio.fail_after(5):
        while plugin.loop.stuck_in:
            await anyio.sleep(0.001)
    assert plugin.standing.failures == 0


async def test_a_plugin_has_so_many_calls_at_a_time_and_no_more(make: Make) -> None:
    plugin = make("await asyncio.sleep(3600)", timeout=60)
    async with anyio.create_task_group() as tasks:
        for _ in range(OPEN_CALLS):
            tasks.start_soon(ask, plugin)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(PluginError, match="calls open"):
            await ask(plugin)
        tasks.cancel_scope.cancel()


async def test_a_plugin_that_was_let_go_of_is_not_asked(make: Make) -> None:
    plugin = make("return Verdict(True, str(threading.get_ident()))", timeout=5)
    ident = int((await ask(plugin)).detail)
    plugin.loop.close()
    with anyio.fail_after(5):
        while any(thread.ident == ident for thread in threading.enumerate()):
            await anyio.sleep(0.001)
    with pytest.raises(PluginError, match="unloaded"):
        await ask(plugin)
