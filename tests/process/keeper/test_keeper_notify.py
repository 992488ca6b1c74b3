"""What services say of themselves, by sd_notify."""

import os
import shutil
import signal
import socket
import sys

import pytest

from tests.process.keeper_driver import is_alive, spawn_message, wait_until

SAY = """
import os, socket, sys, time
def say(text, fds=()):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here:
        name = os.environ["NOTIFY_SOCKET"]
        here.connect("\\0" + name[1:] if name[0] == "@" else name)
        socket.send_fds(here, [text.encode()], list(fds)) if fds else here.send(text.encode())
"""


def speaker(script: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", f"{SAY}\n{script}"]


def test_what_a_run_says_is_told_and_kept_for_the_next_daemon(keeper, daemon):
    script = "say('READY=1\\nSTATUS=42 clients\\nX_OURS=1'); time.sleep(100)"
    daemon.request(spawn_message("a-1", *speaker(script), notify=True))
    told = daemon.event("notify", run="a-1")
    assert told["fields"] == {"READY": "1", "STATUS": "42 clients"}
    daemon.kill()
    _, snapshot = keeper.daemon().hello()
    assert snapshot[0]["said"] == {"READY": "1", "STATUS": "42 clients"}


def test_a_beat_is_told_with_its_time_and_the_last_one_is_kept(keeper, daemon):
    script = "say('WATCHDOG=1'); time.sleep(100)"
    daemon.request(spawn_message("a-1", *speaker(script), notify=True, watchdog=2.5))
    told = daemon.event("notify", run="a-1")
    assert told["beat_mono"] <= told["at_mono"]
    daemon.kill()
    _, snapshot = keeper.daemon().hello()
    assert snapshot[0]["beat_mono"] == told["beat_mono"]


def test_a_run_is_told_how_often_to_say_that_it_is_alive(daemon, tmp_path):
    told = "os.environ['WATCHDOG_USEC'], os.environ['WATCHDOG_PID'] == str(os.getpid())"
    script = f"open({str(tmp_path / 'told')!r}, 'w').write(repr(({told}))); time.sleep(100)"
    daemon.request(spawn_message("a-1", *speaker(script), notify=True, watchdog=2.5))
    wait_until(
        lambda: (tmp_path / "told").exists() and (tmp_path / "told").read_text(encoding="utf-8") != "", "told"
    )
    assert (tmp_path / "told").read_text(encoding="utf-8") == "('2500000', True)"


def test_the_descriptor_of_a_barrier_is_closed_once_what_came_before_is_known(daemon):
    script = """
import select
read, write = os.pipe()
say('READY=1')
say('BARRIER=1', [write])
os.close(write)
select.poll()
poller = select.poll(); poller.register(read, 0)
os.write(1, repr(bool(poller.poll(5000))).encode())
say('STATUS=passed'); time.sleep(100)
"""
    daemon.request(spawn_message("a-1", *speaker(script), notify=True))
    fields: dict[str, str] = {}
    while "STATUS" not in fields:
        fields |= daemon.event("notify", run="a-1")["fields"]
    assert fields == {"READY": "1", "STATUS": "passed"}


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="no systemd-notify here")
def test_the_tool_for_shell_scripts_works_barrier_included(daemon):
    # It waits for the barrier; by the time its word is read its process may be gone.
    script = "systemd-notify --ready --status='from a script' && echo $? && exec sleep 100"
    daemon.request(spawn_message("a-1", "sh", "-c", script, notify=True))
    assert daemon.event("notify", run="a-1")["fields"] == {"READY": "1", "STATUS": "from a script"}
    daemon.request({"type": "stop", "run": "a-1"})
    assert daemon.event("exit", run="a-1")["signal"] == "SIGTERM"  # the script went on: it had not failed


def test_a_last_word_comes_before_the_exit(daemon):
    daemon.request(spawn_message("a-1", *speaker("say('STATUS=bye\\nERRNO=5'); os._exit(3)"), notify=True))
    daemon.expect(
        lambda m: m["type"] in {"notify", "exit"} and m["run"] == "a-1" and m["type"] == "notify", "a word"
    )
    assert daemon.event("exit", run="a-1")["code"] == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
def test_another_user_is_not_heard(daemon, tmp_path):
    script = (
        f"open({str(tmp_path / 'name')!r}, 'w').write(os.environ['NOTIFY_SOCKET'] + '\\n'); time.sleep(100)"
    )
    daemon.request(spawn_message("a-1", *speaker(script), notify=True))
    name = tmp_path / "name"
    wait_until(lambda: name.exists() and name.read_text(encoding="utf-8").endswith("\n"), "the name")
    address = "\0" + name.read_text(encoding="utf-8").strip()[1:]
    say = f"socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', {address!r})"
    foreign = f"import os, socket; os.setuid(65534); {say}"
    assert os.spawnl(os.P_WAIT, sys.executable, "python", "-I", "-S", "-c", foreign) == 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.sendto(b"STATUS=ours", address)
    assert daemon.event("notify", run="a-1")["fields"] == {"STATUS": "ours"}


def test_a_flood_of_words_is_heard_in_few_messages_and_holds_up_nobody(daemon):
    script = "\n".join(["for n in range(2000): say(f'STATUS={n}')", "say('STATUS=done'); time.sleep(100)"])
    daemon.request(spawn_message("a-1", *speaker(script), notify=True))
    assert daemon.request(spawn_message("b-1", "true"))["type"] == "spawned"
    count, fields = 0, {}
    while fields.get("STATUS") != "done":
        fields = daemon.event("notify", run="a-1")["fields"]
        count += 1
    assert count < 700


def test_a_process_that_a_run_names_its_main_one_is_what_ends_it(daemon, tmp_path):
    # A program of the old kind: it leaves its work to a child and ends.
    script = """
pid = os.fork()
if not pid:
    os.setsid()
    while not os.path.exists(sys.argv[1]): time.sleep(0.01)
    os._exit(9)
say(f'MAINPID={pid}\\nREADY=1')
os._exit(0)
"""
    argv = [*speaker(script), str(tmp_path / "go")]
    daemon.request(spawn_message("a-1", *argv, notify=True))
    main = int(daemon.event("notify", run="a-1")["fields"]["MAINPID"])
    daemon.sync()
    assert not [m for m, _ in daemon.inbox if m["type"] == "exit"]
    assert is_alive(main)
    (tmp_path / "go").touch()
    assert daemon.event("exit", run="a-1")["code"] == 9
    daemon.event("gone", run="a-1")


def test_a_signal_for_the_leader_goes_to_the_main_process(daemon, tmp_path):
    script = f"""
import signal
pid = os.fork()
if not pid:
    signal.signal(signal.SIGUSR1, lambda *_: open({str(tmp_path / "told")!r}, "w").write("told"))
    say(f'MAINPID={{os.getpid()}}')
    while True: signal.pause()
time.sleep(100)
"""
    daemon.request(spawn_message("a-1", *speaker(script), notify=True))
    daemon.event("notify", run="a-1")
    daemon.request({"type": "signal", "run": "a-1", "signal": "SIGUSR1", "scope": "leader"})
    wait_until((tmp_path / "told").exists, "the main process got it")


def test_a_stop_of_scope_leader_waits_for_the_main_process_and_for_nothing_after_it(daemon, tmp_path):
    done = tmp_path / "done"
    script = f"""
import signal
leader = os.getpid()
ready, write = os.pipe()
pid = os.fork()
if not pid:
    if not os.fork():
        os.close(write)
        time.sleep(100)
    def end(*_):
        os.close(write)  # the leader ends before it
        while os.getppid() == leader: time.sleep(0.01)
        open({str(done)!r}, "w").write("done")
        os._exit(3)
    signal.signal(signal.SIGTERM, end)
    say(f'MAINPID={{os.getpid()}}')
    while True: signal.pause()
os.close(write)
os.read(ready, 1)
"""
    plan = {"steps": [["SIGTERM", 600.0]], "scope": "leader"}
    daemon.request(spawn_message("a-1", *speaker(script), notify=True, stop=plan))
    daemon.event("notify", run="a-1")
    daemon.request({"type": "stop", "run": "a-1"})
    daemon.event("gone", run="a-1")
    assert done.read_text(encoding="utf-8") == "done"


def test_a_stranger_is_not_made_the_main_process(daemon):
    daemon.request(
        spawn_message(
            "a-1", *speaker(f"say('MAINPID={os.getpid()}\\nSTATUS=x'); time.sleep(100)"), notify=True
        )
    )
    assert daemon.event("notify", run="a-1")["fields"] == {"STATUS": "x"}
    daemon.request({"type": "signal", "run": "a-1", "signal": "SIGTERM", "scope": "leader"})
    assert daemon.event("exit", run="a-1")["signal"] == signal.SIGTERM.name


def test_without_being_asked_for_there_is_no_socket(daemon, tmp_path):
    daemon.request(spawn_message("a-1", "sh", "-c", f'echo "[$NOTIFY_SOCKET]" > {tmp_path}/told'))
    daemon.event("gone", run="a-1")
    assert (tmp_path / "told").read_text(encoding="utf-8") == "[]\n"
