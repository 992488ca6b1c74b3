"""The tcp check: passes when a connection is accepted."""

import anyio

from orchestra_supervisor.model.spec import TcpCheck
from orchestra_supervisor.probes.connection import ConnectError, connect, place
from orchestra_supervisor.probes.outcome import ProbeOutcome, Progress

__all__ = ["check_tcp"]


async def check_tcp(check: TcpCheck, progress: Progress) -> ProbeOutcome:
    """Connect and close.

    Args:
        check: Host and port.
        progress: Kept up to date for the caller's time-out message.

    Returns:
        Passed, or why no connection came about. The caller sets the deadline.
    """
    started = anyio.current_time()
    progress.lacking = f"no connection to {place(check.host, check.port)}"
    try:
        stream = await connect(check.host, check.port)
    except ConnectError as error:
        return ProbeOutcome(passed=False, detail=str(error), took=anyio.current_time() - started)
    await stream.aclose()
    return ProbeOutcome(
        passed=True,
        detail=f"connected to {place(check.host, check.port)}",
        took=anyio.current_time() - started,
    )
