import json
import os
from pathlib import Path

import pytest

from orchestra_supervisor.config.dialects import DIALECTS, detect
from orchestra_supervisor.config.draft import Source
from orchestra_supervisor.config.findings import Finding
from orchestra_supervisor.config.jsonc import parse
from orchestra_supervisor.config.load import load_fleet
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import DependencySpec, HttpCheck
from orchestra_supervisor.model.states import Kind
from tests.unit.config.config_testing import codes, only

CONFIGS = Path(__file__).parents[3] / "configs"


def dialect_of(content: object, name: str = "x.json") -> str:
    root = parse(json.dumps(content), name).root
    assert root is not None
    found = detect(root, Source(Path("/somewhere") / name, name))
    return "none" if isinstance(found, Finding) else found.name


@pytest.mark.parametrize(
    ("service", "dialect"),
    [
        ({"command": "x", "health_check": "http://localhost"}, "autostart"),
        ({"command": "x", "restart_on_failure": True}, "autostart"),
        ({"command": "x", "restart_on_failure": True, "depends_on": ["a"]}, "autostart"),
        ({"command": "x", "startup_delay": 3}, "autostart-older"),
        ({"command": "x", "type": "oneshot"}, "autostart-older"),
        ({"command": "x", "type": "periodic"}, "autostart-older"),
        ({"command": ["x"], "health_url": "http://localhost"}, "supervisor-config"),
        ({"command": ["x"], "dependencies": []}, "supervisor-config"),
        ({"command": ["x"], "dependencies": [], "restart": "always"}, "native"),
        ({"command": ["x"]}, "native"),
        ({"command": "x", "restart": "always"}, "native"),
    ],
)
def test_the_shape_of_a_service_decides(service, dialect):
    assert dialect_of({"services": {"a": service}}) == dialect


@pytest.mark.parametrize(
    ("content", "name", "dialect"),
    [
        ({"services": {"a": {"command": "x"}}}, "orchestra_autostart.json", "autostart"),
        ({"services": {"a": {"command": ["x"]}}}, "orchestra_supervisor_config.json", "supervisor-config"),
        ({"services": {"a": {"command": "x", "restart": "never"}}}, "orchestra_autostart.json", "native"),
        ({"$schema": "s", "services": {"a": {"health_check": "u"}}}, "orchestra_autostart.json", "native"),
        ({"services": {}, "restart_policy": {}}, "x.json", "autostart-older"),
        ({"services": {}, "monitor_interval": 1}, "x.json", "supervisor-config"),
        ({"services": {}, "settings": {"pid_directory": "x"}}, "x.json", "autostart"),
        ({"include": ["*.json"]}, "x.json", "native"),
        ({"mcp_servers": {}}, "x.json", "mcp"),
        ({"mcpServers": {"a": {"command": "x"}}, "theme": "dark"}, "x.json", "mcp"),
        ({"servers": {"a": {"url": "http://x"}}, "inputs": []}, "x.json", "mcp"),
        ({"servers": {"a": {"host": "x"}}}, "x.json", "none"),
        ({"anything": 1}, "orchestra_autostart.json", "none"),
    ],
)  # fmt: skip
def test_the_head_decides_and_a_file_name_only_where_the_shape_does_not(content, name, dialect):
    assert dialect_of(content, name) == dialect


def test_every_dialect_has_a_name_of_its_own():
    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS)


AUTOSTART = {
    "services": {
        "ai_context": {
            "name": "AI Context Service",
            "command": "python .ai-context/context_service.py",
            "type": "daemon",
            "port": 8005,
            "health_check": "http://localhost:8005/health",
            "restart_on_failure": True,
            "start_delay": 0,
            "description": "Context",
        },
        "job": {"command": "cd x && y", "type": "once", "restart_on_failure": False, "start_delay": 20},
        "plain": {"command": "x"},
    },
    "settings": {
        "log_directory": "logs",
        "pid_directory": ".orchestra",
        "health_check_interval": 12,
        "restart_delay": 10,
        "max_restart_attempts": 3,
        "environment": {"PYTHONPATH": ".:/abs:lib", "NODE_ENV": "development"},
    },
}


def test_the_current_autostart_form_is_read_in_full(load, tmp_path):
    result = load(AUTOSTART, "orchestra_autostart.json")
    assert result.errors == ()
    context, job, plain = (result.fleet.services[name] for name in ("ai_context", "job", "plain"))
    assert context.argv == ("/bin/sh", "-c", "python .ai-context/context_service.py")
    assert (context.title, context.description) == ("AI Context Service", "Context")
    assert (context.cwd, context.port, context.url) == (str(tmp_path), 8005, "http://localhost:8005")
    assert context.probes.readiness == context.probes.liveness
    assert context.probes.readiness.check == HttpCheck(url="http://localhost:8005/health", status=(200, 299))
    assert (context.probes.readiness.period, context.probes.liveness.failure_threshold) == (12, 3)
    assert (context.restart.policy, context.restart.max_restarts) == ("on-failure", 3)
    assert context.restart.backoff.initial == 10
    assert context.env == {"PYTHONPATH": f"{tmp_path}:/abs:{tmp_path}/lib", "NODE_ENV": "development"}
    assert (job.kind, job.restart.policy, job.start_delay) == (Kind.ONCE, "never", 20)
    assert (plain.restart.policy, plain.probes.readiness) == ("on-failure", None)
    assert result.fleet.settings.log_directory == str(tmp_path / "logs")
    assert "pid_directory" in only(result, "key.unused").message


def test_health_is_looked_for_every_thirty_seconds_where_an_autostart_file_does_not_say(load):
    body = {"command": "x", "health_check": "http://localhost:1/"}
    for head in ({}, {"settings": {"restart_delay": 1}}):
        result = load({"services": {"a": body}} | head)
        assert result.fleet.services["a"].probes.readiness.period == 30


@pytest.mark.parametrize("folder", ["venv", ".venv"])
def test_a_virtual_environment_beside_an_autostart_file_is_activated(load, write, folder):
    python = write("", f"{folder}/bin/python")
    env = load(AUTOSTART, "orchestra_autostart.json").fleet.services["plain"].env
    assert env["VIRTUAL_ENV"] == str(python.parents[1])
    assert env["PATH"].split(os.pathsep)[:2] == [str(python.parent), "/usr/local/bin"]


def test_a_virtual_environment_goes_before_a_path_of_the_settings(load, write, tmp_path):
    write("", ".venv/bin/python")
    fleet = {"services": {"a": {"command": "x", "restart_on_failure": True}}}
    fleet["settings"] = {"environment": {"PATH": "bin:${PATH}"}}
    path = load(fleet).fleet.services["a"].env["PATH"]
    assert path.split(os.pathsep)[:3] == [f"{tmp_path}/.venv/bin", f"{tmp_path}/bin", "/usr/local/bin"]


def test_a_native_file_activates_nothing(load, write):
    write("", ".venv/bin/python")
    assert load({"settings": {}, "services": {"a": {"command": "x"}}}).fleet.services["a"].env == {}


def test_start_delays_in_place_of_dependencies_are_noted(load):
    services = {f"s{i}": {"command": "x", "start_delay": 5 * i, "restart_on_failure": True} for i in range(4)}
    finding = only(load({"services": services}), "delay.as_dependency")
    assert (finding.severity, len(finding.where)) == ("info", 3)
    services["s1"]["depends_on"] = ["s0"]
    assert codes(load({"services": services})) == []


def test_an_unknown_key_of_an_autostart_file_is_a_warning_and_the_service_is_read(load):
    services = {"a": {"command": "x", "helth_check": "u", "restart_on_failure": True}}
    result = load({"services": services, "setings": {}, "settings": {"restart_dely": 1}})
    findings = [finding for finding in result.findings if finding.code == "key.unknown"]
    assert {finding.severity for finding in findings} == {"warning"}
    assert " ".join(finding.hint for finding in findings).count("did you mean") == 3
    assert "a" in result.fleet.services


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"health_check": 5}, "health_check"),
        ({"health_check": "localhost"}, "health_check"),
        ({"restart_on_failure": "yes"}, "restart_on_failure"),
        ({"type": "deamon"}, "type"),
        ({"port": 99999}, "port"),
    ],
)
def test_a_wrong_value_of_an_autostart_file_is_named_by_the_key_of_the_file(load, body, field):
    result = load({"services": {"a": {"command": "x", "restart_on_failure": True} | body}})
    (finding,) = result.errors
    assert finding.field == field
    assert f"`{field}`" in finding.message


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"restart_delay": "soon"}, "settings.restart_delay"),
        ({"max_restart_attempts": 1.5}, "settings.max_restart_attempts"),
        ({"health_check_interval": 0}, "settings.health_check_interval"),
    ],
)
def test_a_wrong_setting_of_an_autostart_file_is_named_by_the_key_of_the_file(load, settings, field):
    (finding,) = load(
        {"services": {"a": {"command": "x", "restart_on_failure": True}}, "settings": settings}
    ).errors
    assert finding.field == field


OLDER = """// comments are allowed
{
  "startup_checks": {"check_ports": true},
  "services": {
    "migrate": {"command": "m", "type": "oneshot", "priority": 1, "startup_delay": 5},
    "api": {"command": "a", "type": "daemon", "enabled": true, "port": 80, "startup_delay": 3,
            "health_check": "http://localhost:80/health"},
    "off": {"command": "o", "enabled": false},
    "clean": {"command": "c", "type": "periodic", "interval": 60, /* each minute */ },
  },
  "restart_policy": {"max_retries": 4, "retry_delay": 2, "backoff_multiplier": 1.5}
}
"""


def test_the_older_autostart_form_is_read_in_full(load):
    result = load(OLDER)
    assert result.errors == ()
    services = result.fleet.services
    assert (services["migrate"].kind, services["migrate"].priority) == (Kind.ONCE, 1)
    assert services["api"].probes.readiness.initial_delay == 3
    assert services["api"].probes.liveness.check == HttpCheck(url="http://localhost:80/health")
    assert services["api"].priority == 999
    assert not services["off"].enabled
    assert services["clean"].schedule == ScheduleSpec(every=60)
    restart = services["api"].restart
    assert (restart.max_restarts, restart.backoff.initial, restart.backoff.multiplier) == (4, 2, 1.5)
    assert codes(result).count("startup_delay.read_as") == 2
    assert codes(result).count("json.trailing_comma") == 2


def test_the_supervisor_form_is_read_in_full(load):
    body = {
        "name": "API",
        "command": ["/srv/app/venv/bin/python", "-m", "uvicorn", "main:app"],
        "cwd": "/srv/app/api",
        "port": 8000,
        "health_url": "http://localhost:8000/api/health",
        "env": {"PYTHONPATH": "/srv/app:."},
        "restart_delay": 5,
        "max_restarts": 10,
        "restart_window": 200,
        "required_for_system": True,
        "dependencies": ["memory"],
        "startup_timeout": 30,
        "health_check_retries": 5,
    }
    services = {"api": body, "memory": {"command": ["x"], "colour": "red"}}
    result = load(
        {"services": services, "health_check_interval": 20, "monitor_interval": 10, "colour": "blue"}
    )
    assert result.errors == ()
    assert codes(result) == ["key.unknown", "key.unknown"]
    api = result.fleet.services["api"]
    assert api.argv == ("/srv/app/venv/bin/python", "-m", "uvicorn", "main:app")
    assert (api.title, api.cwd, api.env) == ("API", "/srv/app/api", {"PYTHONPATH": "/srv/app:."})
    restart = api.restart
    assert (restart.policy, restart.max_restarts, restart.window) == ("always", 10, 200)
    assert (restart.backoff.initial, restart.backoff.multiplier, restart.backoff.cap) == (5, 2, 60)
    assert api.depends_on == {"memory": DependencySpec()}
    assert (api.required_for_system, api.startup_timeout) == (True, 30)
    assert (api.probes.liveness.period, api.probes.liveness.failure_threshold) == (20, 5)


def mcp(load, servers: object, services: object = None, key: str = "mcp_servers", **head: object):
    fleet = {"settings": {}, "services": services or {}}
    own = load(fleet, "orchestra.json")
    path = Path(own.fleet.files[0]).with_name("mcp.json")
    path.write_text(json.dumps({key: servers, **head}), encoding="utf-8")
    return load_fleet([Path(own.fleet.files[0]), path], environ={"TOKEN_DIR": "/t"})


@pytest.mark.parametrize("key", ["mcp_servers", "mcpServers", "servers"])
def test_mcp_servers_are_read_under_every_key(load, key):
    servers = {"a": {"url": "http://localhost:1/mcp", "type": "http", "headers": {"X": "y"}}}
    servers["b"] = {"command": "python", "args": ["x.py", "${TOKEN_DIR}"], "cwd": "sub", "env": {"N": 1}}
    fleet = mcp(load, servers, key=key).fleet
    backends, run_here = fleet.mcp.backends, fleet.services["b"]
    assert (backends["a"].endpoint, backends["a"].headers) == ("http://localhost:1/mcp", {"X": "y"})
    assert (backends["b"].endpoint, backends["b"].service) == (None, "b")
    assert (run_here.argv, run_here.env) == (("python", "x.py", "/t"), {"N": "1"})
    assert run_here.cwd.endswith("/sub")


def test_an_endpoint_on_the_port_of_a_service_is_that_service(load):
    services = {
        "memory": {"command": ["x"], "port": 8003},
        "probed": {"command": ["x"], "health_url": "http://127.0.0.1:8004/health"},
    }
    servers = {
        "m": {"endpoint": "http://localhost:8003", "capabilities": ["c"], "priority": 1, "description": "d"},
        "p": {"endpoint": "http://localhost:8004/mcp"},
        "other": {"endpoint": "http://localhost:9"},
        "far": {"endpoint": "https://example.org:8003/"},
    }
    result = mcp(load, servers, services)
    backends = result.fleet.mcp.backends
    assert [backends[name].service for name in servers] == ["memory", "probed", None, None]
    assert (backends["m"].capabilities, backends["m"].priority, backends["m"].description) == (("c",), 1, "d")
    external = [finding for finding in result.findings if finding.code == "mcp.external"]
    assert [finding.severity for finding in external] == ["info", "info"]


def test_routing_and_cache_are_read_and_an_unknown_target_is_a_warning(load):
    servers = {"memory": {"url": "http://localhost:1"}}
    result = mcp(load, servers, routing={"a": "memory", "b": "memroy"}, cache={"ttl": 60, "strategy": "lru"})
    assert result.fleet.mcp.routing == {"a": "memory", "b": "memroy"}
    assert (result.fleet.mcp.cache_ttl, result.fleet.mcp.cache_strategy) == (60, "lru")
    assert "'memory'" in only(result, "mcp.route_unknown").hint


def test_mcp_entries_on_one_port_are_drift(load):
    servers = {name: {"endpoint": "http://localhost:8003"} for name in "abc"}
    finding = only(mcp(load, servers), "drift.mcp_port")
    assert len(finding.where) == len(finding.values) == 3


def test_a_command_that_a_service_already_runs_is_drift(load, tmp_path):
    services = {"infra": {"command": "cd sub && exec python infra.py", "port": 1}}
    servers = {
        "one": {"endpoint": "http://localhost:1"},
        "two": {"command": "python3", "args": ["infra.py"], "cwd": str(tmp_path / "sub")},
    }
    assert "infra" in only(mcp(load, servers, services), "drift.mcp_twin").message


def test_an_entry_without_an_address_or_a_command_is_left_out_with_a_warning(load):
    result = mcp(load, {"a": {"description": "d"}, "b": {"url": "http://${NO}/", "command": "x"}})
    assert set(result.fleet.mcp.backends) == {"b"}
    assert {"mcp.empty", "mcp.both", "mcp.variable"} <= set(codes(result))
    assert result.errors == ()


@pytest.mark.parametrize("entry", [3, {"command": ["x"]}, {"url": 1}, {"command": "x", "args": "y"}])
def test_a_malformed_mcp_entry_is_an_error(load, entry):
    assert len(mcp(load, {"a": entry, "b": {"url": "http://x"}}).errors) == 1


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.glob("dialect-*.json")) + sorted(CONFIGS.glob("native*.json")), ids=str
)
def test_every_sample_file_loads(path):
    result = load_fleet([path], environ={"PATH": "/bin"})
    assert result.errors == ()
    assert result.fleet.services or result.fleet.mcp.backends


def test_there_is_a_sample_of_every_dialect():
    names = set()
    for path in [*CONFIGS.glob("dialect-*.json"), *CONFIGS.glob("native*.json")]:
        root = parse(path.read_text(encoding="utf-8"), str(path)).root
        assert root is not None
        found = detect(root, Source(path, str(path)))
        assert not isinstance(found, Finding)
        names.add(found.name)
    assert names == {dialect.name for dialect in DIALECTS}


def test_the_default_fleet_loads_without_a_word():
    result = load_fleet([CONFIGS.parent / "orchestra_autostart.json"], environ={"PATH": "/bin"})
    assert codes(result) == []
