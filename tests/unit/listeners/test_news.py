"""Where to go on when daemons were killed: numbers of events that were told and not kept are given again."""

from typing import Any

import pytest

from orchestra_supervisor.listeners.news import added_by, data_of, rewound, seq_of


def start(seq: int, at: float) -> dict[str, Any]:
    return {"seq": seq, "at": at}


@pytest.mark.parametrize(
    ("cursor", "starts", "then"),
    [
        (20, [start(3, 1.0)], 20),
        (20, [start(3, 1.0), start(25, 2.0)], 20),  # all was kept, and more has come since
        (20, [start(3, 1.0), start(18, 2.0)], 17),  # 18 to 20 were told by the one that was killed
        (20, [start(3, 1.0), start(18, 2.0), start(30, 3.0)], 17),  # and two have been killed since
        (20, [start(3, 9.0)], 2),  # a journal that was begun anew
        (20, [start(7, 5.0), start(900, 6.0)], 20),  # the start that was seen is no longer kept
        (20, [], 20),
    ],
)
def test_all_is_news_from_the_start_of_a_daemon_on(
    cursor: int, starts: list[dict[str, Any]], then: int
) -> None:
    assert rewound(cursor, (3, 1.0), starts) == then


def test_what_is_missing_is_nothing() -> None:
    assert (data_of({}), seq_of({}), added_by({})) == ({}, 0, set())
    assert added_by({"data": {"added": ["a", "b"]}}) == {"a", "b"}
