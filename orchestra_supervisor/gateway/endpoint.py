"""What stands behind a front: the one contract between transports and those who answer.

A front (HTTP, or a shim's socket) speaks one of the two eras with a client, keeps sessions, checks who
calls, and hands each request to an Endpoint. An endpoint (the control tools, the catalog of all servers, one
server) does not care by which transport it is asked; where eras differ in meaning, `Caller.era` tells.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Protocol

from orchestra_supervisor.gateway.messages import Json

__all__ = [
    "HANDSHAKE_VERSIONS",
    "STATELESS_VERSIONS",
    "AskRefused",
    "Caller",
    "Change",
    "ChangeKind",
    "Endpoint",
    "Era",
    "Exchange",
    "Greeting",
    "Role",
    "Sink",
]

HANDSHAKE_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Newest first: those that begin with `initialize`."""
STATELESS_VERSIONS = ("2026-07-28",)
"""Newest first: those in which every request says all there is to know."""


class Era(StrEnum):
    """Which of the two ways a client or backend speaks."""

    HANDSHAKE = "handshake"
    STATELESS = "stateless"


class Role(IntEnum):
    """What a caller may do; each role may do what the lower ones may. As in control.py, by the same names."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        principal: For the audit and for what is kept apart by user: `uid 1000`, `token laptop`.
        role: What they may do.
        era: How they speak.
        version: The protocol version of this request or session.
        client: `clientInfo` as they gave it: name, version.
        capabilities: The client's capabilities, of this request or of the session.
        session: Names the conversation (a handshake session, a shim's connection); empty: there is none.
    """

    principal: str
    role: Role
    era: Era
    version: str
    client: Mapping[str, object] = field(default_factory=dict[str, object])
    capabilities: Mapping[str, object] = field(default_factory=dict[str, object])
    session: str = ""


class AskRefused(Exception):
    """The client cannot be asked: another era, no such capability, gone, or it said no to being asked."""


class Exchange(Protocol):
    """One request while it is answered. Cancellation by the client cancels the task that handles it."""

    @property
    def caller(self) -> Caller:
        """Return who asks."""
        ...

    @property
    def meta(self) -> Mapping[str, object]:
        """Return `_meta` of the request's params; empty where there is none."""
        ...

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification that belongs to this request: `notifications/progress` or `.../message`.

        A progress token in `params` is the client's own (`meta["progressToken"]`).
        """
        ...

    async def ask(self, method: str, params: Json) -> Json:
        """Send the client a request (`elicitation/create`, `sampling/createMessage`, `roots/list`).

        Only handshake clients can be asked; stateless ones get a result with `resultType: input_required`
        from the endpoint instead, and come again.

        Raises:
            AskRefused: It cannot be asked.
            RpcError: It answered with an error.
        """
        ...


class ChangeKind(StrEnum):
    """What changed, as the notification that says so."""

    TOOLS = "notifications/tools/list_changed"
    PROMPTS = "notifications/prompts/list_changed"
    RESOURCES = "notifications/resources/list_changed"
    RESOURCE = "notifications/resources/updated"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that subscribers are told.

    Attributes:
        kind: What.
        uri: Of RESOURCE: which.
    """

    kind: ChangeKind
    uri: str = ""


Sink = Callable[[Change], None]
"""Takes a change; never blocks, never raises. The front coalesces, and leaves out what nobody asked for."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What an endpoint says of itself, in the `initialize` and `server/discover` results.

    Attributes:
        server_info: name, title, version.
        capabilities: `tools`, `resources`, ... with listChanged and subscribe as the endpoint does them.
        instructions: For the model, under 2 KB; empty: none.
    """

    server_info: Json
    capabilities: Json
    instructions: str = ""


class Endpoint(Protocol):
    """Answers MCP requests, whatever they came by.

    The front answers `initialize`, `server/discover`, `ping`, `subscriptions/listen`, `resources/subscribe`,
    `resources/unsubscribe` and `logging/setLevel` (of handshake clients) itself. Everything else comes here.
    """

    async def greet(self, caller: Caller) -> Greeting:
        """Return what it says of itself to this caller."""
        ...

    async def handle(self, method: str, params: Json, exchange: Exchange) -> Json:
        """Answer one request.

        Args:
            method: `tools/call`, ...
            params: As they came, `_meta` included.
            exchange: Who asks, and the way back to them.

        Returns:
            The `result`, complete for the era but for `resultType` and server info in `_meta`: the front
            adds these where they are missing and the era wants them.

        Raises:
            RpcError: Sent as it is. Anything else is logged and becomes INTERNAL_ERROR without its text.
        """
        ...

    async def notified(self, method: str, params: Json, caller: Caller) -> None:
        """Take a notification of the client, but for `notifications/cancelled` and `.../initialized`."""
        ...

    def listen(self, caller: Caller, sink: Sink) -> Callable[[], None]:
        """Tell a sink of every change that this caller may see, until what is returned is called."""
        ...

    async def watch(self, uri: str, caller: Caller) -> Callable[[], None]:
        """Be asked to tell of a resource's updates until what is returned is called. Counted: many may ask.

        Raises:
            RpcError: There is no such resource, or it does not tell.
        """
        ...
