"""The diagnosis: every cause that explains the facts, the surest and deepest first."""

from itertools import chain

from orchestra_supervisor.gateway.control.diagnosis.facts import Cause, Certainty, Facts
from orchestra_supervisor.gateway.control.diagnosis.lifecycle import causes_of_state
from orchestra_supervisor.gateway.control.diagnosis.outside import causes_outside

__all__ = ["diagnose"]

_MOST = 8


def diagnose(facts: Facts) -> list[Cause]:
    """Return what explains how a service stands, ranked; never empty.

    A deed of people (stopped by hand) comes before what follows from it; what the supervisor knows for sure
    before what a log seems to say. Two that say the same are told once, the surer one.
    """
    found: dict[str, Cause] = {}
    for cause in chain(causes_of_state(facts), causes_outside(facts)):
        key = cause.code if cause.code in _ONCE else f"{cause.code} {cause.what}"
        known = found.get(key)
        if known is None or (cause.certainty, cause.weight) > (known.certainty, known.weight):
            found[key] = cause
    ranked = sorted(found.values(), key=lambda cause: (-cause.certainty, -cause.weight, cause.code))
    return ranked[:_MOST] or [_nothing(facts)]


_ONCE = frozenset({"out_of_memory", "port_taken"})
"""Told by the supervisor and by logs."""


def _nothing(facts: Facts) -> Cause:
    if facts.is_up:
        action = "nothing to do; if it misbehaves all the same, look at service_logs and health_check"
        return Cause(
            "healthy",
            f"it is {facts.state}, and nothing is wrong",
            (facts.reason,),
            action,
            Certainty.CERTAIN,
        )
    action = "look at events and service_logs; if it does not move, service_restart"
    return Cause(
        "unknown", f"it is {facts.state}, and nothing tells why", (facts.reason,), action, Certainty.NOTED
    )
