"""Async tests of the gateway run on asyncio, as the gateway does."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
