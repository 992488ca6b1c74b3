"""The beginning of the process that speaks with listeners."""

import socket
from pathlib import Path

import pytest

from orchestra_supervisor.control_client import NoDaemon
from orchestra_supervisor.listeners.directory import Directory
from orchestra_supervisor.listeners.memory import Memory
from orchestra_supervisor.listeners.process import Listening


def test_a_daemon_that_is_replaced_while_we_begin_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, keepers = socket.socketpair()
    memory = Memory(str(tmp_path))
    listening = Listening(str(tmp_path / "control.sock"), ours, memory)
    asked = 0

    def starts() -> list[dict[str, object]]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise NoDaemon("no daemon answers")
        return []

    news = listening._news
    monkeypatch.setattr(news, "wait_directory", lambda: Directory("fleet", 1.0, 7, (), ()))
    monkeypatch.setattr(news, "starts", starts)
    monkeypatch.setattr(news, "changes", list)
    with keepers:
        listening._begin()
        assert (asked, listening._scene.cursor, listening._scene.pools.identifier) == (2, 7, "fleet")
        listening._channel.close()
        listening._selector.close()
    memory.close()
