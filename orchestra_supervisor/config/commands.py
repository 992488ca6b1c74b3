"""What a command runs, apart from how it is spelled.

`venv/bin/python3 app.py` in `/srv/app` and the shell line `cd /srv/app && python app.py` run the same thing.
This is used to compare and to look for files, never to run anything.
"""

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from orchestra_supervisor.config.values import is_shell_line
from orchestra_supervisor.model.spec import ServiceSpec

__all__ = ["CommandView", "command_text", "view_command"]

MAX_LINE = 65_536
"""Characters of a shell line that are looked at."""

_CD = re.compile(r"\s*cd\s+(\"[^\"$`]*\"|'[^']*'|[^\s;&|$`\"']+)\s*(?:&&|;)\s*")
_PYTHON = re.compile(r"python[0-9.]*$")
_SCRIPT = re.compile(r"\.(?:py|js|mjs|cjs|ts|sh|rb|pl|php|jar)$")
_OPERATOR = re.compile(r"[();<>|&]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


@dataclass(frozen=True, slots=True)
class CommandView:
    """A command as it would run.

    Attributes:
        words: Program and arguments; of a shell line those of its first command.
        cwd: Where it runs, a leading `cd` of a shell line followed.
        is_shell: It is a shell line.
        is_whole: The words are all there is: no further command, redirection or variable.
    """

    words: tuple[str, ...]
    cwd: str
    is_shell: bool
    is_whole: bool

    @property
    def identity(self) -> tuple[str, ...]:
        """Return a form that is equal for two spellings of one command; empty where that is unknown."""
        if not self.words or not self.is_whole:
            return ()
        program = PurePath(self.words[0]).name
        program = "python" if _PYTHON.match(program) else program
        return (program, *(self._anchored(word) for word in self.words[1:]))

    @property
    def script(self) -> str | None:
        """Return the absolute path of the script an interpreter is given, or None."""
        for word in self.words[1:]:
            if word in ("-c", "-m", "-e"):
                return None
            if not word.startswith("-"):
                return self._anchored(word) if _SCRIPT.search(word) else None
        return None

    def _anchored(self, word: str) -> str:
        if _SCRIPT.search(word) and not word.startswith("-"):
            return os.path.normpath(os.path.join(self.cwd, word))  # noqa: PTH118 - text, not a file
        return word


def command_text(spec: ServiceSpec) -> str:
    """Return a command as people write it."""
    return spec.argv[2] if is_shell_line(spec.argv) else shlex.join(spec.argv)


def view_command(argv: tuple[str, ...], cwd: str) -> CommandView:
    """Look at an argument vector, or through a shell line as far as it is plain."""
    if not is_shell_line(argv):
        return CommandView(argv, cwd, is_shell=False, is_whole=True)
    line = argv[2]
    if match := _CD.match(line):
        folder = match[1].strip("\"'")
        cwd = os.path.normpath(os.path.join(cwd, folder))  # noqa: PTH118 - text, not a file
        line = line[match.end() :]
    words: list[str] = []
    whole = len(line) <= MAX_LINE
    try:
        for word in _tokens(line[:MAX_LINE]):
            if _OPERATOR.fullmatch(word):
                whole = False
                break
            words.append(word)
    except ValueError:  # a quote is not closed, or here text goes on
        words, whole = [], False
    whole = whole and not any(char in word for word in words for char in "$`*?~")
    while words and (words[0] == "exec" or _ASSIGNMENT.match(words[0])):
        words.pop(0)
    return CommandView(tuple(words), cwd, is_shell=True, is_whole=whole)


def _tokens(line: str) -> Iterator[str]:
    """Yield words and operators of a shell line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    yield from lexer
