"""Each rule of the lifecycle by example. Law-abiding is checked on every step by the stage."""

import pytest

from orchestra_supervisor.model.spec import BackoffSpec, DependencySpec, RestartSpec, ServiceSpec
from orchestra_supervisor.model.states import Desired, DownReason, Kind, State
from orchestra_supervisor.rules.graph import LEAVING
from orchestra_supervisor.rules.inputs import (
    Boot,
    Dependencies,
    Due,
    Exited,
    Gone,
    Hung,
    Probed,
    ProbeKind,
    ProbeSaw,
    Proceed,
    Respec,
    Restart,
    SpawnRefused,
    Start,
    Stop,
    Stuck,
)
from orchestra_supervisor.rules.service import Service
from tests.unit.rules.stage import Stage, spec_of

NO_JITTER = BackoffSpec(initial=1.0, multiplier=2.0, cap=60.0, jitter=0.0)


def on_stage(spec: ServiceSpec | None = None) -> Stage:
    return Stage(Service(spec or spec_of()))


def ready(spec: ServiceSpec | None = None) -> Stage:
    stage = on_stage(spec).up()
    if stage.state is State.STARTING:
        stage.play(Probed(stage.run, ProbeKind.STARTUP, True, "ok"))
    if stage.state is State.RUNNING:
        stage.play(Probed(stage.run, ProbeKind.READINESS, True, "ok"))
    assert stage.state is State.READY
    return stage


def passes(stage: Stage, kind: ProbeKind, passed: bool = True, detail: str = "refused") -> Stage:
    return stage.play(Probed(stage.run, kind, passed, detail))


# Starting.


def test_a_booted_service_is_spawned_at_once() -> None:
    stage = on_stage().play(Boot(DownReason.NONE))
    assert (stage.state, stage.orders) == (State.STARTING, ["Spawn"])


def test_a_disabled_service_stays_down_and_says_why() -> None:
    stage = on_stage().play(Boot(DownReason.DISABLED))
    assert (stage.state, stage.orders) == (State.STOPPED, [])
    assert stage.service.reason == "disabled in the configuration"


def test_a_service_waits_for_its_dependencies_and_names_them() -> None:
    spec = spec_of(needs=["db", "cache"])
    stage = Stage(Service(spec, unmet=(("db", "starting"), ("cache", "failed"))))
    stage.play(Boot(DownReason.NONE))
    assert (stage.state, stage.orders) == (State.WAITING, [])
    assert stage.service.reason == "waiting for db (starting), cache (failed)"
    stage.play(Dependencies((("cache", "starting"),)))
    assert stage.service.reason == "waiting for cache (starting)"
    stage.play(Dependencies(()))
    assert (stage.state, stage.orders) == (State.STARTING, ["Spawn"])


def test_a_start_delay_is_waited_for_and_no_longer() -> None:
    stage = on_stage(spec_of(start_delay=5.0)).play(Boot(DownReason.NONE))
    assert stage.service.reason == "waiting for its start delay"
    assert stage.service.deadline == stage.at + 5.0
    assert stage.play(Due(), after=4.0).state is State.WAITING
    assert stage.play(Due(), after=1.0).state is State.STARTING


def test_a_start_by_hand_does_not_wait_for_the_start_delay() -> None:
    stage = on_stage(spec_of(start_delay=5.0)).play(Boot(DownReason.NONE), Start("now"))
    assert stage.state is State.STARTING


def test_a_service_without_probes_is_ready_when_its_program_runs() -> None:
    stage = on_stage().up()
    assert stage.state is State.READY
    assert stage.told == {"service.spawned": "pid 42"}


def test_readiness_decides_between_running_ready_and_unhealthy() -> None:
    stage = on_stage(spec_of(probed="r")).up()
    assert stage.state is State.RUNNING
    assert passes(stage, ProbeKind.READINESS).state is State.READY
    passes(stage, ProbeKind.READINESS, False, "connection refused")
    assert stage.state is State.UNHEALTHY
    assert stage.service.reason == "readiness probe failed: connection refused"
    assert stage.told == {"service.probe_failed": "readiness probe failed: connection refused"}
    passes(stage, ProbeKind.READINESS)
    assert stage.state is State.READY
    assert stage.service.probe_error == ""
    assert list(stage.told) == ["service.probe_recovered"]


def test_startup_comes_before_readiness() -> None:
    stage = on_stage(spec_of(probed="sr")).up()
    assert stage.state is State.STARTING
    assert passes(stage, ProbeKind.STARTUP).state is State.RUNNING
    assert passes(stage, ProbeKind.READINESS).state is State.READY


def test_a_once_service_runs_and_completes() -> None:
    stage = on_stage(spec_of(kind=Kind.ONCE)).up()
    assert stage.state is State.RUNNING
    stage.ends(0)
    assert (stage.state, stage.orders) == (State.COMPLETED, ["Ack"])
    assert stage.service.exit is not None
    assert stage.service.exit.success


def test_a_once_service_that_fails_is_tried_again_by_policy() -> None:
    stage = on_stage(spec_of(kind=Kind.ONCE, restart=RestartSpec(policy="always"))).up().ends(1)
    assert stage.state is State.STARTING
    assert stage.begins().ends(0).state is State.COMPLETED


def test_a_refused_spawn_says_stage_and_errno_and_counts_as_a_failure() -> None:
    stage = on_stage(spec_of(restart=RestartSpec(max_restarts=1))).play(Boot(DownReason.NONE))
    stage.play(SpawnRefused(stage.run, "chdir", 2, "No such file or directory: '/x'"))
    text = "could not start: No such file or directory: '/x' (chdir)"
    assert stage.told["service.spawn_failed"] == text
    emitted = stage.effects[0]
    assert emitted.data == (("stage", "chdir"), ("errno", 2))  # type: ignore[union-attr]
    assert stage.service.reason == f"restarting after {text}"
    stage.play(SpawnRefused(stage.run, "chdir", 2, "No such file or directory: '/x'"))
    assert stage.state is State.FAILED
    assert stage.service.reason == f"{text}; restart limit reached: 1 restarts within 300 s"


def test_a_service_not_ready_in_time_is_ended_with_the_words_of_its_probe() -> None:
    stage = on_stage(spec_of(probed="r", startup_timeout=10.0)).up()
    stage.play(ProbeSaw(stage.run, "status 503"))
    assert stage.play(Due(), after=1.0).state is State.RUNNING
    stage.play(Due(), after=10.0)
    assert (stage.state, stage.orders) == (State.STOPPING, ["StopRun"])
    assert stage.service.reason == "not ready within 10 s: status 503"
    stage.ends(0)
    assert stage.service.restarts == 1, "exit code 0 is no success for one that was never ready"


def test_a_service_that_was_ready_once_is_not_held_to_its_startup_timeout() -> None:
    stage = ready(spec_of(probed="r", startup_timeout=10.0))
    assert stage.service.deadline is None
    passes(stage, ProbeKind.READINESS, False)
    assert stage.play(Due(), after=100.0).state is State.UNHEALTHY


def test_a_startup_probe_that_fails_ends_the_run() -> None:
    stage = on_stage(spec_of(probed="s")).up()
    passes(stage, ProbeKind.STARTUP, False, "no answer")
    assert (stage.state, stage.orders) == (State.STOPPING, ["StopRun"])
    assert stage.service.reason == "startup probe failed: no answer"
    assert stage.ends(0).state is State.STARTING


# Ending by itself.


def test_the_first_crash_is_followed_at_once_and_the_second_one_backs_off() -> None:
    stage = ready(spec_of(restart=RestartSpec(backoff=NO_JITTER)))
    stage.ends(1)
    assert (stage.state, stage.orders) == (State.STARTING, ["Spawn", "Ack"])
    assert stage.service.reason == "restarting after exit code 1"
    stage.begins().ends(None, "SIGSEGV")
    assert (stage.state, stage.orders) == (State.BACKOFF, ["Ack"])
    assert stage.service.reason == "killed by SIGSEGV"
    assert stage.service.deadline == stage.at + 1.0
    assert stage.play(Due(), after=0.5).state is State.BACKOFF
    assert stage.play(Due(), after=0.5).state is State.STARTING
    assert stage.service.restarts == 2


def test_each_further_crash_waits_twice_as_long() -> None:
    stage = ready(spec_of(restart=RestartSpec(backoff=NO_JITTER))).ends(1)
    waits: list[float] = []
    for _ in range(4):
        stage.begins().ends(1)
        assert stage.service.deadline is not None
        waits.append(round(stage.service.deadline - stage.at, 6))
        stage.play(Due(), after=waits[-1])
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_a_stable_spell_makes_the_next_restart_immediate_again() -> None:
    stage = ready(spec_of(restart=RestartSpec(backoff=NO_JITTER, stable_after=30.0))).ends(1)
    stage.begins().ends(1, after=31.0)
    assert stage.state is State.STARTING
    assert stage.service.attempts == 1


def test_the_restart_limit_fails_the_service_and_a_start_by_hand_forgives_it() -> None:
    restart = RestartSpec(backoff=BackoffSpec(initial=0.0), max_restarts=2, window=60.0)
    stage = ready(spec_of(restart=restart)).ends(1).begins().ends(1).begins().ends(1)
    assert (stage.state, stage.orders) == (State.FAILED, ["Ack"])
    assert stage.service.reason == "exit code 1; restart limit reached: 2 restarts within 60 s"
    stage.play(Start("by hand"))
    assert (stage.state, stage.service.recent, stage.service.attempts) == (State.STARTING, (), 0)


def test_restarts_outside_the_window_do_not_count() -> None:
    restart = RestartSpec(backoff=BackoffSpec(initial=0.0), max_restarts=1, window=10.0)
    stage = ready(spec_of(restart=restart)).ends(1).begins().ends(1, after=11.0)
    assert stage.state is State.STARTING


def test_success_is_what_the_policy_says() -> None:
    for policy, code, wanted in (
        ("on-failure", 0, State.COMPLETED),
        ("on-failure", 3, State.STARTING),
        ("on-failure", 7, State.COMPLETED),
        ("always", 0, State.STARTING),
        ("never", 3, State.FAILED),
        ("never", 7, State.COMPLETED),
    ):
        spec = spec_of(restart=RestartSpec.model_validate({"policy": policy, "success_exit_codes": (0, 7)}))
        assert ready(spec).ends(code).state is wanted, (policy, code)


def test_an_unknown_exit_status_is_no_success() -> None:
    stage = ready().ends(None, None)
    assert stage.service.reason == "restarting after exit status unknown"


def test_what_the_leader_leaves_behind_is_stopped_before_anything_follows() -> None:
    stage = ready()
    run = stage.run
    stage.play(Exited(run, 0, None, stage.at, 0.0, 2))
    assert (stage.state, stage.orders) == (State.STOPPING, ["StopRun"])
    assert stage.service.reason == "exit code 0; stopping 2 processes it left"
    assert stage.play(Gone(run)).state is State.COMPLETED


def test_one_process_left_behind_is_named_in_the_singular() -> None:
    stage = ready()
    stage.play(Exited(stage.run, 1, None, stage.at, 0.0, 1))
    assert stage.service.reason == "exit code 1; stopping 1 process it left"


def test_a_liveness_failure_ends_the_run_and_the_policy_decides() -> None:
    stage = ready(spec_of(probed="rl"))
    passes(stage, ProbeKind.LIVENESS, False, "hangs")
    assert (stage.state, stage.orders) == (State.STOPPING, ["StopRun"])
    assert stage.service.reason == "liveness probe failed: hangs"
    stage.ends(0)
    assert stage.state is State.STARTING, "a clean exit of a run that was ended for failing is a failure"


def test_a_liveness_pass_changes_nothing() -> None:
    stage = ready(spec_of(probed="l"))
    assert passes(stage, ProbeKind.LIVENESS).state is State.READY


def test_a_run_that_does_not_answer_is_ended_and_the_policy_decides() -> None:
    stage = ready()
    stage.play(Hung(stage.run, "does not answer"))
    assert (stage.state, stage.orders) == (State.STOPPING, ["StopRun"])
    assert stage.service.reason == "does not answer"
    stage.ends(0)
    assert (stage.state, stage.service.attempts) == (State.STARTING, 1)


def test_that_another_run_did_not_answer_or_that_one_is_leaving_anyway_changes_nothing() -> None:
    stage = ready()
    assert stage.play(Hung("a-other", "does not answer")).state is State.READY
    stage.play(Restart("by hand", ("above",)))
    ending = stage.service.ending
    assert stage.play(Hung(stage.run, "does not answer")).service.ending == ending


# Stopping.


def test_a_stop_orders_the_run_to_end_and_is_over_when_nothing_is_left() -> None:
    stage = ready()
    run = stage.run
    stage.play(Stop(DownReason.OPERATOR, "stopped by alice"))
    assert (stage.state, stage.orders) == (State.STOPPING, ["StopRun"])
    assert stage.service.reason == "stopped by alice"
    stage.play(Exited(run, None, "SIGTERM", stage.at, 0.0, 3))
    assert (stage.state, stage.orders) == (State.STOPPING, [])
    stage.play(Gone(run))
    assert (stage.state, stage.orders, stage.service.reason) == (State.STOPPED, ["Ack"], "stopped by hand")


def test_a_stop_of_one_that_waits_or_backs_off_takes_effect_at_once() -> None:
    backing_off = ready().ends(1).begins().ends(1)
    assert backing_off.play(Stop(DownReason.OPERATOR)).state is State.STOPPED
    waiting = Stage(Service(spec_of(needs=["db"]), unmet=(("db", "failed"),))).play(Boot(DownReason.NONE))
    assert waiting.play(Stop(DownReason.OPERATOR)).state is State.STOPPED


def test_a_second_stop_changes_why_but_does_not_order_again() -> None:
    stage = ready().play(Stop(DownReason.OPERATOR), Stop(DownReason.SHUTDOWN))
    assert stage.orders == []
    assert stage.service.down_reason is DownReason.SHUTDOWN


def test_the_last_word_on_a_failed_service_stays_visible_while_the_fleet_goes_down() -> None:
    stage = ready(spec_of(restart=RestartSpec(policy="never"))).ends(1)
    stage.play(Stop(DownReason.SHUTDOWN))
    assert (stage.state, stage.service.reason) == (State.FAILED, "exit code 1")
    assert stage.play(Stop(DownReason.OPERATOR)).state is State.STOPPED


def test_a_stop_with_dependents_waits_for_them_and_lets_nobody_on_top_meanwhile() -> None:
    stage = ready().play(Stop(DownReason.OPERATOR, "by hand", ("web", "worker")))
    assert (stage.state, stage.orders, stage.service.is_leaving) == (State.READY, [], True)
    assert stage.service.reason == "stops when web, worker is down"
    stage.play(Proceed())
    assert (stage.state, stage.orders, stage.service.is_leaving) == (State.STOPPING, ["StopRun"], False)


def test_a_start_while_leaving_makes_it_stay() -> None:
    stage = ready().play(Stop(DownReason.OPERATOR, "by hand", ("web",)), Start("no, stay"))
    assert (stage.state, stage.service.ending, stage.service.desired) == (State.READY, None, Desired.UP)
    assert stage.play(Proceed()).state is State.READY


def test_one_that_stays_after_all_is_held_to_its_startup_timeout_again() -> None:
    stage = on_stage(spec_of(probed="r", startup_timeout=10.0)).up()
    due = stage.service.deadline
    stage.play(Stop(DownReason.OPERATOR, "by hand", ("web",)))
    assert stage.service.deadline is None
    stage.play(Due(), after=20.0)
    stage.play(Start("stay"))
    assert stage.service.deadline == due, "the engine sees a new deadline and does not forget it"
    assert stage.play(Due()).state is State.STOPPING


def test_one_that_stays_after_all_answers_for_what_was_lost_while_it_was_leaving() -> None:
    spec = spec_of(depends_on={"db": DependencySpec(on_failure="stop")})
    stage = ready(spec).play(
        Stop(DownReason.OPERATOR, "by hand", ("web",)), Dependencies((("db", "failed"),))
    )
    assert stage.state is State.READY
    stage.play(Start("stay"))
    assert (stage.state, stage.service.reason) == (State.STOPPING, "stopping: lost db (failed)")


@pytest.mark.parametrize(
    ("on_failure", "is_lost_before", "state"),
    [
        ("restart", False, State.STOPPING),
        ("restart", True, State.STOPPING),
        ("stop", False, State.STOPPING),
        ("keep", False, State.READY),
        ("keep", True, State.READY),
    ],
)
def test_it_answers_for_that_also_where_what_was_lost_is_back_by_then(
    on_failure: str, is_lost_before: bool, state: State
) -> None:
    spec = spec_of(depends_on={"db": DependencySpec.model_validate({"on_failure": on_failure})})
    stop, lost_one = Stop(DownReason.OPERATOR, "by hand", ("web",)), Dependencies((("db", "failed"),))
    stage = ready(spec).play(*((lost_one, stop) if is_lost_before else (stop, lost_one)))
    stage.play(Dependencies(()))
    assert (stage.state, stage.service.is_leaving) == (State.READY, True)
    stage.play(Start("stay"))
    assert stage.state is state


def test_a_start_while_stopping_is_followed_by_a_new_run() -> None:
    stage = ready().play(Stop(DownReason.OPERATOR))
    stage.play(Start("changed my mind"))
    assert (stage.state, stage.service.desired) == (State.STOPPING, Desired.UP)
    stage.ends(None, "SIGTERM")
    assert (stage.state, stage.orders, stage.service.restarts) == (State.STARTING, ["Spawn", "Ack"], 1)


def test_a_start_of_one_that_policy_would_leave_down_starts_it() -> None:
    stage = ready(spec_of(probed="l", restart=RestartSpec(policy="never")))
    passes(stage, ProbeKind.LIVENESS, False).play(Start("by hand"))
    assert stage.ends(1).state is State.STARTING


def test_a_start_of_one_that_is_up_does_nothing() -> None:
    stage = ready()
    before = stage.service
    assert stage.play(Start("again")).service == before


def test_a_restart_is_not_counted_against_the_service() -> None:
    stage = ready(spec_of(restart=RestartSpec(policy="never", max_restarts=0)))
    first = stage.run
    stage.play(Restart("by hand"))
    assert (stage.state, stage.service.reason) == (State.STOPPING, "by hand")
    stage.ends(1)
    assert (stage.state, stage.service.recent) == (State.STARTING, ())
    assert stage.run != first


def test_a_restart_with_dependents_stops_after_them() -> None:
    stage = ready().play(Restart("by hand", ("web",)))
    assert (stage.state, stage.service.is_leaving) == (State.READY, True)
    stage.play(Proceed())
    assert stage.state is State.STOPPING
    assert stage.ends(0).state is State.STARTING


def test_a_restart_of_one_at_rest_is_a_start() -> None:
    stage = ready().play(Stop(DownReason.OPERATOR)).ends(0).play(Restart("by hand"))
    assert (stage.state, stage.service.desired) == (State.STARTING, Desired.UP)


def test_a_restart_while_stopping_turns_the_stop_into_one() -> None:
    stage = ready().play(Stop(DownReason.OPERATOR), Restart("by hand"))
    assert stage.orders == []
    assert stage.ends(0).state is State.STARTING


def test_a_startup_probe_that_fails_does_not_undo_what_was_asked_for() -> None:
    never = RestartSpec(policy="never")
    stage = on_stage(spec_of(probed="s", restart=never)).up().play(Restart("by hand", ("web",)))
    passes(stage, ProbeKind.STARTUP, False)
    assert stage.state is State.STOPPING
    assert stage.ends(1).state is State.STARTING, "the operator wanted another run"


def test_a_start_is_not_lost_on_a_service_that_was_leaving_when_its_startup_failed() -> None:
    stage = on_stage(spec_of(probed="s")).up().play(Stop(DownReason.OPERATOR, "by hand", ("web",)))
    passes(stage, ProbeKind.STARTUP, False)
    stage.play(Start("by hand"))
    assert stage.service.desired is Desired.UP
    assert stage.ends(1).state is State.STARTING


def test_a_spawn_that_a_stop_overtakes_settles_down() -> None:
    stage = on_stage().play(Boot(DownReason.NONE), Stop(DownReason.OPERATOR))
    assert (stage.state, stage.orders) == (State.STOPPING, ["StopRun"])
    stage.play(SpawnRefused(stage.run, "exec", 125, "stopped before its program began"))
    assert stage.state is State.STOPPED


def test_a_program_that_begins_while_it_is_being_stopped_does_not_become_ready() -> None:
    stage = on_stage().play(Boot(DownReason.NONE), Stop(DownReason.OPERATOR)).begins()
    assert stage.state is State.STOPPING
    assert stage.service.run is not None
    assert stage.service.run.pid == 42


def test_a_run_that_sigkill_does_not_end_is_shown_with_its_pids() -> None:
    stage = ready().play(Stop(DownReason.OPERATOR))
    stage.play(Stuck(stage.run, (4711, 4712)))
    assert (stage.state, stage.orders) == (State.STOPPING, [])
    assert stage.service.reason.endswith("still there: 4711, 4712")
    assert list(stage.told) == ["service.stuck"]


# Dependencies of one that is up.


def lost(on_failure: str, *, state: str = "failed") -> Stage:
    spec = spec_of(depends_on={"db": DependencySpec.model_validate({"on_failure": on_failure})})
    return ready(spec).play(Dependencies((("db", state),)))


def test_keep_keeps_it_running() -> None:
    stage = lost("keep")
    assert (stage.state, stage.orders) == (State.READY, [])
    assert stage.play(Dependencies(())).state is State.READY


def test_stop_stops_it_until_the_dependency_is_back() -> None:
    stage = lost("stop")
    assert (stage.state, stage.orders) == (State.STOPPING, ["StopRun"])
    assert stage.service.reason == "stopping: lost db (failed)"
    stage.ends(None, "SIGTERM")
    assert (stage.state, stage.service.reason) == (State.WAITING, "waiting for db (failed)")
    assert stage.play(Dependencies(())).state is State.STARTING


def test_restart_restarts_it_once_the_dependency_is_back() -> None:
    stage = lost("restart")
    assert (stage.state, stage.orders) == (State.READY, ["Remember"])
    stage.play(Dependencies(()))
    assert (stage.state, stage.service.reason) == (State.STOPPING, "restarting: a dependency came back")
    assert stage.ends(0).state is State.STARTING
    assert not stage.service.refresh


def test_a_dependency_that_is_about_to_leave_is_not_lost_yet() -> None:
    for on_failure in ("keep", "stop", "restart"):
        stage = lost(on_failure, state=LEAVING)
        assert (stage.state, stage.service.refresh) == (State.READY, False)


def test_a_backoff_that_is_over_waits_for_dependencies() -> None:
    stage = ready(spec_of(needs=["db"])).ends(1).begins()
    stage.play(Probed(stage.run, ProbeKind.READINESS, True, "ok"))
    stage.ends(1).play(Dependencies((("db", "starting"),)))
    assert stage.state is State.BACKOFF
    assert stage.play(Due(), after=60.0).state is State.WAITING


# News of others.


def test_news_of_another_run_changes_nothing() -> None:
    stage = ready(spec_of(probed="r"))
    before = stage.service
    other = "a-ffffffffffff"
    stage.play(Exited(other, 1, None, 0.0, 0.0, 0), Stuck(other, (1,)), SpawnRefused(other, "exec", 2, "x"))
    stage.play(Probed(other, ProbeKind.READINESS, False, "x"), ProbeSaw(other, "x"))
    assert stage.service == before
    stage.play(Gone(other))
    assert stage.service == before
    assert stage.orders == ["Ack"], "it is not ours, and the keeper may forget it"


def test_probes_of_a_run_whose_leader_has_ended_say_nothing() -> None:
    stage = ready(spec_of(probed="r"))
    stage.play(Exited(stage.run, 1, None, stage.at, 0.0, 0))
    passes(stage, ProbeKind.READINESS, False)
    assert stage.state is State.READY


def test_another_configuration_holds_from_the_next_decision_on() -> None:
    stage = ready()
    stage.play(Respec(spec_of(restart=RestartSpec(policy="never"))))
    assert stage.state is State.READY
    assert stage.ends(1).state is State.FAILED


@pytest.mark.parametrize("probed", ["s", "r", "sr"])
def test_a_run_that_waits_for_a_probe_is_ready_when_the_probe_is_taken_out_of_the_configuration(
    probed: str,
) -> None:
    stage = Stage(Service(spec_of(probed=probed))).up()
    assert stage.state in {State.STARTING, State.RUNNING}
    stage.play(Respec(spec_of()))
    assert stage.state is State.READY
    assert stage.service.startup_deadline is None


def test_an_unhealthy_run_whose_probe_is_taken_out_is_ready_and_an_old_verdict_means_nothing() -> None:
    stage = Stage(Service(spec_of(probed="r"))).up()
    stage.play(Probed(stage.run, ProbeKind.READINESS, True, "ok"))
    stage.play(Probed(stage.run, ProbeKind.READINESS, False, "refused"))
    assert stage.state is State.UNHEALTHY
    stage.play(Respec(spec_of()), Probed(stage.run, ProbeKind.READINESS, False, "refused"))
    assert (stage.state, stage.service.probe_error) == (State.READY, "")


def test_a_probe_that_is_added_to_a_ready_run_does_not_make_it_start_anew() -> None:
    stage = ready()
    stage.play(Respec(spec_of(probed="srl")))
    assert stage.state is State.READY


def test_a_run_that_is_to_say_itself_when_it_is_ready_is_not_made_ready_by_a_reload() -> None:
    spec = spec_of().model_copy(update={"notify": True})
    stage = Stage(Service(spec)).up()
    assert stage.state is State.STARTING
    stage.play(Respec(spec.model_copy(update={"title": "another"})))
    assert stage.state is State.STARTING
