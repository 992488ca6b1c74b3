"""Listening sockets while somebody else still has them: a child between fork and exec, for a moment."""

import os
import socket
from pathlib import Path

import pytest

from orchestra_supervisor.keeper.identity import SpawnFailure
from orchestra_supervisor.keeper.loop import Loop
from orchestra_supervisor.keeper.socket_request import ListenSpec
from orchestra_supervisor.keeper.sockets import Sockets


def spec_of(path: Path) -> ListenSpec:
    return ListenSpec(name="one", kind="unix", path=str(path), mode=0o600)


def is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_a_path_that_a_child_still_holds_is_bound_anew_at_once(tmp_path: Path) -> None:
    sockets = Sockets(Loop(), lambda _: None, {})
    path = tmp_path / "one.sock"
    [first] = sockets.open("web", [spec_of(path)])
    held_by_a_child = os.dup(first)
    sockets.close("web")
    assert not path.exists()
    sockets.open("web", [spec_of(path)])
    assert is_answered(path)
    os.close(held_by_a_child)
    sockets.close_all()
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_somebody_else_has_bound_since_is_left_to_them(tmp_path: Path) -> None:
    sockets = Sockets(Loop(), lambda _: None, {})
    path = tmp_path / "one.sock"
    sockets.open("web", [spec_of(path)])
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        sockets.close("web")
        assert is_answered(path)
        with pytest.raises(SpawnFailure, match="already in use"):
            sockets.open("web", [spec_of(path)])
