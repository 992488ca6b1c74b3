"""A small gateway for tests of the pump: a real process that speaks the hello and MCP lines on a Unix socket.

It writes down every line that it gets. Its tools do what a test needs: `echo`, `wait` (never answers), `die`,
`fail`, `half` (ends in the middle of a line), `ask` (asks the client), `flood`. Run as a program it takes
the path of the socket, or the number of a descriptor that somebody holds as the keeper does; then
a place for notes.
"""

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

Json = dict[str, Any]
META = "io.modelcontextprotocol/"
CAPABILITIES: Json = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "logging": {},
}
TOOLS = [
    {
        "name": name,
        "description": f"Does {name}.\nMore of it.",
        "inputSchema": schema,
        "annotations": {"readOnlyHint": name == "echo"},
    }
    for name, schema in {
        "echo": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "times": {"type": "integer"}},
            "required": ["text"],
        },
        "wait": {"type": "object", "properties": {"seconds": {}}, "additionalProperties": False},
        "die": {"type": "object"},
        "half": {"type": "object"},
        "ask": {"type": "object"},
        "flood": {"type": "object"},
        "fail": {"type": "object"},
    }.items()
]


class Client:
    """One connection."""

    def __init__(self, connection: socket.socket, notes: int, behaviour: str) -> None:
        self.connection = connection
        self.notes = notes
        self.behaviour = behaviour
        self.hello: Json = {}
        self.session = False
        self.streams: dict[Any, Json] = {}
        self.asking: Any = None
        self.lock = threading.Lock()

    def serve(self) -> None:
        """Answer until the end of the connection."""
        with self.connection, self.connection.makefile("rb") as lines:
            first = lines.readline()
            if not first.endswith(b"\n"):
                return
            self.hello = json.loads(first)
            self.note({"hello": self.hello})
            if self.behaviour == "die-at-hello":
                os._exit(1)
            if self.hello.get("server") == "nobody":
                self.send(
                    {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "no server 'nobody'"}}
                )
                return
            for line in lines:
                if line.endswith(b"\n"):
                    self.take(json.loads(line))

    def note(self, what: Json) -> None:
        """Write down what came."""
        os.write(self.notes, json.dumps({"gateway": os.getpid(), **what}).encode() + b"\n")

    def send(self, message: Json) -> None:
        """Send one line."""
        with self.lock:
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def take(self, message: Json) -> None:
        """Answer one message."""
        self.note({"message": message})
        method, params = message.get("method"), message.get("params") or {}
        if method is None:
            if message["id"] == self.asking_id:
                self.result(
                    self.asking, {"content": [{"type": "text", "text": json.dumps(message["result"])}]}
                )
            return
        if "id" not in message:
            if method == "notifications/cancelled":
                self.streams.pop(params["requestId"], None)
            return
        stateless = f"{META}protocolVersion" in params.get("_meta", {})
        if not (stateless or self.session or method in {"initialize", "ping"}):
            self.send(
                {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32600, "message": "no session"}}
            )
            return
        answer = getattr(self, "do_" + method.replace("/", "_"), None)
        if answer is None:
            self.send({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": method}})
            return
        result = answer(params, message["id"])
        if result is not None:
            self.result(message["id"], result)

    asking_id = "question"

    def result(self, id_: Any, result: Json) -> None:
        """Send a result, as both eras understand it."""
        result.setdefault("resultType", "complete")
        result.setdefault("_meta", {})[f"{META}serverInfo"] = {"name": "line", "version": str(os.getpid())}
        self.send({"jsonrpc": "2.0", "id": id_, "result": result})

    def do_initialize(self, params: Json, _id: Any) -> Json:
        self.session = True
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": CAPABILITIES,
            "serverInfo": {"name": "line", "version": str(os.getpid())},
        }

    def do_server_discover(self, _params: Json, _id: Any) -> Json:
        return {
            "supportedVersions": ["2026-07-28"],
            "capabilities": CAPABILITIES,
            "ttlMs": 0,
            "cacheScope": "private",
        }

    def do_ping(self, _params: Json, _id: Any) -> Json:
        return {}

    def do_logging_setLevel(self, _params: Json, _id: Any) -> Json:  # noqa: N802 - the method's name
        return {}

    do_resources_subscribe = do_resources_unsubscribe = do_logging_setLevel

    def do_tools_list(self, _params: Json, _id: Any) -> Json:
        return {"tools": TOOLS, "ttlMs": 0, "cacheScope": "private"}

    def do_subscriptions_listen(self, params: Json, id_: Any) -> None:
        self.streams[id_] = params["notifications"]
        meta = {"_meta": {f"{META}subscriptionId": id_}}
        self.send(
            {
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": {**meta, "notifications": params["notifications"]},
            }
        )

    def do_tools_call(self, params: Json, id_: Any) -> Json | None:
        name, arguments = params["name"], params.get("arguments") or {}
        if name == "echo":
            text = {"said": arguments, "to": os.getpid()}
            return {"content": [{"type": "text", "text": json.dumps(text)}], "structuredContent": text}
        if name == "fail":
            return {"content": [{"type": "text", "text": "no: \x1b[31mred"}], "isError": True}
        if name == "die":
            for stream in self.streams:
                meta = {"_meta": {f"{META}subscriptionId": stream}, "resultType": "complete"}
                self.send({"jsonrpc": "2.0", "id": stream, "result": meta})
            os._exit(1)
        if name == "half":
            self.connection.sendall(b'{"jsonrpc":"2.0","id":' + json.dumps(id_).encode() + b',"resu')
            os._exit(1)
        if name == "ask":
            self.asking = id_
            ask = {"message": "really?", "requestedSchema": {"type": "object", "properties": {}}}
            self.send({"jsonrpc": "2.0", "id": self.asking_id, "method": "elicitation/create", "params": ask})
        if name == "flood":
            for number in range(200):
                text = "x" * 50_000 + str(number)
                message = {
                    "jsonrpc": "2.0",
                    "method": "notifications/message",
                    "params": {"level": "info", "data": text},
                }
                self.send(message)
            return {"content": []}
        if name == "close-streams":
            for stream in self.streams:
                self.result(stream, {"_meta": {f"{META}subscriptionId": stream}})
            return {"content": []}
        return None


def main() -> None:
    """Serve until killed."""
    place, notes = sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    behaviour = sys.argv[3] if len(sys.argv) > 3 else ""
    if place.isdigit():
        listener = socket.socket(fileno=int(place))
    else:
        Path(place).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(place)
        listener.listen(64)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.write(1, b"up\n")
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=Client(connection, notes, behaviour).serve, daemon=True).start()


if __name__ == "__main__":
    main()
