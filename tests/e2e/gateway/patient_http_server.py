"""An HTTP server that, told to end, waits for every connection: `patient_http_server.py ERA PORT FILE`.

It says on stdout what happens to it. Its tool `slow` answers when FILE is there.
"""

import json
import select
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ERA, PORT, FILE = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
TOOLS = {"tools": [{"name": "slow", "inputSchema": {"type": "object"}}]}
ABOUT = {"capabilities": {"tools": {"listChanged": True}}, "serverInfo": {"name": "patient", "version": "1"}}


def say(*words: object) -> None:
    print(*words, flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass

    def do_GET(self) -> None:
        if self.path == "/health":
            self.close_connection = True
            return self._send(200, {})
        return self._stream()

    def do_DELETE(self) -> None:
        self._send(200, {})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = request["method"]
        if "id" not in request:
            return self._send(202, {})
        if method == "subscriptions/listen":
            return self._stream()
        result: object = {}
        if method == "server/discover" and ERA == "stateless":
            result = {"supportedVersions": ["2026-07-28"], **ABOUT}
        elif method == "server/discover":
            return self._send(400, {})
        elif method == "initialize":
            result = {"protocolVersion": "2025-11-25", **ABOUT}
        elif method == "tools/list":
            result = TOOLS
        elif method == "tools/call":
            say("call begins")
            while not FILE.exists():
                select.select([], [], [], 0.01)
            result = {"content": [{"type": "text", "text": "slow and done"}]}
            say("call ends")
        return self._send(200, {"jsonrpc": "2.0", "id": request["id"], "result": result})

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        say("stream opens")
        self.connection.recv(1)  # until the other side closes it
        say("stream closes")

    def _send(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Mcp-Session-Id", "one")
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = False


def main() -> None:
    with Server(("127.0.0.1", PORT), Handler) as server:

        def end(number: int, frame: object) -> None:
            say("told to end")
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGTERM, end)
        say("listens")
        server.serve_forever(0.05)
        server.socket.close()
    say("ends by itself")


if __name__ == "__main__":
    main()
