"""Data from outside: nothing of it is obeyed, hidden or imitated, and no secret is handed on."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.control.untrusted import (
    LINE_LIMIT,
    LogLine,
    clean,
    cleaned,
    collapsed,
    fenced,
    without_secrets,
)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil/\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;ZXZpbA==\x07x", "x"),
        ("\x9b2Jx", "x"),
        ("\x1bP+q544e\x1b\\x", "x"),
        ("a\x08b\x00c\rd", "abcd"),
        ("tab\tline\nend\r\n", "tab\tline\nend\n"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("left\u202eright\u2066", "leftright"),
        ("tag\U000e0041\U000e0042", "tag"),
        ("broken \x1b[", "broken "),
        ("lone \udc80", "lone "),
        ("ünïcödé 漢字 🙂", "ünïcödé 漢字 🙂"),
    ],
)
def test_what_a_terminal_obeys_or_nobody_sees_is_taken_out(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.text(alphabet=st.sampled_from("\x1b[]0;m\x07\\P\x9b\x00a\u200b\r\n\t"), max_size=200))
def test_nothing_of_an_escape_is_ever_left(raw: str) -> None:
    shown = clean(raw)
    assert not set(shown) & set("\x1b\x07\x9b\x00\u200b\r")
    assert clean(shown) == shown


def test_a_whole_result_is_cleaned() -> None:
    raw = {"a\x1b[1m": ["\x07x", {"b": "y\u200b"}], "n": 1, "f": True, "z": None}
    assert cleaned(raw) == {"a": ["x", {"b": "y"}], "n": 1, "f": True, "z": None}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("token=abc123", "token=***"),
        ("API_KEY = 'abc def'", "API_KEY = ***"),
        ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer ***"),
        ("postgres://user:geheim@host/db", "postgres://user:***@host/db"),
        ('{"password": "hunter22"}', '{"password": ***}'),
        ("key sk-abcdefghijklmnop1234", "key ***"),
        ("ghp_abcdefghijklmnopqrst1234", "***"),
        ("AKIAABCDEFGHIJKLMNOP", "***"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "jwt ***"),
        ("KeyError: 'API_KEY'", "KeyError: 'API_KEY'"),
        ("token expired", "token expired"),
        ("missing API key: OPENAI_API_KEY", "missing API key: OPENAI_API_KEY"),
        ("authenticated alice", "authenticated alice"),
    ],
)
def test_what_looks_like_a_secret_is_replaced_and_names_stay(line: str, shown: str) -> None:
    assert without_secrets(line) == shown


@pytest.mark.parametrize(
    "evil", ["a" * 8_000, "token" * 1_600, "://" * 2_600, "-" * 8_000, "secret_" * 1_100, "\x1b[" * 4_000]
)
def test_no_line_takes_long(evil: str) -> None:
    began = time.perf_counter()
    LogLine.of("web", 0.0, "stdout", evil)
    assert time.perf_counter() - began < 0.5


def test_a_long_line_is_cut_and_says_so() -> None:
    line = LogLine.of("web", 0.0, "stdout", "x" * (LINE_LIMIT + 500))
    assert line.text == "x" * LINE_LIMIT + "... (500 characters left out)"
    assert LogLine.of("web", 0.0, "stdout", "x" * LINE_LIMIT).text == "x" * LINE_LIMIT


def test_lines_that_differ_in_numbers_are_one() -> None:
    texts = ["a 1", "a 2", "a 30", "b", "a 4"]
    lines = collapsed(LogLine("at", "web", "stdout", one) for one in texts)  # type: ignore[arg-type]
    assert [(line.text, line.count) for line in lines] == [("a 1", 3), ("b", 1), ("a 4", 1)]
    other = collapsed([LogLine(0.0, "web", "stdout", "a"), LogLine(0.0, "web", "stderr", "a")])
    assert [line.count for line in other] == [1, 1]


def test_the_end_of_a_fence_cannot_be_known_beforehand() -> None:
    one, two = fenced("log of web", "x"), fenced("log of web", "x")
    assert one != two
    head, body, tail = one.split("\n")
    word = head.removesuffix(" ---").rsplit(" ", 1)[1]
    assert (body, tail) == ("x", f"--- end {word} ---")
