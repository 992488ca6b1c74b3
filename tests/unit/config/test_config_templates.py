"""Templates: values put in, the service's keys laid over, and every finding at the place that was written."""

import pytest

from orchestra_supervisor.config.placeholders import fill_values
from tests.unit.config.config_testing import codes, only


def fleet(template: dict[str, object], **services: object) -> dict[str, object]:
    return {"templates": {"worker": template}, "services": services}


def test_values_are_put_into_every_text_and_may_be_read_as_numbers(load):
    template = {
        "command": ["work", "{queue}", '{"a":{"b":1}}'],
        "env": {"Q": "x-{queue}-y"},
        "port": "{port}",
        "enabled": "{on}",
        "probes": {"readiness": {"http": "http://localhost:{port}/"}},
    }
    one = {"template": "worker", "values": {"queue": "mail", "port": 8001, "on": True}}
    result = load(fleet(template, one=one))
    assert codes(result) == []
    spec = result.fleet.services["one"]
    assert spec.argv == ("work", "mail", '{"a":{"b":1}}')
    assert (spec.port, spec.enabled, spec.env["Q"]) == (8001, True, "x-mail-y")


def test_the_services_keys_are_laid_over_objects_by_key_and_all_else_as_a_whole(load):
    template = {
        "command": ["work"],
        "env": {"A": "1", "B": "2"},
        "tags": ["x", "y"],
        "restart": {"policy": "always", "max_restarts": 7},
        "port": 80,
    }
    one = {
        "template": "worker",
        "env": {"B": "3"},
        "tags": ["z"],
        "restart": {"max_restarts": 1},
        "port": None,
    }
    spec = load(fleet(template, one=one)).fleet.services["one"]
    assert spec.env == {"A": "1", "B": "3"}
    assert spec.tags == ("z",)
    assert (spec.restart.policy, spec.restart.max_restarts) == ("always", 1)
    assert spec.port is None


def test_a_template_has_values_of_its_own_for_those_who_say_nothing(load):
    template = {"command": ["work", "{level}"], "values": {"level": "info"}}
    services = load(
        fleet(template, one={"template": "worker"}, two={"template": "worker", "values": {"level": "debug"}})
    ).fleet.services
    assert [spec.argv[1] for spec in services.values()] == ["info", "debug"]


def test_values_may_hold_variables_and_texts_of_services_without_a_template_stay(load):
    services = load(
        fleet(
            {"command": ["work", "{where}"]},
            one={"template": "worker", "values": {"where": "${HOME}/x"}},
            two={"command": ["echo", "{where}"]},
        )
    ).fleet.services
    assert services["one"].argv[1] == "/home/somebody/x"
    assert services["two"].argv[1] == "{where}"


def test_a_template_may_be_of_replicas(load):
    template = {"command": ["work", "{queue}-{replica}"], "replicas": "{n}", "port": "{{base}+replica}"}
    one = {"template": "worker", "values": {"queue": "mail", "n": 2, "base": 9000}}
    result = load(fleet(template, one=one))
    assert codes(result) == []
    assert [spec.argv[1] for spec in result.fleet.services.values()] == ["mail-1", "mail-2"]
    assert [spec.port for spec in result.fleet.services.values()] == [9001, 9002]


@pytest.mark.parametrize(
    ("text", "filled", "unknown"),
    [
        ("{a}{b}", "1{b}", ("b",)),
        ("{{a}}", "{a}", ()),
        ("{{{a}}}", "{{a}}", ()),
        ("${a} {a}", "${a} 1", ()),
        ("{replica} {{replica}}", "{replica} {{replica}}", ()),
        ("{ a } {a-b} {}", "{ a } {a-b} {}", ()),
        ('{"a": {"b": {}}}', '{"a": {"b": {}}}', ()),
    ],
)
def test_known_words_alone_are_touched(text, filled, unknown):
    result = fill_values(text, {"a": "1"})
    assert (result.text, result.unknown) == (filled, unknown)


def test_an_unknown_word_is_told_once_and_stays(load):
    one = {"template": "worker"}
    result = load(fleet({"command": ["awk", "{print}"]}, one=one, two=one))
    finding = only(result, "template.unknown_word")
    assert (finding.severity, finding.hint) == ("info", "write {{print}} if it is meant so")
    assert result.fleet.services["one"].argv == ("awk", "{print}")


@pytest.mark.parametrize(
    ("template", "one", "code", "hint"),
    [
        ({"command": "x"}, {"template": "wroker"}, "template.unknown", "did you mean 'worker'?"),
        ({"command": "x"}, {"command": "x", "values": {"a": "1"}}, "key.missing", ""),
        (
            {"command": ["{q}"]},
            {"template": "worker", "values": {"qq": "1"}},
            "template.value_unused",
            "did you",
        ),
        (
            {"command": ["x"]},
            {"template": "worker", "values": {"q": "1"}},
            "template.value_unused",
            "take it out",
        ),
        (
            {"command": "x"},
            {"template": "worker", "values": {"replica": 1}},
            "template.value_reserved",
            "choose",
        ),
        ({"command": "x", "template": "worker"}, {"template": "worker"}, "template.nested", "stands alone"),
        ({"comand": "x"}, {"command": "x"}, "key.unknown", "did you mean 'command'?"),
        ({"command": "x"}, {"template": "worker", "values": ["a"]}, "value.type", ""),
        ({"command": "x"}, {"template": 5}, "value.type", ""),
    ],
)
def test_what_cannot_be_is_an_error_with_its_place_and_a_way_out(load, template, one, code, hint):
    result = load(fleet(template, one=one))
    finding = next(one for one in result.errors if one.code == code)
    assert finding.where[0].line > 1
    assert hint in finding.hint


def test_a_value_that_others_give_is_missing_where_one_does_not(load):
    text = """{"templates": {"worker": {
  "command": ["work", "{queue}"]}},
 "services": {
  "one": {"template": "worker", "values": {"queue": "a"}},
  "two": {"template": "worker"}}}"""
    finding = only(load(text), "template.value_missing")
    assert [place.line for place in finding.where] == [2, 5], "the template's line and the service's"
    assert finding.service == "two"
    assert "{queue}" in finding.message


def test_a_fault_of_a_value_names_the_line_of_the_template_and_of_the_service(load):
    text = """{"templates": {"worker": {"command": ["work"],
  "nice": 99}},
 "services": {
  "one": {"template": "worker"},
  "two": {"template": "worker",
   "nice": 98}}}"""
    lines = [[place.line for place in finding.where] for finding in load(text).errors]
    assert lines == [[2, 4], [6]]


def test_templates_that_are_no_objects_are_errors(load):
    assert only(load({"templates": [], "services": {}}), "value.type").field == "templates"
    assert only(load({"templates": {"a": 1}, "services": {}}), "value.type").field == "a"


def test_a_service_that_a_fault_of_its_template_takes_out_is_known_to_those_who_need_it(load):
    result = load(
        fleet(
            {"command": ["x"]},
            one={"template": "worker", "values": {"q": "1"}},
            two={"command": ["y"], "depends_on": ["one"]},
        )
    )
    assert codes(result) == ["template.value_unused"]
