"""Draws the lifecycle by running its table: every service that can come to be, with all that can befall it.

`python -m orchestra_supervisor.rules.diagram > docs/lifecycle.md` writes the page anew; a test compares it.
"""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestra_supervisor.model.equipment import LimitsSpec, RecycleSpec, SocketSpec
from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import (
    DependencySpec,
    ProbeSet,
    ProbeSpec,
    RestartSpec,
    ServiceSpec,
    TcpCheck,
)
from orchestra_supervisor.model.states import Desired, DownReason, Kind, State
from orchestra_supervisor.rules.graph import LEAVING
from orchestra_supervisor.rules.health import active_probes
from orchestra_supervisor.rules.inputs import (
    Ack,
    Boot,
    Called,
    Dependencies,
    Due,
    Effect,
    Emit,
    Exited,
    Gone,
    Hung,
    Input,
    Listen,
    ListenFailed,
    Notified,
    Probed,
    ProbeSaw,
    Proceed,
    Remember,
    Respec,
    Restart,
    RunNow,
    Spawn,
    Spawned,
    SpawnRefused,
    Start,
    Stop,
    StopRun,
    Stuck,
    Unlisten,
    Used,
)
from orchestra_supervisor.rules.lifecycle import step
from orchestra_supervisor.rules.service import Moment, Service

__all__ = ["Transition", "explore", "possible_inputs", "render"]

_PROBE = ProbeSpec(check=TcpCheck(port=1))
_SHORT: float = 1.0
_LONG: float = 1000.0  # longer than stable_after and the restart window


@dataclass(frozen=True, slots=True)
class Transition:
    """One step that can happen: the service before, what happened and when, and what came of it."""

    before: Service
    event: Input
    now: Moment
    after: Service
    effects: tuple[Effect, ...]


def _specs() -> Iterator[ServiceSpec]:
    """Return services that differ in what the rules look at."""
    probed = ProbeSet(startup=_PROBE, readiness=_PROBE, liveness=_PROBE)
    yield ServiceSpec(
        name="s",
        argv=("x",),
        cwd="/",
        depends_on={
            "kept": DependencySpec(on_failure="keep"),
            "stops": DependencySpec(on_failure="stop"),
            "restarts": DependencySpec(on_failure="restart"),
        },
        probes=probed,
        restart=RestartSpec(max_restarts=2),
    )
    yield ServiceSpec(
        name="s", argv=("x",), cwd="/", start_delay=5.0, restart=RestartSpec(policy="always", max_restarts=1)
    )
    yield ServiceSpec(
        name="s", argv=("x",), cwd="/", kind=Kind.ONCE, restart=RestartSpec(policy="never", max_restarts=0)
    )
    yield ServiceSpec(
        name="s",
        argv=("x",),
        cwd="/",
        notify=True,
        watchdog=1.0,
        recycle=RecycleSpec(age=_LONG, memory=2**20),
        limits=LimitsSpec(memory=2**21),
        restart=RestartSpec(max_restarts=1),
    )
    yield ServiceSpec(
        name="s",
        argv=("x",),
        cwd="/",
        sockets=(SocketSpec(name="http", host="127.0.0.1", port=1),),
        start_on="connection",
        depends_on={"kept": DependencySpec()},
        restart=RestartSpec(max_restarts=1),
    )
    yield ServiceSpec(name="s", argv=("x",), cwd="/", start_on="demand", restart=RestartSpec(max_restarts=1))
    for overlap in ("skip", "queue", "replace"):
        yield ServiceSpec(
            name="s",
            argv=("x",),
            cwd="/",
            kind=Kind.PERIODIC,
            schedule=ScheduleSpec(every=_LONG, overlap=overlap),
            depends_on={"kept": DependencySpec()} if overlap == "queue" else {},
            restart=RestartSpec(policy="on-failure" if overlap == "replace" else "never", max_restarts=1),
        )


def possible_inputs(service: Service) -> Iterator[Input]:
    """Yield what can happen to a service as it stands, by the promises of the keeper and the engine."""
    yield from (Start("by hand"), Stop(DownReason.OPERATOR, "by hand"), Stop(DownReason.SHUTDOWN, "down"))
    yield from (Stop(DownReason.OPERATOR, "by hand", ("above",)), Restart("by hand"))
    yield Restart("by hand", ("above",))
    if service.spec.start_on == "demand":
        yield Stop(DownReason.DEMAND, "idle")
    yield Respec(service.spec.model_copy(update={"probes": ProbeSet()}))
    if (
        service.state is State.STOPPED
        and service.desired is Desired.DOWN
        and service.exit is service.last is None
    ):
        yield from (Boot(DownReason.NONE), Boot(DownReason.DISABLED))
        if service.spec.start_on == "demand":
            yield Boot(DownReason.DEMAND)
    if service.spec.depends_on:
        yield from (Dependencies(()), Dependencies((("stops", LEAVING),)))
        yield from (Dependencies(((name, "failed"),)) for name in service.spec.depends_on)
    if service.deadline is not None:
        yield Due()
    if service.plan is not None:
        yield RunNow(0.0)
    if service.ending is not None and service.ending.after:
        yield Proceed()
    if service.listening:
        yield from (Called("http"), ListenFailed("Address already in use"))
    yield Gone("stale")
    yield from _news(service)


def _news(service: Service) -> Iterator[Input]:
    run = service.run
    if run is None:
        return
    for kind in active_probes(service):
        yield from (Probed(run.id, kind, passed, "refused") for passed in (True, False))
        yield ProbeSaw(run.id, "refused")
    if service.state is State.STOPPING:
        yield Stuck(run.id, (1,))
    if run.leader_ended:
        yield Gone(run.id)
    elif run.pid is None:
        yield Spawned(run.id, 1, run.ordered_mono, 0.0)
        yield SpawnRefused(run.id, "exec", 2, "No such file")
    else:
        yield Hung(run.id, "does not answer")
        if service.spec.notify:
            at = run.ordered_mono + _SHORT
            words = (("READY", "1"), ("STATUS", "x"), ("WATCHDOG", "1"), ("WATCHDOG", "trigger"))
            for key, value in words:
                yield Notified(run.id, ((key, value),), at if key == "WATCHDOG" else None, at)
        if service.spec.limits.memory is not None:
            yield from (Used(run.id, size, is_watched=True) for size in (1, 2**20 + 1, 2**21 + 1))
        ended = run.ordered_mono + _SHORT
        yield from (Exited(run.id, 0, None, ended, 0.0, 0), Exited(run.id, 0, None, ended, 0.0, 2))
        yield from (Exited(run.id, 1, None, ended, 0.0, 0), Exited(run.id, None, "SIGSEGV", ended, 0.0, 2))
        yield Exited(run.id, 1, None, run.ordered_mono + _LONG, 0.0, 0)


def _key(service: Service) -> tuple[object, ...]:
    """Return what the next decision can depend on, counts and instants told apart as far as they matter."""
    run, ending = service.run, service.ending
    last = service.exit if run is not None and run.leader_ended else None
    plan = service.plan
    return (
        repr(service.spec),  # it holds dicts and cannot be hashed
        service.state,
        service.desired,
        service.desired is Desired.DOWN and service.down_reason is DownReason.DEMAND,
        run and (run.pid is None, run.leader_ended, run.was_ready),
        ending and (ending.then, ending.failed, ending.after),
        service.unmet,
        service.refresh,
        service.attempts > 0,
        len(service.recent) == service.spec.restart.max_restarts,
        service.next_start is None,
        last and last.success,
        service.listening,
        service.called,
        service.beat is None,
        plan and (plan.current is None, len(plan.waiting)),
        service.last and service.last.success,
    )


def explore() -> Iterator[Transition]:
    """Yield every step that can happen, beginning with services that nothing has happened to."""
    seen: set[tuple[object, ...]] = set()
    todo = deque((Service(spec), 0.0) for spec in _specs())
    count = 0
    while todo:
        service, at = todo.popleft()
        key = _key(service)
        if key in seen:
            continue
        seen.add(key)
        for event in possible_inputs(service):
            count += 1
            when = max(at, service.deadline or 0.0) if isinstance(event, Due) else at + _SHORT
            if isinstance(event, Exited):
                when = max(when, event.at_mono)
            now = Moment(when, 0.0, f"s-{count:012x}")
            result = step(service, event, now)
            yield Transition(service, event, now, result.service, result.effects)
            todo.append((result.service, when))


# The page.

_HEAD = """# The lifecycle of a service

Generated by `python -m orchestra_supervisor.rules.diagram > docs/lifecycle.md`, which runs the table of
`orchestra_supervisor/rules/lifecycle.py` over every service that can come to be. A test compares.

A service has a state, where it stands, and apart from it a desired state, where it is wanted. It has at most
one run; a run begins with the order to spawn it and is over with `Gone`, when nothing of its process tree
is left. What happens between is an input; what follows is written below.
"""

_MEANINGS: dict[type[Input], str] = {
    Boot: "the fleet starts",
    Start: "somebody wants it up",
    Stop: "somebody wants it down, perhaps after its dependents",
    Restart: "somebody wants a new run, perhaps after its dependents are down",
    RunNow: "somebody wants a run of a periodic service now",
    Proceed: "the dependents that a stop waited for are down",
    Dependencies: "what its dependencies do not meet has changed",
    Spawned: "the keeper: the program runs",
    SpawnRefused: "the keeper: no process came to be (stage, errno)",
    Exited: "the keeper: the leader ended",
    Gone: "the keeper: nothing of the run is left",
    Hung: "somebody who talks with the run has found that it does not answer",
    Stuck: "the keeper: SIGKILL was sent and something is still there",
    Notified: "the keeper: the run said something of itself (READY, WATCHDOG, STATUS, ...)",
    Called: "the keeper: a connection came to a socket of it",
    ListenFailed: "the keeper: its sockets could not be opened",
    Used: "the memory of the run was looked at",
    Due: "its deadline has come: a delay, backoff, startup timeout, watchdog, age, a look at its schedule",
    Probed: "a probe's verdict, thresholds counted",
    ProbeSaw: "a probe failed with new words; no verdict changed",
    Respec: "the configuration changed in ways that need no new run",
}

_ORDERS: dict[type[Effect], str] = {
    Spawn: "spawn",
    StopRun: "stop the run",
    Ack: "acknowledge",
    Remember: "note it",
    Listen: "listen",
    Unlisten: "close its sockets",
    Emit: "",
}


def render() -> str:
    """Return the page: a Mermaid diagram, the inputs, and a table of what leads where."""
    leads: dict[tuple[State, type[Input]], set[State]] = {}
    orders: dict[tuple[State, type[Input]], set[str]] = {}
    for one in explore():
        pair = (one.before.state, type(one.event))
        leads.setdefault(pair, set()).add(one.after.state)
        orders.setdefault(pair, set()).update(_ORDERS[type(effect)] for effect in one.effects)
    return "\n".join([_HEAD, *_mermaid(leads), "", *_glossary(), "", *_table(leads, orders), ""])


def _mermaid(leads: dict[tuple[State, type[Input]], set[State]]) -> Iterator[str]:
    yield from ("```mermaid", "stateDiagram-v2", "    [*] --> stopped")
    for before in State:
        for after in State:
            if before is after:
                continue
            why = [kind.__name__ for kind in _MEANINGS if after in leads.get((before, kind), ())]
            if why:
                yield f"    {before} --> {after}: {', '.join(why)}"
    yield "```"


def _glossary() -> Iterator[str]:
    yield from ("| input | what has happened |", "|---|---|")
    yield from (f"| `{kind.__name__}` | {meaning} |" for kind, meaning in _MEANINGS.items())


def _table(
    leads: dict[tuple[State, type[Input]], set[State]], orders: dict[tuple[State, type[Input]], set[str]]
) -> Iterator[str]:
    yield "Pairs that are not listed change nothing: the input is of no concern then, or cannot come."
    yield from ("", "| state | input | may lead to | may order |", "|---|---|---|---|")
    for before in State:
        for kind in _MEANINGS:
            pair = (before, kind)
            others = leads.get(pair, set()) - {before}
            given = orders.get(pair, set()) - {""}
            if not others and not given:
                continue
            stays = [f"{before} (stays)"] if before in leads[pair] else []
            targets = ", ".join([*stays, *_in_order(others)])
            yield f"| {before} | `{kind.__name__}` | {targets} | {', '.join(sorted(given))} |"


def _in_order(states: Iterable[State]) -> list[str]:
    wanted = set(states)
    return [state.value for state in State if state in wanted]


if __name__ == "__main__":
    sys.stdout.write(render())
