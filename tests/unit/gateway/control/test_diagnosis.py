"""The diagnosis as a table: facts in, the first cause out; what ranks above what."""

import time
from typing import Any

import pytest

from orchestra_supervisor.gateway.control.diagnosis.diagnose import diagnose
from orchestra_supervisor.gateway.control.diagnosis.facts import Cause, Certainty, Facts
from orchestra_supervisor.gateway.control.untrusted import LogLine

NOW = 1_000_000.0


def row(name: str = "web", **fields: object) -> dict[str, object]:
    base: dict[str, object] = {
        "name": name,
        "state": "backoff",
        "desired": "up",
        "down_reason": "",
        "reason": "exit code 1",
        "since": NOW - 5,
        "restarts": 1,
        "port": None,
        "waiting_for": [],
        "depends_on": [],
        "probe_error": "",
        "exit": None,
        "limits": {},
    }
    return base | fields


def ended(
    text: str, code: int | None = None, signal: str | None = None, success: bool = False
) -> dict[str, object]:
    return {"text": text, "code": code, "signal": signal, "at_wall": NOW - 5, "success": success}


def event(kind: str, message: str = "", ago: float = 5.0, seq: int = 1, **data: object) -> dict[str, object]:
    return {"kind": kind, "message": message, "at": NOW - ago, "seq": seq, "data": data}


def facts(
    *lines: str,
    row_: dict[str, object] | None = None,
    others: tuple[dict[str, object], ...] = (),
    **more: Any,
) -> Facts:
    one = row_ or row(exit=ended("exit code 1", 1))
    services = {str(other["name"]): other for other in (one, *others)}
    said = tuple(LogLine.of("web", NOW - 5, "stderr", line, "r") for line in lines)
    return Facts(row=one, services=services, lines=said, now=NOW, **more)


def codes(found: list[Cause]) -> list[str]:
    return [cause.code for cause in found]


EXIT_TABLE: list[tuple[dict[str, object], str, str]] = [
    (ended("exit code 127", 127), "exit_code", "the shell did not find the command"),
    (ended("exit code 126", 126), "exit_code", "cannot be executed"),
    (ended("exit code 2", 2), "exit_code", "wrong usage"),
    (ended("exit code 78", 78), "exit_code", "configuration is wrong"),
    (ended("exit code 139", 139), "exit_code", "ended by SIGSEGV"),
    (ended("exit code 42", 42), "exit_code", "a code of its own"),
    (ended("exit code 0", 0), "exit_code", "without an error"),
    (ended("killed by SIGSEGV", None, "SIGSEGV"), "killed_by_signal", "native code"),
    (ended("killed by SIGKILL", None, "SIGKILL"), "killed_by_signal", "somebody killed it"),
    (ended("killed by SIGRTMIN+1", None, "SIGRTMIN+1"), "killed_by_signal", "ended by SIGRTMIN+1"),
    (ended("killed by SIGKILL: out of memory", None, "SIGKILL"), "out_of_memory", "want of memory"),
]


@pytest.mark.parametrize(
    ("last", "code", "words"), EXIT_TABLE, ids=[str(one[0]["text"]) for one in EXIT_TABLE]
)
def test_the_last_exit_is_said_in_words(last: dict[str, object], code: str, words: str) -> None:
    (first, *_) = diagnose(facts(row_=row(exit=last)))
    assert first.code == code
    assert words in first.what
    assert first.next_action
    assert str(last["text"]) in first.evidence[0]


LOG_TABLE = [
    ("OSError: [Errno 98] Address already in use", "port_taken"),
    ("Error: listen EADDRINUSE: address already in use :::3000", "port_taken"),
    ("listen tcp :8080: bind: address already in use", "port_taken"),
    ("java.net.BindException: Address already in use", "port_taken"),
    ("KeyError: 'DATABASE_URL'", "env_missing"),
    ("Error: environment variable API_TOKEN is not set", "env_missing"),
    ("missing required environment variable: STRIPE_KEY", "env_missing"),
    ("OPENAI_API_KEY must be set", "env_missing"),
    ("DATABASE_URL is required", "env_missing"),
    ("ModuleNotFoundError: No module named 'fastapi'", "dependency_not_installed"),
    ("Error: Cannot find module 'express'", "dependency_not_installed"),
    (
        "x: error while loading shared libraries: libssl.so.3: cannot open shared object file",
        "dependency_not_installed",
    ),
    ("/bin/sh: 1: uvicorn: not found", "command_missing"),
    ("bash: gunicorn: command not found", "command_missing"),
    ("python3: can't open file '/srv/app.py': [Errno 2] No such file or directory", "file_missing"),
    ("FileNotFoundError: [Errno 2] No such file or directory: '/etc/app.yml'", "file_missing"),
    ("Error: ENOENT: no such file or directory, open '/srv/x.json'", "file_missing"),
    ("cat: /srv/x: No such file or directory", "file_missing"),
    ("PermissionError: [Errno 13] Permission denied: '/var/lib/x'", "permission"),
    ("OSError: [Errno 28] No space left on device", "disk_full"),
    ("MemoryError", "out_of_memory"),
    ("FATAL ERROR: Reached heap limit - JavaScript heap out of memory", "out_of_memory"),
    ("OSError: [Errno 24] Too many open files", "descriptors"),
    (
        "psycopg.OperationalError: connection to server at 127.0.0.1:5432 failed: Connection refused",
        "peer_down",
    ),
    ("socket.gaierror: [Errno -2] Name or service not known", "name_resolution"),
    ("ssl.SSLCertVerificationError: certificate verify failed", "tls"),
    ("server.py: error: unrecognized arguments: --prot 80", "wrong_usage"),
    ("json.decoder.JSONDecodeError: Expecting value: line 1", "syntax"),
]


@pytest.mark.parametrize(("line", "code"), LOG_TABLE)
def test_what_a_log_says_is_found(line: str, code: str) -> None:
    found = diagnose(facts("starting up", line, "bye"))
    assert found[0].code == code, codes(found)
    assert any(line[:100] in one for one in found[0].evidence)


@pytest.mark.parametrize(
    "line",
    [
        "GET /is/required 200",
        "listening on 0.0.0.0:8000",
        "INFO connected to redis",
        "user asked: what is an environment variable",
        "0 errors, 0 warnings",
    ],
)
def test_ordinary_lines_explain_nothing(line: str) -> None:
    assert set(codes(diagnose(facts(line)))) <= {"exit_code", "last_errors"}


def test_a_variable_that_is_set_is_told_as_that() -> None:
    found = diagnose(facts("KeyError: 'LEVEL'", spec={"env": {"LEVEL": "***"}}))
    assert found[0].evidence[1].startswith("it is set in its `env`")
    found = diagnose(facts("KeyError: 'LEVEL'", spec={"env": {}}))
    assert found[0].evidence[1] == "LEVEL is not in its `env`"


def test_who_has_the_port_is_named() -> None:
    taken = {"port": 8000, "busy": True, "pid": 42, "process": "nginx", "service": None}
    said = "OSError: [Errno 98] while binding on address ('127.0.0.1', 8000): address already in use"
    (first, *_) = diagnose(facts(said, ports=(taken,)))
    assert (first.code, first.certainty) == ("port_taken", Certainty.CERTAIN)
    assert first.what == "its port 8000 is held by pid 42 (nginx), outside this fleet"
    other = taken | {"service": "api"}
    (first, *_) = diagnose(facts(ports=(other,), row_=row(port=8000, exit=ended("exit code 1", 1))))
    assert first.what == "its port 8000 is held by the service api (pid 42)"
    assert "service_stop with names=['api']" in first.next_action
    own = taken | {"service": "web"}
    assert "port_taken" not in codes(diagnose(facts(ports=(own,), row_=row(port=8000))))


SPAWN_TABLE = [
    ("exec", 2, "ENOENT", "spawn_failed", "correct `command`"),
    ("exec", 13, "EACCES", "spawn_failed", "chmod +x"),
    ("exec", 8, "ENOEXEC", "spawn_failed", "first line"),
    ("cwd", 2, "ENOENT", "spawn_failed", "cwd"),
    ("user", 1, "EPERM", "spawn_failed", "run the fleet as root"),
    ("secret", 0, "", "secret_missing", "adds the secret"),
    ("pre_start 1 (x)", 1, "", "pre_start_failed", "service_logs"),
    ("listen", 98, "EADDRINUSE", "port_taken", "free the address"),
]


@pytest.mark.parametrize(("stage", "number", "name", "code", "action"), SPAWN_TABLE)
def test_a_spawn_that_fails_is_told_by_stage_and_errno(
    stage: str, number: int, name: str, code: str, action: str
) -> None:
    text = f"could not start: it did not work ({stage})"
    events = (event("service.spawn_failed", text, stage=stage, errno=number),)
    (first, *_) = diagnose(facts(row_=row(exit=ended(text), reason=text), events=events))
    assert (first.code, first.certainty) == (code, Certainty.CERTAIN)
    assert name in f"{first.what} {first.evidence}"
    assert action in first.next_action


def test_a_chain_of_dependencies_is_followed_to_its_root() -> None:
    others = (
        row("api", state="waiting", waiting_for=["db"]),
        row("db", state="waiting", waiting_for=["disk", "web"]),  # a cycle is not followed
        row("disk", state="failed", reason="exit code 3"),
    )
    waits = row(state="waiting", waiting_for=["api"], reason="waiting for api")
    found = diagnose(facts(row_=waits, others=others))
    assert codes(found) == ["dependency"]
    assert found[0].what == "disk, which it needs, is failed"
    assert found[0].evidence == (
        "web waits for api waits for db waits for disk",
        "disk is failed: exit code 3",
    )
    assert found[0].next_action.startswith("service_diagnose with name='disk'")


def test_a_dependency_that_only_starts_is_waited_for() -> None:
    waits = row(state="waiting", waiting_for=["db"])
    found = diagnose(facts(row_=waits, others=(row("db", state="starting", reason="starting"),)))
    assert found[0].code == "dependency_starting"
    assert "wait_for" in found[0].next_action


def test_a_crash_loop_is_named_beneath_its_cause() -> None:
    events = tuple(event("service.exited", "exit code 1", ago=10.0 * n, seq=10 - n) for n in range(1, 6))
    found = diagnose(facts("KeyError: 'TOKEN_FILE'", events=events))
    assert codes(found)[0] == "env_missing"
    loop = next(cause for cause in found if cause.code == "crash_loop")
    assert loop.evidence == ("5 ends within 10 min, mostly: exit code 1",)
    failed = row(state="failed", reason="exit code 1; restart limit reached: 10 restarts within 300 s")
    given_up = next(
        cause for cause in diagnose(facts(row_=failed, events=events)) if cause.code == "crash_loop"
    )
    assert given_up.what.endswith("and the supervisor has given up")


def test_two_ends_are_no_loop() -> None:
    events = tuple(event("service.exited", "exit code 1", ago=10.0 * n, seq=10 - n) for n in range(1, 3))
    old = tuple(event("service.exited", "exit code 1", ago=5_000.0 + n, seq=n) for n in range(9))
    assert "crash_loop" not in codes(diagnose(facts(events=events)))
    assert "crash_loop" not in codes(diagnose(facts(events=old)))


DOWN_TABLE = [
    ("operator", "stopped_by_hand", "service_start with names=['web']"),
    ("disabled", "disabled", "enabled: true"),
    ("not_selected", "not_selected", "service_start with names=['web']"),
    ("removed", "removed", "add it to the files again"),
    ("", "on_demand", "service_start with names=['web']"),
    ("demand", "on_demand", "service_start with names=['web']"),
]


@pytest.mark.parametrize(("why", "code", "action"), DOWN_TABLE)
def test_one_that_nobody_wants_is_said_to_be_that_and_nothing_else(why: str, code: str, action: str) -> None:
    down = row(
        state="stopped",
        desired="down",
        down_reason=why,
        reason="stopped",
        exit=ended("killed by SIGTERM", None, "SIGTERM"),
    )
    found = diagnose(facts("KeyError: 'OLD_NEWS'", row_=down))
    assert codes(found) == [code]
    assert action in found[0].next_action


def test_who_stopped_it_is_told() -> None:
    down = row(state="stopped", desired="down", down_reason="operator", reason="stopped by hand")
    events = (event("control.stop", "claude by token x: stop web"),)
    (first,) = diagnose(facts(row_=down, events=events))
    assert first.evidence[0].startswith("claude by token x: stop web at 1970-01-12T")


REASONS = [
    ("uses 600 MB of memory, over its limit of 512 MB", "memory_limit"),
    ("watchdog: it has not said for 5 s that it is alive", "watchdog"),
    ("not ready within 60 s: HTTP 503 (wanted 200-299)", "start_timeout"),
    ("SIGKILL was sent and these processes are still there: 42", "stuck"),
]


@pytest.mark.parametrize(("reason", "code"), REASONS)
def test_what_the_supervisor_did_is_told(reason: str, code: str) -> None:
    (first, *_) = diagnose(facts(row_=row(reason=reason, exit=ended("killed by SIGKILL", None, "SIGKILL"))))
    assert (first.code, first.certainty) == (code, Certainty.CERTAIN)
    assert first.evidence == (reason,)


def check(passed: bool, detail: str, target: str = "GET http://127.0.0.1:8000/") -> dict[str, object]:
    probe = {"probe": "readiness", "type": "http", "target": target, "passed": passed, "detail": detail}
    return {"name": "web", "probes": [probe]}


def test_what_a_probe_meets_is_told() -> None:
    sick = row(state="unhealthy", reason="readiness probe failed: HTTP 503", probe_error="HTTP 503")
    (first, *_) = diagnose(facts(row_=sick, checks=(check(False, "HTTP 500"),)))
    assert (first.code, first.what) == ("probe_fails", "its readiness probe does not pass: HTTP 500")
    assert first.evidence == ("readiness probe GET http://127.0.0.1:8000/: HTTP 500", "before: HTTP 503")
    (first, *_) = diagnose(facts(row_=sick, checks=(check(True, "HTTP 200"),)))
    assert first.code == "recovering"


def test_a_program_that_listens_elsewhere_is_noticed() -> None:
    late = row(state="running", port=8000, probe_error="refused")
    line = "INFO: Uvicorn running on http://127.0.0.1:8001 (Press CTRL+C to quit)"
    (first, *_) = diagnose(facts(line, row_=late, checks=(check(False, "connection refused"),)))
    assert first.code == "wrong_port"
    assert first.what == "it seems to listen on 8001, and its probe looks at GET http://127.0.0.1:8000/"
    same = line.replace("8001", "8000")
    assert "wrong_port" not in codes(diagnose(facts(same, row_=late, checks=(check(False, "x"),))))


def test_a_change_of_its_configuration_just_before_is_suspect() -> None:
    changes = {"web": {"action": "restart", "fields": ["env.LEVEL", "port"]}}
    recent = event("config.reloaded", ago=60, seq=5, by="alice", changes=changes)
    cause = next(one for one in diagnose(facts(events=(recent,))) if one.code == "config_changed")
    assert cause.evidence == ("changed 60 s ago: env.LEVEL, port", "asked for by alice")
    others = event("config.reloaded", ago=60, by="alice", changes={"db": {"fields": ["port"]}})
    old = event("config.reloaded", ago=5_000, by="alice", changes=changes)
    assert "config_changed" not in codes(diagnose(facts(events=(others, old))))


def test_an_exception_is_quoted_with_no_secret_in_it() -> None:
    lines = ("Traceback (most recent call last):", "ValueError: bad dsn postgres://u:geheim@h/d")
    found = diagnose(facts(*lines))
    assert found[0].code == "exception"
    assert "geheim" not in str(found)


def test_what_is_well_is_well() -> None:
    well = row(state="ready", reason="ready", exit=ended("exit code 1", 1))
    (only,) = diagnose(facts("ERROR something old: address already in use", row_=well))
    assert (only.code, only.certainty) == ("healthy", Certainty.CERTAIN)


def test_what_waits_by_design_is_no_fault() -> None:
    listening = row(
        state="waiting", listening=True, sockets=["127.0.0.1:80"], reason="waiting for a connection"
    )
    assert codes(diagnose(facts(row_=listening))) == ["waits_for_connection"]
    planned = row(state="waiting", next_run=NOW + 60, reason="first run tomorrow")
    assert codes(diagnose(facts(row_=planned, spec={"schedule": {"cron": "x"}}))) == ["waits_for_schedule"]


def test_a_fleet_that_goes_down_comes_first() -> None:
    assert diagnose(facts("KeyError: 'X_Y'", phase="stopping"))[0].code == "fleet_stopping"


def test_where_nothing_is_known_it_says_so() -> None:
    (only,) = diagnose(facts(row_=row(state="starting", reason="starting")))
    assert (only.code, only.certainty) == ("unknown", Certainty.NOTED)


def test_the_list_is_bounded_and_ranked() -> None:
    found = diagnose(facts(*(line for line, _ in LOG_TABLE)))
    assert len(found) == 8
    ranks = [(-cause.certainty, -cause.weight) for cause in found]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    "evil",
    [
        "port " * 400,
        "/" * 2_000,
        "/a" * 1_000,
        "missing " * 250,
        "A_" * 1_000,
        "connection " * 180,
        ":" * 2_000,
        "1" * 2_000,
        "[:" * 1_000,
        "environment variable " * 95,
        "listening " * 200,
        ": " * 1_000,
        "can't open file " * 120,
        "a." * 1_000,
    ],
)
def test_no_line_takes_long_to_look_at(evil: str) -> None:
    began = time.process_time()
    diagnose(facts(*[evil] * 20))
    assert time.process_time() - began < 1.0
