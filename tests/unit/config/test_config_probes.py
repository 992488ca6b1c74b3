"""Probes over Unix sockets, of gRPC servers, and of lines in a log, as they are written."""

import json

import pytest

from orchestra_supervisor.config.drift import health_url
from orchestra_supervisor.config.resolve import service_ports
from orchestra_supervisor.model.checks import GrpcCheck, LogCheck
from orchestra_supervisor.model.spec import HttpCheck
from orchestra_supervisor.systemd.service_unit import _check_text
from tests.unit.config.config_testing import only


def test_an_http_probe_may_go_to_a_unix_socket_in_the_folder_of_its_file(load_service, tmp_path):
    http = {"url": "http://localhost:81/health", "unix": "run/../s.sock"}
    spec = load_service(probes={"readiness": {"http": http}}, cwd="/srv")
    check = spec.probes.readiness.check
    assert check == HttpCheck(url="http://localhost:81/health", unix=str(tmp_path / "s.sock"))
    assert service_ports([spec]) == {}, "nobody listens on the port of the URL"
    assert health_url(spec) is None, "and nobody can open it"
    assert _check_text(spec.probes.readiness) == f"http GET http://localhost:81/health at {tmp_path}/s.sock"


@pytest.mark.parametrize(
    ("written", "check", "text"),
    [
        (50051, GrpcCheck(port=50051), "grpc 127.0.0.1:50051"),
        ("db:1", GrpcCheck(host="db", port=1), "grpc db:1"),
        ({"port": 2, "service": "model"}, GrpcCheck(port=2, service="model"), "grpc 127.0.0.1:2"),
        ({"unix": "/run/s"}, GrpcCheck(unix="/run/s"), "grpc /run/s"),
    ],
)
def test_a_grpc_probe_takes_a_port_an_address_or_a_socket(load_service, written, check, text):
    probe = load_service(probes={"liveness": {"grpc": written}}).probes.liveness
    assert probe.check == check
    assert _check_text(probe) == text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "must have a port or a unix socket"),
        ({"port": 1, "unix": "/s"}, "must have a port or a unix socket, not both"),
        ({"host": "h", "unix": "/s"}, "must not have a host with a unix socket"),
    ],
)
def test_a_grpc_probe_has_one_address(load, written, said):
    body = {"command": ["x"], "probes": {"readiness": {"grpc": written}}}
    finding = only(load({"services": {"one": body}}), "value.invalid")
    assert f"`probes.readiness.grpc` {said}" in finding.message


@pytest.mark.parametrize(
    ("written", "check"),
    [
        (r"listening on \d+", LogCheck(pattern=r"listening on \d+")),
        ({"pattern": "^up", "stream": "stderr"}, LogCheck(pattern="^up", stream="stderr")),
    ],
)
@pytest.mark.parametrize("kind", ["startup", "readiness"])
def test_a_log_probe_takes_a_pattern_or_an_object(load_service, kind, written, check):
    probe = getattr(load_service(probes={kind: {"log": written, "timeout": "1s"}}).probes, kind)
    assert (probe.check, probe.timeout) == (check, 1.0)
    assert _check_text(probe) == f"log line {check.pattern!r}"


def test_a_bad_pattern_is_an_error_of_its_line(load):
    probes = '{"readiness": {\n"log": {\n"pattern": "up ("}}}'
    text = f'{{"services": {{"one": {{"command": ["x"], "probes": {probes}}}}}}}'
    finding = only(load(text), "value.invalid")
    assert "`probes.readiness.log.pattern` is not a regular expression: missing )" in finding.message
    assert finding.where[0].line == 3


def test_a_log_probe_is_no_liveness_probe(load):
    body = {"command": ["x"], "probes": {"liveness": {"log": "up"}}}
    finding = only(load({"services": {"one": body}}), "value.invalid")
    assert "`probes.liveness` must not look for a line of the log" in finding.message
    assert finding.hint == "make it startup or readiness; check liveness by http, tcp, grpc or command"


def test_a_probe_has_one_check(load):
    body = {"command": ["x"], "probes": {"readiness": {"log": "up", "grpc": 1}}}
    finding = only(load({"services": {"one": body}}), "value.invalid")
    known = "http, tcp, grpc, log, command and plugin"
    assert f"must have exactly one of {known}, not grpc and log" in finding.message


def test_checks_outlive_their_spec_as_json(load_service):
    spec = load_service(probes={"startup": {"log": "up"}, "readiness": {"grpc": 1}})
    assert type(spec).model_validate_json(json.dumps(spec.model_dump(mode="json"))) == spec
