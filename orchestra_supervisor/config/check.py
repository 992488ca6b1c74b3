"""Everything that can be said about a set of files without starting anything."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestra_supervisor.config.drift import PORT_TWICE
from orchestra_supervisor.config.findings import Finding, Severity
from orchestra_supervisor.config.load import LoadResult, in_order, load_fleet
from orchestra_supervisor.config.plugin_source import LazyPlugins
from orchestra_supervisor.config.preflight import preflight as look_at_host
from orchestra_supervisor.config.preflight_plugins import look_at_plugins
from orchestra_supervisor.config.replicas import once_a_group
from orchestra_supervisor.model.errors import ERROR_KINDS
from orchestra_supervisor.model.spec import Fleet

__all__ = ["CheckReport", "check"]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was found.

    Attributes:
        findings: In the order of files and lines.
        fleet: The fleet, or None when the files have errors.
        files: Names of the files that were read, included ones too.
        services: How many services were read.
    """

    findings: tuple[Finding, ...]
    fleet: Fleet | None
    files: tuple[str, ...]
    services: int

    def count(self, severity: Severity) -> int:
        """Return how many findings are of this severity."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def exit_status(self) -> int:
        """Return 0 when there are no errors, else the exit status of a wrong configuration."""
        return ERROR_KINDS["config"].exit if self.count(Severity.ERROR) else 0

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form of `check --json`."""
        return {
            "ok": self.exit_status == 0,
            "counts": {str(severity): self.count(severity) for severity in Severity},
            "services": self.services,
            "files": list(self.files),
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check(paths: Sequence[Path], *, environ: Mapping[str, str], preflight: bool = True) -> CheckReport:
    """Read files and say what is wrong with them, and with this host for them.

    Args:
        paths: Configuration files of any dialect.
        environ: Environment of the supervisor.
        preflight: Also look at ports, programs, folders, users and secrets of this host.
    """
    plugins = LazyPlugins()
    result = load_fleet(paths, environ=environ, plugins=plugins)
    findings = result.findings
    if preflight:
        looked = [*look_at_host(result, environ), *look_at_plugins(result, plugins)]
        told = once_a_group([*_without_doubles(result), *looked], result.sources.candidates)
        findings = in_order(told, result.sources.shown)
    plugins.keep(())
    return CheckReport(
        findings=findings,
        fleet=None if result.errors else result.fleet,
        files=result.sources.shown,
        services=len(result.fleet.services),
    )


def _without_doubles(result: LoadResult) -> list[Finding]:
    """Leave out what preflight says more strongly: two enabled services on one port."""
    services = result.fleet.services
    claims = Counter(spec.port for spec in services.values() if spec.enabled and spec.port is not None)
    return [
        finding
        for finding in result.findings
        if not (finding.code == PORT_TWICE and claims[services[finding.service].port or 0] > 1)
    ]
