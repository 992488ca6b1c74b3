"""What follows from the memory that a run uses: its limit where no control group holds it, and recycling."""

from orchestra_supervisor.rules.inputs import Input, Used
from orchestra_supervisor.rules.moves import Step, end
from orchestra_supervisor.rules.service import Ending, Moment, Service, Then

__all__ = ["used"]

_MIB = 1024 * 1024


def used(service: Service, event: Input, now: Moment) -> Step:
    """End a run over its limit, which counts as failed; let one that has grown make room for a fresh one."""
    assert isinstance(event, Used)
    if not service.is_current(event.run) or service.ending is not None:
        return Step(service)
    limit, mark = service.spec.limits.memory, service.spec.recycle.memory
    size = f"{event.memory / _MIB:.0f} MB"
    if event.is_watched and limit is not None and event.memory > limit:
        why = f"uses {size} of memory, over its limit of {limit / _MIB:g} MB"
        return end(service, Ending(Then.POLICY, why, failed=True), now)
    if mark is not None and event.memory > mark and service.run is not None and service.run.was_ready:
        return end(service, Ending(Then.AGAIN, f"recycled: uses {size} of memory"), now)
    return Step(service)
