"""Checks that plugins carry out, beside the ones that are built in."""

from dataclasses import dataclass

import anyio

from orchestra_supervisor.model.errors import PluginError
from orchestra_supervisor.model.spec import NetworkCheck, PluginCheck
from orchestra_supervisor.plugin_api.host import PluginHost
from orchestra_supervisor.plugin_api.probe import ProbeRequest, Verdict
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.probes.run import run_check

__all__ = ["CheckRunner"]

_LONGEST_DETAIL = 200  # characters of what a plugin says


@dataclass(frozen=True, slots=True)
class CheckRunner:
    """Carries out every check but logs and commands, which are the engine's and the keeper's.

    Attributes:
        host: Knows which plugin has which kind of check.
    """

    host: PluginHost

    async def run(self, check: NetworkCheck | PluginCheck, timeout: float) -> ProbeOutcome:  # noqa: ASYNC109
        """Carry out a check; a negative result, a plugin's failure among them, is a value.

        Args:
            check: What to check.
            timeout: Seconds until the check counts as failed.
        """
        if not isinstance(check, PluginCheck):
            return await run_check(check, timeout)
        started = anyio.current_time()
        outcome = ProbeOutcome(passed=False, detail=f"probe {check.probe}: no verdict within {timeout:g} s")
        with anyio.move_on_after(timeout):
            await self.host.loaded.wait()
            outcome = await self._ask(check, timeout)
        return ProbeOutcome(outcome.passed, outcome.detail, anyio.current_time() - started)

    async def _ask(self, check: PluginCheck, timeout: float) -> ProbeOutcome:  # noqa: ASYNC109
        for plugin in self.host.working:
            probe = plugin.offers.probes.get(check.probe)
            if probe is None:
                continue
            request = ProbeRequest(check.options, timeout)
            try:
                verdict = await plugin.call(f"probe {check.probe}", probe.check, request, wanted=Verdict)
            except PluginError as error:
                return ProbeOutcome(passed=False, detail=error.message)
            detail = " ".join(str(verdict.detail).split())[:_LONGEST_DETAIL]
            return ProbeOutcome(passed=verdict.passed is True, detail=detail)
        return ProbeOutcome(passed=False, detail=f"no plugin has a probe {check.probe!r}")
