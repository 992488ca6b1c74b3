"""Which instance a call goes to: by how the backend is shared, and by who calls.

Over pipes an instance is a process, one of the backend's members. Over HTTP it is a connection of a kind:
the one that lists, and beside it handshake sessions for clients that differ in what they can be asked, or
that are kept apart.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from orchestra_supervisor.gateway.backends.callbacks import Callbacks, NotDone
from orchestra_supervisor.gateway.backends.conversation import ASKABLE
from orchestra_supervisor.gateway.backends.instance import Instance
from orchestra_supervisor.gateway.backends.link import LinkError, Trouble
from orchestra_supervisor.gateway.backends.spec import BackendSpec, Sharing
from orchestra_supervisor.gateway.endpoint import Caller, Era
from orchestra_supervisor.gateway.messages import Json

__all__ = ["Chooser", "HttpChooser", "Make", "Seat", "StdioChooser", "askable", "owner_of"]

_LEASE = 600.0  # seconds without a call after which an instance is nobody's any more
_LEGS = 64  # handshake sessions with one HTTP server


@dataclass(slots=True)
class Seat:
    """An instance, and what it is to the backend.

    Attributes:
        instance: To be called.
        service: Behind it; empty: not ours to start.
        owner: Whose it is; empty: everybody's.
        used_by: Whose its process has been: it ends before it is anybody else's.
        lock: Held while it is seen to that it is nobody's else.
    """

    instance: Instance
    service: str
    owner: str = ""
    used_by: str = ""
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class Make(Protocol):
    """Makes an instance, and starts its task."""

    def __call__(
        self, name: str, *, client: Json, era: Era | None = None, is_lister: bool = True
    ) -> Instance:
        """Make it."""
        ...


Drop = Callable[[Instance], None]


class Chooser(Protocol):
    """See the module."""

    @property
    def seats(self) -> Sequence[Seat]:
        """Return all instances that there are; the first lists."""
        ...

    async def choose(self, caller: Caller) -> Seat:
        """Return where a call goes.

        Raises:
            LinkError: There is none for it.
        """
        ...

    def update(self, spec: BackendSpec) -> None:
        """Take other members."""
        ...

    def expired(self) -> list[Seat]:
        """Return the seats that have lost their owners, for the backend to clear. Called now and then."""
        ...

    def left(self, owner: str) -> list[Seat]:
        """Take the seats of an owner who is gone, and return those that the backend is to have cleared."""
        ...

    async def clear(self, seat: Seat) -> None:
        """Have nothing left in a seat of anybody but its owner.

        Raises:
            LinkError: It cannot be had.
        """
        ...

    def refused_handshake(self, seat: Seat) -> bool:
        """Note that a server will not be greeted the old way; True: there is another seat for the call."""
        ...


def askable(caller: Caller) -> Json:
    """Return those capabilities of a client that a server may make use of."""
    return {name: caller.capabilities[name] for name in ASKABLE.values() if name in caller.capabilities}


def owner_of(sharing: Sharing, caller: Caller) -> str:
    """Return whose an instance is that a caller is given; empty: everybody's."""
    if sharing is Sharing.PER_CLIENT:
        return caller.principal
    if sharing is Sharing.PER_SESSION:
        return f"{caller.principal} {caller.session}"
    return ""


class StdioChooser:
    """See the module: for processes.

    Args:
        spec: Of the backend.
        make: Makes an instance of a member.
        drop: Ends one.
        wake: Starts one, and does not wait for it.
        end: Ends the process of one, so that nothing of its last owner is left; raises LinkError.
        callbacks: To have more members.
    """

    def __init__(
        self,
        spec: BackendSpec,
        make: Make,
        drop: Drop,
        wake: Callable[[Seat], None],
        end: Callable[[Seat], Awaitable[None]],
        callbacks: Callbacks,
    ) -> None:
        self._spec = spec
        self._make = make
        self._drop = drop
        self._wake = wake
        self._end = end
        self._callbacks = callbacks
        self._scaling = anyio.Lock()
        self._seats: dict[str, Seat] = {}
        self.update(spec)

    @property
    def seats(self) -> Sequence[Seat]:
        """Return all; see Chooser."""
        return tuple(self._seats.values())

    def update(self, spec: BackendSpec) -> None:
        """Take other members; see Chooser."""
        self._spec = spec
        self._take_members(spec.members or ((spec.service,) if spec.service else ()))

    async def choose(self, caller: Caller) -> Seat:
        """Return where a call goes; see Chooser."""
        if not self._seats:
            raise LinkError(Trouble.LOST, "it has no service that could run it", was_sent=False)
        owner = owner_of(self._spec.sharing, caller)
        if owner:
            return await self._owned(owner)
        if self._spec.sharing is Sharing.POOL:
            return await self._least_busy()
        return next(iter(self._seats.values()))

    def expired(self) -> list[Seat]:
        """Return what has lost its owner; see Chooser."""
        oldest = anyio.current_time() - (self._spec.idle_stop or _LEASE)
        found = [
            seat
            for seat in self._seats.values()
            if seat.owner and not seat.instance.in_flight and seat.instance.last_used < oldest
        ]
        for seat in found:
            seat.owner = ""
        return found

    def left(self, owner: str) -> list[Seat]:
        """Return the seats of who is gone; see Chooser."""
        found = [seat for seat in self._seats.values() if seat.owner == owner]
        for seat in found:
            seat.owner = ""
        return found

    async def clear(self, seat: Seat) -> None:
        """End the process of another owner; see Chooser."""
        async with seat.lock:
            if seat.used_by and seat.used_by != seat.owner:
                await self._end(seat)
            seat.used_by = seat.owner

    def refused_handshake(self, seat: Seat) -> bool:  # noqa: ARG002 - of HTTP
        """Return False: a process speaks one way; see Chooser."""
        return False

    async def _owned(self, owner: str) -> Seat:
        seat = self._seat_of(owner)
        if seat is None:
            async with self._scaling:
                seat = self._seat_of(owner) or await self._claimed(owner)
        if seat.used_by != owner or seat.lock.locked():
            await self.clear(seat)
        return seat

    def _seat_of(self, owner: str) -> Seat | None:
        return next((seat for seat in self._seats.values() if seat.owner == owner), None)

    async def _claimed(self, owner: str) -> Seat:
        free = self._free() or await self._grown() or self._given_up()
        if free is None:
            size = self._spec.size
            reason = f"all {size} instances are in use by other clients; raise `size` to have more"
            raise LinkError(Trouble.BUSY, reason, was_sent=False)
        free.owner = owner
        free.instance.last_used = anyio.current_time()
        return free

    def _free(self) -> Seat | None:
        return next((seat for seat in self._seats.values() if not seat.owner), None)

    def _given_up(self) -> Seat | None:
        """Return the free seat, if any: a seat in use is never taken from its owner before it expires."""
        expired = self.expired()
        return expired[0] if expired else None

    async def _least_busy(self) -> Seat:
        seats = list(self._seats.values())
        ready = [seat for seat in seats if seat.instance.is_ready]
        best = min(ready or seats[:1], key=lambda seat: seat.instance.in_flight)
        if ready and best.instance.in_flight:
            idle = next(
                (seat for seat in seats if not seat.instance.is_ready and not seat.instance.in_flight), None
            )
            if idle is None and not self._scaling.locked():
                async with self._scaling:
                    idle = await self._grown()
            if idle is not None:
                self._wake(idle)  # for the calls to come
        return best

    async def _grown(self) -> Seat | None:
        """Have one member more, where the backend may."""
        count = len(self._seats)
        if count >= self._spec.size or not self._spec.service:
            return None
        try:
            self._take_members(await self._callbacks.scale(self._spec.service, count + 1))
        except NotDone:
            return None
        return list(self._seats.values())[-1] if len(self._seats) > count else None

    def _take_members(self, members: Sequence[str]) -> None:
        for member in members:
            if member not in self._seats:
                is_lister = not self._seats
                self._seats[member] = Seat(self._make(member, client=_DECLARED, is_lister=is_lister), member)
        for member in [one for one in self._seats if one not in members]:
            self._drop(self._seats.pop(member).instance)


_DECLARED: Json = {"elicitation": {}, "sampling": {}}
"""What a process is told that its clients can do: it is greeted before they are known. What it asks is put to
the client whose call it is, and refused where that cannot be told or the client cannot."""


class HttpChooser:
    """See the module: for a URL.

    Args:
        spec: Of the backend.
        make: Makes an instance of a kind.
        drop: Ends one.
    """

    def __init__(self, spec: BackendSpec, make: Make, drop: Drop) -> None:
        self._spec = spec
        self._make = make
        self._drop = drop
        self._first = Seat(make(spec.name, client={}), spec.service)
        self._legs: dict[tuple[str, str], Seat] = {}
        self._is_stateless_only = False

    @property
    def seats(self) -> Sequence[Seat]:
        """Return all; see Chooser."""
        return (self._first, *self._legs.values())

    def update(self, spec: BackendSpec) -> None:
        """Take the new words about it; see Chooser."""
        self._spec = spec

    async def choose(self, caller: Caller) -> Seat:
        """Return where a call goes; see Chooser."""
        introduction = self._first.instance.introduction
        if introduction is None:
            return self._first
        is_stateless = introduction.era is Era.STATELESS
        if is_stateless and (caller.era is Era.STATELESS or self._is_stateless_only):
            return self._first
        owner = owner_of(self._spec.sharing, caller)
        client = askable(caller)
        if not is_stateless and not owner and not client:
            return self._first
        key = (owner, json.dumps(client, sort_keys=True))
        seat = self._legs.get(key)
        if seat is None:
            if len(self._legs) >= _LEGS:
                self._end_oldest()
            instance = self._make(self._spec.name, client=client, era=Era.HANDSHAKE, is_lister=False)
            seat = self._legs[key] = Seat(instance, self._spec.service, owner)
        return seat

    def expired(self) -> list[Seat]:
        """End sessions that nobody uses; see Chooser."""
        oldest = anyio.current_time() - _LEASE
        for key, seat in list(self._legs.items()):
            if not seat.instance.in_flight and seat.instance.last_used < oldest:
                del self._legs[key]
                self._drop(seat.instance)
        return []

    def left(self, owner: str) -> list[Seat]:
        """End the sessions of who is gone; see Chooser."""
        for key, seat in list(self._legs.items()):
            if seat.owner == owner:
                del self._legs[key]
                self._drop(seat.instance)
        return []

    async def clear(self, seat: Seat) -> None:
        """Do nothing: a connection is made for its owner, and ends with them; see Chooser."""

    def refused_handshake(self, seat: Seat) -> bool:
        """Note that it speaks the new way alone; see Chooser."""
        introduction = self._first.instance.introduction
        if seat is self._first or introduction is None or introduction.era is not Era.STATELESS:
            return False
        self._is_stateless_only = True
        for leg in self._legs.values():
            self._drop(leg.instance)
        self._legs.clear()
        return True

    def _end_oldest(self) -> None:
        idle = [key for key, seat in self._legs.items() if not seat.instance.in_flight]
        for key in sorted(idle, key=lambda key: self._legs[key].instance.last_used)[:1]:
            self._drop(self._legs.pop(key).instance)
