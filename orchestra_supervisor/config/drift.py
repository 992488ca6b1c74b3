"""Where descriptions of one system disagree: between files, between ids, between a port and its probe."""

import difflib
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from orchestra_supervisor.config.commands import command_text, view_command
from orchestra_supervisor.config.draft import KeyPath
from orchestra_supervisor.config.findings import Category, Finding, Findings, Severity, shown
from orchestra_supervisor.config.merge import Candidate
from orchestra_supervisor.config.resolve import local_port
from orchestra_supervisor.model.spec import HttpCheck, ServiceSpec

__all__ = ["PORT_TWICE", "find_drift", "health_url"]

PORT_TWICE = "drift.port_twice"
"""Code of the finding that two services claim one port."""

_FILLER = re.compile(r"(?:^|[_.@-])(?:server|service|svc|srv|daemon|app|mcp)(?=$|[_.@-])")
_LOCAL = re.compile(r"//(?:127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?=[:/]|$)")
_SIMILAR = 0.75  # ratio of difflib; `memory`/`memory_mcp` pass by their common stem anyway
_ACTIVATION = frozenset({"PATH", "VIRTUAL_ENV"})


def health_url(spec: ServiceSpec) -> str | None:
    """Return the address of the readiness probe, else of another http probe."""
    for probe in (spec.probes.readiness, spec.probes.liveness, spec.probes.startup):
        if probe is not None and isinstance(probe.check, HttpCheck) and not probe.check.unix:
            return probe.check.url
    return None


def find_drift(
    services: Mapping[str, Candidate], unused: Sequence[tuple[Candidate, Candidate]], findings: Findings
) -> None:
    """Compare descriptions with each other.

    Args:
        services: The services that hold.
        unused: Pairs of the description that holds and another one of the same id.
        findings: Gets a warning for each difference, with both places and both values.
    """
    for believed, other in unused:
        _compare(believed, other, findings)
    _shared_ports(services, findings)
    for candidate in services.values():
        _health_port(candidate, findings)


def _warn(
    code: str,
    message: str,
    sides: Sequence[tuple[Candidate, KeyPath, str]],
    field: str,
    hint: str,
    findings: Findings,
    severity: Severity = Severity.WARNING,
) -> None:
    findings.add(
        Finding(
            severity,
            code,
            message,
            tuple(candidate.where(*path) for candidate, path, _ in sides),
            field,
            tuple(value for _, _, value in sides),
            hint,
            sides[0][0].spec.name,
            Category.DRIFT,
        )
    )


def _compare(believed: Candidate, other: Candidate, findings: Findings) -> None:
    name = believed.spec.name
    hint = f"{believed.draft.origin.source.shown} holds; make both the same, or remove one"

    def differ(code: str, key: str, values: tuple[object, object], path: KeyPath | None = None) -> None:
        field = believed.draft.origin.named(path or (key,))
        last = str((path or (key,))[-1])
        sides = [
            (candidate, path or (key,), shown(value, last))
            for candidate, value in zip((believed, other), values, strict=True)
        ]
        message = f"service {name}: two files differ in `{field}`"
        _warn(f"drift.{code}", message, sides, field, hint, findings)

    first, second = believed.spec, other.spec
    views = view_command(first.argv, first.cwd), view_command(second.argv, second.cwd)
    texts = command_text(first), command_text(second)
    same_run = views[0].identity == views[1].identity and bool(views[0].identity)
    if not same_run and texts[0] != texts[1]:
        differ("command", "command", texts)
    if views[0].cwd != views[1].cwd:
        differ("cwd", "cwd", (views[0].cwd, views[1].cwd))
    if None not in (first.port, second.port) and first.port != second.port:
        differ("port", "port", (first.port, second.port))
    urls = health_url(first), health_url(second)
    if urls[0] and urls[1] and _plain(urls[0]) != _plain(urls[1]):
        differ("health", "health_url", urls)
    for key in ("kind", "enabled"):
        values = getattr(first, key), getattr(second, key)
        if values[0] != values[1]:
            differ(key, key, (str(values[0]).lower(), str(values[1]).lower()))
    if first.depends_on and second.depends_on and first.depends_on.keys() != second.depends_on.keys():
        differ("dependencies", "depends_on", (", ".join(first.depends_on), ", ".join(second.depends_on)))
    for variable in sorted((first.env.keys() & second.env.keys()) - _ACTIVATION):
        if first.env[variable] != second.env[variable]:
            differ("env", "env", (first.env[variable], second.env[variable]), ("env", variable))


def _plain(url: str) -> str:
    return _LOCAL.sub("//localhost", url).rstrip("/")


def _shared_ports(services: Mapping[str, Candidate], findings: Findings) -> None:
    by_port: dict[int, list[Candidate]] = {}
    for candidate in services.values():
        if candidate.spec.port is not None:
            by_port.setdefault(candidate.spec.port, []).append(candidate)
    for port, claimants in by_port.items():
        if len(claimants) < 2:
            continue
        names = [candidate.spec.name for candidate in claimants]
        enabled = sum(candidate.spec.enabled for candidate in claimants)
        twins = _are_twins(claimants[0], claimants[1])
        message = f"services {', '.join(names)} claim port {port}"
        if twins:
            message += ": they look like one server under two ids"
        _warn(
            "drift.two_ids" if twins else PORT_TWICE,
            message,
            [(candidate, ("port",), f"{candidate.spec.name}: {port}") for candidate in claimants],
            "port",
            "keep one id, or set `enabled` of the others to false" if twins else "give each its own port",
            findings,
            Severity.WARNING if enabled > 1 else Severity.INFO,
        )


def _are_twins(first: Candidate, second: Candidate) -> bool:
    """Tell whether two ids look like one server: by name, or by what they run."""
    a, b = first.spec.name.lower(), second.spec.name.lower()
    stems = _FILLER.sub("", a).strip("_.@-"), _FILLER.sub("", b).strip("_.@-")
    if stems[0] and stems[0] == stems[1]:
        return True
    if difflib.SequenceMatcher(None, a, b).ratio() >= _SIMILAR:
        return True
    runs = [view_command(c.spec.argv, c.spec.cwd).identity for c in (first, second)]
    return bool(runs[0]) and runs[0] == runs[1]


def _health_port(candidate: Candidate, findings: Findings) -> None:
    spec = candidate.spec
    url = health_url(spec)
    port = local_port(url)
    if url is None or port is None or spec.port is None or port == spec.port:
        return
    path: KeyPath = ("health_url",) if candidate.draft.origin.has(("health_url",)) else ("probes",)
    health = f"{urlsplit(url).netloc}{urlsplit(url).path}"
    _warn(
        "drift.health_port",
        f"service {spec.name} listens on port {spec.port}, and its health is looked for on {port}",
        [(candidate, ("port",), str(spec.port)), (candidate, path, shown(health))],
        "port",
        "correct one of them",
        findings,
    )
