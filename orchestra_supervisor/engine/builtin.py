"""What is built in, as a plugin like any other: the checks of addresses, and this host as a target.

It comes in by the hooks and is held to the contract as a plugin is. What it offers is called in the daemon's
own loop, without a thread and a deadline of its own: it is ours, and answers a thousand times a second.
"""

from collections.abc import Sequence

from orchestra_supervisor.model.checks import GrpcCheck
from orchestra_supervisor.model.spec import HttpCheck, NetworkCheck, TcpCheck
from orchestra_supervisor.plugin_api.context import Options
from orchestra_supervisor.plugin_api.hooks import hookimpl
from orchestra_supervisor.plugin_api.probe import Probe, ProbeRequest, Verdict
from orchestra_supervisor.plugin_api.target import LocalRun, Target, TargetRequest
from orchestra_supervisor.probes.identity_cache import IdentityCache
from orchestra_supervisor.probes.run import run_check

__all__ = ["API_VERSION", "NAME", "NetworkProbe", "ProcessTarget", "register_probes", "register_targets"]

NAME = "builtin"
API_VERSION = 1


class NetworkProbe:
    """A check of an address.

    Args:
        kind: Its word in configurations.
        model: What its options are.
    """

    def __init__(self, kind: str, model: type[NetworkCheck]) -> None:
        self._kind = kind
        self._parsed = IdentityCache[Options, NetworkCheck](model.model_validate)

    @property
    def type(self) -> str:
        """Return its word."""
        return self._kind

    async def check(self, request: ProbeRequest) -> Verdict:
        """Carry out one check."""
        outcome = await run_check(self._parsed.of(request.options), request.timeout)
        return Verdict(outcome.passed, outcome.detail)


class ProcessTarget:
    """This host: what is to run is what runs."""

    name = "process"

    def faults(self, request: TargetRequest) -> Sequence[str]:
        """Return that it takes no options, where it is given some."""
        return [f"unknown option {key!r}: it takes none" for key in request.options]

    async def prepare(self, request: TargetRequest) -> LocalRun:
        """Return the command as it is."""
        return LocalRun(request.argv)


@hookimpl
def register_probes() -> Sequence[Probe]:
    """Return the checks of addresses."""
    return [NetworkProbe("http", HttpCheck), NetworkProbe("tcp", TcpCheck), NetworkProbe("grpc", GrpcCheck)]


@hookimpl
def register_targets() -> Sequence[Target]:
    """Return this host."""
    return [ProcessTarget()]
