"""The contract of a link: how one MCP server is talked to, over pipes or HTTP alike.

A call is an object with an inbox: whoever holds it takes the messages that belong to it, of which the
response is the last. So no task has to stay with a call: it can be put aside while a user is asked, and
be taken up by another request.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from orchestra_supervisor.gateway.endpoint import Era
from orchestra_supervisor.gateway.messages import Json

__all__ = ["MESSAGE_LIMIT", "Call", "Link", "LinkError", "Stray", "Trouble"]

MESSAGE_LIMIT = 5 * 1024 * 1024
"""Bytes of one message of a server; what is larger is refused, not kept."""


class Trouble(StrEnum):
    """Why a server cannot be talked to."""

    LOST = "lost"
    """It ended, closed the connection, or refuses connections."""
    AUTH = "auth"
    """It answers 401 or 403."""
    NOT_MCP = "not_mcp"
    """Something answers, and it is not an MCP server."""
    SESSION = "session"
    """It does not know the session any more (HTTP 404)."""
    SILENT = "silent"
    """It does not answer."""
    BUSY = "busy"
    """It does not read what it is sent."""
    FAULT = "fault"
    """It answers with an HTTP error."""


class LinkError(Exception):
    """The server cannot be talked to, or went away.

    Args:
        trouble: In what way.
        reason: One line for people: what was seen.
        was_sent: False where the server cannot have seen the request: it may be sent again.
    """

    def __init__(self, trouble: Trouble, reason: str, *, was_sent: bool = True) -> None:
        super().__init__(reason)
        self.trouble = trouble
        self.reason = reason
        self.was_sent = was_sent


class Stray(Protocol):
    """Takes a message that belongs to no call: a notification, or a request of the server. Never blocks."""

    def __call__(self, message: Json) -> None:
        """Take it."""
        ...


class Call(Protocol):
    """One request on its way."""

    @property
    def id(self) -> str:
        """Return the id that the server knows it by; its progress token as well."""
        ...

    async def next(self) -> Json:
        """Return the next message that belongs to it.

        A notification or a request of the server; the response (no `method`) is the last.

        Raises:
            LinkError: The server went away.
        """
        ...

    async def answer(self, message: Json) -> None:
        """Send the response to a request of the server that came by `next`.

        Raises:
            LinkError: The server went away.
        """
        ...

    def drop(self, reason: str = "") -> None:
        """Forget it; tells the server, where it has not answered yet. May be called twice."""
        ...


class Link(Protocol):
    """A way to one server, for as long as it lives."""

    def speak(self, era: Era, version: str) -> None:
        """Speak so from here on; over pipes there is nothing to it.

        Args:
            era: Of the server.
            version: Empty: not known yet.
        """
        ...

    async def begin(
        self,
        method: str,
        params: Json,
        *,
        has_progress: bool = False,
        headers: Sequence[tuple[str, str]] = (),
        is_attended: bool = False,
    ) -> Call:
        """Send a request.

        Args:
            method: `tools/call`, ...
            params: As the server gets them.
            has_progress: The call's id is sent along as its progress token.
            headers: Of HTTP alone: `Mcp-Param-*`.
            is_attended: Somebody can be asked and told while it runs: what the server says without saying
                to what it belongs may belong to this.

        Raises:
            LinkError: It cannot be sent.
        """
        ...

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification.

        Raises:
            LinkError: It cannot be sent.
        """
        ...

    async def respond(self, message: Json) -> None:
        """Send the response to a request that was no call's.

        Raises:
            LinkError: It cannot be sent.
        """
        ...

    async def run(self) -> LinkError:
        """Serve the link until it is lost, and return why. Cancel it to close the link."""
        ...
