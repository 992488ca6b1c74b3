"""`up` at a terminal: progress in place, the table, the logs, and a stop that is seen."""

import os
import re
import signal

from tests.e2e.cli.conftest import Bench
from tests.e2e.cli.terminal_driver import seated

SGR = re.compile(r"\x1b\[[0-9;]*m")
WEB = {
    "path": [[0, "waiting"], [0.2, "starting"], [0.4, "ready"]],
    "waiting_for": ["db"],
    "url": "http://127.0.0.1:8010",
}


def test_a_person_sees_progress_the_table_the_logs_and_the_stop(bench: Bench) -> None:
    bench.play({"web": WEB}, logs=[[0.6, "web", "stdout", "GET / \x1b]0;owned\x07"]], stop_takes=0.6)
    with seated("up", cwd=bench.path, **bench.env) as seat:
        at = seat.until("waiting for db")
        at = seat.until("1 ready of 1", at)
        at = seat.until("http://127.0.0.1:8010", at)
        at = seat.until("GET / ^[]0;owned^G", at)
        seat.press(b"\x03")
        at = seat.until("Ctrl-C again to hurry", at)
        at = seat.until("SIGTERM sent", at)
        at = seat.until("all stopped in", at)
        assert seat.end() == 0
    assert "\x1b[32m" in seat.text, "colours"
    assert "\x1b]" not in seat.text
    assert "\x1b[1A" in seat.text or "\x1b[2A" in seat.text, "frames are drawn in place"


def test_a_second_ctrl_c_hurries(bench: Bench) -> None:
    bench.play({"web": WEB}, stop_takes=30)
    with seated("up", cwd=bench.path, **bench.env) as seat:
        at = seat.until("1 ready of 1")
        seat.press(b"\x03")
        at = seat.until("stopping in order", at)
        seat.press(b"\x03")
        at = seat.until("all stopped in", at)
        assert seat.end() == 130


def test_ctrl_c_during_the_start_stops_too(bench: Bench) -> None:
    bench.play({"web": {"path": [[0, "starting"]]}})
    with seated("up", cwd=bench.path, **bench.env) as seat:
        seat.until("starting")
        seat.press(b"\x03")
        seat.until("all stopped in")
        assert seat.end() == 0


def test_a_closed_terminal_stops_the_fleet_in_order(bench: Bench) -> None:
    bench.play({"web": WEB})
    with seated("up", cwd=bench.path, **bench.env) as seat:
        seat.until("1 ready of 1")
        keeper = os.pidfd_open(int(str(bench.record()["pid"])))
        try:
            os.close(seat.master)
            assert seat.process.wait(15) == 0
            signal.pidfd_send_signal(keeper, 0)
        except ProcessLookupError:
            pass
        else:
            raise AssertionError("the keeper is still there")
        finally:
            os.close(keeper)


def test_no_color_has_no_colours_and_still_moves(bench: Bench) -> None:
    bench.play({"web": WEB})
    with seated("up", cwd=bench.path, **bench.env, NO_COLOR="1") as seat:
        seat.until("1 ready of 1")
        seat.press(b"\x03")
        assert seat.end() == 0
    assert not SGR.search(seat.text)
    assert "\x1b[J" in seat.text


def test_a_dumb_terminal_gets_plain_lines(bench: Bench) -> None:
    bench.play({"web": WEB})
    with seated("up", cwd=bench.path, **bench.env, TERM="dumb") as seat:
        seat.until("web is ready")
        seat.until("1 ready of 1")
        seat.press(b"\x03")
        assert seat.end() == 0
    assert "\x1b" not in seat.text


def test_forty_columns_and_a_name_of_sixty_four_do_not_wrap(bench: Bench) -> None:
    name = "a" * 60 + "_end"
    bench.play({name: {"path": [[0, "starting", "w" * 200], [0.6, "ready"]]}})
    with seated("up", cwd=bench.path, columns=40, rows=10, **bench.env) as seat:
        at = seat.until("1 ready of 1")
        seat.until("_end", at)
        seat.press(b"\x03")
        assert seat.end() == 0
    shown = SGR.sub("", seat.text)
    for line in re.split(r"[\r\n]+|\x1b\[\d*[AKJ]", shown):
        assert len(line) <= 40, line


def test_a_resize_while_it_starts_does_not_break_it(bench: Bench) -> None:
    bench.play({f"service_{n}": WEB for n in range(6)})
    with seated("up", cwd=bench.path, **bench.env) as seat:
        seat.until("waiting for db")
        for columns, rows in ((40, 8), (20, 4), (120, 50)):
            seat.resize(columns, rows)
            seat.until("ready", len(seat.text))
        seat.until("6 ready of 6")
        seat.press(b"\x03")
        assert seat.end() == 0


def test_two_hundred_services_do_not_flood_the_terminal(bench: Bench) -> None:
    services = {f"s{n:03}": {"path": [[0, "starting"], [0.2 + n / 400, "ready"]]} for n in range(200)}
    bench.play(services)
    with seated("up", cwd=bench.path, rows=24, **bench.env) as seat:
        seat.until("of 200 ready")
        seat.until("200 ready of 200")
        seat.until("200 ready; `orchestra status` shows all")
        start = seat.text.split("orchestra 0.1.0")[0]
        seat.press(b"\x03")
        assert seat.end() == 0
    assert (
        len(re.findall(r"s\d{3} ", seat.text.split("orchestra 0.1.0")[1].split("stopping in order")[0])) < 5
    )
    frames = start.split("\x1b[J")
    assert max(frame.count("\n") for frame in frames) <= 23


def test_detached_progress_goes_away_and_the_table_stays(bench: Bench) -> None:
    bench.play({"web": WEB})
    with seated("up", "--detach", cwd=bench.path, **bench.env) as seat:
        at = seat.until("waiting for db")
        seat.until("1 ready of 1", at)
        assert seat.end() == 0
