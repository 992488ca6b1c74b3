from orchestra_supervisor.model.spec import RestartSpec
from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.rules.inputs import Boot, Exited, Gone, ProbeSaw, Stop
from orchestra_supervisor.rules.service import Run, Service, to_report
from tests.unit.rules.stage import Stage, moment, spec_of


def test_a_report_says_what_runs() -> None:
    spec = spec_of(probed="r", needs=["db"]).model_copy(
        update={"port": 8000, "url": "http://x/", "title": "T"}
    )
    stage = Stage(Service(spec)).up()
    stage.play(ProbeSaw(stage.run, "refused"))
    report = to_report(stage.service, moment(stage.at).clocks)
    assert (report.name, report.title, report.state, report.pid, report.run) == (
        "a",
        "T",
        State.RUNNING,
        42,
        stage.run,
    )
    assert (report.port, report.url, report.depends_on, report.probe_error) == (
        8000,
        "http://x/",
        ("db",),
        "refused",
    )
    assert (report.waiting_for, report.next_start, report.exit) == ((), None, None)


def test_a_report_has_no_pid_once_the_leader_has_ended() -> None:
    stage = Stage(Service(spec_of())).up()
    run = stage.run
    stage.play(Exited(run, 3, None, stage.at, 50.0, 1))
    report = to_report(stage.service, moment(stage.at).clocks)
    assert (report.pid, report.run) == (None, run)
    assert report.exit is not None
    assert (report.exit.code, report.exit.text, report.exit.at_wall) == (3, "exit code 3", 50.0)


def test_a_report_says_what_is_waited_for_and_when_the_next_start_is_due() -> None:
    waiting = Stage(Service(spec_of(needs=["db"]), unmet=(("db", "failed"),))).play(Boot(DownReason.NONE))
    report = to_report(waiting.service, moment(waiting.at).clocks)
    assert (report.waiting_for, report.next_start) == (("db",), None)
    never_jitter = RestartSpec()
    crashing = Stage(Service(spec_of(restart=never_jitter))).up().ends(1).begins().ends(1)
    assert crashing.state is State.BACKOFF
    report = to_report(crashing.service, moment(crashing.at).clocks)
    assert report.next_start is not None
    assert 0.5 <= report.next_start - (1_000_000.0 + crashing.at) <= 0.55
    late = to_report(crashing.service, moment(crashing.at + 100).clocks)
    assert late.next_start == 1_000_000.0 + crashing.at + 100, "a start that is overdue is due now"


def test_a_report_is_ready_for_json() -> None:
    stage = Stage(Service(spec_of())).up().play(Stop(DownReason.OPERATOR))
    stage.play(Gone(stage.run))
    body = to_report(stage.service, moment().clocks).to_dict()
    assert body["down_reason"] == "operator"
    assert body["state"] == "stopped"
    assert body["tags"] == ()


def test_the_startup_deadline_begins_when_the_program_does() -> None:
    service = Service(
        spec_of(probed="r", startup_timeout=10.0), state=State.RUNNING, run=Run("a-0", 5.0, 0.0, 1)
    )
    assert service.deadline == 15.0
    assert Service(spec_of(startup_timeout=10.0), state=State.RUNNING, run=service.run).deadline is None
    no_limit = spec_of(probed="r", startup_timeout=0.0)
    assert Service(no_limit, state=State.RUNNING, run=service.run).deadline is None
