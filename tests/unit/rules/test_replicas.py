"""Replicas as a group: who they are, and what may be asked of their number."""

import pytest

from orchestra_supervisor.model.errors import ConflictError, InvalidRequest, UnknownService
from orchestra_supervisor.model.replicas import GroupSpec, ReplicaSpec
from orchestra_supervisor.model.spec import DependencySpec, Fleet, ServiceSpec
from orchestra_supervisor.rules.replicas import check_counts, check_scaled, group_of, members_of, rescaled
from tests.unit.rules.stage import spec_of


def fleet_of(count: int, **others: ServiceSpec) -> Fleet:
    """Return a fleet of `web@1` to `web@COUNT`, `api` that needs them all, and others."""
    names = [f"web@{number}" for number in range(1, count + 1)]
    services = {
        name: spec_of(name).model_copy(
            update={"replica": ReplicaSpec(group="web", number=number, count=count)}
        )
        for number, name in enumerate(names, 1)
    }
    services["api"] = spec_of("api", needs=names)
    groups = {"web": GroupSpec(configured=3, count=count)}
    return Fleet(services=services | others, groups=groups)


def test_members_are_in_the_order_of_their_numbers() -> None:
    fleet = fleet_of(12)
    assert members_of(fleet) == {"web": tuple(f"web@{number}" for number in range(1, 13))}
    assert members_of(fleet_of(0)) == {"web": ()}
    assert [group_of(fleet.services[name]) for name in ("web@3", "api")] == ["web", "api"]


@pytest.mark.parametrize(
    ("counts", "error", "hint"),
    [
        ({}, InvalidRequest, "orchestra scale web=3"),
        ({"web": 1001}, InvalidRequest, "orchestra scale web=3"),
        ({"web": -1}, InvalidRequest, "orchestra scale web=3"),
        ({"api": 2}, InvalidRequest, 'give it "replicas": 2'),
        ({"web@1": 2}, InvalidRequest, "orchestra scale web=2"),
        ({"wen": 2}, UnknownService, "did you mean web?"),
        ({"zzzz": 2}, UnknownService, "services with replicas: web"),
    ],
)
def test_a_number_that_cannot_be_is_refused_with_the_way_out(
    counts: dict[str, int], error: type[InvalidRequest | UnknownService], hint: str
) -> None:
    with pytest.raises(error) as caught:
        check_counts(counts, fleet_of(2))
    assert caught.value.hint == hint


def test_a_number_may_be_0_and_as_large_as_the_bound() -> None:
    check_counts({"web": 0}, fleet_of(2))
    check_counts({"web": 1000}, fleet_of(2))


def test_what_the_file_says_stays_while_the_number_changes() -> None:
    assert rescaled(fleet_of(2), {"web": 7})["web"] == GroupSpec(configured=3, count=7)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_another_number_of_replicas_is_all_that_a_scale_changes(count: int) -> None:
    check_scaled(fleet_of(2), fleet_of(count), {"web": count})


def test_anything_else_is_for_a_reload() -> None:
    other = spec_of("api", needs=["web@1", "web@2", "web@3"]).model_copy(update={"cwd": "/tmp"})
    more = spec_of("more")
    dependent = spec_of("api", needs=["more"], depends_on={"more": DependencySpec()})
    for new in (fleet_of(3, api=other), fleet_of(3, more=more), fleet_of(3, api=dependent)):
        with pytest.raises(ConflictError, match="have changed since") as caught:
            check_scaled(fleet_of(2), new, {"web": 3})
        assert caught.value.hint == "orchestra reload, then scale"
    with pytest.raises(ConflictError, match="applied: web"):
        check_scaled(fleet_of(2), fleet_of(4), {"web": 3})
