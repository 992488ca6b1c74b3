"""The host of the fleet's plugins: which there are now, who offers what, and who gets the events."""

from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from functools import partial

import anyio
import anyio.abc
from anyio import from_thread, to_thread
from anyio.lowlevel import EventLoopToken, current_token

from orchestra_supervisor.model.errors import OrchestraError, PluginError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.plugin import PluginReport, PluginSpec
from orchestra_supervisor.plugin_api.context import Reveal
from orchestra_supervisor.plugin_api.feed import EventFeed, feeds_of
from orchestra_supervisor.plugin_api.loader import PluginLoader, no_secrets
from orchestra_supervisor.plugin_api.loop import answer_from
from orchestra_supervisor.plugin_api.offers import Offers
from orchestra_supervisor.plugin_api.plugin import Plugin
from orchestra_supervisor.plugin_api.secrets import SecretProvider

__all__ = ["Changed", "PluginHost", "Publish"]

EARLY_EVENTS = 1_000
"""Events that wait for the first plugins to be loaded; further ones the plugins do not get."""
WATCH_PAUSE = 5.0
"""Seconds before a provider's watch that failed is begun again."""

Publish = Callable[[str, str, dict[str, object]], object]
"""Publishes an event: kind, message, data."""
Changed = Callable[[str, Sequence[str]], None]
"""Takes (scheme, names) of secrets that have changed at their provider."""


class PluginHost:
    """Holds the plugins of one daemon.

    Args:
        publish: Publishes events about plugins.
        reveal: Resolves a reference to a secret, in the daemon's own loop.
        changed: Told of secrets that have changed.
        builtin: What is built in; it needs no thread and is there from the beginning.
    """

    def __init__(
        self, publish: Publish, reveal: Reveal, changed: Changed, builtin: Offers | None = None
    ) -> None:
        self.builtin = builtin or Offers()
        self._publish = publish
        self._reveal = reveal
        self._changed = changed
        self._token: EventLoopToken | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._limiter = anyio.CapacityLimiter(1)
        self._lock = anyio.Lock()
        self._feeds: dict[Plugin, tuple[anyio.CancelScope, list[EventFeed]]] = {}
        self._plugins: list[Plugin] = []
        self._waiting: list[Event] = []
        self.loaded = anyio.Event()
        """Set once the first plugins have been loaded, or could not be."""
        self.loader = PluginLoader(self._reveal_from_plugin)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Feed plugins and answer them until cancelled."""
        self._token = current_token()
        try:
            async with anyio.create_task_group() as self._tasks:
                task_status.started()
                await anyio.sleep_forever()
        finally:
            self._tasks = None
            self.loader.keep(())

    async def apply(self, specs: Sequence[PluginSpec], *, entry_points: bool) -> None:
        """Go over to other plugins; those that have not changed go on as they are.

        Args:
            specs: What the settings name.
            entry_points: Whether every plugin of the entry point group is wanted.
        """
        async with self._lock:
            await self._go_over(specs, entry_points=entry_points)

    async def _go_over(self, specs: Sequence[PluginSpec], *, entry_points: bool) -> None:
        load = partial(self.loader.load_wanted, specs, entry_points=entry_points)
        plugins = await to_thread.run_sync(load, limiter=self._limiter, abandon_on_cancel=True)
        told = {plugin for plugin in self._plugins if plugin.fault is not None}
        for plugin in self._plugins:
            if plugin not in plugins and plugin in self._feeds:
                self._feeds.pop(plugin)[0].cancel()
        self._plugins = plugins
        self.loader.keep(plugins)
        for plugin in plugins:
            plugin.tell = self._tell
            if plugin.fault is not None and plugin not in told:
                plugin.log.warning("not loaded: %s", plugin.fault.message, extra={"event": "plugin.failed"})
                self._tell(plugin, "plugin.failed", f"not loaded: {plugin.fault.message}")
            elif plugin.fault is None and plugin.spec.enabled and plugin not in self._feeds:
                self._begin(plugin)
        self.loaded.set()
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self.hand_on(event)

    def _begin(self, plugin: Plugin) -> None:
        assert self._tasks is not None, "plugins are applied only while the host runs"
        scope, feeds = anyio.CancelScope(), feeds_of(plugin)
        self._feeds[plugin] = scope, feeds
        self._tasks.start_soon(self._serve, plugin, scope, feeds)

    async def _serve(self, plugin: Plugin, scope: anyio.CancelScope, feeds: Sequence[EventFeed]) -> None:
        """Feed one plugin and listen to it until it is no longer wanted."""
        with scope:
            async with anyio.create_task_group() as tasks:
                for feed in feeds:
                    tasks.start_soon(feed.run)
                for scheme, provider in plugin.offers.secret_providers.items():
                    tasks.start_soon(self._watch, plugin, scheme, provider)

    # What they offer.

    def reports(self) -> list[PluginReport]:
        """Return every plugin as it stands."""
        now = anyio.current_time()
        return [plugin.report(now) for plugin in self._plugins]

    @property
    def working(self) -> list[Plugin]:
        """The plugins that have been loaded."""
        return [one for one in self._plugins if one.fault is None and one.spec.enabled]

    # Events.

    def hand_on(self, event: Event) -> None:
        """Queue an event for every sink and notifier that wants it. Never waits."""
        if not self.loaded.is_set():
            if len(self._waiting) < EARLY_EVENTS:
                self._waiting.append(event)
            return
        for _, feeds in self._feeds.values():
            for feed in feeds:
                feed.put(event)

    async def drain(self) -> None:
        """Wait until all queued events have been taken; the caller sets the deadline."""
        async with anyio.create_task_group() as tasks:
            for _, feeds in self._feeds.values():
                for feed in feeds:
                    tasks.start_soon(feed.drain)

    def _tell(self, plugin: Plugin, kind: str, message: str) -> None:
        self._publish(kind, f"plugin {plugin.name}: {message}", {"plugin": plugin.name})

    # Secrets.

    async def _watch(self, plugin: Plugin, scheme: str, provider: SecretProvider) -> None:
        """Listen for changed secrets for as long as the provider has any to tell of."""
        token = current_token()

        def tell(names: Sequence[str]) -> None:
            from_thread.run_sync(self._changed, scheme, tuple(names), token=token)

        while True:
            try:
                await plugin.attend(f"watch of {scheme}", partial(_iterate, provider.watch, tell))
            except PluginError:
                await anyio.sleep(WATCH_PAUSE)
            else:
                return

    async def _reveal_from_plugin(self, reference: str) -> str:
        """Resolve a reference for a plugin; runs in its loop."""
        if self._token is None:
            return await no_secrets(reference)
        return await answer_from(self._token, partial(self._ask, reference))

    def _ask(self, reference: str, future: "Future[str]") -> None:
        future.set_running_or_notify_cancel()
        if self._tasks is None:
            future.set_exception(PluginError("the supervisor ends"))
            return
        self._tasks.start_soon(self._answer, reference, future)

    async def _answer(self, reference: str, future: "Future[str]") -> None:
        try:
            value = await self._reveal(reference)
        except OrchestraError as error:
            future.set_exception(error)
        else:
            future.set_result(value)


async def _iterate(
    watch: Callable[[], AsyncIterator[Sequence[str]]], tell: Callable[[Sequence[str]], None]
) -> None:
    async for names in watch():
        tell(names)
