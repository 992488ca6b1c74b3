"""What servers list is made fit to be shown, entry by entry."""

import pytest

from orchestra_supervisor.gateway.catalog.hygiene import Malformed, clean_prompt, clean_text, clean_tool
from orchestra_supervisor.gateway.messages import Json


@pytest.mark.parametrize(
    ("words", "clean"),
    [
        ("plain, with ünïcode\nand\ttabs", "plain, with ünïcode\nand\ttabs"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("bidi\u202eevil\u2066", "bidievil"),
        ("tags\U000e0041\U000e007f", "tags"),
        ("bell\x07\x1b[31mred", "bell[31mred"),
        ("a<!-- hidden\norders -->b", "ab"),
        ("a<!-- never closed", "a"),
    ],
)
def test_what_a_person_does_not_see_is_taken_out(words: str, clean: str) -> None:
    assert clean_text(words) == clean


def test_descriptions_in_schemas_are_cleaned_and_the_rest_is_passed_on() -> None:
    raw: Json = {
        "name": "t",
        "title": 7,
        "description": "d\u200b",
        "future": {"x": [1, "\u200b"]},
        "inputSchema": {
            "properties": {"a": {"description": "p\u200b", "enum": ["\u200b"]}},
            "required": ["a"],
        },
    }
    assert clean_tool(raw) == {
        "name": "t",
        "description": "d",
        "future": {"x": [1, "\u200b"]},
        "inputSchema": {
            "type": "object",
            "properties": {"a": {"description": "p", "enum": ["\u200b"]}},
            "required": ["a"],
        },
    }
    assert raw["description"] == "d\u200b"


def deep(levels: int) -> Json:
    schema: Json = {}
    for _ in range(levels):
        schema = {"allOf": [schema]}
    return {"type": "object", **schema}


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ({}, "it has no name"),
        ({"name": ""}, "it has no name"),
        ({"name": "t"}, "its inputSchema is not an object"),
        ({"name": "t", "inputSchema": "nonsense"}, "its inputSchema is not an object"),
        ({"name": "t", "inputSchema": {"type": "string"}}, "its inputSchema is not of type object"),
        (
            {"name": "t", "inputSchema": {"properties": []}},
            "the properties of its inputSchema are not an object",
        ),
        (
            {"name": "t", "inputSchema": {"properties": {"a": 1}}},
            "property 'a' of its inputSchema is not a schema",
        ),
        (
            {"name": "t", "inputSchema": {"required": "a"}},
            "what its inputSchema requires is not a list of names",
        ),
        ({"name": "t", "inputSchema": {}, "outputSchema": []}, "its outputSchema is not an object"),
        ({"name": "t", "inputSchema": deep(200)}, "its schema is more than 64 levels deep"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_its_reason(tool: Json, why: str) -> None:
    with pytest.raises(Malformed) as caught:
        clean_tool(tool)
    assert str(caught.value) == why


def test_a_prompt_with_nameless_arguments_is_refused() -> None:
    assert clean_prompt({"name": "p", "arguments": [{"name": "a"}]})["name"] == "p"
    with pytest.raises(Malformed, match="not a list of named ones"):
        clean_prompt({"name": "p", "arguments": [{}]})
