import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.config.envfile import parse_env
from orchestra_supervisor.config.variables import expand
from tests.unit.config.config_testing import codes, only


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "1"),
        ("x${A}y${B}z", "x1y2z"),
        ("${NO:-default}", "default"),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY}", ""),
        ("${A:-default}", "1"),
        ("${NO:-}", ""),
        ("$${A}", "${A}"),
        ("$A $ 5$", "$A $ 5$"),
        ("${secret:db.password}", "${secret:db.password}"),
    ],
)
def test_variables_are_filled_in(text, expected):
    expansion = expand(text, {"A": "1", "B": "2", "EMPTY": ""})
    assert expansion.text == expected
    assert expansion.missing == expansion.malformed == ()


def test_what_cannot_be_filled_in_is_named():
    expansion = expand("${NO} ${A B} ${", {})
    assert expansion.missing == ("NO",)
    assert expansion.malformed == ("${A B}", "${")


@given(st.text())
def test_a_text_is_never_filled_in_twice(value):
    assert expand("<${A}>", {"A": value}).text == f"<{value}>"


@given(st.text())
def test_doubled_dollars_are_plain_dollars(text):
    assert expand(text.replace("$", "$$"), {}).text == text


def test_a_port_may_come_from_a_variable(load):
    result = load({"settings": {}, "services": {"a": {"command": ["x"], "port": "${P:-80}"}}})
    assert result.fleet.services["a"].port == 80
    result = load(
        {"settings": {}, "services": {"a": {"command": ["x"], "port": "${P:-80}", "enabled": "${E}"}}},
        P="81",
        E="no",
    )
    assert (result.fleet.services["a"].port, result.fleet.services["a"].enabled) == (81, False)


@pytest.mark.parametrize("value", ["x", "", "99999", "8e3"])
def test_a_port_from_a_variable_must_be_a_port(load, value):
    result = load({"settings": {}, "services": {"a": {"command": ["x"], "port": "${P}"}}}, P=value)
    assert [finding.field for finding in result.errors] == ["port"]


def test_an_unset_variable_is_an_error_at_its_place_with_the_way_out(load):
    finding = only(load({"settings": {}, "services": {"a": {"command": ["x", "${NO}"]}}}), "variable.unset")
    assert (finding.severity, finding.field, finding.service) == ("error", "command.1", "a")
    assert "${NO:-default}" in finding.hint


def test_a_malformed_variable_is_an_error(load):
    finding = only(
        load({"settings": {}, "services": {"a": {"command": ["x", "${A-b}"]}}}), "variable.malformed"
    )
    assert "$$" in finding.hint


def test_an_unset_variable_in_a_shell_line_is_only_noted(load):
    finding = only(
        load({"settings": {}, "services": {"a": {"command": "echo ${NO}"}}}), "variable.unset_in_shell"
    )
    assert finding.severity == "info"


def test_a_variable_has_the_value_that_the_service_sees(load, write):
    write("V=settings_file\nW=settings_file\nX=settings_file\nY=settings_file\n", "s.env")
    write("V=service_file\nW=service_file\n", "one.env")
    service = {
        "command": ["x", "${V} ${W} ${X} ${Y} ${Z}"],
        "env": {"V": "env"},
        "env_files": ["one.env"],
    }
    fleet = {
        "settings": {"environment": {"X": "settings"}, "env_files": ["s.env"]},
        "services": {"one": service},
    }
    spec = load(fleet, V="up", W="up", X="up", Y="up", Z="up").fleet.services["one"]
    assert spec.argv[1] == "env service_file settings settings_file up"
    assert spec.env == {"V": "env", "W": "service_file", "X": "settings", "Y": "settings_file"}


def test_an_entry_of_env_may_use_the_ones_above_it_and_what_it_covers(load_service):
    spec = load_service(env={"A": "1", "B": "${A}2", "HOME": "${HOME}/sub", "N": 5, "T": True})
    assert spec.env == {"A": "1", "B": "12", "HOME": "/home/somebody/sub", "N": "5", "T": "true"}


def test_names_of_env_files_are_relative_to_the_file_and_may_be_optional(load, write):
    write("A=1", "sub/x.env")
    body = {"command": ["x"], "env_files": ["${D}/x.env", "?missing.env"]}
    assert load({"settings": {}, "services": {"a": body}}, D="sub").fleet.services["a"].env == {"A": "1"}


def test_a_missing_env_file_is_an_error_that_says_how_to_make_it_optional(load):
    result = load(
        {
            "settings": {"env_files": ["no.env"]},
            "services": {"a": {"command": ["x"], "env_files": ["no.env"]}},
        }
    )
    findings = [finding for finding in result.errors if finding.code == "env_file.unreadable"]
    assert [finding.field for finding in findings] == ["settings.env_files.0", "env_files.0"]
    assert '"?no.env"' in findings[0].hint


def test_a_malformed_env_file_is_an_error_with_its_line(load, write):
    write("A=1\nnot an assignment\n", "x.env")
    finding = only(
        load({"settings": {}, "services": {"a": {"command": ["x"], "env_files": ["x.env"]}}}), "env_file.line"
    )
    assert finding.where[0].line == 2
    assert finding.where[0].path.endswith("x.env")


def test_env_files_are_read_in_their_common_form():
    text = r"""
# comment
A=plain value   # comment
B='single ${A} # no'
export C="double ${A} \"q\" \n \$x"
D=
E="two
lines"
F=a#b
G=${A}/${OUT:-none}
H = spaced
I=x
"""
    parsed = parse_env(text.replace("I=x\n", "I=x"), "f.env", {"OUTER": "o"})
    assert parsed.findings == []
    assert parsed.values == {
        "A": "plain value",
        "B": "single ${A} # no",
        "C": 'double plain value "q" \n $x',
        "D": "",
        "E": "two\nlines",
        "F": "a#b",
        "G": "plain value/none",
        "H": "spaced",
        "I": "x",
    }


@pytest.mark.parametrize("text", ["A='x", 'A="x', "A='x' y", "=x", "A=${NO}", "A=x\x00"])
def test_a_line_that_cannot_be_read_is_an_error_without_its_value(text):
    parsed = parse_env(text, "f.env", {})
    assert len(parsed.findings) == 1
    assert parsed.findings[0].where[0].line == 1


@given(st.text())
def test_no_env_file_makes_the_reader_raise_or_hang(text):
    parse_env(text, "f.env", {})


def test_secrets_stay_references(load):
    body = {
        "command": ["x"],
        "env": {"A": "secret:db", "B": "user:${secret:db}@h", "C": "${A}", "D": "x-${A}"},
        "secrets": {"E": "api.key"},
    }
    result = load({"settings": {}, "services": {"one": body}})
    assert codes(result) == []
    assert result.fleet.services["one"].env == {
        "A": "secret:db",
        "B": "user:${secret:db}@h",
        "C": "secret:db",
        "D": "x-${secret:db}",
        "E": "secret:api.key",
    }


@pytest.mark.parametrize(
    "body", [{"command": ["x", "secret:db"]}, {"command": "x ${secret:db}"}, {"url": "${T}"}]
)
def test_a_secret_where_others_could_read_it_is_an_error(load, body):
    service = {"command": ["x"], "env": {"T": "secret:db"}} | body
    assert only(load({"settings": {}, "services": {"one": service}}), "secret.exposed").severity == "error"
