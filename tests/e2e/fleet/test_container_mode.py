"""`up --exec` as a container runs it: logs on stdout, an exit status by policy, an end within the grace."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import DEADLINE, Fleet, until

SHELL = ["/bin/sh", "-c"]
SAYS = 'echo "hello from $ORCHESTRA_SERVICE"; echo trouble >&2; exec sleep 1000'


class Contained:
    """A fleet whose keeper the command has become; its output goes to a file, as to a container's log."""

    def __init__(self, fleet: Fleet, *words: str) -> None:
        self.fleet = fleet
        self.out = fleet.path / "stdout.txt"
        with self.out.open("wb") as out, (fleet.path / "stderr.txt").open("wb") as err:
            self.process = subprocess.Popen(
                fleet.argv("up", "--exec", *words),
                cwd=fleet.path,
                env=fleet.environ(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def lines(self) -> list[bytes]:
        return self.out.read_bytes().splitlines()

    def until_lines(self, count: int) -> list[bytes]:
        until(lambda: len(self.lines()) >= count, f"{count} lines; {self.lines()}; {self.errors()}")
        return self.lines()

    def errors(self) -> str:
        return (self.fleet.path / "stderr.txt").read_text(encoding="utf-8")

    def stop(self) -> int:
        """Do what `docker stop` does."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)


@pytest.fixture
def contained(fleet: Fleet):
    started: list[Contained] = []

    def start(*words: str) -> Contained:
        started.append(Contained(fleet, *words))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.stop()


@pytest.mark.parametrize(
    ("words", "setting", "expected"),
    [
        (("--logs", "prefix"), "off", [b"web | hello from web", b"web | trouble"]),
        ((), "raw", [b"hello from web", b"trouble"]),
        (("--logs", "raw"), "json", [b"hello from web", b"trouble"]),
    ],
)
def test_what_services_write_is_on_stdout_and_in_their_logs(fleet, contained, words, setting, expected):
    fleet.write({"web": {"command": [*SHELL, SAYS]}}, console=setting)
    one = contained(*words)
    assert sorted(one.until_lines(2)) == sorted(expected)
    assert sorted(fleet.until_log("web", "trouble").splitlines()) == [b"hello from web", b"trouble"]
    assert one.stop() == 0


def test_objects_on_stdout_say_who_and_which_stream(fleet, contained):
    fleet.write({"web": {"command": [*SHELL, SAYS]}}, console="json")
    found = [json.loads(line) for line in contained().until_lines(2)]
    assert sorted((one["service"], one["stream"], one["message"]) for one in found) == [
        ("web", "stderr", "trouble"),
        ("web", "stdout", "hello from web"),
    ]


def test_nothing_is_on_stdout_unless_it_is_wanted(fleet, contained):
    fleet.write({"web": {"command": [*SHELL, SAYS]}})
    one = contained()
    fleet.until_log("web", "trouble")
    assert one.stop() == 0
    assert one.lines() == []


def test_a_service_with_a_console_of_its_own_keeps_to_it(fleet, contained):
    own = {"sinks": [{"console": {"to": "stdout", "layout": "prefix"}, "stream": "stderr"}]}
    fleet.write({"web": {"command": [*SHELL, SAYS], "log": own}}, console="raw")
    one = contained()
    fleet.until_log("web", "trouble")
    assert one.until_lines(1) == [b"web | trouble"]


def test_without_exec_consoles_are_none_and_logs_is_refused(fleet):
    own = {"sinks": ["console"]}
    fleet.write({"web": {"command": [*SHELL, SAYS], "log": own}})
    fleet.up()
    fleet.until_log("web", "trouble")
    assert "hello" not in fleet.said()
    done = fleet.run("up", "--logs", "raw")
    assert (done.returncode, "--logs is for --exec" in done.stderr) == (2, True)


def test_a_file_of_supervisord_for_containers_logs_to_stdout(fleet, contained):
    text = (
        "[supervisord]\nnodaemon=true\n[program:web]\n"
        "command=/bin/sh -c 'echo one; echo two >&2; exec sleep 1000'\n"
        "stdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\n"
        "stderr_logfile=/dev/stderr\nstderr_logfile_maxbytes=0\n"
    )
    (fleet.path / "supervisord.conf").write_text(text, encoding="utf-8")
    one = contained("-c", "supervisord.conf")
    assert one.until_lines(1) == [b"one"]
    until(lambda: "two\n" in one.errors(), "the other stream on stderr")


# How a fleet ends by itself.


@pytest.mark.parametrize(
    ("line", "policy", "expected"),
    [
        ("exit 7", "never", 7),
        ("exit 0", "never", 0),
        ("kill -KILL $$$$", "never", 128 + signal.SIGKILL),
        ("exit 3", "on-failure", 3),
    ],
)
def test_the_end_of_a_service_that_counts_ends_the_fleet_with_its_status(
    fleet, contained, line, policy, expected
):
    fleet.write(
        {
            "main": {
                "command": [*SHELL, f"sleep 0.2; {line}"],
                "restart": {"policy": policy, "max_restarts": 1, "backoff": {"initial": 0, "jitter": 0}},
            },
            "side": {"command": [*SHELL, 'trap "echo bye; exit 0" TERM; while :; do sleep 0.05; done']},
        },
        exit_when={"ends": ["main"]},
    )
    one = contained()
    assert one.process.wait(DEADLINE) == expected, one.errors()
    assert fleet.log("side").endswith(b"bye\n")  # in good order


def test_a_stop_by_hand_is_no_end(fleet, contained):
    fleet.write(
        {"main": {"command": ["sleep", "1000"]}, "side": {"command": ["sleep", "1000"]}},
        exit_when={"ends": ["main"]},
    )
    one = contained()
    fleet.until_state("main", "ready")
    fleet.ok("stop", "main")
    fleet.ok("start", "main")
    assert one.process.poll() is None
    assert one.stop() == 0


def test_a_required_service_that_fails_for_good_later_ends_the_fleet(fleet, contained):
    command = [*SHELL, 'test -e "$ORCHESTRA_HOME/../broken" && exit 1; exec sleep 1000']
    restart = {"policy": "always", "max_restarts": 1, "backoff": {"initial": 0, "jitter": 0}}
    fleet.write(
        {
            "db": {"command": command, "required_for_system": True, "restart": restart},
            "web": {"command": ["sleep", "1000"]},
        },
        exit_when={"required_fails": True},
    )
    one = contained()
    until((fleet.home / "control.sock").exists, "the fleet is there")
    fleet.until_event("fleet.ready")
    (fleet.path / "broken").touch()
    fleet.kill(fleet.pid("db"))
    assert one.process.wait(DEADLINE) == 1
    assert "required services have failed: db: exit code 1" in one.errors()


@pytest.mark.parametrize(("codes", "expected"), [((0, 0), 0), ((0, 5), 1)])
def test_a_fleet_of_jobs_ends_when_all_of_them_have(fleet, contained, codes, expected):
    fleet.write(
        {
            f"job{number}": {"kind": "once", "command": [*SHELL, f"sleep 0.{number}; exit {code}"]}
            for number, code in enumerate(codes, start=1)
        },
        exit_when={"all_ended": True},
    )
    one = contained()
    assert one.process.wait(DEADLINE) == expected, one.errors()


def test_the_status_is_kept_by_a_daemon_that_dies_on_the_way(fleet, contained):
    fleet.write(
        {
            "main": {"command": [*SHELL, "sleep 0.5; exit 9"], "restart": "never"},
            "side": {
                "command": [*SHELL, 'trap "" TERM; while :; do sleep 0.05; done'],
                "stop": {"grace": "2s"},
            },
        },
        exit_when={"ends": ["main"]},
    )
    one = contained()
    fleet.until_state("side", "stopping")
    fleet.kill_daemon()
    assert one.process.wait(DEADLINE) == 9, one.errors()


def test_in_the_foreground_the_command_ends_with_that_status_and_says_why(fleet):
    fleet.write(
        {"main": {"command": [*SHELL, "sleep 0.2; exit 4"], "restart": "never"}}, exit_when={"ends": ["main"]}
    )
    done = fleet.run("up")
    assert done.returncode == 4, done.stderr
    assert "main has ended: exit code 4" in done.stdout + done.stderr
    assert "unexpectedly" not in done.stderr


def test_a_name_that_is_nobodys_is_refused_with_its_line(fleet):
    fleet.write({"main": {"command": ["true"]}}, exit_when={"ends": ["mian"]})
    done = fleet.run("check")
    assert done.returncode == 3
    assert "`settings.exit_when.ends` names 'mian', which is no service" in done.stdout
    assert "did you mean 'main'?" in done.stdout


def test_a_stop_from_outside_is_over_within_the_grace_of_its_services(fleet, contained):
    fleet.write(
        {
            "deaf": {
                "command": [*SHELL, 'trap "" TERM; echo up; while :; do sleep 0.05; done'],
                "stop": {"grace": "500ms"},
            }
        },
    )
    one = contained()
    fleet.until_log("deaf", "up")
    assert one.stop() == 0
    assert not Path(f"/proc/{one.process.pid}").exists()
