from collections.abc import Iterator

import pytest

from orchestra_supervisor.plugin_api.loader import PluginLoader


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def loader() -> Iterator[PluginLoader]:
    """A loader whose plugins are let go of after the test."""
    one = PluginLoader()
    yield one
    one.keep(())
