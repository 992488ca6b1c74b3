"""How long lists wait for servers that nobody has met yet.

Many clients list once and pass over what they are told of changes: what they do not see then they never
see. So the first lists wait for what is being met, and no later ones: a server that has failed, or takes
long, holds up nobody.
"""

from collections.abc import Iterable

import anyio

from orchestra_supervisor.gateway.backends.backend import Backend

__all__ = ["acquainted"]

_PATIENCE = 5.0  # seconds from when a server was added


async def acquainted(backends: Iterable[Backend]) -> None:
    """Wait until each of these servers is known, has failed once, or has had its time."""
    for backend in backends:
        left = backend.added_at + _PATIENCE - anyio.current_time()
        if backend.introduction is not None or left <= 0 or not backend.seats:
            continue
        instance = backend.seats[0].instance
        if instance.trouble is None:
            with anyio.move_on_after(left):
                await instance.wait_tried()
