"""A reload that a daemon's death cut short is finished by the next daemon."""

import pytest

from orchestra_supervisor.model.spec import RestartSpec, ServiceSpec
from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.rules import diff
from orchestra_supervisor.rules.diff import needs_restart, run_digest, whole_digest
from orchestra_supervisor.rules.inputs import Exited, Gone, Respec, Restart, Spawned, Start, Stop
from orchestra_supervisor.rules.resume import Held, Resumed, resume
from orchestra_supervisor.rules.service import Ending, Moment, Run, Service, Then, to_note
from tests.unit.rules.stage import Stage, probes

NOW = Moment(10.0, 1010.0, "a-00000000000f")
RUN = "a-000000000001"
OLD = ServiceSpec(name="a", argv=("x",), cwd="/", env={"A": "1", "B": "2"})


def taken_over(new: ServiceSpec, desired: Desired = Desired.UP) -> Resumed:
    run = Run(RUN, 1.0, 1001.0, pid=5, was_ready=True, digest=run_digest(OLD))
    note = to_note(Service(OLD, state=State.READY, desired=desired, run=run))
    resumed = resume(new, note, (Held(RUN, False, (Spawned(RUN, 5, 1.0, 1001.0),)),), NOW)
    assert resumed is not None
    return resumed


def test_a_run_of_an_older_spec_is_replaced():
    new = OLD.model_copy(update={"env": {"A": "changed"}})
    assert taken_over(new).inputs[-1] == Restart("its configuration changed", unless=run_digest(new))


def test_a_run_that_was_replaced_meanwhile_is_not_replaced_twice():
    new = OLD.model_copy(update={"argv": ("y",)})
    run = Run(RUN, 1.0, 1001.0, pid=5, was_ready=True, digest=run_digest(OLD))
    ending = Ending(Then.AGAIN, "rolling update")
    note = to_note(Service(new, state=State.STOPPING, desired=Desired.UP, run=run, ending=ending))
    told = (Spawned(RUN, 5, 1.0, 1001.0), Exited(RUN, None, "SIGTERM", 9.0, 1009.0, 0), Gone(RUN))
    resumed = resume(new, note, (Held(RUN, True, told),), NOW)
    assert resumed is not None
    stage = Stage(resumed.service)
    stage.play(*resumed.inputs)
    assert stage.service.state is State.STARTING
    assert len(stage.spawned) == 1


def test_a_run_that_followed_without_a_daemon_is_replaced_where_it_is_of_the_older_spec():
    new = OLD.model_copy(update={"argv": ("y",)})
    run = Run(RUN, 1.0, 1001.0, pid=5, was_ready=True, digest=run_digest(OLD))
    note = to_note(Service(OLD, state=State.READY, desired=Desired.UP, run=run))
    following = "a-000000000002"
    told = (Spawned(RUN, 5, 1.0, 1001.0), Exited(RUN, 1, None, 9.0, 1009.0, 0), Gone(RUN, following))
    held = (
        Held(RUN, stopping=False, told=told),
        Held(following, stopping=False, told=(Spawned(following, 6, 9.0, 1009.0),)),
    )
    resumed = resume(new, note, held, NOW)
    assert resumed is not None
    stage = Stage(resumed.service)
    stage.play(*resumed.inputs)
    assert stage.service.state is State.STOPPING
    assert stage.service.reason == "its configuration changed"


def test_a_run_of_this_spec_goes_on():
    assert taken_over(OLD).inputs == (Spawned(RUN, 5, 1.0, 1001.0),)


def test_a_change_that_a_run_knows_nothing_of_replaces_nothing():
    assert len(taken_over(OLD.model_copy(update={"title": "other", "priority": 1})).inputs) == 1


def test_a_service_that_was_disabled_meanwhile_is_stopped():
    last = taken_over(OLD.model_copy(update={"enabled": False})).inputs[-1]
    assert last == Stop(DownReason.DISABLED, "disabled in the configuration")


def test_a_service_that_is_wanted_down_is_left_to_go_down():
    assert len(taken_over(OLD.model_copy(update={"cwd": "/tmp"}), Desired.DOWN).inputs) == 1


@pytest.mark.parametrize(
    "change",
    [{"cwd": "/tmp"}, {"env": {}}, {"title": "x"}, {"argv": ("y",)}, {"tags": ("t",)}, {"umask": 0}],
)
def test_the_digest_differs_exactly_when_a_restart_is_needed(change):
    new = OLD.model_copy(update=change)
    assert (run_digest(new) != run_digest(OLD)) == needs_restart(OLD, new)


def test_the_order_in_which_variables_are_written_is_no_change():
    turned = OLD.model_copy(update={"env": {"B": "2", "A": "1"}})
    assert run_digest(turned) == run_digest(OLD)


def test_what_is_at_its_default_is_not_in_the_digest_so_that_a_new_field_restarts_nobody():
    assert diff._given(OLD) == {"name", "argv", "cwd", "env"}
    said = OLD.model_copy(update={"umask": OLD.umask, "tags": (), "restart": RestartSpec()})
    assert (run_digest(said), whole_digest(said)) == (run_digest(OLD), whole_digest(OLD))
    assert whole_digest(OLD.model_copy(update={"title": "x"})) != whole_digest(OLD)


def test_the_digest_is_worked_out_once_for_each_spec_however_often_it_is_spawned(monkeypatch):
    asked = []
    dump = ServiceSpec.model_dump

    def counted(spec, **given):
        asked.append(spec.name)
        return dump(spec, **given)

    monkeypatch.setattr(ServiceSpec, "model_dump", counted)
    crashing = ServiceSpec(name="a", argv=("x",), cwd="/", restart={"max_restarts": None})
    stage = Stage(Service(crashing)).up()
    for _ in range(20):
        stage.ends(1, after=60.0).begins()
    assert len(stage.spawned) == 21
    assert asked == ["a"]
    assert run_digest(crashing.model_copy(update={"cwd": "/tmp"})) != run_digest(crashing)
    assert asked == ["a", "a"]


def test_the_digest_of_a_spec_that_is_no_more_is_forgotten():
    before = len(diff._DIGESTS)
    specs = [OLD.model_copy(update={"umask": mask}) for mask in range(100)]
    assert len({run_digest(spec) for spec in specs}) == 100
    assert len(diff._DIGESTS) >= 100
    del specs
    assert len(diff._DIGESTS) <= before


def resting(new: ServiceSpec, **fields: object) -> Resumed:
    resumed = resume(new, to_note(Service(OLD, **fields)), (), NOW)
    assert resumed is not None
    return resumed


def test_a_service_that_had_failed_is_tried_by_its_new_spec():
    failed = {"state": State.FAILED, "desired": Desired.UP}
    new = OLD.model_copy(update={"argv": ("y",)})
    assert resting(new, **failed).inputs == (Restart("its configuration changed", unless=run_digest(new)),)
    assert resting(OLD, **failed).inputs == ()
    assert resting(OLD.model_copy(update={"title": "x"}), **failed).inputs == ()
    off = OLD.model_copy(update={"enabled": False})
    assert resting(off, **failed).inputs == (Stop(DownReason.DISABLED, "disabled in the configuration"),)


def test_a_service_that_was_enabled_meanwhile_is_started_unless_somebody_else_keeps_it_down():
    off = OLD.model_copy(update={"enabled": False})
    for reason, inputs in (
        (DownReason.DISABLED, (Start("enabled in the configuration"),)),
        (DownReason.OPERATOR, ()),
        (DownReason.NOT_SELECTED, ()),
    ):
        note = to_note(Service(off, desired=Desired.DOWN, down_reason=reason))
        resumed = resume(OLD, note, (), NOW)
        assert resumed is not None
        assert resumed.inputs == inputs


def test_a_note_of_a_daemon_that_kept_no_digest_is_taken_as_it_is():
    note = to_note(Service(OLD, state=State.FAILED, desired=Desired.UP))
    del note["digest"]
    resumed = resume(OLD.model_copy(update={"cwd": "/tmp"}), note, (), NOW)
    assert resumed is not None
    assert resumed.inputs == ()


def test_a_service_that_is_back_in_the_configuration_is_started():
    note = to_note(Service(OLD, desired=Desired.DOWN, down_reason=DownReason.REMOVED))
    for enabled, wanted in (
        (True, Start("back in the configuration")),
        (False, Stop(DownReason.DISABLED, "back in the configuration")),
    ):
        resumed = resume(OLD.model_copy(update={"enabled": enabled}), note, (), NOW)
        assert resumed is not None
        assert resumed.inputs == (wanted,)


def test_a_run_whose_probe_was_taken_out_while_a_daemon_died_does_not_wait_for_it():
    probed = OLD.model_copy(update={"probes": probes("r")})
    run = Run(RUN, 1.0, 1001.0, pid=5, digest=run_digest(OLD))
    note = to_note(Service(probed, state=State.RUNNING, desired=Desired.UP, run=run))
    held = (Held(RUN, False, (Spawned(RUN, 5, 1.0, 1001.0),)),)
    resumed = resume(OLD, note, held, NOW)
    assert resumed is not None
    assert Respec(OLD) in resumed.inputs
    still = resume(probed, note, held, NOW)
    assert still is not None
    assert still.inputs == held[0].told
