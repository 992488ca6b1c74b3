"""The headers that repeat what a stateless request's body says, so that proxies can route by them.

A request whose headers and body disagree is refused: somebody on the way was told something else.

Source: the MCP specification 2026-07-28, `basic/transports/streamable-http.mdx`, "Standard MCP Request
Headers" and "Custom Headers" (`x-mcp-header`).
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping

from orchestra_supervisor.gateway.front.eras import META_VERSION
from orchestra_supervisor.gateway.front.wire import as_object
from orchestra_supervisor.gateway.messages import HEADER_MISMATCH, Json, RpcError

__all__ = ["Parameter", "Parameters", "check_parameters", "check_routing", "decode_value", "parameters_of"]

VERSION_HEADER = b"mcp-protocol-version"
METHOD_HEADER = b"mcp-method"
NAME_HEADER = b"mcp-name"
PARAMETER_PREFIX = b"mcp-param-"

_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_BASE64 = re.compile(r"=\?base64\?(.*)\?=")
_DECIMAL = re.compile(r"(-?[0-9]{1,400})(?:\.(0{1,400}))?")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPES = frozenset({"string", "integer", "boolean"})
_MAX_DEPTH = 32  # of nested properties that are looked into for annotations

Parameter = tuple[tuple[str, ...], str, str]
"""Where an argument is in the arguments, its header's name in lower case without the prefix, its type."""
Parameters = tuple[Parameter, ...]
"""Those of one tool."""


def check_routing(headers: Mapping[bytes, list[bytes]], method: str, params: Json) -> None:
    """Hold the standard headers of a stateless request against its body.

    Args:
        headers: All values of each, by lower-case name.
        method: Of the body.
        params: Of the body.

    Raises:
        RpcError: HEADER_MISMATCH, one is missing, given twice, or says something else.
    """
    version = as_object(params.get("_meta")).get(META_VERSION)
    if _single(headers, VERSION_HEADER) != version:
        raise _mismatch("MCP-Protocol-Version", f"_meta of the body says {version!r}")
    if _single(headers, METHOD_HEADER) != method:
        raise _mismatch("Mcp-Method", f"the body's method is {method!r}")
    key = _NAMED_BY.get(method)
    if key is not None:
        name, given = params.get(key), _single(headers, NAME_HEADER)
        if name is not None and (given is None or decode_value(given) != name):
            raise _mismatch("Mcp-Name", f"the body's {key} is {name!r}")


def parameters_of(schema: Json) -> Parameters:
    """Return the arguments of a tool that are repeated in headers.

    A schema with one bad annotation counts as one without any, as it does for clients.
    """
    found: list[Parameter] = []
    for path, fields in _properties(schema, (), 0):
        header = fields.get("x-mcp-header")
        if header is None:
            continue
        kind = fields.get("type")
        good = (
            isinstance(header, str) and _TOKEN.fullmatch(header) and isinstance(kind, str) and kind in _TYPES
        )
        if not good:
            return ()
        found.append((path, str(header).lower(), str(kind)))
    names = [header for _, header, _ in found]
    return tuple(found) if len(set(names)) == len(names) else ()


def check_parameters(headers: Mapping[bytes, list[bytes]], parameters: Parameters, arguments: Json) -> None:
    """Hold the headers of a tool call's arguments against the arguments.

    Raises:
        RpcError: HEADER_MISMATCH, as for `check_routing`.
    """
    for path, header, kind in parameters:
        shown = f"Mcp-Param-{header}"
        given = _single(headers, PARAMETER_PREFIX + header.encode("ascii"))
        value = _at(arguments, path)
        text = _as_text(value)
        if text is None:
            if given is not None:
                raise _mismatch(shown, f"the body has no argument {'.'.join(path)}")
        elif given is None or not _agree(decode_value(given), value, kind):
            raise _mismatch(shown, f"the body's argument {'.'.join(path)} is {text!r}")


def decode_value(value: str) -> str | None:
    """Return what a header's value stands for: itself, or what it says in base64; None: that is broken."""
    wrapped = _BASE64.fullmatch(value)
    if wrapped is None:
        return value
    try:
        content = base64.b64decode(wrapped[1], validate=True)
        # Bits over in the last character would let two texts stand for one value.
        return content.decode() if base64.b64encode(content).decode("ascii") == wrapped[1] else None
    except (binascii.Error, ValueError):
        return None


def _single(headers: Mapping[bytes, list[bytes]], name: bytes) -> str | None:
    values = headers.get(name, [])
    if len(values) > 1:
        raise RpcError(HEADER_MISMATCH, f"the header {name.decode('ascii')} is given {len(values)} times")
    return values[0].strip(b" \t").decode("latin-1") if values else None


def _mismatch(header: str, why: str) -> RpcError:
    return RpcError(HEADER_MISMATCH, f"the header {header} does not fit: {why}")


def _properties(schema: Json, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Json]]:
    if depth < _MAX_DEPTH:
        for name, value in as_object(schema.get("properties")).items():
            fields = as_object(value)
            yield (*path, name), fields
            yield from _properties(fields, (*path, name), depth + 1)


def _at(arguments: Json, path: Iterable[str]) -> object:
    value: object = arguments
    for name in path:
        value = as_object(value).get(name)
    return value


def _as_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _agree(given: str | None, value: object, kind: str) -> bool:
    """Return whether a header says what an argument is; whole numbers are compared as numbers."""
    if given is None or given == _as_text(value):
        return given is not None
    number = _DECIMAL.fullmatch(given)
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    return kind == "integer" and whole and number is not None and int(number[1]) == value
