"""Edits of clients' files: whatever is there stays as it is."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestra_supervisor.cli.mcp.jsontext import JsonText
from orchestra_supervisor.model.errors import ConfigError

ENTRY = {"command": "/p", "args": ["-I"]}
KEYS = ("mcpServers", "orchestra")


def edited(text: str) -> str:
    return JsonText(text, "f.json").with_member(KEYS, ENTRY).text


def test_comments_indentation_and_trailing_commas_stay() -> None:
    before = """\
// mine
{
\t"other": [1,   2], /* kept */
\t"mcpServers": {
\t\t// the first
\t\t"a": {"command": "x"}, // at its side
\t\t/* "off": {}, */
\t},
\t"last": 1e5, // end
}
"""
    after = """\
// mine
{
\t"other": [1,   2], /* kept */
\t"mcpServers": {
\t\t// the first
\t\t"a": {"command": "x"}, // at its side
\t\t"orchestra": {
\t\t\t"command": "/p",
\t\t\t"args": [
\t\t\t\t"-I"
\t\t\t]
\t\t},
\t\t/* "off": {}, */
\t},
\t"last": 1e5, // end
}
"""
    assert edited(before) == after
    assert JsonText(after, "f.json").without_member(KEYS).text == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "mcpServers": {\n    "orchestra": 1\n  }\n}\n'),
        (" \n", '{\n  "mcpServers": {\n    "orchestra": 1\n  }\n}\n'),
        ("{}", '{\n  "mcpServers": {\n    "orchestra": 1\n  }\n}'),
        ('{"mcpServers":{}}', '{"mcpServers":{\n  "orchestra": 1\n}}'),
        ('{"mcpServers": {"a": {}}}', '{"mcpServers": {"a": {}, "orchestra": 1}}'),
        ('{"mcpServers": {"a": {},}}', '{"mcpServers": {"a": {}, "orchestra": 1}}'),
        ('{"a": 1}', '{"a": 1, "mcpServers": {"orchestra": 1}}'),
        (
            '{\r\n    "mcpServers": {\r\n        "a": 2 }\r\n}',
            '{\r\n    "mcpServers": {\r\n        "a": 2,\r\n        "orchestra": 1 }\r\n}',
        ),
        (
            '{\n  "mcpServers": {\n    // none yet\n  }\n}',
            '{\n  "mcpServers": {\n    // none yet\n    "orchestra": 1\n  }\n}',
        ),
        (
            '{\n "mcpServers": {"orchestra": {"old": [1, "}"]}} // x\n}',
            '{\n "mcpServers": {"orchestra": 1} // x\n}',
        ),
        (
            '{"mcpServers": {"a": "//}", "b": 1 /* , */ }}',
            '{"mcpServers": {"a": "//}", "b": 1, "orchestra": 1 /* , */ }}',
        ),
    ],
)
def test_a_member_is_put_in_as_the_file_is_written(before: str, after: str) -> None:
    assert JsonText(before, "f.json").with_member(KEYS, 1).text == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"a": 1, "orchestra": 2, "b": 3}', '{"a": 1, "b": 3}'),
        ('{"orchestra": 2, "b": 3}', '{"b": 3}'),
        ('{"a": 1, "orchestra": 2}', '{"a": 1}'),
        ('{"a": 1, "orchestra": 2,}', '{"a": 1, }'),
        ('{ "orchestra": {"x": 1} }', "{}"),
        ('{\n  "a": 1,\n  "orchestra": 2 // ours\n}', '{\n  "a": 1\n}'),
        ('{\n  "orchestra": 2, // ours\n  // theirs\n  "a": 1\n}', '{\n  // theirs\n  "a": 1\n}'),
        ('{\n  // kept\n  "orchestra": 2\n}', "{\n  // kept\n}"),
        ('{\n  "a": 1\n  , "orchestra": 2\n}', '{\n  "a": 1\n  \n}'),
    ],
)
def test_a_member_is_taken_out_with_its_line_and_comma(before: str, after: str) -> None:
    assert JsonText(before, "f.json").without_member(("orchestra",)).text == after


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n  "a": 1,,\n}', "f.json:2:10"),
        ('{"a": 1', "f.json:1:8"),
        ("[]", "f.json:1:1"),
        ('{"mcpServers": {"a": 1,\n "a": 2}}', "f.json:2:2"),
        ("{'a': 1}", "f.json:1:2"),
    ],
)
def test_a_malformed_file_is_refused_with_the_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        JsonText(text, "f.json")
    assert caught.value.message.startswith(f"{place}: ")


def test_what_the_client_itself_cannot_read_is_refused_for_it() -> None:
    with pytest.raises(ConfigError) as caught:
        JsonText('{\n  "a": 1, // no\n}', "f.json", is_strict=True)
    assert caught.value.message.startswith("f.json:2:")


def test_servers_that_are_no_object_are_left_alone() -> None:
    with pytest.raises(ConfigError, match=r"f\.json:1:16: 'mcpServers' has to be an object, and is array"):
        edited('{"mcpServers": []}')


def test_the_same_entry_again_changes_nothing() -> None:
    once = JsonText(edited('{"mcpServers": {"a":1}}'), "f.json")
    assert once.with_member(KEYS, dict(ENTRY)) is once


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FILES = st.fixed_dictionaries(
    {"mcpServers": st.dictionaries(st.text(max_size=6), VALUES, max_size=3)}, optional={"x": VALUES}
)


@given(FILES, st.sampled_from([None, 1, 2, "\t"]), st.sampled_from(["\n", "\r\n"]), st.data())
@example({"mcpServers": {}}, 2, "\n", None)
def test_of_any_file_only_that_member_changes(
    content: dict[str, Any], indent: Any, newline: str, data: Any
) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=False).replace("\n", newline)
    put = JsonText(text, "f.json").with_member(KEYS, ENTRY)
    wanted = {**content, "mcpServers": {**content["mcpServers"], "orchestra": ENTRY}}
    assert json.loads(put.text) == wanted
    assert list(json.loads(put.text)["mcpServers"]) == list(wanted["mcpServers"])
    if "orchestra" not in content["mcpServers"] and content["mcpServers"]:
        taken = put.without_member(KEYS)
        assert taken.text.split() == text.split()
    if data is not None and content["mcpServers"]:
        gone = data.draw(st.sampled_from(sorted(content["mcpServers"])))
        left = JsonText(text, "f.json").without_member(("mcpServers", gone))
        assert json.loads(left.text)["mcpServers"] == {
            key: value for key, value in content["mcpServers"].items() if key != gone
        }
