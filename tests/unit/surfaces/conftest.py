import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as in the daemon


@pytest.fixture
def folder() -> Generator[Path]:
    """Give a directory whose name is short enough for a socket, however long the test's is."""
    with tempfile.TemporaryDirectory(prefix="o-") as name:
        yield Path(name)
