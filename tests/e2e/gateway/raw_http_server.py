"""HTTP servers in plain Python: `raw_http_server.py KIND PORT`. Where it is MCP, by handshake alone."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

KIND = sys.argv[1]
SESSIONS: set[str] = set()
ANSWERS: Queue[object] = Queue()
SEEN: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass

    def do_GET(self) -> None:
        self._send(405, b"", "text/plain")

    def do_DELETE(self) -> None:
        SESSIONS.discard(self.headers.get("Mcp-Session-Id", ""))
        self._send(200, b"", "text/plain")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if KIND == "html":
            return self._send(200, b"<!doctype html><title>Hello</title>", "text/html; charset=utf-8")
        if KIND == "auth" and self.headers.get("Authorization") != "Bearer of-right":
            return self._send(401, b'{"detail": "no"}', "application/json")
        if self.path != "/mcp":
            return self._send(404, b'{"error": {"code": "not_found", "message": "no"}}', "application/json")
        if "method" not in request:
            ANSWERS.put(request.get("result", request.get("error")))
            return self._send(202, b"", "text/plain")
        method = request["method"]
        if method == "initialize":
            session = f"s{len(SESSIONS)}-{len(SEEN)}"
            SESSIONS.add(session)
            SEEN.append(json.dumps(request["params"]["capabilities"], sort_keys=True))
            result: object = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
            return self._result(request, result, session)
        if method == "server/discover":
            return self._send(400, b"Bad Request: no session", "text/plain")
        if self.headers.get("Mcp-Session-Id") not in SESSIONS:
            return self._send(404, b"no such session", "text/plain")
        if "id" not in request:
            return self._send(202, b"", "text/plain")
        if method == "tools/list":
            names = ("sessions", "forget", "ask", "broken", "cut")
            return self._result(
                request, {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in names]}
            )
        if method == "tools/call":
            return self._call(request, request["params"]["name"])
        return self._result(request, {})

    def _call(self, request: dict[str, object], name: str) -> None:
        words = json.dumps(SEEN)
        if name == "forget":
            SESSIONS.clear()
        if name == "broken":
            return self._send(500, b"oops", "text/plain")
        if name == "cut":
            self.close_connection = True
            self.connection.close()
            return None
        if name == "ask":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            question = {"jsonrpc": "2.0", "id": 9, "method": "elicitation/create", "params": {"message": "?"}}
            self._event(question)
            words = json.dumps(ANSWERS.get(timeout=10))
            self._event(self._message(request, {"content": [{"type": "text", "text": words}]}))
            self.close_connection = True
            return None
        return self._result(request, {"content": [{"type": "text", "text": words}]})

    def _event(self, message: object) -> None:
        self.wfile.write(f": ping\r\nevent: message\r\ndata: {json.dumps(message)}\r\n\r\n".encode())
        self.wfile.flush()

    def _message(self, request: dict[str, object], result: object) -> object:
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    def _result(self, request: dict[str, object], result: object, session: str = "") -> None:
        self._send(200, json.dumps(self._message(request, result)).encode(), "application/json", session)

    def _send(self, status: int, body: bytes, kind: str, session: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if session:
            self.send_header("Mcp-Session-Id", session)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
