"""What the doctor says of a host and a home, each fault made for real where it can be."""

import json
import os
from pathlib import Path

import pytest

from orchestra_supervisor.cli.doctor import diagnosis, fleet, host
from orchestra_supervisor.cli.doctor.diagnosis import diagnose
from orchestra_supervisor.cli.doctor.verdict import Verdict
from orchestra_supervisor.cli.shapes import StatusView
from tests.e2e.cli import shapes
from tests.e2e.cli.fake_control import holding_lock, serving

SUBJECTS = [
    "versions",
    "kernel",
    "cgroup",
    "inotify",
    "limits",
    "pipes",
    "state directory",
    "logs",
    "clock",
    "processes",
    "orphans",
    "configuration",
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / ".orchestra"
    path.mkdir(mode=0o700)
    return path


def page(home: Path) -> dict[str, Verdict]:
    return {one.subject: one for one in diagnose(home, home.parent)}


def test_a_host_without_a_fleet_is_looked_at_and_left_as_it_was(tmp_path: Path) -> None:
    home = tmp_path / "none"
    found = diagnose(home, tmp_path)
    assert [one.subject for one in found] == SUBJECTS
    assert all(one.text and (one.hint or one.grade == "ok") for one in found)
    assert "it will be made" in page(home)["state directory"].text
    assert list(tmp_path.iterdir()) == []


def test_a_daemon_that_does_not_answer_fails_with_what_to_do(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_WAIT", 0.05)
    with holding_lock(home):
        found = page(home)
    assert found["processes"].grade == "fail"
    assert "upgrade-daemon" in found["processes"].hint
    assert found["control socket"].grade == "fail"


def test_a_fleet_tells_who_is_alive_who_may_call_and_who_is_in_trouble(home: Path) -> None:
    rows = [shapes.service("web"), shapes.service("db", "failed")]
    status = shapes.status(str(home), rows, version="9.9.9", logger_pid=None)
    with holding_lock(home), serving(home / "control.sock", lambda *_: (200, status)):
        (home / "control.sock").chmod(0o660)
        found = page(home)
        (home / "control.sock").chmod(0o666)
        open_to_all = page(home)["control socket"]
    assert (found["versions"].grade, found["processes"].grade) == ("warn", "fail")
    assert "the daemon runs 9.9.9" in found["versions"].text
    assert "the logger does not" in found["processes"].text
    assert "may operate" in found["control socket"].text
    assert open_to_all.grade == "warn"
    assert (found["services"].grade, found["services"].hint[:23]) == ("warn", "`orchestra logs db`, `o")


def test_findings_of_the_files_are_counted(home: Path) -> None:
    file = home.parent / "orchestra.json"
    file.write_text(json.dumps({"services": {"a": {"command": ["x"]}}}), encoding="utf-8")
    assert page(home)["configuration"].grade == "ok"
    file.write_text(
        json.dumps({"services": {"a": {"command": ["x"], "depends_on": ["b"]}}}), encoding="utf-8"
    )
    found = page(home)["configuration"]
    assert (found.grade, "1 errors" in found.text) == ("fail", True)
    assert str(file) in found.hint


def test_a_folder_for_everybody_a_full_disk_and_a_file_in_its_place_fail(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.chmod(0o777)
    assert "may be written by everybody" in page(home)["state directory"].text
    home.chmod(0o700)
    with monkeypatch.context() as patch:
        patch.setattr(host, "_ROOM_FAIL", 1 << 62)
        found = page(home)["logs"]
        assert (found.grade, "the disk is full" in found.text) == ("fail", True)
    home.rmdir()
    home.write_text("", encoding="utf-8")
    assert "is no directory" in page(home)["state directory"].text


def test_limits_that_are_too_small_for_the_fleet_fail(home: Path) -> None:
    layout = {"log_directory": "logs", "services": [f"s{index}" for index in range(200_000)]}
    (home / "layout.json").write_text(json.dumps(layout), encoding="utf-8")
    found = page(home)["limits"]
    assert (found.grade, found.hint[:9]) == ("fail", "ulimit -n")


def test_a_clock_that_was_set_back_is_seen(home: Path) -> None:
    file = home / "fleet.json"
    file.write_text("{}", encoding="utf-8")
    assert page(home)["clock"].grade == "ok"
    later = file.stat().st_mtime + 3_600
    os.utime(file, (later, later))
    assert page(home)["clock"].grade == "warn"


def test_a_check_that_breaks_does_not_hide_the_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> list[Verdict]:
        msg = "no such luck"
        raise RuntimeError(msg)

    monkeypatch.setattr(fleet, "_orphans", breaks)
    found = diagnose(home, home.parent)
    assert [one.subject for one in found] == SUBJECTS
    broken = next(one for one in found if one.subject == "orphans")
    assert (broken.grade, "no such luck" in broken.text) == ("warn", True)
    assert diagnosis.diagnose is diagnose


@pytest.mark.parametrize(
    ("groups", "limits", "grade", "text"),
    [
        ({"version": 2, "limits": ["cpu", "memory"]}, {}, "ok", "one of version 2; limits held: cpu, memory"),
        (
            {"version": None, "limits": []},
            {"memory": {"value": 1, "held": "watched"}},
            "ok",
            "memory is watched",
        ),
        (
            {"version": None, "limits": []},
            {"pids": {"value": 1, "held": "no"}},
            "warn",
            "of web are not held",
        ),
    ],
)
def test_which_limits_are_held_is_told(
    groups: dict[str, object], limits: dict[str, object], grade: str, text: str
) -> None:
    answer = shapes.status("/h", [shapes.service("web", limits=limits)])
    daemon = answer["daemon"]
    assert isinstance(daemon, dict)
    daemon["cgroups"] = groups
    sight = fleet.Sight(1, StatusView(answer), "", None, 1, ())
    (found,) = host._cgroup(sight)
    assert found.grade == grade
    assert text in found.text
