"""`orchestra import`: to stdout, to a file, and never over one."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

SUPERVISORD = """\
[supervisord]
pidfile=/tmp/x.pid
[program:web]
command=/bin/sleep 1000
stopwaitsecs=3
"""


def orchestra(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "orchestra_supervisor", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "supervisord.conf").write_text(SUPERVISORD, encoding="utf-8")
    return tmp_path


def test_the_text_goes_to_stdout_and_the_report_to_stderr(folder):
    done = orchestra(folder, "import", "supervisord.conf")
    assert done.returncode == 0
    assert '"command": ["/bin/sleep", "1000"],  // command supervisord.conf:4' in done.stdout
    assert done.stderr.splitlines() == [
        (
            "supervisord.conf:2:9: warning: [supervisord] `pidfile`: no such file is written: "
            "the pid of the keeper is in the home's file `lock`"
        ),
        "  hint: `orchestra status` and `supervisorctl pid` tell it, too",
        "1 service; 1 to look at above",
    ]


def test_a_file_is_written_for_its_owner_alone_and_passes_the_check(folder):
    done = orchestra(folder, "import", "supervisord.conf", "-o", "orchestra.json")
    assert (done.returncode, done.stdout) == (0, "")
    assert stat.S_IMODE((folder / "orchestra.json").stat().st_mode) == 0o600
    check = orchestra(folder, "check", "orchestra.json")
    assert (check.returncode, check.stdout) == (0, "nothing to report; 1 service in 1 file\n")


def test_a_file_that_is_there_is_left_alone(folder):
    (folder / "orchestra.json").write_text("mine", encoding="utf-8")
    done = orchestra(folder, "import", "supervisord.conf", "-o", "orchestra.json")
    assert done.returncode == 8
    assert "orchestra.json exists already" in done.stderr
    assert (folder / "orchestra.json").read_text(encoding="utf-8") == "mine"


def test_of_a_wrong_file_nothing_is_written(folder):
    (folder / "supervisord.conf").write_text("[program:x]\ncommand=x\nautostart=x\n", encoding="utf-8")
    done = orchestra(folder, "import", "supervisord.conf", "-o", "orchestra.json")
    assert done.returncode == 3
    assert "supervisord.conf:3:11: error: [program:x] `autostart`" in done.stderr
    assert not (folder / "orchestra.json").exists()


def test_files_are_needed(folder):
    done = orchestra(folder, "import")
    assert (done.returncode, "FILES is missing" in done.stderr) == (2, True)
