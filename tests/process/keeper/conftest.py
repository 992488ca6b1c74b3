"""A keeper, and its daemon and logger played by the test."""

import pytest

from tests.process.keeper_driver import Keeper


@pytest.fixture
def keeper(tmp_path):
    with Keeper(tmp_path) as running:
        yield running
        assert "a fault of ours" not in running.stderr()


@pytest.fixture
def daemon(keeper):
    return keeper.greeted_daemon()


@pytest.fixture
def logger(keeper):
    return keeper.logger()
