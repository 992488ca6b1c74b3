"""The catalog: all backends, what they offer, and who is told when that changes.

Last good lists are kept, in memory and in HOME/gateway/catalog.json: a server that is down, restarting,
or was never started in this life still has its tools listed, and a call brings it up.
"""

import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.abc

from orchestra_supervisor.gateway.backends.backend import Backend
from orchestra_supervisor.gateway.backends.callbacks import Callbacks
from orchestra_supervisor.gateway.backends.channel import StdioChannel
from orchestra_supervisor.gateway.backends.fields import member
from orchestra_supervisor.gateway.backends.introduction import parse_introduction
from orchestra_supervisor.gateway.backends.listing import parse_lists
from orchestra_supervisor.gateway.backends.memory import EraMemory
from orchestra_supervisor.gateway.backends.notebook import Notebook
from orchestra_supervisor.gateway.backends.spec import BackendSpec, GatewaySpec, Pins, Profile, parse_gateway
from orchestra_supervisor.gateway.backends.surroundings import Surroundings
from orchestra_supervisor.gateway.catalog.acquaintance import acquainted
from orchestra_supervisor.gateway.catalog.endpoints import Aggregate, Single
from orchestra_supervisor.gateway.catalog.pins import PinBook
from orchestra_supervisor.gateway.catalog.report import report_on
from orchestra_supervisor.gateway.catalog.results import ResultCache
from orchestra_supervisor.gateway.catalog.shelf import Shelf, stock
from orchestra_supervisor.gateway.catalog.view import Names, View, name_all, single_view, view_of
from orchestra_supervisor.gateway.endpoint import Caller, Change, ChangeKind, Sink
from orchestra_supervisor.gateway.messages import INVALID_PARAMS, Json, RpcError

__all__ = ["Catalog", "make_catalog"]

_COALESCE = 0.1  # seconds in which changes of several servers become one
_PINS_EVERY = 2.0  # seconds between looks at whether somebody edited the pins


class Catalog:
    """See the module; made by `make_catalog`."""

    def __init__(self, channel: StdioChannel, callbacks: Callbacks, home: Path) -> None:
        directory = home / "gateway"
        self.spec = GatewaySpec()
        self._channel = channel
        self._memory = EraMemory(directory / "state.json")
        self._saved = Notebook(directory / "catalog.json")
        self._pins = PinBook(directory / "pins.json")
        self._around = Surroundings(channel, self._memory, callbacks)
        self._backends: dict[str, Backend] = {}
        self._scopes: dict[Backend, anyio.CancelScope] = {}
        self._results: dict[str, ResultCache] = {}
        self._shelves: dict[str, Shelf] = {}
        self._names = Names({}, {})
        self._views: dict[str, View] = {}
        self._sinks: dict[str, list[Sink]] = {}
        self._group: anyio.abc.TaskGroup | None = None
        self._changed = anyio.Event()
        self._is_soiled = False

    def aggregate(self, profile: str | None = None) -> Aggregate:
        """Return the endpoint of all servers, or of a profile.

        Raises:
            RpcError: There is no such profile.
        """
        self.view(profile)
        return Aggregate(self, profile)

    def single(self, server: str) -> Single:
        """Return the endpoint of one server.

        Raises:
            RpcError: There is no such server.
        """
        self.backend(server)
        return Single(self, server)

    def update(self, answer: Json) -> None:
        """Take the answer of `GET /v1/mcp`, the first or a later one."""
        spec = parse_gateway(answer)
        wanted = {one.name: one for one in spec.backends}
        for name in [name for name in self._backends if name not in wanted]:
            self._remove(name)
        for name, one in wanted.items():
            backend = self._backends.get(name)
            if backend is None or not backend.update(one):
                if backend is not None:
                    self._end(backend)
                self._add(one)
            self._restock(self._backends[name])
        self.spec = spec
        self._backends = {name: self._backends[name] for name in wanted}
        self._rebuild()

    def told(self, service: str, state: str) -> None:
        """Be told how a service of the fleet is."""
        for backend in self._backends.values():
            backend.told(service, state)

    def left(self, caller: Caller) -> None:
        """Be told that a session is over."""
        for backend in self._backends.values():
            backend.left(caller)

    async def run(self) -> None:
        """Keep everything. For a task, which is cancelled to end it.

        Returns by itself when the keeper has closed the channel: the gateway should end then, and be started
        anew.
        """
        async with anyio.create_task_group() as group:
            self._group = group
            for book in (self._memory.notebook, self._saved, self._pins.notebook):
                group.start_soon(book.run)
            group.start_soon(self._tell)
            group.start_soon(self._mind_pins)
            for backend in self._backends.values():
                group.start_soon(self._keep, backend)
            try:
                await self._channel.run()
            finally:
                self._group = None
                group.cancel_scope.cancel()

    def report(self) -> Json:
        """Return how all backends are, JSON-ready."""
        return {
            "backends": [
                report_on(backend, self._shelves[name], self._results[name])
                for name, backend in self._backends.items()
            ],
            "tools": len(self.view(None).tools.keys),
            "profiles": sorted(self.spec.profiles),
            "failures": [
                book.failure
                for book in (self._memory.notebook, self._saved, self._pins.notebook)
                if book.failure
            ],
        }

    def accept_pins(self, server: str, tools: tuple[str, ...] = ()) -> list[str]:
        """Take a server's tools as right as they are, the named ones or all; return those that had changed.

        Raises:
            RpcError: There is no such server.
        """
        backend = self.backend(server)
        accepted = self._pins.accept(server, tools)
        self._restock(backend)
        self._soil()
        return accepted

    def view(self, profile: str | None) -> View:
        """Return what a profile lets see; see endpoints.Stock."""
        key = f"*{profile or ''}"
        if profile is not None and profile not in self.spec.profiles:
            known = ", ".join(sorted(self.spec.profiles)) or "none"
            raise RpcError(INVALID_PARAMS, f"there is no profile {profile!r}; there are: {known}")
        return self._fresh(key)

    async def acquainted(self, profile: str | None) -> None:
        """Wait a little for servers that nobody has met; see endpoints.Stock."""
        await acquainted(self._backends[shelf.server] for shelf in self.view(profile).shelves)

    def own_view(self, server: str) -> View:
        """Return a server's own lists; see endpoints.Stock."""
        self.backend(server)
        return self._fresh(f"={server}")

    def backend(self, server: str) -> Backend:
        """Return a server; see endpoints.Stock."""
        found = self._backends.get(server)
        if found is None:
            known = ", ".join(self._backends) or "none"
            raise RpcError(INVALID_PARAMS, f"there is no server {server!r}; there are: {known}")
        return found

    def results(self, server: str) -> ResultCache:
        """Return what is kept of a server; see endpoints.Stock."""
        return self._results.setdefault(server, ResultCache())

    def add_sink(self, key: str, sink: Sink) -> Callable[[], None]:
        """Tell a sink of changes to a view; see endpoints.Stock."""
        self._sinks.setdefault(key, []).append(sink)
        self._fresh(key)  # to know later what changed

        def end() -> None:
            sinks = self._sinks.get(key, [])
            if sink in sinks:
                sinks.remove(sink)
            if not sinks:
                self._sinks.pop(key, None)

        return end

    def listed(self, backend: Backend) -> None:
        """Take a backend's lists; see backend.Audience."""
        name = backend.spec.name
        if self._backends.get(name) is not backend:
            return
        self._restock(backend)
        self.results(name).clear()
        self._soil()
        if backend.introduction is not None:
            saved = member(self._saved.data, "backends")
            saved[name] = {"introduction": backend.introduction.to_json(), **backend.lists.to_json()}
            self._saved.data["backends"] = saved
            self._saved.touch()

    def updated(self, backend: Backend, uri: str) -> None:
        """Tell of a resource; see backend.Audience."""
        change = Change(ChangeKind.RESOURCE, uri)
        server = backend.spec.name
        for key, sinks in list(self._sinks.items()):
            sees = key == f"={server}" or (
                key[0] == "*" and any(shelf.server == server for shelf in self._views[key].shelves)
            )
            if sees:
                for sink in list(sinks):
                    sink(change)

    def _add(self, spec: BackendSpec) -> None:
        saved = member(member(self._saved.data, "backends"), spec.name)
        introduction = parse_introduction(member(saved, "introduction"))
        backend = Backend(spec, self._around, self, parse_lists(saved), introduction)
        self._backends[spec.name] = backend
        self._results[spec.name] = ResultCache()
        if self._group is not None:
            self._group.start_soon(self._keep, backend)

    def _remove(self, name: str) -> None:
        self._end(self._backends.pop(name))
        self._shelves.pop(name, None)
        self._results.pop(name, None)
        if member(self._saved.data, "backends").pop(name, None) is not None:
            self._saved.touch()

    def _end(self, backend: Backend) -> None:
        scope = self._scopes.get(backend)
        if scope is not None:
            scope.cancel()
        backend.is_ended = True

    async def _keep(self, backend: Backend) -> None:
        if backend.is_ended:
            return
        with anyio.CancelScope() as scope:
            self._scopes[backend] = scope
            try:
                await backend.run()
            finally:
                del self._scopes[backend]

    def _restock(self, backend: Backend) -> None:
        spec = backend.spec
        changed = frozenset[str]()
        if spec.pins is not Pins.OFF:
            changed = self._pins.check(spec.name, backend.lists.tools)
        self._shelves[spec.name] = stock(spec, backend.lists, changed)

    def _made(self, key: str) -> View:
        name = key[1:]
        if key[0] == "=":
            return single_view(self._shelves.get(name, Shelf(name)))
        shelves = [self._shelves[server] for server in self._backends]
        profile = self.spec.profiles.get(name, Profile()) if name else Profile()
        return view_of(shelves, self._names, profile)

    def _fresh(self, key: str) -> View:
        if self._is_soiled:
            self._rebuild()
        if key not in self._views:
            self._views[key] = self._made(key)
        return self._views[key]

    def _soil(self) -> None:
        """Have the views made anew: soon, or when the next one looks."""
        self._is_soiled = True
        self._changed.set()

    def _rebuild(self) -> None:
        """Make all views anew, put them in place at once, and tell of what changed."""
        self._is_soiled = False
        self._names = name_all([self._shelves[server] for server in self._backends])
        before, self._views = self._views, {}
        for key in before:
            if key in self._sinks:
                self._views[key] = self._made(key)
                kinds = before[key].changes_to(self._views[key])
                for sink in list(self._sinks[key]):
                    for kind in kinds:
                        sink(Change(kind))

    async def _tell(self) -> None:
        while True:
            await self._changed.wait()
            await anyio.sleep(_COALESCE)
            self._changed = anyio.Event()
            if self._is_soiled:
                self._rebuild()

    async def _mind_pins(self) -> None:
        while True:
            await anyio.sleep(_PINS_EVERY)
            if self._pins.was_edited():
                for backend in self._backends.values():
                    self._restock(backend)
                self._soil()


def make_catalog(answer: Json, *, channel: socket.socket | None, callbacks: Callbacks, home: Path) -> Catalog:
    """Make the catalog. Called in the event loop.

    Args:
        answer: Of `GET /v1/mcp`.
        channel: The socket of ORCHESTRA_STDIO_FD; None: there are no stdio servers.
        callbacks: To the daemon.
        home: Of the fleet; files go to its directory `gateway`.

    Returns:
        A catalog that lists what was known; its `run` is to be started in a task.
    """
    catalog = Catalog(StdioChannel(channel), callbacks, home)
    catalog.update(answer)
    return catalog
