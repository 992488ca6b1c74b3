"""Rolling restarts: one replica after the other, and never more of them away at once than was said.

A roll is a value. It says who has yet to have its turn, whose turn it is and which run that one is to
replace, and who is through; what becomes of it follows from that and from how the services stand.
So a daemon that comes in the middle of one goes on by looking, whatever the last one had still done:
it orders again what shows no sign of having been ordered.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import Desired, State
from orchestra_supervisor.rules.fleet import STEADY
from orchestra_supervisor.rules.service import Service

__all__ = [
    "Advance",
    "Roll",
    "Turn",
    "advance",
    "available_at",
    "is_available",
    "patience_of",
    "roll_from_note",
    "roll_to_note",
]

_UNLIMITED = 60.0
"""Seconds that a run without a startup timeout is given to become ready."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One replica that is being restarted.

    Attributes:
        name: Of the service.
        before: The run that another one is to replace; empty where there was none.
        deadline: Instant by which the other one is ready.
        limit: Seconds from the order to the deadline, for people.
        is_ordered: This daemon has ordered it; what an earlier one did shows in the service.
    """

    name: str
    before: str
    deadline: float
    limit: float
    is_ordered: bool = False


@dataclass(frozen=True, slots=True)
class Roll:
    """A rolling restart of one name.

    Attributes:
        group: The name.
        why: For people and for the services' reasons.
        batch: How many may be away at once.
        todo: Those whose turn is to come, in order.
        turns: Those whose turn it is.
        done: Those that are ready again.
        waits_until: Instant by which somebody who is not to be restarted has to be ready, or None.
        failed: Who stopped it; empty while it goes on and when it went well.
        words: What was wrong with that one.
        update: Digest of the configuration that it brings (`updates.update_digest`); empty: the present one.
    """

    group: str
    why: str
    batch: int
    todo: tuple[str, ...]
    turns: tuple[Turn, ...] = ()
    done: tuple[str, ...] = ()
    waits_until: float | None = None
    failed: str = ""
    words: str = ""
    update: str = ""

    @property
    def is_over(self) -> bool:
        """True when nothing more will happen because of it."""
        return bool(self.failed) or not (self.todo or self.turns)

    @property
    def text(self) -> str:
        """How it ended, for people."""
        if not self.failed:
            return f"{self.why}: {len(self.done)} restarted"
        left = f"; left as they are: {', '.join(self.todo)}" if self.todo else ""
        return f"{self.why} stopped at {self.failed}: {self.words}{left}"

    @property
    def turned(self) -> tuple[str, ...]:
        """Those that had their turn, or have it."""
        return (*self.done, *(turn.name for turn in self.turns))


@dataclass(frozen=True, slots=True)
class Advance:
    """What follows for a roll.

    Attributes:
        roll: As it stands then.
        restarts: Services to restart now.
        look_at: Instant at which it has to be looked at again if nothing happens, or None.
    """

    roll: Roll
    restarts: tuple[str, ...] = ()
    look_at: float | None = None


def patience_of(spec: ServiceSpec) -> float:
    """Return the seconds in which a service has to be ready again: its stop sequence and its start."""
    return sum(step.wait for step in spec.stop.steps) + (spec.startup_timeout or _UNLIMITED)


def available_at(service: Service) -> float | None:
    """Return the instant from which a service as it stands counts as ready, or None: it is not."""
    if service.desired is Desired.UP and (service.state is State.COMPLETED or service.is_idle):
        return 0.0
    run, spec = service.run, service.spec
    if service.state is not State.READY or service.ending is not None or run is None or run.leader_ended:
        return None
    if spec.probes.readiness is not None or spec.probes.startup is not None or spec.notify:
        return 0.0
    return run.ordered_mono + min(STEADY, spec.restart.stable_after)


def is_available(service: Service, now: float) -> bool:
    """Return whether a service is ready; one that shows nothing has to have lived for a second at most."""
    at = available_at(service)
    return at is not None and at <= now


def advance(roll: Roll, services: Mapping[str, Service], members: Sequence[str], now: float) -> Advance:
    """Return what follows for a roll from how its services stand.

    Args:
        roll: One that is not over.
        services: All services.
        members: All replicas of the name, whether or not they are restarted.
        now: Seconds of CLOCK_MONOTONIC.
    """
    again: list[str] = []
    turns: list[Turn] = []
    for turn in roll.turns:
        service = services.get(turn.name)
        if service is None or service.desired is Desired.DOWN:
            continue  # somebody wants it down: it is passed over
        if _is_through(turn, service, now):
            roll = replace(roll, done=(*roll.done, turn.name))
            continue
        words = _fault(turn, service, now)
        if words:
            return Advance(replace(roll, failed=turn.name, words=words))
        if not turn.is_ordered and not _shows(turn, service):
            again.append(turn.name)
        turns.append(replace(turn, is_ordered=True))
    roll = replace(roll, turns=tuple(turns), todo=_wanted(roll.todo, services))
    chosen = _choose(roll, services, members, now)
    if chosen:
        begun = [_turn_of(services[name], now) for name in chosen]
        todo = tuple(name for name in roll.todo if name not in chosen)
        roll = replace(roll, todo=todo, turns=(*roll.turns, *begun), waits_until=None)
    elif roll.todo and not roll.turns:
        roll = _wait_for_others(roll, services, members, now)
    restarts = (*again, *chosen)
    return Advance(roll, restarts, None if roll.is_over else _look_at(roll, services, members, now))


def _is_through(turn: Turn, service: Service, now: float) -> bool:
    is_another = service.run.id != turn.before if service.run is not None else turn.is_ordered
    return is_another and is_available(service, now)


def _shows(turn: Turn, service: Service) -> bool:
    """Return whether a service shows that its restart was ordered."""
    return service.run is not None and (service.run.id != turn.before or service.ending is not None)


def _fault(turn: Turn, service: Service, now: float) -> str:
    if turn.is_ordered and service.state is State.FAILED:
        return service.reason or "failed"
    if now >= turn.deadline:
        what = service.probe_error or service.reason or service.state.value
        return f"not ready within {turn.limit:g} s: {what}"
    return ""


def _wanted(names: Iterable[str], services: Mapping[str, Service]) -> tuple[str, ...]:
    return tuple(name for name in names if name in services and services[name].desired is Desired.UP)


def _choose(
    roll: Roll, services: Mapping[str, Service], members: Sequence[str], now: float
) -> tuple[str, ...]:
    """Return whose turn it is next: those that are not ready anyway, then as many others as may be away."""
    room = roll.batch - len(roll.turns)
    away = {name for name in _wanted(members, services) if not is_available(services[name], now)}
    away |= {turn.name for turn in roll.turns}
    sick = [name for name in roll.todo if name in away and _may_go_anyway(services[name])][:room]
    well = [name for name in roll.todo if name not in away]
    return (*sick, *well[: max(0, min(room - len(sick), roll.batch - len(away)))])


def _may_go_anyway(service: Service) -> bool:
    """Return whether nothing is lost by a turn now; who leaves, or has yet to prove itself, is let be."""
    return available_at(service) is None and service.ending is None


def _turn_of(service: Service, now: float) -> Turn:
    limit = patience_of(service.spec)
    before = service.run.id if service.run is not None else ""
    return Turn(service.spec.name, before, now + limit, limit, is_ordered=True)


def _wait_for_others(roll: Roll, services: Mapping[str, Service], members: Sequence[str], now: float) -> Roll:
    away = [name for name in _wanted(members, services) if not is_available(services[name], now)]
    limit = max(patience_of(services[name].spec) for name in away)
    if roll.waits_until is None:
        return replace(roll, waits_until=now + limit)
    if now < roll.waits_until:
        return roll
    what = services[away[0]].reason or services[away[0]].state.value
    words = f"not ready within {limit:g} s, and no other may be away: {what}"
    return replace(roll, failed=away[0], words=words)


def _look_at(roll: Roll, services: Mapping[str, Service], members: Sequence[str], now: float) -> float | None:
    instants = [turn.deadline for turn in roll.turns]
    if roll.waits_until is not None:
        instants.append(roll.waits_until)
    for name in _wanted(members, services):
        at = available_at(services[name])
        if at is not None and at > now:
            instants.append(at)
    return min(instants, default=None)


# What the keeper holds of it.


def roll_to_note(roll: Roll) -> dict[str, object]:
    """Return the JSON form of a roll."""
    return asdict(roll)


def roll_from_note(note: object) -> Roll | None:
    """Return a roll as the last daemon left it; a note that cannot be read counts as none."""
    if not isinstance(note, dict):
        return None
    held = cast("dict[str, Any]", note)
    try:
        turns = tuple(replace(Turn(**turn), is_ordered=False) for turn in held["turns"])
        waits = held["waits_until"]
        return Roll(
            group=str(held["group"]),
            why=str(held["why"]),
            batch=int(held["batch"]),
            todo=tuple(str(name) for name in held["todo"]),
            turns=turns,
            done=tuple(str(name) for name in held["done"]),
            waits_until=None if waits is None else float(waits),
            failed=str(held["failed"]),
            words=str(held["words"]),
            update=str(held["update"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
