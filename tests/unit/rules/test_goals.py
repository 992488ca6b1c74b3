"""What a caller may wait for, and when it will not come by itself."""

from dataclasses import replace

import pytest

from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.rules.goals import Goal, is_completed, is_down, is_ready
from orchestra_supervisor.rules.service import Ending, Run, Service, Then
from tests.unit.rules.stage import spec_of

RUN = Run("a-1", 0.0, 0.0, pid=1)


@pytest.mark.parametrize(
    ("goal", "met", "never"),
    [
        (is_ready, {State.READY, State.COMPLETED}, {State.FAILED}),
        (is_down, {State.STOPPED, State.COMPLETED, State.FAILED}, set[State]()),
        (is_completed, {State.COMPLETED}, {State.FAILED}),
    ],
)
def test_a_goal_is_met_or_lost_in_some_states_and_open_in_all_others(
    goal: Goal, met: set[State], never: set[State]
) -> None:
    for state in State:
        expected = True if state in met else False if state in never else None
        assert goal(Service(spec_of(), state=state)) is expected, state


def test_a_service_that_is_meant_to_be_down_will_not_be_ready() -> None:
    assert is_ready(Service(spec_of(), down_reason=DownReason.OPERATOR)) is False


def test_a_service_that_leaves_is_not_ready_and_one_with_a_run_is_not_down() -> None:
    ready = Service(spec_of(), state=State.READY, run=RUN)
    assert is_ready(replace(ready, ending=Ending(Then.AGAIN, "restarting"))) is None
    assert is_down(Service(spec_of(), state=State.STOPPED, run=RUN)) is None
