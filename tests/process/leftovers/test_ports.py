import os
import socket
from collections.abc import Generator

import pytest

from orchestra_supervisor.process import ports
from orchestra_supervisor.process.ports import port_owner, port_owners


@pytest.fixture
def listener() -> Generator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def test_a_listener_is_named(listener: socket.socket) -> None:
    owner = port_owner(listener.getsockname()[1])
    assert owner is not None
    assert owner.pid == os.getpid()
    assert owner.name
    assert 0 < len(owner.command) <= ports.COMMAND_LIMIT
    assert str(owner) == f"pid {os.getpid()} ({owner.name})"


def test_a_free_port_has_no_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    assert port_owner(port) is None
    assert port_owner(port, "127.0.0.1") is None


def test_only_addresses_that_overlap_count(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert port_owner(port, "127.0.0.2") is None
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        assert port_owner(port, host) is not None


def test_a_port_that_is_bound_but_not_listened_on_is_busy() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        owner = port_owner(bound.getsockname()[1])
    assert owner is not None
    assert owner.pid is None
    assert "hidden" in str(owner)


def test_a_system_that_shows_no_table_is_asked_by_binding(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(kind: str) -> list[object]:
        raise ports.psutil.AccessDenied(msg=kind)

    monkeypatch.setattr(ports.psutil, "net_connections", refuse)
    owner = port_owner(listener.getsockname()[1])
    assert owner is not None
    assert owner.pid is None


def test_many_places_are_looked_up_at_once(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as closing:
        free = closing.getsockname()[1]
    taken = port_owners([(None, port), ("127.0.0.1", port), (None, free)])
    assert set(taken) == {(None, port), ("127.0.0.1", port)}


def test_a_host_that_is_no_address_of_ours_is_not_called_busy() -> None:
    assert port_owner(65000, "no such host") is None
    assert port_owner(65000, "203.0.113.9") is None
