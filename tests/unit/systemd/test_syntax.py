"""Words in unit files: whatever they hold, systemd reads what was meant."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra_supervisor.model.errors import ConfigError
from orchestra_supervisor.systemd.syntax import UnitText, plain, quote, quote_command, seconds
from tests.unit.systemd.unit_reader import command_words, words

texts = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | st.sampled_from("\udc80\udcff%$\"'\\ ;\n"),
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine generates slowly
@given(st.lists(texts, min_size=1, max_size=4))
def test_a_command_line_means_the_words_it_was_made_of(argv: list[str]) -> None:
    line = quote_command(["/bin/x", *argv])
    assert "\n" not in line
    assert command_words(line) == ["/bin/x", *argv]


@settings(suppress_health_check=[HealthCheck.too_slow])  # likewise
@given(texts)
def test_an_assignment_means_the_value_it_was_made_of(value: str) -> None:
    assert words(quote(f"NAME={value}")) == [f"NAME={value}"]


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain-1.0", "plain-1.0"),
        ("", '""'),
        (";", '";"'),
        ("50%", "50%%"),
        ("$HOME", "$$HOME"),
        ("it's", '"it\'s"'),
        ('say "a\\b"', '"say \\"a\\\\b\\""'),
        ("two\nlines", '"two\\nlines"'),
        ("\udcff", '"\\xff"'),
        ("caf\u00e9", '"caf\u00e9"'),
    ],
)
def test_a_word_is_quoted_only_where_it_must_be(word: str, written: str) -> None:
    assert quote(word, is_argument=True) == written


def test_a_dollar_means_itself_in_a_program_and_in_a_variable() -> None:
    assert quote_command(["/opt/a$b", "c$d"]) == '"/opt/a$b" c$$d'
    assert quote("A=$B") == '"A=$B"'


@pytest.mark.parametrize("value", ["/a\nb", " /a", "/a ", "/a\\", "/\udcff"])
def test_what_a_plain_value_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="cwd"):
        plain(value, "web: cwd")


def test_a_plain_value_doubles_its_specifiers() -> None:
    assert plain("/srv/100% of it", "cwd") == "/srv/100%% of it"


@pytest.mark.parametrize(
    ("span", "written"), [(0, "1ms"), (0.5, "500ms"), (1, "1"), (90, "90"), (1.25, "1250ms")]
)
def test_a_span_of_time_is_never_zero(span: float, written: str) -> None:
    assert seconds(span) == written


def test_a_comment_stays_a_comment_however_long_it_is() -> None:
    unit = UnitText()
    unit.note("word " * 60 + "[Service] ExecStart=/bin/rm \n ExecStart=/bin/rm end\\")
    assert len(unit.render().splitlines()) > 2
    assert all(line.startswith("# ") and not line.endswith("\\") for line in unit.render().splitlines())
