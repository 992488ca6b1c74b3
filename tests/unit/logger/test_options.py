"""What the daemon says of a log is taken, or its default in its place: never an end of logging."""

import pytest

from orchestra_supervisor.logger.limit import RateLimit
from orchestra_supervisor.logger.options import Options, Rotation, parse_options, parse_secrets


def test_what_is_given_arrives() -> None:
    options = parse_options({"max_bytes": 7, "backups": 0, "compress": False, "of a later daemon": 1})
    assert options == Options(Rotation(max_bytes=7, backups=0, compress=False))


@pytest.mark.parametrize("nothing", [None, {}, {"max_bytes": None}])
def test_what_is_not_said_is_the_default(nothing: object) -> None:
    assert parse_options(nothing) == Options()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"max_bytes": -1, "compress": False}, "max_bytes is not a whole number"),
        ({"max_bytes": "hush", "compress": False}, "max_bytes is not a whole number"),
        ({"backups": True, "compress": False}, "backups is not a whole number"),
        ({"backups": 0.5, "compress": False}, "backups is not a whole number"),
    ],
)
def test_a_bad_value_is_told_and_the_others_hold(given: object, complaint: str) -> None:
    options = parse_options(given)
    assert options.rotation == Rotation(compress=False)
    assert len(options.faults) == 1
    assert complaint in options.faults[0]
    assert "hush" not in options.faults[0]


def test_options_that_are_no_object_are_told() -> None:
    assert parse_options([1]) == Options(faults=("options are not an object",))


def test_the_treatment_of_lines_arrives() -> None:
    treatment = parse_options(
        {
            "format": "json",
            "redact": ["a+", "("],
            "redact_secrets": False,
            "rate_limit": {"bytes": 5, "per": 2, "on_limit": "block"},
        }
    ).treatment
    assert [pattern.pattern for pattern in treatment.redact] == [b"a+"]
    assert (treatment.is_json, treatment.redact_secrets) == (True, False)
    assert treatment.limit == RateLimit(size=5, per=2.0, burst=5, is_blocking=True)
    assert treatment.needs_lines
    assert not parse_options({"redact_secrets": True}).treatment.needs_lines


def test_secrets_are_texts_or_refused_as_a_whole() -> None:
    assert parse_secrets(None) == ()
    assert parse_secrets(["a", "\udcff"]) == (b"a", b"\xff")
    assert parse_secrets(["a", 1]) is None
    assert parse_secrets({}) is None
