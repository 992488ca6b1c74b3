"""Command lines are understood, and near misses answered with what was meant."""

from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.cli.catalog import COMMANDS, GROUPS, help_text
from orchestra_supervisor.cli.fullparser import FullParser
from orchestra_supervisor.cli.parser import CommandParser, Options, split_command
from orchestra_supervisor.cli.words import UnfitWord, UsageError, seconds_of, split_names, whole_of


def parser_of(verb: str) -> CommandParser:
    parser = CommandParser(verb)
    import_module(f"orchestra_supervisor.cli.commands.{COMMANDS[verb].module}").configure(parser)
    return parser


def parse(*words: str) -> Options:
    verb, rest = split_command(list(words))
    return parser_of(verb).parse(rest)


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_every_command_has_a_module_a_group_and_a_line_of_help(verb: str) -> None:
    assert parser_of(verb).help_text().startswith(f"usage: orchestra {verb}")
    assert [verb in names for _, names in GROUPS].count(True) == 1
    assert f"\n  {verb}" in help_text()


@pytest.mark.parametrize(
    "words", [("--home", "/h", "status"), ("--home=/h", "status"), ("status", "--home", "/h")]
)
def test_home_may_stand_before_or_after_the_verb(words: tuple[str, ...]) -> None:
    assert parse(*words).home == "/h"


def test_the_later_home_wins() -> None:
    assert parse("--home", "/a", "status", "--home=/b").home == "/b"


def test_names_and_options_may_be_mixed() -> None:
    options = parse("restart", "web", "--timeout", "5s", "api,mcp_*", "--with-dependents", "web")
    assert split_names(options.names) == ["web", "api", "mcp_*"]
    assert options.timeout == 5.0
    assert options.with_dependents is True


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["mcp", "cal"], "mcp: unknown ACTION 'cal': one of install, ", "`orchestra mcp call`?"),
        (["systemd", "prnt"], "systemd: unknown action 'prnt': one of print, ", "`orchestra systemd print`?"),
        (["systemd", "zzzzzz"], "one of print, install, export", "`orchestra systemd --help`"),
        (["restart", "x", "--wait", "redy"], "unknown value 'redy' of --wait: one of ", "--wait ready?"),
        (["top", "--sort", "9"], "unknown value '9' of --sort: one of cpu, mem", "`orchestra top --help`"),
    ],
)
def test_a_word_that_is_none_of_a_few_is_told_all_and_the_nearest(
    words: list[str], message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*words)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["stauts"], "unknown command 'stauts'", "did you mean `orchestra status`?"),
        (["zzzzzz"], "unknown command 'zzzzzz'", "`orchestra help` lists the commands"),
        (["--hoem", "x"], "unknown option --hoem", "did you mean --home?"),
        (["--home"], "--home needs a directory", "orchestra --home DIR status"),
        (["status", "--jsn"], "unknown option --jsn", "did you mean --json?"),
        (
            ["start", "--with-dependants", "x"],
            "unknown option --with-dependants",
            "did you mean --with-dependents?",
        ),
        (
            ["start"],
            "orchestra start: NAMES is missing",
            "usage: orchestra start NAMES, where NAMES may be `all`",
        ),
        (["version", "now"], "unexpected argument 'now'", "`orchestra version --help`"),
    ],
)
def test_a_near_miss_is_told_what_was_meant(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*words)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    "words", [["wait", "web", "--for", "redy"], ["logs", "-n", "x"], ["logs", "--since", "soon"]]
)
def test_a_bad_value_is_refused_by_name(words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*words)
    assert words[-1] in caught.value.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1.5", 1.5), ("30s", 30), ("10m", 600), ("2h", 7_200), ("500ms", 0.5), ("1d", 86_400)],
)
def test_spans_of_time_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1y", "1 h 3", "9999999999", "٣"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(UnfitWord):
        seconds_of(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "²", "1" * 30])
def test_what_is_no_number_of_lines_is_refused(text: str) -> None:
    with pytest.raises(UnfitWord):
        whole_of(text)


def test_no_words_are_a_question_for_help() -> None:
    assert split_command([]) == ("help", [])
    assert split_command(["-h"]) == ("help", [])
    assert split_command(["--version"]) == ("version", [])


WORDS = (
    "web",
    "api,b",
    "",
    "5",
    "10m",
    "ready",
    "none",
    "cpu",
    "leader",
    "a b",
    "-",
    "--",
    "-x",
    "-5",
    "-nx",
    "=",
)
"""What stands on command lines beside flags: names and values, good and bad."""


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, list[str]]:
    verb = draw(st.sampled_from(sorted(COMMANDS)))
    flags = [flag for one in parser_of(verb).declared if one.is_option for flag in one.flags]
    word = st.one_of(
        st.sampled_from(WORDS),
        st.sampled_from([*flags, "--hel", "-h", "--help"]),
        st.builds(lambda flag, value: f"{flag}={value}", st.sampled_from(flags), st.sampled_from(WORDS)),
    )
    return verb, draw(st.lists(word, max_size=6))


@settings(max_examples=400, deadline=None)
@given(lines())
def test_words_that_are_understood_without_argparse_mean_what_they_mean_to_it(
    line: tuple[str, list[str]],
) -> None:
    verb, words = line
    parser = parser_of(verb)
    plain = parser._plainly(words)
    if plain is not None:
        full = FullParser(parser.verb, parser.declared).values_of(words)
        since = {key for key, value in plain.items() if isinstance(value, float)}  # `--since` is from now on
        assert {key: full[key] for key in since} == pytest.approx({key: plain[key] for key in since}, abs=5.0)
        assert {key: full[key] for key in full.keys() - since} == {
            key: plain[key] for key in plain.keys() - since
        }


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "--home /h status web api --json",
        "stop web --reason why --timeout 5s",
        "restart --wait none all",
        "wait web --for ready",
        "logs web -n 5 --grep x",
        "top --once",
        "events --service web",
        "down",
    ],
)
def test_the_common_command_lines_need_no_argparse(words: str) -> None:
    verb, rest = split_command(words.split())
    assert parser_of(verb)._plainly(rest) is not None
