"""A service on a stage: one is made, things happen to it, and every step is held to the laws."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestra_supervisor.model.schedule import ScheduleSpec
from orchestra_supervisor.model.spec import (
    DependencySpec,
    ProbeSet,
    ProbeSpec,
    RestartSpec,
    ServiceSpec,
    TcpCheck,
)
from orchestra_supervisor.model.states import ALIVE_STATES, Desired, DownReason, Kind, State
from orchestra_supervisor.rules.inputs import (
    Ack,
    Boot,
    Effect,
    Emit,
    Exited,
    Gone,
    Input,
    Spawn,
    Spawned,
    StopRun,
    Took,
)
from orchestra_supervisor.rules.lifecycle import step
from orchestra_supervisor.rules.schedule import Clocks
from orchestra_supervisor.rules.service import Moment, Service, is_told_by_clock, to_report

__all__ = ["PROBE", "Stage", "check_service", "check_step", "moment", "probes", "spec_of"]

PROBE = ProbeSpec(check=TcpCheck(port=1))


def probes(names: str) -> ProbeSet:
    """Return the probes whose first letters are named."""
    return ProbeSet(
        startup=PROBE if "s" in names else None,
        readiness=PROBE if "r" in names else None,
        liveness=PROBE if "l" in names else None,
    )


def spec_of(
    name: str = "a",
    *,
    kind: Kind = Kind.DAEMON,
    schedule: ScheduleSpec | None = None,
    needs: Sequence[str] = (),
    probed: str = "",
    restart: RestartSpec | None = None,
    startup_timeout: float = 60.0,
    start_delay: float = 0.0,
    depends_on: dict[str, DependencySpec] | None = None,
    **equipment: Any,
) -> ServiceSpec:
    return ServiceSpec(
        **equipment,
        name=name,
        argv=("x",),
        cwd="/",
        kind=kind if schedule is None else Kind.PERIODIC,
        schedule=schedule,
        depends_on=depends_on or {need: DependencySpec() for need in needs},
        probes=probes(probed),
        restart=restart or RestartSpec(),
        startup_timeout=startup_timeout,
        start_delay=start_delay,
    )


def moment(at: float = 0.0, number: int = 0) -> Moment:
    return Moment(at, 1_000_000.0 + at, f"a-{number:012x}")


def check_service(service: Service) -> None:
    """Hold a service to what is true of it at any time."""
    assert (service.run is not None) is (service.state in ALIVE_STATES), service
    ending = service.ending
    if service.state is State.STOPPING:
        assert ending is not None, "what follows a stop is known"
        assert not ending.after, "a stop that has begun waits for nobody"
    elif ending is not None:
        assert ending.after, "an ending that waits for nobody begins at once"
        assert service.run is not None
    if service.state is State.READY or service.state is State.UNHEALTHY:
        assert service.run is not None
        assert service.run.was_ready
        assert service.run.pid is not None
    if service.state is State.BACKOFF or (service.state is State.WAITING and not service.unmet):
        assert service.deadline is not None or service.listening, "nothing else would ever wake it"
    assert not service.listening or service.state is State.WAITING
    if service.desired is Desired.DOWN and service.run is None:
        kept = service.down_reason is DownReason.SHUTDOWN and service.state in {State.COMPLETED, State.FAILED}
        assert service.state is State.STOPPED or kept, service
    if service.desired is Desired.DOWN and service.state is State.STOPPING:
        assert ending is not None
        assert ending.then == "down", "what is wanted down is not started again"
    later = Clocks(1e9, 2e9)
    assert is_told_by_clock(service) or to_report(service, Clocks(0.0, 0.0)) == to_report(service, later)


def check_step(before: Service, event: Input, after: Service, effects: tuple[Effect, ...]) -> None:
    """Hold a step to what no step may do."""
    check_service(after)
    spawns = [effect.run for effect in effects if isinstance(effect, Spawn)]
    stops = [effect.run for effect in effects if isinstance(effect, StopRun)]
    acks = [effect.run for effect in effects if isinstance(effect, Ack)]
    took = [(effect.before, effect.run) for effect in effects if isinstance(effect, Took)]
    is_followed = isinstance(event, Gone) and event.next != "" and before.is_current(event.run)
    assert took == ([(event.run, event.next)] if is_followed else []), "what follows is taken over"
    if took:
        assert after.is_current(took[0][1])
        assert not spawns, "another is there already"
    assert len(spawns) <= 1
    if spawns:
        ends = type(event).__name__ in {"Gone", "SpawnRefused"}
        assert before.run is None or ends, "a run is spawned beside another"
        assert after.run is not None
        assert after.run.id == spawns[0]
        assert after.state is State.STARTING
        assert not after.unmet, "a run is spawned on top of what is missing"
        assert after.desired is Desired.UP
    if stops:
        assert before.run is not None
        assert stops == [took[0][1] if took else before.run.id], "a stop is for the present run alone"
        assert after.state is State.STOPPING
    if isinstance(event, Gone):
        assert acks == [event.run], "whatever is gone is acknowledged, or the keeper holds it for ever"
    else:
        assert acks == [], "nothing is acknowledged before it is gone"
    if (
        before.run is not None
        and after.run is not before.run
        and before.run.id != getattr(after.run, "id", "")
    ):
        assert getattr(event, "run", None) == before.run.id, "a run is let go of only by news of its end"


@dataclass
class Stage:
    """Plays inputs to one service, one second apart unless told otherwise."""

    service: Service
    at: float = 0.0
    count: int = 0
    effects: tuple[Effect, ...] = ()
    spawned: list[str] = field(default_factory=list[str])

    def play(self, *events: Input, after: float = 1.0) -> "Stage":
        """Apply inputs; the effects of the last one stay to be looked at."""
        for event in events:
            self.at += after
            self.count += 1
            before = self.service
            result = step(before, event, moment(self.at, self.count))
            check_step(before, event, result.service, result.effects)
            self.service, self.effects = result.service, result.effects
            self.spawned += [effect.run for effect in result.effects if isinstance(effect, Spawn)]
        return self

    @property
    def run(self) -> str:
        assert self.service.run is not None
        return self.service.run.id

    @property
    def state(self) -> State:
        return self.service.state

    @property
    def orders(self) -> list[str]:
        """The kinds of the last effects, events aside."""
        return [type(effect).__name__ for effect in self.effects if not isinstance(effect, Emit)]

    @property
    def told(self) -> dict[str, str]:
        """The events of the last step, by kind."""
        return {effect.kind: effect.message for effect in self.effects if isinstance(effect, Emit)}

    def up(self) -> "Stage":
        """Boot it and let the program begin."""
        self.play(Boot(DownReason.NONE))
        return self.begins()

    def begins(self) -> "Stage":
        return self.play(Spawned(self.run, 42, self.at, self.at))

    def ends(self, code: int | None = 0, signal: str | None = None, *, after: float = 1.0) -> "Stage":
        """Let the leader end with nothing left."""
        run = self.run
        self.play(Exited(run, code, signal, self.at + after, 0.0, 0), after=after)
        return self.play(Gone(run), after=0.0)
