"""The answer of `GET /v1/status`, of which only what has changed is written anew.

A daemon is asked where its services stand far more often than that changes, and to write down a thousand
takes 30 ms of its loop. So the JSON of each is kept for as long as all that it is made of is the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from anyio.lowlevel import checkpoint

from orchestra_supervisor.control import Control
from orchestra_supervisor.model.figures import Figures
from orchestra_supervisor.rules.schedule import Clocks
from orchestra_supervisor.rules.service import Service, is_told_by_clock
from orchestra_supervisor.surfaces.edge import encoded

__all__ = ["StatusTeller"]

_BATCH = 32
"""Services that are written down, about 1 ms, before others get their turn of the loop."""


@dataclass(slots=True)
class _Row:
    """One service, written down, and what that was made of."""

    service: Service
    held: frozenset[str]
    watching: dict[str, object] | None
    figures: Figures | None
    at: Clocks | None
    """When, where the time stands in it."""
    report: bytes
    """The JSON object up to its figures."""
    rest: bytes


class StatusTeller:
    """Answers where the daemon and its services stand.

    Args:
        control: Of the daemon.
        describe: Returns the `daemon` object.
    """

    def __init__(self, control: Control, describe: Callable[[], dict[str, object]]) -> None:
        self._control = control
        self._describe = describe
        self._rows: dict[str, _Row] = {}

    async def answer(self, names: Iterable[str]) -> bytes:
        """Return the JSON body, all of it as of one instant.

        Args:
            names: Whom it is about, as `Control.told` takes them.

        Raises:
            UnknownService: A name or glob matches nothing.
        """
        rows = await self._rows_of(list(names))
        pieces = [b'{"daemon":', encoded(self._describe()), b',"services":[']
        for row in rows:
            pieces += (row.report, row.rest, b",")
        if rows:
            pieces.pop()
        pieces.append(b"]}")
        return b"".join(pieces)

    async def _rows_of(self, names: list[str]) -> list[_Row]:
        """Return the services written down, all as they stand when it returns."""
        control, services = self._control, self._control.supervisor.services
        rows, made, is_torn, now = list[_Row](), 0, False, control.now()
        for name in control.told(names):
            if name not in services:
                continue  # it has gone meanwhile
            before, row = self._rows.get(name), self._row(name, services[name], now)
            rows.append(row)
            made += row is not before
            if made == _BATCH:
                made, is_torn = 0, True
                await checkpoint()
        if is_torn:  # what others have done in their turns has to be in all of it, or in nothing
            rows = [self._row(name, services[name], now) for name in control.told(names)]
        if len(self._rows) > len(services):
            self._rows = {name: row for name, row in self._rows.items() if name in services}
        return rows

    def _row(self, name: str, service: Service, now: Clocks) -> _Row:
        """Return a service, written down."""
        control, kept = self._control, self._rows.get(name)
        held, meter = control.supervisor.limits_held, control.meter
        watching, figures = control.watching(name), None if meter is None else meter.latest.get(name)
        if (
            kept is None
            or kept.service is not service
            or kept.held is not held
            or kept.watching != watching
            or (kept.at is not None and kept.at is not now)
        ):
            report = encoded(control.report(name, now).to_dict()).removesuffix(b"}")
            at = now if is_told_by_clock(service) else None
            kept = _Row(service, held, watching, figures, at, report, _rest(figures))
        elif kept.figures is not figures:
            kept = _Row(service, held, watching, figures, kept.at, kept.report, _rest(figures))
        else:
            return kept
        self._rows[name] = kept
        return kept


def _rest(figures: Figures | None) -> bytes:
    return b',"figures":%b}' % encoded(None if figures is None else figures.to_dict())
