"""Commands, sockets, readiness by its own word, limits: as they are written, and what they come to."""

import json

import pytest

from orchestra_supervisor.config.load import LoadResult, load_fleet
from orchestra_supervisor.model.equipment import HookSpec, SocketSpec
from orchestra_supervisor.model.spec import ServiceSpec


@pytest.fixture
def load(tmp_path):
    def write(**service: object) -> LoadResult:
        text = json.dumps({"services": {"web": {"command": ["x"], **service}}}, indent=1)
        (tmp_path / "orchestra.json").write_text(text, encoding="utf-8")
        return load_fleet([tmp_path / "orchestra.json"], environ={"WORD": "w", "PORT": "7001"})

    return write


@pytest.fixture
def spec(load):
    def read(**service: object) -> ServiceSpec:
        result = load(**service)
        assert result.errors == (), result.errors
        return result.fleet.services["web"]

    return read


def test_a_command_of_a_run_is_a_line_a_vector_or_an_object(spec):
    web = spec(
        pre_start=["echo ${WORD}", ["tool", "${WORD}"], {"command": ["tool"], "timeout": "5s"}],
        post_stop=[{"command": "rm -f x"}],
    )
    assert web.pre_start == (
        HookSpec(argv=("/bin/sh", "-c", "echo ${WORD}")),
        HookSpec(argv=("tool", "w")),
        HookSpec(argv=("tool",), timeout=5.0),
    )
    assert web.post_stop == (HookSpec(argv=("/bin/sh", "-c", "rm -f x")),)


def test_a_stop_command_comes_before_the_signals(spec):
    stop = spec(stop={"command": ["app", "stop"], "timeout": "20s", "signal": "INT", "grace": "2s"}).stop
    assert stop.command == HookSpec(argv=("app", "stop"), timeout=20.0)
    assert [(step.signal, step.wait) for step in stop.steps] == [("SIGINT", 2.0)]


def test_a_reload_is_a_signal_or_a_command(spec):
    assert spec(reload="hup").reload.signal == "SIGHUP"
    assert spec(reload={"signal": "SIGUSR1"}).reload.signal == "SIGUSR1"
    assert spec(reload={"command": "x -s reload", "timeout": 3}).reload.command == HookSpec(
        argv=("/bin/sh", "-c", "x -s reload"), timeout=3.0
    )


def test_a_socket_is_a_port_an_address_a_path_or_an_object(spec, tmp_path):
    web = spec(
        sockets={
            "a": 8000,
            "b": "0.0.0.0:8001",
            "c": "[::1]:8002",
            "d": "run/d.sock",
            "e": {"udp": 53, "host": "127.0.0.2"},
            "f": {"path": "/tmp/f", "mode": "660", "group": "adm", "backlog": 5},
            "g": "${PORT}",
        }
    )
    assert web.sockets == (
        SocketSpec(name="a", host="127.0.0.1", port=8000),
        SocketSpec(name="b", host="0.0.0.0", port=8001),
        SocketSpec(name="c", host="::1", port=8002),
        SocketSpec(name="d", kind="unix", path=f"{tmp_path}/run/d.sock"),
        SocketSpec(name="e", kind="udp", host="127.0.0.2", port=53),
        SocketSpec(name="f", kind="unix", path="/tmp/f", mode=0o660, group="adm", backlog=5),
        SocketSpec(name="g", host="127.0.0.1", port=7001),
    )


def test_a_watchdog_implies_notify_and_limits_are_read(spec):
    web = spec(watchdog="10s", limits={"memory": "512MB", "cpu": 1.5, "pids": 50}, recycle={"age": "1d"})
    assert (web.notify, web.watchdog) == (True, 10.0)
    assert web.limits.named == {"memory": 512 * 1024**2, "cpu": 1.5, "pids": 50}
    assert (web.recycle.age, web.recycle.memory) == (86_400.0, None)


@pytest.mark.parametrize(
    ("service", "text"),
    [
        ({"start_on": "connection"}, "no sockets on which one could come"),
        ({"notify": True, "probes": {"startup": {"tcp": 1}}}, "only one can say when it has started"),
        ({"watchdog": 5, "notify": False}, "notify must not be false"),
        ({"sockets": {"a": "nowhere"}}, "must be a port"),
        ({"sockets": {"a": {"port": 1, "path": "/x"}}}, "exactly one of port, udp and path"),
        ({"sockets": {"a": {"port": 1, "mode": "600"}}}, "only with a path"),
        ({"sockets": {"a": "example:80"}}, "an IP address or localhost"),
        ({"sockets": {"a b": 80}}, "a b"),
        ({"reload": {"signal": "HUP", "command": "x"}}, "exactly one of signal and command"),
        ({"reload": "DANCE"}, "unknown signal"),
        ({"stop": {"timeout": 5}}, "only with a command"),
        ({"limits": {"memory": "10KB"}}, "memory"),
        ({"limits": {"cpu": 0}}, "cpu"),
        ({"recycle": {"age": 0}}, "age"),
        ({"recycle": {"cron": "0 99 * * *"}}, "hour"),
        ({"recycle": {"timezone": "Europe/Berlin"}}, "only beside cron"),
        ({"recycle": {"cron": "0 4 * * *", "timezone": "Mars"}}, "Europe/Berlin"),
        ({"pre_start": "x"}, "pre_start"),
        ({"pre_start": [{"command": ""}]}, "must not be empty"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_line(load, service, text):
    errors = load(**service).errors
    assert errors
    assert any(text in error.message for error in errors), errors
    assert errors[0].where[0].line > 2
