"""What the gateway asks of the daemon, over a real socket: audit, checks, the configuration, and for whom."""

import json
import os
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import cast

import pytest

from orchestra_supervisor.agent_room import AgentRoom
from orchestra_supervisor.config.load import Sources
from orchestra_supervisor.config.plan import PlanReport, report_plan
from orchestra_supervisor.control import Control
from orchestra_supervisor.control_client import ControlClient, ControlError, rows
from orchestra_supervisor.engine.asked_checks import AskedChecks
from orchestra_supervisor.model.spec import Fleet, NetworkCheck, PluginCheck, ServiceSpec
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.rules.reload import ReloadPlan
from tests.unit.engine.desk import Desk
from tests.unit.surfaces.api_desk import Api, api_of, call, service

pytestmark = pytest.mark.anyio
ME = os.getpid()


def agent_api(
    folder: Path,
    *specs: ServiceSpec,
    check: Callable[[NetworkCheck | PluginCheck], ProbeOutcome] | None = None,
    files: Fleet | None = None,
) -> AbstractAsyncContextManager[Api]:
    """Serve the API with the routes of the agent's room; `files` is what an apply would go over to."""

    def room(control: Control, desk: Desk) -> AgentRoom:
        async def network(asked: NetworkCheck | PluginCheck, timeout: float) -> ProbeOutcome:
            assert check is not None
            return check(asked)

        async def apply(by: str, allow: Callable[[ReloadPlan], None]) -> PlanReport:
            assert files is not None
            allow(desk.verbs.plan(files, {}))
            return report_plan(desk.verbs.reload(files, {}), Sources())

        checks = AskedChecks(desk.supervisor, network, lambda name: folder / f"{name}.log", desk.clock)
        return AgentRoom(control, checks, apply, 4_000_000)

    return api_of(folder, *specs, room=room)


def behalf(api: Api, name: str = "claude-code 2 by token laptop", role: str = "operator") -> ControlClient:
    return ControlClient(api.path, timeout=5.0, caller={"name": name, "role": role})


async def test_what_is_done_for_somebody_bears_both_names(folder: Path) -> None:
    async with agent_api(folder, service("web")) as api:
        await call(behalf(api).stop, ["web"], reason="upgrade")
        status = await call(api.client.status, ["web"])
        (stop,) = rows(await call(api.client.events, kind="control.stop"), "events")
        user = cast("dict[str, str]", stop["data"])["who"]
        assert user.startswith("claude-code 2 by token laptop by ")
        assert user.endswith(f"(uid {os.getuid()}, pid {ME})")
        assert rows(status, "services")[0]["reason"] == "stopped by hand"
        (result,) = rows(await call(api.client.events, kind="control.result"), "events")
        assert cast("dict[str, object]", result["data"])["who"] == user


@pytest.mark.parametrize(
    ("role", "verb"), [("viewer", "stop"), ("operator", "reload"), ("operator", "apply")]
)
async def test_the_lower_of_two_roles_acts(folder: Path, role: str, verb: str) -> None:
    async with agent_api(folder, service("web")) as api:
        client = behalf(api, role=role)
        with pytest.raises(ControlError) as caught:
            await call(lambda: client.stop(["web"]) if verb == "stop" else getattr(client, verb)())
        assert (caught.value.code, caught.value.http_status) == ("denied", 403)
        assert f" is {role}, this needs " in caught.value.message


@pytest.mark.parametrize(
    "header",
    [
        "claude",
        "{}",
        '{"name": "", "role": "admin"}',
        '{"name": "x", "role": "root"}',
        '{"name": "x"}',
        "[1]",
    ],
)
async def test_a_header_that_says_nothing_of_use_is_refused(folder: Path, header: str) -> None:
    async with agent_api(folder, service("web")) as api:
        answer = await call(raw, api.path, header)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b'"code":"invalid_request"' in answer
        assert b"Orchestra-Caller" in answer


def raw(path: Path, header: str) -> bytes:
    body = b'{"names": ["web"]}'
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        head = f"POST /v1/stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrchestra-Caller: {header}\r\n"
        connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


async def test_a_name_cannot_write_over_the_terminal_of_who_reads_the_audit(folder: Path) -> None:
    async with agent_api(folder, service("web")) as api:
        await call(behalf(api, name="evil\x1b[2J\nroot").stop, ["web"])
        (stop,) = rows(await call(api.client.events, kind="control.stop"), "events")
        assert str(stop["message"]).startswith("evil?[2J?root by ")


async def test_audit_is_written_with_the_user_of_the_socket(folder: Path) -> None:
    async with agent_api(folder, service("web")) as api:
        answer = await call(
            lambda: behalf(api, role="viewer").audit(
                "mcp.call", "stop: refused", service="web", data={"tool": "service_stop"}
            )
        )
        (event,) = rows(await call(api.client.events, kind="mcp."), "events")
        assert event["seq"] == answer["seq"]
        assert (event["kind"], event["service"], event["message"]) == (
            "mcp.call",
            "web",
            "stop: refused",
        )
        data = cast("dict[str, object]", event["data"])
        assert data["tool"] == "service_stop"
        assert str(data["by"]).endswith(f"(uid {os.getuid()}, pid {ME})")


@pytest.mark.parametrize("kind", ["control.stop", "mcp", "mcp.", "mcp.Call", "xmcp.call"])
async def test_no_event_of_ours_can_be_forged(folder: Path, kind: str) -> None:
    async with agent_api(folder, service("web")) as api:
        with pytest.raises(ControlError) as caught:
            await call(api.client.audit, kind, "text")
        assert caught.value.code == "invalid_request"


async def test_an_audit_that_says_too_much_is_refused(folder: Path) -> None:
    async with agent_api(folder, service("web")) as api:
        with pytest.raises(ControlError) as caught:
            await call(lambda: api.client.audit("mcp.call", "text", data={"a": ["x" * 4_000] * 5}))
        assert (caught.value.code, caught.value.hint) == ("invalid_request", "say the shape, not the whole")


async def test_a_check_says_what_each_probe_sees_now(folder: Path) -> None:
    def look(asked: object) -> ProbeOutcome:
        port = asked.port  # type: ignore[attr-defined]
        return ProbeOutcome(passed=port == 1, detail=f"port {port}", took=0.25)

    probes = {
        "readiness": {"check": {"type": "tcp", "port": 1}},
        "liveness": {"check": {"type": "tcp", "port": 2}},
    }
    async with agent_api(folder, service("web", probes=probes), service("bare"), check=look) as api:
        answer = await call(api.client.check, ["web", "bare"])
    web = {
        "name": "web",
        "state": "ready",
        "passed": False,
        "probes": [
            {
                "probe": "readiness",
                "type": "tcp",
                "target": "127.0.0.1:1",
                "passed": True,
                "detail": "port 1",
                "took": 0.25,
            },
            {
                "probe": "liveness",
                "type": "tcp",
                "target": "127.0.0.1:2",
                "passed": False,
                "detail": "port 2",
                "took": 0.25,
            },
        ],
        "note": "",
        "port": None,
    }
    note = "it has no probes: that its process lives is all that is known"
    bare = {"name": "bare", "state": "ready", "passed": None, "probes": [], "note": note, "port": None}
    assert answer == {"results": [web, bare], "ports": []}


async def test_nothing_is_looked_at_of_a_service_that_does_not_run(folder: Path) -> None:
    probes = {"readiness": {"check": {"type": "tcp", "port": 1}}}

    def look(_: object) -> ProbeOutcome:
        raise AssertionError

    async with agent_api(folder, service("web", probes=probes, enabled=False), check=look) as api:
        await call(api.client.stop, ["web"])
        answer = await call(api.client.check, ["web"])
    (web,) = rows(answer, "results")
    (probe,) = rows(web, "probes")
    assert (web["state"], web["passed"], probe["passed"]) == ("stopped", False, False)
    assert probe["detail"] == "not looked at: it does not run (stopped)"


async def test_a_check_says_who_listens(folder: Path) -> None:
    with socket.socket() as listener, socket.socket() as other:
        for one in (listener, other):
            one.bind(("127.0.0.1", 0))
        listener.listen()
        busy, free = listener.getsockname()[1], other.getsockname()[1]
        async with agent_api(folder, service("web", port=busy), check=lambda _: None) as api:
            answer = await call(lambda: api.client.check(["web"], ports=[free]))
    found = {one["port"]: one for one in rows(answer, "ports")}
    assert found[busy] | {"process": ""} == {
        "port": busy,
        "busy": True,
        "pid": ME,
        "process": "",
        "service": None,
    }
    assert found[free] == {"port": free, "busy": False, "pid": None, "process": "", "service": None}


async def test_a_check_of_a_wrong_name_says_the_nearest(folder: Path) -> None:
    async with agent_api(folder, service("web")) as api:
        with pytest.raises(ControlError) as caught:
            await call(api.client.check, ["wbe"])
        assert (caught.value.code, caught.value.hint) == ("unknown_service", "did you mean web?")


async def test_the_configuration_shows_no_secret(folder: Path) -> None:
    spec = service(
        "web",
        argv=("serve", "--token", "abc123", "--url=http://u:geheim@h/"),
        env={"PORT": "80", "API": "geheim", "KEY": "secret:web_key", "MIX": "a ${secret:x}"},
    )
    async with agent_api(folder, spec, service("other")) as api:
        answer = await call(api.client.config, ["web"])
    assert "geheim" not in json.dumps(answer)
    assert "abc123" not in json.dumps(answer)
    services = cast("dict[str, dict[str, dict[str, object]]]", answer["fleet"])["services"]
    assert list(services) == ["web"]
    assert services["web"]["argv"] == ["serve", "--token", "***", "--url=http://u:***@h/"]
    assert services["web"]["env"] == {"PORT": "80", "API": "***", "KEY": "secret:web_key", "MIX": "***"}


async def test_files_with_a_new_command_are_not_applied_and_others_are(folder: Path) -> None:
    web = service("web")
    evil = Fleet(services={"web": service("web", argv=("evil",)), "new": service("new")})
    async with agent_api(folder, web, files=evil) as api:
        with pytest.raises(ControlError) as caught:
            await call(api.client.apply)
        assert caught.value.code == "conflict"
        assert caught.value.message == "not applied: web: argv changes what is run; new is a new service"
        (row,) = rows(await call(api.client.status), "services")
        assert row["name"] == "web"
    async with agent_api(folder, web, files=Fleet(services={"web": service("web", title="Web")})) as api:
        answer = await call(api.client.apply)
        assert (answer["summary"], answer["changed"]) == ("1 changed live", ["web"])
        (row,) = rows(await call(api.client.status), "services")
        assert row["title"] == "Web"
