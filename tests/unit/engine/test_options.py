from pathlib import Path

import pytest

from orchestra_supervisor.engine.options import Options, parse_options


def test_what_the_keeper_says_is_taken_with_paths_made_absolute() -> None:
    words = [
        "--home",
        "h",
        "-c",
        "a.json",
        "-c",
        "/b.json",
        "--only",
        "x,y",
        "--only",
        "z",
        "--console",
        "raw",
    ]
    here = Path.cwd()
    assert parse_options(words) == Options(
        here / "h", (here / "a.json", Path("/b.json")), ("x", "y", "z"), "raw"
    )
    assert parse_options(["--home", "/h"]) == Options(Path("/h"), (), ())


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--home"],
        ["--home", ""],
        ["-c", "a.json"],
        ["--home", "/h", "--console", "loud"],
        ["--home", "/h", "word"],
        ["--home", "/h", "--other", "x"],
    ],
)
def test_what_it_does_not_say_is_refused(words: list[str]) -> None:
    assert parse_options(words) is None
