"""status, events, wait and the verbs against recorded answers, and logs from files."""

import gzip
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from tests.e2e.cli import shapes
from tests.e2e.cli.fake_control import Answer, FakeControl, holding_lock, serving
from tests.e2e.cli.fake_fleet import append_log
from tests.e2e.cli.runner import argv, environment, orchestra


class Daemon:
    """What the fake socket answers, by method and path."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.answers: dict[str, Answer | None] = {}
        self.server: FakeControl | None = None
        self.hang_ups = 0

    def __call__(self, method: str, path: str, _query: dict[str, str], _body: object) -> Answer | None:
        if self.hang_ups:
            self.hang_ups -= 1
            return None
        return self.answers.get(
            f"{method} {path}", (404, shapes.error("invalid_request", f"no {method} {path}"))
        )

    def asked(self, path: str) -> list[tuple[str, str, dict[str, str], object]]:
        assert self.server is not None
        return [request for request in self.server.requests if request[1] == path]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    home = tmp_path / ".orchestra"
    home.mkdir()
    daemon = Daemon(home)
    with holding_lock(home), serving(home / "control.sock", daemon) as server:
        daemon.server = server
        yield daemon


def test_status_prints_the_table_and_nothing_else(daemon: Daemon, tmp_path: Path) -> None:
    rows = [
        shapes.service("backend", url="http://127.0.0.1:8010"),
        shapes.service("memory", "failed", reason="no luck"),
    ]
    daemon.answers["GET /v1/status"] = (200, shapes.status("/srv/.orchestra", rows))
    done = orchestra("status", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    uptime = done.stdout.split("4712  ")[1].split()[0]
    assert done.stdout.replace(uptime, "9d23h") == snapshot("""\
orchestra 0.1.0  home /srv/.orchestra  keeper 123  daemon 124  logger 125  1 ready of 2

  NAME     STATE    PID    UPTIME  RESTARTS  URL                    NOTE
● backend  ready   4712  9d23h         0  http://127.0.0.1:8010
✗ memory   failed                         0                         no luck
""")


def test_status_json_is_the_answer_of_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    answer = shapes.status("/srv/.orchestra", [shapes.service("bäckend\x1b")])
    daemon.answers["GET /v1/status"] = (200, answer)
    done = orchestra("status", "--json", "web,api", "mcp_*", cwd=tmp_path)
    assert json.loads(done.stdout) == answer
    assert daemon.asked("/v1/status")[0][2] == {"names": "web,api,mcp_*"}


def test_names_that_nobody_has_are_an_error_with_the_daemons_hint(daemon: Daemon, tmp_path: Path) -> None:
    refusal = shapes.error("unknown_service", "no service 'bakend'", "did you mean backend?")
    daemon.answers["GET /v1/status"] = (404, refusal)
    done = orchestra("status", "bakend", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "orchestra: error: no service 'bakend'\n  hint: did you mean backend?\n"


def test_without_a_fleet_the_status_is_4_and_the_hint_is_up(tmp_path: Path) -> None:
    done = orchestra("status", "--home", "h", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        f"orchestra: error: no fleet runs on {tmp_path}/h\n"
        "  hint: start one with `orchestra up`, or name another --home\n"
    )


def test_a_keeper_without_a_daemon_is_waited_for_and_then_named(tmp_path: Path) -> None:
    began = time.monotonic()
    with holding_lock(tmp_path, pid=4_711):
        done = orchestra("--home", ".", "status", cwd=tmp_path)
    assert done.returncode == 4
    assert time.monotonic() - began > 2.0
    assert "the keeper (pid 4711)" in done.stderr
    assert "on its way back" in done.stderr
    assert "the services run on" in done.stderr


def test_a_daemon_that_comes_back_in_time_answers(tmp_path: Path) -> None:
    answer = shapes.status("/h", [])
    with (
        holding_lock(tmp_path),
        subprocess.Popen(
            argv("--home", ".", "status", "--json"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE
        ) as child,
    ):
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.4)
        with serving(tmp_path / "control.sock", lambda *_: (200, answer)):
            out, _ = child.communicate(timeout=10)
    assert child.returncode == 0
    assert json.loads(out) == answer


def test_a_read_whose_answer_was_lost_is_asked_again(daemon: Daemon, tmp_path: Path) -> None:
    daemon.answers["GET /v1/status"] = (200, shapes.status("/h", []))
    daemon.hang_ups = 2
    assert orchestra("status", cwd=tmp_path).returncode == 0
    assert len(daemon.asked("/v1/status")) == 3


def test_a_change_whose_answer_was_lost_is_never_sent_again(daemon: Daemon, tmp_path: Path) -> None:
    daemon.hang_ups = 1
    daemon.answers["POST /v1/restart"] = (200, {"results": []})
    done = orchestra("restart", "all", cwd=tmp_path)
    assert done.returncode == 4
    assert "before its answer" in done.stderr
    assert len(daemon.asked("/v1/restart")) == 1


def test_start_tells_the_daemon_what_was_asked(daemon: Daemon, tmp_path: Path) -> None:
    daemon.answers["POST /v1/start"] = (200, {"results": [shapes.result("web", "stopped", "ready")]})
    done = orchestra(
        *("start", "web", "--wait", "none", "--timeout", "1m", "--with-dependents", "--reason", "why not"),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "● web  stopped → ready  0.2s\n", "")
    assert daemon.asked("/v1/start")[0][3] == {
        "names": ["web"],
        "wait": "none",
        "timeout": 60.0,
        "with_dependents": True,
        "reason": "why not",
    }


def test_stop_waits_for_stopped(daemon: Daemon, tmp_path: Path) -> None:
    daemon.answers["POST /v1/stop"] = (200, {"results": []})
    assert orchestra("stop", "all", cwd=tmp_path).returncode == 0
    assert daemon.asked("/v1/stop")[0][3]["wait"] == "stopped"  # type: ignore[index]


def test_a_verb_that_fails_for_one_service_prints_all_and_ends_with_1(daemon: Daemon, tmp_path: Path) -> None:
    results = [
        shapes.result("a", "stopped", "ready"),
        shapes.result("b", "stopped", "failed", "exit code 1", ok=False),
    ]
    daemon.answers["POST /v1/start"] = (200, {"results": results})
    done = orchestra("start", "all", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == "● a  stopped → ready  0.2s\n✗ b  stopped → failed  0.2s  exit code 1\n"
    assert done.stderr.startswith("orchestra: error: start did not succeed for b\n  hint: `orchestra logs b`")


@pytest.mark.parametrize(("word", "sent"), [("hup", "SIGHUP"), ("SIGUSR1", "SIGUSR1"), ("9", "SIGKILL")])
def test_signals_go_by_name_or_number(daemon: Daemon, tmp_path: Path, word: str, sent: str) -> None:
    daemon.answers["POST /v1/signal"] = (200, {"results": []})
    assert orchestra("signal", "web", "api", word, "--scope", "group", cwd=tmp_path).returncode == 0
    assert daemon.asked("/v1/signal")[0][3] == {"names": ["web", "api"], "signal": sent, "scope": "group"}


def test_an_unknown_signal_is_told_the_nearest(tmp_path: Path) -> None:
    done = orchestra("signal", "web", "HUPP", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean SIGHUP?" in done.stderr


def test_a_wait_that_is_refused_as_late_shows_its_results(daemon: Daemon, tmp_path: Path) -> None:
    refusal = shapes.error("timeout", "not ready: web is starting", "orchestra status shows why")
    refusal["error"]["context"] = {"results": [shapes.result("web", "starting", "starting", ok=False)]}  # type: ignore[index]
    daemon.answers["POST /v1/wait"] = (408, refusal)
    done = orchestra("wait", "web", "--timeout", "3", cwd=tmp_path)
    assert done.returncode == 7
    assert done.stdout == "✗ web  starting\n"
    assert "not ready within 3 s: web is starting" in done.stderr


@pytest.mark.parametrize(("met", "http", "status"), [(True, 200, 0), (False, 408, 7)])
def test_wait_ends_with_7_when_the_condition_is_not_met(
    daemon: Daemon, tmp_path: Path, met: bool, http: int, status: int
) -> None:
    row = shapes.result("web", "starting", "ready" if met else "starting", ok=met)
    daemon.answers["POST /v1/wait"] = (http, {"met": met, "results": [row]})
    done = orchestra("wait", "web", "--for", "ready", "--timeout", "3", cwd=tmp_path)
    assert done.returncode == status
    assert daemon.asked("/v1/wait")[0][3] == {"names": ["web"], "for": "ready", "timeout": 3.0}
    if not met:
        assert "not ready within 3 s: web is starting" in done.stderr


PLAN: dict[str, object] = {
    "summary": "1 added, 1 restarted",
    "added": ["worker"],
    "removed": [],
    "changed": ["api"],
    "restarted": ["api"],
    "unchanged": 4,
    "services": [
        {
            "name": "worker",
            "action": "add",
            "why": "new in the configuration",
            "where": {"path": "/srv/orchestra.json", "line": 14, "column": 5},
            "fields": [],
        },
        {
            "name": "api",
            "action": "restart",
            "why": "its configuration changed: env.LEVEL",
            "where": {"path": "/srv/orchestra.json", "line": 4, "column": 5},
            "fields": [
                {
                    "field": "env.LEVEL",
                    "old": "info",
                    "new": "de\x1bbug",
                    "when": "restart",
                    "why": "a process keeps what it was started with",
                    "where": {"path": "/srv/orchestra.json", "line": 9, "column": 5},
                }
            ],
        },
    ],
    "settings": [],
}


def test_reload_tells_what_it_did(daemon: Daemon, tmp_path: Path) -> None:
    daemon.answers["POST /v1/reload"] = (200, PLAN)
    done = orchestra("reload", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == snapshot("""\
+ worker  started  new in the configuration  /srv/orchestra.json:14
↻ api     restarted
  ↻ env.LEVEL  info → de^[bug  /srv/orchestra.json:9  a process keeps what it was started with

1 added, 1 restarted; 4 untouched
""")
    assert json.loads(orchestra("reload", "--json", cwd=tmp_path).stdout) == PLAN
    daemon.answers["POST /v1/reload"] = (
        422,
        shapes.error("config", "orchestra.json:3: no such key", "port?"),
    )
    assert orchestra("reload", cwd=tmp_path).returncode == 3


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reload_whose_roll_stopped_says_so_by_its_status(
    daemon: Daemon, tmp_path: Path, options: tuple[str, ...]
) -> None:
    roll = {"name": "web", "state": "stopped", "update": True, "message": "web@2 is not ready"}
    daemon.answers["POST /v1/reload"] = (200, PLAN | {"rolls": [roll]})
    done = orchestra("reload", *options, cwd=tmp_path)
    assert done.returncode == 1
    assert "the new configuration did not hold for web" in done.stderr


def test_reload_tells_the_names_that_an_older_daemon_gives(daemon: Daemon, tmp_path: Path) -> None:
    answer = {"added": ["a"], "removed": [], "changed": ["b"], "unchanged": 4}
    daemon.answers["POST /v1/reload"] = (200, answer)
    assert orchestra("reload", cwd=tmp_path).stdout == "+ a  started\n~ b  goes on\n\nchanged; 4 untouched\n"


@pytest.mark.parametrize("words", [("plan",), ("reload", "--dry-run")])
def test_a_plan_says_by_its_status_whether_there_is_anything_to_do(
    daemon: Daemon, tmp_path: Path, words: tuple[str, ...]
) -> None:
    daemon.answers["POST /v1/plan"] = (200, {"changes": True, **PLAN})
    done = orchestra(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (10, "")
    assert "+ worker  starts" in done.stdout
    assert orchestra(*words, "--json", cwd=tmp_path).returncode == 10
    daemon.answers["POST /v1/plan"] = (
        200,
        {"changes": False, "services": [], "settings": [], "unchanged": 4},
    )
    done = orchestra(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "nothing to do; 4 untouched\n")
    assert daemon.asked("/v1/reload") == []


def test_a_plan_by_other_files_names_them_absolutely(daemon: Daemon, tmp_path: Path) -> None:
    daemon.answers["POST /v1/plan"] = (200, {"changes": False, "services": [], "settings": []})
    assert orchestra("plan", "new.json", "/etc/x.json", cwd=tmp_path).returncode == 0
    assert daemon.asked("/v1/plan")[0][3] == {"files": [str(tmp_path / "new.json"), "/etc/x.json"]}


def test_a_plan_without_a_fleet_says_what_does_without_one(tmp_path: Path) -> None:
    done = orchestra("plan", cwd=tmp_path)
    assert done.returncode == 4
    assert "no fleet runs" in done.stderr
    assert "hint: a plan compares files with a running fleet: `orchestra check`" in done.stderr


def test_events_are_printed_oldest_first(daemon: Daemon, tmp_path: Path) -> None:
    events = [
        shapes.event(1, "daemon.started", "daemon 124"),
        shapes.event(2, "service.ready", "took 0.3 s", "web"),
    ]
    daemon.answers["GET /v1/events"] = (200, {"events": events, "last": 2})
    done = orchestra("events", "-n", "7", "--service", "web", "--kind", "service", cwd=tmp_path)
    assert done.stdout == snapshot("""\
2023-11-14 22:13:20.000  daemon.started  daemon 124
2023-11-14 22:13:20.000  service.ready  web  took 0.3 s
""")
    assert daemon.asked("/v1/events")[0][2] == {
        "after": "0",
        "limit": "7",
        "service": "web",
        "kind": "service",
    }


def test_events_are_followed_from_one_daemon_to_the_next_without_a_gap(tmp_path: Path) -> None:
    def made(seq: int, text: str) -> dict[str, object]:
        return shapes.event(seq, "service.ready", text, "web")

    # The first daemon dies before it has written its event 4; the second one uses that number again.
    first = [made(1, "a"), made(2, "b"), made(3, "c"), made(4, "lost")]
    second = [*first[:3], made(4, "d"), made(5, "e")]
    lives = iter([first, second])

    def answer(_method: str, path: str, query: dict[str, str], _body: object) -> object:
        if path == "/v1/events":
            return 200, {"events": first[:2], "last": 2}
        return iter(
            [event for event in next(lives, [*second, made(6, "f")]) if event["seq"] > int(query["after"])]
        )

    with (
        holding_lock(tmp_path),
        serving(tmp_path / "control.sock", answer),
        subprocess.Popen(
            argv("--home", ".", "events", "-f", "--json"),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
        ) as child,
    ):
        assert child.stdout is not None
        seen = [json.loads(child.stdout.readline())["message"] for _ in range(7)]
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
    assert seen == ["a", "b", "c", "lost", "d", "e", "f"]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    home = tmp_path / ".orchestra"
    home.mkdir()
    layout = {
        "log_directory": str(home / "logs"),
        "services": ["web", "mcp_a", "mcp_b"],
        "control": "control.sock",
    }
    (home / "layout.json").write_text(json.dumps(layout), encoding="utf-8")
    append_log(home / "logs" / "web.log", "one", at=shapes.STARTED)
    append_log(home / "logs" / "mcp_a.log", "two \x1b[31mred", at=shapes.STARTED + 1, stream="stderr")
    append_log(home / "logs" / "web.log", "three \udcff", at=shapes.STARTED + 2.5)
    return home


def test_logs_of_several_services_are_merged_by_time_without_a_daemon(logs: Path, tmp_path: Path) -> None:
    done = orchestra("logs", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "web   │ one\nmcp_a ! two ^[[31mred\nweb   │ three \\xff\n"


def test_logs_of_one_service_have_no_prefix_and_times_on_request(logs: Path, tmp_path: Path) -> None:
    assert orchestra("logs", "web", cwd=tmp_path).stdout == "one\nthree \\xff\n"
    done = orchestra("logs", "web", "--timestamps", "-n", "1", cwd=tmp_path)
    assert done.stdout == "2023-11-14 22:13:22.500 three \\xff\n"


def test_logs_are_chosen_by_glob_pattern_time_and_expression(logs: Path, tmp_path: Path) -> None:
    assert orchestra("logs", "mcp_*", "--grep", "r.d", cwd=tmp_path).stdout == "mcp_a ! two ^[[31mred\n"
    assert orchestra("logs", "--since", "10m", cwd=tmp_path).stdout == ""
    assert orchestra("logs", "web", "--since", "2023-11-14T22:13:21", cwd=tmp_path).stdout == "three \\xff\n"
    assert orchestra("logs", "-n", "0", cwd=tmp_path).stdout == ""


def test_logs_are_searched_through_rotation_with_the_lines_around_a_match(logs: Path, tmp_path: Path) -> None:
    def found(*words: str) -> str:
        done = orchestra("logs", *words, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    path = logs / "logs" / "mcp_b.log"
    for number in range(9):
        append_log(path, f"line {number}", at=shapes.STARTED + number)
        if number == 4:
            segment = f"{path}.20231114T221324.500000Z"
            Path(f"{segment}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
            Path(f"{path}.idx").rename(f"{segment}.idx")
    assert found("mcp_b", "--grep", "e [27]", "-C", "1") == (
        "line 1\nline 2\nline 3\n--\nline 6\nline 7\nline 8\n"
    )
    assert found("mcp_b", "--grep", "[2-6]", "-A", "1", "-n", "1") == "line 6\nline 7\n"
    until = ("--since", "2023-11-14T22:13:21", "--until", "2023-11-14T22:13:23")
    assert found(*until) == "mcp_a ! two ^[[31mred\nmcp_b │ line 1\nmcp_b │ line 2\nweb   │ three \\xff\n"
    assert found("mcp_b", "--grep", "line", "--count") == "9\n"
    assert found("--count", *until) == "web: 1\nmcp_a: 1\nmcp_b: 2\n"
    assert json.loads(found("web", "--count", "--json")) == {"service": "web", "count": 2}
    lines = [json.loads(line) for line in found("mcp_b", "--grep", "8", "-B", "1", "--json").splitlines()]
    assert [(line["text"], line["match"]) for line in lines] == [("line 7", False), ("line 8", True)]


def test_logs_json_has_the_text_as_it_is(logs: Path, tmp_path: Path) -> None:
    done = orchestra("logs", "mcp_a", "--json", cwd=tmp_path)
    line = json.loads(done.stdout)
    assert (line["service"], line["stream"], line["text"]) == ("mcp_a", "stderr", "two \x1b[31mred")
    assert line["at"] == shapes.STARTED + 1


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["wob"], 5, "did you mean web?"),
        (["../../etc/passwd"], 5, "no service"),
        (["--grep", "("], 2, "not a regular expression"),
        (["-f", "--count"], 2, "--count and --follow"),
        (["-f", "--until", "1m"], 2, "--until and --follow"),
        (["-A", "3"], 2, "--grep RE"),
        (["--grep", "x", "-C", "999999"], 2, "at most 10000"),
    ],
)
def test_logs_refuse_what_they_cannot_find(
    logs: Path, tmp_path: Path, words: list[str], status: int, said: str
) -> None:
    done = orchestra("logs", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr


def test_following_logs_goes_on_through_a_rotation(logs: Path, tmp_path: Path) -> None:
    path = logs / "logs" / "web.log"
    with subprocess.Popen(
        argv("logs", "-f", "web"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert [child.stdout.readline() for _ in range(2)] == [b"one\n", b"three \\xff\n"]
        append_log(path, "four", at=shapes.STARTED + 3)
        stamp = "20231114T221323.000000Z"
        path.with_name("web.log.idx").rename(path.with_name(f"web.log.{stamp}.idx"))
        path.rename(path.with_name(f"web.log.{stamp}"))
        append_log(path, "five", at=shapes.STARTED + 4)
        assert [child.stdout.readline() for _ in range(2)] == [b"four\n", b"five\n"]
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130


def test_a_reader_that_leaves_ends_logs_without_a_word(logs: Path, tmp_path: Path) -> None:
    path = logs / "logs" / "web.log"
    with path.open("ab") as file:
        file.write(b"x" * 99 + b"\n")
        file.write((b"y" * 99 + b"\n") * 20_000)
    for words in (("logs", "web", "-n", "100000"), ("logs", "web", "-n", "1", "-f")):
        with subprocess.Popen(
            argv(*words), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            child.stdout.readline()
            child.stdout.close()
            assert child.wait(10) == 0
            assert child.stderr.read() == b""


def test_logs_of_a_home_where_nothing_ever_ran_are_an_error(tmp_path: Path) -> None:
    assert orchestra("logs", cwd=tmp_path).returncode == 4


@pytest.mark.parametrize("words", ["status web", "status --json", "start web", "wait web", "run web"])
def test_what_asks_the_daemon_loads_nothing_heavy(daemon: Daemon, tmp_path: Path, words: str) -> None:
    daemon.answers["GET /v1/status"] = (200, shapes.status("/h", [shapes.service("web")]))
    for verb in ("start", "wait", "run"):
        daemon.answers[f"POST /v1/{verb}"] = (
            200,
            {"met": True, "results": [shapes.result("web", "stopped", "ready")]},
        )
    script = (
        "import sys; from orchestra_supervisor.cli.main import main; "
        "sys.exit(main(sys.argv[1:]) or print(*sys.modules))"
    )
    done = subprocess.run(
        [argv()[0], "-P", "-c", script, *words.split()],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=20,
        check=True,
    )
    loaded = done.stdout.splitlines()[-1].split()
    heavy = {
        "mcp",
        "pydantic",
        "starlette",
        "anyio",
        "uvicorn",
        "h11",
        "psutil",
        "asyncio",
        "subprocess",
        "dataclasses",
        "argparse",
        "gettext",
        "inspect",
        "locale",
        "pathlib",
        "shutil",
        "typing",
        "unicodedata",
        "urllib",
    }
    assert "web" in done.stdout
    assert not heavy & set(loaded)
    ours = {name.partition(".")[2] for name in loaded if name.startswith("orchestra_supervisor.")}
    assert ours - {f"cli.commands.{name}" for name in ("status", "wait", "run", "verbs")} == {
        "cli",
        "cli.catalog",
        "cli.commands",
        "cli.connection",
        "cli.holder",
        "cli.main",
        "cli.parser",
        "cli.render",
        "cli.shapes",
        "cli.table",
        "cli.terminal",
        "cli.text",
        "cli.words",
        "control_client",
        "control_home",
        "unix_http",
    }


def test_an_unreadable_locale_does_not_end_a_command(logs: Path, tmp_path: Path) -> None:
    append_log(logs / "logs" / "web.log", "日本", at=shapes.STARTED + 5)
    done = orchestra("logs", "web", "-n", "1", cwd=tmp_path, PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert done.stdout == "\\u65e5\\u672c\n"
