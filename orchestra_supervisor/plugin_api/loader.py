"""Loads plugins: imports, verifies, registers. What is wrong with one becomes its fault, never ours."""

import itertools
import logging
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

from orchestra_supervisor.model.errors import OrchestraError, PluginError, SecretError
from orchestra_supervisor.model.plugin import (
    BUILTIN_PROBES,
    BUILTIN_TARGETS,
    ENTRY_POINT_PREFIX,
    PLUGIN_NAME_PATTERN,
    PluginSpec,
)
from orchestra_supervisor.plugin_api.context import PluginContext, Reveal
from orchestra_supervisor.plugin_api.hooks import API_VERSION
from orchestra_supervisor.plugin_api.loop import PluginLoop
from orchestra_supervisor.plugin_api.offers import LoadedPlugin
from orchestra_supervisor.plugin_api.plugin import Plugin
from orchestra_supervisor.plugin_api.register import register
from orchestra_supervisor.plugin_api.source import Stamp, entry_point_names, import_source, is_file, stamp_of

__all__ = ["PluginLoader", "no_secrets"]

LOADED_AT_ONCE = 8
"""Plugins that are loaded at a time."""


async def no_secrets(reference: str) -> str:
    """Refuse to resolve references, as while a configuration is only checked."""
    if reference.startswith("secret:"):
        raise SecretError("secrets are not given out while a configuration is checked")
    return reference


class PluginLoader:
    """Loads plugins and keeps them, so that one that has not changed is loaded once.

    Loading blocks for as long as plugins take, each within its timeout: do it in a thread.

    Args:
        reveal: Gives plugins the values of secrets.
    """

    def __init__(self, reveal: Reveal = no_secrets) -> None:
        self._reveal = reveal
        self._kept: dict[str, tuple[Stamp, Plugin]] = {}
        self._living: list[Plugin] = []
        self._serials = itertools.count(1)
        self._lock = threading.Lock()

    def load(self, specs: Sequence[PluginSpec]) -> list[Plugin]:
        """Return a plugin for each distinct spec; those with a `fault` could not be loaded."""
        with self._lock:
            distinct = {spec.model_dump_json(): spec for spec in specs}
            known = tuple(self._living)
            with ThreadPoolExecutor(LOADED_AT_ONCE) as pool:  # one that hangs costs its time, not the others'
                plugins = list(pool.map(self._one, distinct, distinct.values()))
            # What serves already has its words: a configuration that is only tried takes none away from it.
            _refuse_doubles(sorted(plugins, key=lambda one: one not in known))
            return plugins

    def load_wanted(self, specs: Sequence[PluginSpec], *, entry_points: bool) -> list[Plugin]:
        """Return the plugins of a fleet.

        Args:
            specs: What the settings name.
            entry_points: Whether every plugin of the entry point group is wanted too.
        """
        return self.load(_wanted(specs, entry_points=entry_points))

    def keep(self, plugins: Sequence[LoadedPlugin]) -> None:
        """Let go of all others. Never waits, not even for plugins that are being loaded."""
        for key, (_, plugin) in tuple(self._kept.items()):
            if plugin not in plugins:
                self._kept.pop(key, None)
        for plugin in tuple(self._living):
            if plugin not in plugins:
                self._living.remove(plugin)
                plugin.loop.close()

    def _one(self, key: str, spec: PluginSpec) -> Plugin:
        stamp = stamp_of(spec.source)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == stamp and kept[1].fault is None:
            return kept[1]
        label = spec.name or (Path(spec.source).stem if is_file(spec.source) else spec.source)
        plugin = Plugin(spec, label, PluginLoop(label))
        if not spec.enabled:
            return plugin
        self._living.append(plugin)
        try:
            _load(plugin, next(self._serials), self._reveal)
        except OrchestraError as error:
            plugin.fault = PluginError(error.message, hint=error.hint, plugin=plugin.name)
        except Exception as error:  # noqa: BLE001 - a plugin's edge
            plugin.fault = PluginError(_said(error), hint=_place(error, spec.source), plugin=plugin.name)
        if plugin.fault is not None:
            plugin.loop.close()
        self._kept[key] = (stamp, plugin)
        return plugin


def _wanted(specs: Sequence[PluginSpec], *, entry_points: bool) -> list[PluginSpec]:
    sources = {spec.source for spec in specs}
    found = [f"{ENTRY_POINT_PREFIX}{name}" for name in (entry_point_names() if entry_points else ())]
    return [*specs, *(PluginSpec(source=source) for source in found if source not in sources)]


def _load(plugin: Plugin, serial: int, reveal: Reveal) -> None:
    spec = plugin.spec
    module = plugin.call_blocking("its import", import_source, spec.source, serial)
    _introduce(plugin, module)
    log = logging.getLogger(f"orchestra.plugin.{plugin.name}")
    context = PluginContext(plugin.name, spec.options, log, spec.timeout, reveal)
    plugin.hooks, plugin.offers = register(module, context, plugin.call_blocking)


def _introduce(plugin: Plugin, module: ModuleType) -> None:
    """Read what a plugin says of itself."""
    version = getattr(module, "API_VERSION", None)
    if version != API_VERSION:
        said = "says no API_VERSION" if version is None else f"is for API version {version!r}"
        raise PluginError(
            f"it {said}; this supervisor has {API_VERSION}", hint=f"API_VERSION = {API_VERSION}"
        )
    name = plugin.spec.name or getattr(module, "NAME", None)
    if not isinstance(name, str) or not re.fullmatch(PLUGIN_NAME_PATTERN, name):
        said = "has no NAME" if name is None else f"calls itself {name!r}"
        raise PluginError(f"it {said}", hint='NAME = "word": letters, digits, `_`, `.`, `-`')
    plugin.name = name
    plugin.version = str(getattr(module, "VERSION", ""))[:32]


def _refuse_doubles(plugins: Sequence[Plugin]) -> None:
    """Let the first of two plugins have a name, a probe type or a scheme; what is built in comes first."""
    owners: dict[tuple[str, str], str] = {("probe", name): "the supervisor itself" for name in BUILTIN_PROBES}
    owners |= {("target", name): "the supervisor itself" for name in BUILTIN_TARGETS}
    for plugin in plugins:
        if plugin.fault is not None or not plugin.spec.enabled:
            continue
        words = [("plugin", plugin.name)]
        words += [("probe", name) for name in plugin.offers.probes]
        words += [("target", name) for name in plugin.offers.targets]
        words += [("secret provider", name) for name in plugin.offers.secret_providers]
        words += [("dialect", name) for name in plugin.offers.dialects]
        for word in words:
            if word in owners:
                message = f"{word[0]} {word[1]!r} is taken by {owners[word]}"
                hint = "give one of them another `name`" if word[0] == "plugin" else "use one of the two"
                plugin.fault = PluginError(message, hint=hint, plugin=plugin.name)
                plugin.loop.close()
                break
        else:
            owners |= dict.fromkeys(words, plugin.spec.source)


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _place(error: BaseException, source: str) -> str:
    """Return the line of the plugin's own file where it happened, as a hint."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == source:
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == source:
        line = error.lineno or 0
    return f"look at {source}:{line}" if line else ""
