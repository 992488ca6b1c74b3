"""A stop sequence in systemd's words, carried out by a shell on real processes."""

import os
import select
import signal
import subprocess
import sys
import time

import pytest

from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.systemd.stop_commands import add_stop
from orchestra_supervisor.systemd.syntax import UnitText
from tests.unit.systemd.unit_reader import command_words, settings

CHILD = """
import os, signal, sys
def note(number, _):
    os.write(1, b"%d\\n" % number)
    if sys.argv[1] == "obeys":
        os._exit(0)
signal.signal(signal.SIGINT, note)
os.write(1, b"up\\n")
while True:
    signal.pause()
"""


def written(lost: list[str], **stop: object) -> dict[str, list[str]]:
    unit = UnitText()
    spec = ServiceSpec.model_validate({"name": "a", "argv": ("x",), "cwd": "/", "stop": stop})
    add_stop(unit, spec, lost.append)
    return settings(unit.render())


def test_one_step_is_systemds_own() -> None:
    lost: list[str] = []
    unit = written(lost, steps=[{"signal": "INT", "wait": 3}], scope="leader")
    assert unit == {"KillMode": ["mixed"], "KillSignal": ["SIGINT"], "TimeoutStopSec": ["3"]}
    assert not lost


def test_no_step_at_all_kills_at_once() -> None:
    assert written([], steps=[]) == {"KillMode": ["control-group"], "KillSignal": ["SIGKILL"]}


def test_a_stop_command_comes_first_and_is_given_its_time() -> None:
    command = {"argv": ("/bin/quit", "$MAINPID"), "timeout": 30}
    unit = written([], command=command, steps=[{"signal": "TERM", "wait": 5}])
    assert (unit["ExecStop"], unit["TimeoutStopSec"]) == (["-/bin/quit $$MAINPID"], ["30"])
    assert written([], command=command, steps=[])["TimeoutStopSec"] == ["30"]


def test_a_last_step_that_gets_longer_than_it_says_is_told() -> None:
    lost: list[str] = []
    unit = written(lost, steps=[{"signal": "INT", "wait": 20}, {"signal": "TERM", "wait": 5}])
    assert unit["TimeoutStopSec"] == ["21"]
    assert "SIGTERM is given 21 s" in lost[0]


@pytest.mark.slow  # one of them waits for a wait
@pytest.mark.parametrize("scope", ["group", "leader"])
@pytest.mark.parametrize("way", ["obeys", "ignores"])
def test_a_step_before_the_last_sends_its_signal_and_waits_as_long_as_it_says(scope: str, way: str) -> None:
    unit = written([], steps=[{"signal": "INT", "wait": 0.5}, {"signal": "TERM", "wait": 5}], scope=scope)
    (line,) = unit["ExecStop"]
    assert line.startswith("-/bin/sh -c ")
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", CHILD, way], stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            pidfd = os.pidfd_open(child.pid)
            began = time.monotonic()
            stopper = subprocess.Popen(command_words(line[1:]), env=os.environ | {"MAINPID": str(child.pid)})
            assert child.stdout.readline() == b"%d\n" % signal.SIGINT
            if way == "obeys":
                assert select.select([pidfd], [], [], 10)[0]
                child.wait()
            assert stopper.wait(10) == 0
            assert (time.monotonic() - began >= 0.5) == (way == "ignores")
            os.close(pidfd)
        finally:
            child.kill()
