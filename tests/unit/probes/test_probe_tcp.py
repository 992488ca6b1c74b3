import socket

import anyio
import pytest

from orchestra_supervisor.model.spec import TcpCheck
from orchestra_supervisor.probes import connection
from orchestra_supervisor.probes.connection import ConnectError, connect
from orchestra_supervisor.probes.outcome import judge_exit
from orchestra_supervisor.probes.run import run_check
from tests.unit.probes.probe_servers import answers, serving

pytestmark = pytest.mark.anyio


async def test_an_accepting_port_passes() -> None:
    async with serving(answers()) as server:
        with anyio.fail_after(5):
            outcome = await run_check(TcpCheck(port=server.port), 1.0)
    assert outcome.passed
    assert outcome.detail == f"connected to 127.0.0.1:{server.port}"


async def test_a_closed_port_is_refused(closed_port: int) -> None:
    with anyio.fail_after(5):
        outcome = await run_check(TcpCheck(port=closed_port), 1.0)
    assert not outcome.passed
    assert outcome.detail == f"connection refused at 127.0.0.1:{closed_port}"


async def test_localhost_falls_back_to_the_other_family(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answers()) as server:
        families = ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1"))
        monkeypatch.setattr(connection, "_LOCALHOST", families)
        with anyio.fail_after(5):
            assert (await run_check(TcpCheck(host="localhost", port=server.port), 1.0)).passed


async def test_a_full_accept_queue_fails_at_the_deadline() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        port = busy.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            with anyio.fail_after(5):
                outcome = await run_check(TcpCheck(port=port), 0.1)
        finally:
            for client in waiting:
                client.close()
    assert not outcome.passed
    assert outcome.detail == f"no connection to 127.0.0.1:{port} within 0.1 s"


async def test_a_connection_to_itself_is_not_a_listener(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket

    class Bound(real):
        """A socket that the kernel happened to give the very port it connects to."""

        def connect_ex(self, address: tuple[str, int]) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
            self.bind(address)
            return super().connect_ex(address)

    monkeypatch.setattr(connection.socket, "socket", Bound)
    with anyio.fail_after(5), pytest.raises(ConnectError, match="connection refused"):
        await connect("127.0.0.1", closed_port)


def test_only_exit_code_0_passes() -> None:
    assert judge_exit(0, None).passed
    assert judge_exit(2, None).detail == "exit code 2"
    assert not judge_exit(2, None).passed
    assert judge_exit(None, "SIGSEGV").detail == "killed by SIGSEGV"
    assert judge_exit(None, 9).detail == "killed by SIGKILL"
    assert not judge_exit(0, 9).passed
    assert not judge_exit(None, None).passed
    assert judge_exit(None, 40).detail == "killed by signal 40"
