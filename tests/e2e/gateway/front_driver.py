"""Runs the front as a process, and talks with it: by plain HTTP, by lines, and by the SDK's own client."""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import anyio
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

__all__ = ["BOTH", "ENVELOPE", "ROOT", "Front", "Line", "running_front", "socket_transport", "stateless"]

ROOT = Path(__file__).resolve().parents[3]
DEADLINE = 10.0
BOTH = "application/json, text/event-stream"
ENVELOPE: dict[str, object] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
Answer = dict[str, Any]


class Front:
    """One front process."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self._socket = home / "mcp.sock"
        self._socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.e2e.gateway.front_server", str(home), *options]
        self.log = home / "front.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        where = self.process.stdout.readline()
        assert where, self.log.read_text(encoding="utf-8")
        self.port = int(json.loads(where)["port"])
        self.url = f"http://127.0.0.1:{self.port}/mcp"

    @property
    def socket_path(self) -> str:
        return str(self._socket)

    def request(
        self,
        method: str,
        path: str = "/mcp",
        body: bytes | object = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request; headers that are given replace those that every client sends."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        given = {"Accept": BOTH, "Content-Type": "application/json", **(headers or {})}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, {name: value for name, value in given.items() if value})
            response = connection.getresponse()
            return (
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        finally:
            connection.close()

    def post(self, body: object, **headers: str) -> tuple[int, Answer]:
        """Send a message and return the JSON of the answer."""
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, content = self.request("POST", body=body, headers=spelled)
        return status, json.loads(content or b"{}")

    def call(self, method: str, params: Answer | None = None, **headers: str) -> tuple[int, Answer]:
        """Send a stateless request as it should be."""
        body = stateless(method, params)
        named = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}.get(method)
        spelled = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": method}
        if named is not None:
            spelled["Mcp_Name"] = str(body["params"][named])
        return self.post(body, **{**spelled, **headers})

    def begin(self, version: str = "2025-11-25", path: str = "/mcp", **headers: str) -> str:
        """Initialize a session and return its id."""
        client = {"name": "test", "version": "1"}
        params = {"protocolVersion": version, "capabilities": {"elicitation": {}}, "clientInfo": client}
        body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        status, fields, content = self.request("POST", path, body, spelled)
        assert status == 200, content
        assert json.loads(content)["result"]["protocolVersion"] == version
        return fields["mcp-session-id"]

    def in_session(self, session: str, method: str, params: Answer | None = None) -> tuple[int, Answer]:
        """Send a request of a session."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        return self.post(body, Mcp_Session_Id=session)

    def line(self, hello: object = None) -> "Line":
        """Connect to the socket and say hello."""
        return Line(self.socket_path, {"orchestra": 1, "endpoint": "control"} if hello is None else hello)

    def end(self) -> int:
        """Ask it to end, and return its exit status."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


@contextmanager
def running_front(home: Path, *options: str) -> Generator[Front]:
    front = Front(home, *options)
    try:
        yield front
    finally:
        front.end()


def stateless(method: str, params: Answer | None = None, **envelope: object) -> Answer:
    """Return a stateless request."""
    meta = {**ENVELOPE, **{f"io.modelcontextprotocol/{name}": value for name, value in envelope.items()}}
    given = params or {}
    meta.update(given.get("_meta", {}))
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**given, "_meta": meta}}


class Line:
    """A connection to the socket."""

    def __init__(self, path: str, hello: object) -> None:
        self.plug = socket.socket(socket.AF_UNIX)
        self.plug.settimeout(DEADLINE)
        self.plug.connect(path)
        self._file = self.plug.makefile("rb")
        if hello != "":
            self.send(hello)

    def send(self, message: object) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.plug.sendall(data + b"\n")

    def receive(self) -> Answer | None:
        """Return the next message, or None at the end."""
        text = self._file.readline()
        return json.loads(text) if text else None

    def ask(self, message: object) -> Answer:
        self.send(message)
        answer = self.receive()
        assert answer is not None
        return answer

    def initialize(self, version: str = "2025-11-25") -> Answer:
        params = {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        answer = self.ask({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def close(self) -> None:
        self._file.close()
        self.plug.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@asynccontextmanager
async def socket_transport(path: str, hello: object) -> AsyncGenerator[TransportStreams]:
    """The socket of the shim, as a transport of the SDK's client."""
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage](0)

    async def take() -> None:
        async with to_client:
            buffer = b""
            async for chunk in stream:
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                    await to_client.send(SessionMessage(message))

    async def give() -> None:
        async with from_client:
            async for message in from_client:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stream.send(text.encode() + b"\n")

    async with await anyio.connect_unix(path) as stream, anyio.create_task_group() as tasks:
        await stream.send(json.dumps(hello).encode() + b"\n")
        tasks.start_soon(take)
        tasks.start_soon(give)
        async with from_server, to_server:
            yield from_server, to_server
            tasks.cancel_scope.cancel()
