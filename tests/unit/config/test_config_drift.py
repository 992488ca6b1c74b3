from pathlib import Path

import pytest

from orchestra_supervisor.config.commands import view_command
from orchestra_supervisor.config.load import load_fleet
from tests.unit.config.config_testing import codes, only

A_BODY = {"command": "cd api && python main.py", "port": 3000, "health_check": "http://localhost:3000/health"}
C_BODY = {
    "command": ["python3", "main.py"],
    "cwd": "api",
    "port": 3000,
    "health_url": "http://127.0.0.1:3000/health",
}


def both(write, a: dict[str, object], c: dict[str, object]):
    first = write({"services": {"api": A_BODY | a}}, "orchestra_autostart.json")
    second = write({"services": {"api": C_BODY | c}}, "orchestra_supervisor_config.json")
    return load_fleet([first, second], environ={})


def test_two_spellings_of_one_service_are_no_drift(write):
    assert codes(both(write, {}, {})) == []


def test_the_most_explicit_dialect_is_believed_whole(write, tmp_path):
    native = write({"settings": {}, "services": {"api": {"command": ["n"]}}}, "orchestra.json")
    files = [
        write({"services": {"api": {"command": "b", "startup_delay": 1, "priority": 3}}}, "b.json"),
        write({"services": {"api": A_BODY}}, "a.json"),
        write({"services": {"api": C_BODY}}, "c.json"),
        native,
    ]
    for last, program in ((4, "n"), (3, "python3"), (2, "/bin/sh"), (1, "/bin/sh")):
        result = load_fleet(files[:last], environ={})
        assert result.fleet.services["api"].argv[0] == program
    assert load_fleet(files, environ={}).fleet.services["api"].port is None
    assert load_fleet(files[:1], environ={}).fleet.services["api"].priority == 3


def test_of_two_files_in_one_dialect_the_first_is_believed(write):
    files = [write({"settings": {}, "services": {"a": {"command": [name]}}}, f"{name}.json") for name in "xy"]
    result = load_fleet(files, environ={})
    assert result.fleet.services["a"].argv == ("x",)
    finding = only(result, "drift.command")
    assert [place.path for place in finding.where] == [str(path) for path in files]
    assert finding.values == ("x", "y")


@pytest.mark.parametrize(
    ("a", "c", "code", "values"),
    [
        ({"port": 3002, "health_check": None}, {}, "drift.port", ("3000", "3002")),
        ({"health_check": "http://localhost:3000/"}, {}, "drift.health", None),
        ({"command": "cd api && python other.py"}, {}, "drift.command", None),
        ({"command": "cd web && python main.py"}, {"command": ["npm"]}, "drift.cwd", None),
        ({"type": "once"}, {}, "drift.kind", ("daemon", "once")),
        ({"enabled": False}, {}, "drift.enabled", ("true", "false")),
        ({"env": {"MODE": "dev"}}, {"env": {"MODE": "prod"}}, "drift.env", ("prod", "dev")),
        ({"env": {"API_TOKEN": "hunter2"}}, {"env": {"API_TOKEN": "hunter3"}}, "drift.env", ("***", "***")),
    ],
)
def test_what_two_files_say_differently_is_a_warning_with_both_places_and_values(write, a, c, code, values):
    result = both(write, {k: v for k, v in a.items() if v is not None}, c)
    finding = next(finding for finding in result.findings if finding.code == code)
    assert (finding.severity, finding.category, finding.service) == ("warning", "drift", "api")
    assert [Path(place.path).name for place in finding.where] == [
        "orchestra_supervisor_config.json",
        "orchestra_autostart.json",
    ]
    assert all(place.line > 1 for place in finding.where)
    assert finding.hint
    assert values is None or finding.values == values
    assert "hunter" not in "\n".join(finding.render())


def test_a_difference_is_rendered_with_both_places_and_values(write):
    result = both(write, {"port": 3002}, {})
    lines = only(result, "drift.port").render()
    assert lines[0].endswith("warning: service api: two files differ in `port`")
    assert lines[1].strip().endswith("orchestra_supervisor_config.json:9:12: 3000")
    assert lines[2].strip().endswith("orchestra_autostart.json:5:12: 3002")
    assert lines[3].startswith("  hint: ")


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ("api", "api_server", "drift.two_ids"),
        ("mcp_memory", "memory-service", "drift.two_ids"),
        ("frontend", "front_end", "drift.two_ids"),
        ("grafana", "backend", "drift.port_twice"),
    ],
)
def test_two_services_on_one_port_are_drift(load, first, second, code):
    services = {first: {"command": ["x", "1"], "port": 80}, second: {"command": ["y", "2"], "port": 80}}
    finding = only(load({"settings": {}, "services": services}), code)
    assert finding.severity == "warning"
    assert finding.values == (f"{first}: 80", f"{second}: 80")
    services[second]["enabled"] = False
    assert only(load({"settings": {}, "services": services}), code).severity == "info"


def test_two_ids_that_run_one_command_are_one_server(load):
    services = {
        "alpha": {"command": "cd s && python m.py"},
        "omega": {"command": ["python3", "m.py"], "cwd": "s"},
    }
    services = {name: body | {"port": 80} for name, body in services.items()}
    assert only(load({"settings": {}, "services": services}), "drift.two_ids")


def test_a_health_url_on_another_port_is_drift(load):
    body = {"command": ["x"], "port": 3002, "health_url": "http://localhost:3000/health"}
    finding = only(load({"settings": {}, "services": {"a": body}}), "drift.health_port")
    assert finding.values == ("3002", "localhost:3000/health")


def test_settings_that_differ_are_drift_and_the_most_explicit_file_holds(write, tmp_path):
    old = write({"services": {}, "settings": {"log_directory": "a", "pid_directory": "x"}}, "a.json")
    new = write({"$schema": "x", "services": {}, "settings": {"log_directory": "b"}}, "b.json")
    result = load_fleet([old, new], environ={})
    assert result.fleet.settings.log_directory == str(tmp_path / "b")
    assert only(result, "drift.setting").field == "settings.log_directory"


def test_an_unknown_dependency_is_an_error_with_the_nearest_name(load):
    services = {"api": {"command": ["x"], "depends_on": ["databse"]}, "database": {"command": ["x"]}}
    finding = only(load({"settings": {}, "services": services}), "dependency.unknown")
    assert (finding.severity, finding.service) == ("error", "api")
    assert "'database'" in finding.hint
    assert finding.where[0].line > 4


def test_a_dependency_that_only_another_file_has_is_fine_and_noted(write):
    first = write(
        {"services": {"api": {"command": ["x"], "dependencies": ["db"]}}}, "orchestra_supervisor_config.json"
    )
    second = write({"services": {"db": {"command": "x"}}}, "orchestra_autostart.json")
    assert [f.code for f in load_fleet([first], environ={}).errors] == ["dependency.unknown"]
    result = load_fleet([first, second], environ={})
    assert result.errors == ()
    assert only(result, "dependency.other_file").severity == "info"


def test_a_dependency_on_a_service_with_faults_is_not_reported_as_unknown(load):
    services = {"api": {"command": ["x"], "depends_on": ["db"]}, "db": {"command": 3}}
    assert codes(load({"settings": {}, "services": services})) == ["value.type"]


def test_a_cycle_is_shown_with_the_place_of_each_edge(load):
    services = {
        "a": {"command": ["x"], "depends_on": ["b"]},
        "b": {"command": ["x"], "depends_on": {"c": "started"}},
        "c": {"command": ["x"], "dependencies": ["a"]},
        "d": {"command": ["x"], "depends_on": ["a"]},
    }
    result = load({"settings": {}, "services": services})
    finding = only(result, "dependency.cycle")
    assert finding.severity == "error"
    words = finding.message.removeprefix("dependencies lead in a circle: ").split(" -> ")
    assert words[0] == words[-1]
    edges = {"a": ("b", 9), "b": ("c", 17), "c": ("a", 25)}
    assert [edges[name][0] for name in words[:-1]] == words[1:]
    assert [place.line for place in finding.where] == [edges[name][1] for name in words[:-1]]


def test_a_service_that_depends_on_itself_and_every_other_cycle_is_found(load):
    services = {name: {"command": ["x"], "depends_on": [need]} for name, need in ("aa", "bc", "cb")}
    found = [finding.message for finding in load({"settings": {}, "services": services}).errors]
    assert len(found) == 2


def test_waiting_for_what_will_not_happen_is_a_warning(load):
    services = {
        "off": {"command": ["x"], "enabled": False},
        "daemon": {"command": ["x"]},
        "one": {"command": ["x"], "depends_on": {"off": "ready", "daemon": "completed"}},
    }
    assert sorted(codes(load({"settings": {}, "services": services}))) == [
        "dependency.disabled",
        "dependency.never_completed",
    ]


def test_included_files_are_read_once_in_order_and_relative_to_the_file(load, write):
    write(
        {"settings": {}, "include": ["../orchestra.json"], "services": {"b": {"command": ["b"]}}},
        "parts/b.json",
    )
    write({"services": {"c": {"command": "c", "restart_on_failure": True}}}, "parts/c.json")
    result = load(
        {"include": ["parts/*.json", "parts/b.json", "none/*.json"], "services": {"a": {"command": ["a"]}}}
    )
    assert result.errors == ()
    assert list(result.fleet.services) == ["a", "b", "c"]
    assert result.fleet.services["b"].cwd.endswith("/parts")
    assert only(result, "include.empty").severity == "info"
    assert [path.name for path in result.sources.files] == ["orchestra.json", "b.json", "c.json"]


def test_an_included_file_that_is_missing_is_an_error(load):
    assert codes(load({"include": ["no.json"]})) == ["file.missing"]


@pytest.mark.parametrize(
    ("argv", "identity"),
    [
        (("/opt/venv/bin/python3.11", "x.py"), ("python", "/w/x.py")),
        (
            ("/bin/sh", "-c", "cd sub && PORT=1 exec python x.py --a 'b c'"),
            ("python", "/w/sub/x.py", "--a", "b c"),
        ),
        (("/bin/sh", "-c", "cd 'a b'; ./run"), ("run",)),
        (("/bin/sh", "-c", "a | b"), ()),
        (("/bin/sh", "-c", "a $X"), ()),
        (("/bin/sh", "-c", "a 'unclosed"), ()),
        (("/bin/sh", "-c", "python -c 'f(); g()'"), ("python", "-c", "f(); g()")),
    ],
)
def test_a_command_is_known_by_what_it_runs(argv, identity):
    assert view_command(argv, "/w").identity == identity
