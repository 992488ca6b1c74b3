"""What a server says when it cannot start: one line with the value, a hint, exit status 1."""

from pathlib import Path

import pytest

from orchestra_supervisor.servers.backend.__main__ import main as backend
from orchestra_supervisor.servers.context.__main__ import main as context


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRA_HOME", str(tmp_path))
    for name in ("ORCHESTRA_DATA", "ORCHESTRA_BACKEND_PORT", "ORCHESTRA_BACKEND_HOST"):
        monkeypatch.delenv(name, raising=False)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 2
    assert "\nhint: " in captured.err
    return captured.err


def test_an_address_that_others_can_reach_needs_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        assert backend(["--host", host, "--port", "0"]) == 1
        assert "--allow-remote" in said(capsys)


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_a_number_that_is_no_port_is_named(capsys: pytest.CaptureFixture[str], port: str) -> None:
    assert backend([f"--port={port}"]) == 1
    assert port in said(capsys)


@pytest.mark.parametrize("port", ["eighty", "70000", "8e3", "²"])
def test_a_variable_that_is_no_port_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setenv("ORCHESTRA_BACKEND_PORT", port)
    assert backend([]) == 1
    assert "$ORCHESTRA_BACKEND_PORT" in said(capsys)


def test_a_data_directory_that_cannot_be_made_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert backend(["--port", "0", "--data", "/proc/nowhere"]) == 1
    assert "/proc/nowhere" in said(capsys)


def test_a_database_that_is_none_is_left_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "data" / "backend" / "backend.sqlite3"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database, but somebody's only copy" * 100)
    before = file.read_bytes()
    assert backend(["--port", "0"]) == 1
    assert str(file) in said(capsys)
    assert file.read_bytes() == before


@pytest.mark.parametrize("root", ["/nonexistent", "/"])
def test_a_root_that_is_no_project_is_named(capsys: pytest.CaptureFixture[str], root: str) -> None:
    assert context(["--root", root, "--port", "0"]) == 1
    assert f"root {root}" in said(capsys)
