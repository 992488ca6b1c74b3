"""What a gRPC server says of its health, and what is no such server."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.model.checks import GrpcCheck
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.probes.run import run_check
from tests.unit.probes.probe_servers import Handler, answers

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]


@dataclass
class Servers:
    healthy: int
    bare: int
    broken: int
    path: str = ""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    path = str(tmp_path_factory.mktemp("grpc") / "s")
    command = [sys.executable, "-m", "tests.unit.probes.grpc_server", path]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Servers(**json.loads(process.stdout.readline()), path=path)
        finally:
            process.stdin.close()
            process.wait(20)


async def probe(check: GrpcCheck, within: float = 5.0) -> ProbeOutcome:
    with anyio.fail_after(10):
        return await run_check(check, within)


@pytest.mark.parametrize(
    ("service", "passed", "detail"),
    [
        ("", True, "gRPC SERVING"),
        ("model.é", True, "gRPC SERVING"),
        ("busy", False, "gRPC NOT_SERVING"),
        ("odd", False, "gRPC UNKNOWN"),
        ("none", False, "the server knows no service 'none'"),
    ],
)
async def test_a_server_is_asked_for_its_services(
    servers: Servers, service: str, passed: bool, detail: str
) -> None:
    outcome = await probe(GrpcCheck(port=servers.healthy, service=service))
    assert (outcome.passed, outcome.detail) == (passed, detail)
    assert outcome.took > 0


async def test_a_server_is_asked_over_its_unix_socket(servers: Servers) -> None:
    assert (await probe(GrpcCheck(unix=servers.path))).detail == "gRPC SERVING"
    absent = await probe(GrpcCheck(unix=servers.path + "x"))
    assert absent.detail == f"no such socket at {servers.path}x"


async def test_a_server_without_a_health_service_says_so(servers: Servers) -> None:
    outcome = await probe(GrpcCheck(port=servers.bare))
    assert (outcome.passed, outcome.detail) == (
        False,
        "the server has no health service (grpc.health.v1.Health)",
    )


async def test_an_error_of_the_server_is_shown_in_its_own_words(servers: Servers) -> None:
    outcome = await probe(GrpcCheck(port=servers.broken))
    assert (outcome.passed, outcome.detail) == (False, "gRPC UNAVAILABLE: the database is away")


async def test_a_closed_port_is_refused(closed_port: int) -> None:
    outcome = await probe(GrpcCheck(port=closed_port))
    assert (outcome.passed, outcome.detail) == (False, f"connection refused at 127.0.0.1:{closed_port}")


async def _against(handler: Handler, within: float = 5.0) -> ProbeOutcome:
    """Probe a server that reads what a client of HTTP/2 says first, and then does as it likes."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await handler(stream)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        outcome = await probe(GrpcCheck(port=listener.extra(anyio.abc.SocketAttribute.local_port)), within)
        tasks.cancel_scope.cancel()
    return outcome


_FRAME_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        (
            (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",),
            "answers in HTTP/1, so it is no gRPC server",
        ),
        ((b"220 mail.test ESMTP ready\r\n",), "not a valid HTTP/2 answer, so it is no gRPC server"),
        ((), "connection closed without an answer"),
        ((b"HT", b"TP/1.0 505 \r\n"), "answers in HTTP/1, so it is no gRPC server"),
        # Settings belong to the connection, not to a stream.
        ((_FRAME_SETTINGS[:-1] + b"\x01",), "not a valid HTTP/2 answer, so it is no gRPC server"),
        ((_FRAME_SETTINGS,), "connection closed without an answer"),
        # Headers of `:status: 404` (index 13 of the static table) that end the stream.
        (
            (_FRAME_SETTINGS, b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x8d"),
            "HTTP 404 without a gRPC status, so it is no gRPC server",
        ),
        (
            (_FRAME_SETTINGS, b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x07"),
            "the server ended the call (HTTP/2 error 7)",
        ),
        # Headers of `:status: 200`, and data over the limit.
        (
            (
                _FRAME_SETTINGS + b"\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88",
                b"\x00\x40\x00\x00\x00\x00\x00\x00\x01" + bytes(16 * 1024),
                b"\x00\x00\x01\x00\x00\x00\x00\x00\x01" + bytes(1),
            ),
            "the answer is longer than 16 KiB",
        ),
        (
            (_FRAME_SETTINGS, b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + bytes(7) + b"\x0b"),
            "the server ended the connection (HTTP/2 error 11)",
        ),
    ],
)
async def test_what_is_no_grpc_server_is_told_apart(said: tuple[bytes, ...], detail: str) -> None:
    outcome = await _against(answers(*said))
    assert (outcome.passed, outcome.detail) == (False, detail)


async def test_a_server_that_hangs_fails_at_the_deadline() -> None:
    async def hang(_: anyio.abc.SocketStream) -> None:
        await anyio.sleep_forever()

    outcome = await _against(hang, within=0.1)
    assert (outcome.passed, outcome.detail) == (False, "no answer within 0.1 s")


@pytest.mark.slow
def test_a_fleet_without_grpc_probes_does_not_load_http2() -> None:
    program = "import sys, orchestra_supervisor.engine.supervisor as _; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=30,
    )
    assert not {"h2", "hpack", "regex", "grpc"} & set(done.stdout.split())


def test_a_path_over_the_systems_limit_is_reached_by_way_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        listener.bind("s")
        listener.listen()
        check = GrpcCheck(unix=str(folder / "s"))
        outcome = anyio.run(run_check, check, 0.05)
    assert outcome.detail == "no answer within 0.05 s", "connected, and nobody answers"


async def test_an_answer_counts_although_the_server_leaves_with_it() -> None:
    # `:status: 200` and `grpc-status: 0`, literal; the message; a trailer; GOAWAY: all in one piece.
    head = b"\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88"
    message = b"\x00\x00\x07\x00\x00\x00\x00\x00\x01" + b"\x00\x00\x00\x00\x02\x08\x01"
    trailer = b"\x00\x0b" + b"grpc-status" + b"\x01" + b"0"
    end = len(trailer).to_bytes(3, "big") + b"\x01\x05\x00\x00\x00\x01" + trailer
    farewell = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\x00\x00\x00\x01" + bytes(4)
    outcome = await _against(answers(_FRAME_SETTINGS + head + message + end + farewell))
    assert (outcome.passed, outcome.detail) == (True, "gRPC SERVING")
