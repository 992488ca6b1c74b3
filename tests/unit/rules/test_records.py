"""Copies of records: as the standard library makes them."""

import dataclasses

import pytest

from orchestra_supervisor.model.states import State
from orchestra_supervisor.rules.records import replace
from orchestra_supervisor.rules.service import Ending, Moment, Run, Service, Then
from tests.unit.rules.stage import spec_of

RUN = Run("a-1", 1.0, 2.0)


@pytest.mark.parametrize(
    ("record", "changes"),
    [
        (Service(spec_of()), {"state": State.READY, "reason": "x", "run": RUN}),
        (Service(spec_of(), run=RUN), {}),
        (RUN, {"pid": 7}),
        (Ending(Then.DOWN, "x"), {"after": ("b",)}),
        (Moment(1.0, 2.0, "a-1"), {"run_id": "a-2"}),
    ],
)
def test_a_copy_is_as_the_standard_library_makes_it(record, changes):
    before = dataclasses.replace(record)
    assert replace(record, **changes) == dataclasses.replace(record, **changes)
    assert record == before, "the one that was there is left alone"
    assert replace(record) is not record


def test_a_field_that_there_is_not_is_refused():
    with pytest.raises(KeyError):
        replace(RUN, pidd=7)


def test_a_record_that_is_checked_when_it_is_made_is_refused():
    @dataclasses.dataclass(frozen=True, slots=True)
    class Checked:
        a: int = 0
        b: int = 0

        def __post_init__(self) -> None:
            assert self.a < 5

    with pytest.raises(AssertionError):
        replace(Checked(), a=7)
