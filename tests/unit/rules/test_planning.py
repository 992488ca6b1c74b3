"""Planned runs in the life of a service: when they begin, overlap, are over, and what is told of them."""

import pytest

from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import RestartSpec
from orchestra_supervisor.model.states import Desired, DownReason, Kind, State
from orchestra_supervisor.rules.inputs import (
    Boot,
    Dependencies,
    Due,
    Respec,
    Restart,
    RunNow,
    SpawnRefused,
    Start,
    Stop,
)
from orchestra_supervisor.rules.planning import REPLACED
from orchestra_supervisor.rules.service import Service, to_report
from tests.unit.rules.stage import Stage, moment, spec_of

WALL = 1_000_000.0


def job(*, restart: RestartSpec | None = None, needs: tuple[str, ...] = (), **schedule: object) -> Stage:
    """Boot a service that runs every hundred seconds, the first time at 101."""
    spec = spec_of(
        schedule=ScheduleSpec.model_validate({"every": 100, **schedule}),
        restart=restart or RestartSpec(policy="never"),
        needs=needs,
    )
    return Stage(Service(spec)).play(Boot(DownReason.NONE))


def at(stage: Stage, instant: float) -> Stage:
    """Let the deadline come."""
    return stage.play(Due(), after=instant - stage.at)


def test_before_its_first_run_it_waits_and_then_it_runs() -> None:
    stage = job()
    assert stage.state is State.WAITING
    assert stage.service.reason == "first run 100 s after the start"
    assert stage.service.deadline == 101.0
    at(stage, 101.0)
    assert (stage.state, stage.orders) == (State.STARTING, ["Spawn"])


@pytest.mark.parametrize(("code", "state"), [(0, State.COMPLETED), (1, State.FAILED)])
def test_between_runs_it_is_as_the_last_run_went_and_runs_again(code: int, state: State) -> None:
    stage = at(job(), 101.0).begins().ends(code)
    assert stage.state is state
    assert stage.service.deadline == 201.0
    assert at(stage, 201.0).state is State.STARTING


def test_a_run_is_reported_with_its_plan_its_start_and_its_end() -> None:
    stage = at(job(), 101.5).begins().ends(3, after=7.0)
    report = to_report(stage.service, moment(stage.at).clocks)
    assert report.last_run is not None
    assert (report.last_run.planned, report.last_run.started) == (WALL + 101.0, 101.5)
    assert (report.last_run.success, report.last_run.text) == (False, "exit code 3")
    assert report.last_run.lasted == 8.0
    assert report.next_run == WALL + 201.0


def test_a_run_that_could_not_start_is_reported_without_a_start() -> None:
    stage = at(job(), 101.0)
    stage.play(SpawnRefused(stage.run, "exec", 2, "No such file"))
    assert stage.state is State.FAILED
    assert stage.service.last is not None
    assert stage.service.last.started is None
    assert stage.service.last.text == "could not start: No such file (exec)"


def test_restarts_belong_to_one_planned_run() -> None:
    policy = RestartSpec(policy="on-failure", max_restarts=1)
    stage = at(job(restart=policy), 101.0).begins().ends(1)
    assert stage.state is State.STARTING, "the first restart is immediate"
    assert stage.service.last is None, "the planned run is not over"
    stage.begins().ends(1)
    assert stage.state is State.FAILED
    at(stage, 201.0).begins().ends(1)
    assert stage.state is State.STARTING, "the next planned run has all its restarts"


def test_a_run_that_is_due_while_one_runs_is_left_out_by_default() -> None:
    stage = at(job(), 101.0).begins()
    at(stage, 201.0)
    assert (stage.state, stage.orders) == (State.RUNNING, [])
    assert "service.skipped" in stage.told
    assert stage.ends().state is State.COMPLETED
    assert stage.service.deadline == 301.0


def test_a_queued_run_waits_and_at_most_one_does() -> None:
    stage = at(job(overlap="queue"), 101.0).begins()
    assert at(stage, 201.0).told == {}
    assert "service.skipped" in at(stage, 301.0).told
    stage.ends()
    assert stage.state is State.STARTING
    assert stage.begins().ends().state is State.COMPLETED
    assert len(stage.spawned) == 2


def test_a_replacing_run_stops_the_one_before_it() -> None:
    stage = at(job(overlap="replace"), 101.0).begins()
    at(stage, 201.0)
    assert (stage.state, stage.orders) == (State.STOPPING, ["StopRun"])
    stage.ends(None, "SIGTERM")
    assert (stage.state, stage.orders) == (State.STARTING, ["Spawn", "Ack"])
    assert stage.service.last is not None
    assert (stage.service.last.text, stage.service.last.success) == (REPLACED, False)


def test_a_replacing_run_takes_the_place_of_one_that_backs_off_or_waits() -> None:
    slow = RestartSpec.model_validate(
        {"policy": "always", "backoff": {"initial": 500, "cap": 500, "first_immediate": False}}
    )
    stage = at(job(overlap="replace", restart=slow), 101.0).begins().ends(1)
    assert stage.state is State.BACKOFF
    assert at(stage, 201.0).state is State.STARTING
    waits = job(overlap="replace", needs=("dep",)).play(Dependencies((("dep", "failed"),)))
    at(waits, 101.0)
    assert waits.service.reason == "waiting for dep (failed)"
    at(waits, 201.0)
    assert waits.service.plan is not None
    assert waits.service.plan.current == WALL + 201.0
    assert waits.state is State.WAITING


def test_a_due_run_waits_for_dependencies_and_begins_with_them() -> None:
    stage = job(needs=("dep",)).play(Dependencies((("dep", "failed"),)))
    assert stage.service.reason == "first run 100 s after the start", "nothing is due yet"
    stage.play(Dependencies(()), Dependencies((("dep", "failed"),)))
    assert stage.spawned == [], "a dependency that is met makes no run due"
    at(stage, 101.0)
    assert stage.service.reason == "waiting for dep (failed)"
    assert stage.play(Dependencies(())).state is State.STARTING


def test_asked_for_it_runs_now_and_its_schedule_stays() -> None:
    stage = job().play(RunNow(WALL + 2), after=1.0)
    assert stage.state is State.STARTING
    stage.begins().ends()
    assert stage.service.last is not None
    assert stage.service.last.planned == WALL + 2
    assert stage.service.deadline == 101.0


def test_a_service_that_is_stopped_runs_neither_by_schedule_nor_when_asked_for() -> None:
    stage = job().play(Stop(DownReason.OPERATOR))
    assert stage.service.deadline is None
    stage.play(RunNow(WALL), Due(), after=500.0)
    assert (stage.state, stage.spawned) == (State.STOPPED, [])


def test_started_again_it_goes_on_from_then_and_makes_up_for_nothing() -> None:
    stage = job().play(Stop(DownReason.OPERATOR)).play(Start(), after=500.0)
    assert stage.state is State.WAITING
    assert stage.service.desired is Desired.UP
    assert stage.play(Due()).spawned == []
    assert stage.service.deadline == 602.0


def test_started_or_restarted_between_runs_it_stays_at_rest() -> None:
    stage = at(job(), 101.0).begins().ends()
    assert stage.play(Start(), Restart()).state is State.COMPLETED
    assert len(stage.spawned) == 1


def test_a_stop_ends_the_run_and_what_waits() -> None:
    stage = at(job(overlap="queue"), 101.0).begins()
    at(stage, 201.0).play(Stop(DownReason.OPERATOR)).ends(None, "SIGTERM")
    assert stage.state is State.STOPPED
    assert stage.service.plan is not None
    assert (stage.service.plan.current, stage.service.plan.waiting) == (None, ())
    assert stage.service.last is not None
    assert stage.service.last.text == "killed by SIGTERM"


def test_with_on_start_it_runs_at_the_fleets_start_too() -> None:
    stage = job(on_start=True)
    assert stage.state is State.STARTING
    assert stage.begins().ends().service.deadline == 101.0


@pytest.mark.parametrize("on_start", [False, True])
def test_a_downtime_is_made_up_for_once_even_where_it_runs_at_the_start(on_start: bool) -> None:
    spec = spec_of(schedule=ScheduleSpec(every=100, on_start=on_start), restart=RestartSpec(policy="never"))
    stage = Stage(Service(spec)).play(Boot(DownReason.NONE, reached=WALL - 500))
    assert "service.missed" in stage.told
    assert stage.state is State.STARTING
    assert stage.begins().ends().state is State.COMPLETED


def test_all_that_was_missed_is_made_up_for_one_after_the_other() -> None:
    spec = spec_of(schedule=ScheduleSpec(every=100, missed="all"), restart=RestartSpec(policy="never"))
    stage = Stage(Service(spec)).play(Boot(DownReason.NONE, reached=WALL - 500))
    for _ in range(5):
        assert stage.state is State.STARTING
        stage.begins().ends(after=0.1)
    assert stage.state is State.COMPLETED


def test_another_schedule_holds_from_when_it_is_read() -> None:
    stage = job()
    changed = stage.service.spec.model_copy(update={"schedule": ScheduleSpec(every=30)})
    stage.play(Respec(changed), after=20.0).play(Due(), after=0.0)
    assert stage.service.deadline == 21.0 + 30.0
    assert stage.spawned == []
    daemon = stage.service.spec.model_copy(update={"schedule": None, "kind": Kind.DAEMON})
    stage.play(Respec(daemon), Restart())
    assert (stage.state, stage.service.plan) == (State.STARTING, None)


def test_what_it_waits_for_is_told_anew_when_the_schedule_is_another() -> None:
    stage = job()
    changed = stage.service.spec.model_copy(update={"schedule": ScheduleSpec(cron="0 3 * * *")})
    stage.play(Respec(changed)).play(Due(), after=0.0)
    assert stage.service.reason == "next run at 1970-01-13 03:00 UTC"
    assert stage.state is State.WAITING


def test_of_many_that_were_missed_the_one_that_replaces_leaves_the_others_out() -> None:
    spec = spec_of(
        schedule=ScheduleSpec(every=100, missed="all", overlap="replace"), restart=RestartSpec(policy="never")
    )
    stage = Stage(Service(spec)).play(Boot(DownReason.NONE, reached=WALL - 500)).begins()
    at(stage, 101.0)
    assert (stage.state, "service.skipped" in stage.told) == (State.STOPPING, True)
    assert stage.ends(None, "SIGTERM").begins().ends().state is State.COMPLETED


def test_a_daemon_that_becomes_periodic_ends_its_run_and_waits_for_its_schedule() -> None:
    stage = Stage(Service(spec_of())).up()
    stage.play(Respec(spec_of(schedule=ScheduleSpec(every=100))), Restart()).ends(None, "SIGTERM")
    assert stage.state is State.WAITING
    assert stage.service.is_idle
    assert len(stage.spawned) == 1
