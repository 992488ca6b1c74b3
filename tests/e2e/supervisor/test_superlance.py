"""The listeners of superlance, unmodified: a real crash, a real memory breach, a real HTTP failure."""

import http.client
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, until
from tests.e2e.supervisor.listener_fleet import start
from tests.e2e.supervisor.mailbox import Mailbox, mailbox
from tests.e2e.supervisor.pair import free_port

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent

# Fails until it is started a second time.
WEB = """
import os, socket, sys
is_broken = not os.path.exists(sys.argv[2])
open(sys.argv[2], "w").close()
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    one, _ = door.accept()
    one.recv(4096)
    one.sendall(b"HTTP/1.0 500 Broken\\r\\n\\r\\n" if is_broken else b"HTTP/1.0 200 OK\\r\\n\\r\\nfine")
    one.close()
"""
# Likewise, by its size.
HOG = """
import os, sys, time
held = b"" if os.path.exists(sys.argv[1]) else b"x" * 80_000_000
open(sys.argv[1], "w").close()
time.sleep(1000)
"""


def listener(name: str, words: str, events: str) -> str:
    return f"[eventlistener:{name}]\ncommand={BIN}/{name} {words}\nevents={events}\nstartsecs=0"


def program(name: str, run: str, **options: object) -> str:
    return "\n".join(
        [f"[program:{name}]", f"command={run}", *(f"{key}={one}" for key, one in options.items())]
    )


def python(folder: Path, name: str, code: str, *words: object) -> str:
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    return " ".join([sys.executable, "-I", "-S", f"{folder}/{name}.py", *map(str, words)])


def play(fleet: Fleet, mails: Mailbox, port: int) -> None:
    folder = fleet.path
    by = f'-s "{mails.sendmail(folder)}"'
    batch = f"-f here@x -s Batch -H 127.0.0.1:{mails.port} -e TICK_5 -i 0.05"
    start(
        fleet,
        listener("httpok", f"-p web -t 5 -m httpok@x {by} http://127.0.0.1:{port}/", "TICK_5"),
        listener("memmon", f"-p hog=60MB -m memmon@x {by}", "TICK_5"),
        listener("crashmail", f"-p crash -m crashmail@x {by}", "PROCESS_STATE_EXITED"),
        listener("crashmailbatch", f"-t crashmailbatch@x {batch}", "PROCESS_STATE_EXITED,TICK_5"),
        listener("fatalmailbatch", f"-t fatalmailbatch@x {batch}", "PROCESS_STATE_FATAL,TICK_5"),
        program("web", python(folder, "web", WEB, port, folder / "web.twice"), startsecs=0),
        program("hog", python(folder, "hog", HOG, folder / "hog.twice"), startsecs=0),
        program("crash", '/bin/sh -c "sleep 1.2; exit 3"', autorestart="false"),
        program("doomed", '/bin/sh -c "exit 1"', startsecs=5, startretries=0),
    )


def test_they_see_what_goes_wrong_put_it_right_and_write_mails(tmp_path: Path) -> None:
    fleet, port = Fleet(tmp_path), free_port()
    names = ("httpok", "memmon", "crashmail", "crashmailbatch", "fatalmailbatch")
    try:
        with mailbox() as mails:
            play(fleet, mails, port)
            until(
                lambda: {f"{name}@x" for name in names} <= mails.mails.keys(),
                f"a mail by each of them; there are {list(mails.mails)}",
                40.0,
            )
            subjects = {name: str(mails.mails[f"{name}@x"][0]["Subject"]) for name in names}
            bodies = {name: mails.mails[f"{name}@x"][0].get_content() for name in names}
        assert subjects["httpok"] == f"httpok: http://127.0.0.1:{port}/: bad status returned"
        assert "500 Broken" in bodies["httpok"]
        assert "web is in RUNNING state, restarting\nweb restarted" in bodies["httpok"]
        # memmon calls itself by the last program that it was given.
        assert subjects["memmon"] == "memmon [hog]: process hog:hog restarted"
        assert re.search(r"consuming too much memory \([89]\d{7} bytes RSS\)", bodies["memmon"])
        assert re.fullmatch(r"crash crashed at .*", subjects["crashmail"].strip())
        crashed = r"Process crash in group crash exited unexpectedly \(pid \d+\) from state RUNNING"
        assert re.search(crashed, bodies["crashmail"])
        assert (subjects["crashmailbatch"], subjects["fatalmailbatch"]) == ("Batch", "Batch")
        assert re.search(r"Process crash:crash \(pid \d+\) died unexpectedly", bodies["crashmailbatch"])
        assert "Process doomed:doomed failed to start too many times" in bodies["fatalmailbatch"]
        for name in ("web", "hog"):
            assert len(fleet.events("service.spawned", name)) == 2
        assert until(lambda: status_of(port), "it is served again") == 200
        assert {fleet.service(name)["restarts"] for name in names} == {0}
    finally:
        fleet.end()


def status_of(port: int) -> int | None:
    with suppress(OSError):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        finally:
            connection.close()
    return None
