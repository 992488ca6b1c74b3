"""A service that says it is ready is believed, once and for the run."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.logfile.envelope import ENVELOPED, encode_envelope
from orchestra_supervisor.logfile.index import STREAM_CODES
from orchestra_supervisor.model.checks import LogCheck
from orchestra_supervisor.probes import log_line
from orchestra_supervisor.probes.log_line import LINE_LIMIT, LogSearch
from tests.unit.logfile.log_builder import LogBuilder

pytestmark = pytest.mark.anyio

OLD, NOW = 5, 0xABCDEF
RUN = f"web-{NOW:012x}"

Search = Callable[..., LogSearch]


@pytest.fixture
def log(tmp_path: Path) -> LogBuilder:
    return LogBuilder(tmp_path / "web.log")


@pytest.fixture
def search(log: LogBuilder) -> Search:
    def search(pattern: str, **more: str) -> LogSearch:
        check = LogCheck.model_validate({"pattern": pattern, **more})
        return LogSearch(check, str(log.path), RUN, anyio.CapacityLimiter(2))

    return search


async def test_a_line_of_the_run_passes_and_that_of_an_earlier_run_does_not(
    log: LogBuilder, search: Search
) -> None:
    listening = search(r"listening on \d+$")
    log.write("stdout", OLD, b"listening on 80\n")
    before = await listening.look(2.0)
    assert (before.passed, before.detail) == (False, r"no line matches /listening on \d+$/ yet")
    log.write("stdout", NOW, b"starting\nlistening on 80\r\n")
    after = await listening.look(2.0)
    assert (after.passed, after.detail) == (True, r"a line matches /listening on \d+$/")


async def test_what_was_found_holds_when_the_log_is_gone(log: LogBuilder, search: Search) -> None:
    ready = search("ready")
    log.write("stdout", NOW, b"ready\n")
    assert (await ready.look(2.0)).passed
    log.path.unlink()
    assert (await ready.look(2.0)).passed


async def test_a_line_is_matched_once_it_is_whole(log: LogBuilder, search: Search) -> None:
    ready = search("ready$")
    log.write("stdout", NOW, b"not yet ready")
    assert not (await ready.look(2.0)).passed
    log.write("stdout", NOW, b", but soon\n")
    assert not (await ready.look(2.0)).passed
    log.write("stdout", NOW, b"now ready\n")
    assert (await ready.look(2.0)).passed


@pytest.mark.parametrize(
    ("stream", "passes"), [("stderr", [False, True]), ("stdout", [True, True]), ("any", [True, True])]
)
async def test_only_the_stream_that_is_named_counts(
    log: LogBuilder, search: Search, stream: str, passes: list[bool]
) -> None:
    ready = search("ready", stream=stream)
    seen: list[bool] = []
    for name in ("stdout", "stderr"):
        log.write(name, NOW, b"ready\n")
        seen.append((await ready.look(2.0)).passed)
    assert seen == passes


async def test_a_line_of_a_json_log_is_matched_as_the_service_wrote_it(
    log: LogBuilder, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STREAM_CODES, "enveloped", STREAM_CODES["stderr"] | ENVELOPED)
    line = encode_envelope(
        service="web", run=RUN, stream="stderr", at_wall=1.0, data=b'say "ready"', complete=True
    )
    log.write("enveloped", NOW, line)
    assert (await search('^say "ready"$', stream="stderr").look(2.0)).passed
    assert not (await search("web", stream="any").look(2.0)).passed, "the envelope is not the service's"


async def test_the_end_of_a_very_long_line_is_not_searched(log: LogBuilder, search: Search) -> None:
    log.write("stdout", NOW, b"x" * LINE_LIMIT + b"ready" + b"x" * (3 * 1024 * 1024) + b"\n")
    log.write("stdout", NOW, b"ready or not\n")
    assert not (await search("^x+ready").look(5.0)).passed
    assert (await search("^ready").look(5.0)).passed


async def test_a_pattern_that_never_ends_holds_nobody_up(
    log: LogBuilder, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_line, "MATCH_TIME", 0.1)
    log.write("stdout", NOW, b"a" * 60 + b"!\nb\n")
    endless = search(r"(a|aa)+$|^b")
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await anyio.sleep(0.005)
            beats += 1

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beat)
            first = await endless.look(0.01)
            tasks.cancel_scope.cancel()
        assert first.detail.endswith("yet; one that took over 0.1 s to match was passed over")
        assert beats > 1, "the loop went on while the line was matched"
        assert (await endless.look(2.0)).passed, "the lines after it are matched"


async def test_a_log_that_cannot_be_read_is_a_negative_result_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    path.mkdir()
    ready = LogSearch(LogCheck(pattern="ready"), str(path), RUN, anyio.CapacityLimiter(1))
    outcome = await ready.look(2.0)
    assert not outcome.passed
    assert outcome.detail.startswith("the log cannot be read: ")
    path.rmdir()
    LogBuilder(path).write("stdout", NOW, b"ready\n")
    assert (await ready.look(2.0)).passed


async def test_a_look_that_is_cancelled_loses_no_line(log: LogBuilder, search: Search) -> None:
    ready = search("ready")
    log.write("stdout", NOW, b"ready\n")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ready.look(2.0)
    assert scope.cancelled_caught
    assert (await ready.look(2.0)).passed


async def test_a_pattern_is_shown_cut_where_it_is_long(search: Search) -> None:
    outcome = await search("x" * 100).look(2.0)
    assert outcome.detail == f"no line matches /{'x' * 80}.../ yet"


async def test_what_there_was_no_time_for_is_matched_next_time(log: LogBuilder, search: Search) -> None:
    ready = search("ready")
    log.write("stdout", NOW, b"one\ntwo\nready\n")
    seen = [(await ready.look(0.0)).passed for _ in range(3)]
    assert seen == [False, False, True], "one line a look"
