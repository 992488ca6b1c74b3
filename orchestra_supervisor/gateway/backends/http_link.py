"""A link to a server over streamable HTTP, in both eras.

Stateless requests carry their version, method and name in headers; a handshake session is named by the
header that the server gave with its answer to `initialize`, and may have a stream of its own for what
belongs to no call.

Source: MCP 2026-07-28 and 2025-11-25, `basic/transports/streamable-http.mdx`.
"""

import json
import secrets
from base64 import b64encode
from collections.abc import Sequence
from itertools import count

import anyio

from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.framing import Noise
from orchestra_supervisor.gateway.backends.http_call import HttpCall, Messages, not_mcp
from orchestra_supervisor.gateway.backends.http_pool import HttpPool, Response
from orchestra_supervisor.gateway.backends.link import LinkError, Stray, Trouble
from orchestra_supervisor.gateway.backends.mailbox import Mailbox
from orchestra_supervisor.gateway.endpoint import Era
from orchestra_supervisor.gateway.messages import Json

__all__ = ["HttpLink", "header_value"]

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""What stands in the header `Mcp-Name`, by method."""
_POSTS = 256  # notifications that may wait
_POST_LIMIT = 30.0  # seconds that a server may take to accept a notification, or an answer of ours
_LISTEN_AGAIN = (1.0, 30.0)  # seconds before the standing stream is opened again: at first, at most


def header_value(value: str) -> str:
    """Return a value as a header carries it: as it is where it survives, else in base64."""
    plain = value.isascii() and value.isprintable() and value == value.strip()
    if plain and not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    return f"=?base64?{b64encode(value.encode('utf-8', 'replace')).decode('ascii')}?="


class HttpLink:
    """See link.Link.

    Args:
        pool: Connections to the server.
        headers: The operator's own, secrets included.
        on_stray: Gets what belongs to no call.
        noise: Counts what is dropped.
    """

    def __init__(
        self, pool: HttpPool, headers: Sequence[tuple[str, str]], on_stray: Stray, noise: Noise
    ) -> None:
        self._pool = pool
        self._headers = tuple(headers)
        self._on_stray = on_stray
        self._noise = noise
        self._prefix = f"o{secrets.token_hex(4)}-"
        self._numbers = count(1)
        self._session = ""
        self._posts = Mailbox(_POSTS)
        self._era = Era.STATELESS
        self._version = ""

    def speak(self, era: Era, version: str) -> None:
        """Speak so from here on; see link.Link."""
        self._era, self._version = era, version

    async def begin(
        self,
        method: str,
        params: Json,
        *,
        has_progress: bool = False,
        headers: Sequence[tuple[str, str]] = (),
        is_attended: bool = False,  # noqa: ARG002 - each call has a stream of its own
    ) -> HttpCall:
        """Send a request; see link.Link."""
        call_id = f"{self._prefix}{next(self._numbers)}"
        if has_progress:
            params = {**params, "_meta": {**member(params, "_meta"), "progressToken": call_id}}
        message: Json = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}
        lines = [*self._lines(method, params), *headers]
        response = await self._pool.send("POST", lines, _encoded(message))
        is_opening = method == "initialize"

        async def on_head(found: Response) -> Json | None:
            return await self._judge(found, is_opening=is_opening)

        return HttpCall(
            call_id,
            response,
            on_head=on_head,
            respond=self.respond,
            resume=self._resume,
            cancel=self._cancel,
        )

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification; see link.Link."""
        await self._post({"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})})

    async def respond(self, message: Json) -> None:
        """Send a response; see link.Link."""
        await self._post(message)

    async def run(self) -> LinkError:
        """Send what waits, until it is cancelled: who asks finds out that a server is gone; see link.Link."""
        try:
            await self._send_posts()
        finally:
            await self._leave()
            self._pool.close()
        return LinkError(Trouble.LOST, "the gateway closed the link")

    async def listen(self) -> None:
        """Read what a handshake server says of itself, for as long as it has such a stream. For a task."""
        pause, longest = _LISTEN_AGAIN
        while self._session:
            try:
                response = await self._pool.send(
                    "GET", [("Accept", "text/event-stream"), *self._lines("", {})[1:]], b""
                )
                try:
                    await response.head()
                    if response.status != 200 or response.content_type != "text/event-stream":
                        return  # it has none
                    messages = Messages(response)
                    while (message := await messages.next()) is not None:
                        pause = _LISTEN_AGAIN[0]
                        self._stray(message)
                finally:
                    response.close()
            except LinkError:
                pass
            await anyio.sleep(pause)
            pause = min(longest, pause * 2)

    def let_go(self) -> None:
        """Keep no connection that nobody uses: the server is told to end."""
        self._pool.close()

    def _stray(self, message: Json) -> None:
        if message.get("method") in {"notifications/progress", "notifications/message"}:
            self._noise.unattributed += 1
        elif "method" in message:
            self._on_stray(message)
        else:
            self._noise.unknown_ids += 1

    def _lines(self, method: str, params: Json) -> list[tuple[str, str]]:
        lines = [("Accept", "application/json, text/event-stream"), ("Content-Type", "application/json")]
        lines.extend(self._headers)
        if self._session and method != "initialize":
            lines.append(("Mcp-Session-Id", self._session))
        if self._version and method != "initialize":
            lines.append(("MCP-Protocol-Version", self._version))
            if self._era is Era.STATELESS and method:
                lines.append(("Mcp-Method", header_value(method)))
                name = params.get(_NAMED[method]) if method in _NAMED else None
                if isinstance(name, str):
                    lines.append(("Mcp-Name", header_value(name)))
        return lines

    def _stream_lines(self) -> list[tuple[str, str]]:
        return [("Accept", "text/event-stream"), *self._lines("", {})[1:]]

    async def _judge(self, response: Response, *, is_opening: bool) -> Json | None:
        """Return None for a response to read on, or the error of a refused request.

        Raises:
            LinkError: It is no answer of an MCP server.
        """
        if is_opening and response.status == 200:
            self._session = response.headers.get("mcp-session-id", "")
        status = response.status
        if status == 200 and response.content_type in {"application/json", "text/event-stream"}:
            return None
        error = await self._refusal(response)
        if isinstance(error, LinkError):
            raise error
        return error

    async def _refusal(self, response: Response) -> Json | LinkError:
        status = response.status
        body = await response.body()
        if status in {401, 403}:
            return LinkError(
                Trouble.AUTH, f"answers HTTP {status}: it wants other credentials", was_sent=False
            )
        if status >= 400 and response.content_type == "application/json":
            try:
                message: object = json.loads(body)
            except (ValueError, RecursionError):
                message = None
            error = member(message, "error")
            # Some servers say of a forgotten session what they say of anything else that is not there.
            is_session = status == 404 and self._session and text(error, "message") == "Session not found"
            if "code" in error and not is_session:
                return {"jsonrpc": "2.0", "error": error}
        if status == 404 and self._session:
            return LinkError(Trouble.SESSION, "it does not know the session any more", was_sent=False)
        if status in {301, 302, 307, 308}:
            place = response.headers.get("location", "")
            return LinkError(Trouble.NOT_MCP, f"answers HTTP {status}: it is at {place[:200]}")
        if status in {429, 502, 503, 504} or status >= 500:
            return LinkError(Trouble.FAULT, f"answers HTTP {status}")
        return not_mcp(response, body)

    def _cancel(self, call_id: str, reason: str) -> None:
        if self._era is Era.STATELESS:
            return  # the closed connection says it
        params: Json = {"requestId": call_id, "reason": reason or "the client does not wait any more"}
        self._posts.put({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})

    async def _send_posts(self) -> None:
        while True:
            message = await self._posts.get()
            try:
                with anyio.move_on_after(5):
                    await self._post(message)
            except LinkError:
                continue

    async def _post(self, message: Json) -> None:
        method = text(message, "method")
        lines = self._lines(method, member(message, "params"))
        try:
            with anyio.fail_after(_POST_LIMIT):
                response = await self._pool.send("POST", lines, _encoded(message))
                try:
                    await response.head()
                    await response.body()
                finally:
                    response.close()
        except TimeoutError as error:
            reason = f"did not take a message within {_POST_LIMIT:g} s"
            raise LinkError(Trouble.FAULT, reason) from error

    async def _resume(self, last_id: str) -> Response:
        lines = [*self._stream_lines(), ("Last-Event-ID", last_id)]
        response = await self._pool.send("GET", lines, b"")
        is_stream = False
        try:
            await response.head()
            is_stream = response.status == 200 and response.content_type == "text/event-stream"
        finally:
            if not is_stream:
                response.close()
        if not is_stream:
            raise LinkError(Trouble.LOST, "it ended the stream without an answer")
        return response

    async def _leave(self) -> None:
        """Tell a handshake server that its session is not needed any more."""
        if not self._session:
            return
        with anyio.move_on_after(1, shield=True):
            try:
                response = await self._pool.send("DELETE", self._lines("", {}), b"")
                try:
                    await response.head()
                finally:
                    response.close()
            except LinkError:
                return


def _encoded(message: Json) -> bytes:
    return _ENCODER.encode(message).encode("ascii")
