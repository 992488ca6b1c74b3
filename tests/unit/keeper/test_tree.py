"""Reading /proc: identities, children, marks."""

import os
import resource
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.keeper.tree import (
    TAG_LIMIT,
    own_children,
    parse_stat,
    read_proc,
    read_run_id,
    read_tag,
    walk,
)
from tests.process.keeper_driver import wait_until

TAIL = b" S 7 10 10 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200 18446744073709551615"


@given(st.binary(min_size=0, max_size=15).filter(lambda comm: b"\0" not in comm))
def test_a_command_may_hold_anything_and_the_fields_are_still_found(comm):
    proc = parse_stat(b"42 (" + comm + b")" + TAIL + b"\n")
    assert (proc.pid, proc.state, proc.ppid, proc.pgrp, proc.session) == (42, "S", 7, 10, 10)
    assert proc.start_ticks == 987654
    assert proc.executed


def test_a_command_that_looks_like_the_rest_of_the_line_deceives_nobody():
    proc = parse_stat(b"42 (x) Z 1 1 1 (y)" + TAIL)
    assert (proc.state, proc.ppid) == ("S", 7)


def test_a_process_that_has_not_executed_is_told_from_one_that_has():
    assert not parse_stat(b"42 (a)" + TAIL.replace(b"4194304", b"4194368")).executed


@pytest.mark.parametrize("text", [b"", b"42", b"42 (a", b"42 (a) S 1", b"x (a)" + TAIL])
def test_something_else_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_stat(text)


def test_we_find_ourselves_and_nobody_where_there_is_nobody():
    me = read_proc(os.getpid())
    assert me is not None
    assert (me.pid, me.ppid, me.session, me.pgrp) == (os.getpid(), os.getppid(), os.getsid(0), os.getpgid(0))
    assert read_proc(2**22 + 1) is None
    assert read_run_id(2**22 + 1) is None
    assert read_tag(2**22 + 1) is None


@pytest.fixture
def family(tmp_path):
    script = f"sleep 100 & setsid sleep 100 & echo up > {tmp_path}/up; wait"
    words = ["prlimit", "--locks=77123:unlimited", "sh", "-c", f"{script}"]
    environ = {**os.environ, "ORCHESTRA_RUN_ID": "fam-1", "NOT_ORCHESTRA_RUN_ID": "x"}
    with subprocess.Popen(words, env=environ, start_new_session=True) as leader:
        wait_until((tmp_path / "up").exists, "the family is there")
        wait_until(
            # In the middle of an exec the new name is there already and the environment is not yet.
            lambda: (
                sum(comm(p.pid) == "sleep\n" and read_run_id(p.pid) is not None for p in walk([leader.pid]))
                == 2
            ),
            "both run sleep",
        )
        yield leader
        for proc in walk([leader.pid]):
            os.kill(proc.pid, 9)


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8")


def test_a_walk_finds_every_descendant_with_its_marks(family):
    procs = walk([family.pid, family.pid])
    assert len(procs) == 3
    assert procs[0].pid == family.pid
    assert {proc.ppid for proc in procs[1:]} == {family.pid}
    assert len({proc.session for proc in procs}) == 2
    assert {read_run_id(proc.pid) for proc in procs} == {"fam-1"}
    assert {read_tag(proc.pid) for proc in procs} == {77123}


def test_our_own_children_are_listed(family):
    assert family.pid in own_children()
    assert os.getpid() not in own_children()


def test_an_unlimited_limit_is_no_tag():
    if resource.prlimit(0, TAG_LIMIT)[0] != resource.RLIM_INFINITY:
        pytest.skip("these tests run under a limit of their own")
    assert read_tag(os.getpid()) is None
