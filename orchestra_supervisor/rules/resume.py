"""How a new daemon takes over what the keeper holds.

The note says what the last daemon had decided; the record says what became of the run since. Feeding
the record's news to the note's service gives what the last daemon would have come to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import Desired, DownReason, State
from orchestra_supervisor.rules.diff import run_digest
from orchestra_supervisor.rules.inputs import (
    Ack,
    Effect,
    Exited,
    Gone,
    Input,
    Notified,
    Respec,
    Restart,
    Spawned,
    Start,
    Stop,
    StopRun,
)
from orchestra_supervisor.rules.moves import begin_after, begin_anew
from orchestra_supervisor.rules.planning import with_plan
from orchestra_supervisor.rules.service import Moment, Service, from_note
from orchestra_supervisor.rules.verdicts import unprobed

__all__ = ["Held", "Resumed", "forget", "resume", "resume_strangers"]


@dataclass(frozen=True, slots=True)
class Held:
    """What the keeper holds of one run: whether it is being stopped, and its news in order."""

    run: str
    stopping: bool
    told: tuple[Spawned | Notified | Exited | Gone, ...]


@dataclass(frozen=True, slots=True)
class Resumed:
    """One service taken over.

    Attributes:
        service: As the last daemon left it.
        effects: Orders that the last daemon had decided on and that did not reach the keeper.
        inputs: What happened since.
    """

    service: Service
    effects: tuple[Effect, ...] = ()
    inputs: tuple[Input, ...] = ()


def resume(
    spec: ServiceSpec,
    note: object,
    held: tuple[Held, ...],
    now: Moment,
    down: DownReason = DownReason.NONE,
) -> Resumed | None:
    """Return a service taken over, or None when the keeper knows nothing of it.

    Args:
        spec: The service as configured.
        note: The slot's note, or None; one of another version that cannot be read is as good as none.
        held: The keeper's records of the slot, oldest first.
        now: The present moment.
        down: Why a fresh start leaves it down, if it does.
    """
    service = from_note(spec, note)
    if service is None:
        return _resume_without_note(spec, held, now, down)
    run = service.run
    renewal = _renewal(service, note, down)
    if unprobed(service, now).service is not service:
        renewal = (Respec(spec), *renewal)  # the reload took out the probe that it stands waiting for
    if run is None:
        if service.desired is Desired.UP:
            service = with_plan(service, now)  # where a reload that made it periodic was not finished
        return Resumed(service, forget(held), renewal)
    mine = next((record for record in held if record.run == run.id), None)
    told, following = _with_following(mine, held)
    others = forget(tuple(record for record in held if record.run not in {run.id, following}))
    if mine is None:
        if run.pid is None:
            return Resumed(begin_anew(service, now), others, renewal)
        return Resumed(service, others, (_unknown_end(service, run.id), Gone(run.id), *renewal))
    effects = others
    if service.state is State.STOPPING and not mine.stopping:
        effects = (*others, StopRun(run.id))
    return Resumed(service, effects, (*told, *renewal))


def _with_following(mine: Held | None, held: tuple[Held, ...]) -> tuple[tuple[Input, ...], str]:
    """Return the news of a run and of the one that followed it by a standing order, and the latter's id.

    Of one that followed and is not there any more, its program was never executed: none has followed.
    """
    if mine is None:
        return (), ""
    last = mine.told[-1] if mine.told else None
    if not isinstance(last, Gone) or not last.next:
        return mine.told, ""
    following = next((record for record in held if record.run == last.next), None)
    if following is None:
        return (*mine.told[:-1], Gone(mine.run)), ""
    return (*mine.told, *following.told), following.run


def _resume_without_note(
    spec: ServiceSpec, held: tuple[Held, ...], now: Moment, down: DownReason
) -> Resumed | None:
    """Let a service that is new begin when a run of an earlier one of its name is gone."""
    live = next((record for record in held if not _is_over(record)), None)
    if live is None:
        return None
    inputs = () if down is DownReason.NONE else (Stop(down),)
    return Resumed(begin_after(spec, live.run, now), forget(held), inputs)


def _is_over(record: Held) -> bool:
    return any(isinstance(news, Gone) for news in record.told)


def _renewal(service: Service, note: object, down: DownReason) -> tuple[Input, ...]:
    """Finish a reload during which a daemon died: what was decided by an older spec is decided anew."""
    digest, run = run_digest(service.spec), service.run
    if service.desired is Desired.DOWN and service.down_reason is DownReason.REMOVED:
        back = "back in the configuration"
        if down is DownReason.DEMAND:
            return (Stop(down, back),)
        return (Start(back) if service.spec.enabled else Stop(DownReason.DISABLED, back),)
    decided_by = cast("dict[str, object]", note).get("digest", digest) if isinstance(note, dict) else digest
    if decided_by == digest and (run is None or run.digest == digest):
        return ()
    if service.desired is Desired.DOWN:
        return _renewal_at_rest(service, down)
    if not service.spec.enabled:
        return (Stop(DownReason.DISABLED, "disabled in the configuration"),)
    # What happened since may have ended the run; the one that follows is of this spec.
    return (Restart("its configuration changed", unless=digest),)


def _renewal_at_rest(service: Service, down: DownReason) -> tuple[Input, ...]:
    """Return what another spec means to a service that is not wanted up."""
    if service.down_reason is DownReason.DISABLED and service.spec.enabled:
        why = "enabled in the configuration"
        return (Stop(down, why),) if down is DownReason.DEMAND else (Start(why),)
    if service.down_reason is DownReason.DEMAND and not service.spec.enabled:
        return (Stop(DownReason.DISABLED, "disabled in the configuration"),)
    if service.down_reason is DownReason.DEMAND and service.spec.start_on != "demand":
        return (Start("starts with the fleet now"),)
    return ()


def forget(held: tuple[Held, ...]) -> tuple[Effect, ...]:
    """Runs that no note accounts for are acknowledged when over, and stopped when not."""
    return tuple(Ack(record.run) if _is_over(record) else StopRun(record.run) for record in held)


def _unknown_end(service: Service, run: str) -> Exited:
    at_mono = service.run.ordered_mono if service.run else 0.0
    return Exited(run, None, None, at_mono, service.since_wall, 0)


def resume_strangers(
    specs: Mapping[str, ServiceSpec], held: Mapping[str, tuple[Held, ...]]
) -> tuple[Effect, ...]:
    """Return what is to be done with runs in slots that the fleet does not know."""
    return tuple(effect for slot, records in held.items() if slot not in specs for effect in forget(records))
