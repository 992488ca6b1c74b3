"""A daemon may die at any point: the next one comes to what a survivor would have come to."""

import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import RestartSpec, ServiceSpec
from orchestra_supervisor.model.states import DownReason, Kind, State
from orchestra_supervisor.rules.diagram import possible_inputs
from orchestra_supervisor.rules.inputs import (
    Ack,
    Boot,
    Due,
    Effect,
    Exited,
    Gone,
    Input,
    Probed,
    ProbeSaw,
    Spawn,
    Spawned,
    SpawnRefused,
    Stop,
    StopRun,
    Stuck,
)
from orchestra_supervisor.rules.lifecycle import step
from orchestra_supervisor.rules.resume import Held, resume, resume_strangers
from orchestra_supervisor.rules.service import Moment, Service, to_note
from tests.unit.rules.stage import Stage, check_service, check_step, moment, spec_of

NEWS = (Spawned, Exited, Gone)
MINE, OTHER = "a-000000000001", "a-00000000000b"


@dataclass
class Keeper:
    """What the real one holds of a slot."""

    note: object = None
    stopping: set[str] = field(default_factory=set[str])
    told: dict[str, list[Spawned | Exited | Gone]] = field(
        default_factory=dict[str, list[Spawned | Exited | Gone]]
    )

    def take(self, order: Effect | dict[str, object], note: dict[str, object]) -> None:
        match order:
            case dict():
                self.note = json.loads(json.dumps(order))
            case Spawn(run):
                assert not any(Gone(other) not in news for other, news in self.told.items()), "slot is busy"
                self.note = json.loads(json.dumps(note))
                self.told[run] = []
            case StopRun(run):
                self.stopping.add(run)
            case Ack(run):
                self.told.pop(run, None)
            case _:
                pass

    def held(self) -> tuple[Held, ...]:
        return tuple(Held(run, run in self.stopping, tuple(news)) for run, news in self.told.items())

    def happens(self, event: Input) -> None:
        if isinstance(event, NEWS) and event.run in self.told:
            self.told[event.run].append(event)
        elif isinstance(event, SpawnRefused):
            self.told.pop(event.run, None)


def orders_of(service: Service, effects: tuple[Effect, ...]) -> list[Effect | dict[str, object]]:
    """Return what the engine sends for a step, in its order: the note goes before what depends on it."""
    note = to_note(service)
    sent: list[Effect | dict[str, object]] = []
    for effect in effects:
        if isinstance(effect, StopRun | Ack):
            sent.append(note)
        sent.append(effect)
    return [*sent, note]


@st.composite
def lives(draw: st.DrawFn) -> tuple[Service, Keeper, Moment, list[Input]]:
    """Draw a service up to the death of its daemon: its record, what the keeper holds, and unheard news."""
    restart = RestartSpec(max_restarts=draw(st.sampled_from([None, 2])), stable_after=5.0)
    kind = draw(st.sampled_from([Kind.DAEMON, Kind.DAEMON, Kind.ONCE, Kind.PERIODIC]))
    overlap = draw(st.sampled_from(["skip", "queue", "replace"]))
    schedule = ScheduleSpec.model_validate({"every": 50, "overlap": overlap})
    service = Service(
        spec_of(
            kind=kind,
            probed=draw(st.sampled_from(["", "r", "srl"])) if kind is not Kind.PERIODIC else "",
            restart=restart,
            schedule=schedule if kind is Kind.PERIODIC else None,
        )
    )
    keeper, at = Keeper(), 0.0
    events: list[Input] = [Boot(DownReason.NONE)]
    for number in range(1, draw(st.integers(1, 15)) + 1):
        at += draw(st.sampled_from([0.1, 10.0, 100.0]))
        keeper.happens(events[-1])
        result = step(service, events[-1], moment(at, number))
        service = result.service
        for order in orders_of(service, result.effects):
            keeper.take(order, to_note(service))
        events.append(
            draw(st.sampled_from([one for one in possible_inputs(service) if one != Gone("stale")]))
        )
    unheard: list[Input] = []
    later = service
    for number in range(draw(st.integers(0, 3))):
        possible = [one for one in possible_inputs(later) if isinstance(one, NEWS) and one.run in keeper.told]
        if not possible:
            break
        event = draw(st.sampled_from(possible))
        keeper.happens(event)
        unheard.append(event)
        later = step(later, event, moment(at + 1, 500 + number)).service
        if later.run is None or later.run.id not in keeper.told:
            break
    return service, keeper, moment(at + 1, 400), unheard


@settings(deadline=None, max_examples=200)
@given(lives())
def test_the_next_daemon_comes_to_what_a_survivor_would_have_come_to(
    life: tuple[Service, Keeper, Moment, list[Input]],
) -> None:
    survivor, keeper, now, unheard = life
    resumed = resume(survivor.spec, keeper.note, keeper.held(), now)
    assert resumed is not None
    check_service(resumed.service)
    heir = resumed.service
    for number, event in enumerate(unheard):
        survivor = step(survivor, event, replace(now, run_id=f"a-{600 + number:012x}")).service
    for number, event in enumerate(resumed.inputs[len(resumed.inputs) - len(unheard) :]):
        result = step(heir, event, replace(now, run_id=f"a-{600 + number:012x}"))
        check_step(heir, event, result.service, result.effects)
        heir = result.service
    replayed = resumed.inputs[: len(resumed.inputs) - len(unheard)]
    assert resumed.inputs[len(replayed) :] == tuple(unheard)
    for event in replayed:  # what the last daemon had heard already changes nothing
        assert step(resumed.service, event, now).service == resumed.service
    assert replace(heir, look=0.0) == replace(survivor, unmet=(), look=0.0)
    assert resumed.effects == (), "every order had reached the keeper"


@settings(deadline=None, max_examples=200)
@given(lives(), st.data())
def test_a_daemon_that_dies_between_two_orders_leaves_no_run_unaccounted_for(
    life: tuple[Service, Keeper, Moment, list[Input]], data: st.DataObject
) -> None:
    service, keeper, now, unheard = life
    if unheard:
        return
    event = data.draw(st.sampled_from(list(possible_inputs(service))))
    keeper.happens(event)
    result = step(service, event, now)
    orders = orders_of(result.service, result.effects)
    for order in orders[: data.draw(st.integers(0, len(orders)))]:
        keeper.take(order, to_note(result.service))
    resumed = resume(service.spec, keeper.note, keeper.held(), replace(now, run_id="a-000000000999"))
    assert resumed is not None
    check_service(resumed.service)
    ordered = {effect.run for effect in resumed.effects if isinstance(effect, Ack | StopRun)}
    run = resumed.service.run
    for record in keeper.held():
        assert record.run in ordered or (run is not None and run.id == record.run)
    if run is not None and run.id in keeper.told and resumed.service.state is State.STOPPING:
        assert run.id in keeper.stopping | ordered, "a stop that was decided is carried out"
    if run is None:
        assert resumed.service.state not in {State.STARTING, State.STOPPING}
    if isinstance(event, Probed | ProbeSaw | Stuck):
        return
    if resumed.service.state is State.WAITING and not resumed.service.unmet:
        assert resumed.service.deadline is not None, "it is begun again"


def test_without_a_note_the_keeper_knows_nothing_of_the_service() -> None:
    assert resume(spec_of(), None, (), moment()) is None


def test_a_note_that_cannot_be_read_is_as_good_as_none() -> None:
    held = (Held(MINE, False, ()),)
    resumed = resume(spec_of(), {"state": "from the future"}, held, moment())
    assert resumed == resume(spec_of(), None, held, moment())
    assert resumed is not None
    assert resumed.effects == (StopRun(MINE),)


def test_a_stop_that_was_decided_but_not_ordered_is_ordered() -> None:
    stage = Stage(Service(spec_of())).up()
    spawned = Spawned(stage.run, 42, 1.0, 1.0)
    stage.play(Stop(DownReason.OPERATOR))
    note = to_note(stage.service)
    resumed = resume(stage.service.spec, note, (Held(stage.run, False, (spawned,)),), moment())
    assert resumed is not None
    assert resumed.effects == (StopRun(stage.run),)
    again = resume(stage.service.spec, note, (Held(stage.run, True, (spawned,)),), moment())
    assert again is not None
    assert again.effects == ()


def test_a_spawn_that_left_no_trace_is_begun_anew_and_counts_for_nothing() -> None:
    stage = Stage(Service(spec_of())).play(Boot(DownReason.NONE))
    resumed = resume(stage.service.spec, to_note(stage.service), (), moment())
    assert resumed is not None
    assert (resumed.service.state, resumed.service.run, resumed.service.attempts) == (State.WAITING, None, 0)
    assert resumed.service.deadline == 0.0


def test_a_planned_run_whose_spawn_left_no_trace_is_begun_anew_and_is_still_that_run() -> None:
    spec = spec_of(schedule=ScheduleSpec(every=50), restart=RestartSpec(policy="never"))
    stage = Stage(Service(spec)).play(Boot(DownReason.NONE)).play(Due(), after=50.0)
    resumed = resume(spec, to_note(stage.service), (), moment(52.0))
    assert resumed is not None
    heir = Stage(resumed.service, at=51.0).play(Due())
    assert heir.state is State.STARTING
    assert heir.service.plan == stage.service.plan


def test_a_reload_that_was_not_finished_leaves_a_service_that_goes_by_what_it_is_now() -> None:
    periodic = spec_of(schedule=ScheduleSpec(every=50), restart=RestartSpec(policy="never"))
    failed = Stage(Service(spec_of(restart=RestartSpec(policy="never")))).up().ends(1)
    became = resume(periodic, to_note(failed.service), (), moment(10.0))
    assert became is not None
    assert Stage(became.service, at=10.0).play(Due()).play(Due(), after=49.0).state is State.STARTING
    waits = Stage(Service(periodic)).play(Boot(DownReason.NONE))
    was = resume(spec_of(), to_note(waits.service), (), moment(10.0))
    assert was is not None
    assert was.service.plan is None
    assert Stage(was.service, at=10.0).play(Due()).state is State.STARTING


def test_a_note_of_a_program_that_knew_no_schedules_is_read() -> None:
    stage = Stage(Service(spec_of())).up()
    note = {key: value for key, value in to_note(stage.service).items() if key not in {"plan", "last"}}
    resumed = resume(stage.service.spec, note, (), moment())
    assert resumed is not None
    assert resumed.service.run == stage.service.run


def test_a_run_that_the_keeper_has_forgotten_ended_with_an_unknown_status() -> None:
    stage = Stage(Service(spec_of())).up()
    resumed = resume(stage.service.spec, to_note(stage.service), (), moment())
    assert resumed is not None
    exited, gone = resumed.inputs
    assert isinstance(exited, Exited)
    assert (exited.code, exited.signal, gone) == (None, None, Gone(stage.run))


@pytest.mark.parametrize(
    ("told", "wanted"),
    [((), StopRun(OTHER)), ((Exited(OTHER, 0, None, 0, 0, 0), Gone(OTHER)), Ack(OTHER))],
)
def test_a_second_run_in_the_slot_is_stopped_or_forgotten(
    told: tuple[Exited | Gone, ...], wanted: Effect
) -> None:
    stage = Stage(Service(spec_of())).up()
    held = (Held(OTHER, False, told), Held(stage.run, False, (Spawned(stage.run, 42, 1.0, 1.0),)))
    resumed = resume(stage.service.spec, to_note(stage.service), held, moment())
    assert resumed is not None
    assert resumed.effects == (wanted,)


def test_runs_in_slots_that_the_fleet_does_not_know_are_stopped_or_forgotten() -> None:
    specs: dict[str, ServiceSpec] = {"a": spec_of()}
    held = {
        "a": (Held(MINE, False, ()),),
        "old": (Held("old-1", False, ()),),
        "probe:a:readiness": (Held("probe-1", True, (Gone("probe-1"),)),),
    }
    assert resume_strangers(specs, held) == (StopRun("old-1"), Ack("probe-1"))


def test_a_service_without_a_note_begins_when_what_ran_under_its_name_is_gone() -> None:
    last = Held("a-1", stopping=True, told=(Spawned("a-1", 7, 1.0, 1.0),))
    resumed = resume(spec_of(), None, (last,), moment(5.0))
    assert resumed is not None
    assert (resumed.service.state, resumed.effects, resumed.inputs) == (State.STOPPING, (StopRun("a-1"),), ())
    after = step(resumed.service, Gone("a-1"), moment(6.0))
    assert after.service.state is State.STARTING
    assert [type(effect) for effect in after.effects] == [Spawn, Ack]


def test_a_service_without_a_note_that_is_to_be_down_stays_so_when_what_ran_is_gone() -> None:
    last = Held("a-1", stopping=True, told=())
    resumed = resume(spec_of(), None, (last,), moment(5.0), DownReason.DISABLED)
    assert resumed is not None
    service = resumed.service
    for event in (*resumed.inputs, Gone("a-1")):
        service = step(service, event, moment(6.0)).service
    assert (service.state, service.down_reason) == (State.STOPPED, DownReason.DISABLED)


def test_a_record_that_is_over_holds_up_nobody() -> None:
    over = Held("a-1", stopping=False, told=(Gone("a-1"),))
    assert resume(spec_of(), None, (over,), moment(5.0)) is None
