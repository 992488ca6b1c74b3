"""`top` against a fake socket: once, at a terminal, and what it leaves behind."""

import json
import os
import signal
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli import shapes
from tests.e2e.cli.fake_control import Answer, holding_lock, serving
from tests.e2e.cli.runner import orchestra
from tests.e2e.cli.terminal_driver import Seat, seated


class Daemon:
    """Two services, one of which uses more with each question."""

    def __init__(self) -> None:
        self.period = 10.0
        self.asked: list[dict[str, str]] = []
        self.is_away = False

    def __call__(self, method: str, path: str, query: dict[str, str], _body: object) -> Answer | None:
        if self.is_away:
            return None
        if path == "/v1/status":
            rows = [shapes.service("api"), shapes.service("worker")]
            return 200, shapes.status("/h", rows)
        self.asked.append(query)
        services: dict[str, dict[str, object] | None] = {
            "api": shapes.figures(cpu=5.0, memory=1 << 30),
            "worker": shapes.figures(cpu=10.0 + len(self.asked), at=time.time()),
        }
        return 200, shapes.all_figures(services, {}, self.period)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    home = tmp_path / ".orchestra"
    home.mkdir()
    daemon = Daemon()
    with holding_lock(home), serving(home / "control.sock", daemon):
        yield daemon


def test_without_a_terminal_there_is_one_table(daemon: Daemon, tmp_path: Path) -> None:
    done = orchestra("top", "--sort", "mem", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[1] for line in done.stdout.splitlines()[4:]] == ["api", "worker"]
    assert "\x1b" not in done.stdout


def test_json_is_the_answer_of_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    done = orchestra("top", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["services"]["api"]["memory"] == 1 << 30


def test_a_fleet_that_takes_no_figures_says_how_to_have_them(daemon: Daemon, tmp_path: Path) -> None:
    daemon.period = 0.0
    done = orchestra("top", cwd=tmp_path)
    assert done.returncode == 1
    assert "figures_period is 0" in done.stderr
    assert "hint:" in done.stderr


def is_canonical(seat: Seat) -> bool:
    return bool(termios.tcgetattr(seat.master)[3] & termios.ICANON)


@pytest.mark.slow
def test_keys_sort_and_the_table_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    with seated("top", cwd=tmp_path, columns=80, rows=24) as seat:
        at = seat.until("q quit")
        assert not is_canonical(seat)
        assert seat.text.index("worker", 0, at) < seat.text.index("api", 0, at)
        seat.press(b"m")
        at = seat.until("q quit", at)
        frame = seat.text[seat.text.index("q quit") :]
        assert frame.index("api") < frame.index("worker")
        count = len(daemon.asked)
        seat.until("q quit", seat.until("q quit", at))
        assert len(daemon.asked) > count
        seat.press(b"q")
        assert seat.end() == 0
        assert is_canonical(seat)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_the_terminal_is_as_it_was(
    daemon: Daemon, tmp_path: Path, number: signal.Signals
) -> None:
    with seated("top", cwd=tmp_path, NO_COLOR="1") as seat:
        seat.until("q quit")
        assert not is_canonical(seat)
        seat.process.send_signal(number)
        assert seat.end() == 0
        assert is_canonical(seat)
        assert "\x1b[3" not in seat.text, "no colour was asked for"


@pytest.mark.slow
def test_a_stopped_one_gives_the_terminal_back_until_it_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    with seated("top", cwd=tmp_path) as seat:
        at = seat.until("q quit")
        # A program whose session has nobody else in it is never stopped by the terminal; so by hand.
        seat.process.send_signal(signal.SIGTSTP)
        os.waitid(os.P_PID, seat.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert is_canonical(seat)
        seat.process.send_signal(signal.SIGCONT)
        seat.until("q quit", at)
        assert not is_canonical(seat)
        seat.press(b"q")
        assert seat.end() == 0


@pytest.mark.slow
def test_while_the_daemon_is_away_the_last_table_stays(daemon: Daemon, tmp_path: Path) -> None:
    with seated("top", cwd=tmp_path) as seat:
        at = seat.until("q quit")
        daemon.is_away = True
        at = seat.until("on its way back", at)
        daemon.is_away = False
        seat.until("q quit", at)
        seat.press(b"q")
        assert seat.end() == 0
