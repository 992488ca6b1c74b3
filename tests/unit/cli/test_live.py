"""Frames fit every terminal, and a large fleet does not flood it."""

import io
import re

from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from orchestra_supervisor.cli.live import Frame, starting_frame, stopping_frame
from orchestra_supervisor.cli.shapes import StatusView
from orchestra_supervisor.cli.terminal import LiveRegion, Terminal
from orchestra_supervisor.cli.text import display_width
from tests.e2e.cli import shapes

TOOK = 4.25
NOW = shapes.STARTED + TOOK
STATES = [
    "waiting",
    "starting",
    "running",
    "ready",
    "unhealthy",
    "backoff",
    "stopping",
    "completed",
    "failed",
]


class Screen(Terminal):
    """A terminal of a given size."""

    def __init__(self, columns: int, rows: int) -> None:
        stream = io.StringIO()
        super().__init__(stream, {})
        self.is_unicode = True
        self.size = (columns, rows)

    @property
    def columns(self) -> int | None:
        return self.size[0]

    @property
    def rows(self) -> int:
        return self.size[1]


def view(rows: list[dict[str, object]]) -> StatusView:
    return StatusView(shapes.status("/h", rows))


def text_of(frame: Frame) -> str:
    return "\n".join(plain for plain, _ in frame)


def test_a_start_shows_who_waits_for_whom_and_for_how_long() -> None:
    rows = [
        shapes.service("memory", url="http://127.0.0.1:8003"),
        shapes.service("backend", "waiting", waiting_for=["memory"]),
        shapes.service("context", "starting", reason="spawned"),
        shapes.service("disabled", "stopped", desired="down"),
    ]
    assert text_of(starting_frame(view(rows), Screen(80, 24), NOW, TOOK)) == snapshot("""\
⠹ 1 of 3 ready  4.2s
● memory   ready        1.5s  http://127.0.0.1:8003
◌ backend  waiting      2.8s  waiting for memory
◔ context  starting     2.8s  spawned\
""")


def test_before_the_daemon_answers_the_frame_says_so() -> None:
    assert "waiting for the daemon" in text_of(starting_frame(None, Screen(80, 24), NOW, TOOK))


def test_a_stop_shows_what_is_left() -> None:
    rows = [
        shapes.service("web", "stopping", reason="SIGTERM sent"),
        shapes.service("db"),
        shapes.service("a", "stopped"),
    ]
    frame = stopping_frame(
        view(rows), Screen(80, 24), NOW, TOOK, "stopping in order", "Ctrl-C again to hurry"
    )
    assert text_of(frame) == snapshot("""\
⠹ stopping in order, 2 left  (Ctrl-C again to hurry)  4.2s
◒ web  stopping     2.8s  SIGTERM sent
● db   ready        1.5s\
""")


def test_two_hundred_services_are_shown_as_what_is_missing_and_counts() -> None:
    rows = [shapes.service(f"ok_{n}") for n in range(190)]
    rows += [shapes.service(f"late_{n}", "starting") for n in range(9)] + [shapes.service("bad", "failed")]
    text = text_of(starting_frame(view(rows), Screen(80, 24), NOW, TOOK))
    assert "ok_" not in text
    assert text.count("late_") == 9
    assert text.splitlines()[-1] == "  1 failed, 190 ready, 9 starting"


@given(
    st.integers(1, 120),
    st.integers(2, 60),
    st.lists(
        st.tuples(st.from_regex(r"\A[a-z_]{1,64}\Z"), st.sampled_from(STATES), st.text(max_size=50)),
        max_size=80,
    ),
)
def test_a_frame_always_fits_the_terminal(
    columns: int, rows: int, services: list[tuple[str, str, str]]
) -> None:
    made = [shapes.service(name, state, reason=why) for name, state, why in services]
    for frame in (
        starting_frame(view(made), Screen(columns, rows), NOW, TOOK),
        stopping_frame(view(made), Screen(columns, rows), NOW, TOOK, "stopping"),
    ):
        assert len(frame) <= rows - 1
        assert all(display_width(plain) < max(columns, 2) and "\n" not in plain for plain, _ in frame)


def test_painting_adds_only_colour() -> None:
    screen = Screen(80, 24)
    screen.is_color = True
    rows = [shapes.service(state, state) for state in STATES]
    for plain, painted in starting_frame(view(rows), screen, NOW, TOOK):
        assert re.sub(r"\x1b\[[0-9;]*m", "", painted).rstrip() == plain


def test_a_region_moves_up_by_the_rows_its_lines_take_after_the_terminal_became_narrower() -> None:
    screen = Screen(80, 24)
    region = LiveRegion(screen)
    region.draw([("x" * 60, "x" * 60), ("y", "y")])
    screen.size = (40, 24)
    screen.stream.truncate(0)
    region.draw([("z", "z")])
    assert "\x1b[3A" in screen.stream.getvalue()  # type: ignore[attr-defined]
