"""A plan names the place of each new value and shows no secret."""

import json
from pathlib import Path

import pytest

from orchestra_supervisor.config.load import LoadResult, load_fleet
from orchestra_supervisor.config.plan import PlanReport, report_plan
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.rules.reload import plan_reload

OLD = """{
  "settings": {
    "environment": {"SHARED": "1"},
    "env_files": ["?shared.env"],
    "defaults": {"log": {"backups": 2}}
  },
  "services": {
    "api": {
      "command": ["python", "api.py"],
      "env": {
        "LEVEL": "info",
        "DB_PASSWORD": "hunter2",
        "DSN": "postgres://me:hunter2@db/x"
      },
      "health_url": "http://localhost:80/a",
      "probes": {
        "startup": {"http": {"url": "http://localhost:80/b", "headers": {"Authorization": "Bearer hunter2"}}}
      },
      "restart_delay": 1
    }
  }
}
"""


def load(folder: Path, text: str) -> LoadResult:
    path = folder / "orchestra.json"
    path.write_text(text, encoding="utf-8")
    result = load_fleet([path], environ={})
    assert not result.errors, result.errors
    return result


def report(old: Fleet, new: LoadResult) -> PlanReport:
    return report_plan(plan_reload(old, new.fleet, {}, {}), new.sources)


@pytest.mark.parametrize(
    ("before", "after", "field", "old", "new"),
    [
        ('"LEVEL": "info"', '"LEVEL": "debug"', "env.LEVEL", "info", "debug"),
        ('"api.py"]', '"api.py", "-v"]', "argv", "python api.py", "python api.py -v"),
        ('"restart_delay": 1', '"restart_delay": 2', "restart.backoff.initial", "1", "2"),
        ('"backups": 2', '"backups": 3', "log.backups", "2", "3"),
        ('"SHARED": "1"', '"SHARED": "2"', "env.SHARED", "1", "2"),
        (
            "localhost:80/b",
            "localhost:80/c",
            "probes.startup.check.url",
            "http://localhost:80/b",
            "http://localhost:80/c",
        ),
        ("localhost:80/a", "localhost:80/d", "probes.readiness.check.url", "http://localhost:80/a", None),
    ],
)
def test_a_value_is_told_with_the_line_where_it_stands_now(
    tmp_path: Path, before: str, after: str, field: str, old: str, new: str | None
) -> None:
    applied = load(tmp_path, OLD).fleet
    text = OLD.replace(before, after)
    notes = {note.field: note for note in report(applied, load(tmp_path, text)).services[0].fields}
    note = notes[field]
    line = 1 + text[: text.index(after)].count("\n")
    assert (note.old, note.where.line, Path(note.where.path).name) == (old, line, "orchestra.json")
    assert new is None or note.new == new
    assert note.when in {"restart", "live"}
    assert note.why


def test_a_value_that_fell_to_its_default_is_told_with_the_place_of_its_service(tmp_path: Path) -> None:
    applied = load(tmp_path, OLD).fleet
    text = OLD.replace(',\n      "restart_delay": 1', "")
    (note,) = report(applied, load(tmp_path, text)).services[0].fields
    assert (note.field, note.new, note.where.line) == ("restart.backoff.initial", "0.5", 8)


def test_a_variable_of_an_env_file_is_told_with_the_list_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "shared.env").write_text("FROM_FILE=1\n", encoding="utf-8")
    applied = load(tmp_path, OLD).fleet
    (tmp_path / "shared.env").write_text("FROM_FILE=2\n", encoding="utf-8")
    (note,) = report(applied, load(tmp_path, OLD)).services[0].fields
    assert (note.field, note.old, note.new, note.where.line) == ("env.FROM_FILE", "1", "2", 4)


def test_no_secret_is_told_and_references_to_secrets_are(tmp_path: Path) -> None:
    applied = load(tmp_path, OLD).fleet
    text = OLD.replace('"DB_PASSWORD": "hunter2"', '"DB_PASSWORD": "secret:db.password"')
    text = text.replace("me:hunter2@db", "me:hunter3@db").replace("Bearer hunter2", "Bearer hunter3")
    told = report(applied, load(tmp_path, text))
    notes = {note.field: (note.old, note.new) for note in told.services[0].fields}
    assert notes["env.DB_PASSWORD"] == ("***", "secret:db.password")
    assert notes["env.DSN"] == ("postgres://me:***@db/x", "postgres://me:***@db/x")
    assert notes["probes.startup.check.headers.Authorization"] == ("***", "***")
    assert "hunter" not in json.dumps(told.to_dict())


def test_a_secret_within_a_value_that_is_wholly_new_is_not_told_either(tmp_path: Path) -> None:
    bare = load(tmp_path, '{"services": {"api": {"command": "x"}}}').fleet
    told = report(bare, load(tmp_path, OLD))
    assert "hunter" not in json.dumps(told.to_dict())
    assert json.loads(json.dumps(told.to_dict()))["services"][0]["fields"]


def test_a_setting_is_told_with_its_place_and_that_it_waits(tmp_path: Path) -> None:
    applied = load(tmp_path, OLD).fleet
    text = OLD.replace('"environment"', '"log_directory": "elsewhere",\n    "environment"')
    (note,) = report(applied, load(tmp_path, text)).settings
    assert (note.field, note.old, note.when) == ("log_directory", "(not set)", "next_up")
    assert note.new == str(tmp_path / "elsewhere")
    assert note.where.line == 3


SUPERVISORD = """\
[supervisord]
[unix_http_server]
file=/run/x.sock
username=joe
password=hunter1
[inet_http_server]
port=127.0.0.1:9001
username=joe
password={SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d
[program:x]
command=/bin/true
"""


def test_no_password_of_supervisords_servers_is_told_nor_what_is_kept_of_it(tmp_path: Path) -> None:
    path = tmp_path / "supervisord.conf"
    texts = [
        SUPERVISORD,
        SUPERVISORD.replace("hunter1", "hunter2"),
        SUPERVISORD.replace("82ab", "93bc"),
        SUPERVISORD.replace("9001", "9002"),
        SUPERVISORD.replace("username=joe", "username=jim"),
        "[program:x]\ncommand=/bin/true\n",
    ]
    fleets: list[LoadResult] = []
    for text in texts:
        path.write_text(text, encoding="utf-8")
        fleets.append(load_fleet([path], environ={}))
    for one in fleets:
        for other in fleets:
            told = json.dumps(report(one.fleet, other).to_dict())
            assert ("supervisor" in told) is (one is not other)
            for secret in ("hunter", "82ab876d", "93bc876d", "cb1d", "pbkdf2", "sha1"):
                assert secret not in told, told
