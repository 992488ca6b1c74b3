"""Text is safe to show, measured right, and cut to fit."""

import re
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.cli import text as text_module
from orchestra_supervisor.cli.text import (
    clip,
    clip_middle,
    display_width,
    format_duration,
    format_instant,
    format_size,
    make_visible,
    pad,
)


@given(
    st.text(alphabet=st.characters()) | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape"))
)
def test_nothing_that_a_terminal_obeys_survives(text: str) -> None:
    shown = make_visible(text)
    assert all(char == "\t" or unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"} for char in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert make_visible(text) == text


def test_whatever_is_spelled_out_counts_as_unprintable() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert [char for char in re.findall(text_module._UNSAFE, every) if char.isprintable()] == []


def test_the_signs_of_ours_take_one_column_each() -> None:
    for sign in text_module._OURS:
        assert unicodedata.east_asian_width(sign) not in "WF"
        assert unicodedata.category(sign) not in {"Mn", "Me", "Cf"}
        assert display_width(sign) == len(sign) == 1


def test_controls_are_spelled_out() -> None:
    assert make_visible("a\x1b[31m\x07\x7f\x9b\u202e\udcff\tb") == "a^[[31m^G^?\\x9b\\u202e\\xff\tb"


@given(st.text(), st.integers(0, 60), st.sampled_from(["…", "~"]))
def test_a_clipped_text_never_takes_more_than_its_width(text: str, width: int, mark: str) -> None:
    assert display_width(clip(text, width, mark)) <= width


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E)), st.integers(1, 60))
def test_a_name_cut_in_its_middle_keeps_both_ends(name: str, width: int) -> None:
    cut = clip_middle(name, width)
    assert len(cut) <= width
    if width >= 4:
        assert cut[0:1] == name[0:1]
        assert cut[-1:] == name[-1:]


def test_wide_and_combining_characters_are_counted_as_terminals_do() -> None:
    assert display_width("日本") == 4
    assert display_width("e\u0301") == 1
    assert clip("日本語", 5) == "日本…"
    assert pad("日本", 6) == "日本  "
    assert pad("7", 3, is_right=True) == "  7"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0s"),
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (123, "2m03s"),
        (3_599.7, "1h00m"),
        (11_040, "3h04m"),
        (86_400 * 12 + 18_000, "12d05h"),
    ],
)
def test_spans_are_short_and_never_jump_at_their_borders(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_instants_carry_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        assert format_instant(1_700_000_000.0009) == "2023-11-14 22:13:20.001"
        assert format_instant(1_700_000_000.9996, is_dated=False) == "22:13:21.000"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (-1, "0B"),
        (999, "999B"),
        (1_000, "1.0K"),
        (10_137, "9.9K"),
        (10_240, "10K"),
        (1_048_064, "1.0M"),
        (340 << 20, "340M"),
        (3 << 29, "1.5G"),
        (5_000 << 40, "5000T"),
    ],
)
def test_sizes_are_short_and_never_jump_at_their_borders(count: int, text: str) -> None:
    assert format_size(count) == text
