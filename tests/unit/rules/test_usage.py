"""Memory that a run uses, and times of day at which it is recycled."""

from orchestra_supervisor.model.equipment import LimitsSpec, RecycleSpec
from orchestra_supervisor.model.states import State
from orchestra_supervisor.rules.inputs import Due, Restart, Used
from orchestra_supervisor.rules.service import Service
from tests.unit.rules.stage import Stage, spec_of

MB = 1024 * 1024


def stage(**extra: object) -> Stage:
    return Stage(Service(spec_of(**extra))).up()


def uses(one: Stage, size: int, *, is_watched: bool = True) -> Stage:
    return one.play(Used(one.run, size * MB, is_watched))


def test_a_run_over_its_limit_is_ended_and_counts_as_failed() -> None:
    one = uses(stage(limits=LimitsSpec(memory=100 * MB)), 101)
    assert one.state is State.STOPPING
    assert one.service.reason == "uses 101 MB of memory, over its limit of 100 MB"
    assert one.service.ending is not None
    assert one.service.ending.failed


def test_a_limit_that_the_kernel_holds_is_left_to_it() -> None:
    assert uses(stage(limits=LimitsSpec(memory=100 * MB)), 101, is_watched=False).state is State.READY


def test_a_run_within_its_limit_runs_on() -> None:
    assert uses(stage(limits=LimitsSpec(memory=100 * MB)), 100).state is State.READY


def test_a_run_that_has_grown_makes_room_for_a_fresh_one_and_nothing_counts_as_failed() -> None:
    one = uses(stage(recycle=RecycleSpec(memory=100 * MB)), 101, is_watched=False)
    assert one.service.reason == "recycled: uses 101 MB of memory"
    one.ends(None, "SIGTERM")
    assert (len(one.spawned), one.service.attempts) == (2, 0)


def test_one_that_is_not_ready_yet_is_not_recycled_for_what_it_takes_to_start() -> None:
    one = uses(stage(recycle=RecycleSpec(memory=100 * MB), probed="r"), 101)
    assert one.state is State.RUNNING


def test_what_was_seen_of_another_run_is_stale() -> None:
    one = stage(limits=LimitsSpec(memory=100 * MB))
    assert one.play(Used("a-other", 500 * MB, is_watched=True)).state is State.READY


def test_one_that_is_about_to_leave_is_left_to_it() -> None:
    one = stage(limits=LimitsSpec(memory=100 * MB)).play(Restart("by hand", ("above",)))
    ending = one.service.ending
    assert uses(one, 101).service.ending == ending


def test_a_run_is_recycled_at_the_next_time_of_day_and_its_successor_at_the_one_after() -> None:
    # The stage's wall clock begins at 1,000,000 s: 1970-01-12 13:46:40 UTC; 14:00 is 800 s later.
    one = stage(recycle=RecycleSpec(cron="0 14 * * *"))
    assert one.service.deadline == 800.0
    one.play(Due(), after=100.0)
    assert one.state is State.READY
    one.play(Due(), after=800.0)
    assert one.service.reason == "recycled: at its time of day"
    one.ends(None, "SIGTERM").begins()
    assert one.service.deadline == 800.0 + 86_400.0


def test_age_comes_first_where_it_does() -> None:
    one = stage(recycle=RecycleSpec(cron="0 14 * * *", age=60))
    one.play(Due(), after=100.0)
    assert one.service.reason == "recycled: older than 60 s"
