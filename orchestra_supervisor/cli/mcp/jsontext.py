"""Changing one member of a JSON file as a person would: everything else stays as it is, comments too.

The text is edited at the places that the parser names, never written anew. Before an edit is handed out, the
new text is parsed and compared with what it is meant to be: an edit that would do anything else is an error.
"""

import json
import re

from orchestra_supervisor.config.findings import Severity
from orchestra_supervisor.config.jsonc import Document, Node, parse
from orchestra_supervisor.model.errors import ConfigError

__all__ = ["JsonText"]

_BLANK = re.compile(r"[ \t\r\n]*(?:(?://[^\n]*|/\*.*?\*/)[ \t\r\n]*)*", re.DOTALL)
_LINE_REST = re.compile(r"[ \t]*(?:/\*[^\n]*?\*/[ \t]*)*(?://[^\n]*)?(?=\r?\n|\Z)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_WORD = re.compile(r"[^\s,\]}/]+")
_PART = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|[\[\]{}]', re.DOTALL)


class JsonText:
    """The text of a file and what it means.

    Args:
        text: Its content, without a byte order mark; empty or blank: as if it were `{}`.
        path: Its name in errors.
        is_strict: Refuse comments and trailing commas, as the client that reads it does.

    Raises:
        ConfigError: It is not JSON, not an object, or has a key twice; says where.
    """

    def __init__(self, text: str, path: str, *, is_strict: bool = False) -> None:
        self.given = text
        self.text = text if text.strip() else "{}\n"
        self.path = path
        self._document = _parsed(self.text, path)
        if is_strict:
            _hold_strict(self.text, path)

    @property
    def root(self) -> Node:
        """Return the object of the file."""
        assert self._document.root is not None
        return self._document.root

    def member(self, *keys: str) -> Node | None:
        """Return a member of a member, or None."""
        node = self.root
        for key in keys:
            found = node.members.get(key)
            if found is None:
                return None
            node = found
        return node

    def object_at(self, key: str) -> Node | None:
        """Return a member that has to be an object, or None where it is missing.

        Raises:
            ConfigError: It is something else.
        """
        node = self.root.members.get(key)
        if node is not None and node.kind != "object":
            raise self._no_object(node, key)
        return node

    def where(self, node: Node) -> str:
        """Return the place of a value, for messages."""
        return f"{self.path}:{node.line}:{node.column}"

    def with_member(self, keys: tuple[str, ...], value: object) -> "JsonText":
        """Return the text with a member set, made with the objects around it where they are missing.

        Raises:
            ConfigError: What is to hold it is not an object.
        """
        node = self.root
        for depth, key in enumerate(keys[:-1]):
            found = node.members.get(key)
            if found is None:
                inner = value
                for name in reversed(keys[depth + 1 :]):
                    inner = {name: inner}
                return self._changed(self._inserted(node, key, inner), keys, value)
            if found.kind != "object":
                raise self._no_object(found, key)
            node = found
        present = node.members.get(keys[-1])
        if present is None:
            return self._changed(self._inserted(node, keys[-1], value), keys, value)
        if present.to_python() == value:
            return self
        start, end = present.offset, self._end(present)
        text = self._written(value, self._line_indent(present.key_offset))
        return self._changed(self.text[:start] + text + self.text[end:], keys, value)

    def without_member(self, keys: tuple[str, ...]) -> "JsonText":
        """Return the text without a member; as it is where there is no such member."""
        holder, node = self.member(*keys[:-1]), self.member(*keys)
        if holder is None or node is None:
            return self
        members = list(holder.members.values())
        index = members.index(node)
        comma = self._comma_after(self._end(node))
        text = self.text
        is_last = index == len(members) - 1
        start, end = self._whole_lines(node.key_offset, comma + 1 if comma >= 0 else self._end(node))
        if index + 1 < len(members):
            end = min(end, members[index + 1].key_offset)
            if text[end - 1] != "\n" and "\n" not in text[node.key_offset : end]:
                end = members[index + 1].key_offset  # on one line with the next
        if is_last and index and comma < 0:
            before = self._comma_after(self._end(members[index - 1]))
            if text[before + 1 : start].strip(" \t"):
                text = text[:before] + text[before + 1 : start] + text[end:]
            else:
                text = text[:before] + text[end:]  # on one line with the one before
        else:
            text = text[:start] + text[end:]
        if len(members) == 1:
            close = _end_of(text, holder.offset)
            if not text[holder.offset + 1 : close - 1].strip():
                text = f"{text[: holder.offset]}{{}}{text[close:]}"
        return self._changed(text, keys, None, is_removal=True)

    def _no_object(self, node: Node, key: str) -> ConfigError:
        message = f"{self.where(node)}: {key!r} has to be an object, and is {node.kind}"
        return ConfigError(message, hint="nothing was changed; correct it by hand", path=self.path)

    def _changed(
        self, text: str, keys: tuple[str, ...], value: object, *, is_removal: bool = False
    ) -> "JsonText":
        """Return the new text, having made sure that it says what it should and nothing else."""
        wanted = self.root.to_python()
        holder: object = wanted
        for key in keys[:-1]:
            assert isinstance(holder, dict)
            holder = holder.setdefault(key, {})  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        assert isinstance(holder, dict)
        if is_removal:
            del holder[keys[-1]]
        else:
            holder[keys[-1]] = value
        changed = JsonText(text, self.path)
        if changed.root.to_python() != wanted:
            raise ConfigError(
                f"{self.path} is written in a way that cannot be changed safely",
                hint="nothing was changed; --print shows what to put into it by hand",
                path=self.path,
            )
        return changed

    def _inserted(self, holder: Node, key: str, value: object) -> str:
        text, start = self.text, holder.offset
        close = self._end(holder) - 1
        newline = "\r\n" if "\r\n" in text else "\n"
        members = list(holder.members.values())
        if not members:
            outer = self._line_indent(start)
            indent = outer + self._unit()
            member = f"{json.dumps(key, ensure_ascii=False)}: {self._written(value, indent)}"
            kept = text[start + 1 : close].rstrip()
            return f"{text[: start + 1]}{kept}{newline}{indent}{member}{newline}{outer}{text[close:]}"
        last = members[-1]
        end = self._end(last)
        comma = self._comma_after(end)
        if "\n" not in text[start:close]:
            member = f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
            place = comma + 1 if comma >= 0 else end
            return f"{text[:place]}{'' if comma >= 0 else ','} {member}{text[place:]}"
        indent = self._line_indent(last.key_offset)
        member = f"{json.dumps(key, ensure_ascii=False)}: {self._written(value, indent)}"
        place = comma + 1 if comma >= 0 else end
        rest = _LINE_REST.match(text, place)
        after = rest.end() if rest else place
        return (
            f"{text[:end]}{text[end:place] if comma >= 0 else ','}{text[place:after]}"
            f"{newline}{indent}{member}{',' if comma >= 0 else ''}{text[after:]}"
        )

    def _written(self, value: object, indent: str) -> str:
        """Return a value as text whose further lines begin with an indentation."""
        newline = "\r\n" if "\r\n" in self.text else "\n"
        text = json.dumps(value, ensure_ascii=False, indent=self._unit())
        return text.replace("\n", newline + indent)

    def _unit(self) -> str:
        """Return what one level is indented by in this file."""
        for node in self.root.members.values():
            indent = self._line_indent(node.key_offset)
            if indent and self.text[: node.key_offset].rstrip(" \t").endswith("\n"):
                return indent
        return "  "

    def _line_indent(self, offset: int) -> str:
        line = self.text[self.text.rfind("\n", 0, offset) + 1 : offset]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def _whole_lines(self, start: int, end: int) -> tuple[int, int]:
        """Widen a range to whole lines where nothing else stands on them; a comment after it goes with it."""
        line = self.text.rfind("\n", 0, start) + 1
        rest = _LINE_REST.match(self.text, end)
        if self.text[line:start].strip() or rest is None:
            return start, end
        after = self.text.find("\n", rest.end())
        return line, len(self.text) if after < 0 else after + 1

    def _comma_after(self, offset: int) -> int:
        """Return where the comma after a value stands, or -1."""
        match = _BLANK.match(self.text, offset)
        place = match.end() if match else offset
        return place if self.text.startswith(",", place) else -1

    def _end(self, node: Node) -> int:
        return _end_of(self.text, node.offset)


def _end_of(text: str, offset: int) -> int:
    """Return where a value ends that begins here, in a text that is known to be well-formed."""
    if text[offset] not in "{[":
        match = (_STRING if text[offset] == '"' else _WORD).match(text, offset)
        assert match is not None
        return match.end()
    depth = 0
    for match in _PART.finditer(text, offset):
        if match[0] in "{[":
            depth += 1
        elif match[0] in "]}":
            depth -= 1
            if depth == 0:
                return match.end()
    raise AssertionError


def _parsed(text: str, path: str) -> Document:
    document = parse(text, path)
    for finding in document.findings:
        if finding.severity is Severity.ERROR:
            place = finding.where[0]
            message = f"{path}:{place.line}:{place.column}: {finding.message}"
            raise ConfigError(
                message, hint=f"nothing was changed; {finding.hint}", path=path, line=place.line
            )
    if document.root is None or document.root.kind != "object":
        raise ConfigError(
            f"{path}:1:1: an object was expected", hint="nothing was changed", path=path, line=1
        )
    return document


def _hold_strict(text: str, path: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}:{error.lineno}:{error.colno}: a comment, or a comma too many",
            hint="nothing was changed; take it out: the client itself cannot read the file so",
            path=path,
            line=error.lineno,
        ) from error
