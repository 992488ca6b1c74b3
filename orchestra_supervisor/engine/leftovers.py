"""What a killed keeper left behind: found by identity, told, and ended before anything is started."""

from collections.abc import Callable
from functools import partial

import anyio
from anyio import to_thread

from orchestra_supervisor.engine.bus import EventBus
from orchestra_supervisor.engine.home import StateDirectory
from orchestra_supervisor.journal.records import AnyJournal
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.process.identity import ProcessIdentity
from orchestra_supervisor.process.leftovers import Leftover, RecordedRun, find_leftovers
from orchestra_supervisor.process.orders import Snapshot
from orchestra_supervisor.process.stopping import stop_leftovers

__all__ = ["GRACE", "clear_leftovers"]

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""


async def clear_leftovers(
    home: StateDirectory,
    snapshot: Snapshot,
    journal: AnyJournal,
    bus: EventBus,
    *,
    may_stop: bool,
    say: Callable[[str], None],
) -> None:
    """End every process of an earlier fleet of this home.

    Args:
        home: Whose fleet.
        snapshot: Of the present keeper, which is never touched.
        journal: Knows the runs that were not seen to end.
        bus: Told of each process found, and of the result.
        may_stop: Whether they are to be ended, or their presence forbids to start.
        say: Takes lines for the person who started the fleet.

    Raises:
        ConflictError: Something is left and may not or cannot be ended: starting now could run a
            service twice.
    """
    rows = [
        RecordedRun(row.run, row.service, ProcessIdentity(row.pid, row.start_ticks, row.boot_id))
        for row in journal.open_runs()
    ]
    own = [pid for pid in (snapshot.keeper_pid, snapshot.logger_pid) if pid is not None]
    look = partial(find_leftovers, str(home.path), (), rows, own, snapshot.groups)
    found: list[Leftover] = await to_thread.run_sync(look, limiter=anyio.CapacityLimiter(1))
    for one in found:
        text = f"left by an earlier fleet: {one.name} (pid {one.identity.pid}) of {one.service}"
        data: dict[str, object] = {"pid": one.identity.pid, "how": one.how}
        bus.publish("leftover.found", text, service=one.service, run=one.run, data=data)
        say(text)
    if found and not may_stop:
        raise ConflictError(
            f"{len(found)} processes of an earlier fleet still run",
            hint='end them, or set settings.leftovers to "stop"',
            pids=[one.identity.pid for one in found],
        )
    if found:
        summary = await stop_leftovers(found, GRACE, look)
        text = f"leftovers: {len(summary.stopped)} stopped, {len(summary.killed)} killed"
        bus.publish("leftover.stopped", text)
        say(text)
        if not summary.is_clean:
            pids = ", ".join(str(one.identity.pid) for one in summary.survivors)
            raise ConflictError(
                f"processes of an earlier fleet cannot be ended: {pids}", hint="end them, then try again"
            )
    for row in rows:
        journal.run_ended(row.run, bus.clock.wall(), "its keeper was killed; exit status unknown")
