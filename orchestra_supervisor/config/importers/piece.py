"""What an importer makes of a file: bodies of the native form, and where each of their values was written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from orchestra_supervisor.config.draft import Body, KeyPath
from orchestra_supervisor.config.findings import Finding, Location, Severity

__all__ = ["Imported", "Mark", "Piece"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value came from: its place, and how it was called there."""

    place: Location
    key: str = ""

    def __str__(self) -> str:
        """Return it as a comment says it: the name of the file, without its folder."""
        name = self.place.path.rpartition("/")[2]
        where = f"{name}:{self.place.line}" if self.place.line else name
        return f"{self.key} {where}".strip()


@dataclass(slots=True)
class Piece:
    """One service, or the settings.

    Attributes:
        name: Of the service.
        heading: What it was.
        body: In the native form.
        marks: Native path to where its value came from.
    """

    name: str
    heading: Mark
    body: Body = field(default_factory=dict[str, object])
    marks: dict[KeyPath, Mark] = field(default_factory=dict[KeyPath, Mark])

    def put(self, path: KeyPath, value: object, mark: Mark | None = None) -> None:
        """Set a value at a path, and remember where it came from."""
        body = self.body
        for step in path[:-1]:
            inner = body.get(str(step))
            if not isinstance(inner, dict):
                inner = dict[str, object]()
                body[str(step)] = inner
            body = cast("Body", inner)
        body[str(path[-1])] = value
        if mark is not None:
            self.marks[path] = mark

    def append(self, path: KeyPath, item: object, mark: Mark | None = None) -> None:
        """Add an item to the list at a path."""
        body = self.body
        for step in path[:-1]:
            inner = body.get(str(step))
            body = cast("Body", inner) if isinstance(inner, dict) else dict[str, object]()
        known = body.get(str(path[-1]))
        before = cast("list[object]", known) if isinstance(known, list) else []
        self.put(path, [*before, item], mark)


@dataclass(slots=True)
class Imported:
    """What came of the files.

    Attributes:
        source: Names of the files, for the heading.
        services: In their order.
        settings: For all of them.
        include: Files that stay as they are, and are included.
        findings: What could not be carried over, and what is otherwise now.
    """

    source: list[str] = field(default_factory=list[str])
    services: list[Piece] = field(default_factory=list[Piece])
    settings: Piece = field(default_factory=lambda: Piece("settings", Mark(Location(""))))
    include: list[tuple[str, Mark]] = field(default_factory=list[tuple[str, Mark]])
    findings: list[Finding] = field(default_factory=list[Finding])

    def note(
        self,
        severity: Severity,
        code: str,
        message: str,
        place: Location,
        *,
        hint: str = "",
        service: str = "",
    ) -> None:
        """Keep a finding."""
        self.findings.append(Finding(severity, code, message, (place,), hint=hint, service=service))

    def left_out(self, what: str, why: str, place: Location, *, hint: str = "", service: str = "") -> None:
        """Say that something was not carried over."""
        self.note(Severity.WARNING, "import.left_out", f"{what}: {why}", place, hint=hint, service=service)

    def names(self) -> Mapping[str, Piece]:
        """Return the services by name."""
        return {piece.name: piece for piece in self.services}
