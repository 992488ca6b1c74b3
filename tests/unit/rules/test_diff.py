import pytest

from orchestra_supervisor.model.equipment import HookSpec, LimitsSpec, RecycleSpec, ReloadSpec, SocketSpec
from orchestra_supervisor.model.log import LogSpec
from orchestra_supervisor.model.replicas import ReplicaSpec
from orchestra_supervisor.model.rotation import SecretChangeSpec
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import (
    DependencySpec,
    FleetSettings,
    ProbeSet,
    RestartSpec,
    RlimitSpec,
    ServiceSpec,
    StartSpec,
    StopSpec,
    TargetSpec,
)
from orchestra_supervisor.model.states import Kind
from orchestra_supervisor.model.supervisord import SupervisorName
from orchestra_supervisor.model.watch import WatchSpec
from orchestra_supervisor.rules.diff import (
    SERVICE_FIELDS,
    SETTING_FIELDS,
    When,
    changed_fields,
    diff_fleets,
    needs_restart,
    settings_after_reload,
)
from tests.unit.rules.stage import PROBE, spec_of

OTHER: dict[str, tuple[object, bool]] = {
    "name": ("b", True),
    "title": ("B", False),
    "description": ("words", False),
    "kind": (Kind.ONCE, True),
    "argv": (("y",), True),
    "cwd": ("/tmp", True),
    "env": ({"A": "1"}, True),
    "inherit_env": (False, True),
    "user": ("nobody", True),
    "group": ("nogroup", True),
    "groups": ((), True),
    "umask": (0o77, True),
    "nice": (5, True),
    "oom_score_adj": (100, True),
    "rlimits": ({"nofile": RlimitSpec(soft=1, hard=1)}, True),
    "enabled": (False, True),
    "priority": (1, False),
    "start_delay": (1.0, False),
    "required_for_system": (True, False),
    "depends_on": ({"c": DependencySpec()}, False),
    "target": (TargetSpec(name="container"), True),
    "start": (StartSpec(after=5), False),
    "restart": (RestartSpec(policy="never"), False),
    "stop": (StopSpec(steps=()), False),
    "probes": (ProbeSet(readiness=PROBE), False),
    "startup_timeout": (1.0, False),
    "replica": (ReplicaSpec(group="a", number=1, count=2), False),
    "schedule": (ScheduleSpec(every=60), False),
    "pre_start": ((HookSpec(argv=("y",)),), True),
    "post_stop": ((HookSpec(argv=("y",)),), True),
    "reload": (ReloadSpec(signal="SIGHUP"), False),
    "sockets": ((SocketSpec(name="s", host="127.0.0.1", port=1),), True),
    "start_on": ("connection", True),
    "stdio": (True, True),
    "channel": (True, True),
    "notify": (True, True),
    "watchdog": (1.0, True),
    "limits": (LimitsSpec(pids=1), False),
    "recycle": (RecycleSpec(age=1), False),
    "port": (80, True),
    "url": ("http://127.0.0.1/", False),
    "log": (LogSpec(backups=1), False),
    "tags": (("t",), False),
    "watch": (WatchSpec(paths=("src",)), False),
    "on_secret_change": (SecretChangeSpec(action="restart"), False),
    "protected": (True, False),
    "supervisor": (SupervisorName(group="g", process="p"), False),
}


def test_every_field_of_a_spec_is_judged_here() -> None:
    assert set(OTHER) == set(ServiceSpec.model_fields)


def test_every_field_of_a_service_and_every_setting_has_its_class() -> None:
    assert set(SERVICE_FIELDS) == set(ServiceSpec.model_fields)
    assert set(SETTING_FIELDS) == set(FleetSettings.model_fields)
    assert {one.when for one in SERVICE_FIELDS.values()} == {When.RESTART, When.LIVE}
    assert {one.when for one in SETTING_FIELDS.values()} == {When.LIVE, When.NEXT_UP}


def test_what_waits_for_the_next_up_stays_as_it_is_until_then() -> None:
    old = FleetSettings(log_directory="/old", control_group="old", remember_stops=False)
    new = FleetSettings(log_directory="/new", remember_stops=True, secrets_file="/secrets")
    after = settings_after_reload(old, new)
    assert (after.log_directory, after.control_group) == ("/old", "old")
    assert (after.remember_stops, after.secrets_file) == (True, "/secrets")
    assert settings_after_reload(old, old) == old


@pytest.mark.parametrize("name", OTHER)
def test_a_change_needs_a_new_run_unless_the_process_knows_nothing_of_it(name: str) -> None:
    value, wanted = OTHER[name]
    old = spec_of()
    new = old.model_copy(update={name: value})
    assert changed_fields(old, new) == (name,)
    assert needs_restart(old, new) is wanted
    assert not needs_restart(old, old)


def test_a_field_that_is_added_later_restarts_by_default() -> None:
    class Later(ServiceSpec):
        sandbox: str = ""

    fields = spec_of().model_dump()
    assert needs_restart(Later(**fields), Later(**fields, sandbox="strict"))


def test_fleets_differ_by_what_was_added_removed_and_changed() -> None:
    old = {name: spec_of(name) for name in ("a", "b", "c")}
    new = {"d": spec_of("d"), "c": spec_of("c", probed="r"), "b": spec_of("b")}
    diff = diff_fleets(old, new)
    assert (diff.added, diff.removed, diff.changed) == (("d",), ("a",), ("c",))
    same = diff_fleets(old, dict(old))
    assert (same.added, same.removed, same.changed) == ((), (), ())
