"""Changes by an agent against a real fleet: what is done, what is refused, and what is written down."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from orchestra_supervisor.gateway.control import logwatch
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.endpoint import ControlEndpoint, Settings
from orchestra_supervisor.gateway.control.seal import load_key
from orchestra_supervisor.gateway.endpoint import AskRefused, Caller, Change, ChangeKind, Era, Role
from orchestra_supervisor.gateway.messages import Json, RpcError
from tests.e2e.fleet_driver import Fleet, Row, python, until
from tests.e2e.gateway.control.agent import Agent, serving

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SLEEP = python("import signal; signal.pause()")
STUBBORN = python("import signal; signal.signal(15, signal.SIG_IGN)\nwhile True: signal.pause()")


class Guarded(Desk):
    """A desk to which `db` is protected, whatever the daemon says of it."""

    async def status(self, caller: Caller | None, names: Iterable[str] = ()) -> list[Json]:
        rows = await super().status(caller, names)
        return [{**row, "protected": row["name"] == "db"} for row in rows]


def guarded(home: Path, settings: Settings, servers: Any, *, inline: float) -> ControlEndpoint:
    return ControlEndpoint(Guarded(home), load_key(home), settings, servers, inline)


def audit(fleet: Fleet) -> list[Row]:
    return [one["data"] for one in fleet.events("mcp.call")]


def up(fleet: Fleet) -> None:
    fleet.write({"db": {"command": SLEEP}, "web": {"command": SLEEP, "depends_on": ["db"]}})
    fleet.up()


def retitle(fleet: Fleet) -> None:
    base = {"command": SLEEP, "title": "Base"}
    fleet.write({"db": base, "web": {"command": SLEEP, "depends_on": ["db"]}})


async def test_stop_start_and_restart_do_what_they_say_and_are_written_down(fleet: Fleet) -> None:
    up(fleet)
    async with serving(fleet.home, role=Role.OPERATOR) as agent:
        pid = fleet.pid("web")
        stopped = await agent.call("service_stop", names=["web"], reason="looking")
        (web,) = stopped.data["results"]
        assert (web["before"], web["after"], web["ok"], web["changed"]) == ("ready", "stopped", True, True)
        again = await agent.call("service_stop", names=["web"])
        assert (again.is_error, again.data["results"][0]["changed"]) == (False, False)
        started = await agent.call("service_start", names=["web"])
        assert started.data["results"][0]["after"] == "ready"
        restarted = await agent.call("service_restart", names=["db"], with_dependents=True)
        assert [one["name"] for one in restarted.data["results"]] == ["db", "web"]
        assert fleet.pid("web") != pid
    notes = audit(fleet)
    assert [(one["tool"], one["outcome"]) for one in notes] == [
        ("service_stop", "done"),
        ("service_stop", "done"),
        ("service_start", "done"),
        ("service_restart", "done"),
    ]
    assert notes[0]["result"] == {"allowed_by": "not protected", "web": "ready -> stopped"}
    assert notes[0]["arguments"]["reason"] == "text of 7"
    (stop, *_) = fleet.events("control.stop")
    assert stop["data"]["who"].startswith("test-agent 1 by token laptop by ")
    assert stop["data"]["reason"] == "looking"


async def test_a_dry_run_says_who_would_notice_and_does_nothing(fleet: Fleet) -> None:
    up(fleet)
    pids = {name: fleet.pid(name) for name in ("db", "web")}
    async with serving(fleet.home) as agent:
        answer = await agent.call("service_restart", names=["db"], dry_run=True)
        assert answer.data["dry_run"] is True
        assert answer.data["results"][0]["message"] == "is ready: would restart"
        assert answer.data["hint"].startswith("web depend on it and stay as they are")
        along = await agent.call("service_stop", names=["db"], dry_run=True, with_dependents=True)
        assert [one["name"] for one in along.data["results"]] == ["db", "web"]
    assert {name: fleet.pid(name) for name in ("db", "web")} == pids
    assert audit(fleet) == []


async def test_one_that_does_not_come_up_is_an_error_that_says_what_next(fleet: Fleet) -> None:
    fleet.write({"bad": {"command": ["/nowhere/bad"], "enabled": False, "restart": {"policy": "never"}}})
    fleet.up()
    async with serving(fleet.home) as agent:
        answer = await agent.call("service_start", names=["bad"], timeout_s=10)
        assert answer.is_error
        assert (answer.data["results"][0]["ok"], answer.data["done"]) == (False, True)
        assert answer.data["hint"] == "service_diagnose with name='bad' says why"
    assert [one["outcome"] for one in audit(fleet)] == ["failed"]


async def test_what_carries_the_caller_is_left_alone(fleet: Fleet) -> None:
    fleet.write({"db": {"command": SLEEP}})
    fleet.up()
    async with serving(fleet.home, make=gateway_depends) as agent:
        for tool in ("service_stop", "service_restart"):
            answer = await agent.call(tool, names=["db"], with_dependents=True)
            assert answer.is_error
            assert "would cut the connection that you are asking through" in answer.text
        alone = await agent.call("service_restart", names=["db"])
        assert not alone.is_error
    assert [one["outcome"] for one in audit(fleet)] == ["refused", "refused", "done"]


class WithGateway(Desk):
    """A desk that tells of a gateway which needs `db`."""

    async def status(self, caller: Caller | None, names: Iterable[str] = ()) -> list[Json]:
        rows = await super().status(caller, names)
        gateway: Json = {"name": "@gateway", "state": "ready", "depends_on": ["db"], "desired": "up"}
        return rows if names else [*rows, gateway]


def gateway_depends(home: Path, settings: Any, servers: Any, *, inline: float) -> ControlEndpoint:
    return ControlEndpoint(WithGateway(home), load_key(home), settings, servers, inline)


async def test_a_long_action_answers_with_a_job_and_goes_on(fleet: Fleet) -> None:
    fleet.write({"slow": {"command": STUBBORN, "stop": {"grace": 1.5}}})
    fleet.up()
    async with serving(fleet.home, inline=0.2) as agent:
        answer = await agent.send("service_stop", {"names": ["slow"]}, progressToken="t")
        job = answer.data["job_id"]
        assert (answer.data["done"], answer.is_error, job is not None) == (False, False, True)
        assert agent.told[0][1]["progressToken"] == "t"
        running = await agent.call("job", id=job)
        assert running.data["jobs"][0]["state"] == "running"
        other = await agent.as_role(Role.OPERATOR).call("job", id=job)
        assert other.text.startswith(f"no job '{job}' of yours")
        over = await agent.call("job", id=job, wait_s=30)
        (told,) = over.data["jobs"]
        assert told["state"] == "done"
        assert told["result"]["results"][0]["after"] == "stopped"
        listed = await agent.call("job", action="list")
        assert [one["id"] for one in listed.data["jobs"]] == [job]
    assert [one["outcome"] for one in audit(fleet)] == ["done"]


async def test_a_job_that_is_cancelled_leaves_the_order_in_force(fleet: Fleet) -> None:
    fleet.write({"slow": {"command": STUBBORN, "stop": {"grace": 1}}})
    fleet.up()
    async with serving(fleet.home, inline=0.1) as agent:
        job = (await agent.call("service_stop", names=["slow"])).data["job_id"]
        answer = await agent.call("job", id=job, action="cancel")
        assert answer.data["jobs"][0]["state"] == "cancelled"
    assert fleet.until_state("slow", "stopped")["down_reason"] == "operator"


async def test_a_daemon_that_dies_in_the_wait_is_waited_for(fleet: Fleet) -> None:
    fleet.write({"slow": {"command": STUBBORN, "stop": {"grace": 2}}})
    fleet.up()
    async with serving(fleet.home) as agent, anyio.create_task_group() as tasks:
        found: list[Any] = []

        async def stop() -> None:
            found.append(await agent.call("service_stop", names=["slow"], timeout_s=30))

        tasks.start_soon(stop)
        await anyio.to_thread.run_sync(lambda: fleet.until_state("slow", "stopping"))
        await anyio.to_thread.run_sync(fleet.kill_daemon)
        with anyio.fail_after(40):
            while not found:
                await anyio.sleep(0.05)
        assert not found[0].is_error, found[0].text
        assert found[0].data["results"][0]["after"] == "stopped"


# The user's word.


async def test_a_user_is_asked_in_the_old_way_and_both_answers_count(fleet: Fleet) -> None:
    up(fleet)
    said: list[Json] = []
    answers: list[Json] = [
        {"action": "decline"},
        {"action": "cancel"},
        {"action": "accept", "content": {"confirm": False}},
        {"action": "accept", "content": {"confirm": True}},
    ]

    async def user(method: str, params: Json) -> Json:
        assert method == "elicitation/create"
        said.append(params)
        return answers[len(said) - 1]

    pid = fleet.pid("db")
    async with serving(fleet.home, make=guarded) as agent:
        able = Agent(agent.endpoint, _able(agent.caller), user)
        for _ in range(3):
            answer = await able.call("service_restart", names=["db"], confirm="db")
            assert answer.is_error
            assert answer.text.startswith("the user ")
            assert fleet.pid("db") == pid
        answer = await able.call("service_restart", names=["db"])
        assert (answer.is_error, answer.data["allowed_by"]) == (False, "user")
        assert fleet.pid("db") != pid
    assert said[0]["message"] == "db is protected. Really restart db?"
    assert [one["outcome"] for one in audit(fleet)] == ["refused"] * 3 + ["done"]


async def test_a_user_is_asked_in_the_new_way_and_the_seal_holds_once(fleet: Fleet) -> None:
    up(fleet)
    pid = fleet.pid("db")
    call: Json = {"names": ["db"]}
    yes: Json = {"confirm": {"action": "accept", "content": {"confirm": True}}}
    async with serving(fleet.home, era=Era.STATELESS, make=guarded) as agent:
        able = Agent(agent.endpoint, _able(agent.caller))
        asked = (await able.send("service_restart", call)).result
        assert asked["resultType"] == "input_required"
        requests = cast("dict[str, Any]", asked["inputRequests"])
        assert requests["confirm"]["method"] == "elicitation/create"
        assert requests["confirm"]["params"]["message"] == "db is protected. Really restart db?"
        sealed = asked["requestState"]
        assert fleet.pid("db") == pid
        for arguments, more, why in (
            (
                {"names": ["web", "db"]},
                {"inputResponses": yes, "requestState": sealed},
                "made for another call",
            ),
            (call, {"inputResponses": yes, "requestState": f"{sealed}x"}, "not of this fleet"),
            (call, {"inputResponses": yes, "requestState": "x"}, "not of this fleet"),
            (
                call,
                {"inputResponses": {"confirm": {"action": "decline"}}, "requestState": sealed},
                "user declined",
            ),
        ):
            refused = await able.send("service_restart", arguments, more)
            assert refused.is_error
            assert why in refused.text
        assert fleet.pid("db") == pid
        unsealed = await able.send("service_restart", call, {"inputResponses": yes})
        assert unsealed.result["resultType"] == "input_required"
        fresh = unsealed.result["requestState"]
    async with serving(fleet.home, era=Era.STATELESS, make=guarded) as agent:  # the next gateway
        able = Agent(agent.endpoint, _able(agent.caller))
        thief = Agent(agent.endpoint, _able(agent.as_role(Role.ADMIN).caller))
        more = {"inputResponses": yes, "requestState": fresh}
        assert "made for another call" in (await thief.send("service_restart", call, more)).text
        done = await able.send("service_restart", call, more)
        assert (done.is_error, done.data["allowed_by"]) == (False, "user")
        assert fleet.pid("db") != pid
        assert "used already" in (await able.send("service_restart", call, more)).text


@pytest.mark.parametrize("era", list(Era))
async def test_where_the_client_cannot_ask_the_model_names_the_service(fleet: Fleet, era: Era) -> None:
    up(fleet)
    async with serving(fleet.home, era=era, make=guarded) as agent:
        answer = await agent.call("service_stop", names=["web", "db"])
        assert answer.is_error
        assert answer.text.startswith("db is protected, and your client cannot ask: not done\nhint: ")
        assert "confirm: 'db'" in answer.text
        for wrong in ("web", "yes", "DB"):
            assert (await agent.call("service_stop", names=["db"], confirm=wrong)).is_error
        assert fleet.service("db")["state"] == "ready"
        done = await agent.call("service_stop", names=["web", "db"], confirm="db")
        assert (done.is_error, done.data["allowed_by"]) == (False, "confirm argument")


async def test_a_client_that_says_it_can_ask_and_cannot_is_one_that_cannot(fleet: Fleet) -> None:
    up(fleet)

    async def gone(method: str, params: Json) -> Json:
        raise AskRefused("gone")

    async with serving(fleet.home, make=guarded) as agent:
        able = Agent(agent.endpoint, _able(agent.caller), gone)
        assert "cannot ask" in (await able.call("service_stop", names=["db"])).text
        assert not (await able.call("service_stop", names=["db"], confirm="db")).is_error


async def test_dependents_that_are_protected_count_as_well(fleet: Fleet) -> None:
    fleet.write({"base": {"command": SLEEP}, "db": {"command": SLEEP, "depends_on": ["base"]}})
    fleet.up()
    async with serving(fleet.home, make=guarded) as agent:
        answer = await agent.call("service_stop", names=["base"], with_dependents=True)
        assert answer.text.startswith("db is protected")
        assert fleet.service("base")["state"] == "ready"


def _able(caller: Caller) -> Caller:
    return Caller(
        caller.principal,
        caller.role,
        caller.era,
        caller.version,
        caller.client,
        {"elicitation": {"form": {}}},
        caller.session,
    )


# The configuration.


async def test_apply_is_there_for_an_admin_where_the_settings_allow_it(fleet: Fleet) -> None:
    up(fleet)
    async with serving(fleet.home, settings=Settings(config_apply=True)) as agent:
        for role, allowed in ((Role.OPERATOR, False), (Role.ADMIN, True)):
            tools: Any = (await agent.as_role(role).request("tools/list"))["tools"]
            (config,) = [one for one in tools if one["name"] == "config"]
            assert ("apply" in config["inputSchema"]["properties"]["action"]["enum"]) is allowed
            assert config["annotations"]["readOnlyHint"] is not allowed
        same = await agent.call("config", action="apply")
        assert (same.data["applied"], same.data["summary"]) == (False, "nothing changed")
        fleet.write(
            {"db": {"command": SLEEP, "title": "Base"}, "web": {"command": SLEEP, "depends_on": ["db"]}}
        )
        done = await agent.call("config", action="apply")
        assert (done.data["applied"], done.data["summary"]) == (True, "1 changed live")
        assert fleet.service("db")["title"] == "Base"
    assert [(one["tool"], one["outcome"]) for one in audit(fleet)] == [("config", "done")]


async def test_apply_brings_in_no_new_command(fleet: Fleet) -> None:
    up(fleet)
    pids = {name: fleet.pid(name) for name in ("db", "web")}
    touched = fleet.path / "touched"
    evil = python("open(__import__('sys').argv[1], 'w')", touched)
    web: dict[str, object] = {"command": SLEEP, "depends_on": ["db"]}
    async with serving(fleet.home, settings=Settings(config_apply=True)) as agent:
        for services, said in (
            ({"db": {"command": evil}, "web": web}, "db: argv changes what is run"),
            ({"db": {"command": SLEEP}, "web": web, "new": {"command": evil}}, "new is a new service"),
            (
                {"db": {"command": SLEEP, "pre_start": [evil]}, "web": web},
                "db: pre_start changes what is run",
            ),
            (
                {"db": {"command": SLEEP, "env": {"LD_PRELOAD": "/x.so"}}, "web": web},
                "db: env.LD_PRELOAD changes",
            ),
        ):
            fleet.write(cast("dict[str, object]", services))
            answer = await agent.call("config", action="apply")
            assert answer.is_error
            assert answer.text.startswith(f"not applied: {said}")
    assert {name: fleet.pid(name) for name in ("db", "web")} == pids
    assert not touched.exists()
    assert [one["outcome"] for one in audit(fleet)] == ["refused"] * 4


async def test_files_that_change_while_the_user_is_asked_are_not_applied(fleet: Fleet) -> None:
    up(fleet)
    pids = {name: fleet.pid(name) for name in ("db", "web")}
    other: Json = {"command": SLEEP, "env": {"A": "1"}}

    async def user(method: str, params: Json) -> Json:
        assert str(params["message"]).endswith("Really apply the files, which ends db?")
        fleet.write({"db": other, "web": {**other, "depends_on": ["db"]}})
        return {"action": "accept", "content": {"confirm": True}}

    async with serving(fleet.home, settings=Settings(config_apply=True), make=guarded) as agent:
        able = Agent(agent.endpoint, _able(agent.caller), user)
        fleet.write({"db": other, "web": {"command": SLEEP, "depends_on": ["db"]}})
        answer = await able.call("config", action="apply")
        assert answer.is_error
        assert answer.text.startswith("the files are others than the user was asked about: not applied")
    assert {name: fleet.pid(name) for name in pids} == pids
    assert [one["outcome"] for one in audit(fleet)] == ["refused"]


# Being told.


async def test_subscribers_are_told_what_moves_also_by_the_next_daemon(fleet: Fleet) -> None:
    up(fleet)
    told: list[Change] = []
    async with serving(fleet.home) as agent:
        until_listening = fleet.until_event("fleet.ready")
        assert until_listening
        forget = agent.endpoint.listen(agent.caller, told.append)
        await agent.endpoint.watch("service://web", agent.caller)
        await agent.call("service_restart", names=["web"])
        await _until(lambda: Change(ChangeKind.RESOURCE, "service://web") in told)
        assert Change(ChangeKind.RESOURCE, "fleet://status") in told
        await anyio.to_thread.run_sync(fleet.kill_daemon)
        told.clear()
        fleet.write(
            {"db": {"command": SLEEP, "title": "Base"}, "web": {"command": SLEEP, "depends_on": ["db"]}}
        )
        await anyio.to_thread.run_sync(lambda: fleet.ok("reload"))
        await _until(lambda: Change(ChangeKind.RESOURCES) in told)
        assert Change(ChangeKind.RESOURCE, "fleet://config") in told
        await agent.endpoint.apply({"settings": {"config_apply": False, "rate": 60}})
        assert Change(ChangeKind.TOOLS) not in told
        await agent.endpoint.apply({"settings": {"config_apply": True, "rate": 60}})
        assert Change(ChangeKind.TOOLS) in told
        forget()
        told.clear()
        await agent.call("service_restart", names=["web"])
        assert told == []


async def _until(condition: Any) -> None:
    with anyio.fail_after(15):
        while not condition():
            await anyio.sleep(0.02)


def test_an_endpoint_that_ends_leaves_no_thread_and_no_connection(fleet: Fleet) -> None:
    fleet.write({"db": {"command": SLEEP}})
    fleet.up()

    async def short() -> None:
        inside = _streams()  # the loop has sockets of its own
        async with serving(fleet.home) as agent:
            assert not (await agent.call("fleet_status")).is_error
            await _until(lambda: _streams() == inside + 1)

    before, outside = threading.active_count(), _streams()
    anyio.run(short)
    until(lambda: threading.active_count() <= before, "no thread is left")
    assert _streams() == outside


def _streams() -> int:
    """Return how many Unix sockets this process has connected."""
    nodes = {one.readlink().name for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}
    table = Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()[1:]
    return sum(line.split()[5] == "03" and f"socket:[{line.split()[6]}]" in nodes for line in table)


TALKS = python(
    "import sys\nfor line in open(sys.argv[1]):\n    [print(line, n, flush=True) for n in range(500)]", "fifo"
)


@contextmanager
def pen(fleet: Fleet) -> Iterator[Callable[[], None]]:
    """Start a service that writes a burst whenever it is told to; give what tells it."""
    os.mkfifo(fleet.path / "fifo")
    fleet.write({"web": {"command": TALKS}, "mute": {"command": SLEEP}})
    fleet.up()
    with (fleet.path / "fifo").open("w", encoding="utf-8") as words:
        yield lambda: print("hello", file=words, flush=True)


async def test_a_log_is_told_of_once_for_a_burst_and_only_while_somebody_wants_it(fleet: Fleet) -> None:
    logs = Change(ChangeKind.RESOURCE, "service://web/logs")
    told: list[Change] = []
    with pen(fleet) as write:
        async with serving(fleet.home) as agent:
            agent.endpoint.listen(agent.caller, told.append)
            first, second, mute = [
                await agent.endpoint.watch(f"service://{name}/logs", agent.caller)
                for name in ("web", "web", "mute")
            ]
            write()
            await _until(lambda: logs in told)
            first()
            first()
            seen = told.count(logs)
            assert seen <= 2, "a burst of 500 lines may span two looks"
            write()
            await _until(lambda: told.count(logs) > seen)
            assert Change(ChangeKind.RESOURCE, "service://mute/logs") not in told
            second()
            mute()
            assert not agent.endpoint.watched_logs()
            with pytest.raises(RpcError, match="no service 'webb'"):
                await agent.endpoint.watch("service://webb/logs", agent.caller)


async def test_the_logs_that_are_watched_are_bounded(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logwatch, "MAX_LOGS", 1)
    up(fleet)
    async with serving(fleet.home) as agent:
        stop = await agent.endpoint.watch("service://web/logs", agent.caller)
        with pytest.raises(RpcError, match="1 logs are watched"):
            await agent.endpoint.watch("service://db/logs", agent.caller)
        stop()
        await agent.endpoint.watch("service://db/logs", agent.caller)
