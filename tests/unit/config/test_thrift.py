"""Specs share what they have in common, wherever they come from, and are none the less their own."""

from orchestra_supervisor.config.applied import dump_fleet, parse_fleet
from orchestra_supervisor.config.thrift import slim
from orchestra_supervisor.model.spec import (
    Fleet,
    HttpCheck,
    ProbeSet,
    ProbeSpec,
    RestartSpec,
    ServiceSpec,
    StopSpec,
    StopStep,
    TargetSpec,
)

SHARED = ("argv", "cwd", "restart", "stop", "target", "log")


def spec_of(name: str) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        argv=("sleep", name[:1]),
        cwd="/srv/" + name[:1],
        env={"NAME": name},
        restart=RestartSpec(policy="always"),
        stop=StopSpec(steps=(StopStep(wait=7.0),)),
        probes=ProbeSet(readiness=ProbeSpec(check=HttpCheck(url="http://localhost:1"))),
        target=TargetSpec(),
    )


def test_equal_parts_of_specs_are_one_and_the_specs_stay_equal() -> None:
    one, two = slim(spec_of("a1")), slim(spec_of("a2"))
    assert (one, two) == (spec_of("a1"), spec_of("a2"))
    assert one.model_dump() == spec_of("a1").model_dump()
    assert [name for name in SHARED if getattr(one, name) is not getattr(two, name)] == []
    assert one.__pydantic_fields_set__ is two.__pydantic_fields_set__
    assert one.model_fields_set == spec_of("a1").model_fields_set


def test_what_differs_is_nobody_elses() -> None:
    one, two = slim(spec_of("a1")), slim(spec_of("b1"))
    assert (one.argv, two.argv, one.cwd, two.cwd) == (("sleep", "a"), ("sleep", "b"), "/srv/a", "/srv/b")
    assert one.env is not two.env


def test_a_copy_of_a_spec_changes_nothing_of_the_others() -> None:
    one, two = slim(spec_of("a1")), slim(spec_of("a2"))
    before = set(two.model_fields_set)
    changed = one.model_copy(update={"nice": 5})
    assert (changed.nice, one.nice, two.nice) == (5, two.nice, one.nice)
    assert "nice" in changed.model_fields_set
    assert one.model_fields_set == two.model_fields_set == before


def test_the_fleet_as_it_was_applied_shares_as_the_files_do() -> None:
    fleet = Fleet(services={name: spec_of(name) for name in ("a1", "a2")}, coming={"a3": spec_of("a3")})
    parsed = parse_fleet(dump_fleet(fleet))
    assert parsed == fleet
    specs = [*parsed.services.values(), *parsed.coming.values()]
    for name in SHARED:
        assert len({id(getattr(spec, name)) for spec in specs}) == 1, name
