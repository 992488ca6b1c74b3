"""What files say of the gateway: its settings, its servers, and the services that run the stdio ones."""

import json
from pathlib import Path

import pytest

from orchestra_supervisor.config.load import LoadResult, load_fleet
from orchestra_supervisor.config.preflight import preflight
from orchestra_supervisor.model.mcp import (
    CacheSpec,
    CanarySpec,
    McpBackendSpec,
    McpSettings,
    ProfileSpec,
    split_address,
)
from orchestra_supervisor.model.spec import BackoffSpec, RestartSpec, StopSpec, StopStep
from tests.unit.config.config_testing import codes, only

ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/home/somebody"}


def places(result: LoadResult, code: str) -> list[str]:
    return [
        f"{Path(place.path).name}:{place.line}:{place.column}"
        for finding in result.findings
        if finding.code == code
        for place in finding.where
    ]


def servers_of(tmp_path: Path, text: str, fleet: object = None) -> LoadResult:
    """Load a file of MCP servers beside a native file, as they are given."""
    native, client = tmp_path / "orchestra.json", tmp_path / "mcp.json"
    native.write_text(json.dumps(fleet or {"$schema": "x", "services": {}}), encoding="utf-8")
    client.write_text(text, encoding="utf-8")
    return load_fleet([native, client], environ=ENVIRON)


# The settings.


def test_nothing_said_is_a_gateway_on_its_unix_socket(load) -> None:
    settings = load({"services": {"a": {"command": ["true"]}}}).fleet.settings.mcp
    assert settings == McpSettings(
        enabled=True,
        http=None,
        auth="token",
        pins="flag",
        search=False,
        idle_stop=600.0,
        config_apply=False,
        rate=60,
        profiles={},
    )


def test_every_setting_is_read(load) -> None:
    said = {
        "http": "localhost:${PORT}",
        "auth": "none",
        "pins": "block",
        "search": True,
        "idle_stop": "5m",
        "config_apply": True,
        "rate": 10,
        "profiles": {"work": {"servers": ["git*"], "tools": ["git__*"], "search": True}, "all": {}},
    }
    result = load(
        {"settings": {"mcp": said}, "services": {"github": {"command": ["x"], "stdio": True}}}, PORT="8765"
    )
    assert codes(result) == ["mcp.open"]
    assert result.fleet.settings.mcp == McpSettings(
        enabled=True,
        http="127.0.0.1:8765",
        auth="none",
        pins="block",
        search=True,
        idle_stop=300.0,
        config_apply=True,
        rate=10,
        profiles={
            "work": ProfileSpec(servers=("git*",), tools=("git__*",), search=True),
            "all": ProfileSpec(servers=("*",), tools=("*",), search=False),
        },
    )


@pytest.mark.parametrize(("said", "enabled"), [(False, False), (True, True), ({"enabled": False}, False)])
def test_the_gateway_is_switched_off_with_one_word(load, said: object, *, enabled: bool) -> None:
    result = load({"settings": {"mcp": said}, "services": {}})
    assert (result.findings, result.fleet.settings.mcp.enabled) == ((), enabled)


def test_the_settings_of_the_autostart_form_have_it_too(load) -> None:
    services = {"a": {"command": "true", "health_check": "http://localhost:1"}}
    result = load({"services": services, "settings": {"mcp": {"http": 9000}}}, "orchestra_autostart.json")
    assert (result.errors, result.fleet.settings.mcp.http) == ((), "127.0.0.1:9000")


def test_a_switched_off_gateway_in_an_included_file_is_drift(load, write) -> None:
    write({"settings": {"mcp": False}, "services": {}}, "other.json")
    result = load({"include": ["other.json"], "settings": {"mcp": {"http": 1}}, "services": {}})
    finding = only(result, "drift.setting")
    assert (finding.field, finding.values) == ("settings.mcp", ("http: 127.0.0.1:1", "enabled: False"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8765", ("127.0.0.1", 8765)),
        ("localhost:80", ("127.0.0.1", 80)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[::1]:8765", ("::1", 8765)),
    ],
)
def test_an_address_is_an_ip_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("127.0.0.1:99999", "with a port from 1 to 65535"),
        ("127.0.0.1", "with a port from 1 to 65535"),
        (0, "with a port from 1 to 65535"),
        ("example.org:80", "must have an IP address or localhost before the port"),
        (True, "must be text"),
    ],
)
def test_a_bad_address_is_an_error_in_its_line(load, value: object, said: str) -> None:
    result = load({"settings": {"mcp": {"http": value}}, "services": {}})
    [error] = result.errors
    assert said in error.message
    assert (error.field, error.where[0].line) == ("settings.mcp.http", 4)


def test_no_tokens_where_others_reach_it_is_an_error(load) -> None:
    for address in ("0.0.0.0:8765", "192.168.0.5:8765", "[::]:8765"):
        [error] = load({"settings": {"mcp": {"http": address, "auth": "none"}}, "services": {}}).errors
        assert "where others reach it" in error.message
        assert (error.field, error.where[0].line) == ("settings.mcp", 3)
    for address in ("127.0.0.1:8765", "[::1]:8765"):
        result = load({"settings": {"mcp": {"http": address, "auth": "none"}}, "services": {}})
        assert places(result, "mcp.open") == ["orchestra.json:5:12"]
        assert result.errors == ()


def test_a_profile_that_names_an_unknown_server_is_told_the_nearest(tmp_path: Path) -> None:
    fleet = {"settings": {"mcp": {"profiles": {"p": {"servers": ["memroy", "mem*", "zzz"]}}}}, "services": {}}
    result = servers_of(tmp_path, '{"mcpServers": {"memory": {"command": "x"}}}', fleet)
    found = [one for one in result.findings if one.code == "mcp.profile_unknown"]
    assert [(one.severity, one.values, one.hint) for one in found] == [
        ("warning", ("memroy",), "did you mean 'memory'?"),
        ("warning", ("zzz",), "name one of the servers"),
    ]
    assert [str(one.where[0]).rpartition("/")[2] for one in found] == [
        "orchestra.json:1:54",
        "orchestra.json:1:72",
    ]


def test_a_profile_name_is_a_segment_of_a_url(load) -> None:
    [error] = load({"settings": {"mcp": {"profiles": {"a/b": {}}}}, "services": {}}).errors
    assert error.where[0].line == 5


# Servers and their services.


def test_a_server_with_a_command_is_a_service_that_starts_on_demand(tmp_path: Path) -> None:
    text = """{"mcpServers": {
  "git": {"command": "python3", "args": ["-m", "git", "${HOME}/x"], "cwd": "sub", "description": "d",
          "env": {"A": "1", "B": "${A}2", "T": "secret:token"}}
}}"""
    fleet = servers_of(tmp_path, text).fleet
    spec = fleet.services["git"]
    assert (spec.argv, spec.cwd, spec.description) == (
        ("python3", "-m", "git", "/home/somebody/x"),
        str(tmp_path / "sub"),
        "d",
    )
    assert spec.env == {"A": "1", "B": "12", "T": "secret:token"}
    assert (spec.stdio, spec.start_on, spec.replica, spec.port) == (True, "demand", None, None)
    assert spec.stop == StopSpec(
        steps=(StopStep(signal="EOF", wait=2.0), StopStep(signal="SIGTERM", wait=2.0))
    )
    assert spec.restart == RestartSpec(
        policy="always",
        max_restarts=None,
        stable_after=60.0,
        backoff=BackoffSpec(initial=1.0, multiplier=2.0, cap=300.0),
    )
    assert fleet.mcp.backends == {
        "git": McpBackendSpec(name="git", service="git", description="d", size=1, lazy=True)
    }


def test_every_key_of_a_server_is_read(tmp_path: Path) -> None:
    text = """{"mcp_servers": {"a": {
  "command": "x", "sharing": "per_client", "size": 3, "lazy": false, "idle_stop": "1m", "retry_safe": true,
  "timeout": "90s", "cache": {"ttl": 5}, "pins": "off", "tools": ["get_*"], "priority": 2,
  "on_hang": "report",
  "canary": {"tool": "get_time", "arguments": {"zone": "UTC"}}, "capabilities": ["c"],
  "service": {"limits": {"memory": "64MB"}, "restart": "on-failure", "protected": true}
}}}"""
    result = servers_of(tmp_path, text)
    assert result.findings == ()
    assert result.fleet.mcp.backends["a"] == McpBackendSpec(
        name="a",
        service="a",
        capabilities=("c",),
        priority=2,
        sharing="per_client",
        size=3,
        lazy=False,
        idle_stop=60.0,
        retry_safe=True,
        timeout=90.0,
        cache=CacheSpec(ttl=5.0, strategy="lru"),
        pins="off",
        tools=("get_*",),
        canary=CanarySpec(tool="get_time", arguments={"zone": "UTC"}),
        on_hang="report",
    )
    spec = result.fleet.services["a@1"]
    assert (spec.start_on, spec.limits.memory, spec.protected) == ("boot", 64 * 1024**2, True)
    assert spec.restart.policy == "on-failure"


@pytest.mark.parametrize(
    ("entry", "instances", "size"),
    [
        ({}, ["a"], 1),
        ({"size": 5}, ["a"], 1),
        ({"sharing": "pool"}, ["a@1", "a@2", "a@3", "a@4"], 4),
        ({"sharing": "pool", "size": 2}, ["a@1", "a@2"], 2),
        ({"sharing": "per_client"}, ["a@1"], 8),
        ({"sharing": "per_session", "size": 16}, ["a@1"], 16),
    ],
)
def test_sharing_says_how_many_instances_there_are(
    tmp_path: Path, entry: dict[str, object], instances: list[str], size: int
) -> None:
    fleet = servers_of(tmp_path, json.dumps({"mcpServers": {"a": {"command": "x", **entry}}})).fleet
    assert (list(fleet.services), fleet.mcp.backends["a"].size) == (instances, size)
    assert [spec.start_on for spec in fleet.services.values()] == ["demand"] * len(instances)


def test_a_name_that_is_taken_or_is_none_is_another_for_the_service(tmp_path: Path) -> None:
    services = {name: {"command": ["true"]} for name in ("memory", "git", "mcp-git")}
    text = """{"mcpServers": {
  "memory": {"command": "a"},
  "git": {"command": "b"},
  "My Tools/2": {"command": "c"},
  "My-Tools-2": {"command": "d"},
  "free": {"command": "e"}
}}"""
    result = servers_of(tmp_path, text, {"$schema": "x", "services": services})
    assert {name: one.service for name, one in result.fleet.mcp.backends.items()} == {
        "memory": "mcp-memory",
        "git": "mcp-git-2",
        "My Tools/2": "My-Tools-2",
        "My-Tools-2": "mcp-My-Tools-2",
        "free": "free",
    }
    assert result.errors == ()
    assert places(result, "mcp.service_name") == [
        "mcp.json:2:3",
        "mcp.json:3:3",
        "mcp.json:4:3",
        "mcp.json:5:3",
    ]


def test_what_a_client_may_know_better_is_left_as_it_is(tmp_path: Path) -> None:
    text = """{"servers": {"a": {"command": "x", "args": ["${input:key}", "cost $5", "$${HOME}"],
  "env": {"K": "${NOPE}"}, "disabled": true, "alwaysAllow": ["y"], "type": "stdio"}}}"""
    result = servers_of(tmp_path, text)
    spec = result.fleet.services["a"]
    assert (spec.argv, spec.env) == (("x", "${input:key}", "cost $5", "${HOME}"), {"K": "${NOPE}"})
    assert codes(result) == ["mcp.variable", "mcp.variable"]
    assert places(result, "mcp.variable") == ["mcp.json:1:45", "mcp.json:2:16"]


def test_a_secret_in_an_argument_is_refused_as_in_any_service(tmp_path: Path) -> None:
    result = servers_of(tmp_path, '{"mcpServers": {"a": {"command": "x", "args": ["${secret:k}"]}}}')
    assert [(one.code, one.field) for one in result.errors] == [("secret.exposed", "args.0")]


def test_keys_that_clients_use_for_something_else_are_told_and_left_out(tmp_path: Path) -> None:
    text = """{"mcpServers": {"a": {"command": "x",
  "timeout": 30000,
  "tools": {"x": 1},
  "cache": true,
  "service": "y"
}}}"""
    result = servers_of(tmp_path, text)
    assert result.fleet.mcp.backends["a"] == McpBackendSpec(name="a", service="a", timeout=30.0)
    assert places(result, "mcp.timeout_read_as") == ["mcp.json:2:14"]
    assert places(result, "mcp.key_ignored") == ["mcp.json:3:3", "mcp.json:4:3", "mcp.json:5:3"]
    assert result.errors == ()


@pytest.mark.parametrize(
    ("entry", "code", "column", "hint"),
    [
        ('"sharing": "sharde"', "value.invalid", 50, "did you mean 'shared'?"),
        ('"pins": "on"', "value.invalid", 47, "docs/configuration.md says what each key takes"),
        ('"canary": {}', "key.missing", 39, "add it; docs/configuration.md says what each key takes"),
        ('"canary": {"tol": 1, "tool": "x"}', "key.unknown", 50, "did you mean 'tool'?"),
        ('"service": {"limts": {}}', "key.unknown", 51, "did you mean 'limits'?"),
        ('"size": 0', "value.invalid", 47, "docs/configuration.md says what each key takes"),
    ],
)
def test_a_wrong_key_of_ours_is_an_error_in_its_place(
    tmp_path: Path, entry: str, code: str, column: int, hint: str
) -> None:
    result = servers_of(tmp_path, f'{{"mcpServers": {{"a": {{"command": "x", {entry}}}}}}}')
    [error] = result.errors
    assert (error.code, error.where[0].line, error.where[0].column, error.hint) == (code, 1, column, hint)


def test_of_two_servers_of_one_name_the_first_is_run(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text('{"mcpServers": {"a": {"command": "x"}}}', encoding="utf-8")
    second.write_text('{"mcpServers": {"a": {"command": "y"}, "b": {"command": "z"}}}', encoding="utf-8")
    result = load_fleet([first, second], environ=ENVIRON)
    assert {name: spec.argv for name, spec in result.fleet.services.items()} == {"a": ("x",), "b": ("z",)}
    assert only(result, "drift.mcp").values == ("x", "y")


def test_headers_stay_as_they_are_written_until_they_are_sent(tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer ${secret:t}", "X": "${HOME}", "Y": "${NOPE}"}
    text = json.dumps({"mcpServers": {"a": {"url": "https://example.org/mcp", "headers": headers}}})
    result = servers_of(tmp_path, text)
    assert result.fleet.mcp.backends["a"].headers == headers
    assert only(result, "mcp.variable").message.endswith("uses ${NOPE}, which is not known here")


# Services of the native form.


def test_a_native_stdio_service_is_a_server_of_its_own_name(load) -> None:
    services = {
        "one": {"command": ["x"], "stdio": True, "start_on": "demand", "description": "d"},
        "many": {"command": ["x"], "stdio": True, "replicas": 3},
    }
    fleet = load({"services": services}).fleet
    assert fleet.mcp.backends == {
        "one": McpBackendSpec(name="one", service="one", description="d", lazy=True),
        "many": McpBackendSpec(name="many", service="many", sharing="pool", size=3, lazy=False),
    }
    assert fleet.services["one"].stop.steps[0] == StopStep(signal="EOF", wait=2.0)


def test_what_a_stdio_service_says_itself_holds(load_service) -> None:
    spec = load_service(stdio=True, stop={"signal": "SIGINT", "grace": 1}, max_restarts=3)
    assert spec.stop == StopSpec(steps=(StopStep(signal="SIGINT", wait=1.0),))
    assert (spec.restart.max_restarts, spec.restart.policy) == (3, "always")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"kind": "once", "start_on": "demand"}, "has start_on: demand, which is for daemons"),
        ({"schedule": "5m", "start_on": "demand"}, "has start_on: demand, which is for daemons"),
        ({"kind": "once", "stdio": True}, "has stdio, which is for daemons"),
        ({"stop": {"signal": "EOF"}}, "has a stop step EOF, which is for stdio services"),
        ({"stop": {"steps": [{"signal": "eof"}]}}, "has a stop step EOF, which is for stdio services"),
        ({"reload": "EOF"}, "unknown signal 'EOF'"),
        ({"reload": {"signal": "eof"}}, "unknown signal 'eof'"),
    ],
)
def test_what_does_not_go_together_is_an_error(load, body: dict[str, object], said: str) -> None:
    [error] = load({"services": {"a": {"command": ["true"], **body}}}).errors
    assert said in error.message


def test_protected_is_read(load_service) -> None:
    assert (load_service(protected=True).protected, load_service().protected) == (True, False)


def test_no_file_can_name_a_service_of_our_own(load) -> None:
    [error] = load({"services": {"@gateway": {"command": ["true"]}}}).errors
    assert (error.code, error.where[0].line) == ("value.invalid", 3)


# Against this host.


def test_what_a_server_lacks_on_this_host_is_a_warning(tmp_path: Path) -> None:
    result = servers_of(tmp_path, '{"mcpServers": {"a": {"command": "no-such-program"}}}')
    [finding] = preflight(result, ENVIRON)
    assert (finding.severity, finding.code, finding.field) == ("warning", "command.not_on_path", "command")


def test_a_busy_http_port_is_a_warning_that_names_its_owner(load, free_tcp_listener) -> None:
    port = free_tcp_listener
    result = load({"settings": {"mcp": {"http": port}}, "services": {}})
    [finding] = preflight(result, ENVIRON)
    assert (finding.severity, finding.code, finding.where[0].line) == ("warning", "mcp.http_busy", 4)
    assert f"port {port} of `settings.mcp.http` is in use by pid " in finding.message


def test_an_http_port_that_a_service_claims_is_a_warning(load) -> None:
    services = {"web": {"command": ["true"], "port": 8765}}
    result = load({"settings": {"mcp": {"http": 8765}}, "services": services})
    finding = next(one for one in preflight(result, ENVIRON) if one.code == "mcp.http_busy")
    assert finding.message == "port 8765 of `settings.mcp.http` is claimed by service web too"
