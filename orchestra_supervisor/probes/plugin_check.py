"""Every check that needs no process of its own: the ones that are built in, and those of plugins."""

import anyio

from orchestra_supervisor.model.errors import PluginError
from orchestra_supervisor.model.spec import NetworkCheck, PluginCheck
from orchestra_supervisor.plugin_api.context import Options
from orchestra_supervisor.plugin_api.host import PluginHost
from orchestra_supervisor.plugin_api.probe import ProbeRequest, Verdict
from orchestra_supervisor.probes.identity_cache import IdentityCache
from orchestra_supervisor.probes.outcome import ProbeOutcome

__all__ = ["CheckRunner"]

_LONGEST_DETAIL = 200  # characters of what a plugin says


class CheckRunner:
    """Carries out every check but logs and commands, which are the engine's and the keeper's.

    Args:
        host: Knows who has which kind of check.
    """

    def __init__(self, host: PluginHost) -> None:
        self.host = host
        self._options = IdentityCache[NetworkCheck, Options](lambda check: check.model_dump())

    async def run(self, check: NetworkCheck | PluginCheck, timeout: float) -> ProbeOutcome:  # noqa: ASYNC109
        """Carry out a check; a negative result, a plugin's failure among them, is a value.

        Args:
            check: What to check.
            timeout: Seconds until the check counts as failed.
        """
        if isinstance(check, PluginCheck):
            kind, options = check.probe, check.options
        else:
            kind, options = check.type, self._options.of(check)
        started = anyio.current_time()
        outcome = await self._of_kind(kind, options, timeout)
        return ProbeOutcome(outcome.passed, outcome.detail, anyio.current_time() - started)

    async def _of_kind(self, kind: str, options: Options, timeout: float) -> ProbeOutcome:  # noqa: ASYNC109
        built_in = self.host.builtin.probes.get(kind)
        if built_in is not None:
            try:
                verdict = await built_in.check(ProbeRequest(options, timeout))
            except ValueError as error:  # options that a plugin's form of it has not held to the model
                return ProbeOutcome(passed=False, detail=_one_line(f"probe {kind}: {error}"))
            return ProbeOutcome(verdict.passed, verdict.detail)
        with anyio.move_on_after(timeout):
            await self.host.loaded.wait()
            return await self._ask(kind, options, timeout)
        return ProbeOutcome(passed=False, detail=f"probe {kind}: no verdict within {timeout:g} s")

    async def _ask(self, kind: str, options: Options, timeout: float) -> ProbeOutcome:  # noqa: ASYNC109
        for plugin in self.host.working:
            probe = plugin.offers.probes.get(kind)
            if probe is None:
                continue
            request = ProbeRequest(options, timeout)
            try:
                verdict = await plugin.call(f"probe {kind}", probe.check, request, wanted=Verdict)
            except PluginError as error:
                return ProbeOutcome(passed=False, detail=error.message)
            return ProbeOutcome(passed=verdict.passed is True, detail=_one_line(str(verdict.detail)))
        return ProbeOutcome(passed=False, detail=f"no plugin has a probe {kind!r}")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_DETAIL]
