"""A play of random calls in the suite; `make rpc-differences` plays many."""

import pytest

from tests.e2e.supervisor.pair import Pair
from tests.e2e.supervisor.random_calls import Play

pytestmark = pytest.mark.slow


@pytest.mark.timeout(120)
def test_random_calls_are_answered_as_supervisord_answers_them(pair: Pair) -> None:
    play = Play(pair, seed=6)
    play.begin()
    play.run(30)
    assert len(play.story) == 30
