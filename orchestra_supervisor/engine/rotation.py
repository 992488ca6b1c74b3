"""Changed secrets become what their services ask for: a new run, a signal, or a word in the journal.

A look compares the values as they are now with the digests of what runs were started with. One follows a
provider's word, a reload, a change of the watched files, and the beginning of a daemon, for whatever changed
while there was none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from orchestra_supervisor.config.secrets import secret_names
from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.phase import Phase
from orchestra_supervisor.engine.ports import KeeperPort
from orchestra_supervisor.engine.secret_ledger import SecretLedger
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.engine.telling import Teller
from orchestra_supervisor.engine.verbs import Verbs
from orchestra_supervisor.model.errors import ConflictError, SecretError
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.model.states import Desired, State
from orchestra_supervisor.rules.service import Service
from orchestra_supervisor.rules.watching import MOST_ACTIONS, pause_until

__all__ = ["Rotation", "Values"]

AGAIN = 1.0
"""Seconds before the next look when a service was being started: which values it gets is not known yet."""
FIRST_PAUSE = 5.0
"""Seconds before the next look when values could not be had; doubled each time."""
LONGEST_PAUSE = 60.0


class Values(Protocol):
    """The secrets as they are now; `SecretDesk` documents it."""

    def is_lasting(self, name: str) -> bool: ...  # noqa: D102
    async def resolve(self, env: Mapping[str, str]) -> dict[str, str]: ...  # noqa: D102


@dataclass(slots=True)
class _Asked:
    """What the next look is about."""

    is_about_file: bool = False
    is_about_all: bool = False
    told: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Scheme to the names that its provider has told of."""
    also: set[str] = field(default_factory=set[str])
    """Names of providers, with their schemes, that an earlier look could not settle."""

    @property
    def names(self) -> set[str]:
        return self.also | {f"{scheme}:{name}" for scheme, names in self.told.items() for name in names}

    def of(self, spec: ServiceSpec) -> list[str]:
        """Return those names of a service's secrets that are to be looked at."""
        used = {name for value in spec.env.values() for name in secret_names(value)}
        named = self.names
        # A provider is asked anew by itself alone: what it gives may be another one each time.
        is_asked = self.is_about_all and spec.on_secret_change.action != "ignore"
        return sorted(
            name
            for name in used
            if name in named or (is_asked if ":" in name else self.is_about_file or self.is_about_all)
        )


@dataclass(frozen=True, slots=True)
class _Done:
    """What was done for a service, because of these names."""

    service: str
    names: tuple[str, ...]
    action: str


class Rotation:
    """Looks, compares and acts; one look at a time, and what is asked meanwhile is one more.

    Args:
        supervisor: Has the services.
        verbs: Restart them.
        keeper: Signals them.
        ledger: Knows what runs were started with.
        secrets: Knows the values.
        bus: Where events go.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        verbs: Verbs,
        keeper: KeeperPort,
        ledger: SecretLedger,
        secrets: Values,
        bus: EventBus,
    ) -> None:
        self._supervisor = supervisor
        self._verbs = verbs
        self._keeper = keeper
        self._teller = Teller(supervisor, keeper)
        self._ledger = ledger
        self._secrets = secrets
        self._bus = bus
        self._asked = _Asked(is_about_all=ledger.is_inherited)
        self._woken = anyio.Event()
        self._recent: dict[str, tuple[float, ...]] = {}
        self._troubles: dict[str, str] = {}

    def look(self) -> None:
        """Have the secrets that are no plugin's looked at."""
        self._asked.is_about_file = True
        self._woken.set()

    def tell(self, scheme: str, names: Sequence[str]) -> None:
        """Take a provider's word that secrets have changed."""
        known = self._asked.told.setdefault(scheme, [])
        known += [name for name in names if name not in known]
        self._woken.set()

    async def run(self) -> None:
        """Look whenever there is reason to, until cancelled."""
        await self._supervisor.taken_over.wait()
        pause = FIRST_PAUSE
        while True:
            asked, self._asked, self._woken = self._asked, _Asked(), anyio.Event()
            rest = await self._look(asked)
            if rest is None:
                pause = FIRST_PAUSE
                await self._woken.wait()
                continue
            with anyio.move_on_after(AGAIN if rest else pause):
                await self._woken.wait()
            pause = FIRST_PAUSE if rest else min(pause * 2, LONGEST_PAUSE)
            self._put_back(asked)

    def _put_back(self, asked: _Asked) -> None:
        """Let the next look be about what this one could not settle; what was told of has been told."""
        self._asked.is_about_file |= asked.is_about_file
        self._asked.is_about_all |= asked.is_about_all
        self._asked.also |= asked.names

    async def _look(self, asked: _Asked) -> bool | None:
        """Compare and act.

        Returns:
            None when all is settled; True when a service is being started, False when values cannot be had.
        """
        self._forget_others()
        if self._supervisor.phase in {Phase.STOPPING, Phase.DOWN}:
            return None
        done: list[_Done] = []
        rest: bool | None = None
        for name in list(self._supervisor.services):
            service = self._supervisor.services.get(name)
            names = [] if service is None or not _may_act(service) else asked.of(service.spec)
            if not names or service is None:
                continue
            run = service.run
            if run is not None and run.pid is None:
                rest = True  # which values it gets is being found out
                continue
            try:
                values = await self._values(names, asked.names)
            except SecretError as error:
                if run is not None and service.spec.on_secret_change.action != "ignore":
                    rest = bool(rest)
                    self._tell_trouble(name, error)
                continue
            self._troubles.pop(name, None)
            service = self._supervisor.services.get(name)  # it may stand elsewhere by now
            if service is None or not _may_act(service):
                continue
            if (service.run and service.run.id) != (run and run.id):
                rest = True  # it may have got later values than these
                continue
            if changed := self._ledger.outdated(name, values):
                if self._is_too_often(name):
                    rest = bool(rest)
                elif (action := await self._act(service, changed, values)) is not None:
                    done.append(_Done(name, changed, action))
        self._tell(asked, done)
        return rest

    async def _values(self, names: list[str], told: set[str]) -> Mapping[str, str]:
        """Return the values that can be compared: those that last until somebody says otherwise.

        Raises:
            SecretError: One of them cannot be had, and neither could a new run have it.
        """
        values = await self._secrets.resolve({name: f"${{secret:{name}}}" for name in names})
        return {
            name: value
            for name, value in values.items()
            if ":" not in name or name in told or self._secrets.is_lasting(name)
        }

    async def _act(self, service: Service, changed: tuple[str, ...], values: Mapping[str, str]) -> str | None:
        """Do what a service asks for; return it in a word, or None where it could not be done."""
        name, wish = service.spec.name, service.spec.on_secret_change
        now = anyio.current_time()
        why = f"its secrets have changed: {', '.join(changed)}"
        try:
            match wish.action:
                case "restart":
                    self._verbs.restart([name], why, with_dependents=False)
                    await self._supervisor.commit()
                    self._recent[name] = (*self._recent.get(name, ()), now)[-MOST_ACTIONS:]
                    return wish.action
                case "reload":
                    await self._teller.tell_to_reload(service, by_default=True)
                case "signal" if service.run is not None and wish.signal is not None:
                    await self._keeper.signal(service.run.id, wish.signal, "leader")
                case _:
                    pass
        except ConflictError as error:
            self._bus.publish("secret.failed", f"{why}, and {error.message}", service=name)
            return None
        if self._ledger.run_of(name) == (service.run.id if service.run else ""):
            self._ledger.settle(name, {one: values[one] for one in changed})
        return wish.signal or wish.action

    def _is_too_often(self, name: str) -> bool:
        """Tell whether a service has to wait for its next restart: it may change its secrets itself."""
        return pause_until(self._recent.get(name, ()), anyio.current_time()) is not None

    def _forget_others(self) -> None:
        """Forget what is known of services that are no more."""
        services = self._supervisor.services
        self._ledger.forget_others(services)
        for known in (self._recent, self._troubles):
            for name in [name for name in known if name not in services]:
                del known[name]

    # Telling.

    def _tell_trouble(self, name: str, error: SecretError) -> None:
        if self._troubles.get(name) != error.message:
            self._troubles[name] = error.message
            text = f"it goes on with the secrets it has: {error.message}"
            self._bus.publish("secret.failed", text, service=name)

    def _tell(self, asked: _Asked, done: list[_Done]) -> None:
        """Publish one event for each source of what has changed."""
        schemes = {_scheme(name) for one in done for name in one.names}
        for scheme in sorted(schemes | set(asked.told)):
            of_it = [one for one in done if scheme in {_scheme(name) for name in one.names}]
            self._publish(scheme, asked.told.get(scheme, []), of_it)

    def _publish(self, scheme: str, told: list[str], done: list[_Done]) -> None:
        used = {name for one in done for name in one.names if _scheme(name) == scheme}
        names = told or sorted(name.removeprefix(f"{scheme}:") for name in used)
        data: dict[str, object] = {
            "scheme": scheme,
            "names": names,
            "services": [one.service for one in done],
            "actions": {one.service: one.action for one in done},
        }
        what = f"secrets of {scheme} have changed" if scheme else "secrets have changed"
        words = "; ".join(f"{one.service} {_words(one.action)}" for one in done)
        self._bus.publish("secret.changed", f"{what}: {words or 'no service holds an old value'}", data=data)


def _may_act(service: Service) -> bool:
    """Return whether a service holds values and is to go on: whatever it starts with next, it gets anew."""
    if service.desired is Desired.DOWN or service.ending is not None:
        return False
    if service.run is None:
        return service.state is State.FAILED and service.spec.on_secret_change.action == "restart"
    return not service.run.leader_ended


def _scheme(name: str) -> str:
    """Return whose secret it is: a plugin's scheme, or empty for those of the file and of systemd."""
    return name.partition(":")[0] if ":" in name else ""


def _words(action: str) -> str:
    match action:
        case "restart":
            return "restarts"
        case "reload":
            return "is told to reload"
        case "ignore":
            return "goes on with an old value"
        case _:
            return f"gets {action}"
