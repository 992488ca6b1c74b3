"""Plugins in configuration files: how they are written, what is said of them, and files in their dialects."""

from pathlib import Path

import pytest

from orchestra_supervisor.config.check import CheckReport, check
from orchestra_supervisor.config.findings import Finding, Severity
from orchestra_supervisor.config.load import load_fleet
from orchestra_supervisor.model.spec import PluginCheck
from tests.unit.config.config_testing import codes, only
from tests.unit.config.conftest import ENVIRON, Load, Write
from tests.unit.plugin_api.plugin_files import write_plugin

PROBE = """
class Probe:
    type = "demo"
    async def check(self, request): return Verdict(True, "fine")

@hookimpl
def register_probes(context): return [Probe()]
"""

DIALECT = """
from orchestra_supervisor.plugin_api.dialect import Note, TranslatedService, Translation

class Procs:
    name = "procs"
    def detects(self, document, path):
        return "procs" in document
    def read(self, document, path):
        found = [
            TranslatedService(name, {"command": text["run"], "port": text.get("on", 80)}, ("procs", name),
                {("command",): ("run",), ("port",): ("on",)})
            for name, text in document["procs"].items()
        ]
        notes = [Note("`old` is not needed", ("old",), "remove it")] if "old" in document else []
        return Translation(tuple(found), notes=tuple(notes))

@hookimpl
def register_dialects(context): return [Procs()]
"""

SERVICE = {"command": ["true"]}


def report_of(*files: Path) -> CheckReport:
    return check(files, environ=ENVIRON)


def plugin_findings(report: CheckReport) -> list[Finding]:
    return [one for one in report.findings if one.code.startswith(("plugin.", "probe.unknown", "secret."))]


def test_a_plugin_is_a_source_or_an_object_and_a_file_is_relative_to_the_configuration(
    load: Load, tmp_path: Path
) -> None:
    entries = [
        "./plugins/a.py",
        "b.py",
        {"plugin": "package.module", "enabled": False},
        {"plugin": "entry-point:x", "name": "mine", "options": {"n": [1, None]}, "timeout": "250ms"},
    ]
    settings = load({"settings": {"plugins": entries}, "services": {}}).fleet.settings
    assert [spec.source for spec in settings.plugins] == [
        str(tmp_path / "plugins" / "a.py"),
        str(tmp_path / "b.py"),
        "package.module",
        "entry-point:x",
    ]
    assert settings.plugins[2].enabled is False
    last = settings.plugins[3]
    assert (last.name, last.options, last.timeout) == ("mine", {"n": [1, None]}, 0.25)
    assert settings.plugin_entry_points is False


def test_options_are_filled_in_and_their_secrets_stay_references(load: Load) -> None:
    options = {"url": "secret:hook", "path": "${PLACE}/x", "list": ["${secret:a}"]}
    result = load(
        {"settings": {"plugins": [{"plugin": "p", "options": options}]}, "services": {}}, PLACE="/srv"
    )
    assert result.errors == ()
    assert result.fleet.settings.plugins[0].options == {
        "url": "secret:hook",
        "path": "/srv/x",
        "list": ["${secret:a}"],
    }


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"plugin": ""}, "plugins.0.plugin"),
        ({"name": "x"}, "plugin"),
        ({"plugin": "p", "opts": {}}, "opts"),
        ({"plugin": "p", "timeout": "1h"}, "timeout"),
        ({"plugin": "p", "name": "a b"}, "name"),
        (5, "plugins.0"),
    ],
)
def test_an_entry_that_is_wrong_is_an_error_with_its_place(load: Load, entry: object, said: str) -> None:
    result = load({"settings": {"plugins": [entry]}, "services": {}})
    [error] = result.errors
    assert said in f"{error.message} {error.field}"
    assert error.where[0].line > 1


def test_a_plugin_that_cannot_be_loaded_is_a_preflight_error_on_its_line_and_the_fleet_is_usable(
    write: Write, tmp_path: Path
) -> None:
    write_plugin(tmp_path, PROBE, "good.py")
    write_plugin(tmp_path, "raise OSError('no disk')", "bad.py")
    plugins = ["./good.py", "./bad.py", "./none.py"]
    report = report_of(write({"settings": {"plugins": plugins}, "services": {"one": SERVICE}}))
    bad, none = plugin_findings(report)
    assert (bad.code, bad.severity, bad.category) == ("plugin.failed", Severity.ERROR, "preflight")
    assert "plugin bad: OSError: no disk" in bad.message
    assert "bad.py:8" in bad.hint
    assert (bad.where[0].line, none.where[0].line) == (5, 6)
    assert "no such file" in none.message
    assert report.fleet is not None
    assert report.exit_status == 3


def test_no_plugin_is_run_where_this_host_is_not_looked_at(write: Write, tmp_path: Path) -> None:
    write_plugin(tmp_path, f"open({str(tmp_path / 'run')!r}, 'w').close()\n{PROBE}", "p.py")
    path = write({"settings": {"plugins": ["./p.py"]}, "services": {"one": SERVICE}})
    check([path], environ=ENVIRON, preflight=False)
    assert not (tmp_path / "run").exists()
    report_of(path)
    assert (tmp_path / "run").exists()


def test_what_services_ask_of_plugins_must_be_there(write: Write, tmp_path: Path) -> None:
    write_plugin(tmp_path, PROBE, "p.py")
    services = {
        "good": {**SERVICE, "probes": {"readiness": {"plugin": "demo"}}},
        "bad": {**SERVICE, "probes": {"liveness": {"plugin": {"probe": "dem", "options": {}}}}},
        "vault": {**SERVICE, "env": {"A": "secret:vault:x"}},
    }
    found = plugin_findings(report_of(write({"settings": {"plugins": ["./p.py"]}, "services": services})))
    assert [(one.service, one.code) for one in found] == [
        ("bad", "probe.unknown"),
        ("vault", "secret.unavailable"),
    ]
    assert "'dem'" in found[0].message
    assert found[0].hint == "there are: demo, grpc, http, tcp"
    assert all(one.where[0].line > 1 for one in found)


def test_a_plugin_that_is_named_twice_is_told(write: Write, tmp_path: Path) -> None:
    write_plugin(tmp_path, PROBE, "p.py")
    report = report_of(write({"settings": {"plugins": ["./p.py", "./p.py"]}, "services": {"one": SERVICE}}))
    assert [one.code for one in plugin_findings(report)] == ["plugin.twice"]


def test_a_probe_of_a_plugin_is_a_kind_or_an_object_with_the_usual_timing(load: Load) -> None:
    probes = {
        "readiness": {"plugin": "demo", "period": "1s"},
        "liveness": {"plugin": {"probe": "demo", "options": {"port": 7}}},
    }
    spec = load({"services": {"one": {**SERVICE, "probes": probes}}}).fleet.services["one"]
    assert spec.probes.readiness is not None
    assert spec.probes.readiness.check == PluginCheck(probe="demo")
    assert spec.probes.readiness.period == 1.0
    assert spec.probes.liveness is not None
    assert spec.probes.liveness.check == PluginCheck(probe="demo", options={"port": 7})


def test_a_file_in_a_dialect_of_a_plugin_is_read_by_it_and_findings_name_the_users_lines(
    write: Write, tmp_path: Path
) -> None:
    write_plugin(tmp_path, DIALECT, "d.py")
    main = write({"settings": {"plugins": ["./d.py"]}, "services": {"a": SERVICE}})
    other = write('{\n"old": 1,\n"procs": {\n"web": {"run": ["true"],\n"on": 99999}}}', "procs.json")
    result = load_fleet([other, main], environ=ENVIRON)
    error = only(result, "value.invalid") if "value.invalid" in codes(result) else result.errors[0]
    assert (error.where[0].line, error.field) == (5, "on")
    note = only(result, "plugin.note")
    assert (note.severity, note.where[0].line, note.hint) == (Severity.WARNING, 2, "remove it")
    other.write_text('{"procs": {"web": {"run": ["true"], "on": 8080}}}', encoding="utf-8")
    result = load_fleet([other, main], environ=ENVIRON)
    assert result.errors == ()
    assert result.fleet.services["web"].port == 8080
    assert set(result.fleet.services) == {"a", "web"}


def test_a_built_in_dialect_comes_before_those_of_plugins(write: Write, tmp_path: Path) -> None:
    write_plugin(tmp_path, DIALECT.replace('return "procs" in document', "return True"), "d.py")
    result = load_fleet(
        [write({"settings": {"plugins": ["./d.py"]}, "services": {"a": SERVICE}})], environ=ENVIRON
    )
    assert list(result.fleet.services) == ["a"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('return "procs" in document', "raise OSError('x')", "OSError: x"),
        ("return Translation(tuple(found), notes=tuple(notes))", "return {}", "not a Translation"),
        ('return "procs" in document', "time.sleep(3600)", "no end within 0.2 s"),
    ],
)
def test_a_dialect_that_fails_is_named_at_the_file_that_it_was_to_read(
    write: Write, tmp_path: Path, old: str, new: str, said: str
) -> None:
    write_plugin(tmp_path, DIALECT.replace(old, new), "d.py")
    plugin = {"plugin": "./d.py", "timeout": "200ms"}
    main = write({"settings": {"plugins": [plugin]}, "services": {"a": SERVICE}})
    result = load_fleet([main, write({"procs": {}}, "procs.json")], environ=ENVIRON)
    error = only(result, "plugin.dialect")
    assert "plugin demo" in error.message
    assert said in error.message
    assert error.where[0].path.endswith("procs.json")


def test_a_file_that_nobody_takes_is_still_an_error_of_its_own(write: Write, tmp_path: Path) -> None:
    write_plugin(tmp_path, DIALECT, "d.py")
    main = write({"settings": {"plugins": ["./d.py"]}, "services": {"a": SERVICE}})
    result = load_fleet([main, write({"nothing": 1}, "x.json")], environ=ENVIRON)
    assert codes(result) == ["file.unknown_shape"]
