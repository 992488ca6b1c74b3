import os
import signal
from collections.abc import Generator
from functools import partial
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.process.identity import ProcessIdentity, boot_id, is_running, read_identity
from orchestra_supervisor.process.leftovers import Leftover, RecordedRun, find_leftovers
from orchestra_supervisor.process.stopping import stop_leftovers
from tests.process.leftovers.crowd import (
    FORKS_WHEN_ASKED_TO_STOP,
    LEADER_WITH_ORPHAN,
    PARENT_OF_CLEARED_CHILD,
    PARENT_OF_FOREIGN_FLEET,
    RUN,
    SLEEPER,
    STUBBORN,
    Crowd,
    crowd,
)


@pytest.fixture
def people() -> Generator[Crowd]:
    with crowd() as started:
        yield started


@pytest.fixture
def home(tmp_path: Path) -> str:
    return str(tmp_path / "home")


def pids(found: list[Leftover]) -> set[int]:
    return {leftover.identity.pid for leftover in found}


def identity(pid: int) -> ProcessIdentity:
    found = read_identity(pid)
    assert found is not None
    return found


def recorded(pid: int, *, ticks: int = 0, boot: str | None = None) -> RecordedRun:
    real = identity(pid)
    leader = ProcessIdentity(pid, real.start_ticks + ticks, real.boot_id if boot is None else boot)
    return RecordedRun("db-0123456789ab", "db", leader)


def test_a_process_of_this_home_and_an_unknown_run_is_found(people: Crowd, home: str) -> None:
    pid = people.sleeper("argument", ORCHESTRA_HOME=home, ORCHESTRA_RUN_ID=RUN)
    (found,) = find_leftovers(home, set())
    assert found.identity == identity(pid)
    assert (found.run, found.service, found.how) == (RUN, "web", "environment")
    assert found.name.startswith("python")
    assert "python" in found.command


def test_look_alikes_are_not_found(people: Crowd, home: str) -> None:
    people.sleeper(ORCHESTRA_HOME=home + "2", ORCHESTRA_RUN_ID=RUN)
    people.sleeper(ORCHESTRA_HOME=str(Path(home).parent), ORCHESTRA_RUN_ID=RUN)
    people.sleeper(ORCHESTRA_HOME=home)
    people.sleeper(ORCHESTRA_HOME=home, ORCHESTRA_RUN_ID="")
    people.sleeper(f"ORCHESTRA_HOME={home}", f"ORCHESTRA_RUN_ID={RUN}")
    people.sleeper(MY_ORCHESTRA_HOME=home, OTHER=f"x ORCHESTRA_HOME={home}", ORCHESTRA_RUN_ID=RUN)
    assert find_leftovers(home, set()) == []


def test_a_run_that_is_accounted_for_is_not_a_leftover(people: Crowd, home: str) -> None:
    pid = people.sleeper(ORCHESTRA_HOME=home, ORCHESTRA_RUN_ID=RUN)
    assert find_leftovers(home, {RUN}) == []
    row = RecordedRun(RUN, "web", identity(pid))
    assert find_leftovers(home, {RUN}, [row]) == []


def test_a_process_that_cleared_its_environment_is_found_by_the_journal(people: Crowd, home: str) -> None:
    pid = people.sleeper()
    (found,) = find_leftovers(home, set(), [recorded(pid)])
    assert found.identity.pid == pid
    assert (found.service, found.how) == ("db", "journal")


def test_a_pid_that_went_to_another_process_is_not_ours(people: Crowd, home: str) -> None:
    pid = people.sleeper()
    assert find_leftovers(home, set(), [recorded(pid, ticks=-1)]) == []
    assert find_leftovers(home, set(), [recorded(pid, ticks=1)]) == []
    assert find_leftovers(home, set(), [recorded(pid, boot="another boot")]) == []
    foreign = people.sleeper(ORCHESTRA_HOME=home + "-other", ORCHESTRA_RUN_ID=RUN)
    assert find_leftovers(home, set(), [recorded(foreign)]) == []
    gone = RecordedRun(RUN, "web", ProcessIdentity(2**22 - 1, 1, boot_id()))
    assert find_leftovers(home, set(), [gone]) == []


def test_a_descendant_that_hides_is_found_after_its_parent(people: Crowd, home: str) -> None:
    numbers = people.start(
        PARENT_OF_CLEARED_CHILD, env={"ORCHESTRA_HOME": home, "ORCHESTRA_RUN_ID": RUN}, lines=2
    )
    found = find_leftovers(home, set())
    assert pids(found) == set(numbers)
    assert [leftover.how for leftover in found] == ["environment", "descendant"]
    assert {leftover.run for leftover in found} == {RUN}


def test_an_orphan_that_hides_is_found_by_its_session(people: Crowd, home: str) -> None:
    numbers = people.start(LEADER_WITH_ORPHAN, env={"ORCHESTRA_HOME": home, "ORCHESTRA_RUN_ID": RUN}, lines=2)
    found = find_leftovers(home, set())
    assert pids(found) == set(numbers)
    assert {leftover.how for leftover in found} == {"environment", "session"}


def test_another_fleet_below_a_leftover_is_left_alone_with_all_its_children(people: Crowd, home: str) -> None:
    environment = {"ORCHESTRA_HOME": home, "ORCHESTRA_RUN_ID": RUN}
    numbers = people.start(PARENT_OF_FOREIGN_FLEET, home + "-other", env=environment, lines=3)
    found = find_leftovers(home, set())
    assert len(found) == 1
    assert pids(found) < set(numbers)


def test_our_own_people_and_their_ancestors_are_never_leftovers(people: Crowd, home: str) -> None:
    environment = {"ORCHESTRA_HOME": home, "ORCHESTRA_RUN_ID": RUN}
    numbers = people.start(PARENT_OF_CLEARED_CHILD, env=environment, lines=2)
    parent = next(
        leftover.identity.pid for leftover in find_leftovers(home, set()) if leftover.how != "descendant"
    )
    child = next(number for number in numbers if number != parent)
    assert find_leftovers(home, set(), protected=[child]) == []
    other = people.sleeper(ORCHESTRA_HOME=home, ORCHESTRA_RUN_ID="db-0123456789ab")
    assert pids(find_leftovers(home, set(), protected=[child])) == {other}
    assert os.getpid() not in pids(find_leftovers(home, set(), [recorded(os.getpid())]))


@pytest.mark.anyio
async def test_a_leftover_that_listens_is_stopped_within_its_grace(people: Crowd, home: str) -> None:
    pid = people.sleeper(ORCHESTRA_HOME=home, ORCHESTRA_RUN_ID=RUN)
    with anyio.fail_after(5):
        summary = await stop_leftovers(find_leftovers(home, set()), 4.0, partial(find_leftovers, home, set()))
    assert [leftover.identity.pid for leftover in summary.stopped] == [pid]
    assert not summary.killed
    assert summary.is_clean


@pytest.mark.anyio
async def test_one_that_ignores_the_signal_is_killed_after_the_grace(people: Crowd, home: str) -> None:
    environment = {"ORCHESTRA_HOME": home, "ORCHESTRA_RUN_ID": RUN}
    (pid,) = people.start(STUBBORN, env=environment)
    with anyio.fail_after(5):
        summary = await stop_leftovers(find_leftovers(home, set()), 0.1, partial(find_leftovers, home, set()))
    assert [leftover.identity.pid for leftover in summary.killed] == [pid]
    assert summary.is_clean
    assert find_leftovers(home, set()) == []


@pytest.mark.anyio
async def test_one_that_was_frozen_is_woken_to_stop(people: Crowd, home: str) -> None:
    pid = people.sleeper(ORCHESTRA_HOME=home, ORCHESTRA_RUN_ID=RUN)
    os.kill(pid, signal.SIGSTOP)
    with anyio.fail_after(5):
        summary = await stop_leftovers(find_leftovers(home, set()), 4.0)
    assert len(summary.stopped) == 1


@pytest.mark.anyio
async def test_what_a_leftover_starts_while_it_is_stopped_is_ended_too(people: Crowd, home: str) -> None:
    environment = {"ORCHESTRA_HOME": home, "ORCHESTRA_RUN_ID": RUN}
    people.start(FORKS_WHEN_ASKED_TO_STOP, env=environment)
    with anyio.fail_after(10):
        summary = await stop_leftovers(find_leftovers(home, set()), 3.0, partial(find_leftovers, home, set()))
    assert summary.is_clean
    assert len(summary.stopped) == 1
    assert len(summary.killed) == 1
    assert find_leftovers(home, set()) == []


@pytest.mark.anyio
async def test_a_bystander_with_the_pid_of_a_leftover_is_never_touched(people: Crowd, home: str) -> None:
    bystander = people.sleeper()
    other_home = people.sleeper(ORCHESTRA_HOME=home + "-other", ORCHESTRA_RUN_ID=RUN)
    real = identity(bystander)
    stale = ProcessIdentity(bystander, real.start_ticks - 1, real.boot_id)
    leftover = Leftover(stale, RUN, "web", "python", "python", "environment")
    with anyio.fail_after(5):
        summary = await stop_leftovers([leftover], 0.0, partial(find_leftovers, home, set()))
    assert summary.is_clean
    assert is_running(real)
    assert is_running(identity(other_home))


@pytest.mark.anyio
async def test_many_leftovers_share_one_grace(
    people: Crowd, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestra_supervisor.process.stopping.WINDOW", 2)
    environment = {"ORCHESTRA_HOME": home, "ORCHESTRA_RUN_ID": RUN}
    for program in (STUBBORN, SLEEPER, STUBBORN, SLEEPER, SLEEPER):
        people.start(program, env=environment)
    started = anyio.current_time()
    with anyio.fail_after(10):
        summary = await stop_leftovers(find_leftovers(home, set()), 0.3, partial(find_leftovers, home, set()))
    assert anyio.current_time() - started < 2
    assert (len(summary.stopped), len(summary.killed)) == (3, 2)
    assert summary.is_clean


@pytest.mark.anyio
async def test_one_that_may_not_be_signalled_is_reported(
    people: Crowd, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = people.sleeper(ORCHESTRA_HOME=home, ORCHESTRA_RUN_ID=RUN)
    found = find_leftovers(home, set())
    with monkeypatch.context() as patch:
        patch.setattr(signal, "pidfd_send_signal", refuse)
        with anyio.fail_after(5):
            summary = await stop_leftovers(found, 3.0, lambda: found)
    assert [leftover.identity.pid for leftover in summary.survivors] == [pid]
    assert not summary.is_clean


def refuse(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")
