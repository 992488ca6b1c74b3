"""Requests, answers and routes of the control API, on ASGI.

A framework is made for much more, and brings it along: templates of pages, forms, cookies, mail headers,
5 MB of a daemon that answers with JSON to a socket of its own.

Source: the ASGI specification, HTTP Connection Scope.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from functools import cached_property
from typing import Any, cast
from urllib.parse import parse_qsl

__all__ = [
    "Application",
    "Asgi",
    "Disconnected",
    "Message",
    "Missing",
    "Receive",
    "Request",
    "Response",
    "Route",
    "Scope",
    "Send",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

_FIELD = re.compile(r"\{(\w+)\}")


class Disconnected(Exception):
    """The client has left before all of its request was there."""


class Request:
    """What a client asks.

    Args:
        scope: As ASGI has it.
        receive: Where the body comes from.
        fields: What stands in the path where its route has names.
    """

    def __init__(self, scope: Scope, receive: Receive, fields: Mapping[str, str]) -> None:
        self.scope = scope
        self.path_params = fields
        self._receive = receive

    @property
    def method(self) -> str:
        """Return the method, in capitals."""
        return cast("str", self.scope["method"])

    @property
    def path(self) -> str:
        """Return the path, unquoted, without the query."""
        return cast("str", self.scope["path"])

    @cached_property
    def query_params(self) -> Mapping[str, str]:
        """Return the query; of several of one name the last."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """Return the headers by name in small letters; of several of one name the first."""
        pairs = cast("Sequence[tuple[bytes, bytes]]", self.scope["headers"])
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(pairs)}

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            Disconnected: The rest will not come.
        """
        is_more = True
        while is_more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise Disconnected
            is_more = message.get("more_body", False)
            yield message.get("body", b"")


class Response:
    """What a client is answered.

    Args:
        body: All of it.
        status: The status code.
        kind: Its media type.
    """

    def __init__(self, body: bytes, status: int = 200, kind: str = "application/json") -> None:
        self.body = body
        self.status = status
        self.headers: dict[str, str] = {"content-type": kind, "content-length": str(len(body))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send the answer, as ASGI wants it."""
        await self.start(send)
        await send({"type": "http.response.body", "body": self.body})

    async def start(self, send: Send) -> None:
        """Send status and headers."""
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})


class Missing(Exception):
    """There is no such path, or not with that method.

    Attributes:
        status: 404 or 405.
        detail: In words.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Route:
    """Leads to what answers the requests of one path.

    Args:
        path: Names in braces stand for one part of it each.
        handler: Answers.
        methods: Those it is for; HEAD comes with GET.
    """

    def __init__(
        self,
        path: str,
        handler: Callable[[Request], Awaitable[Response]],
        methods: Iterable[str] = ("GET", "HEAD"),
    ) -> None:
        self.path = path
        self.handler = handler
        self.methods = frozenset(methods)
        parts = _FIELD.split(path)  # text and names by turns
        self._pattern = re.compile(
            "".join(
                f"(?P<{part}>[^/]+)" if number % 2 else re.escape(part) for number, part in enumerate(parts)
            )
        )

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return what stands for the names; None for another path."""
        found = self._pattern.fullmatch(path)
        return None if found is None else found.groupdict()


class Application:
    """Answers requests by their routes.

    Args:
        routes: The first that takes a request answers it.
        missing: Answers what none takes.
    """

    def __init__(
        self, routes: Sequence[Route], missing: Callable[[Request, Missing], Awaitable[Response]]
    ) -> None:
        self.routes = routes
        self._missing = missing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI wants it."""
        response = await self._answer(scope, receive)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        problem = Missing(404, "Not Found")
        for route in self.routes:
            fields = route.match(scope["path"])
            if fields is None:
                continue
            if scope["method"] in route.methods:
                return await route.handler(Request(scope, receive, fields))
            problem = Missing(405, "Method Not Allowed")
        return await self._missing(Request(scope, receive, {}), problem)
