"""What a file's head gives to the services of that file."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestra_supervisor.config.draft import Reading
from orchestra_supervisor.config.form import DefaultsForm, HeadForm

__all__ = ["FileScope"]


@dataclass(frozen=True, slots=True)
class FileScope:
    """What a file's head gives to its services.

    Attributes:
        reading: The file.
        head: Its checked head.
        environ: Environment of the supervisor.
        added: Variables that the file adds for all its services.
    """

    reading: Reading
    head: HeadForm
    environ: Mapping[str, str]
    added: Mapping[str, str]

    @property
    def defaults(self) -> DefaultsForm:
        """Return the defaults for services, empty where the file has none."""
        settings = self.head.settings
        return (settings.defaults if settings else None) or DefaultsForm.model_construct(
            restart=None, stop=None, probes=None, log=None, startup_timeout=None
        )
