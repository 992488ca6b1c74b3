"""XML-RPC on the wire: calls read within bounds, answers written as supervisord writes them.

A call that says what it likes about entities or document types is refused before anything is expanded,
and so is one that is too deep or has too many values: what a call may cost is known beforehand.

Source: the XML-RPC specification; supervisor 4.3, `xmlrpc.py`.
"""

import xmlrpc.client
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast
from xml.parsers import expat

from orchestra_supervisor.surfaces.xmlrpc.faults import RpcFault

__all__ = ["MAX_DEPTH", "MAX_VALUES", "BadCall", "Call", "encode_fault", "encode_value", "parse_call"]

MAX_DEPTH = 32
"""Elements within each other; a struct in an array in a call takes 12."""
MAX_VALUES = 20_000
"""Elements of a call; a multicall of 1,000 calls with two arguments has some 17,000."""
_INT = 2**31
_PLACES = {"methodCall": 1, "methodName": 2, "params": 2}
"""Elements that stand at one depth only."""


class BadCall(Exception):
    """This is no call, or more than one may cost."""


@dataclass(frozen=True, slots=True)
class Call:
    """A method's name and what it is given."""

    method: str
    params: tuple[object, ...]


class _Reader:
    """Feeds the standard library's unmarshaller from a parser that expands nothing."""

    def __init__(self) -> None:
        self._target = cast("Any", xmlrpc.client.Unmarshaller())
        self._target.xml(None, None)  # what it gets is text already
        self._depth = self._count = 0
        parser = expat.ParserCreate(None, None)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._target.data
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.ExternalEntityRefHandler = self._refuse
        parser.buffer_text = True
        self._parser = parser

    def read(self, data: bytes) -> tuple[tuple[object, ...], str | None]:
        self._parser.Parse(data, True)  # noqa: FBT003  # positional only
        return self._target.close(), self._target.getmethodname()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH or self._count > MAX_VALUES:
            raise BadCall("too deep, or too many values")
        if _PLACES.get(tag, self._depth) != self._depth or (self._depth == 1) != (tag == "methodCall"):
            raise BadCall(f"<{tag[:40]}> at depth {self._depth}")
        self._target.start(tag, attributes)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        self._target.end(tag)

    def _refuse(self, *_: object) -> int:
        raise BadCall("document types and entities are refused")


def parse_call(data: bytes) -> Call:
    """Read a call.

    Raises:
        BadCall: It is none, or beyond a bound.
    """
    try:
        params, method = _Reader().read(data)
    except BadCall:
        raise
    except Exception as error:  # the library raises whatever a value makes int(), float() or a list raise
        raise BadCall(f"{type(error).__name__}: {error}") from error
    if not method:
        raise BadCall("no method name")
    return Call(method, tuple(_plain(value) for value in params))


def _plain(value: object) -> object:
    """Return base64 as text, as supervisord takes it, and everything else as it is."""
    match value:
        case xmlrpc.client.Binary():
            return value.data.decode("utf-8", "replace")
        case list():
            return [_plain(one) for one in cast("list[object]", value)]
        case dict():
            return {key: _plain(one) for key, one in cast("dict[str, object]", value).items()}
        case _:
            return value


def encode_value(value: object) -> bytes:
    """Return the answer that a method returned a value."""
    return _encoded(xmlrpc.client.dumps((cast("Any", _fit(value)),), methodresponse=True))


def encode_fault(fault: RpcFault) -> bytes:
    """Return the answer that is a fault."""
    text = cast("str", _fit(fault.text))
    return _encoded(xmlrpc.client.dumps(xmlrpc.client.Fault(int(fault.fault), text), methodresponse=True))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _fit(value: object) -> object:
    """Return a value as XML-RPC can carry it: 32 bits, and no character that XML forbids."""
    match value:
        case bool():
            return value
        case int():
            return max(-_INT, min(int(value), _INT - 1))
        case str():
            return value.translate(_UNFIT) if not value.isprintable() else value
        case list() | tuple():
            return [_fit(one) for one in cast("list[object]", value)]
        case dict():
            return {key: _fit(one) for key, one in cast("dict[str, object]", value).items()}
        case _:
            return value


def _forbidden() -> Iterator[int]:
    yield from (code for code in range(0x20) if code not in (0x09, 0x0A, 0x0D))
    yield from (0xFFFE, 0xFFFF)


_UNFIT = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _forbidden()}
"""As elsewhere, what cannot be shown is shown by its number: a colour in a log is `\\x1b[31m`."""
