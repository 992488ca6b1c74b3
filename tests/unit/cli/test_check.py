"""`orchestra check`: which files it looks at."""

import json
from pathlib import Path

import pytest

from orchestra_supervisor.cli.main import main


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, command in (("a.json", "sleep"), ("b.json", "cat"), ("orchestra.json", "true")):
        fleet = {"services": {name.partition(".")[0]: {"command": [command]}}}
        (tmp_path / name).write_text(json.dumps(fleet), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["check", "--no-preflight", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize(
    "words", [("a.json",), ("-c", "a.json"), ("--config=a.json",), ("a.json", "-c", "./a.json")]
)
def test_files_are_named_by_themselves_or_as_for_up(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    (place / "a.json").write_text('{"services": {"a": {"command": 7}}}', encoding="utf-8")
    status, said, complaint = checked(capsys, *words)
    assert (status, complaint) == (3, "")
    assert "a.json:1:32: error" in said
    assert "b.json" not in said


def test_several_are_put_together_in_either_way(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "b.json").write_text('{"services": {"a": {"command": ["cat"]}}}', encoding="utf-8")
    by_place = checked(capsys, "a.json", "b.json")
    assert by_place == checked(capsys, "-c", "a.json", "-c", "b.json")
    assert "b.json" in by_place[1]


def test_two_ways_that_name_other_files_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said, complaint = checked(capsys, "a.json", "-c", "b.json")
    assert (status, said) == (2, "")
    assert f"{place}/a.json" in complaint
    assert f"{place}/b.json" in complaint
    assert "hint: " in complaint


def test_without_any_the_default_files_are_looked_at(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "orchestra.json").write_text("{", encoding="utf-8")
    status, said, _ = checked(capsys)
    assert status == 3
    assert "orchestra.json" in said
