"""What is kept out of a bundle, and what is not touched."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.cli.bundle.scrub import MASK, Scrubber

SECRET = 'hunter2 & "quotes"\\\n-and-a-second-line-of-it'


def scrubber(*values: str, is_env_shown: bool = False) -> Scrubber:
    return Scrubber(values, is_env_shown=is_env_shown)


@pytest.mark.parametrize(
    "text",
    [
        "it is {} here",
        "a line\n{}\nanother",
        "{}",
    ],
)
def test_a_known_value_goes_wherever_it_stands_and_however_it_is_spelled(text: str) -> None:
    value = "s3cr3t/valü+e"
    spellings = [
        value,
        json.dumps(value)[1:-1],
        base64.b64encode(value.encode()).decode(),
        "s3cr3t%2Fval%C3%BC%2Be",
    ]
    for spelling in spellings:
        assert scrubber(value).text(text.format(spelling)).replace("=", "") == text.format(MASK)


def test_a_value_of_several_lines_goes_line_by_line_too() -> None:
    said = scrubber(SECRET).text("log: -and-a-second-line-of-it")
    assert said == f"log: {MASK}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("curl --token abc123 --verbose", "curl --token *** --verbose"),
        ("Authorization: Bearer abcdef.ghijkl", "Authorization: Bearer ***"),
        ("postgres://u:pw@h/db", "postgres://u:***@h/db"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nafter", "***\nafter"),
        ("an ordinary line of text", "an ordinary line of text"),
    ],
)
def test_what_looks_like_a_secret_goes(text: str, shown: str) -> None:
    assert scrubber().text(text) == shown


def test_documents_keep_their_shape_and_their_references() -> None:
    document = {
        "settings": {"secrets_file": "/srv/secrets.json"},
        "argv": ["run", "--api-key", "abc", "--port", "80"],
        "env": {"MODE": "fast", "DB": "secret:db.password", "URL": "x${secret:tail}"},
        "headers": {"X-Trace": "on"},
        "password": "short",
        "pid": 7,
        "none": None,
    }
    assert scrubber().document(document) == {
        "settings": {"secrets_file": "/srv/secrets.json"},
        "argv": ["run", "--api-key", MASK, "--port", "80"],
        "env": {"MODE": MASK, "DB": "secret:db.password", "URL": MASK},
        "headers": {"X-Trace": MASK},
        "password": MASK,
        "pid": 7,
        "none": None,
    }
    shown = scrubber(is_env_shown=True).document({"env": {"MODE": "fast", "API_KEY": "abc"}})
    assert shown == {"env": {"MODE": "fast", "API_KEY": MASK}}


def test_values_that_stand_in_any_text_are_not_searched_for() -> None:
    text = "it is true: a1 of no use"
    assert scrubber("true", "no", "a1", "").text(text) == text


def test_a_line_without_end_is_cut() -> None:
    said = scrubber().text("word " * 2_000)
    assert len(said) < 5_000
    assert "6000 characters left out" in said


@given(st.text(min_size=6), st.text(), st.text())
def test_no_text_brings_a_known_value_through(value: str, before: str, after: str) -> None:
    if value.strip() != value or value.lower() in MASK or value in before + after:
        return
    said = scrubber(value).text(before + value + after)
    assert value not in said or value in MASK * 4
