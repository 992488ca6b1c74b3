"""What `up` decides before anything runs: files, home, lock, the keeper's document."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra_supervisor.cli import launch
from orchestra_supervisor.cli.holder import keeper_pid_of
from orchestra_supervisor.cli.launch import (
    DEFAULT_FILES,
    Plan,
    acquire_lock,
    choose_home,
    find_config_files,
    open_log,
    prepare_home,
)
from orchestra_supervisor.cli.words import UsageError
from orchestra_supervisor.config.load import DEFAULT_FILES as CHECKED
from orchestra_supervisor.model.errors import ConflictError, OrchestraError


def test_without_names_the_default_files_that_exist_are_read_in_their_order(tmp_path: Path) -> None:
    for name in reversed(DEFAULT_FILES[:2]):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    assert find_config_files([], tmp_path) == [tmp_path / name for name in DEFAULT_FILES[:2]]


def test_no_files_at_all_are_an_error_that_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"orchestra_autostart\.json") as caught:
        find_config_files([], tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "-c FILE" in caught.value.hint


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no\.json does not exist"):
        find_config_files(["no.json"], tmp_path)


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    assert find_config_files(["a.json", "./a.json"], tmp_path) == [tmp_path / "a.json"]


@pytest.mark.parametrize(
    ("option", "env", "home"),
    [
        ("/opt", {"ORCHESTRA_HOME": "/env", "STATE_DIRECTORY": "/state"}, "/opt"),
        (None, {"ORCHESTRA_HOME": "/env", "STATE_DIRECTORY": "/state"}, "/env"),
        (None, {"STATE_DIRECTORY": "/state:/other"}, "/state"),
        (None, {"ORCHESTRA_HOME": ""}, "/etc/fleet/.orchestra"),
    ],
)
def test_the_home_comes_from_the_option_the_environment_or_the_first_file(
    option: str | None, env: dict[str, str], home: str
) -> None:
    assert choose_home(option, env, [Path("/etc/fleet/a.json"), Path("/x/b.json")]) == Path(home)


def test_a_new_home_is_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "a" / "home"
    prepare_home(home)
    prepare_home(home)
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OrchestraError, match="cannot create the state directory") as caught:
        prepare_home(tmp_path / "file" / "home")
    assert "--home" in caught.value.hint


def test_a_second_holder_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    first = acquire_lock(tmp_path)
    try:
        assert keeper_pid_of(tmp_path) == os.getpid()
        with pytest.raises(ConflictError, match=f"pid {os.getpid()}") as caught:
            acquire_lock(tmp_path)
        assert "orchestra down" in caught.value.hint
    finally:
        os.close(first)
    assert keeper_pid_of(tmp_path) is None
    os.close(acquire_lock(tmp_path))


def test_a_lock_file_whose_holder_is_dead_is_free(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("999999999999\n", encoding="utf-8")
    assert keeper_pid_of(tmp_path) is None
    descriptor = acquire_lock(tmp_path)
    assert (tmp_path / "lock").read_text(encoding="utf-8").split()[0] == str(os.getpid())
    os.close(descriptor)


def test_the_lock_ends_with_the_process_that_inherited_it(tmp_path: Path) -> None:
    descriptor = acquire_lock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(descriptor,)
    ) as child:
        os.close(descriptor)
        assert keeper_pid_of(tmp_path) is not None
        child.communicate(b"\n", timeout=10)
    assert keeper_pid_of(tmp_path) is None


def test_a_command_that_looks_at_the_lock_does_not_make_up_fail(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    looker = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    closer = f"import os,time; time.sleep(0.05); os.close({looker})"
    with subprocess.Popen([sys.executable, "-I", "-c", closer], pass_fds=(looker,)):
        os.close(looker)
        os.close(acquire_lock(tmp_path))


def test_the_keeper_is_told_home_lock_daemon_and_logger(tmp_path: Path) -> None:
    plan = Plan(tmp_path, [tmp_path / "a.json", tmp_path / "b.json"], ["web", "mcp_*"])
    argv = plan.argv(7)
    assert argv[1:3] == ["-I", "-S"]
    assert Path(argv[3]).parts[-2:] == ("keeper", "__main__.py")
    boot = json.loads(argv[4])
    daemon = boot.pop("daemon")
    logger = boot.pop("logger")
    mark = boot.pop("mark")
    assert mark.isalnum()
    assert mark != json.loads(Plan(tmp_path / "other", [], []).boot(7))["mark"]
    assert boot == {"home": str(tmp_path), "lock_fd": 7, "cgroups": None}
    assert daemon[0] == sys.executable
    assert daemon[daemon.index("-m") + 1 :] == [
        *("orchestra_supervisor.daemon", "--home", str(tmp_path)),
        *("-c", str(tmp_path / "a.json"), "-c", str(tmp_path / "b.json"), "--only", "web,mcp_*"),
    ]
    assert logger[1:3] == ["-I", "-S"]


def test_what_the_keeper_starts_finds_this_package_from_anywhere(tmp_path: Path) -> None:
    plan = Plan(tmp_path, [], [])
    env = plan.environment()
    assert env["ORCHESTRA_HOME"] == str(tmp_path)
    found = subprocess.run(
        [sys.executable, "-P", "-c", "import orchestra_supervisor.cli.launch as o; print(o.__file__)"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=20,
        check=True,
    )
    assert Path(found.stdout.strip()).samefile(launch.__file__)


def test_a_large_supervisor_log_is_set_aside(tmp_path: Path) -> None:
    with (tmp_path / "supervisor.log").open("wb") as file:
        file.truncate(11 * 1024 * 1024)
    os.close(open_log(tmp_path))
    assert (tmp_path / "supervisor.log").stat().st_size == 0
    assert (tmp_path / "supervisor.log.1").stat().st_size > 0
    assert (tmp_path / "supervisor.log").stat().st_mode & 0o777 == 0o600


def test_check_and_up_read_the_same_files_where_none_is_named() -> None:
    assert CHECKED == DEFAULT_FILES


@pytest.mark.parametrize(
    ("given", "told"), [(None, None), ("none", []), ("/a:/b", ["/a", "/b"]), (":/a", ["/a"]), ("", [])]
)
def test_the_environment_names_control_groups_for_the_keeper(
    tmp_path: Path, monkeypatch, given, told
) -> None:
    monkeypatch.delenv("ORCHESTRA_CGROUP", raising=False)
    if given is not None:
        monkeypatch.setenv("ORCHESTRA_CGROUP", given)
    assert json.loads(Plan(tmp_path, [], []).boot(7))["cgroups"] == told
