"""What the gateway is told of the MCP servers, and that secrets in headers are for an admin alone."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from orchestra_supervisor.control_client import ControlClient, ControlError
from orchestra_supervisor.model.equipment import SocketSpec
from orchestra_supervisor.model.errors import SecretError
from orchestra_supervisor.model.mcp import (
    GATEWAY,
    CacheSpec,
    CanarySpec,
    McpBackendSpec,
    McpSettings,
    McpSpec,
    ProfileSpec,
)
from orchestra_supervisor.model.replicas import GroupSpec, ReplicaSpec
from orchestra_supervisor.model.spec import Fleet, FleetSettings, ServiceSpec
from orchestra_supervisor.surfaces.edge import http_error
from orchestra_supervisor.surfaces.mcp_api import mcp_routes
from orchestra_supervisor.surfaces.web import Application
from tests.unit.surfaces.api_desk import api_of, call, service
from tests.unit.surfaces.client import serving

pytestmark = pytest.mark.anyio

SECRETS = {"Bearer ${secret:token}": "Bearer s3cr3t"}


async def resolve(values: dict[str, str]) -> dict[str, str]:
    if "secret:gone" in values.values():
        raise SecretError("secret 'gone' is nowhere", hint="add it")
    return {name: SECRETS.get(value, value) for name, value in values.items()}


def fleet() -> Fleet:
    stdio = {"argv": ("x",), "cwd": "/", "stdio": True, "start_on": "demand"}
    replicas = [
        ServiceSpec.model_validate(
            {**stdio, "name": f"pool@{number}", "replica": ReplicaSpec(group="pool", number=number, count=2)}
        )
        for number in (2, 1)
    ]
    gateway = ServiceSpec(
        name=GATEWAY,
        argv=("x",),
        cwd="/",
        start_on="connection",
        sockets=(
            SocketSpec(name="mcp", kind="unix", path="/h/mcp.sock"),
            SocketSpec(name="mcp_http", host="127.0.0.1", port=8765),
        ),
    )
    backends = (
        McpBackendSpec(name="plain", service="plain"),
        McpBackendSpec(
            name="pool",
            service="pool",
            sharing="pool",
            size=2,
            idle_stop=0.0,
            pins="block",
            cache=CacheSpec(ttl=1.0, strategy="lru"),
            canary=CanarySpec(tool="ping", arguments={"a": 1}),
        ),
        McpBackendSpec(
            name="far",
            endpoint="https://example.org/mcp",
            headers={"Authorization": "Bearer ${secret:token}", "X-Home": "${HOME}/x", "X-Odd": "${NOPE}"},
            capabilities=("search",),
            description="d",
            priority=1,
            tools=("get_*",),
            retry_safe=True,
            timeout=5.0,
        ),
        McpBackendSpec(name="broken", endpoint="http://127.0.0.1:1", headers={"A": "secret:gone"}),
    )
    specs = [ServiceSpec.model_validate({**stdio, "name": "plain"}), *replicas, gateway]
    return Fleet(
        services={spec.name: spec for spec in specs},
        groups={"pool": GroupSpec(configured=2, count=2)},
        settings=FleetSettings(
            mcp=McpSettings(
                http="127.0.0.1:8765",
                idle_stop=30.0,
                profiles={"p": ProfileSpec(servers=("far",), tools=("far__*",))},
            )
        ),
        mcp=McpSpec(
            backends={one.name: one for one in backends},
            routing={"search": "far"},
            cache_ttl=60.0,
            cache_strategy="lru",
        ),
    )


@asynccontextmanager
async def client_of(folder: Path) -> AsyncGenerator[ControlClient]:
    async with api_of(folder, service("web")) as api:
        api.desk.supervisor.fleet = fleet()
        make = mcp_routes(api.control, resolve, environ={"HOME": "/home/u"})
        app = Application(make(api.desk.supervisor.taken_over), http_error)
        async with serving(app, folder / "mcp-api.sock") as path:
            yield ControlClient(path, timeout=5.0)


async def test_the_servers_are_told_with_what_holds_for_all_filled_in(folder: Path) -> None:
    async with client_of(folder) as client:
        answer = await call(client.request, "GET", "/v1/mcp")
    assert answer["settings"] == {
        "http": "127.0.0.1:8765",
        "auth": "token",
        "control_group": None,
        "pins": "flag",
        "search": False,
        "idle_stop": 30.0,
        "config_apply": False,
        "rate": 60,
        "profiles": {"p": {"servers": ["far"], "tools": ["far__*"], "search": False}},
        "routing": {"search": "far"},
        "cache": {"ttl": 60.0, "strategy": "lru"},
    }
    plain, pool, far, _ = cast("list[dict[str, Any]]", answer["backends"])
    assert plain == {
        "name": "plain",
        "transport": "stdio",
        "url": None,
        "service": "plain",
        "description": "",
        "capabilities": [],
        "priority": 999,
        "sharing": "shared",
        "size": 1,
        "lazy": True,
        "idle_stop": 30.0,
        "retry_safe": False,
        "timeout": 60.0,
        "cache": {"ttl": 60.0, "strategy": "lru"},
        "pins": "flag",
        "tools": ["*"],
        "canary": None,
        "on_hang": "restart",
        "members": ["plain"],
        "header_names": [],
    }
    assert pool == plain | {
        "name": "pool",
        "service": "pool",
        "sharing": "pool",
        "size": 2,
        "idle_stop": 0.0,
        "cache": {"ttl": 1.0, "strategy": "lru"},
        "pins": "block",
        "canary": {"tool": "ping", "arguments": {"a": 1}},
        "members": ["pool@1", "pool@2"],
    }
    assert far == plain | {
        "name": "far",
        "transport": "http",
        "url": "https://example.org/mcp",
        "service": None,
        "description": "d",
        "capabilities": ["search"],
        "priority": 1,
        "retry_safe": True,
        "timeout": 5.0,
        "tools": ["get_*"],
        "on_hang": "report",
        "members": [],
        "header_names": ["Authorization", "X-Home", "X-Odd"],
    }


async def test_headers_are_told_with_variables_and_secrets_filled_in(folder: Path) -> None:
    async with client_of(folder) as client:
        answer = await call(client.request, "POST", "/v1/mcp/headers", body={"backend": "far"})
        assert answer == {
            "headers": {"Authorization": "Bearer s3cr3t", "X-Home": "/home/u/x", "X-Odd": "${NOPE}"}
        }
        assert await call(client.request, "POST", "/v1/mcp/headers", body={"backend": "plain"}) == {
            "headers": {}
        }


@pytest.mark.parametrize(
    ("backend", "code", "hint"),
    [
        ("fra", "unknown_service", "did you mean 'far'?"),
        ("zzz", "unknown_service", "known: plain, pool, far, broken"),
        ("broken", "secret", "add it"),
        ("", "invalid_request", "GET /openapi.json has the schema"),
    ],
)
async def test_a_wrong_question_is_an_error_with_a_way_out(
    folder: Path, backend: str, code: str, hint: str
) -> None:
    async with client_of(folder) as client:
        with pytest.raises(ControlError) as caught:
            await call(client.request, "POST", "/v1/mcp/headers", body={"backend": backend})
    assert (caught.value.code, caught.value.hint) == (code, hint)


async def test_nobody_but_an_admin_is_told_headers(folder: Path) -> None:
    async with client_of(folder) as client:
        operator = ControlClient(client.path, timeout=5.0, caller={"name": "x", "role": "operator"})
        with pytest.raises(ControlError) as caught:
            await call(operator.request, "POST", "/v1/mcp/headers", body={"backend": "far"})
    assert caught.value.code == "denied"
