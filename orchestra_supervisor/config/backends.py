"""MCP servers out of all files: linked to the services that run them or own their ports, and compared."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from orchestra_supervisor.config.backend_services import Backend
from orchestra_supervisor.config.commands import view_command
from orchestra_supervisor.config.draft import McpDraft, Reading
from orchestra_supervisor.config.file_scope import FileScope
from orchestra_supervisor.config.findings import Category, Finding, Findings, Location, Severity, shown
from orchestra_supervisor.config.form_backend import HeadForm, cache_spec, canary_spec
from orchestra_supervisor.config.judge import judge, nearest
from orchestra_supervisor.config.merge import Candidate
from orchestra_supervisor.config.resolve import local_port, service_ports
from orchestra_supervisor.model.mcp import McpBackendSpec, McpSettings, McpSpec
from orchestra_supervisor.model.replicas import GroupSpec

__all__ = ["check_settings", "resolve_mcp"]


def resolve_mcp(
    readings: Sequence[Reading],
    read: Sequence[Backend],
    services: Mapping[str, Candidate],
    groups: Mapping[str, GroupSpec],
    findings: Findings,
) -> McpSpec:
    """Put the MCP servers of all files together.

    Args:
        readings: In order of belief.
        read: Their servers, likewise.
        services: The services that hold, those that run stdio servers among them.
        groups: Those of them that have replicas.
        findings: Gets what is found.

    Returns:
        One spec a server; of two with one name the first file's.
    """
    run_here = {one.service for one in read if one.service}
    owners = service_ports(candidate.spec for candidate in services.values())
    backends: dict[str, McpBackendSpec] = {}
    first: dict[str, Backend] = {}
    for backend in read:
        spec = _spec(backend, owners, findings)
        if backend.name in backends:
            _note_twice(first[backend.name], backend, findings)
            continue
        backends[backend.name], first[backend.name] = spec, backend
    head: dict[str, Any] = {}
    routing: dict[str, str] = {}
    for reading in readings:
        if reading.mcp is not None:
            _take_head(reading.mcp, head, routing, findings)
    backends |= _native(services, groups, run_here, backends)
    places = {name: backend.place for name, backend in first.items()}
    _check_routing(readings, routing, backends, findings)
    _note_shared_ports(backends, places, findings)
    others = {name: one for name, one in services.items() if _group_of(one) not in run_here}
    _note_twins(first.values(), others, findings)
    return McpSpec(backends=backends, routing=routing, **head)


def _spec(backend: Backend, owners: Mapping[int, str], findings: Findings) -> McpBackendSpec:
    form, url = backend.form, backend.url
    port = local_port(url)
    service = backend.service if backend.is_stdio else owners.get(port) if port is not None else None
    if url is not None and service is None:
        what = f"no service here owns port {port}" if port else "it is on another host"
        message = f"{backend.subject} is external: {what}; it is used, never started"
        key = backend.address_key
        where = (backend.draft.origin.where((key,)),)
        findings.add(Finding(Severity.INFO, "mcp.external", message, where, key, (shown(url),)))
    optional: dict[str, Any] = {
        "priority": form.priority,
        "lazy": form.lazy,
        "idle_stop": form.idle_stop,
        "retry_safe": form.retry_safe,
        "timeout": form.timeout,
        "pins": form.pins,
        "tools": None if form.tools is None else tuple(form.tools),
        "on_hang": form.on_hang,
        "sharing": form.sharing if backend.is_stdio else None,
    }
    return McpBackendSpec(
        name=backend.name,
        endpoint=url,
        headers=form.headers or {},
        capabilities=tuple(form.capabilities or ()),
        description=form.description or "",
        service=service or None,
        size=backend.size if backend.is_stdio else 1,
        cache=cache_spec(form.cache),
        canary=canary_spec(form.canary),
        **{key: value for key, value in optional.items() if value is not None},
    )


def _group_of(candidate: Candidate) -> str:
    replica = candidate.spec.replica
    return candidate.spec.name if replica is None else replica.group


def _native(
    services: Mapping[str, Candidate],
    groups: Mapping[str, GroupSpec],
    run_here: set[str],
    backends: Mapping[str, McpBackendSpec],
) -> dict[str, McpBackendSpec]:
    """Return the stdio servers that are written as services: each is a backend of its own name."""
    found: dict[str, McpBackendSpec] = {}
    for candidate in services.values():
        spec = candidate.spec
        name = _group_of(candidate)
        if not spec.stdio or name in run_here or name in backends:
            continue
        group = groups.get(name)
        found[name] = McpBackendSpec(
            name=name,
            service=name,
            description=spec.description,
            lazy=spec.start_on == "demand",
            sharing="shared" if group is None else "pool",
            size=max(1, 1 if group is None else group.configured),
        )
    return found


def _take_head(draft: McpDraft, head: dict[str, Any], routing: dict[str, str], findings: Findings) -> None:
    form = judge(HeadForm, draft.head, draft.origin, findings, subject="the file")
    if form is None:
        return
    for capability, server in (form.routing or {}).items():
        routing.setdefault(capability, server)
    if form.cache is not None:
        if form.cache.ttl is not None:
            head.setdefault("cache_ttl", form.cache.ttl)
        if form.cache.strategy is not None:
            head.setdefault("cache_strategy", form.cache.strategy)


def _check_routing(
    readings: Sequence[Reading],
    routing: Mapping[str, str],
    backends: Mapping[str, McpBackendSpec],
    findings: Findings,
) -> None:
    for capability, server in routing.items():
        if server in backends:
            continue
        near = nearest(server, backends)
        origins = [reading.mcp.origin for reading in readings if reading.mcp]
        origin = next(origin for origin in origins if origin.has(("routing", capability)))
        findings.add(
            Finding(
                Severity.WARNING,
                "mcp.route_unknown",
                f"routing of {shown(capability)!r} leads to {shown(server)!r}, which no file describes",
                (origin.where(("routing", capability)),),
                f"routing.{shown(capability)}",
                (shown(server),),
                f"did you mean {near!r}?" if near else "name one of the servers",
            )
        )


def _note_twice(first: Backend, second: Backend, findings: Findings) -> None:
    if (first.form, first.url, first.argv, first.env) == (second.form, second.url, second.argv, second.env):
        return
    values = tuple(shown(one.url or " ".join(one.argv or ())) for one in (first, second))
    message = f"two files describe MCP server {shown(first.name)} differently; the first place holds"
    hint = "keep one of them"
    places = (first.place, second.place)
    findings.add(
        Finding(Severity.WARNING, "drift.mcp", message, places, "", values, hint, category=Category.DRIFT)
    )


def _note_shared_ports(
    backends: Mapping[str, McpBackendSpec], places: Mapping[str, Location], findings: Findings
) -> None:
    by_port: dict[int, list[str]] = {}
    for name, spec in backends.items():
        if (port := local_port(spec.endpoint)) is not None:
            by_port.setdefault(port, []).append(name)
    for port, names in by_port.items():
        if len(names) < 2:
            continue
        findings.add(
            Finding(
                Severity.WARNING,
                "drift.mcp_port",
                f"{len(names)} MCP servers claim port {port}: {', '.join(map(shown, names))}",
                tuple(places[name] for name in names),
                "endpoint",
                tuple(shown(f"{name}: {backends[name].endpoint}") for name in names),
                "one server listens on a port: keep one entry, or correct the ports",
                category=Category.DRIFT,
            )
        )


def _note_twins(backends: Iterable[Backend], services: Mapping[str, Candidate], findings: Findings) -> None:
    """Say where a command starts what already runs as a service."""
    scripts = {
        script: name
        for name, candidate in services.items()
        if (script := view_command(candidate.spec.argv, candidate.spec.cwd).script) is not None
    }
    for backend in backends:
        if not backend.is_stdio:
            continue
        script = view_command(backend.argv or (), backend.cwd).script
        service = scripts.get(script) if script else None
        if service is None:
            continue
        findings.add(
            Finding(
                Severity.WARNING,
                "drift.mcp_twin",
                f"{backend.subject} would start {shown(script)}, which service {service} already runs",
                (backend.place, services[service].where("command")),
                "command",
                hint="keep the entry with the address, so that there is one process",
                category=Category.DRIFT,
            )
        )


# The settings of the gateway, against the servers that there are.


def check_settings(
    settings: McpSettings, mcp: McpSpec, scopes: Sequence[FileScope], findings: Findings
) -> None:
    """Find profiles that name servers which no file describes, and say where anybody may call.

    Args:
        settings: As they hold.
        mcp: The servers.
        scopes: Files in order of belief; the first that has the settings holds.
        findings: Gets what is found.
    """
    origins = (scope.reading.origin for scope in scopes)
    origin = next((one for one in origins if one.has(("settings", "mcp"))), None)
    if origin is None:
        return
    if settings.enabled and settings.is_open:
        message = f"MCP on {settings.http} asks nobody for a token: every user of this host may call"
        hint = "take out `auth`, or be sure that you want this"
        place = origin.where(("settings", "mcp", "auth"))
        findings.add(Finding(Severity.WARNING, "mcp.open", message, (place,), "settings.mcp.auth", hint=hint))
    for profile, spec in settings.profiles.items():
        for index, pattern in enumerate(spec.servers):
            if any(fnmatchcase(name, pattern) for name in mcp.backends):
                continue
            path = ("settings", "mcp", "profiles", profile, "servers", index)
            if not origin.has(path):
                continue  # all servers, of which there are none
            near = nearest(pattern, mcp.backends)
            findings.add(
                Finding(
                    Severity.WARNING,
                    "mcp.profile_unknown",
                    f"profile {shown(profile)!r} takes server {shown(pattern)!r}, which no file describes",
                    (origin.where(path),),
                    f"settings.mcp.profiles.{shown(profile)}.servers",
                    (shown(pattern),),
                    f"did you mean {near!r}?" if near else "name one of the servers",
                )
            )
