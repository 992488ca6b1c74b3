"""JSON with comments and trailing commas, read into a tree that knows its lines and columns.

The grammar is RFC 8259 plus `//` and `/* */` comments and a comma before a closing bracket
(which is reported). A file with a syntax error gives no tree: the first error is reported and
nothing is guessed. Scanning is by regular expressions, since files of thousands of services are read
while a person waits.
"""

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

from orchestra_supervisor.config.findings import Finding, Location, Severity, shown

__all__ = ["MAX_DEPTH", "Document", "Node", "NodeKind", "parse"]

MAX_DEPTH = 100
"""Nesting of objects and arrays; real files have about six."""

NodeKind = Literal["object", "array", "string", "number", "boolean", "null"]

_SPACE = re.compile(r"[ \t\r\n]*(?:(?://[^\n]*|/\*.*?\*/)[ \t\r\n]*)*", re.DOTALL)
_SCALAR = re.compile(
    r'"(?P<plain>[^"\\\x00-\x1f]*)"|(?P<escaped>"(?:[^"\\\x00-\x1f]|\\.)*")'
    r"|(?P<int>-?(?:0|[1-9][0-9]*))(?![0-9.eE])"
    r"|(?P<float>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![0-9.eE])"
    r"|(?P<word>true|false|null)(?![A-Za-z0-9_])"
)
_KEY = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\r\n]*:')
_WORDS: dict[str, tuple[NodeKind, bool | None]] = {
    "true": ("boolean", True),
    "false": ("boolean", False),
    "null": ("null", None),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORD = re.compile(r"[A-Za-z_]")
_WAY_OUT = "the file is JSON with // and /* */ comments, from this place on it is not"


@dataclass(slots=True, eq=False)
class Node:
    """One value of a file.

    Attributes:
        document: The file it stands in.
        kind: JSON's word for its type.
        offset: Characters from the start of the text to its first character.
        value: Text, number, truth or None; None for objects and arrays.
        members: Of an object, in the order of the file.
        items: Of an array.
        key_offset: Where its key stands when it is a member of an object, else its own offset.
    """

    document: "Document"
    kind: NodeKind
    offset: int
    value: str | int | float | bool | None
    members: dict[str, "Node"]
    items: list["Node"]
    key_offset: int

    @property
    def line(self) -> int:
        """Return the line of its first character, from 1."""
        return self.document.position(self.offset)[0]

    @property
    def column(self) -> int:
        """Return the column of its first character, from 1."""
        return self.document.position(self.offset)[1]

    @property
    def location(self) -> Location:
        """Return where the value stands."""
        return self.document.location(self.offset)

    @property
    def key_location(self) -> Location:
        """Return where its key stands, or the value where it has none."""
        return self.document.location(self.key_offset)

    def to_python(self) -> object:
        """Return the plain value: dicts, lists, text, numbers, truths and None."""
        if self.kind == "object":
            return {key: node.to_python() for key, node in self.members.items()}
        if self.kind == "array":
            return [node.to_python() for node in self.items]
        return self.value

    def find(self, path: tuple[str | int, ...]) -> "tuple[Node, int]":
        """Follow a path of keys and indices as far as it goes.

        Returns:
            The deepest node that was reached, and how many steps led to it.
        """
        node = self
        for taken, step in enumerate(path):
            if node.kind == "object" and step in node.members:
                node = node.members[str(step)]
            elif node.kind == "array" and isinstance(step, int) and 0 <= step < len(node.items):
                node = node.items[step]
            else:
                named = [item for item in node.items if item.value == step and item.kind == "string"]
                return (named[0], taken + 1) if named else (node, taken)
        return node, len(path)


_NO_MEMBERS: dict[str, Node] = {}
_NO_ITEMS: list[Node] = []


@dataclass(slots=True, eq=False)
class Document:
    """One parsed file.

    Attributes:
        path: As it was given.
        text: Its content without a byte order mark.
        root: The value of the file, or None when it has a syntax error.
        findings: Syntax error, duplicate keys, trailing commas.
    """

    path: str
    text: str
    root: Node | None = None
    findings: list[Finding] = field(default_factory=list[Finding])
    _starts: list[int] = field(default_factory=list[int])

    def position(self, offset: int) -> tuple[int, int]:
        """Return line and column, both from 1, of a character."""
        if not self._starts:
            self._starts.append(0)
            self._starts += [match.end() for match in re.finditer("\n", self.text)]
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def location(self, offset: int) -> Location:
        """Return the place of a character."""
        return Location(self.path, *self.position(offset))


class _SyntaxFault(Exception):
    """Where reading stopped, and what was expected there."""

    def __init__(self, offset: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message
        self.hint = hint


def parse(text: str, path: str) -> Document:
    """Read a text.

    Args:
        text: The content; a byte order mark at its start is skipped.
        path: Named in findings.

    Returns:
        The document; its root is None, with an error among its findings, when the text is not JSON.
    """
    document = Document(path=path, text=text.removeprefix("\ufeff"))
    reader = _Reader(document)
    try:
        root = reader.read_all()
    except _SyntaxFault as fault:
        place = document.location(min(fault.offset, len(document.text)))
        document.findings.append(
            Finding(Severity.ERROR, "json.syntax", fault.message, (place,), hint=fault.hint or _WAY_OUT)
        )
    else:
        document.root = root
    return document


class _Reader:
    """A recursive descent over one text; depth is bounded by MAX_DEPTH."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._text = document.text
        self._known: dict[str, str] = {}
        """The keys and texts so far: most of them come again with every service."""

    def read_all(self) -> Node:
        start = self._skip(0)
        if start >= len(self._text):
            raise _SyntaxFault(start, "the file is empty", 'write at least {"services": {}}')
        root, end = self._value(start, 0)
        end = self._skip(end)
        if end < len(self._text):
            found = self._found(end)
            raise _SyntaxFault(end, f"expected the end of the file, found {found}", "one value a file")
        return root

    def _skip(self, offset: int) -> int:
        match = _SPACE.match(self._text, offset)
        return match.end() if match else offset

    def _found(self, offset: int) -> str:
        """Name what stands there without quoting a value, which may be a secret."""
        char = self._text[offset : offset + 1]
        if not char:
            return "the end of the file"
        if char == '"':
            return "a string"
        if _WORD.match(self._text, offset):
            return "a word without quotes"
        return f"U+{ord(char):04X}" if not char.isprintable() else f"{char!r}"

    def _value(self, offset: int, depth: int, key: str | None = None) -> tuple[Node, int]:
        match = _SCALAR.match(self._text, offset)
        if match:
            return self._scalar(match, offset), match.end()
        char = self._text[offset : offset + 1]
        if char not in ("{", "["):
            raise self._no_value(offset, char, key)
        if depth >= MAX_DEPTH:
            raise _SyntaxFault(offset, f"nested deeper than {MAX_DEPTH} levels", "no dialect needs that many")
        return self._object(offset, depth + 1) if char == "{" else self._array(offset, depth + 1)

    def _scalar(self, match: "re.Match[str]", offset: int) -> Node:
        group = match.lastgroup
        kind: NodeKind = "string"
        value: str | int | float | bool | None
        if group == "plain":
            value = self._one(match.group("plain"))
        elif group == "escaped":
            value = self._unescape(match.group(), offset)
        elif group == "word":
            kind, value = _WORDS[match.group()]
        else:
            kind = "number"
            try:
                value = int(match.group()) if group == "int" else float(match.group())
            except ValueError as error:  # Python refuses integers of more than 4,300 digits
                raise _SyntaxFault(offset, "a number with too many digits") from error
        return Node(self._document, kind, offset, value, _NO_MEMBERS, _NO_ITEMS, offset)

    def _one(self, text: str) -> str:
        return self._known.setdefault(text, text)

    def _unescape(self, literal: str, offset: int) -> str:
        try:
            value = str(json.loads(literal))
        except json.JSONDecodeError as error:
            raise _SyntaxFault(
                offset + error.pos, "not a valid escape in a string", 'write a backslash as "\\\\"'
            ) from error
        if _SURROGATE.search(value):
            raise _SyntaxFault(offset, "a string holds half of a surrogate pair", "write both \\u escapes")
        return value

    def _no_value(self, offset: int, char: str, key: str | None) -> _SyntaxFault:
        hint = ""
        expected = "a value" if key is None else f"a value for {shown(key)!r}"
        message = f"expected {expected}, found {self._found(offset)}"
        if char == "'":
            hint = "strings stand in double quotes"
        elif char == "#":
            hint = "comments start with //"
        elif self._text.startswith("/*", offset):
            message = "a comment is not closed"
            hint = "close it with */"
        elif char == '"':
            message = "a string is not closed, or holds a line break or another control character"
            hint = 'close it with ", and write line breaks as \\n'
        elif self._text.startswith(("True", "False", "None"), offset):
            hint = "write true, false or null"
        elif char.isdigit() or char in "-+.":
            message = "not a valid number"
            hint = "no leading zeros or plus sign, and digits on both sides of the point"
        return _SyntaxFault(offset, message, hint)

    def _object(self, start: int, depth: int) -> tuple[Node, int]:
        members: dict[str, Node] = {}
        node = Node(self._document, "object", start, None, members, _NO_ITEMS, start)
        offset = self._skip(start + 1)
        while not self._text.startswith("}", offset):
            key_offset = offset
            key, offset = self._key(offset)
            value, offset = self._value(self._skip(offset), depth, key)
            value.key_offset = key_offset
            if key in members:
                self._duplicate(key, members[key], value)
            members[key] = value
            offset = self._comma(offset, "}", start, key)
        return node, offset + 1

    def _key(self, offset: int) -> tuple[str, int]:
        if match := _KEY.match(self._text, offset):
            return self._one(match.group(1)), match.end()
        match = _SCALAR.match(self._text, offset)
        if match is None or match.lastgroup not in ("plain", "escaped"):
            hint = "keys stand in double quotes"
            if self._text[offset : offset + 1] == "#":
                hint = "comments start with //"
            raise _SyntaxFault(offset, f"expected a key or '}}', found {self._found(offset)}", hint)
        key = str(self._scalar(match, offset).value)
        colon = self._skip(match.end())
        if not self._text.startswith(":", colon):
            raise _SyntaxFault(
                colon, f"expected ':' after the key {shown(key)!r}, found {self._found(colon)}"
            )
        return key, colon + 1

    def _array(self, start: int, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        node = Node(self._document, "array", start, None, _NO_MEMBERS, items, start)
        offset = self._skip(start + 1)
        while not self._text.startswith("]", offset):
            item, offset = self._value(offset, depth)
            items.append(item)
            offset = self._comma(offset, "]", start)
        return node, offset + 1

    def _comma(self, offset: int, closing: str, start: int, key: str | None = None) -> int:
        """Go past the comma, or to the closing bracket; a comma before it is reported."""
        offset = self._skip(offset)
        if self._text.startswith(",", offset):
            comma = offset
            offset = self._skip(offset + 1)
            if self._text.startswith(closing, offset):
                self._note_trailing_comma(comma)
        elif not self._text.startswith(closing, offset):
            line, column = self._document.position(start)
            after = "after a value" if key is None else f"after the value of {shown(key)!r}"
            raise _SyntaxFault(
                offset,
                f"expected ',' or {closing!r} {after}, found {self._found(offset)}",
                f"the bracket was opened at line {line}, column {column}",
            )
        return offset

    def _note_trailing_comma(self, offset: int) -> None:
        self._document.findings.append(
            Finding(
                Severity.WARNING,
                "json.trailing_comma",
                "a comma before a closing bracket",
                (self._document.location(offset),),
                hint="other JSON readers refuse it",
            )
        )

    def _duplicate(self, key: str, first: Node, second: Node) -> None:
        places = (second.key_location, first.key_location)
        self._document.findings.append(
            Finding(
                Severity.ERROR,
                "json.duplicate_key",
                f"the key {shown(key)!r} stands twice in one object, first in line {places[1].line}",
                places,
                field=shown(key),
                hint="remove or rename one of them",
            )
        )
