"""Arguments of a tool that are sent as HTTP headers as well, where its schema says so by `x-mcp-header`.

Source: MCP 2026-07-28, `basic/transports/streamable-http.mdx`, "Custom Headers".
"""

from collections.abc import Iterator, Mapping
from typing import cast

from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.http_link import header_value
from orchestra_supervisor.gateway.messages import Json

__all__ = ["HEADER_PREFIX", "HeaderMap", "argument_headers", "header_map"]

HEADER_PREFIX = "Mcp-Param-"
HeaderMap = Mapping[tuple[str, ...], str]
"""Path of the argument -> the header's name, without its prefix."""

_DEPTH = 16


def header_map(schema: Json) -> HeaderMap:
    """Return the arguments that a schema wants as headers: those that are reached by properties alone."""
    return dict(_annotated(schema, ()))


def argument_headers(headers: HeaderMap, arguments: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the headers of a call."""
    lines: list[tuple[str, str]] = []
    for path, name in headers.items():
        value: object = arguments
        for key in path:
            value = member({"at": value}, "at").get(key)
        if isinstance(value, bool):
            lines.append((HEADER_PREFIX + name, "true" if value else "false"))
        elif isinstance(value, str | int):
            lines.append((HEADER_PREFIX + name, header_value(str(value))))
    return lines


def _annotated(schema: Json, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if len(path) > _DEPTH:
        return
    for name, part in member(schema, "properties").items():
        header = text(part, "x-mcp-header")
        if header:
            yield (*path, name), header
        if isinstance(part, dict):
            yield from _annotated(cast("Json", part), (*path, name))
