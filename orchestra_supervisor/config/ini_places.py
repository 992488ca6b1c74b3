"""Where each section and option of an INI file stands, by the rules of the parser that reads its values.

`configparser` tells no lines. This goes over the same text by the same rules (comments, continuation lines,
what counts twice) and builds the tree of places that other dialects get from their JSON.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from orchestra_supervisor.config.findings import Finding, Location, Severity, shown
from orchestra_supervisor.config.jsonc import Document, Node

__all__ = ["DEFAULT_SECTION", "IniPlaces", "is_ini", "to_lines"]

DEFAULT_SECTION = "DEFAULT"
"""Its options stand in for those that a section does not have."""

_COMMENTS = (";", "#")
_KNOWN_SECTION = re.compile(
    r"^[ \t]*\[(?:supervisord|unix_http_server|inet_http_server|supervisorctl|include|program:|fcgi-program:"
    r"|eventlistener:|group:|rpcinterface:|ctlplugin:)",
    re.MULTILINE,
)


def is_ini(text: str, name: str) -> bool:
    """Tell whether a file is one of supervisord: it has such a section or name, and is no JSON."""
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "//", "/*")):
        return False
    return name.endswith((".conf", ".ini")) or _KNOWN_SECTION.search(to_lines(text)) is not None


def to_lines(text: str) -> str:
    """Return a text as Python reads text files: every line ended alike, no byte order mark."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line without its comment.

    Attributes:
        offset: Of its first character that is no blank.
        indent: How many blanks are before that.
        text: Without blanks around it; empty: nothing but a comment, or nothing.
    """

    offset: int
    indent: int
    text: str


class IniPlaces:
    """The places of one or more files that are read into one set of sections, later ones over earlier ones.

    Args:
        path: Of the first file, as it was given; the place of what stands nowhere.
    """

    def __init__(self, path: str) -> None:
        self.findings: list[Finding] = []
        """What stands twice in one file."""
        self._root = Document(path=path, text="")
        self.root = Node(self._root, "object", 0, None, {}, [], 0)
        """Section name to its options, option to its value."""

    def add(self, text: str, path: str) -> None:
        """Go over one more file.

        Args:
            text: As `to_lines` returns it.
            path: As it was given.
        """
        # For the fleets that have such files.
        from configparser import RawConfigParser  # noqa: PLC0415

        document = Document(path=path, text=text)
        section: Node | None = None
        name = option = ""
        indent = 0
        seen: dict[tuple[str, str], Node] = {}
        for line in _lines(text):
            if not line.text or (section is not None and option and line.indent > indent):
                continue  # of a continuation line, the first line is the place
            indent = line.indent
            if header := RawConfigParser.SECTCRE.match(line.text):
                name, option = header["header"], ""
                section = self._section(name, document, line.offset)
                continue
            match = RawConfigParser.OPTCRE.match(line.text)
            if section is None or match is None:
                continue  # the parser says what is wrong with it
            option = match["option"].rstrip().lower()
            value_at = line.offset + match.start("value") if match["value"] else line.offset
            value = Node(document, "string", value_at, match["value"], {}, [], line.offset)
            if (name, option) in seen:
                self._twice(option, seen[name, option], value)
            seen[name, option] = section.members[option] = value

    def section(self, name: str) -> Node:
        """Return a section with its options and those of DEFAULT; an empty one where there is none."""
        node = self.root.members.get(name)
        shared = self.root.members.get(DEFAULT_SECTION)
        if node is None:
            return self.root
        if shared is None or node is shared:
            return node
        members = {**shared.members, **node.members}
        return Node(node.document, "object", node.offset, None, members, [], node.key_offset)

    def where(self, section: str, option: str = "") -> Location:
        """Return the place of an option's value, or of its section where it is not written."""
        node = self.section(section)
        found = node.members.get(option)
        if found is not None:
            return found.location
        return node.location if node is not self.root else Location(self._root.path)

    def _section(self, name: str, document: Document, offset: int) -> Node:
        known = self.root.members.get(name)
        if known is None:
            known = self.root.members[name] = Node(document, "object", offset, None, {}, [], offset)
        return known

    def _twice(self, option: str, first: Node, second: Node) -> None:
        places = (second.key_location, first.key_location)
        message = f"`{shown(option)}` stands twice in one section; the last one counts"
        hint = f"remove the one in line {places[1].line}"
        self.findings.append(
            Finding(Severity.WARNING, "ini.twice", message, places, shown(option), hint=hint)
        )


def _lines(text: str) -> Iterator[_Line]:
    offset = 0
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        yield _Line(offset + indent, indent, line[: _comment_at(line)].strip())
        offset += len(line) + 1


def _comment_at(line: str) -> int | None:
    """Return where the comment of a line begins, or None: it has none.

    It begins with a sign at the start or after a blank. The signs are looked for side by side, first each
    one's first place, then each one's second, until a round has found one: so does the parser.
    """
    if line.lstrip().startswith(_COMMENTS):
        return 0
    places = dict.fromkeys(_COMMENTS, -1)
    while places:
        places = {sign: at for sign, last in places.items() if (at := line.find(sign, last + 1)) >= 0}
        found = [at for at in places.values() if at == 0 or line[at - 1].isspace()]
        if found:
            return min(found)
    return None
