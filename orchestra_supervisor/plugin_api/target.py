"""Targets: where a service runs. A target turns what is to run into a local process that stands for it.

Whatever a target does, the keeper holds one process here: its life is the run's, its output is the log, its
exit status the run's, and the stop sequence reaches it. So nothing that the supervisor promises of a run
depends on where it really is; a container's client in the foreground is the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestra_supervisor.plugin_api.context import Options

__all__ = ["LocalRun", "Target", "TargetRequest"]


@dataclass(frozen=True, slots=True)
class TargetRequest:
    """One run that is wanted.

    Attributes:
        service: Name of the service; at most one run of it lives at a time.
        home: State directory of the fleet: with `service` it names the run's place on this host.
        run: The run's id; empty while a configuration is only checked.
        argv: What is to run, in the target's own terms.
        cwd: Absolute, on this host.
        env: What the service is given beside what the supervisor itself inherits, secrets filled in. While a
            configuration is only checked, references are still references.
        options: The `options` of the target in the configuration.
        uses: Keys of the configuration that ask for what only a process here can be given: `limits`,
            `sockets`, `user`, ... A target refuses those that it would have to ignore.
    """

    service: str
    home: str
    run: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(repr=False)
    options: Options
    uses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LocalRun:
    """The process that the keeper starts here.

    Attributes:
        argv: Its command; stays in the foreground for as long as the run lives.
        env: Added to the whole environment that the service would have here. Never put a secret into `argv`.
        before: Commands before it, each at most 60 s; they also remove what a killed run has left behind.
        after: Commands once it has ended.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()


class Target(Protocol):
    """One kind of place where services run."""

    @property
    def name(self) -> str:
        """Return the word that configurations name it by: `"target": "NAME"`."""
        ...

    def faults(self, request: TargetRequest) -> Sequence[str]:
        """Return what is wrong with the options or cannot be honoured, a clause each; opens nothing."""
        ...

    async def prepare(self, request: TargetRequest) -> LocalRun:
        """Return what to start for a run. An exception refuses the start and says why."""
        ...
