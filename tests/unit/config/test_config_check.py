import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra_supervisor.config.check import check
from orchestra_supervisor.config.command import run_check
from tests.unit.config.config_testing import codes, only

ENVIRON = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


@pytest.fixture
def look(write):
    """Check one native service called `one`."""

    def look(
        settings: dict[str, object] | None = None, environ: dict[str, str] | None = None, **body: object
    ):
        fleet = {"settings": settings or {}, "services": {"one": {"command": ["true"]} | body}}
        return check([write(fleet)], environ=environ or ENVIRON)

    return look


def test_a_fleet_that_can_run_here_has_no_findings(look):
    report = look()
    assert codes(report) == []
    assert report.exit_status == 0
    assert report.fleet is not None
    assert report.services == 1


@pytest.mark.parametrize(
    ("body", "code", "severity", "field"),
    [
        ({"command": ["no-such-program-here"]}, "command.not_on_path", "error", "command"),
        ({"command": "no-such-program-here -x && y"}, "command.not_on_path", "warning", "command"),
        ({"command": "FOO=1 exec no-such-program-here"}, "command.not_on_path", "warning", "command"),
        ({"command": ["/opt/homebrew/bin/python3.99"]}, "command.missing", "error", "command"),
        ({"command": ["./run.sh"]}, "command.missing", "error", "command"),
        ({"command": ["/"]}, "command.not_executable", "error", "command"),
        ({"command": ["sh", "job.sh"]}, "script.missing", "warning", "command"),
        ({"command": ["cat", "/Users/somebody/app/x.txt"]}, "path.foreign", "warning", "command.1"),
        ({"env": {"PYTHONPATH": "/Users/somebody/lib"}}, "path.foreign", "warning", "env.PYTHONPATH"),
        ({"cwd": "/Users/somebody/app"}, "cwd.missing", "error", "cwd"),
        ({"cwd": "/etc/passwd"}, "cwd.not_directory", "error", "cwd"),
        ({"command": "cd nowhere && true"}, "cwd.missing", "warning", "command"),
        ({"user": "no_such_user_"}, "user.unknown", "error", "user"),
        ({"group": "no_such_group_"}, "group.unknown", "error", "group"),
        ({"groups": ["root", "no_such_group_"]}, "group.unknown", "error", "groups.1"),
        ({"env": {"A": "secret:db"}}, "secret.unavailable", "error", "env.A"),
        ({"secrets": {"A": "db"}}, "secret.unavailable", "error", "secrets.A"),
    ],
)
def test_what_this_host_lacks_is_found_at_the_key_it_came_from(look, body, code, severity, field):
    report = look(**body)
    finding = only(report, code)
    assert (finding.severity, finding.field, finding.category) == (severity, field, "preflight")
    assert finding.service == "one"
    assert finding.where[0].line > 1
    assert report.exit_status == (3 if severity == "error" else 0)
    assert report.fleet is not None


@pytest.mark.parametrize(
    "line", ["$RUNNER x", "if true; then x; fi", "[ -e x ]", "`which x`", "'unclosed", ": ; x"]
)
def test_a_shell_line_that_cannot_be_seen_through_is_left_alone(look, line):
    assert codes(look(command=line)) == []


def test_a_program_is_looked_for_on_the_path_of_the_service(look, tmp_path):
    program = tmp_path / "bin" / "my-program"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    assert codes(look(command=["my-program"])) == ["command.not_on_path"]
    assert codes(look(command=["my-program"], env={"PATH": f"{program.parent}:${{PATH}}"})) == []
    assert codes(look(command=["bin/my-program"])) == []


def test_a_busy_port_is_reported_with_its_owner(look):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        finding = only(look(port=port), "port.busy")
        assert finding.severity == "error"
        assert f"pid {os.getpid()} (" in finding.message
        assert codes(look(port=port, enabled=False)) == []


def test_a_port_that_the_service_itself_holds_is_only_noted(look):
    listen = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", listen],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={"ORCHESTRA_RUN_ID": "one-0123456789ab"},
    ) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        report = look(port=port)
        process.communicate("\n", timeout=10)
    assert only(report, "port.own").severity == "info"
    assert report.exit_status == 0


def test_two_enabled_services_on_one_port_are_one_error(write):
    services = {
        name: {"command": [program], "port": 1} for name, program in (("alpha", "true"), ("omega", "cat"))
    }
    report = check([write({"settings": {}, "services": services})], environ=ENVIRON)
    assert "port.conflict" in codes(report)
    assert "drift.port_twice" in codes(
        check([write({"settings": {}, "services": services})], environ={}, preflight=False)
    )
    services["omega"]["enabled"] = False
    report = check([write({"settings": {}, "services": services})], environ=ENVIRON)
    assert "port.conflict" not in codes(report)


def test_secrets_that_are_there_are_no_finding_and_are_not_shown(look, tmp_path):
    path = tmp_path / "s.json"
    path.write_text('{"db": "hunter2"}', encoding="utf-8")
    path.chmod(0o600)
    assert codes(look({"secrets_file": "s.json"}, env={"A": "secret:db"})) == []
    path.chmod(0o644)
    report = look({"secrets_file": "s.json"}, env={"A": "secret:db"})
    assert "chmod 600" in only(report, "secret.unavailable").hint
    assert "hunter2" not in json.dumps(report.to_dict())


def test_a_log_directory_that_cannot_be_used_is_an_error(look, write):
    write("", "file")
    finding = only(look({"log_directory": "file/logs"}), "log_directory.unwritable")
    assert (finding.severity, finding.field) == ("error", "settings.log_directory")
    assert finding.where[0].line > 1
    assert codes(look({"log_directory": "new/logs"})) == []


def test_without_preflight_the_host_is_not_looked_at(write):
    path = write({"settings": {}, "services": {"one": {"command": ["no-such-program-here"]}}})
    assert codes(check([path], environ=ENVIRON, preflight=False)) == []


def test_files_with_errors_give_no_fleet_and_the_status_of_a_wrong_configuration(write):
    report = check([write("{")], environ={})
    assert report.fleet is None
    assert report.exit_status == 3


def test_the_command_writes_findings_and_a_summary(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", ENVIRON)
    write(
        {
            "settings": {},
            "services": {
                "one": {"command": ["no-such-program-here"], "prot": 1},
                "two": {"command": ["x-none"]},
            },
        }
    )
    out = io.StringIO()
    assert run_check([], as_json=False, preflight=True, stream=out) == 3
    assert out.getvalue() == (
        "orchestra.json:8:4: error: service one: unknown key 'prot'\n"
        "  hint: did you mean 'port'?\n"
        "orchestra.json:11:15: error: service two: program 'x-none' is not on its PATH\n"
        "  hint: install it, or write its absolute path\n"
        "2 errors; 1 service in 1 file\n"
    )


def test_the_command_writes_json(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write({"settings": {}, "services": {"one": {"command": ["true"], "port": 70000}}})
    out = io.StringIO()
    assert run_check([str(path)], as_json=True, preflight=False, stream=out) == 3
    body = json.loads(out.getvalue())
    assert body["ok"] is False
    assert body["counts"] == {"error": 1, "warning": 0, "info": 0}
    assert body["files"] == [str(path)]
    (finding,) = body["findings"]
    assert finding["where"] == [{"path": str(path), "line": 8, "column": 12}]
    assert (finding["field"], finding["service"], finding["code"]) == ("port", "one", "value.invalid")


def test_the_command_without_any_file_says_what_it_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = io.StringIO()
    assert run_check([], as_json=False, preflight=True, stream=out) == 3
    assert "orchestra_autostart.json" in out.getvalue()


def test_the_command_with_a_clean_file_returns_zero(write):
    out = io.StringIO()
    path = write({"settings": {}, "services": {}})
    assert run_check([str(path)], as_json=False, preflight=True, stream=out) == 0
    assert out.getvalue() == "nothing to report; 0 services in 1 file\n"
    assert Path(path).exists()
