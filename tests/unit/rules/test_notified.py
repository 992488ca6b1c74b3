"""Services that say how they are, and services that wait for a connection."""

from orchestra_supervisor.model.equipment import RecycleSpec, SocketSpec
from orchestra_supervisor.model.states import Condition, DownReason, State
from orchestra_supervisor.rules.fleet import is_well, steady_at, unsettled
from orchestra_supervisor.rules.goals import is_ready
from orchestra_supervisor.rules.graph import is_met
from orchestra_supervisor.rules.inputs import (
    Boot,
    Called,
    Dependencies,
    Due,
    ListenFailed,
    Notified,
    Restart,
    Start,
    Stop,
)
from orchestra_supervisor.rules.service import Service, from_note, to_note
from tests.unit.rules.stage import Stage, spec_of

SOCKETS = (SocketSpec(name="http", host="127.0.0.1", port=8000),)


def talker(**extra: object) -> Stage:
    return Stage(Service(spec_of(notify=True, **extra))).up()


def caller(**extra: object) -> Stage:
    spec = spec_of(sockets=SOCKETS, start_on="connection", **extra)
    return Stage(Service(spec)).play(Boot(DownReason.NONE))


def says(stage: Stage, *, beat: bool = False, after: float = 1.0, **fields: str) -> Stage:
    at = stage.at + after
    return stage.play(Notified(stage.run, tuple(fields.items()), at if beat else None, at), after=after)


# Readiness by its own word.


def test_a_service_that_says_when_it_is_ready_is_starting_until_then() -> None:
    stage = talker()
    assert stage.state is State.STARTING
    assert says(stage, STATUS="loading").state is State.STARTING
    assert stage.service.said == "loading"
    assert says(stage, READY="1", STATUS="serving").state is State.READY
    assert stage.service.said == "serving"


def test_a_readiness_probe_is_asked_after_its_word() -> None:
    assert says(talker(probed="r"), READY="1").state is State.RUNNING


def test_a_word_of_an_earlier_run_is_stale() -> None:
    stage = talker()
    stage.play(Notified("a-other", (("READY", "1"),), None, stage.at))
    assert stage.state is State.STARTING


def test_one_that_does_not_say_it_in_time_is_ended_and_may_ask_for_more() -> None:
    stage = talker(startup_timeout=5.0)
    says(stage, EXTEND_TIMEOUT_USEC="20000000")
    asked = stage.at
    stage.play(Due(), after=6.0)
    assert stage.state is State.STARTING
    assert stage.service.deadline == asked + 20.0
    stage.play(Due(), after=20.0)
    assert stage.state is State.STOPPING
    assert stage.service.ending is not None
    assert stage.service.ending.failed


def test_what_it_says_makes_no_difference_to_one_that_is_not_asked() -> None:
    stage = Stage(Service(spec_of(probed="r"))).up()
    assert says(stage, READY="1").state is State.RUNNING


def test_another_main_process_is_shown_and_odd_words_are_passed_over() -> None:
    stage = says(talker(), MAINPID="77", EXTEND_TIMEOUT_USEC="soon", WATCHDOG_USEC="-1")
    run = stage.service.run
    assert run is not None
    assert (run.main_pid, run.extended_until, run.watchdog) == (77, None, None)
    assert says(stage, MAINPID="x", EXTEND_TIMEOUT_USEC="9" * 30).service.run == run


def test_reloading_stopping_and_errors_are_told() -> None:
    assert "service.reloading" in says(talker(), RELOADING="1").told
    assert "service.leaving" in says(talker(), STOPPING="1").told
    assert "error 5" in says(talker(), ERRNO="5").told["service.errno"]


def test_a_required_service_that_has_said_it_counts_as_started_at_once() -> None:
    stage = says(talker(required_for_system=True), READY="1")
    assert steady_at(stage.service) is None


# The watchdog.


def test_one_that_stops_saying_that_it_is_alive_is_ended_and_follows_its_policy() -> None:
    stage = says(talker(watchdog=3.0), READY="1")
    says(stage, WATCHDOG="1", beat=True, after=2.0)
    beat = stage.at
    assert stage.service.deadline == beat + 3.0
    stage.play(Due(), after=2.9)
    assert stage.state is State.READY
    stage.play(Due(), after=0.2)
    assert stage.state is State.STOPPING
    assert stage.service.reason == "watchdog: it has not said for 3 s that it is alive"
    stage.ends(None, "SIGTERM")
    assert len(stage.spawned) == 2


def test_the_first_word_of_readiness_counts_as_a_sign_of_life() -> None:
    stage = says(talker(watchdog=3.0), READY="1")
    assert stage.service.deadline == stage.at + 3.0


def test_a_beat_before_it_is_ready_is_not_held_against_it() -> None:
    stage = says(talker(watchdog=3.0, startup_timeout=60.0), WATCHDOG="1", beat=True)
    stage.play(Due(), after=10.0)
    assert stage.state is State.STARTING


def test_it_may_ask_for_another_interval() -> None:
    stage = says(talker(watchdog=3.0), READY="1", WATCHDOG_USEC="10000000")
    assert stage.service.deadline == stage.at + 10.0


def test_one_that_says_that_it_has_failed_is_ended_at_once() -> None:
    stage = says(talker(), READY="1")
    says(stage, WATCHDOG="trigger")
    assert stage.state is State.STOPPING
    assert stage.service.ending is not None
    assert stage.service.ending.failed


def test_beats_make_no_difference_to_the_note() -> None:
    stage = says(talker(watchdog=3.0), READY="1")
    before = to_note(stage.service)
    assert to_note(says(stage, WATCHDOG="1", beat=True).service) == before


# Age.


def test_a_run_that_has_become_old_is_replaced_and_nothing_counts_as_failed() -> None:
    stage = Stage(Service(spec_of(recycle=RecycleSpec(age=100)))).up()
    stage.play(Due(), after=98.0)
    assert stage.state is State.READY
    stage.play(Due(), after=2.0)
    assert stage.service.reason == "recycled: older than 100 s"
    stage.ends(None, "SIGTERM")
    assert len(stage.spawned) == 2
    assert stage.service.attempts == 0


# Sockets.


def test_a_service_that_waits_for_a_connection_starts_when_one_comes() -> None:
    stage = caller()
    assert (stage.state, stage.orders) == (State.WAITING, ["Listen"])
    assert stage.service.reason == "waiting for a connection"
    stage.play(Called("http"))
    assert (stage.state, stage.orders) == (State.STARTING, ["Spawn"])
    assert stage.service.reason == "a connection came to http"


def test_one_that_ends_well_waits_for_the_next_connection() -> None:
    stage = caller().play(Called("http")).begins().ends(0)
    assert (stage.state, stage.orders) == (State.WAITING, ["Listen", "Ack"])
    stage.play(Called("http"))
    assert len(stage.spawned) == 2


def test_one_that_crashes_is_restarted_without_waiting() -> None:
    stage = caller().play(Called("http")).begins().ends(1)
    assert stage.state is State.STARTING


def test_a_start_by_hand_waits_for_nobody_and_a_restart_of_one_that_waits_waits_on() -> None:
    assert caller().play(Start("by hand")).state is State.STARTING
    stage = caller().play(Restart("its configuration changed"))
    assert (stage.state, stage.orders) == (State.WAITING, ["Listen"])


def test_a_stop_closes_the_sockets_and_a_late_connection_starts_nothing() -> None:
    stage = caller().play(Stop(DownReason.OPERATOR))
    assert (stage.state, stage.orders) == (State.STOPPED, ["Unlisten"])
    assert stage.play(Called("http")).state is State.STOPPED
    up = caller().play(Called("http")).begins().play(Stop(DownReason.OPERATOR)).ends(0)
    assert up.orders == ["Unlisten", "Ack"]


def test_sockets_stay_open_while_a_service_is_restarted_and_close_when_it_fails_for_good() -> None:
    stage = Stage(Service(spec_of(sockets=SOCKETS))).up().play(Restart("by hand")).ends(0)
    assert stage.orders == ["Spawn", "Ack"]
    spec = spec_of(sockets=SOCKETS, restart=spec_of().restart.model_copy(update={"policy": "never"}))
    assert Stage(Service(spec)).up().ends(1).orders == ["Unlisten", "Ack"]


def test_an_address_that_cannot_be_had_fails_the_service_with_its_reason() -> None:
    stage = caller().play(ListenFailed("socket http on 127.0.0.1:8000: Address already in use"))
    assert stage.state is State.FAILED
    assert "Address already in use" in stage.service.reason
    assert stage.play(ListenFailed("again")).told == {}


def test_it_listens_only_once_its_dependencies_are_met_and_not_while_they_are_lost() -> None:
    stage = caller(needs=("db",)).play(Dependencies((("db", "starting"),)))
    assert stage.service.reason == "waiting for db (starting)"
    stage.play(Dependencies(()))
    assert stage.orders == ["Listen"]
    stage.play(Dependencies((("db", "failed"),)))
    assert not stage.service.listening
    assert stage.play(Called("http")).state is State.WAITING


def test_whoever_depends_on_one_that_waits_for_a_connection_need_not_wait() -> None:
    waiting = caller().service
    starting = caller().play(Called("http")).service
    for service in (waiting, starting):
        assert is_met(Condition.READY, service)
        assert is_met(Condition.STARTED, service)
        assert not is_met(Condition.COMPLETED, service)
    assert is_well(waiting)
    assert is_ready(waiting) is True
    assert unsettled({"a": waiting}, 0.0) == []


def test_a_service_waits_on_under_the_next_daemon() -> None:
    waiting = caller().service
    assert from_note(waiting.spec, to_note(waiting)) == waiting
