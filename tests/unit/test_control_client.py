"""The control client against a real Unix socket that answers what each test says."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.control_client import (
    ControlClient,
    ControlError,
    NoDaemon,
    rows,
)
from orchestra_supervisor.unix_http import quote

Handler = Callable[[socket.socket, bytes], None]


class Daemon:
    """A listener that hands each request to a handler and keeps what it received."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self.requests: list[bytes] = []
        self._handler = handler
        self._listener = socket.socket(socket.AF_UNIX)
        here = Path.cwd()
        os.chdir(path.parent)  # a relative name: the path itself may be over the limit
        try:
            self._listener.bind(path.name)
        finally:
            os.chdir(here)
        self._listener.listen()
        self._listener.settimeout(10)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.settimeout(10)
                request = _read_request(connection)
                if request == b"":
                    return
                self.requests.append(request)
                self._handler(connection, request)

    def close(self, path: Path) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as last:
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                last.connect(f"/proc/self/fd/{directory}/{path.name}")
            finally:
                os.close(directory)
        self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive()

    @property
    def last(self) -> tuple[str, str, dict[str, object] | None]:
        head, _, body = self.requests[-1].partition(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        return method, target, json.loads(body) if body else None


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextlib.contextmanager
def daemon(path: Path, handler: Handler) -> Generator[Daemon]:
    running = Daemon(path, handler)
    try:
        yield running
    finally:
        running.close(path)


def answering(body: object, status: int = 200) -> Handler:
    content = json.dumps(body).encode()

    def handler(connection: socket.socket, _: bytes) -> None:
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        connection.sendall(head.encode() + content)

    return handler


def sending(*pieces: bytes) -> Handler:
    def handler(connection: socket.socket, _: bytes) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return handler


SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def test_every_verb_sends_the_request_that_the_document_names(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    acted = {"names": ["a", "b"], "with_dependents": True, "reason": "why", "wait": "none", "timeout": 3}
    with daemon(path, answering({"ok": True})) as server:
        client = ControlClient(path)
        client.health()
        assert server.last == ("GET", "/v1/health", None)
        client.status()
        assert server.last == ("GET", "/v1/status", None)
        client.status(["a", "mcp_*"])
        assert server.last == ("GET", "/v1/status?names=a%2Cmcp_%2A", None)
        client.start(["a", "b"], wait="none", timeout=3, with_dependents=True, reason="why")
        assert server.last == ("POST", "/v1/start", acted)
        client.stop(["a", "b"], wait="none", timeout=3, with_dependents=True, reason="why")
        assert server.last == ("POST", "/v1/stop", acted)
        client.restart(["a", "b"], wait="none", timeout=3, with_dependents=True, reason="why")
        assert server.last == ("POST", "/v1/restart", acted)
        client.run(["a"], wait="completed", timeout=3, reason="now")
        wanted = {"names": ["a"], "reason": "now", "wait": "completed", "timeout": 3}
        assert server.last == ("POST", "/v1/run", wanted)
        client.signal(["a"], "SIGHUP", scope="tree")
        assert server.last == ("POST", "/v1/signal", {"names": ["a"], "signal": "SIGHUP", "scope": "tree"})
        client.wait(["a"], "ready", timeout=2)
        assert server.last == ("POST", "/v1/wait", {"names": ["a"], "for": "ready", "timeout": 2})
        client.events(after=7, kind="service.")
        assert server.last == ("GET", "/v1/events?after=7&limit=100&kind=service.", None)
        client.logs("we b", lines=5, since=1.5, grep="a&b=ü")
        assert server.last == ("GET", "/v1/logs/we%20b?lines=5&since=1.5&grep=a%26b%3D%C3%BC", None)
        client.reload()
        assert server.last == ("POST", "/v1/reload", {})
        client.shutdown("bye")
        assert server.last == ("POST", "/v1/shutdown", {"reason": "bye"})


def test_an_error_body_becomes_a_control_error_with_all_its_parts(tmp_path: Path) -> None:
    report = {"code": "unknown_service", "message": "no service 'ap'", "hint": "did you mean api?"}
    body = {"error": {**report, "context": {"nearest": ["api"]}}}
    with daemon(tmp_path / "c.sock", answering(body, 404)), pytest.raises(ControlError) as caught:
        ControlClient(tmp_path / "c.sock").start(["ap"])
    error = caught.value
    assert (error.code, error.message, error.hint) == tuple(report.values())
    assert error.context == {"nearest": ["api"]}
    assert error.http_status == 404


def test_a_wait_that_was_not_met_is_an_answer_and_not_an_error(tmp_path: Path) -> None:
    with daemon(tmp_path / "c.sock", answering({"met": False, "results": [{"name": "a"}]}, 408)):
        answer = ControlClient(tmp_path / "c.sock").wait(["a"], "ready", timeout=1)
    assert answer["met"] is False
    assert rows(answer, "results") == [{"name": "a"}]
    assert rows(answer, "services") == []


@pytest.mark.parametrize("make", ["missing", "stale", "under a file"])
def test_a_socket_that_nobody_serves_means_no_daemon_with_a_hint(tmp_path: Path, make: str) -> None:
    path = tmp_path / "c.sock"
    if make == "stale":
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
    if make == "under a file":
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "c.sock"
    with pytest.raises(NoDaemon, match=str(path)) as caught:
        ControlClient(path).status()
    assert caught.value.code == "no_daemon"
    assert "orchestra up" in caught.value.hint


def test_a_caller_may_ask_to_wait_for_a_daemon_that_is_being_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    answers: list[object] = []
    client = ControlClient(path, connect_wait=10)
    asking = threading.Thread(target=lambda: answers.append(client.health()))
    asking.start()
    with daemon(path, answering({"ok": True})):
        asking.join(10)
    assert answers == [{"ok": True}]


def test_a_path_over_the_limit_of_the_system_still_connects(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    path = deep / "control.sock"
    assert len(os.fsencode(path)) > 107
    with pytest.raises(NoDaemon):
        ControlClient(path).health()
    with daemon(path, answering({"ok": True})):
        assert ControlClient(path).health() == {"ok": True}


def test_a_silent_daemon_is_a_timeout_and_not_a_hang(tmp_path: Path) -> None:
    def silent(connection: socket.socket, _: bytes) -> None:
        connection.recv(1)

    began = time.monotonic()
    with daemon(tmp_path / "c.sock", silent), pytest.raises(ControlError, match=r"within 0\.2 s") as caught:
        ControlClient(tmp_path / "c.sock", timeout=0.2).health()
    assert caught.value.code == "timeout"
    assert time.monotonic() - began < 3


def test_a_daemon_that_drips_bytes_does_not_stretch_the_deadline(tmp_path: Path) -> None:
    stop = threading.Event()

    def drip(connection: socket.socket, _: bytes) -> None:
        while not stop.wait(0.02):
            connection.sendall(b"x")

    with daemon(tmp_path / "c.sock", drip), pytest.raises(ControlError) as caught:
        ControlClient(tmp_path / "c.sock", timeout=0.3).health()
    stop.set()
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", "no_daemon"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", "no_daemon"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "no_daemon"),
        (b"SSH-2.0-x\r\n\r\n", "internal"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", "internal"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", "internal"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "internal"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{x", "internal"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\n{}", "internal"),
        (b'HTTP/1.1 500 Bad\r\nContent-Length: 11\r\n\r\n{"error":1}', "internal"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500, "internal"),
        (b"HTTP/1.1 " + b"a" * 200_000, "internal"),
    ],
)
def test_a_broken_answer_is_an_error_of_its_own_kind(tmp_path: Path, sent: bytes, code: str) -> None:
    with daemon(tmp_path / "c.sock", sending(sent)), pytest.raises(ControlError) as caught:
        ControlClient(tmp_path / "c.sock", timeout=5).health()
    assert caught.value.code == code


def test_chunked_and_unframed_answers_are_read_whole(tmp_path: Path) -> None:
    pieces = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\n{",
        b'"a"\r\n2\r\n:1\r\n1\r\n}\r\n0\r\n\r\n',
    ]
    with daemon(tmp_path / "c.sock", sending(*pieces)):
        assert ControlClient(tmp_path / "c.sock").health() == {"a": 1}
    with daemon(tmp_path / "d.sock", sending(b"HTTP/1.1 200 OK\r\n\r\n", b'{"b"', b": 2}")):
        assert ControlClient(tmp_path / "d.sock").health() == {"b": 2}


def test_an_answer_that_comes_before_the_body_was_read_is_still_heard(tmp_path: Path) -> None:
    refusal = {"error": {"code": "invalid_request", "message": "too large"}}
    path = tmp_path / "c.sock"
    content = json.dumps(refusal).encode()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(10)

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                head = f"HTTP/1.1 413 Too Large\r\nContent-Length: {len(content)}\r\n\r\n".encode()
                connection.sendall(head + content)
                connection.shutdown(socket.SHUT_RD)
                connection.recv(1)

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(ControlError, match="too large"):
            ControlClient(path).request("POST", "/v1/start", body={"names": ["x" * 4_000_000]})
        thread.join(10)


def test_a_stream_yields_events_with_ids_and_parsed_data(tmp_path: Path) -> None:
    body = (
        b": keep-alive\n\n"
        b'id: 4\nevent: service.ready\ndata: {"service":\ndata:  "a"}\n\n'
        b'data: {"n": 2}\r\nunknown: x\r\n\r\n'
        b"event: empty\n\n"
        b'id: 6\ndata:{"n": 3}\n\ndata: {"cut": '
    )
    with daemon(tmp_path / "c.sock", sending(SSE + b"\r\n" + body)):
        events = list(ControlClient(tmp_path / "c.sock").follow_events(after=3))
    assert [(event.id, event.event, event.data) for event in events] == [
        ("4", "service.ready", {"service": "a"}),
        ("4", "message", {"n": 2}),
        ("6", "message", {"n": 3}),
    ]


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_a_stream_reads_the_same_however_its_bytes_are_split(data: st.DataObject) -> None:
    payloads = data.draw(st.lists(st.text(), min_size=1, max_size=4))
    text = "".join(f"id: {n}\ndata: {json.dumps({'text': value})}\n\n" for n, value in enumerate(payloads))
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(1, len(raw)), max_size=6, unique=True)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True) if a < b]
    chunks = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces]
    with tempfile.TemporaryDirectory() as directory:  # one an example
        path = Path(directory) / "c.sock"
        with daemon(path, sending(SSE + b"Transfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n")):
            seen = [event.data["text"] for event in ControlClient(path).stream("/v1/x")]
    assert seen == payloads


def test_leaving_a_stream_early_closes_its_connection(tmp_path: Path) -> None:
    closed = threading.Event()

    def endless(connection: socket.socket, _: bytes) -> None:
        connection.sendall(SSE + b'\r\ndata: {"n": 1}\n\n')
        if connection.recv(1) == b"":
            closed.set()

    with daemon(tmp_path / "c.sock", endless):
        with contextlib.closing(ControlClient(tmp_path / "c.sock").follow_logs("a", lines=5)) as stream:
            assert next(stream).data == {"n": 1}
        assert closed.wait(5)


def test_a_refused_stream_raises_what_the_daemon_says(tmp_path: Path) -> None:
    body = {"error": {"code": "denied", "message": "viewers may not"}}
    with (
        daemon(tmp_path / "c.sock", answering(body, 403)),
        pytest.raises(ControlError, match="viewers may not") as caught,
    ):
        next(ControlClient(tmp_path / "c.sock").follow_events())
    assert caught.value.code == "denied"


def test_a_stream_that_falls_silent_ends_with_a_timeout(tmp_path: Path) -> None:
    def silent(connection: socket.socket, _: bytes) -> None:
        connection.sendall(SSE + b"\r\n: hello\n\n")
        connection.recv(1)

    with daemon(tmp_path / "c.sock", silent), pytest.raises(ControlError) as caught:
        next(ControlClient(tmp_path / "c.sock").stream("/v1/x", idle=0.2))
    assert caught.value.code == "timeout"


def test_a_full_backlog_is_waited_for_and_then_a_timeout(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(path))
        with pytest.raises(ControlError) as caught:
            ControlClient(path, timeout=0.2).health()
    assert caught.value.code == "timeout"


@given(st.text(max_size=50))
def test_a_quoted_text_is_plain_ascii_and_decodes_to_itself(text: str) -> None:
    quoted = quote(text)
    assert set(quoted) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%")
    plain = bytearray()
    rest = quoted.encode()
    while rest:
        size = 3 if rest[:1] == b"%" else 1
        plain += bytes.fromhex(rest[1:3].decode()) if size == 3 else rest[:1]
        rest = rest[size:]
    assert plain.decode() == text


def test_importing_the_client_loads_nothing_slow() -> None:
    code = "import sys, orchestra_supervisor.control_client; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=20, check=True
    ).stdout.split()
    slow = {
        "typing",
        "dataclasses",
        "http",
        "urllib.request",
        "email",
        "asyncio",
        "logging",
        "inspect",
        "ssl",
    }
    assert not slow & set(loaded)
    ours = {name for name in loaded if name.startswith("orchestra_supervisor.")}
    assert ours == {"orchestra_supervisor.control_client", "orchestra_supervisor.unix_http"}
