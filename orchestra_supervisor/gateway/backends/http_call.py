"""One request to a server over streamable HTTP: its response is one JSON object, or a stream of events."""

from collections import deque
from collections.abc import Awaitable, Callable

import anyio

from orchestra_supervisor.gateway.backends.framing import parse_message
from orchestra_supervisor.gateway.backends.http_pool import Response
from orchestra_supervisor.gateway.backends.link import LinkError, Trouble
from orchestra_supervisor.gateway.backends.sse import EventDecoder, TooLong
from orchestra_supervisor.gateway.messages import Json

__all__ = ["HttpCall", "Messages", "not_mcp"]

_RESUMES = 20  # times that a stream which ends without the response is taken up again
_RESUME_AFTER = 1.0  # seconds before that, where the server names no other figure

Resume = Callable[[str], Awaitable[Response]]


def not_mcp(response: Response, body: bytes) -> LinkError:
    """Return what an HTTP answer that is no MCP says of its sender, or that it is broken."""
    kind = response.content_type or "no content type"
    reason = f"answers HTTP {response.status} ({kind}), and is not an MCP server"
    start = body[:200].decode("utf-8", "replace").strip()
    if start[:1] == "<":
        reason = f"answers HTTP {response.status} with a web page, and is not an MCP server"
    return LinkError(Trouble.NOT_MCP, reason)


class Messages:
    """The messages of a stream of events.

    Args:
        response: The stream.
        before: What it takes up, where it does: what that said of being taken up holds until this one does.
    """

    def __init__(self, response: Response, before: "Messages | None" = None) -> None:
        self._response = response
        self._events = EventDecoder()
        if before is not None:
            self._events.last_id, self._events.retry = before.last_id, before.retry
        self._ready: deque[Json] = deque()

    @property
    def last_id(self) -> str:
        """Where the stream can be taken up again; empty: it cannot."""
        return self._events.last_id

    @property
    def retry(self) -> float:
        """Seconds to wait before that."""
        return _RESUME_AFTER if self._events.retry is None else self._events.retry

    async def next(self) -> Json | None:
        """Return the next message, None at the end.

        Raises:
            LinkError: The connection broke.
        """
        while not self._ready:
            piece = await self._response.chunk()
            if not piece:
                return None
            try:
                for event in self._events.feed(piece):
                    message = _parsed(event.data.encode("utf-8", "replace"))
                    if message is not None:
                        self._ready.append(message)
            except TooLong as error:
                self._response.close()
                raise LinkError(Trouble.FAULT, "a message is over the limit") from error
        return self._ready.popleft()


class HttpCall:
    """See link.Call.

    Args:
        call_id: The id it was sent with.
        response: Of its POST; nothing is read yet.
        on_head: Judges status and headers once they are there; raises LinkError, or returns an answer.
        respond: Sends the response to a request of the server.
        resume: Takes up a stream by its last id.
        cancel: Told when it is dropped unanswered.
    """

    def __init__(
        self,
        call_id: str,
        response: Response,
        *,
        on_head: Callable[[Response], Awaitable[Json | None]],
        respond: Callable[[Json], Awaitable[None]],
        resume: Resume,
        cancel: Callable[[str, str], None],
    ) -> None:
        self._id = call_id
        self._response = response
        self._on_head = on_head
        self._respond = respond
        self._resume = resume
        self._cancel = cancel
        self._messages: Messages | None = None
        self._is_over = False

    @property
    def id(self) -> str:
        """Return its id; see link.Call."""
        return self._id

    async def next(self) -> Json:
        """Return the next message; see link.Call."""
        try:
            message = await self._next()
        except LinkError:
            self._is_over = True
            self._response.close()
            raise
        if "method" not in message:
            self._is_over = True
            self._response.leave()
        return message

    async def answer(self, message: Json) -> None:
        """Answer a request of the server; see link.Call."""
        await self._respond(message)

    def drop(self, reason: str = "") -> None:
        """Forget it; see link.Call."""
        if self._is_over:
            return
        self._is_over = True
        self._response.close()
        self._cancel(self._id, reason)

    async def _next(self) -> Json:
        if self._messages is None:
            await self._response.head()
            refusal = await self._on_head(self._response)
            if refusal is not None:
                return {**refusal, "id": self._id}
            if self._response.content_type != "text/event-stream":
                return await self._single()
            self._messages = Messages(self._response)
        for _ in range(_RESUMES):
            try:
                message = await self._messages.next()
            except LinkError:
                if not self._messages.last_id:
                    raise
                message = None
            if message is not None:
                return message
            if not self._messages.last_id:
                break
            await anyio.sleep(self._messages.retry)
            self._response = await self._resume(self._messages.last_id)
            self._messages = Messages(self._response, self._messages)
        raise LinkError(Trouble.LOST, "it ended the stream without an answer")

    async def _single(self) -> Json:
        body = await self._response.body()
        message = _parsed(body)
        if message is None or not ("result" in message or "error" in message):
            raise not_mcp(self._response, body)
        return message


def _parsed(document: bytes) -> Json | None:
    message = parse_message(document)
    if message is None or not ("method" in message or "result" in message or "error" in message):
        return None
    return message
