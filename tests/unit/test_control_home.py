import os
from pathlib import Path

import pytest

from orchestra_supervisor.control_home import find_home, socket_path


def test_the_home_is_the_explicit_one_then_the_environment_then_the_nearest(tmp_path: Path) -> None:
    start = tmp_path / "a" / "b"
    (tmp_path / ".orchestra").mkdir()
    start.mkdir(parents=True)
    systemd = {"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}
    assert find_home(start, {"ORCHESTRA_HOME": "/e", **systemd}, "../x") == str(tmp_path / "a" / "x")
    assert find_home(start, {"ORCHESTRA_HOME": "/e", **systemd}) == "/e"
    assert find_home(start, {"ORCHESTRA_HOME": "", **systemd}) == "/var/lib/one"
    assert find_home(start, {}) == str(tmp_path / ".orchestra")
    (start / ".orchestra").mkdir()
    assert find_home(start, {}) == str(start / ".orchestra")


def test_without_any_home_it_is_the_one_of_the_start_directory(tmp_path: Path) -> None:
    (tmp_path / ".orchestra").touch()  # a file is no home
    assert find_home(tmp_path, {}) == str(tmp_path / ".orchestra")


@pytest.mark.skipif(os.getuid() != 0, reason="needs another owner")
def test_a_home_that_somebody_else_put_into_a_shared_directory_is_passed_over(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    start = shared / "work"
    start.mkdir(parents=True)
    (shared / ".orchestra").mkdir()
    os.chown(shared / ".orchestra", 65534, 65534)
    assert find_home(start, {}) == str(shared / ".orchestra")
    shared.chmod(0o1777)
    assert find_home(start, {}) == str(start / ".orchestra")


def test_the_socket_is_the_one_that_control_path_names(tmp_path: Path) -> None:
    assert socket_path(tmp_path) == str(tmp_path / "control.sock")
    (tmp_path / "control.path").write_text("/run/user/0/o.sock\n", encoding="utf-8")
    assert socket_path(tmp_path) == "/run/user/0/o.sock"
