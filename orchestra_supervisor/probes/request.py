"""What an http check sends and where to: worked out once for each check, not at each probe."""

import base64
import functools
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

import h11

from orchestra_supervisor.model.line_pattern import LinePattern, compile_line_pattern
from orchestra_supervisor.model.spec import HttpCheck
from orchestra_supervisor.probes.connection import place

__all__ = ["BadRequest", "PreparedRequest", "prepare"]

_CACHE_SIZE = 4096
"""Checks whose request is kept: three probes each for the 1,000 services of the design, and some."""
_SAFE = "%/:=&?~#+!$,;'@()*[]"
"""Characters of a path or query that are sent as they are (RFC 3986); others are percent-encoded."""


class BadRequest(Exception):
    """The check cannot be sent as it is written; the message is one line for people."""


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """An http check, ready to send.

    Attributes:
        host: Where to connect.
        port: Port to connect to.
        tls: Whether the connection is encrypted.
        head: Request line and headers; no body follows.
        pattern: What is searched in the body, or None.
        match: The pattern as it is written.
    """

    host: str
    port: int
    tls: bool
    head: h11.Request
    pattern: LinePattern | None
    match: str | None


def prepare(check: HttpCheck) -> PreparedRequest:
    """Return the request of a check, from a cache when it was seen before.

    Raises:
        BadRequest: URL, a header or the pattern is malformed.
    """
    return _prepare(check.url, check.method, tuple(check.headers.items()), check.body_match)


@functools.lru_cache(maxsize=_CACHE_SIZE)
def _prepare(
    url: str, method: str, headers: tuple[tuple[str, str], ...], match: str | None
) -> PreparedRequest:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadRequest(f"not a URL: {error}") from error
    tls = parts.scheme == "https"
    if parts.scheme not in {"http", "https"} or not host:
        raise BadRequest("not an http:// or https:// URL with a host")
    default_port = 443 if tls else 80
    port = default_port if port is None else port
    target = quote(parts.path, safe=_SAFE) or "/"
    if parts.query:
        target += "?" + quote(parts.query, safe=_SAFE)
    own = {
        "Host": place(host, port) if port != default_port else (f"[{host}]" if ":" in host else host),
        "User-Agent": "orchestra-supervisor",
        "Accept": "*/*",
        "Accept-Encoding": "identity",  # body_match reads the bytes as they come
    }
    if method == "POST":
        own["Content-Length"] = "0"
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        own["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode("ascii")
    named = {name.lower() for name, _ in headers}
    sent = [(name, value) for name, value in own.items() if name.lower() not in named]
    sent += [(name, value) for name, value in headers if name.lower() != "connection"]
    sent.append(("Connection", "close"))
    try:
        encoded = [(name.encode("ascii"), value.encode()) for name, value in sent]
        head = h11.Request(method=method.encode(), target=target.encode(), headers=encoded)
    except (h11.LocalProtocolError, UnicodeError):
        # Not chained, and without h11's words: they quote the value, which may be a secret.
        raise BadRequest("a header of the check is malformed") from None
    return PreparedRequest(host, port, tls, head, _compile(match), match)


def _compile(match: str | None) -> LinePattern | None:
    if match is None:
        return None
    try:
        return compile_line_pattern(match)
    except ValueError as error:
        raise BadRequest(f"body_match {error}") from error
