"""One check from its start to a verdict, within its time."""

import anyio

from orchestra_supervisor.model.spec import HttpCheck, NetworkCheck, TcpCheck
from orchestra_supervisor.probes.outcome import ProbeOutcome, Progress
from orchestra_supervisor.probes.tcp import check_tcp

__all__ = ["run_check"]


async def run_check(check: NetworkCheck, timeout: float) -> ProbeOutcome:  # noqa: ASYNC109 - judged by it
    """Carry out an http, tcp or grpc check.

    Args:
        check: What to check.
        timeout: Seconds until the check counts as failed; part of the probe, not of the call.

    Returns:
        The outcome. Nothing but cancellation from outside is raised.
    """
    progress = Progress()
    started = anyio.current_time()
    try:
        with anyio.move_on_after(timeout):
            if isinstance(check, HttpCheck):
                # HTTP, and TLS with it, for the fleets that have such probes.
                from orchestra_supervisor.probes.http import check_http  # noqa: PLC0415

                return await check_http(check, progress)
            if isinstance(check, TcpCheck):
                return await check_tcp(check, progress)
            # HTTP/2 is 5 MB and 20 ms that a fleet without such probes does not pay.
            from orchestra_supervisor.probes.grpc_health import check_grpc  # noqa: PLC0415

            return await check_grpc(check, progress)
    except Exception as error:  # noqa: BLE001 - the edge: a check's fault must not end the prober
        detail = f"the check itself failed: {type(error).__name__}: {error}"
        return ProbeOutcome(passed=False, detail=detail, took=anyio.current_time() - started)
    if progress.outcome is not None:
        return progress.outcome
    detail = f"{progress.lacking} within {_seconds(timeout)}"
    return ProbeOutcome(passed=False, detail=detail, took=anyio.current_time() - started)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value:g} s"
