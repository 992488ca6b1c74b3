"""The unit that runs a fleet: what it says, and what systemd says of it."""

import sys
from pathlib import Path

import pytest

from orchestra_supervisor.model.errors import InvalidRequest
from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.systemd.hardening import LEVELS
from orchestra_supervisor.systemd.unit import UnitOptions, check_name, render_unit, stop_time
from tests.unit.systemd.analyze import exposure, needs_analyze, verify
from tests.unit.systemd.unit_reader import command_words, settings, words

ARGV = (sys.executable, "-P", "-m", "x", "up", "--exec", "-c", "/srv/100% of $it/fleet.json")


def options(**extra: object) -> UnitOptions:
    given: dict[str, object] = {"name": "fleet", "argv": ARGV, "cwd": "/tmp", "version": 252, **extra}
    return UnitOptions(**given)  # type: ignore[arg-type]  # as the test has it


def service(name: str, *waits: float, needs: tuple[str, ...] = ()) -> ServiceSpec:
    steps = [{"signal": "TERM", "wait": wait} for wait in waits]
    depends_on: dict[str, object] = {one: {} for one in needs}
    return ServiceSpec.model_validate(
        {"name": name, "argv": ("x",), "cwd": "/", "stop": {"steps": steps}, "depends_on": depends_on}
    )


@needs_analyze
@pytest.mark.slow  # systemd reads every unit of the host
@pytest.mark.parametrize("is_user", [False, True])
@pytest.mark.parametrize("level", LEVELS)
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path, level: str, *, is_user: bool) -> None:
    text = render_unit(options(is_user=is_user, hardening=level, env={"A": "b c%d"}, home="/srv/a b"))
    assert not verify(tmp_path, {"fleet.service": text}, is_user=is_user)


@needs_analyze
@pytest.mark.slow  # likewise
def test_systemd_would_find_a_fault(tmp_path: Path) -> None:
    text = render_unit(options()).replace("KillMode=mixed", "KillMode=merry")
    assert "kill mode" in verify(tmp_path, {"fleet.service": text})


@needs_analyze
@pytest.mark.parametrize(("level", "bound"), [("strict", 2.5), ("services", 7.0)])
def test_it_is_no_more_exposed_than_its_level_promises(tmp_path: Path, level: str, bound: float) -> None:
    assert exposure(tmp_path, "fleet.service", render_unit(options(hardening=level))) <= bound


def test_the_keeper_is_the_main_process_and_alone_speaks_and_is_told_to_stop() -> None:
    unit = settings(render_unit(options()))
    assert command_words(unit["ExecStart"][0]) == list(ARGV)
    for key, value in {
        "NotifyAccess": "main",
        "KillMode": "mixed",
        "Delegate": "yes",
        "Restart": "on-failure",
        "WatchdogSec": "30",
        "OOMPolicy": "continue",
        "StateDirectory": "fleet",
        "RestartPreventExitStatus": "2 3 8",
        "WantedBy": "multi-user.target",
    }.items():
        assert unit[key] == [value]
    assert "User" not in unit


def test_a_systemd_that_knows_notify_reload_gets_it_and_an_older_one_a_signal() -> None:
    new, old = (settings(render_unit(options(version=version))) for version in (253, 252))
    assert new["Type"] == ["notify-reload"]
    assert "ExecReload" not in new
    assert (old["Type"], old["ExecReload"]) == (["notify"], ["/bin/kill -HUP $MAINPID"])


def test_a_users_unit_has_no_user_and_only_what_a_users_manager_can_do() -> None:
    unit = settings(render_unit(options(is_user=True, hardening="strict")))
    assert unit["WantedBy"] == ["default.target"]
    assert "NoNewPrivileges" in unit
    assert not {"ProtectSystem", "PrivateDevices", "CapabilityBoundingSet", "Wants"} & unit.keys()


def test_a_home_of_ones_own_is_writable_and_takes_the_place_of_the_state_directory() -> None:
    unit = settings(render_unit(options(home="/srv/a b", hardening="strict", writable=("/var/log/x",))))
    assert "StateDirectory" not in unit
    assert words(unit["ReadWritePaths"][0]) == ["-/srv/a b", "-/var/log/x"]


def test_services_that_run_as_other_users_keep_the_rights_for_it() -> None:
    kept = settings(render_unit(options(hardening="services")))
    strict = settings(render_unit(options(hardening="strict", run_as="ai")))
    assert {"CAP_SETUID", "CAP_SETGID", "CAP_KILL"} <= set(kept["CapabilityBoundingSet"][0].split())
    assert "NoNewPrivileges" not in kept
    assert strict["CapabilityBoundingSet"] == [""]
    assert strict["User"] == ["ai"]


def test_a_stop_is_given_the_longest_chain_of_dependencies_and_our_own_end() -> None:
    services = [
        service("db", 100, 20),
        service("api", 30, needs=("db", "cache")),
        service("cache", 10),
        service("web", 5, needs=("api",)),
    ]
    fleet = Fleet(services={one.name: one for one in services})
    assert stop_time(fleet) == 25 + 120 + 30 + 5
    assert stop_time(Fleet()) == 60
    hook = {"argv": ("x",), "timeout": 70}
    one = {"name": "a", "argv": ("x",), "cwd": "/", "stop": {"command": hook}, "post_stop": [hook, hook]}
    assert stop_time(Fleet(services={"a": ServiceSpec.model_validate(one)})) == 25 + 10 + 3 * 70
    ring = [service("a", 50, needs=("b",)), service("b", 50, needs=("a",))]
    assert stop_time(Fleet(services={one.name: one for one in ring})) == 125


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x@1", "x" * 65, "a\n"])
def test_a_name_that_is_no_units_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="no name for a unit"):
        check_name(name)
    assert check_name("orchestra.service") == "orchestra"
