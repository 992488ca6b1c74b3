"""`NAME=N` is understood, and what is not is answered with an example."""

import pytest

from orchestra_supervisor.cli.commands.scale import counts_of
from orchestra_supervisor.cli.words import UsageError


def test_names_and_numbers_may_stand_apart_or_with_commas_and_the_last_one_holds() -> None:
    assert counts_of(["web=5", "api=2,db=0"]) == {"web": 5, "api": 2, "db": 0}
    assert counts_of(["web=5", "web=6"]) == {"web": 6}
    assert counts_of(["a=b=3"]) == {"a=b": 3}


@pytest.mark.parametrize("word", ["web", "web=", "=3", "web=x", "web=-1", "web=1.5"])
def test_a_word_that_does_not_say_how_many_is_refused(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        counts_of([word])
    assert word in caught.value.message
    assert caught.value.hint == "orchestra scale web=5 api=2"
