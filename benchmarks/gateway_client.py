"""The client of the gateway's benchmark: raw HTTP on kept connections, one thread, little work.

A benchmark's client can cost more than what it measures. This one writes a request that is made already but
for two numbers, and looks at an answer only for its end and for the text that it must have.
"""

import json
import selectors
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["HANDSHAKE", "STATELESS", "Burst", "Caller", "Refused", "Way", "burst"]

HANDSHAKE, STATELESS = "2025-11-25", "2026-07-28"
PATIENCE = 30.0  # seconds for one answer

_NUMBER = "%08d"


class Refused(Exception):
    """What answers does not speak so, or not the truth."""


@dataclass(frozen=True)
class Way:
    """One way to the tool `echo`.

    Attributes:
        name: In the table.
        port: On 127.0.0.1.
        path: Of the URL.
        tool: Its name there.
        token: Bearer token, or none.
        pid: Of the process that answers; 0: its CPU time is not measured.
    """

    name: str
    port: int
    path: str = "/mcp"
    tool: str = "echo"
    token: str = ""
    pid: int = 0


@dataclass
class Burst:
    """What callers at one time saw: seconds of each call, calls in a second, CPU seconds of who answered."""

    taken: list[float] = field(default_factory=list[float])
    rate: float = 0.0
    used: float = 0.0


class Caller:
    """One connection, and the conversation on it."""

    def __init__(self, way: Way, version: str) -> None:
        self._way = way
        self._version = version
        self._session = ""
        self.socket = self._connected()
        self._got = b""
        self._number = 10_000_000
        if version == HANDSHAKE:
            self._shake_hands()
        params: dict[str, object] = {"name": way.tool, "arguments": {"text": f"say {_NUMBER}"}}
        if version == STATELESS:
            prefix = "io.modelcontextprotocol/"
            client = {"name": "benchmark", "version": "1"}
            params["_meta"] = {
                f"{prefix}protocolVersion": version,
                f"{prefix}clientInfo": client,
                f"{prefix}clientCapabilities": {},
            }
        message = {"jsonrpc": "2.0", "id": "ID", "method": "tools/call", "params": params}
        body = json.dumps(message).replace('"ID"', _NUMBER)
        head = self._head(len(body % (0, 0)), "tools/call")
        self._template = (head.replace("%", "%%") + body).encode()
        self.began = 0.0

    def used(self) -> float:
        """Return the CPU seconds that the process which answers has used so far, by the nanosecond."""
        found = Path(f"/proc/{self._way.pid}/task").glob("*/schedstat")
        return sum(int(one.read_text(encoding="ascii").split()[0]) for one in found) / 1e9

    def connect(self) -> None:
        """Connect anew, for the next burst: a server closes what is idle for long."""
        self.socket.close()
        self.socket = self._connected()

    def send(self) -> None:
        """Send the next call."""
        self._number += 1
        self._got = b""
        self.began = time.perf_counter()
        self.socket.sendall(self._template % (self._number, self._number))

    def take(self) -> bool:
        """Take what came; return whether it is the whole answer.

        Raises:
            Refused: It is not the answer to what was asked.
        """
        piece = self.socket.recv(65536)
        if not piece:
            raise Refused(f"{self._way.name} closed the connection")
        self._got += piece
        if not _is_whole(self._got):
            return False
        if b"say " + str(self._number).encode() not in self._got or b'"isError":true' in self._got:
            raise Refused(f"{self._way.name} ({self._version}) answers {self._got[:600]!r}")
        return True

    def _connected(self) -> socket.socket:
        found = socket.create_connection(("127.0.0.1", self._way.port), timeout=PATIENCE)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found

    def _shake_hands(self) -> None:
        params = {
            "protocolVersion": self._version,
            "capabilities": {},
            "clientInfo": {"name": "benchmark", "version": "1"},
        }
        answer = self._ask({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
        head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
        for line in head.split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "mcp-session-id":
                self._session = value.strip()
        self._ask({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _ask(self, message: dict[str, object]) -> bytes:
        body = json.dumps(message)
        self.socket.sendall((self._head(len(body), str(message["method"])) + body).encode())
        got = b""
        while not _is_whole(got):
            piece = self.socket.recv(65536)
            got += piece
            if not piece:
                raise Refused(f"{self._way.name} closed the connection: {got[:300]!r}")
        if not got.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
            raise Refused(f"{self._way.name} ({self._version}) answers {got[:600]!r}")
        return got

    def _head(self, length: int, method: str) -> str:
        lines = [
            f"POST {self._way.path} HTTP/1.1",
            f"Host: 127.0.0.1:{self._way.port}",
            "Accept: application/json, text/event-stream",
            "Content-Type: application/json",
            f"Content-Length: {length}",
        ]
        if method != "initialize":
            lines.append(f"MCP-Protocol-Version: {self._version}")
        if self._version == STATELESS:
            lines += [f"Mcp-Method: {method}", f"Mcp-Name: {self._way.tool}"]
        if self._session:
            lines.append(f"Mcp-Session-Id: {self._session}")
        if self._way.token:
            lines.append(f"Authorization: Bearer {self._way.token}")
        return "\r\n".join(lines) + "\r\n\r\n"


def _is_whole(got: bytes) -> bool:
    head, between, body = got.partition(b"\r\n\r\n")
    if not between:
        return False
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")


def burst(callers: list[Caller], seconds: float) -> Burst:
    """Have callers call for a time, each again as soon as it is answered.

    Raises:
        Refused: An answer is wrong, or none comes.
    """
    found = Burst()
    for caller in callers:
        caller.connect()
    used = callers[0].used()
    with selectors.DefaultSelector() as waiting:
        began = time.perf_counter()
        end, open_calls = began + seconds, len(callers)
        for caller in callers:
            waiting.register(caller.socket, selectors.EVENT_READ, caller)
            caller.send()
        while open_calls:
            ready = waiting.select(PATIENCE)
            if not ready:
                raise Refused("no answer")
            for key, _ in ready:
                caller: Caller = key.data
                if caller.take():
                    now = time.perf_counter()
                    found.taken.append(now - caller.began)
                    if now < end:
                        caller.send()
                    else:
                        open_calls -= 1
        found.rate = len(found.taken) / (time.perf_counter() - began)
    found.used = callers[0].used() - used
    return found
