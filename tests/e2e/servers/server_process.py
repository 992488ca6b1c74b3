"""Real server processes, and requests to them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orchestra_supervisor.control_client as anchor

SOURCE = Path(anchor.__file__).parents[1]
T = TypeVar("T")
READY_WITHIN = 15.0  # seconds; a start takes about half a second on an idle machine


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


class Server:
    """One running server process."""

    def __init__(self, name: str, directory: Path, *args: str, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._out = directory / f"{name}.{time.monotonic_ns()}.out"
        command = [sys.executable, "-m", f"orchestra_supervisor.servers.{name}", "--port", "0", *args]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRA_")}
        environ |= {"PYTHONPATH": str(SOURCE), "ORCHESTRA_HOME": str(directory / "home"), **(env or {})}
        with self._out.open("wb") as out, self._out.with_suffix(".err").open("wb") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, cwd=directory, env=environ)
        self._url = ""

    @property
    def stdout(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self._out.with_suffix(".err").read_text(encoding="utf-8")

    @property
    def url(self) -> str:
        """The address that the start line names; waits for it."""
        self._url = self._url or self._wait_url()
        return self._url

    def _wait_url(self) -> str:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            found = re.search(r"on (http://\S+)", self.stdout)
            if found:
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        self.end(signal.SIGKILL)
        raise AssertionError(f"{self.name} did not start: {self.stdout} {self.stderr}")

    def wait_ready(self) -> dict[str, Any]:
        return until(lambda: self.get("/health"), lambda answer: answer.status == 200).json

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            sent.setdefault("content-type", "application/json")
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return Answer(
                answer.status or 0, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
            )

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def send(self, number: int = signal.SIGTERM) -> None:
        """Signal the process if it runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal the process and return its exit status; SIGKILL follows after five seconds."""
        self.send(number)
        try:
            return self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(5)


def until(look: Callable[[], T], is_met: Callable[[T], bool], seconds: float = 10.0) -> T:
    """Look again and again until the condition is met; fail at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if is_met(seen):
            return seen
        assert time.monotonic() < deadline, f"not met within {seconds} s; last seen: {seen!r}"
        time.sleep(0.01)
