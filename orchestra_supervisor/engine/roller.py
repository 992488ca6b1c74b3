"""Carries out rolling restarts: gives each replica its turn, and falls back where a new configuration fails.

How far a roll is stands in a note with the keeper. What it brings stands in the fleet as applied, on
disk (`Fleet.coming`), beside what the replicas fall back to; so whoever comes next knows both.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import anyio

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.core import Core
from orchestra_supervisor.engine.ports import Clock, KeeperPort
from orchestra_supervisor.model.errors import ConflictError, OrchestraError
from orchestra_supervisor.model.spec import Fleet, ServiceSpec
from orchestra_supervisor.rules.diff import run_digest
from orchestra_supervisor.rules.inputs import Respec, Restart
from orchestra_supervisor.rules.replicas import group_of, members_of
from orchestra_supervisor.rules.rolling import Roll, advance, roll_from_note, roll_to_note
from orchestra_supervisor.rules.updates import digest_of, fallbacks, groups_of, reached

__all__ = ["ROLL_PATIENCE", "ROLL_SLOT_PREFIX", "Ground", "Roller"]

ROLL_PATIENCE = 90.0
"""Seconds that the answer to a reload waits for rolling updates; they go on without it."""
ROLL_SLOT_PREFIX = "roll:"
"""Slots of the notes about rolls; a service's name has no colon."""


class Ground(Protocol):
    """The supervisor, as far as rolls have to do with it."""

    fleet: Fleet
    core: Core

    def rewire(self, fleet: Fleet) -> None: ...  # noqa: D102  # `Supervisor` documents it


class Roller:
    """The rolls of one supervisor.

    Args:
        ground: Where they take place.
        keeper: Holds their notes.
        clock: Time.
        bus: Told of their beginning and end.
        keep: Makes a fleet the applied one; raises ConflictError.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        keeper: KeeperPort,
        clock: Clock,
        bus: EventBus,
        keep: Callable[[Fleet], None],
    ) -> None:
        self._ground = ground
        self._keeper = keeper
        self._clock = clock
        self._bus = bus
        self._keep = keep
        self._rolls: dict[str, Roll] = {}
        self._last: dict[str, Roll] = {}
        """How the latest roll of each name ended."""
        self._fallback: dict[str, ServiceSpec] = {}
        """What replicas ran before a rolling update reached them."""
        self._changed = anyio.Event()

    # What there is.

    def roll_of(self, group: str) -> Roll | None:
        """Return the roll of a name that goes on, else the latest one that is over."""
        return self._rolls.get(group) or self._last.get(group)

    def is_rolling(self, group: str) -> bool:
        """Tell whether a roll of a name goes on."""
        return group in self._rolls

    def fault_of(self, group: str) -> str:
        """Return why the latest roll of a name stopped; empty where it did not."""
        roll = self.roll_of(group)
        return roll.text if roll is not None and roll.failed else ""

    def report(self, group: str) -> dict[str, object] | None:
        """Return the JSON form of what `roll_of` returns."""
        roll = self.roll_of(group)
        if roll is None:
            return None
        return {
            "name": roll.group,
            "state": ("stopped" if roll.failed else "done") if roll.is_over else "rolling",
            "update": bool(roll.update),
            "done": list(roll.done),
            "restarting": [] if roll.failed else [turn.name for turn in roll.turns],
            "to_come": list(roll.todo),
            "failed": roll.failed,
            "message": roll.text if roll.is_over else roll.why,
        }

    def reports(self) -> list[dict[str, object]]:
        """Return the rolls that go on, for status."""
        found = (self.report(group) for group in self._rolls)
        return [report for report in found if report is not None]

    async def wait_over(self, groups: Iterable[str]) -> None:
        """Wait until no roll of these names goes on."""
        names = set(groups)
        while names & self._rolls.keys():
            await self._changed.wait()

    # Beginning.

    def begin(self, names: Iterable[str], why: str, batch: int) -> list[str]:
        """Begin to restart services, a roll for each name that replicas share.

        Returns:
            The names of the rolls.

        Raises:
            ConflictError: One of them is being rolled already.
        """
        fleet = self._ground.fleet
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(group_of(fleet.services[name]), []).append(name)
        for group in groups:
            roll = self._rolls.get(group)
            if roll is not None:
                have, of = len(roll.done), len(roll.done) + len(roll.turns) + len(roll.todo)
                message = f"a rolling restart of {group} goes on: {have} of {of} are through"
                raise ConflictError(
                    message, hint=f"wait for it: orchestra events --kind roll --service {group}"
                )
        for group, members in groups.items():
            self._begin(Roll(group, why, batch, tuple(members)))
        return list(groups)

    def _begin(self, roll: Roll) -> None:
        self._last.pop(roll.group, None)
        self._set(roll)
        names = ", ".join(roll.todo)
        data: dict[str, object] = {"names": list(roll.todo), "batch": roll.batch, "update": bool(roll.update)}
        self._bus.publish(
            "roll.started", f"{roll.why}: {names}, {roll.batch} at a time", service=roll.group, data=data
        )
        self._ground.core.wake()

    def _set(self, roll: Roll) -> None:
        self._rolls[roll.group] = roll
        self._keeper.note(f"{ROLL_SLOT_PREFIX}{roll.group}", roll_to_note(roll))

    def abandon(self) -> None:
        """Carry out no more rolls: the fleet goes down. Their notes still tell what has been reached."""
        self._rolls.clear()
        self._wake_waiters()

    def _drop(self, group: str) -> None:
        self._rolls.pop(group, None)
        self._keeper.note(f"{ROLL_SLOT_PREFIX}{group}", None)
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    # Going on.

    def advance(self) -> bool:
        """Look at every roll, and order what follows; the note is left before the order.

        Returns:
            Whether anything was ordered: it has to be applied before there is news, for it was decided on
            how the services stand now.
        """
        if not self._rolls:
            return False
        is_ordered = False
        core, members = self._ground.core, members_of(self._ground.fleet)
        for roll in list(self._rolls.values()):
            if roll.is_over:
                self._end(roll)  # the last daemon got no further
                continue
            now = self._clock.mono()
            result = advance(roll, core.services, members.get(roll.group, (roll.group,)), now)
            if result.roll != roll:
                self._set(result.roll)
                self._wake_waiters()
            for name in result.restarts:
                self._restart(name, result.roll)
                is_ordered = True
            if result.look_at is not None:
                core.wake_at(result.look_at)
            if result.roll.is_over:
                self._end(result.roll)
        return is_ordered

    def _restart(self, name: str, roll: Roll) -> None:
        spec = self._ground.fleet.coming.get(name)
        if roll.update and spec is not None:
            fleet = self._ground.fleet
            self._ground.core.post(name, Respec(spec))
            self._ground.rewire(fleet.model_copy(update={"services": {**fleet.services, name: spec}}))
        self._ground.core.post(name, Restart(roll.why))

    def _end(self, roll: Roll) -> None:
        back = self._end_update(roll) if roll.update else []
        if back:
            roll = replace(roll, words=f"{roll.words}; {', '.join(back)} goes back to what it ran before")
        if not roll.update:
            self._drop(roll.group)
        self._last[roll.group] = roll
        for name in (*roll.turned, *roll.todo):
            self._ground.core.touch(name)  # who waits for the roll is told by its services
        self._ground.core.wake()
        data: dict[str, object] = {"done": list(roll.done), "left": list(roll.todo), "rolled_back": back}
        if roll.failed:
            data["failed"] = roll.failed
        kind = "roll.stopped" if roll.failed else "roll.done"
        self._bus.publish(kind, roll.text, service=roll.group, data=data)

    # Updates.

    def take_over(self, fleet: Fleet, notes: Mapping[str, object]) -> Fleet:
        """Go on with the rolls of the last daemon.

        Args:
            fleet: As it was applied: what replicas fall back to, and what is coming.
            notes: What the keeper holds, by slot.

        Returns:
            The fleet as far as its rolls have come.
        """
        self._fallback = {name: fleet.services[name] for name in fleet.coming if name in fleet.services}
        for slot, note in notes.items():
            if not slot.startswith(ROLL_SLOT_PREFIX):
                continue
            roll = roll_from_note(note)
            if roll is None or roll.update != digest_of(fleet, roll.group, is_update=bool(roll.update)):
                self._keeper.note(slot, None)
                continue
            self._rolls[roll.group] = roll
            fleet = reached(fleet, roll)
        self._ground.fleet = fleet
        self.update()
        return self._ground.fleet

    def written(self, fleet: Fleet) -> Fleet:
        """Return a fleet as it is to be kept: with what replicas fall back to."""
        return fleet.model_copy(
            update={"services": {**fleet.services, **fallbacks(fleet, self._ground.fleet, self._fallback)}}
        )

    def update(self) -> tuple[str, ...]:
        """Begin the rolls that bring what is coming, and let go of those that bring what no longer is.

        Returns:
            The names that are rolled to another configuration.
        """
        fleet = self._ground.fleet
        for group, roll in list(self._rolls.items()):
            if roll.update and roll.update != digest_of(fleet, group):
                self._last[group] = replace(
                    roll, failed=roll.failed or group, words="another configuration came"
                )
                self._drop(group)
        found = groups_of(fleet)
        for group, names in found.items():
            roll = self._rolls.get(group)
            if roll is None or not roll.update:
                self._fallback |= {name: fleet.services[name] for name in names}
                update = digest_of(fleet, group)
                self._begin(Roll(group, "rolling update", 1, tuple(names), update=update))
        return tuple(found)

    def _end_update(self, roll: Roll) -> list[str]:
        """Settle what holds from now on: what came, and for those that failed what was before."""
        fleet = self._ground.fleet
        failed = [turn.name for turn in roll.turns] if roll.failed else []
        back = {name: self._fallback[name] for name in failed if name in self._fallback}
        coming = {name: spec for name, spec in fleet.coming.items() if group_of(spec) != roll.group}
        self._ground.rewire(
            fleet.model_copy(update={"services": {**fleet.services, **back}, "coming": coming})
        )
        try:
            self._keep(self.written(self._ground.fleet))
        except OrchestraError as error:
            # The note stays with the keeper, so the next daemon knows all the same, and tries again.
            self._bus.publish("roll.unwritable", error.message, service=roll.group)
            self._rolls.pop(roll.group, None)
            self._wake_waiters()
        else:
            self._drop(roll.group)
        for name, spec in back.items():
            self._ground.core.post(name, Respec(spec))
            service = self._ground.core.services.get(name)
            if service is not None and (service.run is None or service.run.digest != run_digest(spec)):
                self._ground.core.post(name, Restart(f"rolled back: {roll.words}"))
        return list(back)
