"""When a start is over, and what is missing then."""

from orchestra_supervisor.cli.shapes import StatusView
from tests.e2e.cli import shapes


def view(*rows: dict[str, object]) -> StatusView:
    return StatusView(shapes.status("/h", list(rows)))


def names(services: list[object]) -> list[str]:
    return [service.name for service in services]  # type: ignore[attr-defined]


def test_services_on_their_way_are_unsettled() -> None:
    rows = [
        shapes.service(state, state)
        for state in ("waiting", "starting", "running", "unhealthy", "backoff", "stopping")
    ]
    assert len(view(*rows, shapes.service("a"), shapes.service("b", "failed")).unsettled()) == 6


def test_a_wanted_service_that_has_not_begun_is_unsettled() -> None:
    rows = [shapes.service("due", "stopped"), shapes.service("off", "stopped", desired="down")]
    assert names(view(*rows).unsettled()) == ["due"]


def test_one_that_waits_for_its_schedule_is_settled_and_well_and_its_dependents_wait_as_long() -> None:
    rows = [
        shapes.service("job", "waiting", next_run=shapes.STARTED + 60),
        shapes.service("web", "waiting", waiting_for=["job"]),
        shapes.service("held", "waiting", next_run=shapes.STARTED, next_start=shapes.STARTED),
        shapes.service("due", "waiting", next_run=shapes.STARTED, waiting_for=["held"]),
    ]
    status = view(*rows)
    assert names(status.unsettled()) == ["held", "due"]
    assert names(status.shortfalls()) == ["web", "held", "due"]


def test_waiting_for_what_will_not_come_is_settled() -> None:
    rows = [
        shapes.service("db", "failed"),
        shapes.service("api", "waiting", waiting_for=["db"]),
        shapes.service("web", "waiting", waiting_for=["api"]),
        shapes.service("off", "stopped", desired="down"),
        shapes.service("needs_off", "waiting", waiting_for=["off"]),
        shapes.service("slow", "starting"),
        shapes.service("later", "waiting", waiting_for=["slow"]),
    ]
    assert names(view(*rows).unsettled()) == ["slow", "later"]


def test_two_that_wait_for_each_other_do_not_hang_the_question() -> None:
    rows = [
        shapes.service("a", "waiting", waiting_for=["b"]),
        shapes.service("b", "waiting", waiting_for=["a"]),
    ]
    assert names(view(*rows).unsettled()) == ["a", "b"]


def test_what_is_missing_is_what_is_wanted_and_not_there() -> None:
    rows = [
        shapes.service("ok"),
        shapes.service("done", "completed"),
        shapes.service("bad", "failed"),
        shapes.service("off", "stopped", desired="down"),
        shapes.service("disabled", "stopped", enabled=False),
    ]
    assert names(view(*rows).shortfalls()) == ["bad"]


def test_the_tally_leaves_out_what_the_configuration_leaves_out() -> None:
    rows = [
        shapes.service("ok"),
        shapes.service("by_hand", "stopped", desired="down", down_reason="operator"),
        shapes.service("off", "stopped", desired="down", down_reason="disabled", enabled=False),
        shapes.service("other", "stopped", desired="down", down_reason="not_selected"),
    ]
    assert view(*rows).tally() == (1, 2)
    some = shapes.status("/h", rows)
    some["services"] = rows[:1]
    assert StatusView(some).tally() == (1, 4), "of all, where only some were asked for"
