"""How the fleet stands, in a word and a line, for the service manager that the keeper speaks to.

Counted as changes come, as a fleet of a thousand services changes a thousand times while it starts.
Where there is no manager nothing is counted and nothing is said.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager

from orchestra_supervisor.engine.ports import KeeperPort
from orchestra_supervisor.model.errors import OrchestraError
from orchestra_supervisor.model.mcp import OWN_PREFIX
from orchestra_supervisor.model.spec import FleetSettings
from orchestra_supervisor.model.states import Desired, Kind, State
from orchestra_supervisor.rules.service import Service

__all__ = ["Standing"]

_NAMED = 3  # services of one kind that the line names; the others are a number
_TROUBLES = ("failed", "unhealthy", "backoff")
_UP = "up"
_ALIVE = "alive"


class Standing:
    """Keeps count of the services and tells the keeper when the word or the line changes.

    Args:
        keeper: Passes it on.
        wake: Has the orders sent that were given outside of a decision.
    """

    def __init__(self, keeper: KeeperPort, wake: Callable[[], None]) -> None:
        self._keeper = keeper
        self._wake = wake
        self._is_wanted = False
        self._services: Mapping[str, Service] = {}
        self._groups: dict[str, set[str]] = defaultdict(set)
        self._base = ""
        self._failure = ""
        self._reloads = 0
        self._refusal = ""
        self._told = ("", "")

    def begin(self, services: Mapping[str, Service], *, is_wanted: bool) -> None:
        """Count the services as they were taken over.

        Args:
            services: All of them, a view that follows the changes.
            is_wanted: There is a service manager.
        """
        self._is_wanted = is_wanted
        self._services = services
        self._count(services)

    def update(self, touched: Iterable[str], phase: str, settings: FleetSettings, failure: str) -> None:
        """Take in what has changed, and tell it.

        Args:
            touched: Names of services that may have changed.
            phase: Where the fleet stands, as the supervisor names it.
            settings: Of the fleet; `systemd_ready` says when it is ready.
            failure: Why the fleet cannot start, or empty.
        """
        self._count(touched)
        self._failure = failure
        if phase in ("stopping", "down"):
            self._base = "stopping"
        elif phase != "replaced":  # then it is the next daemon's to say
            self._base = "ready" if phase == "running" or settings.systemd_ready == "daemon" else "starting"
        self._tell()

    @contextmanager
    def reloading(self) -> Generator[None]:
        """Tell that a reload begins, and at the end of the block that it is over, refused or not."""
        self._reloads += 1
        self._tell_now()
        try:
            yield
        except OrchestraError as error:
            self._refusal = error.message
            raise
        else:
            self._refusal = ""
        finally:
            self._reloads -= 1
            self._tell_now()

    def answer(self, ping: int) -> None:
        """Answer the keeper's ping with the orders of the next turn: the loop that sends them is alive."""
        self._keeper.pong(ping)
        self._wake()

    def forget(self, name: str) -> None:
        """Count a service no more."""
        for group in self._groups.values():
            group.discard(name)

    def _count(self, touched: Iterable[str]) -> None:
        if not self._is_wanted:
            return
        for name in touched:
            self.forget(name)
            if name in self._services:
                for group in _groups_of(self._services[name]):
                    self._groups[group].add(name)

    def _tell_now(self) -> None:
        self._tell()
        self._wake()

    def _tell(self) -> None:
        if not self._is_wanted or not self._base:
            return
        state = "reloading" if self._reloads and self._base == "ready" else self._base
        now = (state, self._line(state))
        if now != self._told:
            self._told = now
            self._keeper.status(*now)

    def _line(self, state: str) -> str:
        if state == "stopping":
            line = f"stopping; still up: {len(self._groups[_ALIVE])} services"
            return f"{line}; {self._failure}" if self._failure else line
        parts = [f"{len(self._groups['ready'])} of {len(self._groups[_UP])} ready"]
        parts += [
            f"{trouble}: {_listed(self._groups[trouble])}" for trouble in _TROUBLES if self._groups[trouble]
        ]
        if state == "reloading":
            parts.append("reading the configuration again")
        elif self._refusal:
            parts.append(f"the last reload was refused: {self._refusal}")
        return "; ".join(parts)


def _groups_of(service: Service) -> Iterable[str]:
    if service.spec.name.startswith(OWN_PREFIX):
        return
    if service.run is not None:
        yield _ALIVE
    if service.desired is not Desired.UP:
        return
    is_planned = service.spec.kind is Kind.PERIODIC  # between its runs it is neither ready nor missing
    if not is_planned or service.state.value in _TROUBLES:
        yield _UP
        yield "ready" if service.state is State.COMPLETED else service.state.value


def _listed(names: set[str]) -> str:
    first = ", ".join(sorted(names)[:_NAMED])
    return f"{first} and {len(names) - _NAMED} more" if len(names) > _NAMED else first
