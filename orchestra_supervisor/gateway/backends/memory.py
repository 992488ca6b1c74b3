"""What was found out about servers, kept between two lives of the gateway: HOME/gateway/state.json.

By run, since an initialised process must not be initialised again; and by backend, since a server that
once did not answer `server/discover` will not answer it the next time either.
"""

from pathlib import Path

from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.introduction import Introduction, parse_introduction
from orchestra_supervisor.gateway.backends.notebook import Notebook
from orchestra_supervisor.gateway.endpoint import Era

__all__ = ["EraMemory"]


class EraMemory:
    """See the module.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.notebook = Notebook(path)

    def of_run(self, slot: str, run: str) -> Introduction | None:
        """Return what a process said, None where it was not asked yet."""
        saved = member(member(self.notebook.data, "runs"), slot)
        return parse_introduction(member(saved, "introduction")) if text(saved, "run") == run else None

    def note_run(self, slot: str, run: str, introduction: Introduction) -> None:
        """Remember what a process said."""
        runs = member(self.notebook.data, "runs")
        runs[slot] = {"run": run, "introduction": introduction.to_json()}
        self.notebook.data["runs"] = runs
        self.notebook.touch()

    def forget_run(self, slot: str) -> None:
        """Forget what the process of a slot said."""
        if member(self.notebook.data, "runs").pop(slot, None) is not None:
            self.notebook.touch()

    def era_of(self, backend: str) -> Era | None:
        """Return how a server spoke the last time."""
        era = text(member(member(self.notebook.data, "backends"), backend), "era")
        return Era(era) if era in set(Era) else None

    def path_of(self, backend: str) -> str:
        """Return the path at which an HTTP server was found, empty where it is the configured one."""
        return text(member(member(self.notebook.data, "backends"), backend), "path")

    def note_backend(self, backend: str, era: Era, path: str = "") -> None:
        """Remember how a server speaks, and where."""
        backends = member(self.notebook.data, "backends")
        entry = {"era": era.value, "path": path}
        if backends.get(backend) != entry:
            backends[backend] = entry
            self.notebook.data["backends"] = backends
            self.notebook.touch()
