"""What a reload by somebody who may only apply files must not bring in."""

import pytest

from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.rules.new_commands import new_commands
from orchestra_supervisor.rules.reload import plan_reload


def spec(**fields: object) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": "web", "argv": ("x",), "cwd": "/", **fields})


def found(old: dict[str, object], new: dict[str, object]) -> tuple[str, ...]:
    before, after = Fleet(services={"web": spec(**old)}), Fleet(services={"web": spec(**new)})
    return new_commands(plan_reload(before, after, {}, {}))


COMMAND = {"check": {"type": "command", "argv": ("evil",)}}
TCP = {"check": {"type": "tcp", "port": 1}}


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ({}, {"argv": ("x", "y")}, "argv"),
        ({}, {"cwd": "/tmp"}, "cwd"),
        ({}, {"user": "root"}, "user"),
        ({}, {"groups": ("docker",)}, "groups"),
        ({}, {"pre_start": ({"argv": ("evil",)},)}, "pre_start"),
        ({}, {"post_stop": ({"argv": ("evil",)},)}, "post_stop"),
        ({}, {"stop": {"command": {"argv": ("evil",)}}}, "stop.command"),
        (
            {"stop": {"command": {"argv": ("a",)}}},
            {"stop": {"command": {"argv": ("b",)}}},
            "stop.command.argv",
        ),
        ({}, {"reload": {"command": {"argv": ("evil",)}}}, "reload"),
        ({}, {"probes": {"readiness": COMMAND}}, "probes.readiness"),
        ({"probes": {"readiness": TCP}}, {"probes": {"readiness": COMMAND}}, "probes.readiness.check"),
        ({}, {"env": {"LD_PRELOAD": "/evil.so"}}, "env.LD_PRELOAD"),
        ({"env": {"PATH": "/bin"}}, {"env": {"PATH": "/evil"}}, "env.PATH"),
        ({"env": {"PYTHONPATH": "/a"}}, {}, "env.PYTHONPATH"),
    ],
)
def test_whatever_runs_something_else_is_told(
    old: dict[str, object], new: dict[str, object], field: str
) -> None:
    assert found(old, new) == (f"web: {field} changes what is run",)


@pytest.mark.parametrize(
    "new",
    [
        {"title": "Web"},
        {"env": {"LEVEL": "debug"}},
        {"probes": {"readiness": TCP}},
        {"restart": {"policy": "never"}},
        {"enabled": False},
        {"limits": {"cpu": 1}},
        {"reload": {"signal": "SIGHUP"}},
        {"depends_on": {}},
    ],
)
def test_other_changes_are_not(new: dict[str, object]) -> None:
    assert found({}, new) == ()


def test_a_service_that_comes_is_told_and_one_that_goes_is_not() -> None:
    none, one = Fleet(), Fleet(services={"web": spec()})
    assert new_commands(plan_reload(none, one, {}, {})) == ("web is a new service",)
    assert new_commands(plan_reload(one, none, {}, {})) == ()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"plugins": [{"source": "/evil.py"}]},
            ("settings: plugins changes what is loaded or who may call",),
        ),
        ({"control_group": "all"}, ("settings: control_group changes what is loaded or who may call",)),
        ({"remember_stops": True}, ()),
    ],
)
def test_settings_that_load_code_or_give_rights_are_told(
    settings: dict[str, object], told: tuple[str, ...]
) -> None:
    new = Fleet.model_validate({"settings": settings})
    assert new_commands(plan_reload(Fleet(), new, {}, {})) == told


def test_another_mcp_backend_is_told() -> None:
    new = Fleet.model_validate({"mcp": {"backends": {"x": {"name": "x", "endpoint": "http://127.0.0.1:1"}}}})
    assert new_commands(plan_reload(Fleet(), new, {}, {})) != ()
