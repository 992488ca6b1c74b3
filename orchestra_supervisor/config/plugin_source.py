"""Plugins for `check`: what loads them is itself loaded only where a file names one."""

from collections.abc import Sequence

from orchestra_supervisor.model.plugin import PluginSpec
from orchestra_supervisor.plugin_api.offers import LoadedPlugin, PluginSource

__all__ = ["LazyPlugins"]


class LazyPlugins:
    """A source of plugins that costs a fleet without plugins nothing."""

    def __init__(self) -> None:
        self._source: PluginSource | None = None

    def load_wanted(self, specs: Sequence[PluginSpec], *, entry_points: bool) -> Sequence[LoadedPlugin]:
        """Return the plugins of a fleet; see `PluginLoader.load_wanted`."""
        if not specs and not entry_points:
            return ()
        if self._source is None:
            # An event loop and the library of hooks: 60 ms of `up`, for the fleets that have plugins.
            from orchestra_supervisor.plugin_api.loader import PluginLoader  # noqa: PLC0415

            self._source = PluginLoader()
        return self._source.load_wanted(specs, entry_points=entry_points)

    def keep(self, plugins: Sequence[LoadedPlugin]) -> None:
        """End the threads of all others."""
        if self._source is not None:
            self._source.keep(plugins)
