"""What a reload does with each service, and which values it says have changed."""

import pytest

from orchestra_supervisor.model.spec import DependencySpec, Fleet, FleetSettings, ServiceSpec
from orchestra_supervisor.model.states import Desired, DownReason
from orchestra_supervisor.rules.diff import When
from orchestra_supervisor.rules.reload import Action, ReloadPlan, differences, plan_reload
from orchestra_supervisor.rules.service import Service
from tests.unit.rules.stage import PROBE, probes, spec_of


def fleet_of(*specs: ServiceSpec, **settings: object) -> Fleet:
    return Fleet(
        services={spec.name: spec for spec in specs}, settings=FleetSettings.model_validate(settings)
    )


def plan(
    old: Fleet,
    new: Fleet,
    *,
    down: dict[str, DownReason] | None = None,
    stands: dict[str, DownReason] | None = None,
) -> ReloadPlan:
    """Plan a reload while every service is up but those that stand down."""
    standing = stands or {}
    services = {
        name: Service(spec, desired=Desired.DOWN, down_reason=standing[name])
        if name in standing
        else Service(spec, desired=Desired.UP)
        for name, spec in old.services.items()
    }
    return plan_reload(old, new, services, down or {})


def test_nothing_is_planned_where_nothing_changed() -> None:
    fleet = fleet_of(spec_of("a"), spec_of("b"))
    done = plan(fleet, fleet)
    assert (done.services, done.settings, done.unchanged, done.summary) == ((), (), 2, "nothing changed")


def test_services_come_go_restart_and_change_live() -> None:
    old = fleet_of(spec_of("same"), spec_of("goes"), spec_of("live"), spec_of("new-run"))
    new = fleet_of(
        spec_of("same"),
        spec_of("comes"),
        spec_of("live", probed="r"),
        spec_of("new-run").model_copy(update={"cwd": "/tmp"}),
    )
    done = plan(old, new)
    assert [(change.name, change.action) for change in done.services] == [
        ("comes", Action.ADD),
        ("live", Action.LIVE),
        ("new-run", Action.RESTART),
        ("goes", Action.REMOVE),
    ]
    assert done.services[2].why == "its configuration changed: cwd"
    assert done.summary == "1 added, 1 removed, 1 restarted, 1 changed live"
    assert done.unchanged == 1


@pytest.mark.parametrize(
    ("was", "will_be", "stands", "down", "action"),
    [
        (True, False, None, {}, Action.STOP),
        (True, False, DownReason.OPERATOR, {}, Action.STOP),
        (False, True, DownReason.DISABLED, {}, Action.START),
        (False, True, DownReason.DISABLED, {"a": DownReason.NOT_SELECTED}, Action.LATER),
        (False, True, DownReason.OPERATOR, {}, Action.LATER),
        (False, True, None, {}, Action.RESTART),
    ],
)
def test_enabling_and_disabling_is_for_those_that_nobody_else_keeps_down(
    was: bool, will_be: bool, stands: DownReason | None, down: dict[str, DownReason], action: Action
) -> None:
    old, new = (fleet_of(spec_of().model_copy(update={"enabled": one})) for one in (was, will_be))
    done = plan(old, new, down=down, stands={} if stands is None else {"a": stands})
    assert done.names(action) == ("a",)


def test_a_service_that_was_stopped_by_hand_keeps_its_change_for_later() -> None:
    new = fleet_of(spec_of().model_copy(update={"argv": ("y",)}))
    done = plan(fleet_of(spec_of()), new, stands={"a": DownReason.OPERATOR})
    assert [(one.action, one.why) for one in done.services] == [
        (Action.LATER, "is down; holds from its next start")
    ]


@pytest.mark.parametrize(
    ("down", "why"),
    [
        (DownReason.NONE, "new in the configuration"),
        (DownReason.DISABLED, "new in the configuration; stays down: disabled"),
        (DownReason.NOT_SELECTED, "new in the configuration; stays down: not selected by --only"),
        (DownReason.OPERATOR, "new in the configuration; stays down: stopped by hand"),
    ],
)
def test_a_new_service_says_why_it_stays_down(down: DownReason, why: str) -> None:
    assert plan(fleet_of(), fleet_of(spec_of()), down={"a": down} if down else {}).services[0].why == why


def test_a_difference_is_as_deep_as_both_sides_have_it() -> None:
    old = spec_of(probed="r", depends_on={"db": DependencySpec()})
    slower = PROBE.model_copy(update={"period": 60.0})
    new = old.model_copy(
        update={
            "env": {"A": "1"},
            "probes": probes("l").model_copy(update={"readiness": slower}),
            "depends_on": {"db": DependencySpec(on_failure="stop"), "cache": DependencySpec()},
            "argv": ("x", "-v"),
        }
    )
    found = {one.key: (one.old, one.new, one.field.when) for one in differences(old, new)}
    assert found["env.A"] == (None, "1", When.RESTART)
    assert found["probes.readiness.period"] == (10.0, 60.0, When.LIVE)
    assert found["depends_on.db.on_failure"] == ("keep", "stop", When.LIVE)
    assert found["depends_on.cache"] == (None, {"condition": "ready", "on_failure": "keep"}, When.LIVE)
    assert found["argv"] == (["x"], ["x", "-v"], When.RESTART)
    assert found["probes.liveness"][0] is None
    assert len(found) == 6


def test_settings_say_from_when_on_they_hold() -> None:
    done = plan(fleet_of(), fleet_of(log_directory="/logs", remember_stops=True))
    assert [(one.key, one.field.when) for one in done.settings] == [
        ("log_directory", When.NEXT_UP),
        ("remember_stops", When.LIVE),
    ]
    assert done.summary == "2 settings"


def test_a_reason_names_a_handful_of_keys() -> None:
    env = {f"V{number}": "x" for number in range(8)}
    done = plan(fleet_of(spec_of()), fleet_of(spec_of().model_copy(update={"env": env})))
    assert (
        done.services[0].why == "its configuration changed: env.V0, env.V1, env.V2, env.V3, env.V4 and 3 more"
    )
