"""Descriptors handed down by a service manager: taken by name, left alone when they are not ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra_supervisor.keeper.inherited import take_listen_fds

ROOT = Path(__file__).parents[3]
TAKE = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from orchestra_supervisor.keeper.inherited import take_listen_fds
if os.environ.get("LISTEN_PID") == "self":
    os.environ["LISTEN_PID"] = str(os.getpid())
found = take_listen_fds()
held = [os.get_inheritable(fd) for fds in found.values() for fd in fds]
print(found, held, [name for name in os.environ if name.startswith("LISTEN")])
"""


def taken(pid: str = "self", **variables: str) -> tuple[str, str]:
    """Take descriptors in a process that has three of them, from 3 on."""
    pipes = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    code = (
        "import os, sys\n"
        "for place, fd in enumerate(map(int, sys.argv[2:]), 100): os.dup2(fd, place); os.close(fd)\n"
        "for place in range(3): os.dup2(100 + place, 3 + place)\n"
        "for place in range(100, 103): os.close(place)\n"
        "os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', sys.argv[1]])\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, TAKE, *map(str, pipes)],
            env=os.environ | {"LISTEN_PID": pid} | variables,
            pass_fds=pipes,
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=20,
        )
    finally:
        for fd in pipes:
            os.close(fd)
    return done.stdout.strip(), done.stderr


def test_descriptors_are_taken_by_name_in_order_and_inherited_by_nobody() -> None:
    said, _ = taken(LISTEN_FDS="3", LISTEN_FDNAMES="web:api:web")
    assert said == "{'web': [3, 5], 'api': [4]} [False, False, False] []"


def test_descriptors_without_a_name_are_called_unknown() -> None:
    assert taken(LISTEN_FDS="2", LISTEN_FDNAMES=":b")[0].startswith("{'unknown': [3], 'b': [4]}")
    assert taken(LISTEN_FDS="1")[0].startswith("{'unknown': [3]}")


def test_descriptors_for_another_process_are_left_alone() -> None:
    assert taken(pid="1", LISTEN_FDS="1") == ("{} [] []", "")


@pytest.mark.parametrize("count", ["", "-1", "many", "99999999999", "\u00b2"])
def test_a_number_that_is_none_takes_nothing(count: str) -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
    assert take_listen_fds(environ) == {}
    assert environ == {}


def test_a_descriptor_that_is_not_there_is_said_and_left_out() -> None:
    said, complaint = taken(LISTEN_FDS="40", LISTEN_FDNAMES="a:b:c")
    assert said.startswith("{'a': [3], 'b': [4], 'c': [5]}")
    assert "descriptor 42 of LISTEN_FDS is not there" in complaint
