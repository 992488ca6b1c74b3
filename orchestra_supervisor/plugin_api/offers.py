"""What a loaded plugin offers, and a plugin as far as reading configurations has to do with it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from orchestra_supervisor.model.errors import PluginError
from orchestra_supervisor.model.plugin import PluginSpec
from orchestra_supervisor.plugin_api.dialect import Dialect
from orchestra_supervisor.plugin_api.events import EventFilter, EventSink, Notifier
from orchestra_supervisor.plugin_api.probe import Probe
from orchestra_supervisor.plugin_api.secrets import SecretProvider
from orchestra_supervisor.plugin_api.target import Target

__all__ = ["LoadedPlugin", "Offers", "PluginSource"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Offers:
    """What the hooks of a plugin have returned, by name."""

    dialects: Mapping[str, Dialect] = field(default_factory=dict[str, Dialect])
    probes: Mapping[str, Probe] = field(default_factory=dict[str, Probe])
    targets: Mapping[str, Target] = field(default_factory=dict[str, Target])
    secret_providers: Mapping[str, SecretProvider] = field(default_factory=dict[str, SecretProvider])
    notifiers: Mapping[str, tuple[Notifier, EventFilter]] = field(
        default_factory=dict[str, tuple[Notifier, EventFilter]]
    )
    event_sinks: Mapping[str, EventSink] = field(default_factory=dict[str, EventSink])


class LoadedPlugin(Protocol):
    """One plugin, loaded or not; `plugin_api.plugin.Plugin` documents each member."""

    @property
    def spec(self) -> PluginSpec: ...  # noqa: D102  # documented there
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def offers(self) -> Offers: ...  # noqa: D102
    @property
    def fault(self) -> PluginError | None: ...  # noqa: D102
    def call_blocking(self, what: str, function: Callable[..., T | Awaitable[T]], *args: object) -> T: ...  # noqa: D102


class PluginSource(Protocol):
    """Who loads plugins; its methods block for as long as they take, each within its timeout."""

    def load_wanted(self, specs: Sequence[PluginSpec], *, entry_points: bool) -> Sequence[LoadedPlugin]:
        """Return a plugin for each distinct spec, and for each that installed packages bring."""
        ...

    def keep(self, plugins: Sequence[LoadedPlugin]) -> None:
        """Let go of all others."""
        ...
