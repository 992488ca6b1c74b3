"""Fleets with event listeners that write down what they are told, for the tests beside this."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.fleet_driver import DEADLINE, Fleet, Row, until

__all__ = ["RECORDER", "SLEEP", "Told", "command", "conf", "recorder", "start", "told_to", "until_told"]

RECORDER = """
import json, os, sys, time
name, act = sys.argv[1], (sys.argv[2:] or ["ok"])[0]
stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
def say(data):
    stdout.write(data)
    stdout.flush()
say(b"READY\\n")
while line := stdin.readline():
    header = dict(word.split(":") for word in line.decode().split())
    # The length is in characters, so that bytes are read until there are enough.
    data = b""
    while len(data.decode("utf-8", "replace")) < int(header["len"]):
        data += stdin.read(1)
    told = {"pid": os.getpid(), **header, "payload": data.decode()}
    with open(name, "a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\\n")
    # In place of an answer: what a file says, once.
    order = act
    try:
        os.rename(name + ".order", name + ".taken")
        order = open(name + ".taken", encoding="utf-8").read()
    except OSError:
        pass
    if order == "die":
        os._exit(3)
    if order == "mute":
        time.sleep(1000)
    if order == "garbage":
        say(b"so what?\\n")
    if order == "flood":
        while True:
            say(b"x" * 65536)
    if order == "fail":
        say(b"RESULT 4\\nFAILREADY\\n")
    elif order.startswith("wait"):
        while not os.path.exists(name + ".go"):
            time.sleep(0.01)
        say(b"RESULT 2\\nOKREADY\\n")
    else:
        say(b"RESULT 2\\nOKREADY\\n")
"""
"""A listener that writes each event down before it answers, and answers as it is told."""

SLEEP = "/bin/sleep 1000"
_FACTORY = "supervisor.rpcinterface:make_main_rpcinterface"


@dataclass(frozen=True)
class Told:
    """An event as a listener was told it."""

    pid: int
    serial: int
    pool: str
    poolserial: int
    name: str
    payload: str


def recorder(folder: Path) -> Path:
    """Write the listener down; return where."""
    place = folder / "recorder.py"
    place.write_text(RECORDER, encoding="utf-8")
    return place


def command(folder: Path, name: str, act: str = "ok") -> str:
    """Return the command line of a listener that writes to the file `name`."""
    return f"{sys.executable} -I -S {recorder(folder)} {folder}/{name} {act}"


def conf(folder: Path, *sections: str) -> str:
    """Return a supervisord.conf with a server on a socket of the folder."""
    parts = (
        f"[supervisord]\nnodaemon=true\nlogfile={folder}/main.log\npidfile={folder}/pid\nchildlogdir={folder}",
        f"[unix_http_server]\nfile={folder}/s.sock",
        f"[supervisorctl]\nserverurl=unix://{folder}/s.sock",
        f"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory={_FACTORY}",
    )
    return "\n\n".join((*parts, *sections)) + "\n"


def start(fleet: Fleet, *sections: str) -> None:
    """Start a fleet on a supervisord.conf; programs of it may be made to fail."""
    (fleet.path / "supervisord.conf").write_text(conf(fleet.path, *sections), encoding="utf-8")
    done = fleet.run("up", "--detach", "-c", "supervisord.conf")
    assert done.returncode in {0, 1}, f"{done.stdout}{done.stderr}{fleet.said()}"


def told_to(place: Path) -> list[Told]:
    """Return what a listener was told so far."""
    if not place.exists():
        return []
    whole = place.read_text(encoding="utf-8").rpartition("\n")[0]
    rows: list[Row] = [json.loads(line) for line in whole.splitlines()]
    return [
        Told(
            row["pid"],
            int(row["serial"]),
            row["pool"],
            int(row["poolserial"]),
            row["eventname"],
            row["payload"],
        )
        for row in rows
    ]


def until_told(place: Path, name: str, words: str = "", deadline: float = DEADLINE) -> Told:
    """Wait until a listener was told of something; return the first such event."""

    def look() -> Told | None:
        return next((one for one in told_to(place) if one.name == name and words in one.payload), None)

    return until(look, f"{place.name} is told {name} {words}; it was told {told_to(place)}", deadline)
