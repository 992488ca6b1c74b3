"""The state directory of a fleet: which files there are, and how they are replaced whole."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestra_supervisor.config.applied import dump_fleet, parse_fleet
from orchestra_supervisor.model.errors import ConfigError, ConflictError
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.rules.naming import visible

__all__ = ["StateDirectory"]


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """One home.

    Attributes:
        path: Absolute.
    """

    path: Path

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.path / "journal.sqlite3"

    @property
    def control_socket(self) -> Path:
        """Where the control API is meant to be; see `serve_unix` for paths over the system's limit."""
        return self.path / "control.sock"

    def log_directory(self, fleet: Fleet) -> Path:
        """Return where the logs of a fleet go."""
        return Path(fleet.settings.log_directory or self.path / "logs")

    def applied_fleet(self) -> Fleet | None:
        """Return the fleet as it was last applied, or None where there is none that can be read.

        A damaged file is set aside as `fleet.json.damaged`.
        """
        place = self.path / "fleet.json"
        try:
            return parse_fleet(place.read_text(encoding="utf-8"))
        except (OSError, ValueError, ConfigError):
            with suppress(OSError):
                place.replace(self.path / "fleet.json.damaged")
            return None

    def apply(self, fleet: Fleet) -> None:
        """Make a fleet the applied one: what the next daemon goes on with.

        Raises:
            ConflictError: The file cannot be written.
        """
        self._replace("fleet.json", dump_fleet(fleet))

    def write_layout(self, fleet: Fleet, socket: Path) -> None:
        """Tell readers where things are while no daemon runs.

        Raises:
            ConflictError: The file cannot be written.
        """
        tagged: dict[str, list[str]] = {}
        for name, spec in fleet.services.items():
            for tag in spec.tags:
                tagged.setdefault(tag, []).append(name)
        layout = {
            "tags": tagged,
            "log_directory": str(self.log_directory(fleet)),
            "services": list(visible(fleet.services)),
            "control": str(socket),
        }
        self._replace("layout.json", json.dumps(layout))

    def write_exit(self, keeper: int, status: int, why: str) -> None:
        """Leave word of how the fleet ends by itself; where it cannot be written, the status alone tells."""
        with suppress(ConflictError):
            self._replace("exit.json", json.dumps({"keeper": keeper, "status": status, "why": why}))

    def _replace(self, name: str, text: str) -> None:
        """Replace a file whole or not at all, readable for the owner alone."""
        place, scratch = self.path / name, self.path / f"{name}.new"
        try:
            descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(place)
        except OSError as error:
            raise ConflictError(
                f"{place} cannot be written: {error.strerror}", hint="free space, or choose another --home"
            ) from error
