"""What holds for every service, whatever happens to it."""

import json
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.model.errors import IllegalTransition
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import (
    BackoffSpec,
    DependencySpec,
    ProbeSet,
    RestartSpec,
    ServiceSpec,
    StartSpec,
)
from orchestra_supervisor.model.states import Desired, DownReason, Kind, State
from orchestra_supervisor.rules.diagram import explore
from orchestra_supervisor.rules.graph import LEAVING
from orchestra_supervisor.rules.inputs import (
    Boot,
    Dependencies,
    Due,
    Exited,
    Gone,
    Hung,
    Input,
    Probed,
    ProbeKind,
    ProbeSaw,
    Proceed,
    Respec,
    Restart,
    RunNow,
    Spawned,
    SpawnRefused,
    Start,
    Stop,
    Stuck,
)
from orchestra_supervisor.rules.lifecycle import TABLE, step
from orchestra_supervisor.rules.service import Moment, Service, from_note, to_note
from tests.unit.rules.stage import Stage, check_step, moment, spec_of


@st.composite
def specs(draw: st.DrawFn) -> ServiceSpec:
    kind = draw(st.sampled_from(Kind))
    schedule = ScheduleSpec(
        every=draw(st.sampled_from([3.0, 50.0])),
        overlap=draw(st.sampled_from(["skip", "queue", "replace"])),
        missed=draw(st.sampled_from(["skip", "once", "all"])),
        on_start=draw(st.booleans()),
    )
    probed = draw(st.sampled_from(["", "r", "l", "rl", "s", "srl"]))
    on_failure = draw(st.sampled_from(["keep", "stop", "restart"]))
    return spec_of(
        kind=kind,
        schedule=schedule if kind is Kind.PERIODIC else None,
        probed=probed if kind is Kind.DAEMON else "",
        startup_timeout=draw(st.sampled_from([0.0, 3.0, 60.0])),
        start_delay=draw(st.sampled_from([0.0, 0.0, 2.0])),
        start=draw(st.sampled_from([None, StartSpec(after=0.0), StartSpec(after=4.0, retries=1)])),
        restart=RestartSpec(
            policy=draw(st.sampled_from(["always", "on-failure", "never"])),
            max_restarts=draw(st.sampled_from([None, 0, 1, 3])),
            window=20.0,
            stable_after=5.0,
            backoff=BackoffSpec(first_immediate=draw(st.booleans())),
        ),
        depends_on={
            "one": DependencySpec.model_validate({"on_failure": on_failure}),
            "two": DependencySpec(),
        },
    )


UNMET = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), st.sampled_from(["failed", "starting", LEAVING])),
    max_size=2,
    unique_by=lambda pair: pair[0],
).map(tuple)
AFTER = st.sampled_from([(), ("above",), ("above", "beside")])
STALE = "a-ffffffffffff"


@st.composite
def anything(draw: st.DrawFn, service: Service, at: float) -> Input:
    """Draw any input at all, whether or not a keeper of sound mind would send it now."""
    run = draw(st.sampled_from([service.run.id if service.run else STALE, STALE]))
    signalled = draw(st.sampled_from([(0, None), (1, None), (None, "SIGKILL"), (None, None)]))
    exited = Exited(run, *signalled, at, at, draw(st.sampled_from([0, 0, 2])))
    probed = Probed(run, draw(st.sampled_from(ProbeKind)), draw(st.booleans()), "refused")
    choices: list[Input] = [
        Boot(draw(st.sampled_from([DownReason.NONE, DownReason.DISABLED]))),
        Start("by hand"),
        Stop(draw(st.sampled_from([DownReason.OPERATOR, DownReason.SHUTDOWN])), "by hand", draw(AFTER)),
        Restart("by hand", draw(AFTER)),
        RunNow(at),
        Proceed(),
        Dependencies(draw(UNMET)),
        Spawned(run, 7, at, at),
        SpawnRefused(run, "exec", 2, "No such file"),
        exited,
        Gone(run),
        Hung(run, "does not answer"),
        Gone(run, f"a-{draw(st.integers(0, 2**40)):012x}"),
        Stuck(run, (1, 2)),
        Due(),
        probed,
        ProbeSaw(run, "refused"),
        Respec(service.spec.model_copy(update={"startup_timeout": draw(st.sampled_from([0.0, 5.0]))})),
        Respec(service.spec.model_copy(update={"probes": ProbeSet()})),
    ]
    return draw(st.sampled_from(choices))


@st.composite
def walks(draw: st.DrawFn) -> tuple[Service, float]:
    """Draw a service to which anything has happened, each step held to the laws."""
    service, at = Service(draw(specs())), 0.0
    if draw(st.booleans()):
        service = step(service, Boot(DownReason.NONE), moment()).service
    for number in range(draw(st.integers(0, 20))):
        at += draw(st.sampled_from([0.0, 0.1, 4.0, 30.0]))
        event = draw(anything(service, at))
        result = step(service, event, moment(at, number + 1))
        check_step(service, event, result.service, result.effects)
        service = result.service
    return service, at


def test_every_pair_of_input_and_state_has_a_rule() -> None:
    assert set(TABLE) == set(get_args(Input))
    for row in TABLE.values():
        assert set(row) == set(State)


def test_an_input_that_the_table_does_not_know_is_refused() -> None:
    with pytest.raises(IllegalTransition, match="no rule for int in state stopped"):
        step(Service(spec_of()), 5, moment())  # type: ignore[arg-type]


def test_every_step_that_can_happen_keeps_the_laws() -> None:
    states: set[State] = set()
    inputs: set[type[Input]] = set()
    for one in explore():
        check_step(one.before, one.event, one.after, one.effects)
        states.add(one.after.state)
        inputs.add(type(one.event))
    assert states == set(State), "a state that cannot be reached is not needed"
    assert inputs == set(TABLE), "an input that cannot come is not needed"


@settings(deadline=None, max_examples=80)
@given(walks())
def test_no_sequence_of_inputs_breaks_the_laws(walk: tuple[Service, float]) -> None:
    service, at = walk  # each step was held to the laws on the way
    result = step(service, Gone(STALE), moment(at, 999))
    check_step(service, Gone(STALE), result.service, result.effects)


@settings(deadline=None, max_examples=80)
@given(walks(), AFTER)
def test_whatever_has_happened_a_stop_leads_to_stopped(
    walk: tuple[Service, float], after: tuple[str, ...]
) -> None:
    service, at = walk
    stage = Stage(service, at, count=1000).play(Stop(DownReason.OPERATOR, "by hand", after))
    if stage.service.is_leaving:
        stage.play(Proceed())
    if stage.service.run is not None:
        assert stage.state is State.STOPPING
        run = stage.run
        stage.play(Exited(run, 1, None, stage.at, 0.0, 0), Gone(run))
    assert stage.state is State.STOPPED
    assert stage.service.desired is Desired.DOWN
    assert stage.service.deadline is None, "nothing starts it again"


@settings(deadline=None, max_examples=80)
@given(walks())
def test_whatever_has_happened_a_start_leads_to_a_run_once_dependencies_are_met(
    walk: tuple[Service, float],
) -> None:
    service, at = walk
    stage = Stage(service, at, count=1000).play(Start("by hand"))
    if stage.service.is_idle:
        stage.play(RunNow(stage.at))
    for _ in range(3):  # the present run may end first, and the next one begin after a backoff
        if stage.service.state is State.STARTING and stage.service.ending is None:
            break
        if stage.state in {State.RUNNING, State.READY, State.UNHEALTHY} and stage.service.ending is None:
            break
        if stage.service.is_leaving:
            stage.play(Proceed())
        if stage.service.run is not None:
            run = stage.run
            stage.play(Exited(run, 1, None, stage.at, 0.0, 0), Gone(run))
        if stage.service.unmet:
            stage.play(Dependencies(()))
        if stage.state in {State.WAITING, State.BACKOFF}:
            stage.play(Due(), after=100.0)
    assert stage.service.desired is Desired.UP
    if service.run is not None and service.run.leader_ended and service.ending is None:
        return  # it had ended by itself before anybody asked: policy decides
    policy = stage.service.spec.restart
    gave_up = policy.policy == "never" or policy.max_restarts is not None
    assert stage.service.run is not None or (stage.state is State.FAILED and gave_up)


@settings(deadline=None, max_examples=80)
@given(walks())
def test_a_service_is_the_same_after_its_note_has_been_written_and_read(walk: tuple[Service, float]) -> None:
    service, _ = walk
    note = json.loads(json.dumps(to_note(service)))
    again = from_note(service.spec, note)
    assert again == replace(service, unmet=(), look=0.0), "what is unmet and due is worked out anew"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(sorted(to_note(Service(spec_of())))), walks())
@settings(deadline=None, max_examples=60)
def test_a_note_that_cannot_be_read_counts_as_none(
    value: object, key: str, walk: tuple[Service, float]
) -> None:
    service, _ = walk
    assert from_note(service.spec, value) is None
    found = from_note(service.spec, {**to_note(service), key: value})
    assert found is None or isinstance(found.deadline, float | None)


def test_the_same_inputs_lead_to_the_same_service() -> None:
    def play() -> Service:
        stage = Stage(Service(spec_of(probed="r")))
        return stage.up().ends(1).service

    assert play() == play()


def test_time_is_what_the_moment_says() -> None:
    now = Moment(5.0, 77.0, "a-000000000001")
    service = step(Service(spec_of()), Boot(DownReason.NONE), now).service
    assert service.since_wall == 77.0
    assert service.run is not None
    assert (service.run.ordered_mono, service.run.id) == (5.0, "a-000000000001")
