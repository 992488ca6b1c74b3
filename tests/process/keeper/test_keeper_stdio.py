"""Stdio servers: their pipes are held by the keeper and handed to whoever has a channel."""

import fcntl
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from orchestra_supervisor.wire import channel as wire_channel
from tests.process.keeper_driver import is_alive, spawn_message, wait_until
from tests.process.stdio_driver import ECHO, Pipes, Receiver, python, read_exactly, read_line

EOF_PLAN = {"steps": [["EOF", 30.0]], "scope": "group"}
LOG = {"path": "logs/a.log", "options": {}, "secrets": []}

# A receiver as a process of its own: asks every server one question, and tells what it heard.
_ASKER = """
import os, select, sys
sys.path.insert(0, sys.argv[1])
from orchestra_supervisor.wire.channel import STDIO_VARIABLE, Channel, inherited_socket
channel = Channel(inherited_socket(os.environ, STDIO_VARIABLE))
while True:
    select.select([channel], [], [])
    for message, fds in channel.on_readable():
        if message["type"] == "stdio":
            os.write(fds[0], b"who is there?\\n")
            select.select([fds[1]], [], [])
            inodes = [os.fstat(fd).st_ino for fd in fds]
            with open(sys.argv[2], "a") as told:
                told.write(f"{os.getpid()} {inodes} {os.read(fds[1], 100).decode()}")
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def receiver(daemon, stack) -> Receiver:
    one = stack.enter_context(Receiver(daemon, "gw-1"))
    assert one.snapshot() == {}
    return one


def server(run: str, script: str = ECHO, **extra: object) -> dict[str, object]:
    return spawn_message(run, *python(script), **{"stdio": True, "stop": EOF_PLAN, **extra})


def close(pipes: Pipes) -> None:
    for fd in pipes:
        os.close(fd)


def ask(pipes: Pipes, text: bytes) -> bytes:
    os.write(pipes[0], text)
    return read_line(pipes[1])


def inodes(pipes: Pipes) -> list[int]:
    return [os.fstat(fd).st_ino for fd in pipes]


def open_in(pid: int) -> dict[int, str]:
    """Return what a process has open."""
    found: dict[int, str] = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed just now
            found[int(entry.name)] = str(entry.readlink())
    return found


def count(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_a_server_is_spoken_with_over_the_pipes_that_the_receiver_is_handed(daemon, stack):
    pid = daemon.request(server("echo-1"))["pid"]
    receiver = stack.enter_context(Receiver(daemon, "gw-1"))
    message, fds = receiver.next()
    stack.callback(close, fds)
    assert (message, len(fds)) == ({"type": "stdio", "slot": "echo", "run": "echo-1"}, 2)
    assert receiver.next() == ({"type": "held"}, [])
    assert ask((fds[0], fds[1]), b"hello\n") == b"%d hello\n" % pid
    assert not any(os.get_blocking(fd) for fd in fds)


def test_a_server_that_comes_later_is_handed_over_to_all_who_are_there(daemon, receiver, stack):
    second = stack.enter_context(Receiver(daemon, "gw-2", slot="gw2"))
    assert second.snapshot() == {}
    pid = daemon.request(server("echo-1"))["pid"]
    ours, theirs = receiver.pipes("echo-1"), second.pipes("echo-1")
    stack.callback(close, ours + theirs)
    assert inodes(ours) == inodes(theirs)
    assert [ask(pipes, b"x\n") for pipes in (ours, theirs)] == [b"%d x\n" % pid] * 2


def test_the_pipes_take_a_mebibyte_where_that_is_allowed(daemon, receiver, stack):
    daemon.request(server("echo-1"))
    pipes = receiver.pipes("echo-1")
    stack.callback(close, pipes)
    trial = os.pipe()
    stack.callback(close, trial)
    try:
        wanted = fcntl.fcntl(trial[0], fcntl.F_SETPIPE_SZ, 1 << 20)
    except OSError:
        wanted = fcntl.fcntl(trial[0], fcntl.F_GETPIPE_SZ)
    assert [fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) for fd in pipes] == [wanted] * 2


def test_a_receiver_that_is_killed_is_followed_by_one_with_the_very_same_pipes(daemon, tmp_path):
    pid = daemon.request(server("echo-1"))["pid"]
    told = tmp_path / "told"
    root = Path(wire_channel.__file__).parents[2]
    heard: list[str] = []
    for number in (1, 2):
        order = spawn_message(f"gw-{number}", *python(_ASKER), str(root), str(told), slot="gw", channel=True)
        asker = daemon.request(order)["pid"]
        wait_until(
            lambda wanted=number: told.exists() and told.read_text(encoding="utf-8").count("\n") == wanted,
            "the server has answered",
        )
        heard.append(told.read_text(encoding="utf-8").splitlines()[-1].removeprefix(f"{asker} "))
        os.kill(asker, signal.SIGKILL)
        daemon.event("gone", run=f"gw-{number}")
    assert heard[0] == heard[1]
    assert heard[0].endswith(f"{pid} who is there?")
    assert is_alive(pid)


def test_what_a_dead_receiver_left_in_the_pipes_is_there_for_the_next(daemon, receiver, stack):
    pid = daemon.request(server("echo-1"))["pid"]
    pipes = receiver.pipes("echo-1")
    os.write(pipes[0], b"one\ntwo\nhalf")
    first = read_line(pipes[1])
    assert read_exactly(pipes[1], 3) == str(pid).encode()[:3], "and so it has taken half of the second answer"
    close(pipes)
    receiver.kill()
    daemon.event("gone", run="gw-1")
    successor = stack.enter_context(Receiver(daemon, "gw-2", slot="gw"))
    pipes = successor.snapshot()["echo-1"]
    stack.callback(close, pipes)
    assert first == b"%d one\n" % pid
    assert read_line(pipes[1]) == (b"%d two\n" % pid)[3:]
    assert ask(pipes, b" done\n") == b"%d half done\n" % pid
    assert is_alive(pid)


def test_the_end_of_a_server_is_told_and_nothing_of_it_stays_open(keeper, daemon, receiver):
    before = count(keeper.pid)
    for number in range(20):
        pid = daemon.request(server(f"echo-{number}", slot="echo"))["pid"]
        pipes = receiver.pipes(f"echo-{number}")
        os.kill(pid, signal.SIGKILL)
        assert receiver.next() == ({"type": "stdio_end", "slot": "echo", "run": f"echo-{number}"}, [])
        daemon.event("gone", run=f"echo-{number}")
        assert read_exactly(pipes[1], 1) == b"", "nobody else has its stdout"
        close(pipes)
    daemon.sync()
    assert count(keeper.pid) == before


def test_a_stop_by_eof_lets_a_server_end_by_itself(daemon, receiver, logger):
    daemon.request(server("echo-1", log=LOG))
    pipes = receiver.pipes("echo-1")
    opened, fds = logger.expect(lambda m: m["type"] == "open", "its log")
    daemon.request({"type": "stop", "run": "echo-1"})
    assert receiver.next() == ({"type": "stdio_end", "slot": "echo", "run": "echo-1"}, [])
    close(pipes)
    ended = daemon.event("exit", run="echo-1")
    assert (ended["code"], ended["signal"]) == (7, None)
    daemon.event("gone", run="echo-1")
    daemon.sync()
    receiver.take(0)
    assert receiver.frames == [], "its end is told once"
    assert opened["stream"] == "stderr"
    assert read_line(fds[0]) == b"its input ended\n"
    os.close(fds[0])
    assert [m for m, _ in logger.inbox if m["type"] == "open"] == [], "stdout is not logged"


def test_a_stop_by_eof_needs_no_receiver(daemon):
    daemon.request(server("echo-1"))
    daemon.request({"type": "stop", "run": "echo-1"})
    assert daemon.event("exit", run="echo-1")["code"] == 7


def test_a_receiver_that_comes_after_eof_is_not_told_of_the_server(daemon, stack):
    script = (
        "import signal, sys; sys.stdin.read(); print('over', file=sys.stderr, flush=True); signal.pause()"
    )
    daemon.request(server("deaf-1", script))
    daemon.request({"type": "stop", "run": "deaf-1"})
    receiver = stack.enter_context(Receiver(daemon, "gw-1"))
    assert receiver.snapshot() == {}


@pytest.mark.parametrize("takes_part", [True, False], ids=["", "of which a receiver does not let go"])
def test_sigterm_follows_where_eof_does_not_end_a_server(daemon, receiver, takes_part):
    script = "import signal, sys; sys.stdin.read(); signal.pause()" if takes_part else ECHO
    plan = {"steps": [["EOF", 0.2], ["SIGTERM", 10.0]], "scope": "group"}
    daemon.request(server("deaf-1", script, stop=plan))
    pipes = receiver.pipes("deaf-1")
    daemon.request({"type": "stop", "run": "deaf-1"})
    receiver.next()
    if takes_part:
        close(pipes)
    ended = daemon.event("exit", run="deaf-1")
    assert (ended["code"], ended["signal"]) == (None, "SIGTERM")
    if not takes_part:
        close(pipes)


def test_eof_is_passed_over_at_once_for_a_run_that_is_no_stdio_server(daemon):
    plan = {"steps": [["EOF", 3600.0], ["SIGINT", 10.0]], "scope": "group"}
    daemon.request(spawn_message("a-1", "sleep", "100", stop=plan))
    daemon.request({"type": "stop", "run": "a-1"})
    assert daemon.event("exit", run="a-1")["signal"] == "SIGINT"


def test_eof_as_a_signal_is_no_signal(daemon):
    daemon.request(server("echo-1"))
    reply = daemon.request({"type": "signal", "run": "echo-1", "signal": "EOF"})
    assert (reply["type"], reply["code"]) == ("error", "bad_signal")


def test_the_input_of_a_server_ends_with_its_leader_for_what_is_left_of_it(daemon, tmp_path):
    script = f"""
import os, sys
if os.fork(): os._exit(0)
os.setsid()
rest = sys.stdin.read()
open({str(tmp_path / "told")!r}, "w").write(f"end after {{rest!r}}")
"""
    daemon.request(server("a-1", script))
    assert daemon.event("exit", run="a-1")["code"] == 0
    daemon.event("gone", run="a-1")
    assert (tmp_path / "told").read_text(encoding="utf-8") == "end after ''"


def test_pipes_outlive_daemon_and_logger(keeper, daemon, receiver, logger, stack):
    pid = daemon.request(server("echo-1", log=LOG))["pid"]
    pipes = receiver.pipes("echo-1")
    stack.callback(close, pipes)
    logger.kill()
    daemon.kill()
    keeper.logger()
    second = keeper.daemon()
    welcome, snapshot = second.hello()
    assert welcome["stdio"] is True
    assert {m["run"]: m["phase"] for m in snapshot if m["type"] == "run"} == {
        "gw-1": "live",
        "echo-1": "live",
    }
    assert ask(pipes, b"still\n") == b"%d still\n" % pid
    other = second.request(server("echo-2", slot="echo2"))["pid"]
    others = receiver.pipes("echo-2")
    stack.callback(close, others)
    assert ask(others, b"new\n") == b"%d new\n" % other


def test_the_end_of_the_keeper_is_the_end_of_their_input(keeper, daemon):
    pid = daemon.request(server("echo-1"))["pid"]
    keeper.process.kill()
    keeper.wait()
    wait_until(lambda: not is_alive(pid), "the server ends by itself")


def test_no_descriptor_gets_where_it_does_not_belong(daemon, stack, tmp_path):
    first = daemon.request(server("echo-1"))["pid"]
    ctl = {"name": "ctl", "kind": "unix", "path": f"{tmp_path}/s"}
    receiver = stack.enter_context(Receiver(daemon, "gw-1", sockets=[ctl]))
    pipes = receiver.snapshot()["echo-1"]
    stack.callback(close, pipes)
    second = daemon.request(server("echo-2", slot="echo2"))["pid"]
    others = receiver.pipes("echo-2")
    stack.callback(close, others)
    for pid, ends in ((first, pipes), (second, others)):
        assert ask(ends, b"up\n") == b"%d up\n" % pid
        stdin, stdout = inodes(ends)
        assert open_in(pid) == {0: f"pipe:[{stdin}]", 1: f"pipe:[{stdout}]", 2: "/dev/null"}
    other = daemon.request(spawn_message("b-1", "sleep", "100"))["pid"]
    wait_until(lambda: open_in(other) == dict.fromkeys(range(3), "/dev/null"), "it has only what is its own")
    environ = Path(f"/proc/{receiver.pid}/environ").read_bytes().split(b"\0")
    assert [entry for entry in environ if entry.startswith((b"ORCHESTRA_STDIO_FD=", b"LISTEN_FDS="))] == [
        b"LISTEN_FDS=1",
        b"ORCHESTRA_STDIO_FD=4",
    ]
    theirs = open_in(receiver.pid)
    theirs.pop(5, None)  # its connection to us, which the relay has in place of the channel
    assert {fd: kind.partition(":")[0] for fd, kind in theirs.items()} == {
        **dict.fromkeys(range(3), "/dev/null"),
        3: "socket",
    }


def test_commands_of_a_server_get_neither_its_pipes_nor_its_channel(
    daemon, receiver, logger, stack, tmp_path
):
    def look(name: str) -> dict[str, object]:
        command = (
            f"ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> \\([^:]*\\).*/\\1 \\2/p' > {tmp_path}/{name}"
        )
        command += f"; echo ${{ORCHESTRA_STDIO_FD-none}} >> {tmp_path}/{name}; echo {name} said this"
        return {"argv": ["sh", "-c", command], "timeout": 10}

    order = server(
        "echo-1",
        channel=True,
        log=LOG,
        before=[look("before")],
        after=[look("after")],
        stop={"steps": [[look("stop")["argv"], 0.3], ["EOF", 10.0]], "scope": "group"},
    )
    pid = daemon.request(order)["pid"]
    pipes = receiver.pipes("echo-1")
    assert ask(pipes, b"first\n") == b"%d first\n" % pid, "what the command wrote is not in the answer"
    assert sorted(open_in(pid)) == [0, 1, 2, 3]
    daemon.request({"type": "stop", "run": "echo-1"})
    receiver.next()
    close(pipes)
    assert daemon.event("exit", run="echo-1")["code"] == 7
    daemon.event("gone", run="echo-1")
    plain = ["0 /dev/null", "2 pipe", "none"]
    for name in ("before", "stop", "after"):
        seen = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        # 1 is the file that the look writes to, 3 the directory that it reads.
        assert [line for line in seen if line[0] not in "13"] == plain, name
        assert len(seen) == 5, name
    logged: dict[str, bytes] = {}
    while len(logged) < 5:
        opened, fds = logger.expect(lambda m: m["type"] == "open", "a log")
        stack.callback(os.close, fds[0])
        key = f"{str(opened['run']).rpartition('-')[0]} {opened['stream']}"
        logged[key] = b"" if "stderr" in key and ":" in key else read_line(fds[0])
    assert logged == {
        "echo stderr": b"before said this\n",
        "echo-1:stop stdout": b"stop said this\n",
        "echo-1:stop stderr": b"",
        "echo-1:post_stop stdout": b"after said this\n",
        "echo-1:post_stop stderr": b"",
    }


def test_a_server_whose_program_is_never_reached_is_told_to_nobody(keeper, daemon, receiver, stack):
    before = count(keeper.pid)
    failed = daemon.request({**server("a-1"), "argv": ["/nowhere"]})
    assert (failed["type"], failed["stage"]) == ("spawn_failed", "exec")
    slow = {"argv": ["sleep", "100"], "timeout": 200}
    daemon.send({**server("b-1", before=[slow], channel=True, stop=EOF_PLAN), "id": 900})
    daemon.request({"type": "stop", "run": "b-1", "plan": {"steps": [["EOF", 0.1]], "scope": "group"}})
    failed, _ = daemon.expect(lambda m: m.get("re") == 900, "the outcome of the spawn")
    assert failed["type"] == "spawn_failed"
    daemon.sync()
    assert count(keeper.pid) == before
    daemon.request(server("c-1"))
    stack.callback(close, receiver.pipes("c-1"))  # the first of which it hears


def test_a_receiver_that_closes_its_channel_costs_nothing(keeper, daemon, receiver, stack):
    pid = daemon.request(server("echo-1"))["pid"]
    pipes = receiver.pipes("echo-1")
    stack.callback(close, pipes)
    before = count(keeper.pid)
    receiver.channel.close()
    wait_until(lambda: count(keeper.pid) == before - 1, "the keeper has let go of the channel")
    assert ask(pipes, b"x\n") == b"%d x\n" % pid
    assert is_alive(receiver.pid)
    daemon.request(server("echo-2", slot="echo2"))


def test_a_receiver_that_speaks_is_cut_off(keeper, daemon, receiver, stack):
    daemon.request(server("echo-1"))
    pipes = receiver.pipes("echo-1")
    stack.callback(close, pipes)
    receiver.channel.send({"type": "spawn"}, pipes)
    assert receiver.is_closed()
    keeper.says("gw: its channel is closed: it says something")
    assert ask(pipes, b"x\n").endswith(b" x\n")


@pytest.mark.parametrize("garbage", [b"\0" * 8, b"\xff" * 4096, b"GET / HTTP/1.1\r\n\r\n"])
def test_a_receiver_that_sends_garbage_is_cut_off(keeper, daemon, garbage, stack):
    receiver = stack.enter_context(Receiver(daemon, "gw-1"))
    receiver.snapshot()
    with socket.socket(fileno=os.dup(receiver.channel.fileno())) as raw:
        raw.sendall(garbage)
    assert receiver.is_closed()
    daemon.sync()


@pytest.mark.slow
def test_a_receiver_that_does_not_read_is_cut_off_and_disturbs_nobody(keeper, daemon, stack):
    before = count(keeper.pid)
    deaf = stack.enter_context(Receiver(daemon, "deaf-1"))
    receiver = stack.enter_context(Receiver(daemon, "gw-1"))
    assert receiver.snapshot() == {}
    told: list[tuple[str, str]] = []
    for start in range(0, 1000, 10):  # few enough for the socket to take what is told of all
        runs = [f"s{number}-1" for number in range(start, start + 10)]
        for run in runs:
            daemon.send(spawn_message(run, "true", stdio=True))
        for _ in range(2 * len(runs)):
            message, fds = receiver.next()
            close(fds)
            told.append((message["type"], message["run"]))
        for run in runs:
            daemon.event("gone", run=run)
            daemon.send({"type": "ack", "run": run})
    wanted = {f"s{number}-1": ["stdio", "stdio_end"] for number in range(1000)}
    assert {run: [kind for kind, of in told if of == run] for run in wanted} == wanted
    keeper.says("deaf: its channel is closed: it does not read, 51")
    assert is_alive(deaf.pid)
    assert deaf.is_closed(), "once it has read what had been sent before"
    daemon.sync()
    assert count(keeper.pid) == before + 3, "the other channel, and a pidfd of each"


@pytest.mark.parametrize("key", ["stdio", "channel"])
@pytest.mark.parametrize("wrong", ["yes", 1, 0, [], {}, 1.5])
def test_keys_of_a_wrong_type_are_refused(daemon, key, wrong):
    reply = daemon.request({**spawn_message("a-1", "sleep", "100"), key: wrong})
    assert (reply["type"], reply["code"]) == ("error", "bad_message")
    assert reply["message"] == f"{key} is {str(wrong)!r}, not true or false"
    assert daemon.hello()[1] == []


@pytest.mark.parametrize("step", [["eof", 1], ["EOF"], ["EOF", "1"], ["EOF", -1], [["EOF"], None]])
def test_steps_that_make_no_sense_are_refused(daemon, step):
    reply = daemon.request(server("a-1", stop={"steps": [step], "scope": "group"}))
    assert reply["type"] == "error"
    assert reply["code"] == ("bad_signal" if step[0] == "eof" else "bad_message")


def test_null_is_as_good_as_no_key(daemon):
    assert daemon.request(spawn_message("a-1", "true", stdio=None, channel=None))["type"] == "spawned"
