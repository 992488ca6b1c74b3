import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestra_supervisor.config.load import LoadResult, load_fleet

ENVIRON = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/somebody"}

Write = Callable[..., Path]
Load = Callable[..., LoadResult]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below tmp_path: text as it is, anything else as JSON."""

    def write(content: object, name: str = "orchestra.json") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, indent=1)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def load(write: Write) -> Load:
    """Write one file and load it."""

    def load(content: object, name: str = "orchestra.json", **environ: str) -> LoadResult:
        return load_fleet([write(content, name)], environ=ENVIRON | environ)

    return load


@pytest.fixture
def load_service(load: Load):
    """Load one native service under the name `one`, and insist that it has no faults."""

    def load_service(**body: object):
        result = load({"services": {"one": {"command": ["true"]} | body}})
        assert result.errors == (), [finding.message for finding in result.errors]
        return result.fleet.services["one"]

    return load_service


@pytest.fixture
def free_tcp_listener() -> Iterator[int]:
    """Listen on a port of this host; the number of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
