"""Probes of plugins: a verdict, or the words for why there is none; never an exception."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.engine import builtin
from orchestra_supervisor.model.plugin import BUILTIN_PROBES, BUILTIN_TARGETS
from orchestra_supervisor.model.spec import PluginCheck, TcpCheck
from orchestra_supervisor.plugin_api.context import PluginContext
from orchestra_supervisor.plugin_api.host import PluginHost
from orchestra_supervisor.plugin_api.loader import no_secrets
from orchestra_supervisor.plugin_api.register import directly, register
from orchestra_supervisor.probes.plugin_check import CheckRunner
from tests.unit.plugin_api.plugin_files import spec_of, write_plugin

pytestmark = pytest.mark.anyio

PROBE = """
class Probe:
    type = "demo"
    async def check(self, request):
        what = request.options.get("what")
        if what == "raise":
            raise OSError("no route")
        if what == "hang":
            await asyncio.sleep(3600)
        if what == "odd":
            return Verdict("yes", ["list"])
        return Verdict(what == "good", f"saw\\n{what} within {request.timeout:g}")

@hookimpl
def register_probes(context):
    return [Probe()]
"""


@asynccontextmanager
async def runner(folder: Path) -> AsyncGenerator[CheckRunner]:
    context = PluginContext("builtin", {}, logging.getLogger("test"), 0.0, no_secrets)
    _, offers = register(builtin, context, directly)
    host = PluginHost(lambda *_: None, no_secrets, lambda *_: None, offers)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await tasks.start(host.run)
            await host.apply([spec_of(write_plugin(folder, PROBE))], entry_points=False)
            yield CheckRunner(host)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("what", "passed", "detail"),
    [
        ("good", True, "saw good within 2"),
        ("bad", False, "saw bad within 2"),
        ("raise", False, "plugin demo: probe demo: OSError: no route"),
        ("odd", False, "['list']"),
    ],
)
async def test_a_verdict_and_a_failure_are_outcomes(
    tmp_path: Path, what: str, passed: bool, detail: str
) -> None:
    async with runner(tmp_path) as checks:
        outcome = await checks.run(PluginCheck(probe="demo", options={"what": what}), 2.0)
        assert (outcome.passed, outcome.detail) == (passed, detail)


async def test_one_that_takes_too_long_has_failed_in_the_time_of_the_probe(tmp_path: Path) -> None:
    async with runner(tmp_path) as checks:
        outcome = await checks.run(PluginCheck(probe="demo", options={"what": "hang"}), 0.1)
        assert (outcome.passed, outcome.detail) == (False, "probe demo: no verdict within 0.1 s")


async def test_a_probe_that_no_plugin_has_does_not_pass_and_says_so(tmp_path: Path) -> None:
    async with runner(tmp_path) as checks:
        outcome = await checks.run(PluginCheck(probe="none"), 1.0)
        assert (outcome.passed, outcome.detail) == (False, "no plugin has a probe 'none'")


async def test_what_is_built_in_comes_in_by_the_door_of_plugins(tmp_path: Path, closed_port: int) -> None:
    async with runner(tmp_path) as checks:
        assert tuple(checks.host.builtin.probes) == BUILTIN_PROBES
        assert tuple(checks.host.builtin.targets) == BUILTIN_TARGETS
        outcome = await checks.run(TcpCheck(port=closed_port), 1.0)
        assert "connection refused" in outcome.detail
        same = await checks.run(PluginCheck(probe="tcp", options={"port": closed_port}), 1.0)
        assert same.detail == outcome.detail
        odd = await checks.run(PluginCheck(probe="tcp", options={"port": 70_000}), 1.0)
        assert (odd.passed, odd.detail[:10]) == (False, "probe tcp:")


async def test_what_is_asked_again_and_again_is_held_to_its_form_once(
    tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps: list[object] = []
    validated: list[object] = []
    dump, validate = TcpCheck.model_dump, TcpCheck.model_validate

    def counted_dump(check: TcpCheck) -> dict[str, object]:
        dumps.append(check)
        return dump(check)

    def counted_validate(options: object) -> TcpCheck:
        validated.append(options)
        return validate(options)

    monkeypatch.setattr(TcpCheck, "model_dump", counted_dump)
    monkeypatch.setattr(TcpCheck, "model_validate", counted_validate)
    async with runner(tmp_path) as checks:
        one, other = TcpCheck(port=closed_port), TcpCheck(port=closed_port, host="localhost")
        for _ in range(3):
            for check in (one, other):
                assert not (await checks.run(check, 1.0)).passed
    assert dumps == [one, other]
    assert validated == [dump(one), dump(other)]
