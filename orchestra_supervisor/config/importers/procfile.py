"""A Procfile: one line a process, run by a shell; `.env` beside it, and PORT as foreman counts it."""

import re
from pathlib import Path

from orchestra_supervisor.config.findings import Location, Severity, shown
from orchestra_supervisor.config.importers.names import fitting_name
from orchestra_supervisor.config.importers.piece import Imported, Mark, Piece

__all__ = ["import_procfile"]

_LINE = re.compile(r"\s*([A-Za-z0-9_-]+)\s*:\s*(.+?)\s*")
_FIRST_PORT = 5000
_PORT_STEP = 100
"""What foreman gives to each further process type."""


def import_procfile(text: str, shown_path: str, directory: Path, imported: Imported) -> None:
    """Add the processes of a Procfile.

    Args:
        text: Of the file.
        shown_path: Its name in findings.
        directory: Its folder.
        imported: Gets them.
    """
    taken: set[str] = set(imported.names())
    release: list[str] = []
    number = 0
    for line_number, line in enumerate(text.splitlines(), start=1):
        place = Location(shown_path, line_number, 1)
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            hint = "lines are NAME: COMMAND"
            message = f"{shown(line.strip())!r} is no line of a Procfile"
            imported.note(Severity.ERROR, "procfile.syntax", message, place, hint=hint)
            continue
        name, command = match.groups()
        piece = Piece(fitting_name(name, taken), Mark(place, f"{name}:"))
        taken.add(piece.name)
        piece.put(("command",), command, Mark(place))
        piece.put(("cwd",), str(directory), Mark(Location(shown_path), "the folder of"))
        if name == "release":
            piece.put(("kind",), "once", Mark(place, "a release runs to its end before others start"))
            release.append(piece.name)
        elif re.search(r"\$\{?PORT\b", command):
            port = str(_FIRST_PORT + _PORT_STEP * number)
            piece.put(("env", "PORT"), port, Mark(place, "as foreman counts"))
        number += name != "release"
        imported.services.append(piece)
    for piece in imported.services:
        if piece.name not in release and release:
            piece.put(
                ("depends_on",), dict.fromkeys(release, "completed"), Mark(Location(shown_path), "release:")
            )
    if (directory / ".env").is_file():
        mark = Mark(Location(shown_path), "beside")
        imported.settings.put(("env_files",), [f"?{directory / '.env'}"], mark)
