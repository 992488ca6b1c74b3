"""What is measured of real processes."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.model.figures import Figures
from orchestra_supervisor.process import figures as figures_module
from orchestra_supervisor.process.figures import ProcessSampler, Root
from tests.process.keeper_driver import is_alive, wait_until

RUN = "web-0123456789ab"
AT = 1_700_000_000.0

HOUSE = """
    import ctypes, os, signal, subprocess, sys
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER, as the keeper does
    code = os.read(0, 65536).decode().strip().encode().decode("unicode_escape")
    env = {"ORCHESTRA_RUN_ID": sys.argv[1]}
    argv = [sys.executable, "-I", "-S", "-c", code]
    leader = subprocess.Popen(argv, env=env, start_new_session=True, stdin=0)
    print(leader.pid, flush=True)
    signal.pause()
"""
"""A house with one tenant: stands where the keeper stands, starts one leader, and collects nobody."""


class House:
    """A keeper's stand-in; `pid` is its own, `leader` that of its one run."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", textwrap.dedent(HOUSE), RUN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            bufsize=1,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.say(textwrap.dedent(code).encode("unicode_escape").decode())
        self.pids = [self.process.pid]
        self.leader = self.hear()
        self.sampler = ProcessSampler(self.process.pid)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> int:
        assert self.process.stdout is not None
        number = int(self.process.stdout.readline())
        self.pids.append(number)
        return number

    def look(self, now: float) -> Figures:
        return self.sampler.sample({"web": Root(RUN, self.leader)}, {}, now, AT)["web"]

    def end(self) -> None:
        for pid in reversed(self.pids):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(5)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def house(request: pytest.FixtureRequest) -> Generator[House]:
    one = House(request.param)
    yield one
    one.end()


WITH_CHILD = """
    import os, signal, sys
    reader, writer = os.pipe()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        signal.pause()
    signal.pause()
"""
STRAY = """
    import os, signal
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()  # no ancestor and no session of the run any more
            print(os.getpid(), flush=True)
            signal.pause()
        os._exit(0)
    os.wait()
    signal.pause()
"""
ORPHAN = """
    import os, signal, time
    leader = os.getpid()
    if os.fork() == 0:
        while os.getppid() == leader:
            time.sleep(0.001)
        print(os.getpid(), flush=True)
        signal.pause()
"""
WORKER = """
    import os, sys, time
    path = sys.stdin.readline().strip()
    while time.process_time() < 0.3:
        pass
    with open(path, "wb") as file:
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    print(os.getpid(), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("house", [WITH_CHILD], indirect=True)
def test_a_run_is_measured_with_all_of_its_tree(house: House) -> None:
    child = house.hear()
    both = house.look(0.0)
    assert (both.at, both.cpu, both.processes, both.threads) == (AT, None, 2, 2)
    assert both.fds is not None
    assert both.fds >= 4
    assert both.memory_kind == "pss"
    assert 100_000 < both.memory < 100_000_000
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not is_alive(child), "it has ended, and nobody has collected it")
    alone = house.look(1.0)
    assert (alone.processes, alone.threads) == (1, 1), "what has ended is not counted, collected or not"


@pytest.mark.parametrize(("house", "expected"), [(STRAY, 2), (ORPHAN, 1)], indirect=["house"])
def test_a_process_that_left_its_parents_is_counted_to_its_run(house: House, expected: int) -> None:
    house.hear()
    assert house.look(0.0).processes == expected, "an ended leader is not counted"


@pytest.mark.slow
@pytest.mark.parametrize("house", [WORKER], indirect=True)
def test_processor_time_and_bytes_are_told_of_the_time_between_two_looks(
    house: House, tmp_path: Path
) -> None:
    before = house.look(10.0)
    house.say(str(tmp_path / "data"))
    house.hear()
    after = house.look(20.0)
    assert before.cpu is None
    assert after.cpu is not None
    assert 2.0 <= after.cpu < 15.0, "0.3 s of 10 s, less what the start had cost"
    assert (house.look(30.0).cpu or 0.0) <= 0.2, "a tick at most"
    assert None not in (before.write_bytes, after.write_bytes)
    written = (after.write_bytes or 0) - (before.write_bytes or 0)
    assert written == 0 or 1 << 20 <= written < 2 << 20, "none, where the file system is in memory"


@pytest.mark.parametrize("house", [WITH_CHILD], indirect=True)
def test_large_fleets_and_large_processes_are_told_as_rss(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.hear()
    assert house.look(0.0).memory_kind == "pss"
    with monkeypatch.context() as patch:
        patch.setattr(figures_module, "PSS_RSS", 1)
        large = house.look(1.0)
    with monkeypatch.context() as patch:
        patch.setattr(figures_module, "PSS_PROCESSES", 1)
        many = house.look(2.0)
    assert (large.memory_kind, many.memory_kind) == ("rss", "rss")
    assert many.memory > house.look(3.0).memory, "two processes share the pages of one program"


@pytest.mark.parametrize("house", [WITH_CHILD], indirect=True)
def test_roles_are_measured_alone_and_who_is_gone_is_left_out(house: House) -> None:
    house.hear()
    roles = {"role:keeper": house.process.pid, "role:daemon": os.getpid(), "role:logger": 2**22 - 1}
    found = house.sampler.sample({"gone": Root("gone-0", 2**22 - 2)}, roles, 0.0, AT)
    assert set(found) == {"role:keeper", "role:daemon"}
    assert found["role:keeper"].processes == 1


def test_a_look_that_hangs_is_not_waited_for_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        release, calls = threading.Event(), list[int]()
        sampler = ProcessSampler(os.getpid())

        def hang(*_: object) -> dict[str, Figures]:
            calls.append(1)
            release.wait(10)
            return {}

        monkeypatch.setattr(sampler, "sample", hang)
        monkeypatch.setattr(figures_module, "PATIENCE", 0.05)
        try:
            with anyio.fail_after(5):
                assert await sampler.look({}, {}, 0.0, AT) == {}
                assert await sampler.look({}, {}, 1.0, AT) == {}
            assert calls == [1]
        finally:
            release.set()

    anyio.run(play)
