"""The table of `top` at a fixed clock and width."""

import re

from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from orchestra_supervisor.cli.shapes import FiguresView, StatusView
from orchestra_supervisor.cli.text import display_width
from orchestra_supervisor.cli.topview import ORDERS, Past, top_lines
from tests.e2e.cli import shapes
from tests.unit.cli.test_render import plain

NOW = shapes.STARTED + 125


def fleet() -> StatusView:
    rows = [
        shapes.service("api"),
        shapes.service("cache"),
        shapes.service("worker", "unhealthy", probe_error="HTTP 503"),
        shapes.service("off", "stopped", desired="down"),
    ]
    return StatusView(shapes.status("/h", rows))


def used(**history: list[list[float]]) -> FiguresView:
    services = {
        "api": shapes.figures(cpu=12.5, memory=340 << 20, read_bytes=None, write_bytes=None, fds=None),
        "cache": shapes.figures(cpu=0.0, memory=2 << 30, processes=12),
        "worker": shapes.figures(cpu=97.0, memory=8_400),
        "off": None,
    }
    return FiguresView(shapes.all_figures(services, history))


def shown(order: str = "cpu", columns: int = 120, past: Past | None = None) -> list[str]:
    return top_lines(fleet(), used(), past or Past(), plain(columns), NOW, order)


def test_the_greediest_come_first_with_all_that_is_known_of_them() -> None:
    past = Past()
    past.note(used(worker=[[NOW - 45, 97.0, 1], [NOW - 35, 0.5, 1], [NOW - 4, 50.0, 1], [NOW - 2, 60, 1]]))
    assert "\n".join(shown(past=past)) == snapshot("""\
orchestra 0.1.0  2 ready of 4  cpu 109.5%  memory 2.3G
keeper 0.1% 10M  logger 0.2% 10M  daemon ?% 10M

  NAME    STATE      CPU%   PSS  PROCS  THR  FDS  READ  WRITE  UPTIME  CPU, 2 MIN
▲ worker  unhealthy  97.0  8.2K      1    4    9  4.0K     0B   2m05s         █▁  ▅
● api     ready      12.5  340M      1    4                     2m05s
● cache   ready       0.0  2.0G     12    4    9  4.0K     0B   2m05s
○ off     stopped\
""")


def test_memory_and_names_are_orders_too() -> None:
    def names(order: str) -> list[str]:
        return [line.split()[1] for line in shown(order)[4:]]

    assert names("cpu") == ["worker", "api", "cache", "off"]
    assert names("mem") == ["cache", "api", "worker", "off"]
    assert names("name") == ["api", "cache", "off", "worker"]


def test_a_narrow_terminal_keeps_name_processor_and_memory() -> None:
    assert "\n".join(shown(columns=40)) == snapshot("""\
orchestra 0.1.0  2 ready of 4  cpu 109.…
keeper 0.1% 10M  logger 0.2% 10M  daemo…

  NAME    STATE      CPU%   PSS  PROCS
▲ worker  unhealthy  97.0  8.2K      1
● api     ready      12.5  340M      1
● cache   ready       0.0  2.0G     12
○ off     stopped\
""")


def test_memory_says_what_it_is_and_marks_what_is_counted_otherwise() -> None:
    assert "PSS" in shown()[3]
    answer = shapes.all_figures(
        {"api": shapes.figures(memory_kind="rss"), "cache": shapes.figures(memory_kind="pss")}, {}
    )
    lines = top_lines(fleet(), FiguresView(answer), Past(), plain(120), NOW, "name")
    assert "MEM" in lines[3]
    assert "~" in lines[4]
    assert "~" not in lines[5]


@given(st.integers(20, 200), st.sampled_from(ORDERS), st.lists(st.floats(0, 6_400), max_size=20))
def test_no_line_is_wider_than_the_terminal(columns: int, order: str, curve: list[float]) -> None:
    past = Past()
    past.add("worker", [(NOW - index, value) for index, value in reversed(list(enumerate(curve)))])
    for line in shown(order, columns, past):
        assert display_width(line) <= columns


def test_colour_changes_nothing_but_colour() -> None:
    bare = shown()
    painted = top_lines(fleet(), used(), Past(), plain(120, FORCE_COLOR="1"), NOW, "cpu")
    assert painted != bare
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in painted] == bare


def test_figures_of_another_version_do_no_harm() -> None:
    odd: dict[str, object] = {
        "period": "x",
        "services": {"api": {"cpu": "much"}, "cache": 7},
        "history": {"api": [[1], "x", [1, "2"]], "cache": 3},
    }
    view = FiguresView(odd)
    assert not view.is_on
    past = Past()
    past.note(view)
    assert top_lines(fleet(), view, past, plain(), NOW, "mem")
