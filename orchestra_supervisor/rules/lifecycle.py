"""The lifecycle of a service: one table, every transition.

Theory
------
A service has a *current state* (`State`) and, apart from it, a *desired state* (`Desired`): where it
stands and where it is wanted. A step takes what happened (an `Input`) and returns the new record,
the effects to carry out, and nothing else; it reads no clock and does no I/O.

A service has at most one *run*. A run begins with the `Spawn` effect and is over only with the input
`Gone`, when nothing of its process tree is left: the leader's end (`Exited`) is news, not the end.
So the rule that two runs never overlap is visible here: `begin` is the only place that spawns, and
it is reached only with no run.

While a run is being ended, `Ending` says what follows: stay down, start again, or let the restart
policy decide. A stop may have to wait for dependents (`Ending.after`): then the state stays what it
is, the service counts as leaving (nobody may start on top of it), and `Proceed` begins the stop.

A periodic service has a *plan* besides. Between its planned runs it is idle: `waiting` before the first,
then `completed` or `failed` as the last one went, and `begin` leaves it there. Its deadline is then the
next look at its schedule; what that finds due, `begin` makes a run of (`planning`, `schedule`).

`TABLE` has a rule for every pair of input and state. `_ignore` is written where nothing follows. The
diagram in docs/lifecycle.md is drawn by running this table.
"""

from collections.abc import Callable

from orchestra_supervisor.model.errors import IllegalTransition
from orchestra_supervisor.model.report import ExitReport
from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.rules.due import due_while_stopping, due_while_up, due_without_run, run_now
from orchestra_supervisor.rules.graph import LEAVING
from orchestra_supervisor.rules.inputs import (
    Ack,
    Boot,
    Called,
    Dependencies,
    Due,
    Emit,
    Exited,
    Gone,
    Hung,
    Input,
    ListenFailed,
    Notified,
    Probed,
    ProbeSaw,
    Proceed,
    Remember,
    Respec,
    Restart,
    RunNow,
    Spawned,
    SpawnRefused,
    Start,
    Stop,
    Stuck,
    Used,
)
from orchestra_supervisor.rules.moves import (
    Step,
    after_run,
    begin,
    end,
    enter,
    enter_running,
    settle_down,
    take,
)
from orchestra_supervisor.rules.notified import called, listen_failed, notified
from orchestra_supervisor.rules.planning import admit, keep_time, with_plan
from orchestra_supervisor.rules.records import replace
from orchestra_supervisor.rules.restart import is_success
from orchestra_supervisor.rules.service import Ending, Moment, Service, Then
from orchestra_supervisor.rules.usage import used
from orchestra_supervisor.rules.verdicts import hung, probe_saw, probed, unprobed

__all__ = ["TABLE", "step"]


Rule = Callable[[Service, Input, Moment], Step]


def step(service: Service, event: Input, now: Moment) -> Step:
    """Return the service after `event`, with the effects to carry out in order.

    Raises:
        IllegalTransition: The table lacks the pair, which a test shows to be impossible.
    """
    if isinstance(event, Dependencies) and event.unmet != service.unmet:
        service = replace(service, unmet=event.unmet)
    try:
        rule = TABLE[type(event)][service.state]
    except KeyError as error:
        msg = f"no rule for {type(event).__name__} in state {service.state}"
        raise IllegalTransition(msg, hint="please report this with the journal") from error
    return rule(service, event, now)


# Rules, by input.


def _ignore(service: Service, event: Input, now: Moment) -> Step:
    del event, now
    return Step(service)


def _boot(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, Boot)
    if event.down_reason is not DownReason.NONE:
        service = replace(service, desired=Desired.DOWN, down_reason=event.down_reason)
        return settle_down(service, now)
    delay = service.spec.start_delay
    service = replace(service, desired=Desired.UP, next_start=now.mono + delay if delay else None)
    kept = keep_time(with_plan(service, now, event.reached), now)
    service, schedule, plan = kept.service, kept.service.spec.schedule, kept.service.plan
    if schedule is not None and plan is not None and schedule.on_start and not plan.waiting:
        service = admit(service, (now.wall,)).service
    begun = begin(service, now)
    return Step(begun.service, (*kept.effects, *begun.effects))


def _start_from_rest(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, Start)
    service = replace(
        service,
        # What came due while it was not wanted was not missed.
        plan=service.plan if service.desired is Desired.UP else None,
        desired=Desired.UP,
        down_reason=DownReason.NONE,
        attempts=0,
        failed_starts=0,
        recent=(),
        next_start=None,
        called=True,
    )
    return begin(service, now, event.why)


def _start_while_stopping(service: Service, event: Input, now: Moment) -> Step:
    del now
    assert isinstance(event, Start)
    assert service.ending is not None
    # Also where policy would decide: whoever asks for it now wants it up, whatever policy says of the run.
    ending = replace(service.ending, then=Then.AGAIN, failed=False)
    service = replace(service, desired=Desired.UP, down_reason=DownReason.NONE, ending=ending)
    return Step(replace(service, attempts=0, failed_starts=0, recent=(), next_start=None))


def _start_while_up(service: Service, event: Input, now: Moment) -> Step:
    """Already up: nothing to do, unless it is about to leave for good; then it stays."""
    assert isinstance(event, Start)
    if service.ending is None or service.ending.then is not Then.DOWN:
        return Step(service)
    service = replace(service, desired=Desired.UP, down_reason=DownReason.NONE, ending=None)
    service = enter(service, service.state, event.why or "stays up", now)
    # What was lost while it was leaving was nobody's concern; now it is, also where it is back.
    return _dependencies_while_up(service, Dependencies(service.unmet), now)


def _stop_at_rest(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, Stop)
    service = replace(service, desired=Desired.DOWN, down_reason=event.down_reason)
    if service.state in {State.COMPLETED, State.FAILED} and event.down_reason is DownReason.SHUTDOWN:
        return Step(service)  # the last word on it stays visible while the fleet goes down
    return settle_down(service, now)


def _stop_while_up(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, Stop)
    service = replace(service, desired=Desired.DOWN, down_reason=event.down_reason)
    return end(service, Ending(Then.DOWN, event.why or "stopping", after=event.after), now)


def _stop_while_stopping(service: Service, event: Input, now: Moment) -> Step:
    del now
    assert isinstance(event, Stop)
    ending = replace(service.ending or Ending(Then.DOWN, "stopping"), then=Then.DOWN, failed=False, after=())
    return Step(replace(service, desired=Desired.DOWN, down_reason=event.down_reason, ending=ending))


def _restart_while_up(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, Restart)
    assert service.run is not None
    if event.unless and event.unless == service.run.digest and service.ending is None:
        return Step(service)
    service = replace(service, desired=Desired.UP, down_reason=DownReason.NONE)
    service = replace(service, attempts=0, failed_starts=0, recent=())
    return end(service, Ending(Then.AGAIN, event.why or "restarting", after=event.after), now)


def _restart_while_stopping(service: Service, event: Input, now: Moment) -> Step:
    del event, now
    assert service.ending is not None
    ending = replace(service.ending, then=Then.AGAIN, failed=False)
    service = replace(service, desired=Desired.UP, down_reason=DownReason.NONE, ending=ending)
    return Step(replace(service, attempts=0, failed_starts=0, recent=(), next_start=None))


def _restart_from_rest(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, Restart)
    if service.listening:
        return begin(service, now)  # it waits on, with the sockets that are configured now
    if service.desired is Desired.DOWN and service.down_reason is DownReason.DEMAND:
        return Step(service)  # it rests on, until somebody asks for it
    return _start_from_rest(service, Start(event.why), now)


def _proceed(service: Service, event: Input, now: Moment) -> Step:
    del event
    if service.ending is None:
        return Step(service)
    return end(service, replace(service.ending, after=()), now)


def _dependencies_while_waiting(service: Service, event: Input, now: Moment) -> Step:
    del event
    return begin(service, now)


def _dependencies_while_up(service: Service, event: Input, now: Moment) -> Step:
    del event
    if not service.unmet:
        if not service.refresh or service.ending is not None:
            return Step(service)
        return end(service, Ending(Then.AGAIN, "restarting: a dependency came back"), now)
    gone = [(name, state) for name, state in service.unmet if state != LEAVING]
    actions = {service.spec.depends_on[name].on_failure for name, _ in gone}
    if "stop" in actions and service.ending is None:
        lost = ", ".join(f"{name} ({state})" for name, state in gone)
        return end(service, Ending(Then.AGAIN, f"stopping: lost {lost}"), now)
    if service.refresh or not actions & {"restart", "stop"}:
        return Step(service)  # else, of one that leaves: should it stay after all, it answers for that
    return Step(replace(service, refresh=True), (Remember(),))


def _dependencies_in_backoff(service: Service, event: Input, now: Moment) -> Step:
    del event, now
    return Step(service)  # looked at again when the backoff is over


def _spawned(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, Spawned)
    run = service.run
    if run is None or run.id != event.run or run.pid is not None:
        return Step(service)
    run = replace(run, pid=event.pid, ordered_mono=event.started_mono, ordered_wall=event.started_wall)
    service = replace(service, run=run)
    emit = Emit("service.spawned", f"pid {event.pid}", (("pid", event.pid),))
    if service.state is State.STOPPING or service.spec.says_started:
        return Step(service, (emit,))
    if service.spec.start is not None and service.spec.start.after > 0:
        return Step(service, (emit,))  # until it has lasted that long
    after = enter_running(service, now)
    return Step(after.service, (emit, *after.effects))


def _spawn_refused(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, SpawnRefused)
    if not service.is_current(event.run):
        return Step(service)
    text = f"could not start: {event.message} ({event.stage})"
    last = ExitReport(code=None, signal=None, at_wall=now.wall, success=False, text=text)
    data = (("stage", event.stage), ("errno", event.errno))
    emit = Emit("service.spawn_failed", text, data)
    after = after_run(replace(service, exit=last), now, lasted=0.0, success=False)
    return Step(after.service, (emit, *after.effects))


def _exited(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, Exited)
    run = service.run
    if run is None or run.id != event.run or run.leader_ended:
        return Step(service)
    success = is_success(service.spec.restart, event.code)
    text = _exit_text(event)
    last = ExitReport(event.code, event.signal, event.at_wall, success, text)
    service = replace(service, exit=last, run=replace(run, leader_ended=True, ended_mono=event.at_mono))
    data = (
        ("code", event.code),
        ("signal", event.signal),
        ("remaining", event.remaining),
        ("success", success),
        ("state", service.state.value),
        ("pid", run.pid),
    )
    emit = Emit("service.exited", text, data)
    if service.state is State.STOPPING or not event.remaining:
        return Step(service, (emit,))
    ending = replace(service.ending or Ending(Then.POLICY, text), after=())
    left = "1 process" if event.remaining == 1 else f"{event.remaining} processes"
    ended = end(service, ending, now, f"{text}; stopping {left} it left")
    return Step(ended.service, (emit, *ended.effects))


def _exit_text(event: Exited) -> str:
    if event.signal is not None:
        return f"killed by {event.signal}" + (": out of memory" if event.out_of_memory else "")
    return "exit status unknown" if event.code is None else f"exit code {event.code}"


def _gone(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, Gone)
    run = service.run
    if run is None or run.id != event.run:
        return Step(service, (Ack(event.run),))
    failed = service.ending is not None and service.ending.failed
    success = service.exit is not None and service.exit.success and not failed
    lasted = max(0.0, (run.ended_mono or now.mono) - run.ordered_mono)
    if event.next:
        taken = take(service, now, event.next, lasted=lasted, success=success)
        return Step(taken.service, (*taken.effects, Ack(event.run)))
    after = after_run(service, now, lasted=lasted, success=success)
    return Step(after.service, (*after.effects, Ack(event.run)))


def _stuck(service: Service, event: Input, now: Moment) -> Step:
    del now
    assert isinstance(event, Stuck)
    if not service.is_current(event.run):
        return Step(service)
    pids = ", ".join(str(pid) for pid in event.pids)
    text = f"SIGKILL was sent and these processes are still there: {pids}"
    return Step(replace(service, reason=text), (Emit("service.stuck", text, (("pids", event.pids),)),))


def _respec(service: Service, event: Input, now: Moment) -> Step:
    assert isinstance(event, Respec)
    service = replace(service, spec=event.spec)
    if event.spec.schedule is None:
        service = replace(service, plan=None, last=None)
    else:
        service = replace(service, look=0.0)
    return unprobed(service, now)


_REST = (State.STOPPED, State.COMPLETED, State.FAILED)
_UP = (State.STARTING, State.RUNNING, State.READY, State.UNHEALTHY)
_HELD = (State.WAITING, State.BACKOFF)


def _row(*groups: tuple[tuple[State, ...], Rule]) -> dict[State, Rule]:
    row = {state: rule for states, rule in groups for state in states}
    assert set(row) == set(State), f"states without a rule: {set(State) - set(row)}"
    return row


_STOPPING = (State.STOPPING,)
_WAITING = (State.WAITING,)
_BACKOFF = (State.BACKOFF,)
_WITH_RUN = (*_UP, *_STOPPING)
_NO_RUN = (*_REST, *_HELD)
_ALL = (*_NO_RUN, *_WITH_RUN)

TABLE: dict[type[Input], dict[State, Rule]] = {
    Boot: _row(((State.STOPPED,), _boot), ((State.COMPLETED, State.FAILED, *_HELD, *_WITH_RUN), _ignore)),
    Start: _row(
        (_REST, _start_from_rest),
        (_BACKOFF, _start_from_rest),
        (_WAITING, _start_from_rest),
        (_UP, _start_while_up),
        (_STOPPING, _start_while_stopping),
    ),
    Stop: _row((_NO_RUN, _stop_at_rest), (_UP, _stop_while_up), (_STOPPING, _stop_while_stopping)),
    Restart: _row(
        (_NO_RUN, _restart_from_rest),
        (_UP, _restart_while_up),
        (_STOPPING, _restart_while_stopping),
    ),
    RunNow: _row((_ALL, run_now)),
    Proceed: _row((_UP, _proceed), (_NO_RUN, _ignore), (_STOPPING, _ignore)),
    Dependencies: _row(
        (_WAITING, _dependencies_while_waiting),
        (_UP, _dependencies_while_up),
        (_BACKOFF, _dependencies_in_backoff),
        ((*_REST, *_STOPPING), _ignore),
    ),
    Spawned: _row(((State.STARTING, State.STOPPING), _spawned), ((*_NO_RUN, *_UP[1:]), _ignore)),
    SpawnRefused: _row((_WITH_RUN, _spawn_refused), (_NO_RUN, _ignore)),
    Exited: _row((_WITH_RUN, _exited), (_NO_RUN, _ignore)),
    Gone: _row((_ALL, _gone)),
    Notified: _row((_WITH_RUN, notified), (_NO_RUN, _ignore)),
    Called: _row((_WAITING, called), ((*_REST, *_BACKOFF, *_WITH_RUN), _ignore)),
    ListenFailed: _row((_WAITING, listen_failed), ((*_REST, *_BACKOFF, *_WITH_RUN), _ignore)),
    Used: _row((_UP, used), ((*_NO_RUN, *_STOPPING), _ignore)),
    Hung: _row((_UP, hung), ((*_NO_RUN, *_STOPPING), _ignore)),
    Stuck: _row((_WITH_RUN, _stuck), (_NO_RUN, _ignore)),
    Due: _row((_NO_RUN, due_without_run), (_UP, due_while_up), (_STOPPING, due_while_stopping)),
    Probed: _row((_UP, probed), ((*_NO_RUN, *_STOPPING), _ignore)),
    ProbeSaw: _row((_UP, probe_saw), ((*_NO_RUN, *_STOPPING), _ignore)),
    Respec: _row((_ALL, _respec)),
}
