import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra_supervisor.config.applied import dump_fleet, parse_fleet
from orchestra_supervisor.config.load import load_fleet
from orchestra_supervisor.config.values import RLIMIT_NAMES
from orchestra_supervisor.model.errors import ConfigError
from orchestra_supervisor.model.log import LogSpec, RateLimitSpec, SinkSpec
from orchestra_supervisor.model.spec import (
    BackoffSpec,
    CommandCheck,
    DependencySpec,
    HttpCheck,
    RestartSpec,
    RlimitSpec,
    StopSpec,
    StopStep,
    TcpCheck,
)
from orchestra_supervisor.model.states import Condition, Kind
from tests.unit.config.config_testing import codes, only


def test_a_service_with_nothing_but_a_command_has_all_defaults(load_service, tmp_path):
    spec = load_service()
    assert spec.argv == ("true",)
    assert spec.cwd == str(tmp_path)
    assert spec.kind is Kind.DAEMON
    assert spec.restart == RestartSpec(policy="on-failure")
    assert spec.stop == StopSpec()
    assert spec.env == {}
    assert spec.enabled


def test_a_text_command_is_a_shell_line_and_its_variables_are_left_to_the_shell(load_service):
    spec = load_service(command="echo ${HOME} $$ | cat")
    assert spec.argv == ("/bin/sh", "-c", "echo ${HOME} $$ | cat")


def test_a_once_job_is_not_restarted_unless_it_says_so(load_service):
    assert load_service(kind="once").restart.policy == "never"
    assert load_service(type="once", restart="on-failure").restart.policy == "on-failure"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (2, 2.0),
        (0.5, 0.5),
        ("500ms", 0.5),
        ("2s", 2.0),
        ("5m", 300.0),
        ("1.5h", 5400.0),
        ("3", 3.0),
        ("1d", 86400.0),
    ],
)
def test_durations_are_seconds_or_text_with_a_unit(load_service, written, seconds):
    assert load_service(start_delay=written).start_delay == pytest.approx(seconds)


@pytest.mark.parametrize("written", ["5x", "-1s", "", "1s2", "٣s", True, -1, 1e300, [1]])
def test_other_durations_are_refused(load, written):
    result = load({"services": {"one": {"command": ["true"], "start_delay": written}}})
    (finding,) = result.errors
    assert finding.field == "start_delay"


@pytest.mark.parametrize(
    ("written", "size"),
    [(0, 0), (1024, 1024), ("64KB", 65536), ("50MB", 50 << 20), ("1g", 1 << 30), ("2MiB", 2 << 20)],
)
def test_sizes_are_bytes_or_text_with_a_unit(load_service, written, size):
    assert load_service(log={"max_bytes": written}).log.max_bytes == size


def test_a_restart_may_be_a_policy_or_an_object(load_service):
    assert load_service(restart="always").restart == RestartSpec(policy="always")
    spec = load_service(
        restart={
            "policy": "always",
            "max_restarts": "unlimited",
            "success_exit_codes": [0, 3],
            "window": "1m",
            "stable_after": "5s",
            "backoff": {"initial": "100ms", "multiplier": 3, "cap": 9, "jitter": 0, "first_immediate": False},
        }
    )
    assert spec.restart == RestartSpec(
        policy="always",
        max_restarts=None,
        success_exit_codes=(0, 3),
        window=60,
        stable_after=5,
        backoff=BackoffSpec(initial=0.1, multiplier=3, cap=9, jitter=0, first_immediate=False),
    )


def test_a_first_delay_over_the_usual_cap_raises_the_cap(load_service):
    backoff = load_service(restart_delay=120).restart.backoff
    assert (backoff.initial, backoff.cap) == (120, 120)


def test_the_short_restart_keys_give_way_to_the_object(load_service):
    spec = load_service(restart_delay=7, max_restarts=4, restart_window=60, restart={"max_restarts": 9})
    assert (spec.restart.backoff.initial, spec.restart.max_restarts, spec.restart.window) == (7, 9, 60)


def test_a_stop_may_be_short_or_in_steps(load_service):
    assert load_service(stop={"signal": "int", "grace": "2s"}).stop == StopSpec(
        steps=(StopStep(signal="SIGINT", wait=2),)
    )
    spec = load_service(stop={"steps": [{"signal": "SIGINT", "wait": 1}, {}], "scope": "leader"})
    assert spec.stop == StopSpec(steps=(StopStep(signal="SIGINT", wait=1), StopStep()), scope="leader")


def test_probes_take_shorthands_and_objects(load_service):
    probes = load_service(
        probes={
            "startup": {"tcp": 8000, "period": "50ms"},
            "readiness": {"http": "http://localhost:8000/health", "failure_threshold": 2},
            "liveness": {"command": "test -e x", "timeout": "1s", "initial_delay": 3, "success_threshold": 2},
        }
    ).probes
    assert probes.startup.check == TcpCheck(port=8000)
    assert probes.startup.period == pytest.approx(0.05)
    assert probes.readiness.check == HttpCheck(url="http://localhost:8000/health")
    assert probes.readiness.failure_threshold == 2
    assert probes.liveness.check == CommandCheck(argv=("/bin/sh", "-c", "test -e x"))
    assert (probes.liveness.timeout, probes.liveness.initial_delay, probes.liveness.success_threshold) == (
        1,
        3,
        2,
    )


def test_an_http_probe_may_say_what_answer_it_wants(load_service):
    http = {"url": "https://x/", "status": 204, "body": "o+k", "headers": {"A": "b"}, "method": "POST"}
    check = load_service(probes={"readiness": {"http": http}}).probes.readiness.check
    assert check == HttpCheck(
        url="https://x/", status=(204, 204), body_match="o+k", headers={"A": "b"}, method="POST"
    )


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("db:5432", "db", 5432),
        ("[::1]:80", "::1", 80),
        ("80", "127.0.0.1", 80),
        ({"host": "h", "port": 1}, "h", 1),
    ],
)
def test_a_tcp_probe_takes_a_port_or_an_address(load_service, written, host, port):
    check = load_service(probes={"readiness": {"tcp": written}}).probes.readiness.check
    assert check == TcpCheck(host=host, port=port)


def test_a_health_url_becomes_readiness_and_liveness(load):
    body = {"command": ["x"], "health_url": "http://localhost:80/h", "health_check_retries": 5}
    result = load({"services": {"one": body}, "health_check_interval": 7, "settings": {}})
    probes = result.fleet.services["one"].probes
    assert probes.readiness == probes.liveness
    assert probes.readiness.check == HttpCheck(url="http://localhost:80/h")
    assert (probes.readiness.period, probes.readiness.failure_threshold) == (7, 5)
    assert probes.startup is None


def test_dependencies_take_a_list_a_map_and_objects(load):
    services = {name: {"command": ["x"], "kind": "once"} for name in "abc"}
    services["one"] = {"command": ["x"], "depends_on": ["a"]}
    services["two"] = {"command": ["x"], "depends_on": {"a": "started", "b": {"condition": "completed"}}}
    services["two"]["depends_on"]["c"] = {"on_failure": "stop"}
    services["three"] = {"command": ["x"], "dependencies": ["a"]}
    fleet = load({"services": services, "settings": {}}).fleet
    assert fleet.services["one"].depends_on == {"a": DependencySpec()}
    assert fleet.services["three"].depends_on == {"a": DependencySpec()}
    assert fleet.services["two"].depends_on == {
        "a": DependencySpec(condition=Condition.STARTED),
        "b": DependencySpec(condition=Condition.COMPLETED),
        "c": DependencySpec(on_failure="stop"),
    }


def test_the_process_settings_arrive_in_the_spec(load_service):
    spec = load_service(
        title="One", description="d", user="nobody", group="nogroup", groups=["a"], umask="027", nice=5,
        oom_score_adj=-10,
        rlimits={"nofile": [10, 20], "core": 0, "nproc": "unlimited", "cpu": {"soft": 1, "hard": 2}},
        enabled=False, priority=3, required_for_system=True, port=80, url="http://x/", tags=["t"],
        inherit_env=False, startup_timeout="0",
        log={"max_bytes": 1, "backups": 2, "compress": False}, cwd="sub/../other",
    )  # fmt: skip
    assert (spec.title, spec.description, spec.user, spec.group, spec.groups) == (
        "One",
        "d",
        "nobody",
        "nogroup",
        ("a",),
    )
    assert (spec.umask, spec.nice, spec.oom_score_adj) == (0o27, 5, -10)
    assert spec.rlimits == {
        "nofile": RlimitSpec(soft=10, hard=20),
        "core": RlimitSpec(soft=0, hard=0),
        "nproc": RlimitSpec(soft=None, hard=None),
        "cpu": RlimitSpec(soft=1, hard=2),
    }
    assert (spec.enabled, spec.priority, spec.required_for_system, spec.port) == (False, 3, True, 80)
    assert (spec.url, spec.tags, spec.inherit_env, spec.startup_timeout) == ("http://x/", ("t",), False, 0)
    assert spec.log == LogSpec(max_bytes=1, backups=2, compress=False)
    assert spec.cwd.endswith("/other")


def test_what_is_said_of_a_log_arrives_in_the_spec(load_service):
    spec = load_service(
        log={
            "max_age": "1d", "keep_bytes": "1GB", "format": "json", "redact": ["a+$"],
            "redact_secrets": False,
            "rate_limit": {"bytes": "10MB", "per": "2s", "burst": "20MB", "on_limit": "block"},
        },
    )  # fmt: skip
    assert spec.log == LogSpec(
        max_age=86_400,
        keep_bytes=1 << 30,
        format="json",
        redact=("a+$",),
        redact_secrets=False,
        rate_limit=RateLimitSpec(size=10 << 20, per=2, burst=20 << 20, on_limit="block"),
    )


def test_sinks_are_words_or_objects(load_service):
    udp = {"syslog": {"address": "udp://[::1]:5514", "facility": "local0"}}
    old = {"syslog": {"address": "tcp://localhost", "format": "rfc3164"}}
    spec = load_service(log={"sinks": ["journald", "syslog", udp, old, {"journald": {"address": "/x"}}]})
    assert spec.log.sinks == (
        SinkSpec(protocol="journald", address="/run/systemd/journal/socket"),
        SinkSpec(protocol="rfc3164", address="/dev/log"),
        SinkSpec(protocol="rfc5424", transport="udp", address="::1", port=5514, facility=16),
        SinkSpec(protocol="rfc3164", transport="tcp", address="127.0.0.1", port=514),
        SinkSpec(protocol="journald", address="/x"),
    )


def test_defaults_hold_for_services_that_do_not_say_otherwise(load):
    defaults = {
        "restart": {"policy": "always", "max_restarts": 3, "backoff": {"cap": 5}},
        "stop": {"grace": 1},
        "probes": {"period": 2, "timeout": 3},
        "log": {"backups": 1},
        "startup_timeout": 9,
    }
    services = {
        "plain": {"command": ["x"], "probes": {"readiness": {"tcp": 1}}},
        "own": {
            "command": ["x"],
            "restart": {"max_restarts": 7},
            "stop": {"grace": 4},
            "probes": {"readiness": {"tcp": 1, "period": 8}},
            "log": {"compress": False},
            "startup_timeout": 1,
        },
    }
    fleet = load({"settings": {"defaults": defaults}, "services": services}).fleet
    plain, own = fleet.services["plain"], fleet.services["own"]
    assert (plain.restart.policy, plain.restart.max_restarts, plain.restart.backoff.cap) == ("always", 3, 5)
    assert (plain.stop.steps[0].wait, plain.probes.readiness.period, plain.startup_timeout) == (1, 2, 9)
    assert (own.restart.policy, own.restart.max_restarts, own.restart.backoff.cap) == ("always", 7, 5)
    assert (own.stop.steps[0].wait, own.startup_timeout) == (4, 1)
    assert (own.probes.readiness.period, own.probes.readiness.timeout) == (8, 3)
    assert own.log == LogSpec(backups=1, compress=False)


def test_fleet_settings_are_read_with_paths_from_the_files_folder(load, tmp_path):
    settings_ = {
        "log_directory": "l",
        "secrets_file": "s.json",
        "remember_stops": True,
        "control_group": "ops",
    }
    fleet = load(
        {"services": {}, "settings": settings_ | {"leftovers": "report", "journal_keep": 2000}}
    ).fleet
    assert fleet.settings.log_directory == str(tmp_path / "l")
    assert fleet.settings.secrets_file == str(tmp_path / "s.json")
    assert (fleet.settings.remember_stops, fleet.settings.control_group) == (True, "ops")
    assert (fleet.settings.leftovers, fleet.settings.journal_keep) == ("report", 2000)
    assert fleet.files == (str(tmp_path / "orchestra.json"),)


BAD_BODY = {"url": "http://x", "body": "("}
BAD_STATUS = {"url": "http://x", "status": 9}


@pytest.mark.parametrize(
    ("body", "field", "message", "hint"),
    [
        ({"command": 3}, "command", "", ""),
        ({"command": []}, "command", "at least 1", ""),
        ({"command": ""}, "command", "empty", ""),
        ({"command": [""]}, "command", "program", ""),
        ({"command": ["x", 1]}, "command.1", "text in double quotes", "double quotes"),
        ({"command": ["x\x00y"]}, "command.0", "NUL", ""),
        ({"command": "x\x00y"}, "command", "NUL", ""),
        ({"port": 65536}, "port", "65535", ""),
        ({"port": 0}, "port", "1", ""),
        ({"port": "80"}, "port", "a whole number", "without quotes"),
        ({"port": 80.5}, "port", "whole number", ""),
        ({"enabled": "yes"}, "enabled", "true or false", "without quotes"),
        ({"umask": 27}, "umask", "octal", ""),
        ({"umask": "099"}, "umask", "octal", ""),
        ({"env": {"A": None}}, "env.A", "text", ""),
        ({"env": {"A=B": "x"}}, "env.A=B", "variable's name", ""),
        ({"env": []}, "env", "an object", ""),
        ({"restart": "allways"}, "restart", "'always'", "always"),
        ({"restart": {"backoff": {"jitter": 2}}}, "restart.backoff.jitter", "1", ""),
        ({"stop": {"signal": "SIGNOPE"}}, "stop.signal", "unknown signal", ""),
        ({"stop": {"signal": "SIGINT", "steps": []}}, "stop", "not both", ""),
        ({"probes": {"readiness": {}}}, "probes.readiness", "exactly one", ""),
        ({"probes": {"readiness": {"tcp": 1, "http": "http://x"}}}, "probes.readiness", "exactly one", ""),
        ({"probes": {"readiness": {"tcp": 99999}}}, "probes.readiness.tcp", "65535", ""),
        ({"probes": {"readiness": {"http": "localhost"}}}, "probes.readiness.http", "http://", ""),
        ({"probes": {"startup": {"http": BAD_BODY}}}, "probes.startup.http.body", "regular", ""),
        ({"probes": {"startup": {"http": BAD_STATUS}}}, "probes.startup.http.status", "200", ""),
        ({"rlimits": {"nofiles": 1}}, "rlimits", RLIMIT_NAMES[0], ""),
        ({"rlimits": {"nofile": [2, 1]}}, "rlimits.nofile", "hard", ""),
        ({"depends_on": {"one": "redy"}}, "depends_on.one", "'ready'", "ready"),
        ({"depends_on": [1]}, "depends_on", "names", ""),
        ({"nice": 20}, "nice", "19", ""),
        ({"log": {"max_bytes": "many"}}, "log.max_bytes", "50MB", ""),
        ({"log": {"redact": ["("]}}, "log.redact.0", "regular expression", ""),
        ({"log": {"redact": ["x*"]}}, "log.redact.0", "empty text", ""),
        ({"log": {"rate_limit": {"bytes": 0}}}, "log.rate_limit.bytes", "1", ""),
        ({"log": {"rate_limit": {}}}, "log.rate_limit.bytes", "missing", ""),
        ({"log": {"sinks": ["syslogd"]}}, "log.sinks.0", "journald", ""),
        ({"log": {"sinks": [{}]}}, "log.sinks.0", "exactly one", ""),
        ({"log": {"sinks": [{"syslog": {"address": "udp://a"}}]}}, "log.sinks.0.syslog.address", "names", ""),
        ({"log": {"sinks": [{"syslog": {"address": "here"}}]}}, "log.sinks.0.syslog.address", "udp://", ""),
        ({"log": {"sinks": [{"syslog": {"facility": "x"}}]}}, "log.sinks.0.syslog.facility", "local0", ""),
        ({"log": {"format": "jsn"}}, "log.format", "json", "json"),
        ({"health_url": "x"}, "health_url", "http://", ""),
        ({"cwd": ""}, "cwd", "at least 1", ""),
    ],
)  # fmt: skip
def test_a_wrong_value_is_an_error_at_its_place(load, body, field, message, hint):
    result = load({"settings": {}, "services": {"one": {"command": ["true"]} | body}})
    (finding,) = result.errors
    assert finding.field == field
    assert message in finding.message
    assert hint in finding.hint
    assert finding.service == "one"
    assert finding.where[0].line > 1
    assert result.fleet.services == {}


@pytest.mark.parametrize(
    ("body", "near"),
    [
        ({"comand": "x"}, "command"),
        ({"healthurl": "x"}, "health_url"),
        ({"directory": "x"}, "cwd"),
        ({"cmd": 1}, "command"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_known_one(load, body, near):
    finding = only(load({"settings": {}, "services": {"one": {"command": ["x"]} | body}}), "key.unknown")
    assert finding.severity == "error"
    assert near in finding.hint


def test_unknown_keys_are_found_at_every_level(load):
    fleet = {
        "servces": {},
        "settings": {"log_dir": "x", "defaults": {"restrt": 1}},
        "services": {
            "one": {"command": ["x"], "probes": {"rediness": {}, "liveness": {"tcp": 1, "perod": 1}}}
        },
    }
    findings = [finding for finding in load(fleet).findings if finding.code == "key.unknown"]
    hints = " ".join(finding.hint for finding in findings)
    for known in ("services", "log_directory", "restart", "readiness", "period"):
        assert repr(known) in hints


def test_a_service_that_is_no_object_or_has_a_bad_name_is_an_error(load):
    result = load(
        {"settings": {}, "services": {"a/b": {"command": ["x"]}, "two": 7, ".hidden": {"command": ["x"]}}}
    )
    assert len(result.errors) == 3
    assert result.fleet.services == {}


def test_a_value_under_a_telling_key_is_never_shown(load):
    body = {
        "command": ["x"],
        "env": {"API_TOKEN": ["hunter2"], "OK": {"a": "hunter2"}},
        "secrets": {"P": 12345},
    }
    result = load({"settings": {}, "services": {"one": body}})
    text = "\n".join(line for finding in result.findings for line in finding.render())
    assert result.errors
    assert "hunter2" not in text
    assert "12345" not in text


def test_two_thousand_services_load(load):
    services = {
        f"s{i}": {"command": ["x"], "port": 1000 + i, "depends_on": [f"s{i - 1}"] if i else []}
        for i in range(2000)
    }
    result = load({"settings": {}, "services": services})
    assert result.findings == ()
    assert len(result.fleet.services) == 2000


names = st.from_regex(r"\A[a-z][a-z0-9_]{0,6}\Z")
texts = st.text(alphabet=st.characters(blacklist_characters="\x00$", blacklist_categories=["Cs"]), max_size=8)
services_ = st.fixed_dictionaries(
    {"command": st.lists(texts.filter(bool), min_size=1, max_size=3)},
    optional={
        "title": texts,
        "env": st.dictionaries(names, texts.filter(lambda text: not text.startswith("secret:")), max_size=2),
        "port": st.integers(1, 65535),
        "kind": st.sampled_from(["daemon", "once"]),
        "restart": st.sampled_from(["always", "on-failure", "never"]),
        "start_delay": st.floats(0, 1e6) | st.sampled_from(["5ms", "2h"]),
        "umask": st.sampled_from(["0", "027", "777"]),
        "stop": st.fixed_dictionaries(
            {"grace": st.floats(0, 100), "signal": st.sampled_from(["TERM", "SIGINT"])}
        ),
        "probes": st.fixed_dictionaries({"readiness": st.fixed_dictionaries({"tcp": st.integers(1, 65535)})}),
        "rlimits": st.just({"nofile": [1, 2], "core": "unlimited"}),
        "tags": st.lists(texts, max_size=2),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.dictionaries(names, services_, max_size=3))
def test_what_is_applied_reads_back_as_the_same_fleet(write, bodies):
    path = write(json.dumps({"settings": {}, "services": bodies}))
    result = load_fleet([path], environ={})
    assert result.errors == ()
    assert parse_fleet(dump_fleet(result.fleet)) == result.fleet
    assert set(result.fleet.services) == set(bodies)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"services": {"a": {}}}', '{"unknown": 1}'])
def test_an_applied_fleet_that_is_damaged_is_a_config_error(text):
    with pytest.raises(ConfigError):
        parse_fleet(text)


def test_a_monitor_interval_is_read_and_needs_nothing(load):
    result = load({"$schema": "x", "services": {}, "monitor_interval": 10})
    assert codes(result) == []
