"""A front that the tests of one module share."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.e2e.gateway.front_driver import Front, running_front


@pytest.fixture(scope="module")
def front_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("front")


@pytest.fixture(scope="module")
def front(front_home: Path) -> Generator[Front]:
    """One whose HTTP address is open to all on this host."""
    with running_front(front_home, "--open") as running:
        yield running
