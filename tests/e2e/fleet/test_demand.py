"""Services that start on demand, on the whole: demands, reloads and deaths of the daemon between them."""

import json
from collections.abc import Callable

import pytest

from orchestra_supervisor.control_client import ControlError, rows
from tests.e2e.fleet_driver import Fleet, Row, alive, python, until

pytestmark = pytest.mark.slow

SLEEP = python("import time; time.sleep(600)")
ECHO = python("import sys; [print(line, end='', flush=True) for line in sys.stdin]")


def standing(fleet: Fleet) -> dict[str, str]:
    return {name: f"{row['state']} {row['down_reason']}".strip() for name, row in fleet.status().items()}


def demand(fleet: Fleet, name: str) -> list[Row]:
    return rows(fleet.client.start([name], demand=True, reason="a call"), "results")


def test_a_service_rests_runs_and_rests_again(fleet: Fleet) -> None:
    fleet.write(
        {
            "web": {"command": SLEEP},
            "tool": {"command": SLEEP, "start_on": "demand", "depends_on": ["store"]},
            "store": {"command": SLEEP, "start_on": "demand"},
        }
    )
    assert "3 ready of 3" in fleet.up()
    assert standing(fleet) == {"web": "ready", "tool": "stopped demand", "store": "stopped demand"}
    fleet.ok("wait", "all", "--for", "ready")
    assert "started on demand" in fleet.ok("status", "tool")

    [store, tool] = demand(fleet, "tool")
    assert (store["name"], store["after"], tool["after"]) == ("store", "ready", "ready")
    pid = fleet.pid("tool")
    fleet.ok("reload")
    fleet.kill_daemon()
    assert (fleet.pid("tool"), standing(fleet)["tool"]) == (pid, "ready")

    with pytest.raises(ControlError, match="store is needed by tool") as caught:
        fleet.client.stop(["store"], demand=True)
    assert caught.value.code == "conflict"
    [row] = rows(fleet.client.stop(["tool"], demand=True), "results")
    assert (row["after"], row["message"], alive(pid)) == ("stopped", "started on demand", False)

    fleet.kill_daemon()
    assert standing(fleet) == {"web": "ready", "tool": "stopped demand", "store": "ready"}
    fleet.ok("reload")
    fleet.ok("restart", "tool")
    assert standing(fleet)["tool"] == "stopped demand"


def test_a_stop_by_hand_is_stronger_over_reloads_deaths_and_a_new_start(fleet: Fleet) -> None:
    fleet.write({"tool": {"command": SLEEP, "start_on": "demand"}}, remember_stops=True)
    fleet.up()
    demand(fleet, "tool")
    fleet.ok("stop", "tool")

    def is_refused() -> None:
        with pytest.raises(ControlError, match="tool was stopped by hand") as caught:
            demand(fleet, "tool")
        assert (caught.value.code, caught.value.hint) == ("conflict", "orchestra start tool")
        fleet.client.stop(["tool"], demand=True)
        assert standing(fleet) == {"tool": "stopped operator"}

    is_refused()
    fleet.ok("reload")
    is_refused()
    fleet.kill_daemon()
    is_refused()
    fleet.ok("down")
    fleet.up()
    is_refused()
    fleet.ok("start", "tool")
    assert standing(fleet) == {"tool": "ready"}
    fleet.client.stop(["tool"], demand=True)
    fleet.ok("down")
    fleet.up()
    assert standing(fleet) == {"tool": "stopped demand"}, "an idle stop is not remembered as one by hand"


def test_what_somebody_depends_on_starts_with_them(fleet: Fleet) -> None:
    tool = {"command": SLEEP, "start_on": "demand"}
    fleet.write({"web": {"command": SLEEP, "depends_on": ["tool"]}, "tool": tool, "idle": tool})
    fleet.up()
    assert standing(fleet) == {"web": "ready", "tool": "ready", "idle": "stopped demand"}
    api = {"command": SLEEP, "depends_on": ["idle"]}
    fleet.write({"web": {"command": SLEEP, "depends_on": ["tool"]}, "tool": tool, "idle": tool, "api": api})
    fleet.ok("reload")
    fleet.until_state("api", "ready")
    assert standing(fleet)["idle"] == "ready"


def test_a_reload_changes_how_a_service_is_started(fleet: Fleet) -> None:
    fleet.write({"tool": {"command": SLEEP, "start_on": "demand"}, "other": {"command": SLEEP}})
    fleet.up()
    fleet.write({"tool": {"command": SLEEP}, "other": {"command": SLEEP, "start_on": "demand"}})
    fleet.ok("reload")
    fleet.until_state("tool", "ready")
    fleet.until_state("other", "ready")  # it was up, and stays so
    fleet.client.stop(["other"], demand=True)
    assert standing(fleet) == {"tool": "ready", "other": "stopped demand"}


def test_only_chooses_among_what_starts_with_the_fleet(fleet: Fleet) -> None:
    tool = {"command": SLEEP, "start_on": "demand"}
    fleet.write({"a": {"command": SLEEP}, "b": {"command": SLEEP}, "tool": tool, "named": tool})
    fleet.up("--only", "a,named")
    assert standing(fleet) == {
        "a": "ready",
        "b": "stopped not_selected",
        "tool": "stopped demand",
        "named": "ready",
    }
    demand(fleet, "tool")
    with pytest.raises(ControlError, match="b was left out by --only"):
        demand(fleet, "b")


def test_a_server_of_a_client_s_file_is_a_stdio_service_that_ends_with_its_input(fleet: Fleet) -> None:
    servers = {
        "echo": {"command": ECHO[0], "args": ECHO[1:]},
        "pool": {"command": ECHO[0], "args": ECHO[1:], "sharing": "pool", "size": 2},
        "mine": {"command": ECHO[0], "args": ECHO[1:], "sharing": "per_client", "size": 3},
        "far": {"url": "http://127.0.0.1:1/mcp", "headers": {"X": "secret:token"}},
    }
    (fleet.path / "claude_mcp_config.json").write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    secrets = fleet.path / "secrets.json"
    secrets.write_text('{"token": "s3cr3t"}', encoding="utf-8")
    secrets.chmod(0o600)
    fleet.write({"web": {"command": SLEEP}}, secrets_file="secrets.json")
    fleet.up()
    resting = dict.fromkeys(("echo", "pool@1", "pool@2", "mine@1"), "stopped demand")
    assert standing(fleet) == {"web": "ready", **resting}

    answer = fleet.client.request("GET", "/v1/mcp")
    told = {str(row["name"]): row for row in rows(answer, "backends")}
    assert {name: row["members"] for name, row in told.items()} == {
        "echo": ["echo"],
        "pool": ["pool@1", "pool@2"],
        "mine": ["mine@1"],
        "far": [],
    }
    headers = fleet.client.request("POST", "/v1/mcp/headers", body={"backend": "far"})
    assert headers == {"headers": {"X": "s3cr3t"}}

    demand(fleet, "echo")
    pid = fleet.pid("echo")
    assert fleet.service("echo")["stdio"] is True
    [row] = rows(fleet.client.stop(["echo"], demand=True), "results")
    assert row["took"] < 1.5, "the end of its input is enough"
    assert not alive(pid)
    assert fleet.service("echo")["exit"]["text"] == "exit code 0"

    fleet.client.scale({"mine": 3})
    assert {name for name in standing(fleet) if name.startswith("mine")} == {"mine@1", "mine@2", "mine@3"}
    demand(fleet, "mine@3")
    assert standing(fleet)["mine@3"] == "ready"


def test_a_stdio_server_that_is_killed_comes_back_at_once(fleet: Fleet) -> None:
    fleet.write({"echo": {"command": ECHO, "stdio": True, "start_on": "demand"}})
    fleet.up()
    demand(fleet, "echo")
    pid = fleet.pid("echo")
    fleet.kill(pid)

    def is_back() -> bool:
        row = fleet.service("echo")
        return row["state"] == "ready" and row["pid"] != pid

    until(is_back, "echo runs again")
    fleet.ok("down")
    left: Callable[[], list[int]] = fleet.processes
    until(lambda: not left(), "nothing is left")
