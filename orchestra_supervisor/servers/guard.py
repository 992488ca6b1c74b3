"""What stands before every embedded server: the Host guard and the access log.

A loopback server is reachable from any web page in a browser on the same machine: a page may send requests
to 127.0.0.1, and by DNS rebinding read the answers under its own name. So a request is served only where it
is addressed to a loopback name, or to one that the operator allowed, and comes from a page of such a name or
from no page.
"""

import ipaddress
import json
import sys
import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["AccessLog", "HostGuard", "is_allowed_host", "write_line"]

_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def write_line(text: str) -> None:
    """Write one line to stdout at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def is_allowed_host(authority: str, allowed: Iterable[str]) -> bool:
    """Return whether `name`, `name:port` or `[address]:port` names this machine or an allowed name."""
    name = authority.strip().lower()
    if name.startswith("["):
        name, _, rest = name[1:].partition("]")
        if rest and not rest.startswith(":"):
            return False
    elif name.count(":") <= 1:
        name = name.partition(":")[0]
    name = name.removesuffix(".")
    if name in _NAMES or name in {other.lower() for other in allowed}:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class HostGuard:
    """Refuses requests with a foreign Host (421) or Origin (403).

    Args:
        app: What is guarded.
        allowed: Names beside the loopback ones.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str] = ()) -> None:
        self._app = app
        self._allowed = frozenset(allowed) - {"0.0.0.0", "::", ""}  # noqa: S104 - wildcards are no names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or not is_allowed_host(hosts[0].decode("latin-1"), self._allowed):
                message = "the request is addressed to a host that this server does not answer for"
                await _refuse(send, 421, "misdirected", message, "use 127.0.0.1, or --allowed-host NAME")
                return
            for name, value in scope["headers"]:
                if name == b"origin" and not self._is_allowed_origin(value.decode("latin-1")):
                    message = "the request comes from a web page of another host"
                    await _refuse(send, 403, "foreign_origin", message, "allow it with --allowed-host NAME")
                    return
        await self._app(scope, receive, send)

    def _is_allowed_origin(self, origin: str) -> bool:
        scheme, separator, authority = origin.partition("://")
        return bool(separator) and scheme in {"http", "https"} and is_allowed_host(authority, self._allowed)


class AccessLog:
    """Writes one JSON line to stdout for each request; the path without its query, which may hold secrets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and write its line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status, size = 0, 0

        async def counted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            line = {"method": scope["method"], "path": scope["path"], "status": status, "bytes": size}
            write_line(json.dumps({**line, "ms": round((time.perf_counter() - began) * 1000, 2)}))


async def _refuse(send: Send, status: int, code: str, message: str, hint: str) -> None:
    body = json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
