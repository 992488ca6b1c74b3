"""Ends leftovers: asks, waits, then kills, each time making sure that it is still the same process."""

import errno
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import anyio
from anyio import to_thread

from orchestra_supervisor.process.identity import ProcessIdentity, is_running, open_pidfd, send_signal
from orchestra_supervisor.process.leftovers import Leftover

__all__ = ["StopSummary", "stop_leftovers"]

KILL_ROUNDS = 10
"""How often what is (or has newly appeared) there is killed before the rest is reported."""
KILL_WAIT = 1.0
"""Seconds that a killed process gets to go in each round; one in an uninterruptible wait may stay longer."""
WINDOW = 128
"""Pidfds held at a time, far below the usual limit of 1,024 open files."""
POLL = 0.02
"""Seconds between two looks where no pidfd can be had."""


@dataclass(frozen=True, slots=True)
class StopSummary:
    """What became of the leftovers.

    Attributes:
        stopped: Ended after SIGTERM, or by themselves.
        killed: Ended after SIGKILL.
        survivors: Still there: not ours to signal, or stuck in the kernel.
    """

    stopped: tuple[Leftover, ...]
    killed: tuple[Leftover, ...]
    survivors: tuple[Leftover, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left."""
        return not self.survivors


async def stop_leftovers(
    leftovers: Iterable[Leftover], grace: float, rescan: Callable[[], Iterable[Leftover]] | None = None
) -> StopSummary:
    """End leftovers: SIGTERM and SIGCONT, up to `grace` seconds, then SIGKILL until nothing is left.

    Args:
        leftovers: As `find_leftovers` returned them; each is checked again before every signal.
        grace: Seconds between SIGTERM and SIGKILL.
        rescan: Looks again (`find_leftovers` with its arguments), in a worker thread; what appears
            after the grace is killed at once. None: only `leftovers` are ended.

    Returns:
        What became of each. Takes at most grace + KILL_ROUNDS * KILL_WAIT seconds and the scans.
    """
    seen = {leftover.identity: leftover for leftover in leftovers}
    killed: set[ProcessIdentity] = set()
    denied: set[ProcessIdentity] = set()
    _signal_all(seen, signal.SIGTERM, denied)
    _signal_all(seen, signal.SIGCONT, denied)  # a stopped process gets its SIGTERM only when it goes on
    await _wait_ended([identity for identity in seen if identity not in denied], grace)
    for _ in range(KILL_ROUNDS):
        if rescan is not None:
            found = await to_thread.run_sync(rescan, limiter=anyio.CapacityLimiter(1))
            seen |= {leftover.identity: leftover for leftover in found}
        left = [identity for identity in seen if identity not in denied and is_running(identity)]
        if not left:
            break
        killed.update(left)
        _signal_all(left, signal.SIGKILL, denied)
        await _wait_ended([identity for identity in left if identity not in denied], KILL_WAIT)
    survivors = {identity for identity in seen if is_running(identity)}
    return StopSummary(
        stopped=tuple(item for key, item in seen.items() if key not in survivors and key not in killed),
        killed=tuple(item for key, item in seen.items() if key not in survivors and key in killed),
        survivors=tuple(item for key, item in seen.items() if key in survivors),
    )


def _signal_all(
    identities: Iterable[ProcessIdentity], number: signal.Signals, denied: set[ProcessIdentity]
) -> None:
    for identity in identities:
        try:
            send_signal(identity, number)
        except OSError as error:
            if error.errno == errno.ENOSYS:  # a kernel before 5.3: the last look is as near as it gets
                _signal_without_pidfd(identity, number, denied)
            elif error.errno == errno.EPERM:
                denied.add(identity)
            # else no descriptor is free just now: the next round tries again


def _signal_without_pidfd(
    identity: ProcessIdentity, number: signal.Signals, denied: set[ProcessIdentity]
) -> None:
    if not is_running(identity):
        return
    try:
        os.kill(identity.pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        denied.add(identity)


async def _wait_ended(identities: Sequence[ProcessIdentity], seconds: float) -> None:
    """Return when all have ended, or when the time is up."""
    with anyio.move_on_after(seconds):
        for start in range(0, len(identities), WINDOW):
            async with anyio.create_task_group() as group:
                for identity in identities[start : start + WINDOW]:
                    group.start_soon(_wait_one, identity)


async def _wait_one(identity: ProcessIdentity) -> None:
    try:
        fd = open_pidfd(identity)
    except OSError:
        while is_running(identity):  # noqa: ASYNC110 - no descriptor is free, so nothing can tell us
            await anyio.sleep(POLL)
        return
    if fd is None:
        return
    try:
        await anyio.wait_readable(fd)
    finally:
        os.close(fd)
