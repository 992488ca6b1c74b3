"""Probes of plugins: kinds of checks beside http, tcp and command."""

from dataclasses import dataclass
from typing import Protocol

from orchestra_supervisor.plugin_api.context import Options

__all__ = ["Probe", "ProbeRequest", "Verdict"]


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """One check that is wanted.

    Attributes:
        options: The `options` of the probe in the configuration, variables filled in.
        timeout: Seconds after which the check counts as failed; it is cancelled then.
    """

    options: Options
    timeout: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check saw. A negative result is a value; an exception is a failure of the plugin.

    Attributes:
        passed: Whether the service is well.
        detail: What was seen, one line for people, never secrets.
    """

    passed: bool
    detail: str


class Probe(Protocol):
    """One kind of check; many may run at once."""

    @property
    def type(self) -> str:
        """Return the word that configurations name it by: `{"plugin": "TYPE"}`."""
        ...

    async def check(self, request: ProbeRequest) -> Verdict:
        """Carry out one check."""
        ...
