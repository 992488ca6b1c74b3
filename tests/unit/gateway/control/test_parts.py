"""The small parts of the control endpoint: seals, rate, jobs, words, what is written down."""

import stat
from pathlib import Path

import anyio
import pytest
import trio.testing

from orchestra_supervisor.gateway.control.audit import shape_of
from orchestra_supervisor.gateway.control.changes import changes_of
from orchestra_supervisor.gateway.control.consent import with_dependents
from orchestra_supervisor.gateway.control.jobs import KEPT_FOR, Jobs
from orchestra_supervisor.gateway.control.rate import RateLimit
from orchestra_supervisor.gateway.control.seal import SEAL_HOLDS, BadSeal, Sealer, load_key
from orchestra_supervisor.gateway.control.tool import TEXT_LIMIT, Answer
from orchestra_supervisor.gateway.control.trouble import ToolTrouble
from orchestra_supervisor.gateway.control.words import (
    instant_text,
    parse_instant,
    parse_span,
    size_text,
    span_text,
)
from orchestra_supervisor.gateway.endpoint import Caller, Change, ChangeKind, Era, Role

KEY = b"k" * 32


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def caller(principal: str = "alice", role: Role = Role.OPERATOR) -> Caller:
    return Caller(principal, role, Era.HANDSHAKE, "2025-11-25")


# Seals.


def test_a_seal_holds_for_its_call_and_once() -> None:
    sealer = Sealer(KEY, Clock())
    sealed = sealer.seal("alice", "stop", {"names": ["db"]})
    sealer.open(sealed, "alice", "stop", {"names": ["db"]})
    with pytest.raises(BadSeal, match="used already"):
        sealer.open(sealed, "alice", "stop", {"names": ["db"]})


@pytest.mark.parametrize(
    ("principal", "tool", "arguments"),
    [
        ("bob", "stop", {"a": 1}),
        ("alice", "restart", {"a": 1}),
        ("alice", "stop", {"a": 2}),
        ("alice", "stop", None),
    ],
)
def test_a_seal_holds_for_no_other_call(principal: str, tool: str, arguments: object) -> None:
    sealer = Sealer(KEY, Clock())
    with pytest.raises(BadSeal, match="made for another call"):
        sealer.open(sealer.seal("alice", "stop", {"a": 1}), principal, tool, arguments)


def test_a_seal_becomes_old() -> None:
    clock = Clock()
    sealer = Sealer(KEY, clock)
    sealed = sealer.seal("alice", "stop", {})
    clock.now += SEAL_HOLDS + 1
    with pytest.raises(BadSeal, match="older than 600 s"):
        sealer.open(sealed, "alice", "stop", {})


def test_a_seal_cannot_be_made_without_the_key() -> None:
    sealer = Sealer(KEY, Clock())
    sealed = sealer.seal("alice", "stop", {})
    body, signature = sealed.split(".")
    forged = Sealer(b"x" * 32, Clock()).seal("alice", "stop", {})
    for wrong in (forged, f"{body}A.{signature}", f"{body}.", body, "", ".", "é.é", "x" * 9_999, 7, None):
        with pytest.raises(BadSeal, match="not of this fleet"):
            sealer.open(wrong, "alice", "stop", {})


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    key = load_key(tmp_path)
    assert (len(key), load_key(tmp_path)) == (32, key)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_bytes(b"short")
    fresh = load_key(tmp_path)
    assert len(fresh) == 32
    assert fresh != key
    assert load_key(tmp_path) == fresh
    assert list(tmp_path.iterdir()) == [file]


# Rate.


def test_calls_of_a_minute_are_counted_for_each_caller() -> None:
    clock = Clock()
    rate = RateLimit(lambda: 2, clock)
    assert [rate.wait_for("a"), rate.wait_for("a")] == [0, 0]
    clock.now += 20
    assert rate.wait_for("a") == 40
    assert rate.wait_for("b") == 0
    clock.now += 40
    assert [rate.wait_for("a"), rate.wait_for("a")] == [0, 0]
    assert rate.wait_for("a") == 60
    assert RateLimit(lambda: 0, clock).wait_for("a") == 0


def test_a_rate_that_is_lowered_holds_at_once_and_callers_are_bounded() -> None:
    clock, limits = Clock(), [5]
    rate = RateLimit(lambda: limits[0], clock)
    for _ in range(4):
        assert rate.wait_for("a") == 0
    limits[0] = 1
    assert rate.wait_for("a") == 60
    for number in range(2_000):
        rate.wait_for(str(number))
    assert len(rate._calls) == 1_000


# Jobs, on a virtual clock.


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def answer() -> Answer:
    return Answer({}, "done")


@pytest.mark.anyio
async def test_a_job_ends_is_kept_and_forgotten() -> None:
    jobs = Jobs()
    async with anyio.create_task_group() as tasks:
        jobs.serve(tasks)
        job = jobs.start("alice", "stop", ["web"], answer)
        await job.ended.wait()
        assert (job.state, jobs.get(caller(), job.id)) == ("done", job)
        for who in (caller("bob"), caller("bob", Role.VIEWER)):
            with pytest.raises(ToolTrouble, match="of yours"):
                jobs.get(who, job.id)
        assert jobs.get(caller("bob", Role.ADMIN), job.id) is job
        await anyio.sleep(KEPT_FOR - 1)
        assert jobs.all(caller()) == [job]
        await anyio.sleep(2)
        assert jobs.all(caller()) == []


@pytest.mark.anyio
async def test_a_job_that_fails_or_is_cancelled_harms_no_other() -> None:
    async def fault() -> Answer:
        raise ZeroDivisionError

    async def refused() -> Answer:
        raise ToolTrouble("no", "try later")

    jobs = Jobs()
    async with anyio.create_task_group() as tasks:
        jobs.serve(tasks)
        bad, no = jobs.start("a", "t", [], fault), jobs.start("a", "t", [], refused)
        long = jobs.start("a", "t", [], anyio.sleep_forever)
        await bad.ended.wait()
        await no.ended.wait()
        assert [job.state for job in (bad, no, long)] == ["failed", "failed", "running"]
        assert bad.trouble is not None
        assert bad.trouble.message == "a fault of ours: ZeroDivisionError"
        assert no.trouble is not None
        assert no.trouble.text == "no\nhint: try later"
        long.scope.cancel()
        await long.ended.wait()
        assert long.state == "cancelled"


@pytest.mark.anyio
async def test_jobs_are_bounded() -> None:
    jobs = Jobs()
    async with anyio.create_task_group() as tasks:
        jobs.serve(tasks)
        running = [jobs.start("a", "t", [], anyio.sleep_forever) for _ in range(32)]
        with pytest.raises(ToolTrouble, match="32 actions go on already"):
            jobs.start("a", "t", [], answer)
        for job in running:
            job.scope.cancel()
            await job.ended.wait()
        for _ in range(300):
            job = jobs.start("a", "t", [], answer)
            await job.ended.wait()
        assert len(jobs.all(caller("a"))) == 200


# Words.


@pytest.mark.parametrize(
    ("words", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5_400), ("2 d", 172_800), ("0s", 0)],
)
def test_spans_are_read(words: str, seconds: float) -> None:
    assert parse_span(words) == seconds


@pytest.mark.parametrize("words", ["", "m", "-1s", "1w", "10 minutes", "999999999d", "1e5", "nan"])
def test_what_is_no_span_is_none(words: str) -> None:
    assert parse_span(words) is None


def test_instants_and_sizes() -> None:
    assert instant_text(0.0) == "1970-01-01T00:00:00.000Z"
    assert instant_text(None) is None
    for words in ("2026-07-28T12:00:00Z", "2026-07-28T14:00:00+02:00", "2026-07-28T12:00:00", "1785240000"):
        assert parse_instant(words) == 1_785_240_000
    assert parse_instant("yesterday") is None
    assert [span_text(one) for one in (-1, 0.44, 59, 150, 7_300, 200_000)] == [
        "0.0 s",
        "0.4 s",
        "59 s",
        "2 min",
        "2 h",
        "2 d",
    ]
    assert [size_text(one) for one in (5, 5_000, 5_000_000, 5e12)] == ["5 B", "4.9 KB", "4.8 MB", "4657 GB"]


# The rest.


def test_the_audit_keeps_shapes_and_no_free_text() -> None:
    arguments = {
        "names": ["a\x1b[1m", "b"],
        "reason": "my password is x",
        "wait": "none",
        "n": 3,
        "o": {"x": 1},
    }
    assert shape_of(arguments) == {
        "names": ["a", "b"],
        "reason": "text of 16",
        "wait": "none",
        "n": 3,
        "o": "dict",
    }
    many = shape_of({"names": [str(one) for one in range(30)], "x": "y" * 300})
    assert many["names"] == [*(str(one) for one in range(20)), "and 10 more"]
    assert many["x"] == "text of 300"


def test_dependents_are_found_through_others_and_cycles() -> None:
    rows = [
        {"name": "db", "depends_on": ["web"]},
        {"name": "api", "depends_on": ["db"]},
        {"name": "web", "depends_on": ["api"]},
        {"name": "other", "depends_on": []},
    ]
    assert with_dependents(["db"], rows) == ["db", "api", "web"]


def test_events_become_changes() -> None:
    status, web = (Change(ChangeKind.RESOURCE, uri) for uri in ("fleet://status", "service://web"))
    assert changes_of("service.ready", "web") == [status, web]
    assert changes_of("control.stop", "") == [status]
    assert changes_of("log.rotated", "") == changes_of("mcp.call", "web") == []
    kinds = {one.kind for one in changes_of("config.reloaded", "")}
    assert kinds == {ChangeKind.RESOURCE, ChangeKind.RESOURCES}


def test_a_text_is_bounded_and_says_how_to_get_less() -> None:
    result = Answer({}, "x" * (TEXT_LIMIT + 1)).to_result()
    (block,) = result["content"]  # type: ignore[misc]
    assert block["text"].endswith("\n... cut: ask for less (fewer names, a smaller limit or tail)")
    assert len(block["text"]) < TEXT_LIMIT + 100
