r"""Files of `NAME=value` lines, as they are commonly written in `.env`.

A line is `NAME=value` or `export NAME=value`. Text in single quotes is literal; in double quotes
`\n`, `\t`, `\r`, `\"`, `\\` and `\$` are escapes. Both may run over several lines. Without quotes a value
ends at ` #` and loses the space around it. `${NAME}` and `${NAME:-default}` are filled in except in
single quotes.
"""

import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from orchestra_supervisor.config.findings import Finding, Location, Severity
from orchestra_supervisor.config.variables import expand

__all__ = ["EnvFile", "parse_env"]

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|$)")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PLAIN = re.compile(r"([^\r\n]*)")
_COMMENT = re.compile(r"(?:^|[ \t]+)#.*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "$": "$$", "\n": ""}


@dataclass(slots=True)
class EnvFile:
    """The variables of one file, in order, and what is wrong with it."""

    values: dict[str, str] = field(default_factory=dict[str, str])
    findings: list[Finding] = field(default_factory=list[Finding])


def parse_env(text: str, path: str, lookup: Mapping[str, str]) -> EnvFile:
    """Read the lines of an env file.

    Args:
        text: Its content.
        path: Named in findings.
        lookup: Values for variables that the file itself does not set above their use.

    Returns:
        The variables. A line that cannot be read is an error and is left out.
    """
    result = EnvFile()
    text = text.removeprefix("\ufeff")
    offset = 0
    while offset < len(text):
        if (blank := _BLANK.match(text, offset)) and blank.end() > offset:
            offset = blank.end()
            continue
        offset = _read_line(text, offset, path, lookup, result)
    return result


def _read_line(text: str, offset: int, path: str, lookup: Mapping[str, str], result: EnvFile) -> int:
    """Read one assignment and return where the next line starts."""
    head = _LINE.match(text, offset)
    if head is None:
        _fault(result, text, offset, path, "is not NAME=value")
        return _next_line(text, offset)
    name, start = head[1], head.end()
    quote = text[start : start + 1]
    form = {"'": _SINGLE, '"': _DOUBLE}.get(quote, _PLAIN)
    match = form.match(text, start)
    if match is None:
        _fault(result, text, offset, path, f"the value of {name} has a quote that is not closed")
        return _next_line(text, offset)
    if form is not _PLAIN and _BLANK.match(text, match.end()) is None:
        _fault(result, text, offset, path, f"there is text after the closing quote of {name}")
        return _next_line(text, match.end())
    value = match[1]
    if form is _PLAIN:
        value = _COMMENT.sub("", value).strip()
    elif form is _DOUBLE:
        value = _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), value)
    if "\x00" in value:
        _fault(result, text, offset, path, f"the value of {name} holds a NUL character")
        return _next_line(text, match.end())
    if form is not _SINGLE:
        expansion = expand(value, ChainMap(result.values, cast("dict[str, str]", lookup)))
        for missing in expansion.missing:
            _fault(result, text, offset, path, f"{name} uses ${{{missing}}}, which is not set")
        value = str(expansion.text)
    result.values[name] = value
    return _next_line(text, match.end())


def _next_line(text: str, offset: int) -> int:
    end = text.find("\n", offset)
    return len(text) if end < 0 else end + 1


def _fault(result: EnvFile, text: str, offset: int, path: str, message: str) -> None:
    line = text.count("\n", 0, offset) + 1
    result.findings.append(
        Finding(
            Severity.ERROR, "env_file.line", message, (Location(path, line),), hint="one NAME=value a line"
        )
    )
