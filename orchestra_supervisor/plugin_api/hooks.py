"""The whole contract of plugins: what a plugin module says of itself, and the hooks it may implement.

A plugin is a module with `NAME`, `API_VERSION` and functions marked with `hookimpl`, each named like a
hook below. A hook is called once, when the plugin is loaded; it checks its options, opens nothing, and
returns objects that meet the Protocols of this package. docs/plugins.md is the guide.
"""

from collections.abc import Sequence

import pluggy

from orchestra_supervisor.plugin_api.context import PluginContext
from orchestra_supervisor.plugin_api.dialect import Dialect
from orchestra_supervisor.plugin_api.events import EventSink, Notifier
from orchestra_supervisor.plugin_api.probe import Probe
from orchestra_supervisor.plugin_api.secrets import SecretProvider
from orchestra_supervisor.plugin_api.target import Target

__all__ = [
    "API_VERSION",
    "ENTRY_POINT_GROUP",
    "HOOKS",
    "PROJECT",
    "RESERVED",
    "hookimpl",
    "hookspec",
    "register_dialects",
    "register_event_sinks",
    "register_notifiers",
    "register_probes",
    "register_secret_providers",
    "register_targets",
]

API_VERSION = 1
"""A plugin says for which version it was written; any other is refused."""
PROJECT = "orchestra_supervisor"
ENTRY_POINT_GROUP = "orchestra_supervisor.plugins"
"""Group of entry points that `settings.plugin_entry_points` loads."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_dialects(context: PluginContext) -> Sequence[Dialect]:
    """Return further shapes of configuration files."""
    raise NotImplementedError


@hookspec
def register_probes(context: PluginContext) -> Sequence[Probe]:
    """Return further kinds of checks."""
    raise NotImplementedError


@hookspec
def register_targets(context: PluginContext) -> Sequence[Target]:
    """Return further places where services may run."""
    raise NotImplementedError


@hookspec
def register_secret_providers(context: PluginContext) -> Sequence[SecretProvider]:
    """Return further sources of secrets."""
    raise NotImplementedError


@hookspec
def register_notifiers(context: PluginContext) -> Sequence[Notifier]:
    """Return who tells people of some events."""
    raise NotImplementedError


@hookspec
def register_event_sinks(context: PluginContext) -> Sequence[EventSink]:
    """Return who takes every event."""
    raise NotImplementedError


HOOKS: dict[str, tuple[type, str]] = {
    "register_dialects": (Dialect, "name"),
    "register_probes": (Probe, "type"),
    "register_targets": (Target, "name"),
    "register_secret_providers": (SecretProvider, "scheme"),
    "register_notifiers": (Notifier, "name"),
    "register_event_sinks": (EventSink, "name"),
}
"""Hook to the Protocol that its objects meet, and the property that tells them apart."""

RESERVED = frozenset({"register_commands"})
"""Hooks of a later version; a plugin that implements one is told so."""
