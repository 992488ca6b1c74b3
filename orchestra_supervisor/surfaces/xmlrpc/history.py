"""When processes that do not run were last started: clients ask, and the record of a service forgets.

The journal knows. It is asked once for each end of a run, so that a status a second costs nothing.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass

from orchestra_supervisor.journal.records import AnyJournal, EventQuery
from orchestra_supervisor.model.errors import JournalError
from orchestra_supervisor.rules.service import Service

__all__ = ["History", "Past"]


@dataclass(frozen=True, slots=True)
class Past:
    """The last run of a service.

    Attributes:
        started: Wall seconds; 0: there was none.
        spawn_error: Why no process came to be, in supervisord's words; empty: one did.
    """

    started: float = 0.0
    spawn_error: str = ""


NEVER = Past()


class History:
    """The last runs of services.

    Args:
        journal: Has the events.
    """

    def __init__(self, journal: AnyJournal) -> None:
        self._journal = journal
        self._known: dict[str, tuple[float, Past]] = {}

    async def learn(self, services: Iterable[Service]) -> None:
        """Make sure that `past` knows the last run of each."""
        for service in services:
            ended = service.exit
            if ended is None:
                continue
            known = self._known.get(service.spec.name)
            if known is None or known[0] != ended.at_wall:
                self._known[service.spec.name] = ended.at_wall, await self._ask(service, ended.at_wall)

    def past(self, service: Service) -> Past:
        """Return the last run that ended, as far as `learn` has been asked for it."""
        known = self._known.get(service.spec.name)
        if service.exit is None or known is None or known[0] != service.exit.at_wall:
            return NEVER
        return known[1]

    def forget_others(self, names: Iterable[str]) -> None:
        """Let go of all services but these."""
        kept = set(names)
        self._known = {name: one for name, one in self._known.items() if name in kept}

    async def _ask(self, service: Service, ended: float) -> Past:
        assert service.exit is not None
        try:
            if service.exit.code is None and service.exit.signal is None:
                failed = await self._last(service, "service.spawn_failed")
                if failed is not None and failed[0] >= ended - 1:
                    return Past(ended, _words(service, failed[1]))
            spawned = await self._last(service, "service.spawned")
        except JournalError:
            spawned = None
        return Past(ended if spawned is None else spawned[0])

    async def _last(self, service: Service, kind: str) -> tuple[float, dict[str, object]] | None:
        query = EventQuery(limit=1, service=service.spec.name, kind_prefix=kind)
        found = await self._journal.events(query)
        return (found[0].at_wall, dict(found[0].data)) if found else None


def _words(service: Service, data: dict[str, object]) -> str:
    assert service.exit is not None
    program = service.spec.argv[0]
    if data.get("stage") == "exec" and data.get("errno") == errno.ENOENT:
        return f"can't find command {program!r}"
    if data.get("stage") == "exec" and data.get("errno") == errno.EACCES:
        return f"no permission to run command {program!r}"
    return service.exit.text
