import itertools
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.model.report import RunReport
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import Condition, Desired, Kind, State
from orchestra_supervisor.rules.graph import (
    LEAVING,
    above,
    below,
    dependents_of,
    find_cycle,
    is_met,
    start_order,
    stop_ranks,
    unmet_of,
)
from orchestra_supervisor.rules.service import Ending, Run, Service, Then
from tests.unit.rules.stage import spec_of

NAMES = "abcdefg"
EDGES = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3, unique=True))


@st.composite
def fleets(draw: st.DrawFn) -> dict[str, ServiceSpec]:
    """Draw services that depend only on earlier ones, in any order of names."""
    names = draw(st.permutations(NAMES))
    specs: dict[str, ServiceSpec] = {}
    for number, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:number]), unique=True, max_size=3)) if number else []
        spec = spec_of(name, needs=needs)
        specs[name] = spec.model_copy(update={"priority": draw(st.integers(0, 3))})
    return {name: specs[name] for name in draw(st.permutations(NAMES))}


def has_cycle(edges: dict[str, list[str]]) -> bool:
    known = {name: [other for other in others if other in edges] for name, others in edges.items()}
    try:
        TopologicalSorter(known).prepare()
    except CycleError:
        return True
    return False


@given(EDGES)
def test_a_cycle_is_found_if_and_only_if_there_is_one(edges: dict[str, list[str]]) -> None:
    cycle = find_cycle(edges)
    assert (cycle is not None) == has_cycle(edges)
    if cycle is not None:
        assert cycle[0] == cycle[-1]
        assert len(cycle) == len(set(cycle)) + 1
        assert all(after in edges[before] for before, after in itertools.pairwise(cycle))


def test_a_service_that_depends_on_itself_is_a_cycle() -> None:
    assert find_cycle({"a": ["a"]}) == ["a", "a"]


def test_a_chain_of_thousands_is_no_problem() -> None:
    edges = {f"s{number}": [f"s{number + 1}"] for number in range(5000)}
    assert find_cycle(edges) is None
    assert find_cycle({**edges, "s5000": ["s0"]}) is not None


@given(fleets())
def test_everyone_starts_after_what_it_depends_on_and_by_priority_where_free(
    specs: dict[str, ServiceSpec],
) -> None:
    order = start_order(specs)
    place = {name: number for number, name in enumerate(order)}
    assert sorted(order) == sorted(specs)
    for name, spec in specs.items():
        assert all(place[need] < place[name] for need in spec.depends_on)
    free = [name for name in order if not specs[name].depends_on]
    assert [specs[name].priority for name in free] == sorted(specs[name].priority for name in free)


@given(fleets())
def test_a_rank_is_one_above_the_highest_dependency(specs: dict[str, ServiceSpec]) -> None:
    ranks = stop_ranks(specs)
    for name, spec in specs.items():
        assert ranks[name] == max((ranks[need] + 1 for need in spec.depends_on), default=0)


@given(fleets(), st.sampled_from(NAMES))
def test_above_and_below_are_everything_along_the_edges(specs: dict[str, ServiceSpec], name: str) -> None:
    def reach(start: str, edges: dict[str, tuple[str, ...]]) -> set[str]:
        return {start}.union(*(reach(other, edges) for other in edges[start]))

    down = {one: tuple(spec.depends_on) for one, spec in specs.items()}
    assert below([name], specs) == reach(name, down)
    assert above([name], specs) == {one for one in specs if name in reach(one, down)}
    dependents = dependents_of(specs)[name]
    assert set(dependents) == {one for one in specs if name in down[one]}
    priorities = [specs[one].priority for one in dependents]
    assert priorities == sorted(priorities)


def test_unknown_names_are_passed_over() -> None:
    specs = {"a": spec_of("a", needs=["nobody"])}
    assert stop_ranks(specs) == {"a": 0}
    assert below(["a", "nobody"], specs) == {"a"}
    assert dependents_of(specs) == {"a": ()}


RUN = Run("a-000000000000", 0.0, 0.0, pid=1)
UP = {State.STARTING, State.RUNNING, State.READY, State.UNHEALTHY, State.STOPPING}
MET = {
    (Kind.DAEMON, Condition.STARTED): {State.STARTING, State.RUNNING, State.READY, State.UNHEALTHY},
    (Kind.DAEMON, Condition.READY): {State.READY},
    (Kind.DAEMON, Condition.COMPLETED): {State.COMPLETED},
    (Kind.ONCE, Condition.STARTED): {
        State.STARTING,
        State.RUNNING,
        State.READY,
        State.UNHEALTHY,
        State.COMPLETED,
    },
    (Kind.ONCE, Condition.READY): {State.COMPLETED},
    (Kind.ONCE, Condition.COMPLETED): {State.COMPLETED},
}
WENT_WELL = RunReport(0.0, 0.0, 1.0, 1.0, success=True, text="exit code 0")


def service_in(state: State, kind: Kind = Kind.DAEMON) -> Service:
    ending = Ending(Then.DOWN, "") if state is State.STOPPING else None
    return Service(spec_of(kind=kind), state=state, run=RUN if state in UP else None, ending=ending)


@pytest.mark.parametrize("kind", [Kind.DAEMON, Kind.ONCE])
@pytest.mark.parametrize("condition", list(Condition))
def test_a_condition_is_met_in_these_states_and_no_others(kind: Kind, condition: Condition) -> None:
    met = {state for state in State if is_met(condition, service_in(state, kind))}
    assert met == MET[kind, condition]


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("condition", list(Condition))
def test_of_a_periodic_service_the_last_run_counts_whatever_it_does_now(
    condition: Condition, state: State
) -> None:
    service = replace(service_in(state), spec=spec_of(schedule=ScheduleSpec(every=60)), desired=Desired.UP)
    assert not is_met(condition, service), "it has not run yet"
    assert is_met(condition, replace(service, last=WENT_WELL))
    assert not is_met(condition, replace(service, last=replace(WENT_WELL, success=False)))
    assert not is_met(condition, replace(service, last=WENT_WELL, desired=Desired.DOWN))


def test_a_program_that_does_not_run_yet_is_not_started() -> None:
    ordered = Service(spec_of(), state=State.STARTING, run=Run("a-000000000000", 0.0, 0.0))
    assert not is_met(Condition.STARTED, ordered)


@pytest.mark.parametrize("condition", [Condition.STARTED, Condition.READY])
def test_one_that_leaves_or_whose_leader_has_ended_meets_nothing(condition: Condition) -> None:
    leaving = Service(spec_of(), state=State.READY, run=RUN, ending=Ending(Then.DOWN, "", after=("x",)))
    ended = Service(spec_of(), state=State.READY, run=Run("a-0", 0.0, 0.0, pid=1, leader_ended=True))
    assert not is_met(condition, leaving)
    assert not is_met(condition, ended)


def test_what_is_unmet_is_listed_with_the_state_it_is_in() -> None:
    spec = spec_of("z", needs=["up", "waits", "leaves", "nobody"])
    services = {
        "up": service_in(State.READY),
        "waits": service_in(State.WAITING),
        "leaves": Service(spec_of(), state=State.READY, run=RUN, ending=Ending(Then.DOWN, "", after=("x",))),
    }
    assert unmet_of(spec, services) == (("waits", "waiting"), ("leaves", LEAVING), ("nobody", "unknown"))
