"""Driving the pump as a client does, and gateways that come and go under it."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.cli.runner import ROOT, environment

Json = dict[str, Any]
LIMIT = 20.0
ENTRY = ROOT / "orchestra_supervisor" / "cli" / "shim" / "__main__.py"
VERSION = "2025-11-25"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def argv(*words: object) -> list[str]:
    """Return the command that clients are given."""
    return [sys.executable, "-I", "-S", str(ENTRY), *map(str, words)]


class Client:
    """One pump, and the client at its ends."""

    def __init__(self, home: Path, *words: str, **env: str) -> None:
        self.process = subprocess.Popen(
            argv("--home", home, *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**env),
            cwd=home.parent,
        )
        self._rest = b""
        self._next = 0

    def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, message: Json) -> None:
        """Send one message."""
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def ask(self, method: str, params: Json | None = None) -> int:
        """Send a request; return its id."""
        self._next += 1
        self.send({"id": self._next, "method": method, "params": params or {}})
        return self._next

    def call(self, name: str, arguments: Json | None = None, *, stateless: bool = False) -> int:
        """Call a tool; return the id."""
        params: Json = {"name": name, "arguments": arguments or {}}
        return self.ask("tools/call", {**params, "_meta": META} if stateless else params)

    def read(self, limit: float = LIMIT) -> Json:
        """Return the next message; a line that is not one whole JSON object is an error."""
        assert self.process.stdout is not None
        until = time.monotonic() + limit
        while b"\n" not in self._rest:
            assert select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))[0], (
                "silence"
            )
            data = os.read(self.process.stdout.fileno(), 65_536)
            assert data, f"ended: {self.rest_of_errors()}"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def answer(self, id_: int) -> Json:
        """Return the next message, which must be the answer to a request."""
        message = self.read()
        assert message.get("id") == id_, message
        return message

    def handshake(self) -> Json:
        """Begin a session; return the result of `initialize`."""
        info = {"name": "test", "version": "1"}
        params = {"protocolVersion": VERSION, "capabilities": {"elicitation": {}}, "clientInfo": info}
        result = self.answer(self.ask("initialize", params))["result"]
        self.send({"method": "notifications/initialized"})
        return result

    def is_silent(self) -> bool:
        """Tell, after a round trip, that nothing else has come before its answer."""
        message = self.read()
        return message.get("id") == self._next

    def rest_of_errors(self) -> str:
        """Return what there is on stderr, at its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def close(self) -> tuple[int, bytes, str]:
        """Say no more; return the exit status, what else was said, and stderr."""
        output, errors = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, self._rest + output, errors.decode()

    def end(self) -> None:
        """End it, however it stands."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()


class Bench:
    """A home whose gateway's socket is held, as the keeper holds it, while gateways come and go."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.home = home
        self.notes = home / "notes"
        self.notes.touch()
        self.listener: socket.socket | None = None
        self.gateways: list[subprocess.Popen[bytes]] = []
        self.clients: list[Client] = []

    def hold(self) -> None:
        """Listen on the socket without anybody who answers."""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.home / "mcp.sock"))
        self.listener.listen(64)

    def start(self, behaviour: str = "") -> int:
        """Start a gateway on the held socket, or on one of its own; return its pid."""
        place = str(self.home / "mcp.sock") if self.listener is None else str(self.listener.fileno())
        gateway = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("line_gateway.py"), place, self.notes, behaviour],
            stdout=subprocess.PIPE,
            pass_fds=() if self.listener is None else (self.listener.fileno(),),
        )
        self.gateways.append(gateway)
        assert gateway.stdout is not None
        assert gateway.stdout.readline() == b"up\n"
        return gateway.pid

    def kill(self) -> None:
        """Kill the gateway."""
        self.gateways[-1].send_signal(signal.SIGKILL)
        self.gateways[-1].wait(LIMIT)

    def client(self, *words: str, **env: str) -> Client:
        """Start a pump."""
        self.clients.append(Client(self.home, *words, **env))
        return self.clients[-1]

    def taken(self, gateway: int, method: str = "") -> list[Json]:
        """Return what a gateway got, or only its requests of one method."""
        notes = [json.loads(line) for line in self.notes.read_bytes().splitlines()]
        found = [note["message"] for note in notes if note["gateway"] == gateway and "message" in note]
        return [one for one in found if not method or one.get("method") == method]

    def until_taken(self, gateway: int, method: str) -> list[Json]:
        """Wait until a gateway has got a message of a method; return all of them."""
        until = time.monotonic() + LIMIT
        while not (found := self.taken(gateway, method)):
            assert time.monotonic() < until, f"no {method} came; there is: {self.taken(gateway)}"
            time.sleep(0.005)
        return found

    def end(self) -> None:
        """Leave nothing behind."""
        for client in self.clients:
            client.end()
        for gateway in self.gateways:
            gateway.kill()
            gateway.wait(LIMIT)
            assert gateway.stdout is not None
            gateway.stdout.close()
        if self.listener is not None:
            self.listener.close()


@contextlib.contextmanager
def bench_at(home: Path) -> Iterator[Bench]:
    """Set a bench up, and take it down."""
    bench = Bench(home)
    try:
        yield bench
    finally:
        bench.end()
