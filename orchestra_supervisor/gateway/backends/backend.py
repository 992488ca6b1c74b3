"""One backend: its instances, what is known of it, and the way to it for those who call."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import anyio
import anyio.abc

from orchestra_supervisor.gateway.backends.calling import Calling
from orchestra_supervisor.gateway.backends.choice import (
    Chooser,
    HttpChooser,
    Seat,
    StdioChooser,
    owner_of,
)
from orchestra_supervisor.gateway.backends.crew import Crew
from orchestra_supervisor.gateway.backends.ending import Ending
from orchestra_supervisor.gateway.backends.instance import Instance
from orchestra_supervisor.gateway.backends.introduction import Introduction
from orchestra_supervisor.gateway.backends.link import LinkError
from orchestra_supervisor.gateway.backends.listing import Lists
from orchestra_supervisor.gateway.backends.refusals import unavailable
from orchestra_supervisor.gateway.backends.runner import Runner
from orchestra_supervisor.gateway.backends.sources import Demand, HttpSource, Source, StdioSource
from orchestra_supervisor.gateway.backends.spec import BackendSpec, Sharing
from orchestra_supervisor.gateway.backends.surroundings import Surroundings
from orchestra_supervisor.gateway.backends.upkeep import Upkeep
from orchestra_supervisor.gateway.backends.visit import Visit
from orchestra_supervisor.gateway.endpoint import Caller, Era, Exchange
from orchestra_supervisor.gateway.messages import CONNECTION_CLOSED, INVALID_PARAMS, Json, RpcError

__all__ = ["Audience", "Backend"]

_TICK = 1.0  # seconds between looks at what is idle or expired


class Audience(Protocol):
    """Is told what becomes of a backend. Never blocks."""

    def listed(self, backend: "Backend") -> None:
        """Be told that it has lists, perhaps others than before."""
        ...

    def updated(self, backend: "Backend", uri: str) -> None:
        """Be told that a resource is another."""
        ...


class Backend:
    """See the module.

    Args:
        spec: What the daemon says of it.
        around: What all backends have in common.
        audience: Told of its lists and resources.
        lists: The last good ones of an earlier life.
        introduction: What it said of itself then.
    """

    def __init__(
        self,
        spec: BackendSpec,
        around: Surroundings,
        audience: Audience,
        lists: Lists,
        introduction: Introduction | None,
    ) -> None:
        self.spec = spec
        self.lists = lists
        self.introduction = introduction
        self.is_ended = False
        """It was replaced or removed."""
        self.added_at = anyio.current_time()
        self._around = around
        self._audience = audience
        self._runner = Runner(around.callbacks, is_lazy=spec.is_lazy)
        self._group: anyio.abc.TaskGroup | None = None
        self._crew = Crew(spec.name)
        self._ending = Ending()
        self._demand = Demand(is_wanted=not (spec.service and spec.is_lazy))
        self._chooser: Chooser = (
            StdioChooser(spec, self._make, self._crew.drop, self._wake, self._end, around.callbacks)
            if spec.is_stdio
            else HttpChooser(spec, self._make, self._crew.drop)
        )
        self._upkeep = Upkeep(self._chooser, self._runner, around.callbacks)
        self._calling = Calling(spec, self._chooser, self._runner, self.left)

    @property
    def seats(self) -> Sequence[Seat]:
        """Return its instances; the first one lists."""
        return self._chooser.seats

    @property
    def is_ready(self) -> bool:
        """Return whether it can be called without being started."""
        return any(seat.instance.is_ready for seat in self.seats)

    @property
    def calls(self) -> int:
        """Return how many calls were made so far."""
        return self._calling.count

    @property
    def failures(self) -> int:
        """Return how many of them came to nothing for want of the server."""
        return self._calling.failures

    @property
    def parked(self) -> int:
        """Return how many calls wait for their clients."""
        return self._calling.parked

    def lists_before(self) -> Lists:
        """Return the last good lists; see lister.Listener."""
        return self.lists

    def listed(self, lists: Lists, introduction: Introduction) -> None:
        """Take lists; see lister.Listener."""
        self.lists, self.introduction = lists, introduction
        self._audience.listed(self)

    def updated(self, uri: str) -> None:
        """Hand on that a resource is another; see lister.Listener."""
        self._audience.updated(self, uri)

    def update(self, spec: BackendSpec) -> bool:
        """Take new words about it; False where it has to be made anew."""
        same = replace(
            self.spec,
            description=spec.description,
            capabilities=spec.capabilities,
            priority=spec.priority,
            tools=spec.tools,
            members=spec.members,
            pins=spec.pins,
            cache=spec.cache,
            is_ended_when_hung=spec.is_ended_when_hung,
        )
        if same != spec:
            return False
        self.spec = self._calling.spec = spec
        self._chooser.update(spec)
        self._ending.limit({spec.service, *spec.members}, [seat.instance for seat in self.seats])
        return True

    def told(self, service: str, state: str) -> None:
        """Be told how a service is; over pipes, the keeper tells all that is to be known."""
        if not self.spec.is_stdio and service in {self.spec.service, *self.spec.members}:
            self._ending.told(service, state, [seat.instance for seat in self.seats])

    def left(self, caller: Caller) -> None:
        """Be told that a session is over: what was its own ends with it."""
        if self.spec.sharing is Sharing.PER_SESSION and self._group is not None:
            for seat in self._chooser.left(owner_of(self.spec.sharing, caller)):
                self._group.start_soon(self._upkeep.clear, seat)

    async def run(self) -> None:
        """Keep its instances. For a task, which is cancelled to end it."""
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                self._crew.begin(group)
                group.start_soon(self._learn)
                while True:
                    await anyio.sleep(_TICK)
                    self._calling.expire()
                    await self._upkeep.look(self.spec)
        finally:
            self._group = None
            self._crew.end()
            self._calling.clear()

    async def call(
        self,
        method: str,
        params: Json,
        exchange: Exchange,
        *,
        is_safe: bool = False,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Json:
        """Make a client's call; see Calling."""
        return await self._calling.make(method, params, exchange, is_safe=is_safe, headers=headers)

    async def introduced(self) -> Introduction:
        """Return what it said of itself; one that nobody has met is waited for, and started.

        Raises:
            RpcError: It cannot be met.
        """
        if self.introduction is None and self.seats:
            with Visit(self.seats[0].instance) as visit:
                try:
                    await self._runner.ready(visit.instance, self.seats[0].service)
                except LinkError as error:
                    raise unavailable(self.spec.name, error) from error
        if self.introduction is None:
            raise RpcError(CONNECTION_CLOSED, f"{self.spec.name} has not introduced itself yet")
        return self.introduction

    async def watch(self, uri: str) -> Callable[[], None]:
        """Have it tell of a resource until what is returned is called.

        Raises:
            RpcError: It cannot be called, or does not tell.
        """
        seat = self.seats[0]
        if self.introduction is not None and not self.introduction.can("resources", "subscribe"):
            raise RpcError(
                INVALID_PARAMS, f"{self.spec.name} does not tell of changes to {uri}", {"uri": uri}
            )
        with Visit(seat.instance):
            try:
                await self._runner.ready(seat.instance, seat.service)
            except LinkError as error:
                raise unavailable(self.spec.name, error) from error
            return seat.instance.subscriptions.watch(uri)

    async def notify(self, method: str, params: Json, caller: Caller) -> None:
        """Hand on a client's notification to the handshake instances that belong to it alone."""
        owner = owner_of(self.spec.sharing, caller)
        for seat in self.seats if owner else ():
            introduction = seat.instance.introduction
            if seat.owner == owner and introduction is not None and introduction.era is Era.HANDSHAKE:
                try:
                    await seat.instance.notify(method, params)
                except LinkError as error:
                    seat.instance.report(error)

    def _make(self, name: str, *, client: Json, era: Era | None = None, is_lister: bool = True) -> Instance:
        around, spec = self._around, self.spec
        source: Source = (
            StdioSource(around.channel, around.memory, spec.name, name)
            if spec.is_stdio
            else HttpSource(
                around.memory,
                spec.name,
                spec.url,
                around.callbacks.headers,
                self._demand,
            )
        )
        known = around.memory.era_of(spec.name)
        instance = Instance(
            name, spec, source, self, client=client, era=era, known_era=known, is_lister=is_lister
        )
        self._ending.begun(instance)
        self._crew.add(instance)
        return instance

    def _wake(self, seat: Seat) -> None:
        if self._group is not None and not seat.instance.lock.locked():
            self._group.start_soon(self._start, seat)

    async def _end(self, seat: Seat) -> None:
        await self._runner.clear(seat.instance, seat.service)

    async def _start(self, seat: Seat) -> None:
        try:
            await self._runner.start(seat.instance, seat.service)
        except LinkError:
            return  # its state says so, and a call tries again

    async def _learn(self) -> None:
        """Start it once where it is not started by calls, or where nobody knows yet what it offers."""
        await self._around.channel.held.wait()
        seat = self.seats[0] if self.seats else None
        if seat is None or not seat.service or (self.spec.is_lazy and self.introduction is not None):
            return
        await self._start(seat)
