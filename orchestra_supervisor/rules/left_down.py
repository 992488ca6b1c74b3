"""Which services a fresh start of the fleet leaves down, and why."""

from collections.abc import Iterable, Sequence

from orchestra_supervisor.model.mcp import OWN_PREFIX
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.model.states import DownReason
from orchestra_supervisor.rules.graph import below
from orchestra_supervisor.rules.naming import resolve_names
from orchestra_supervisor.rules.replicas import names_for_several

__all__ = ["left_down"]


def left_down(fleet: Fleet, only: Sequence[str] = (), held: Iterable[str] = ()) -> dict[str, DownReason]:
    """Return the services that a fresh start leaves down.

    Args:
        fleet: All services.
        only: What `up --only` named; empty: everything. It chooses among what starts with the fleet: what
            starts on demand can be asked for all the same, and is started where it is named itself.
        held: Names of services that are to stay stopped by hand.

    Raises:
        UnknownService: A name of `only` is none.
    """
    specs = fleet.services
    down = {name: DownReason.DISABLED for name, spec in specs.items() if not spec.enabled}
    named: list[str] = []
    if only:
        members = names_for_several(fleet)
        wanted = [name for name in only if members.get(name) != ()]  # scaled to 0 since
        chosen = below(resolve_names(wanted, specs, members) if wanted else (), specs)
        outside = [name for name in specs if name not in chosen and not name.startswith(OWN_PREFIX)]
        down |= dict.fromkeys(outside, DownReason.NOT_SELECTED)
        own = [name for name in wanted if name in specs or name in members]
        named = resolve_names(own, specs, members) if own else []
    resting = [name for name, spec in specs.items() if spec.start_on == "demand" and spec.enabled]
    down |= {name: DownReason.DEMAND for name in resting if name not in named}
    return down | {name: DownReason.OPERATOR for name in held if name in specs}
