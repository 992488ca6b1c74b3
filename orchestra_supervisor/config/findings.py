"""What is wrong, doubtful or worth knowing in configuration files, each with its file and line."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

__all__ = ["Category", "Finding", "Findings", "Location", "Severity", "is_sensitive", "masked", "shown"]

MAX_SHOWN = 160
"""Characters of a value that a finding quotes."""

_MAX_READ = 2_000
"""Characters that are searched for secrets; the search takes time in the square of a word's length."""

_SENSITIVE = re.compile(r"secret|token|passw(?:or)?d|passwd|key|credential", re.IGNORECASE)
_INLINE_SECRET = re.compile(
    r"([\w-]*(?:secret|token|passw(?:or)?d|passwd|key|credential)[\w-]*)(\s*[=:]\s*|\s+)(?!-)(\"[^\"]*\"|'[^']*'|\S+)",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """The files are not usable as they are, or (preflight) this service cannot start."""
    WARNING = "warning"
    """Probably not what was meant; everything is read all the same."""
    INFO = "info"
    """How something was read, where that is not obvious."""


class Category(StrEnum):
    """What a finding is about, and so what an error of it stops."""

    FILE = "file"
    """The text of the files. An error here: nothing is started or changed."""
    DRIFT = "drift"
    """Two places disagree. Never an error by itself."""
    PREFLIGHT = "preflight"
    """The files against this host. An error here concerns one service."""


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file.

    Attributes:
        path: As the file was given.
        line: From 1; 0: the file as a whole.
        column: In characters from 1; 0: the line as a whole.
    """

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return `path:line:column` as compilers write it, the path relative where that is shorter."""
        path = self.path
        if Path(path).is_absolute():
            try:
                path = str(Path(path).relative_to(Path.cwd()))
            except (ValueError, OSError):
                path = self.path
        text = _CONTROL.sub("?", path)
        if self.line:
            text += f":{self.line}"
            if self.column:
                text += f":{self.column}"
        return text

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form of `check --json`."""
        return {"path": _CONTROL.sub("?", self.path), "line": self.line, "column": self.column}


def is_sensitive(name: str) -> bool:
    """Tell whether values under this key or variable name are never shown."""
    return _SENSITIVE.search(name) is not None


def masked(text: str) -> str:
    """Return a text with what looks like a secret (`token=...`, `--key ...`, `user:...@`) replaced by `***`.

    Args:
        text: A line, up to some thousand characters: the search takes time in the square of a word's length.
    """
    return _INLINE_SECRET.sub(r"\1\2***", _USERINFO.sub(r"\1:***@", text))


def shown(value: object, name: str = "") -> str:
    """Return a value as a finding may quote it.

    Args:
        value: Any value out of a file.
        name: The key it stands under; decides whether it is shown at all.

    Returns:
        One printable line, shortened, with what looks like a secret replaced by `***`.
    """
    if name and is_sensitive(name):
        return "***"
    text = (value if isinstance(value, str) else repr(value))[:_MAX_READ]
    text = _CONTROL.sub("?", masked(text))
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    Attributes:
        severity: How much it matters.
        code: Dotted word that stays the same, e.g. `key.unknown`.
        message: One line for people; names the service and the value.
        where: Places it is about; the first is the main one.
        field: The key as the user wrote it, dotted, or empty.
        values: What each place says, in the order of `where`, already fit to be shown.
        hint: The way out, or empty.
        service: The service it concerns, or empty.
        category: What an error of it stops.
    """

    severity: Severity
    code: str
    message: str
    where: tuple[Location, ...] = ()
    field: str = ""
    values: tuple[str, ...] = ()
    hint: str = ""
    service: str = ""
    category: Category = Category.FILE

    def render(self) -> list[str]:
        """Return the lines for a terminal: the finding, further places, and the way out."""
        head = f"{self.where[0]}: " if self.where else ""
        lines = [f"{head}{self.severity}: {self.message}"]
        if len(self.where) > 1 and len(self.values) == len(self.where):
            lines += [f"  {place}: {value}" for place, value in zip(self.where, self.values, strict=True)]
        else:
            lines += [f"  see {place}" for place in self.where[1:]]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return lines

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form of `check --json`."""
        return {
            "severity": str(self.severity),
            "category": str(self.category),
            "code": self.code,
            "message": self.message,
            "service": self.service,
            "field": self.field,
            "values": list(self.values),
            "where": [place.to_dict() for place in self.where],
            "hint": self.hint,
        }


@dataclass(slots=True)
class Findings:
    """A growing list of findings, handed from step to step of a load, and of what was read on the way."""

    items: list[Finding] = field(default_factory=list[Finding])
    read: list[Path] = field(default_factory=list[Path])
    """Env files, absolute, those included that are not there."""

    def add(self, finding: Finding) -> None:
        """Keep one finding."""
        self.items.append(finding)

    def extend(self, findings: Iterable[Finding]) -> None:
        """Keep several."""
        self.items.extend(findings)

    @property
    def has_errors(self) -> bool:
        """Tell whether any finding is an error."""
        return any(item.severity is Severity.ERROR for item in self.items)

    def count(self, severity: Severity) -> int:
        """Return how many findings are of this severity."""
        return sum(item.severity is severity for item in self.items)
