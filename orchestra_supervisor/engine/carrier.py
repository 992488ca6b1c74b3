"""Carries out what steps ask for: orders to the keeper, and the note that the next daemon gets."""

import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import anyio

from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.engine.order_secrets import TakeDown, has_secrets, with_secrets
from orchestra_supervisor.engine.ports import KeeperPort, SecretResolver, TargetPreparer
from orchestra_supervisor.engine.succession import Succession
from orchestra_supervisor.model.errors import OrchestraError
from orchestra_supervisor.model.spec import ServiceSpec, TargetSpec
from orchestra_supervisor.process.orders import SpawnOrder
from orchestra_supervisor.rules.inputs import (
    Ack,
    Effect,
    Input,
    Listen,
    Remember,
    Spawn,
    SpawnRefused,
    StopRun,
    Took,
    Unlisten,
)
from orchestra_supervisor.rules.service import Service, to_note

__all__ = ["Carrier", "Inbox"]

_HERE = TargetSpec()


class Inbox(Protocol):
    """The core, as far as orders have to do with it."""

    @property
    def services(self) -> Mapping[str, Service]:
        """The records of all services, as they stand."""
        ...

    def post(self, name: str, event: Input) -> None: ...  # noqa: D102  # `Core` documents it
    def wake(self) -> None: ...  # noqa: D102


class Carrier:
    """Turns effects into orders, each note before the order that relies on it.

    Args:
        keeper: Takes the orders.
        launcher: Makes spawn orders.
        secrets: Resolves secret references of an environment.
        targets: Asks for the local process of a run that is to be elsewhere.
        take_down: Told which values a run gets, before it is ordered.
        inbox: Where a spawn that cannot be ordered is reported.
        start: Runs a task in the engine's task group.
    """

    def __init__(
        self,
        *,
        keeper: KeeperPort,
        launcher: Launcher,
        secrets: SecretResolver,
        targets: TargetPreparer,
        take_down: TakeDown | None = None,
        inbox: Callable[[], Inbox],
        start: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        self._keeper = keeper
        self._launcher = launcher
        self._secrets = secrets
        self._targets = targets
        self._take_down = take_down
        self._inbox = inbox
        self._start = start
        self.ranks: Mapping[str, int] = {}
        self.succession = Succession(keeper, lambda: inbox().services, self._beside)
        self._noted: dict[str, bytes] = {}
        """What the keeper has, by service; as a digest, since it is only ever compared."""
        self._looked_at: dict[str, Service] = {}
        """The record that this was found to hold for; the same one needs no other look."""
        self._resolving: dict[str, anyio.CancelScope] = {}

    def carry_out(self, service: Service, effects: tuple[Effect, ...]) -> None:
        """Order what the effects of a step on a service ask for; `Emit` is not for the keeper."""
        for effect in effects:
            match effect:
                case Spawn(run):
                    self._spawn(service, run)
                case Took(run, before):
                    self.succession.took(run, before)
                case StopRun(run) if run in self._resolving:
                    self._resolving.pop(run).cancel()
                    refused = SpawnRefused(run, "secret", 0, "stopped before its start")
                    self._inbox().post(service.spec.name, refused)
                case Listen():
                    self.leave_note(service)
                    self._keeper.listen(service.spec.name, service.spec.sockets)
                case Unlisten():
                    self._keeper.unlisten(service.spec.name)
                case StopRun(run):
                    # The next daemon must know why before the keeper acts.
                    self.leave_note(service)
                    # As configured now, which need not be what the run was started with.
                    self._keeper.stop(run, service.spec.stop)
                case Remember():
                    self.leave_note(service)
                case Ack():
                    # What was learnt from a run is noted before the run is forgotten.
                    self.leave_note(service)
                    self.order(effect)
                case _:
                    pass

    def order(self, *effects: Effect) -> None:
        """Order stops and acknowledgements of runs, whosever they are."""
        for effect in effects:
            match effect:
                case StopRun(run):
                    self._keeper.stop(run)
                case Ack(run):
                    self._keeper.ack(run)
                    self.succession.forget(run)
                case _:
                    pass

    # Notes.

    def leave_note(self, service: Service) -> None:
        """Leave the service's note with the keeper, unless that is what it holds."""
        name = service.spec.name
        if service.is_undecided:
            return  # it would tell the next daemon that the service is not wanted
        if self._looked_at.get(name) is service:
            return
        self._looked_at[name] = service
        note = to_note(service)
        digest = _digest(note)
        if self._noted.get(name) != digest:
            self._noted[name] = digest
            self._keeper.note(name, note)

    def keep_up(self, service: Service) -> None:
        """Let the next daemon and the keeper know how a service stands that may have changed."""
        self.leave_note(service)
        self.succession.update(service)

    def holds(self, service: Service) -> None:
        """Take note of what the keeper holds already."""
        self._noted[service.spec.name] = _digest(to_note(service))
        self._looked_at.pop(service.spec.name, None)

    def forget(self, name: str) -> None:
        """Take back the note of a service that is no more."""
        self._noted.pop(name, None)
        self._looked_at.pop(name, None)
        self._keeper.note(name, None)

    # Spawning.

    def _spawn(self, service: Service, run: str) -> None:
        spec = service.spec
        order = self._launcher.order(spec, run, stop_order=self.ranks.get(spec.name, 0))
        if has_secrets(order) or spec.target != _HERE:
            self._resolving[run] = anyio.CancelScope()
            self._start(lambda: self._prepare_and_send(spec, order))
            return
        self._send(service, order)

    async def _prepare_and_send(self, spec: ServiceSpec, order: SpawnOrder) -> None:
        """Order a run that others have a word in: where its secrets are, and where it is to run."""
        name, stage = spec.name, "secret"
        scope = self._resolving.get(order.run)
        if scope is None:  # stopped before this task began
            return
        with scope:
            try:
                whole = await with_secrets(order, self._secrets, self._take_down)
                stage = "target"
                if spec.target != _HERE:
                    whole = await self._targets(spec, whole)
            except OrchestraError as error:
                if self._resolving.pop(order.run, None) is not None:
                    self._inbox().post(name, SpawnRefused(order.run, stage, 0, error.message))
                return
            if self._resolving.pop(order.run, None) is not None:
                # What was decided meanwhile (that it leaves, say) goes with the run.
                self._send(self._inbox().services[name], whole)
                self._inbox().wake()

    def _beside(self, name: str) -> str:
        return f"{self.ranks.get(name, 0)} {self._launcher.log_keep_bytes}"

    def _send(self, service: Service, order: SpawnOrder) -> None:
        name, note = service.spec.name, to_note(service)
        try:
            self._keeper.spawn(self.succession.dress(order, service), note)
        except OrchestraError as error:
            self._inbox().post(name, SpawnRefused(order.run, "order", 0, error.message))
            return
        self._noted[name] = _digest(note)
        self._looked_at[name] = service


def _digest(note: dict[str, object]) -> bytes:
    return hashlib.sha256(json.dumps(note).encode("ascii")).digest()
