"""What signals of a user become."""

from signal import SIGHUP, SIGINT, SIGTERM

import pytest

from orchestra_supervisor.cli.stopping import StopOrder


@pytest.mark.parametrize(
    ("signals", "sent", "is_hurried"),
    [
        ([SIGINT], [SIGINT], False),
        ([SIGTERM], [SIGTERM], False),
        ([SIGHUP], [SIGTERM], False),
        ([SIGINT, SIGINT], [SIGINT, SIGTERM], True),
        ([SIGTERM, SIGTERM, SIGTERM], [SIGTERM, SIGINT, SIGTERM], True),
        ([SIGHUP, SIGTERM], [SIGTERM], False),
        ([SIGTERM, SIGHUP], [SIGTERM], False),
        ([SIGHUP, SIGTERM, SIGINT], [SIGTERM, SIGINT], True),
        ([SIGINT, SIGHUP, SIGINT], [SIGINT, SIGTERM], True),
    ],
)
def test_a_second_wish_hurries_and_a_closed_terminal_never_does(
    signals: list[int], sent: list[int], is_hurried: bool
) -> None:
    orders: list[int] = []
    order = StopOrder(orders.append)
    told = [word for number in signals for word in order.take([number])]
    assert orders == sent
    assert order.is_hurried is is_hurried
    assert told == ["stopping in order", *["hurrying"] * (len(sent) - 1)]
