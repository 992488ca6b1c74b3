import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.config.findings import Severity
from orchestra_supervisor.config.jsonc import MAX_DEPTH, parse

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=25,
)


def fault(text: str):
    document = parse(text, "f.json")
    assert document.root is None
    return document.findings[-1]


@given(values, st.sampled_from([None, 0, 2]), st.booleans())
def test_plain_json_reads_as_the_standard_library_reads_it(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    document = parse(text, "f.json")
    assert document.findings == []
    assert document.root is not None
    assert document.root.to_python() == json.loads(text)


@given(st.text() | st.text(alphabet='{}[]",:/*\\ntrue01.-e \n'))
def test_no_text_makes_the_parser_raise(text):
    document = parse(text, "f.json")
    assert document.root is not None or document.findings[-1].severity is Severity.ERROR
    for finding in document.findings:
        for place in finding.where:
            assert 1 <= place.line <= text.count("\n") + 1
            assert place.column >= 1


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \n\\u', max_size=30))
def test_whatever_the_standard_library_refuses_is_refused_unless_it_is_an_extension(text):
    document = parse(text, "f.json")
    try:
        expected = json.loads(text)
    except ValueError:
        trailing_commas = [finding for finding in document.findings if finding.code == "json.trailing_comma"]
        assert document.root is None or trailing_commas
    else:
        if document.root is None:  # the standard library takes these, RFC 8259 and UTF-8 do not
            assert "surrogate" in document.findings[-1].message
        elif not (isinstance(expected, float) and math.isnan(expected)):
            assert document.root.to_python() == expected


def test_positions_count_lines_and_characters_from_one():
    document = parse('{\n  "é": [1,\n   {"b": true}]\n}', "f.json")
    assert document.root is not None
    inner = document.root.members["é"].items[1].members["b"]
    assert (inner.line, inner.column) == (3, 10)
    assert (inner.key_location.line, inner.key_location.column) == (3, 5)
    assert str(inner.location) == "f.json:3:10"


def test_comments_of_both_kinds_may_stand_anywhere():
    text = '// first\n{ /* a */ "a" /* b */ : // c\n 1, /* "x": 2, */ "b": "// no comment" }// last'
    document = parse(text, "f.json")
    assert document.findings == []
    assert document.root is not None
    assert document.root.to_python() == {"a": 1, "b": "// no comment"}


def test_a_byte_order_mark_is_skipped():
    document = parse('\ufeff{"a": 1}', "f.json")
    assert document.root is not None
    assert document.root.members["a"].key_location.column == 2


def test_trailing_commas_are_read_and_reported():
    document = parse('{"a": [1, 2,],\n}', "f.json")
    assert document.root is not None
    assert document.root.to_python() == {"a": [1, 2]}
    assert [(f.severity, f.where[0].line, f.where[0].column) for f in document.findings] == [
        ("warning", 1, 12),
        ("warning", 1, 14),
    ]


def test_a_duplicate_key_names_both_lines():
    document = parse('{\n"port": 1,\n"x": {},\n"port": 2}', "f.json")
    (finding,) = document.findings
    assert finding.severity is Severity.ERROR
    assert [place.line for place in finding.where] == [4, 2]
    assert "'port'" in finding.message


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("", 1, 1, "empty", "services"),
        ("  // only a comment", 1, 20, "empty", "services"),
        ('{"a": 1\n "b": 2}', 2, 2, "expected ',' or '}' after the value of 'a'", "line 1, column 1"),
        ('{"a" 1}', 1, 6, "expected ':'", ""),
        ("{a: 1}", 1, 2, "expected a key", "double quotes"),
        ("{'a': 1}", 1, 2, "expected a key", "double quotes"),
        ("# no\n{}", 1, 1, "expected a value", "//"),
        ('{"a": 1, # no\n}', 1, 10, "expected a key", "//"),
        ('{"a": True}', 1, 7, "expected a value for 'a'", "true"),
        ('{"a": 01}', 1, 7, "not a valid number", "zeros"),
        ('{"a": +1}', 1, 7, "not a valid number", ""),
        ('{"a": "x}', 1, 7, "not closed", "close it"),
        ('{"a": "x\ny"}', 1, 7, "line break", "\\n"),
        (r'{"a": "\x41"}', 1, 8, "escape", "\\\\"),
        (r'{"a": "\ud83d"}', 1, 7, "surrogate", ""),
        ('{"a": 1}}', 1, 9, "end of the file", ""),
        ('{"a": [1, 2', 1, 12, "found the end of the file", "line 1, column 7"),
        ("/* x", 1, 1, "comment is not closed", "*/"),
        ("[NaN]", 1, 2, "expected a value", ""),
        ("\x00\x01", 1, 1, "U+0000", ""),
        ("[" + "9" * 5000 + "]", 1, 2, "too many digits", ""),
    ],
)
def test_a_syntax_error_says_where_and_what_was_expected(text, line, column, message, hint):
    finding = fault(text)
    assert (finding.where[0].line, finding.where[0].column) == (line, column)
    assert message in finding.message
    assert hint in finding.hint


def test_an_unquoted_value_is_not_repeated_since_it_may_be_a_secret():
    finding = fault('{"token": hunter2}')
    assert "hunter2" not in "\n".join(finding.render())


def test_deep_nesting_is_refused_and_not_a_crash():
    assert "nested deeper" in fault("[" * 100_000).message
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse(deepest, "f.json").root is not None


def test_two_thousand_services_are_parsed_in_good_time():
    service = {
        "command": ["/usr/bin/python3", "-m", "x"],
        "env": {"A": "b"},
        "restart": {"policy": "always"},
        "n": 1.5,
    }
    text = json.dumps(
        {"services": {f"s{i}": service | {"description": "x" * 300} for i in range(2000)}}, indent=2
    )
    started = time.perf_counter()
    assert parse(text, "f.json").root is not None
    assert time.perf_counter() - started < 1.5 * 4  # four times the bound: the machine is shared
