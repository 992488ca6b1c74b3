"""A fake control socket: HTTP on a Unix socket with recorded answers. It supervises nothing."""

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, object]
Answerer = Callable[[str, str, dict[str, str], object], Answer | Iterator[dict[str, object]] | None]


class Handler(BaseHTTPRequestHandler):
    """Asks the server's answerer; None closes the connection without an answer."""

    protocol_version = "HTTP/1.1"
    server: "FakeControl"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass

    def _answer(self) -> None:
        url = urlsplit(self.path)
        size = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(size)) if size else None
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.server.requests.append((self.command, url.path, query, body))
        self.close_connection = True
        answer = self.server.answerer(self.command, url.path, query, body)
        if answer is None:
            return
        if isinstance(answer, tuple):
            content = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for event in answer:
                text = f"id: {event['seq']}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
                self.wfile.write(text.encode())

    do_GET = do_POST = _answer  # noqa: N815 - the base class looks for these names


class FakeControl(ThreadingMixIn, UnixStreamServer):
    """The server; `requests` holds what was asked."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: Path, answerer: Answerer) -> None:
        self.answerer = answerer
        self.requests: list[tuple[str, str, dict[str, str], object]] = []
        super().__init__(str(path), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a CLI that was killed in the middle of a test


@contextlib.contextmanager
def serving(path: Path, answerer: Answerer) -> Iterator[FakeControl]:
    """Serve on a socket until the block ends."""
    server = FakeControl(path, answerer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def holding_lock(home: Path, pid: int | None = None) -> Iterator[None]:
    """Hold the lock of a home, as its keeper does."""
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid() if pid is None else pid}\n".encode())
        yield
    finally:
        os.close(descriptor)
