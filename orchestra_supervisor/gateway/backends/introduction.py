"""Finding out how a server speaks: stateless (`server/discover`) or by a handshake (`initialize`).

A server that has been found out is not asked again: what it said is remembered, for its run and for
itself. One that says nothing to `server/discover` (old servers may) is greeted the old way soon, while
the first question is still open: the first good answer of the two counts. So a server that only takes
long to start is not misjudged.

Source: MCP 2026-07-28, `basic/versioning.mdx`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from orchestra_supervisor.gateway.backends.fields import member, text, texts
from orchestra_supervisor.gateway.backends.link import Link, LinkError, Trouble
from orchestra_supervisor.gateway.backends.params import OURSELVES, SERVER_KEY, stamped
from orchestra_supervisor.gateway.endpoint import HANDSHAKE_VERSIONS, STATELESS_VERSIONS, Era
from orchestra_supervisor.gateway.messages import METHOD_NOT_FOUND, UNSUPPORTED_VERSION, Json, RpcError

__all__ = [
    "Introduction",
    "introduce",
    "parse_introduction",
    "request",
]

_PATIENCE = 3.0  # seconds that `server/discover` is waited for alone


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a server said of itself.

    Attributes:
        era: How it speaks.
        version: The version that is spoken with it.
        capabilities: Of the server.
        server_info: Name, title, version.
        instructions: For the model.
        client: The client capabilities that it was told of in the handshake.
    """

    era: Era
    version: str
    capabilities: Json = field(default_factory=dict[str, object])
    server_info: Json = field(default_factory=dict[str, object])
    instructions: str = ""
    client: Json = field(default_factory=dict[str, object])

    def can(self, feature: str, detail: str = "") -> bool:
        """Return whether the server declares a feature (`tools`), or a detail of it (`listChanged`)."""
        if feature not in self.capabilities:
            return False
        return not detail or member(self.capabilities, feature).get(detail) is True

    def to_json(self) -> Json:
        """Return it for the file."""
        return {
            "era": self.era.value,
            "version": self.version,
            "capabilities": self.capabilities,
            "serverInfo": self.server_info,
            "instructions": self.instructions,
            "client": self.client,
        }


def parse_introduction(saved: Json) -> Introduction | None:
    """Return what `to_json` gave, None where it is not that or of a version that is not spoken any more."""
    era, version = text(saved, "era"), text(saved, "version")
    if era not in set(Era) or version not in (*HANDSHAKE_VERSIONS, *STATELESS_VERSIONS):
        return None
    return Introduction(
        era=Era(era),
        version=version,
        capabilities=member(saved, "capabilities"),
        server_info=member(saved, "serverInfo"),
        instructions=text(saved, "instructions"),
        client=member(saved, "client"),
    )


async def request(link: Link, method: str, params: Json) -> Json:
    """Ask a server something of our own, and return the result.

    Raises:
        RpcError: It answered with an error.
        LinkError: It cannot be talked to.
    """
    call = await link.begin(method, params)
    try:
        while True:
            message = await call.next()
            if "method" not in message:
                break
            if "id" in message:
                error = RpcError(METHOD_NOT_FOUND, "the gateway asks by itself here, and has nobody to ask")
                await call.answer({"jsonrpc": "2.0", "id": message["id"], "error": error.to_json()})
    finally:
        call.drop()
    if "error" in message:
        raise RpcError.from_json(member(message, "error"))
    return member(message, "result")


async def introduce(
    link: Link, *, era: Era | None, client: Mapping[str, object], patience: float = _PATIENCE
) -> Introduction:
    """Find out how a server speaks. The caller sets the deadline.

    Args:
        link: To the server; nothing was said on it yet.
        era: How it spoke the last time; None: not known.
        client: The client capabilities to tell of in a handshake.
        patience: Seconds that `server/discover` is waited for alone.

    Raises:
        LinkError: It cannot be talked to, or is no MCP server.
        RpcError: It refuses both.
    """
    if era is Era.HANDSHAKE:
        try:
            return await _initialize(link, client)
        except RpcError as error:
            if error.code != UNSUPPORTED_VERSION:
                raise
        found = await _discover(link)
        if found is None:
            raise RpcError(UNSUPPORTED_VERSION, "it speaks no version that the gateway speaks")
        return found
    return await _Race(link, client, patience).run()


class _Race:
    """Both questions at once, the second a little later or when the first was refused."""

    def __init__(self, link: Link, client: Mapping[str, object], patience: float) -> None:
        self._link = link
        self._client = client
        self._patience = patience
        self._found: Introduction | None = None
        self._refused: Exception | None = None
        self._discover_over = anyio.Event()

    async def run(self) -> Introduction:
        async with anyio.create_task_group() as group:
            group.start_soon(self._ask_discover, group.cancel_scope)
            with anyio.move_on_after(self._patience):
                await self._discover_over.wait()
            try:
                found = await _initialize(self._link, self._client)
            except (RpcError, LinkError) as error:
                self._refused = error
                if isinstance(error, RpcError) and error.code == UNSUPPORTED_VERSION:
                    await self._discover_over.wait()  # it speaks the other way, and has not said so yet
            else:
                self._found = self._found or found
            group.cancel_scope.cancel()
        if self._found is not None:
            self._link.speak(self._found.era, self._found.version)
            return self._found
        raise self._refused or LinkError(Trouble.SILENT, "it does not answer")

    async def _ask_discover(self, scope: anyio.CancelScope) -> None:
        try:
            self._found = await _discover(self._link)
        except LinkError as error:
            self._refused = error
            if error.trouble in {Trouble.LOST, Trouble.AUTH, Trouble.BUSY}:
                scope.cancel()
        if self._found is not None:
            scope.cancel()
        self._discover_over.set()


async def _discover(link: Link) -> Introduction | None:
    """Ask the stateless way; None where the answer is no sign of a stateless server."""
    version = STATELESS_VERSIONS[0]
    link.speak(Era.STATELESS, version)
    try:
        result = await request(link, "server/discover", stamped({}, version, None))
    except RpcError:
        return None
    offered = texts(result, "supportedVersions")
    spoken = next((one for one in STATELESS_VERSIONS if one in offered), None)
    if spoken is None or "capabilities" not in result:
        return None
    info = member(result, "serverInfo") or member(member(result, "_meta"), SERVER_KEY)
    return Introduction(
        Era.STATELESS, spoken, member(result, "capabilities"), info, text(result, "instructions")
    )


async def _initialize(link: Link, client: Mapping[str, object]) -> Introduction:
    link.speak(Era.HANDSHAKE, "")
    params: Json = {
        "protocolVersion": HANDSHAKE_VERSIONS[0],
        "capabilities": dict(client),
        "clientInfo": OURSELVES,
    }
    result = await request(link, "initialize", params)
    version = text(result, "protocolVersion")
    if version not in HANDSHAKE_VERSIONS:
        what = f"version {version!r}" if version else "no version"
        raise RpcError(
            UNSUPPORTED_VERSION, f"it answers `initialize` with {what}, which the gateway does not speak"
        )
    link.speak(Era.HANDSHAKE, version)
    await link.notify("notifications/initialized", {})
    return Introduction(
        Era.HANDSHAKE,
        version,
        member(result, "capabilities"),
        member(result, "serverInfo"),
        text(result, "instructions"),
        dict(client),
    )
