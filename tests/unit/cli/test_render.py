"""What people read: tables and lines at a fixed clock and width, without colour."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from orchestra_supervisor.cli.render import counts_text, event_line, note_of, result_line, status_lines
from orchestra_supervisor.cli.shapes import EventView, ResultView, ServiceView, StatusView
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import display_width, format_instant
from tests.e2e.cli import shapes

NOW = shapes.STARTED + 125


class Utf8(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]


def plain(columns: int | None = 100, **env: str) -> Terminal:
    return Terminal(Utf8(), ({"COLUMNS": str(columns)} if columns else {}) | env)


def fleet() -> list[dict[str, object]]:
    return [
        shapes.service("backend", url="http://127.0.0.1:8010"),
        shapes.service("memory", "waiting", waiting_for=["backend", "context"]),
        shapes.service(
            "context", "backoff", restarts=3, exit=shapes.exit_report("exit code 1"), next_start=NOW + 1.2
        ),
        shapes.service("probe_me", "unhealthy", port=8_003, probe_error="GET /health: HTTP 503"),
        shapes.service("setup", "completed", kind="once", exit=shapes.exit_report("exit code 0", 0)),
        shapes.service(
            "web", "failed", exit=shapes.exit_report("killed by SIGSEGV"), reason="10 restarts within 300 s"
        ),
        shapes.service("old", "stopped", desired="down", down_reason="operator"),
    ]


def test_status_shows_every_service_and_why() -> None:
    lines = status_lines(StatusView(shapes.status("/srv/.orchestra", fleet())), plain(), NOW)
    assert "\n".join(lines) == snapshot("""\
orchestra 0.1.0  home /srv/.orchestra  keeper 123  daemon 124  logger 125  2 ready of 7

  NAME      STATE       PID  UPTIME  RESTARTS  URL                    NOTE
● backend   ready      4712   2m05s         0  http://127.0.0.1:8010
◌ memory    waiting                         0                         waiting for backend, context
↻ context   backoff                         3                         exit code 1; next start in 1.…
▲ probe_me  unhealthy  4841   2m05s         0  :8003                  GET /health: HTTP 503
✓ setup     completed                       0
✗ web       failed                          0                         killed by SIGSEGV; 10 restart…
○ old       stopped                         0                         stopped by hand\
""")


@pytest.mark.parametrize(
    ("state", "fields", "note"),
    [
        ("waiting", {"reason": "next run at 2023-11-15 02:15 CET"}, "next {} (in 4h00m)"),
        ("completed", {"exit": shapes.exit_report("exit code 0", 0)}, "next {} (in 4h00m)"),
        ("failed", {"exit": shapes.exit_report("exit code 3")}, "exit code 3; next {} (in 4h00m)"),
        ("running", {"reason": "running"}, "running; next {} (in 4h00m)"),
        ("waiting", {"waiting_for": ["db"]}, "waiting for db; next {} (in 4h00m)"),
    ],
)
def test_of_a_periodic_service_the_next_run_is_told(state: str, fields: dict[str, object], note: str) -> None:
    at = NOW + 4 * 3_600
    service = ServiceView(shapes.service("job", state, next_run=at, **fields))
    assert note_of(service, NOW) == note.format(format_instant(at)[11:16])


def test_a_run_that_is_a_day_away_is_told_with_its_day() -> None:
    at = NOW + 36 * 3_600
    service = ServiceView(shapes.service("job", "completed", next_run=at))
    assert note_of(service, NOW) == f"next {format_instant(at)[:16]} (in 1d12h)"


def test_a_narrow_terminal_gets_the_name_the_state_and_the_start_of_why() -> None:
    lines = status_lines(StatusView(shapes.status("/srv/.orchestra", fleet())), plain(40), NOW)
    assert "\n".join(lines) == snapshot("""\
orchestra 0.1.0  home /srv/.orchestra
keeper 123  daemon 124  logger 125
2 ready of 7

  NAME      STATE      NOTE
● backend   ready
◌ memory    waiting    waiting for back…
↻ context   backoff    exit code 1; nex…
▲ probe_me  unhealthy  GET /health: HTT…
✓ setup     completed
✗ web       failed     killed by SIGSEG…
○ old       stopped    stopped by hand\
""")


def test_without_unicode_signs_are_ascii() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, {"COLUMNS": "60"})
    text = "\n".join(status_lines(StatusView(shapes.status("/h", fleet())), terminal, NOW))
    assert text.isascii()
    assert "x web" in text


@given(
    st.integers(20, 200),
    st.lists(
        st.tuples(
            st.from_regex(r"\A[a-z_]{1,64}\Z"),
            st.text(max_size=80),
            st.sampled_from(["failed", "ready", "odd"]),
        ),
        max_size=5,
    ),
)
def test_no_line_is_ever_wider_than_the_terminal(columns: int, services: list[tuple[str, str, str]]) -> None:
    rows = [shapes.service(name, state, reason=why) for name, why, state in services]
    for line in status_lines(StatusView(shapes.status("/h", rows)), plain(columns), NOW):
        assert display_width(line) <= columns
        assert "\n" not in line


def test_a_home_or_reason_with_control_characters_is_shown_harmless() -> None:
    rows = [shapes.service("web", "failed", reason="\x1b]0;title\x07")]
    text = "\n".join(status_lines(StatusView(shapes.status("/h\x1b[2J", rows)), plain(), NOW))
    assert "\x1b" not in text
    assert "^[]0;title^G" in text


def test_colour_changes_nothing_but_colour() -> None:
    view = StatusView(shapes.status("/h", fleet()))
    bare = status_lines(view, plain(), NOW)
    coloured = status_lines(view, plain(FORCE_COLOR="1"), NOW)
    assert coloured != bare
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in coloured] == bare
    assert status_lines(view, plain(FORCE_COLOR="1", NO_COLOR="1"), NOW) == bare


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (shapes.service("a", reason="probe passed"), ""),
        (
            shapes.service("a", watching={"paths": ["src"], "files": 3, "error": "paused: 10 times"}),
            "watch: paused: 10 times",
        ),
        (shapes.service("a", watching={"paths": ["src"], "files": 3, "error": ""}), ""),
        (shapes.service("a", "stopped", down_reason="disabled"), "disabled"),
        (shapes.service("a", "stopped", reason="stopped by root"), "stopped by root"),
        (
            shapes.service("a", "waiting", next_start=NOW + 5, reason="start delay"),
            "start delay; next start in 5.0s",
        ),
        (shapes.service("a", "stopping", reason="SIGTERM sent"), "SIGTERM sent"),
        (
            shapes.service(
                "a", "failed", reason="exit code 1, no restarts", exit=shapes.exit_report("exit code 1")
            ),
            "exit code 1, no restarts",
        ),
        (shapes.service("a", "running"), ""),
    ],
)
def test_a_note_says_why_once(row: dict[str, object], note: str) -> None:
    assert note_of(ServiceView(row), NOW) == note


def test_counts_come_with_the_worst_first() -> None:
    services = [ServiceView(row) for row in fleet()]
    assert counts_text(services) == snapshot(
        "1 failed, 1 completed, 1 backoff, 1 unhealthy, 1 ready, 1 waiting, 1 stopped"
    )


def test_results_tell_the_change_the_time_and_the_reason() -> None:
    lines = [
        result_line(ResultView(shapes.result("web", "stopped", "ready")), plain()),
        result_line(ResultView(shapes.result("api", "ready", "ready", "already ready")), plain()),
        result_line(ResultView(shapes.result("db", "starting", "failed", "exit code 1", ok=False)), plain()),
        result_line(ResultView(shapes.result("web@4", "", "ready")), plain()),
    ]
    assert "\n".join(lines) == snapshot("""\
● web  stopped → ready  0.2s
○ api  ready  already ready
✗ db  starting → failed  0.2s  exit code 1
● web@4  ready  0.2s\
""")


def test_events_tell_when_what_and_who() -> None:
    event = EventView(shapes.event(7, "service.failed", "killed by SIGSEGV\x07", "web"))
    line = event_line(event, plain(), is_dated=False)
    assert line[2::3][:2] == "::"
    assert line[12:] == snapshot("  service.failed  web  killed by SIGSEGV^G")


def test_fields_of_another_version_do_no_harm() -> None:
    strange: dict[str, object] = {
        "name": 7,
        "state": None,
        "pid": "x",
        "waiting_for": "abc",
        "exit": [1],
        "since": True,
    }
    view = StatusView({"daemon": [], "services": [strange, "junk", {}]})
    assert [service.state for service in view.services] == ["unknown", "unknown"]
    assert status_lines(view, plain(), NOW)
