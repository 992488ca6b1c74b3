"""What the services use is known, and still known after the daemon was killed."""

import pytest

from orchestra_supervisor.control_client import Json
from tests.e2e.fleet_driver import Fleet, Row, python, until

BUSY = """
import os
print("here", flush=True)
if os.fork():
    os.wait()
while True:
    pass
"""


@pytest.mark.slow
def test_figures_are_told_of_whole_trees_and_outlive_the_daemon(fleet: Fleet) -> None:
    fleet.write({"busy": {"command": python(BUSY)}, "off": {"command": ["x"], "enabled": False}})
    fleet.up()
    fleet.until_log("busy", "here")

    def ask(path: str = "/v1/figures", **query: float) -> Json:
        return fleet.client.request("GET", path, query=query)

    def is_busy() -> Row | None:
        now: Row = ask()
        web = now["services"]["busy"]
        return now if web and web["processes"] == 2 and (web["cpu"] or 0) > 10 else None

    now = until(is_busy, "the busy one is seen to be busy")
    assert now["services"]["off"] is None
    assert all(now["roles"][role]["memory"] > 1_000_000 for role in ("keeper", "logger", "daemon"))
    assert fleet.service("busy")["figures"]["processes"] == 2
    path = "/v1/services/busy/figures"
    before: list[Row] = until(lambda: ask(path)["samples"], "a sample is kept")  # type: ignore[arg-type]
    fleet.kill_daemon()
    after: Row = until(lambda: ask(path), "the next daemon answers")
    assert after["samples"][: len(before)] == before
    assert set(ask(since=60.0)["history"]) >= {"busy", "role:keeper"}  # type: ignore[call-overload]


@pytest.mark.slow
def test_a_period_of_zero_takes_none_and_a_reload_changes_that(fleet: Fleet) -> None:
    services = {"idle": {"command": python("import time; time.sleep(1000)")}}
    fleet.write(services, figures_period=0)
    fleet.up()
    assert fleet.service("idle")["figures"] is None
    assert fleet.client.request("GET", "/v1/figures")["period"] == 0
    fleet.write(services, figures_period="5s")
    fleet.ok("reload")
    figures = until(lambda: fleet.service("idle")["figures"], "figures are taken now")
    assert figures["processes"] == 1
