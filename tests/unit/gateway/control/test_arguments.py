"""Arguments against schemas: what fits is filled in, what does not is answered with the way out."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.control.arguments import validated
from orchestra_supervisor.gateway.control.tool import object_of
from orchestra_supervisor.gateway.control.trouble import ToolTrouble

SCHEMA = object_of(
    {
        "names": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 5},
            "minItems": 1,
            "maxItems": 3,
            "description": "of services",
        },
        "mode": {"type": "string", "enum": ["fast", "slow"], "default": "fast"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "wait": {"type": "number", "minimum": 0, "maximum": 50},
        "dry": {"type": "boolean", "default": False},
    },
    required=("names",),
)


def test_defaults_are_filled_in() -> None:
    assert validated("t", SCHEMA, {"names": ["a"]}) == {
        "names": ["a"],
        "mode": "fast",
        "limit": 3,
        "dry": False,
    }


def test_what_clients_write_as_text_is_read() -> None:
    given_ = {"names": "a", "limit": "4", "wait": "1.5", "dry": "true"}
    assert validated("t", SCHEMA, given_) == {
        "names": ["a"],
        "mode": "fast",
        "limit": 4,
        "wait": 1.5,
        "dry": True,
    }
    assert validated("t", SCHEMA, {"names": ["a"], "limit": 4.0, "mode": None})["limit"] == 4


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ({}, "t needs the argument 'names'", "array: of services"),
        (None, "t needs the argument 'names'", "array: of services"),
        ([], "t: arguments is no object", ""),
        ({"name": ["a"]}, "t has no argument 'name'", "did you mean names?"),
        ({"zzz": 1}, "t has no argument 'zzz'", "it takes: names, mode, limit, wait, dry"),
        ({"names": []}, "t: names has 0 items", "1 to 3"),
        ({"names": ["a", 1]}, "t: names[1] is 1, which is no string", "string"),
        ({"names": ["toolong"]}, "t: names[0] has 7 characters", "string"),
        ({"names": ["a"], "mode": "fats"}, "t: mode is 'fats'", "one of fast, slow"),
        ({"names": ["a"], "limit": 10}, "t: limit is 10", "integer 1 to 9"),
        ({"names": ["a"], "limit": 1.5}, "t: limit is 1.5, which is no integer", "integer 1 to 9"),
        ({"names": ["a"], "limit": True}, "t: limit is True, which is no integer", "integer 1 to 9"),
        ({"names": ["a"], "wait": float("nan")}, "t: wait is nan", "number 0 to 50"),
        ({"names": ["a"], "wait": "soon"}, "t: wait is 'soon', which is no number", "number 0 to 50"),
        ({"names": ["a"], "dry": "perhaps"}, "t: dry is 'perhaps', which is no boolean", "boolean"),
        ({"names": {"a": 1}}, "t: names is {'a': 1}, which is no array", "array: of services"),
    ],
)
def test_what_does_not_fit_is_named(arguments: object, message: str, hint: str) -> None:
    with pytest.raises(ToolTrouble) as caught:
        validated("t", SCHEMA, arguments)
    assert (caught.value.message, caught.value.hint) == (message, hint)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["names", "mode", "limit", "wait", "dry", "x"]), JSON, max_size=5))
def test_whatever_is_taken_fits_the_schema(arguments: dict[str, object]) -> None:
    try:
        taken = validated("t", SCHEMA, arguments)
    except ToolTrouble:
        return
    jsonschema.Draft202012Validator(SCHEMA).validate(taken)


def test_a_number_that_no_machine_counts_is_refused_or_taken_as_it_is() -> None:
    huge = 10**400
    assert validated("t", object_of({"since": {"type": "integer", "minimum": 0}}), {"since": huge}) == {
        "since": huge
    }
    with pytest.raises(ToolTrouble, match="limit is"):
        validated("t", SCHEMA, {"names": ["a"], "limit": huge})
