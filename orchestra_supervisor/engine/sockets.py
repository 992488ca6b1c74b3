"""Listening sockets at a take-over: what the keeper holds and what services wait on, brought in line."""

from orchestra_supervisor.engine.core import Core
from orchestra_supervisor.engine.ports import KeeperPort
from orchestra_supervisor.process.orders import HeldSockets
from orchestra_supervisor.rules.inputs import Called

__all__ = ["hold_sockets"]


def hold_sockets(core: Core, keeper: KeeperPort, held: tuple[HeldSockets, ...]) -> None:
    """Answer for connections that came without a daemon, wait on, and close what nobody wants any more.

    Args:
        core: Its services have been put already.
        keeper: Takes the orders.
        held: What the keeper holds.
    """
    waits = {name for name, service in core.services.items() if service.listening}
    for one in held:
        service = core.services.get(one.slot)
        if one.slot in waits and (one.watched or one.called):
            waits.discard(one.slot)
            if one.called:
                core.post(one.slot, Called(one.called))
        elif service is None or (one.slot not in waits and service.is_at_rest):
            keeper.unlisten(one.slot)
    for name in sorted(waits):
        keeper.listen(name, core.services[name].spec.sockets)
