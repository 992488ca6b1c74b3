"""Restarts a web service that takes its listening socket, again and again under load; counts what is refused.

Clients ask at a fixed rate, each question on a connection of its own. What counts is a connection that was
refused or reset, or that ended without an answer; a wait is no fault, and the longest is shown.

    python benchmarks/listen.py --rate 1000 --restarts 20

Exit status 0 when every question was answered, 1 when not, 2 when it could not be tried.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Tally", "main"]

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = 16  # threads that ask; each has at most one question open
PATIENCE = 30.0  # seconds for one answer, and for one command
_SETTLE = 0.5  # seconds of load before the first restart, between two, and after the last

SERVICE = r"""
import os, selectors, signal, socket
door = socket.socket(fileno=3)
door.setblocking(False)
read, write = os.pipe()
os.set_blocking(write, False)
signal.set_wakeup_fd(write)
leaving = []
signal.signal(signal.SIGTERM, lambda *_: leaving.append(1))
here = selectors.DefaultSelector()
here.register(door, selectors.EVENT_READ)
here.register(read, selectors.EVENT_READ)
answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
while not leaving:
    for key, _ in here.select():
        if key.fileobj is not door:
            continue
        try:
            one, _ = door.accept()
        except BlockingIOError:
            continue
        one.settimeout(10)
        one.recv(4096)
        one.sendall(answer)
        one.close()
"""
QUESTION = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass
class Tally:
    """What became of the questions."""

    asked: int = 0
    answered: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    longest: float = 0.0
    waits: list[float] = field(default_factory=list[float])

    def take(self, fault: str, took: float) -> None:
        """Count one question."""
        self.asked += 1
        self.waits.append(took)
        self.longest = max(self.longest, took)
        if fault:
            self.faults[fault] += 1
        else:
            self.answered += 1


def ask(port: int) -> str:
    """Ask once; return what went wrong, or nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as one:
            one.sendall(QUESTION)
            got = b""
            while chunk := one.recv(4096):
                got += chunk
    except OSError as error:
        return type(error).__name__
    return "" if got.endswith(b"ok\n") else "no answer"


def load(port: int, rate: float, over: threading.Event, tally: Tally) -> list[threading.Thread]:
    """Start the clients: question number n is due at n / rate seconds, whoever asks it."""
    began, lock = time.monotonic(), threading.Lock()
    numbers = iter(range(1_000_000_000))

    def client() -> None:
        while not over.is_set():
            with lock:
                due = began + next(numbers) / rate
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            fault = ask(port)
            with lock:
                tally.take(fault, time.monotonic() - due)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    return threads


def orchestra(folder: Path, *words: str) -> str:
    """Run a command on the fleet of a folder."""
    env = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "orchestra_supervisor", *words],
        cwd=folder,
        env=env | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        message = f"orchestra {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}"
        raise RuntimeError(message)
    return done.stdout


def run(folder: Path, rate: float, restarts: int) -> tuple[Tally, list[float]]:
    """Try it in an empty folder; return the tally and how long each restart took, in seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = {"command": [sys.executable, "-I", "-S", "-c", SERVICE], "sockets": {"http": port}}
    (folder / "orchestra.json").write_text(json.dumps({"services": {"web": service}}), encoding="utf-8")
    tally, took, over = Tally(), list[float](), threading.Event()
    try:
        orchestra(folder, "up", "--detach")
        threads = load(port, rate, over, tally)
        try:
            for _ in range(restarts):
                time.sleep(_SETTLE)
                began = time.monotonic()
                orchestra(folder, "restart", "web")
                took.append(time.monotonic() - began)
            time.sleep(_SETTLE)
        finally:
            over.set()
            for thread in threads:
                thread.join()
    finally:
        if (folder / ".orchestra" / "control.sock").exists():
            orchestra(folder, "down")
    return tally, took


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the script; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=1000.0, help="questions a second")
    parser.add_argument("--restarts", type=int, default=20)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    folder = Path(tempfile.mkdtemp(prefix="orchestra-listen-"))
    try:
        tally, took = run(folder, options.rate, options.restarts)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        print(f"could not be tried: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    waits = sorted(tally.waits)
    print(f"{tally.asked} asked, {tally.answered} answered, {dict(tally.faults) or 'no fault'}")
    median, late = (waits[int(len(waits) * share)] * 1000 for share in (0.5, 0.99))
    print(
        f"answer after {median:.1f} ms (median), {late:.0f} ms (p99), {tally.longest * 1000:.0f} ms (longest)"
        f"; {len(took)} restarts, the longest {max(took):.2f} s"
    )
    return 0 if tally.answered == tally.asked else 1


if __name__ == "__main__":
    sys.exit(main())
