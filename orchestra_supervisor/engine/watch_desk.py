"""All that is watched: one observer for the services' files and the configuration, for the daemon's life."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import anyio
from anyio import to_thread

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.config_watch import ConfigWatch
from orchestra_supervisor.engine.file_changes import FileChanges
from orchestra_supervisor.engine.ports import Clock, KeeperPort
from orchestra_supervisor.engine.reload import Inputs, Reloader
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.engine.telling import Teller
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.engine.watches import Watches
from orchestra_supervisor.model.watch import WatchSpec
from orchestra_supervisor.watch.changes import Changes, watching
from orchestra_supervisor.watch.exact import ExactFiles
from orchestra_supervisor.watch.hints import Source
from orchestra_supervisor.watch.patterns import Selection

__all__ = ["WatchDesk"]

_THREADS = 2  # that look at the disk at a time
_CLOSING = 6.0  # seconds that the observer gets to end


@dataclass
class WatchDesk:
    """Puts the observer, the watches of services and the watch of the configuration together.

    Attributes:
        private: Absolute folders in which nothing ever counts.
        seen: Called when the files of the configuration hold something else, the secrets file among them,
            and whenever a fleet has been applied.
    """

    supervisor: Supervisor
    verbs: Verbs
    reloader: Reloader
    keeper: KeeperPort
    bus: EventBus
    clock: Clock
    private: tuple[str, ...]
    seen: Callable[[], None] = lambda: None
    _opened: Source | None = None
    _limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_THREADS))
    _watches: Watches | None = None

    def report(self, name: str) -> dict[str, object] | None:
        """Return what status says of a service's watch; None where it has none."""
        return None if self._watches is None else self._watches.report(name)

    async def run(self) -> None:
        """Watch until cancelled."""
        await self.supervisor.taken_over.wait()
        try:
            async with anyio.create_task_group() as tasks:
                teller = Teller(self.supervisor, self.keeper)
                answer = FileChanges(self.supervisor, self.verbs, teller, self.clock)
                self._watches = Watches(
                    clock=self.clock, bus=self.bus, open_watch=self._files, act=answer.act, task_group=tasks
                )
                config = ConfigWatch(
                    clock=self.clock,
                    bus=self.bus,
                    reloader=self.reloader,
                    settings=lambda: self.supervisor.fleet.settings,
                    open_watch=self._configuration,
                    content=self._content,
                    seen=self.seen,
                )
                tasks.start_soon(config.run)
                while True:
                    rewired = self.supervisor.rewired  # by a reload, and replica by replica by a roll
                    self._watches.reconcile(self.supervisor.fleet.services)
                    self.seen()
                    await rewired.wait()
        finally:
            with anyio.move_on_after(_CLOSING, shield=True):
                if self._opened is not None:
                    await to_thread.run_sync(self._opened.close)

    def _watcher(self) -> Source:
        """Return the observer; the first watch opens it."""
        if self._opened is None:
            # 1 MB that a fleet does not pay where nothing is watched.
            from orchestra_supervisor.watch.observer import Watcher  # noqa: PLC0415

            self._opened = Watcher()
        return self._opened

    def _files(self, cwd: str, spec: WatchSpec) -> AbstractAsyncContextManager[Changes]:
        return watching(self._watcher(), lambda: Selection(cwd, spec, self.private), self._limiter)

    def _configuration(self, inputs: Inputs) -> AbstractAsyncContextManager[Changes]:
        return watching(self._watcher(), lambda: ExactFiles(inputs.files, inputs.globs), self._limiter)

    async def _content(self, inputs: Inputs) -> str:
        def look() -> str:
            return str(ExactFiles(inputs.files, inputs.globs).survey())

        return await to_thread.run_sync(look, limiter=self._limiter)
