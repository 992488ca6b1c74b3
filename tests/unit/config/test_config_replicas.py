"""One description with `replicas` becomes several services, each with its number put in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.config.check import check
from orchestra_supervisor.config.load import load_fleet
from orchestra_supervisor.config.placeholders import fill_replica
from orchestra_supervisor.model.replicas import GroupSpec
from orchestra_supervisor.model.spec import HttpCheck, TcpCheck
from tests.unit.config.config_testing import codes, only
from tests.unit.config.conftest import ENVIRON

WEB = {
    "command": ["serve", "{8000+replica}", '{"a":{"b":"{x}"}}'],
    "replicas": 3,
    "cwd": "data/{replica}",
    "env": {"ME": "w{replica}", "LIST": "{{replica}}"},
    "port": "{8000+replica}",
    "url": "http://localhost:{8000+replica}/",
    "probes": {
        "readiness": {"http": "http://127.0.0.1:{8000+replica}/up"},
        "liveness": {"tcp": "{8000+replica}"},
    },
    "log": {"max_bytes": "{replica}MB", "backups": "{replica}"},
}


def test_each_replica_is_a_service_with_its_number_in_every_text(load, tmp_path):
    result = load({"services": {"web": WEB}})
    assert result.errors == ()
    assert list(result.fleet.services) == ["web@1", "web@2", "web@3"]
    assert result.fleet.groups == {"web": GroupSpec(configured=3, count=3)}
    spec = result.fleet.services["web@2"]
    assert spec.argv == ("serve", "8002", '{"a":{"b":"{x}"}}')
    assert (spec.cwd, spec.port, spec.url) == (str(tmp_path / "data/2"), 8002, "http://localhost:8002/")
    assert spec.env == {"ME": "w2", "LIST": "{replica}", "ORCHESTRA_REPLICA": "2"}
    assert spec.probes.readiness
    assert spec.probes.readiness.check == HttpCheck(url="http://127.0.0.1:8002/up")
    assert spec.probes.liveness
    assert spec.probes.liveness.check == TcpCheck(port=8002)
    assert (spec.log.max_bytes, spec.log.backups) == (2 * 1024**2, 2)
    assert spec.replica
    assert (spec.replica.group, spec.replica.number, spec.replica.count) == ("web", 2, 3)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{replica}", "7"),
        ("{8000+replica}", "8007"),
        ("{8000+10*replica}", "8070"),
        ("{2*replica-1}", "13"),
        ("{100-replica}", "93"),
        ("{{replica}}", "{replica}"),
        ("{{8000+replica}}", "{8000+replica}"),
        ("${replica}", "${replica}"),
        ("{replica }", "{replica }"),
        ("{replicas}", "{replicas}"),
        ("{replica*replica}", "{replica*replica}"),
        ('{"a":{replica}}', '{"a":7}'),
    ],
)
def test_a_number_is_put_in_where_the_word_stands_alone_or_in_a_sum(text, filled):
    assert fill_replica(text, 7) == filled


@given(st.text(alphabet='{}$+-*replica0123456789 "'), st.integers(1, 1000))
def test_texts_without_the_word_in_braces_stay_as_they_are(text, number):
    assert fill_replica(text.replace("replica", ""), number) == text.replace("replica", "")


def test_braces_stay_as_they_are_where_there_are_no_replicas(load_service):
    assert load_service(command=["x", "{replica}", "{{y}}"]).argv == ("x", "{replica}", "{{y}}")


def test_variables_are_filled_in_before_the_sum_is_made(load):
    result = load(
        {"services": {"web": {"command": "x", "replicas": "${N:-2}", "port": "{${BASE}+replica}"}}},
        BASE="9000",
    )
    assert result.errors == ()
    assert [spec.port for spec in result.fleet.services.values()] == [9001, 9002]


def test_each_replica_reads_an_env_file_of_its_own(load, write):
    write("NAME=first\n", "1.env")
    write("NAME=second\n", "2.env")
    result = load({"services": {"web": {"command": "x", "replicas": 2, "env_files": ["{replica}.env"]}}})
    assert [spec.env["NAME"] for spec in result.fleet.services.values()] == ["first", "second"]


def test_two_replicas_on_one_port_are_an_error_where_the_port_stands(load):
    result = load('{"services": {"web": {"command": "x", "replicas": 3,\n "port": 8080}}}')
    finding = only(result, "replica.port_twice")
    assert finding.where[0].line == 2
    assert "web@1 and web@2" in finding.message
    assert finding.hint == 'give each its own, with a sum like "{8079+replica}"'
    assert codes(result).count("drift.port_twice") + codes(result).count("drift.two_ids") == 0


def test_replicas_that_are_handed_sockets_need_one_each(load):
    web = {"command": "x", "replicas": 2, "port": 8080}
    each = load({"services": {"web": web | {"sockets": {"http": "127.0.0.1:{8000+replica}"}}}})
    assert codes(each) == []
    same = load({"services": {"web": web | {"sockets": {"http": 8080}}}})
    finding = only(same, "replica.port_twice")
    assert (finding.field, "127.0.0.1:8080" in finding.message) == ("sockets.http", True)


def test_a_fault_is_told_once_and_not_by_every_replica(load):
    result = load({"services": {"web": {"command": "x", "replicas": 50, "colour": "red"}}})
    assert codes(result) == ["key.unknown"]
    late = load({"services": {"web": {"command": "x", "replicas": 5, "port": "{65533+replica}"}}})
    assert [(one.service, one.field) for one in late.errors] == [("web@3", "port")]
    assert late.fleet.services == {}


def test_what_this_host_lacks_is_told_once(write):
    path = write({"services": {"web": {"command": ["/nowhere/x"], "replicas": 4}}})
    report = check([path], environ=ENVIRON)
    assert [one.code for one in report.findings] == ["command.missing"]


def test_a_dependency_on_the_name_is_one_on_every_replica(load):
    web = {"command": "x", "replicas": 2}
    api = {"command": "x", "depends_on": {"web": {"condition": "started", "on_failure": "stop"}}}
    result = load({"services": {"api": api, "web": web}})
    assert result.errors == ()
    needs = result.fleet.services["api"].depends_on
    assert list(needs) == ["web@1", "web@2"]
    assert {(need.condition, need.on_failure) for need in needs.values()} == {("started", "stop")}


def test_replicas_may_be_paired(load):
    both = {"command": "x", "replicas": 2}
    result = load({"services": {"db": both, "web": both | {"depends_on": ["db@{replica}"]}}})
    assert result.errors == ()
    assert [list(spec.depends_on) for name, spec in result.fleet.services.items() if name[0] == "w"] == [
        ["db@1"],
        ["db@2"],
    ]


def test_an_unknown_dependency_and_a_circle_through_replicas_are_found(load):
    both = {"command": "x", "replicas": 3}
    result = load({"services": {"web": both | {"depends_on": ["dbb"]}, "db": both}})
    assert only(result, "dependency.unknown").hint == "did you mean 'db'?"
    circle = load({"services": {"web": both | {"depends_on": ["db"]}, "db": both | {"depends_on": ["web"]}}})
    assert "dependency.cycle" in codes(circle)


def test_no_replicas_are_wanted_and_the_name_is_known_all_the_same(load):
    result = load(
        {"services": {"web": {"command": "x", "replicas": 0}, "api": {"command": "x", "depends_on": ["web"]}}}
    )
    assert result.errors == ()
    assert result.fleet.groups["web"].count == 0
    assert list(result.fleet.services) == ["api"]
    assert result.fleet.services["api"].depends_on == {}
    faulty = load({"services": {"web": {"command": "x", "replicas": 0, "nice": 99}}})
    assert [one.field for one in faulty.errors] == ["nice"]


def test_a_live_number_holds_until_the_file_says_another(load, write):
    path = write({"services": {"web": {"command": "x", "replicas": 3}}})
    live = {"web": GroupSpec(configured=3, count=5)}
    assert len(load_fleet([path], environ=ENVIRON, live=live).fleet.services) == 5
    live = {"web": GroupSpec(configured=2, count=5)}
    fleet = load_fleet([path], environ=ENVIRON, live=live).fleet
    assert fleet.groups["web"] == GroupSpec(configured=3, count=3)


@pytest.mark.parametrize(
    ("services", "code", "field"),
    [
        ({"web": {"command": "x", "replicas": 1001}}, "value.invalid", "replicas"),
        ({"web": {"command": "x", "replicas": -1}}, "value.invalid", "replicas"),
        ({"web": {"command": "x", "replicas": "three"}}, "value.type", "replicas"),
        ({"web": {"command": "x", "replicas": "${NONE}"}}, "variable.unset", "replicas"),
        ({"web": {"command": "x", "replicas": 2, "update": "slow"}}, "value.invalid", "update"),
        ({"web": {"command": "x", "update": "rolling"}}, "replica.update", "update"),
        ({"a@b": {"command": "x", "replicas": 2}}, "replica.name", ""),
        ({"web": {"command": "x", "replicas": 2}, "web@2": {"command": "x"}}, "replica.name_taken", ""),
        ({name: {"command": "x", "replicas": 700} for name in "abc"}, "replica.too_many", "replicas"),
    ],
)
def test_what_cannot_be_is_an_error_with_its_place_and_a_way_out(load, services, code, field):
    finding = only(load({"services": services}), code)
    assert finding.severity == "error"
    assert finding.field == field
    assert finding.where[0].line > 1
    assert finding.hint


def test_of_two_files_the_more_explicit_one_is_believed_as_a_whole(load, write):
    native = write({"$schema": "x", "services": {"web": {"command": "x", "replicas": 2}}})
    other = write({"services": {"web": {"command": "y", "health_check": "http://localhost:1/"}}}, "b.json")
    result = load_fleet([other, native], environ=ENVIRON)
    assert list(result.fleet.services) == ["web@1", "web@2"]
    assert only(result, "drift.command").service == "web@1"
    none = write({"$schema": "x", "services": {"web": {"command": "x", "replicas": 0}}}, "c.json")
    assert load_fleet([other, none], environ=ENVIRON).fleet.services == {}
