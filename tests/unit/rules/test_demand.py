"""Services that start on demand: how they rest, who may ask for them, and that a stop by hand is stronger."""

import pytest

from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.rules.demand import callers, calls_for, refusal, rests
from orchestra_supervisor.rules.fleet import is_well, tally, unsettled
from orchestra_supervisor.rules.goals import is_down, is_ready
from orchestra_supervisor.rules.inputs import Boot, Input, Restart, Start, Stop
from orchestra_supervisor.rules.reload import Action, plan_reload
from orchestra_supervisor.rules.resume import resume
from orchestra_supervisor.rules.service import Service, from_note, to_note, to_report
from tests.unit.rules.stage import Stage, moment, spec_of
from tests.unit.rules.test_reload import fleet_of

ON_DEMAND = spec_of(start_on="demand")


def resting() -> Stage:
    return Stage(Service(ON_DEMAND)).play(Boot(DownReason.DEMAND))


def test_at_boot_it_rests_and_says_so() -> None:
    service = resting().service
    assert (service.state, service.desired, service.reason, service.run, service.deadline) == (
        State.STOPPED,
        Desired.DOWN,
        "started on demand",
        None,
        None,
    )
    assert rests(service)


def test_resting_is_as_good_as_being_up() -> None:
    service = resting().service
    assert (is_ready(service), is_down(service), is_well(service)) == (True, True, True)
    assert unsettled({"a": service}, 0.0) == []
    assert tally({"a": service}) == (1, 1)
    assert to_report(service, moment().clocks).down_reason == "demand"


def test_a_start_starts_it_and_an_idle_stop_lets_it_rest_again() -> None:
    stage = resting().play(Start("somebody calls"))
    assert stage.state is State.STARTING
    stage.begins()
    assert (stage.state, is_ready(stage.service)) == (State.READY, True)
    stage.play(Stop(DownReason.DEMAND, "idle"))
    stage.ends()
    assert (stage.state, stage.service.reason, rests(stage.service)) == (
        State.STOPPED,
        "started on demand",
        True,
    )


def test_a_stop_by_hand_is_another_rest() -> None:
    service = resting().play(Stop(DownReason.OPERATOR, "by hand")).service
    assert (service.reason, rests(service), is_ready(service), is_well(service)) == (
        "stopped by hand",
        False,
        False,
        False,
    )


def test_a_restart_leaves_it_alone_while_it_rests() -> None:
    stage = resting()
    before = stage.service
    stage.play(Restart("all of them"))
    assert stage.service == before


def test_a_crash_is_followed_by_policy_as_of_any_service() -> None:
    stage = resting().play(Start("call"))
    stage.begins()
    stage.ends(None, "SIGKILL")
    assert (stage.state, stage.service.desired) == (State.STARTING, Desired.UP)


def test_resting_outlives_the_daemon() -> None:
    service = resting().service
    assert from_note(ON_DEMAND, to_note(service)) == service
    taken = resume(ON_DEMAND, to_note(service), (), moment(), DownReason.DEMAND)
    assert taken is not None
    assert (taken.service, taken.effects, taken.inputs) == (service, (), ())


def test_a_service_that_is_up_outlives_it_too() -> None:
    stage = resting().play(Start("call"))
    stage.begins()
    taken = resume(ON_DEMAND, to_note(stage.service), (), moment(), DownReason.DEMAND)
    assert taken is not None
    assert taken.service.desired is Desired.UP


@pytest.mark.parametrize(
    ("desired", "why", "state", "said"),
    [
        (Desired.DOWN, DownReason.DEMAND, State.STOPPED, ""),
        (Desired.DOWN, DownReason.OPERATOR, State.STOPPED, "was stopped by hand"),
        (Desired.DOWN, DownReason.OPERATOR, State.STOPPING, "was stopped by hand"),
        (Desired.DOWN, DownReason.DISABLED, State.STOPPED, "is disabled in the configuration"),
        (Desired.DOWN, DownReason.NOT_SELECTED, State.STOPPED, "was left out by --only"),
        (Desired.DOWN, DownReason.SHUTDOWN, State.STOPPED, "goes down with the fleet"),
        (Desired.DOWN, DownReason.REMOVED, State.STOPPING, "is no longer in the configuration"),
        (Desired.UP, DownReason.NONE, State.FAILED, "has failed: exit code 1"),
        (Desired.UP, DownReason.NONE, State.BACKOFF, ""),
        (Desired.UP, DownReason.NONE, State.READY, ""),
    ],
)
def test_who_may_not_be_started_on_demand(desired: Desired, why: DownReason, state: State, said: str) -> None:
    service = Service(ON_DEMAND, state=state, desired=desired, down_reason=why, reason="exit code 1")
    assert refusal(service) == said


@pytest.mark.parametrize(
    ("state", "desired", "asks"),
    [
        (State.WAITING, Desired.UP, True),
        (State.BACKOFF, Desired.UP, True),
        (State.READY, Desired.UP, True),
        (State.FAILED, Desired.UP, False),
        (State.STOPPED, Desired.DOWN, False),
        (State.STOPPING, Desired.DOWN, False),
    ],
)
def test_who_is_wanted_up_asks_for_what_it_depends_on(state: State, desired: Desired, *, asks: bool) -> None:
    service = Service(spec_of("web", needs=["a"]), state=state, desired=desired)
    assert calls_for(service) is asks
    assert callers("a", ["web", "gone"], {"web": service}) == (["web"] if asks else [])


# Reloads.


def test_one_that_rests_and_changes_rests_on() -> None:
    old = fleet_of(ON_DEMAND)
    new = fleet_of(ON_DEMAND.model_copy(update={"env": {"A": "1"}}))
    done = plan_reload(old, new, {"a": resting().service}, {"a": DownReason.DEMAND})
    assert done.names(Action.LATER) == ("a",)


def test_one_that_is_to_start_with_the_fleet_from_now_on_starts() -> None:
    done = plan_reload(fleet_of(ON_DEMAND), fleet_of(spec_of()), {"a": resting().service}, {})
    assert [(change.action, change.why) for change in done.services] == [
        (Action.START, "starts with the fleet now")
    ]


def test_one_that_is_new_rests() -> None:
    done = plan_reload(fleet_of(), fleet_of(ON_DEMAND), {}, {"a": DownReason.DEMAND})
    assert [(change.action, change.why) for change in done.services] == [
        (Action.ADD, "new in the configuration; stays down: started on demand")
    ]


@pytest.mark.parametrize(
    ("why", "spec", "down", "inputs"),
    [
        (
            DownReason.DEMAND,
            spec_of(),
            DownReason.NONE,
            (Start("starts with the fleet now"),),
        ),
        (
            DownReason.DEMAND,
            spec_of(start_on="demand", enabled=False),
            DownReason.DISABLED,
            (Stop(DownReason.DISABLED, "disabled in the configuration"),),
        ),
        (
            DownReason.DISABLED,
            spec_of(start_on="demand", nice=1),
            DownReason.DEMAND,
            (Stop(DownReason.DEMAND, "enabled in the configuration"),),
        ),
        (
            DownReason.REMOVED,
            ON_DEMAND,
            DownReason.DEMAND,
            (Stop(DownReason.DEMAND, "back in the configuration"),),
        ),
        (DownReason.DEMAND, spec_of(start_on="demand", nice=1), DownReason.DEMAND, ()),
        (DownReason.OPERATOR, spec_of(start_on="demand", nice=1), DownReason.DEMAND, ()),
    ],
)
def test_a_reload_that_a_daemons_death_cut_short_is_finished(
    why: DownReason, spec: object, down: DownReason, inputs: tuple[Input, ...]
) -> None:
    note = to_note(Service(ON_DEMAND, desired=Desired.DOWN, down_reason=why))
    taken = resume(spec, note, (), moment(), down)  # type: ignore[arg-type]  # of the table above
    assert taken is not None
    assert taken.inputs == inputs
