"""A bounded queue of messages for one reader; one message too many is dropped."""

from collections import deque

import anyio

from orchestra_supervisor.gateway.messages import Json

__all__ = ["Mailbox"]


class Mailbox:
    """See the module.

    Args:
        limit: Messages that may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[Json] = deque()
        self._filled = anyio.Event()

    def put(self, message: Json) -> bool:
        """Add a message; False where it was dropped."""
        if len(self._messages) >= self._limit:
            return False
        self._messages.append(message)
        self._filled.set()
        return True

    async def get(self) -> Json:
        """Return the next message."""
        while not self._messages:
            self._filled = anyio.Event()
            await self._filled.wait()
        return self._messages.popleft()
