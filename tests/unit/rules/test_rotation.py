"""Digests of secrets: they tell that a value changed, and nothing else."""

import json

import pytest

from orchestra_supervisor.rules.rotation import Holding, digests_of, holding_from, outdated, to_note

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
VALUES = {"db": "hunter2", "api": "hunter2"}


def test_only_values_that_are_other_ones_are_outdated() -> None:
    holding = Holding("web-1", digests_of(KEY, "web-1", VALUES))
    assert outdated(KEY, holding, VALUES) == ()
    assert outdated(KEY, holding, {"db": "hunter3", "api": "hunter2"}) == ("db",)
    assert outdated(KEY, holding, {"new": "x"}) == (), "the run knows nothing of it"
    assert outdated(KEY, holding, {}) == ()


def test_a_digest_is_of_one_key_one_run_one_name_and_one_value() -> None:
    one = digests_of(KEY, "web-1", VALUES)
    digests = [
        *one.values(),
        *digests_of(KEY, "web-2", VALUES).values(),
        *digests_of(OTHER_KEY, "web-1", VALUES).values(),
    ]
    assert len(set(digests)) == 6
    assert all(len(digest) == 32 and "hunter" not in digest for digest in digests)
    assert digests_of(KEY, "web-1", {"a": "\udcff"}), "what is no text in UTF-8 has a digest, too"


def test_a_holding_comes_back_from_its_note_and_a_note_of_something_else_is_none() -> None:
    holding = Holding("web-1", digests_of(KEY, "web-1", VALUES))
    assert holding_from(json.loads(json.dumps(to_note(holding)))) == holding


@pytest.mark.parametrize("note", [None, "key", {}, {"run": 1, "digests": {}}, {"run": "r", "digests": []}])
def test_a_note_that_cannot_be_read_is_none(note: object) -> None:
    assert holding_from(note) is None
