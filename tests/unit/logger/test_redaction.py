"""Nothing of what is looked for is left, and nothing else is changed, however a line is cut."""

import re

from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.logger.redaction import MARK, NOTHING, OVERLAP, Redactor, secret_parts


def redactor(*patterns: str, secrets: tuple[bytes, ...] = ()) -> Redactor:
    return Redactor([re.compile(pattern.encode()) for pattern in patterns], secrets)


def test_overlapping_matches_are_one_replacement() -> None:
    assert redactor("abc", "cd", "de").redact(b"xabcdex abc") == b"x[redacted]x [redacted]"


def test_of_two_secrets_of_one_beginning_the_longer_is_replaced() -> None:
    assert redactor(secrets=(b"pass", b"password")).redact(b"my password") == b"my [redacted]"


def test_a_match_of_nothing_replaces_nothing() -> None:
    assert redactor("x*").redact(b"ab") == b"ab"
    assert NOTHING.is_idle
    assert NOTHING.redact(b"ab") == b"ab"


def test_a_secret_with_signs_of_expressions_is_taken_literally() -> None:
    assert redactor(secrets=(b"a.*(b",)).redact(b"axxx(b a.*(b") == b"axxx(b [redacted]"


def test_short_secrets_and_short_lines_of_secrets_are_not_looked_for() -> None:
    assert secret_parts(b"abc") == []
    assert secret_parts(b"abcd") == [b"abcd"]
    assert secret_parts(b"-----BEGIN-----\nMIIEvQIBADAN\n}\n") == [b"-----BEGIN-----", b"MIIEvQIBADAN"]


@given(
    filler=st.integers(0, 3 * OVERLAP),
    gaps=st.lists(st.integers(0, 3000), min_size=1, max_size=8),
    window=st.integers(OVERLAP + 100, 3 * OVERLAP),
)
def test_a_long_line_in_parts_is_redacted_like_a_whole_one(filler: int, gaps: list[int], window: int) -> None:
    secret = b"s3cret-of-a-service"
    line = b"x" * filler + b"".join(b"y" * gap + secret for gap in gaps)
    looking = redactor(secrets=(secret,))
    written, rest = b"", line
    while len(rest) > window:
        part, size = looking.redact_part(rest[:window])
        assert 0 < size <= window
        written, rest = written + part, rest[size:]
    assert written + looking.redact(rest) == looking.redact(line)
    assert written.count(MARK) <= len(gaps)


def test_a_match_that_does_not_end_is_replaced_as_far_as_it_is_seen() -> None:
    part, size = redactor("key=.*").redact_part(b"key=" + b"k" * 30_000)
    assert (part, size) == (MARK, 30_004)


@given(st.lists(st.sampled_from([b"a", b"ab", b"xab", b"b", b""]), max_size=6))
def test_many_lines_at_once_are_redacted_as_each_is(lines: list[bytes]) -> None:
    for pattern in ("^ab$", "b", "a[^x]b", r"\Aa", "(?<!x)ab"):
        looking = redactor(pattern)
        expected = b"".join(looking.redact(line) + b"\n" for line in lines)
        assert looking.redact_lines(b"".join(line + b"\n" for line in lines)) == expected
