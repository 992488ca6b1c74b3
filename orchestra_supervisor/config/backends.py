"""MCP servers out of dialect D: checked, and linked to the services that own their ports."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestra_supervisor.config.commands import view_command
from orchestra_supervisor.config.draft import BackendDraft, KeyPath, McpDraft, Reading
from orchestra_supervisor.config.findings import Category, Finding, Findings, Location, Severity, shown
from orchestra_supervisor.config.judge import judge, nearest
from orchestra_supervisor.config.merge import Candidate
from orchestra_supervisor.config.resolve import local_port, service_ports
from orchestra_supervisor.config.values import Duration, EnvValue, Text
from orchestra_supervisor.config.variables import expand
from orchestra_supervisor.model.spec import McpBackendSpec, McpSpec

__all__ = ["resolve_mcp"]


class _BackendForm(BaseModel):
    """An entry; clients keep keys of their own beside these."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    endpoint: Text | None = None
    url: Text | None = None
    command: Annotated[Text, Field(min_length=1)] | None = None
    args: list[Text] | None = None
    env: dict[str, EnvValue | None] | None = None
    cwd: Text | None = None
    headers: dict[str, Text] | None = None
    capabilities: list[Text] | None = None
    description: Text | None = None
    priority: int | None = None


class _CacheForm(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    ttl: Duration | None = None
    strategy: Literal["lru", "none"] | None = None


class _HeadForm(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    routing: dict[str, Text] | None = None
    cache: _CacheForm | None = None


def resolve_mcp(
    readings: Sequence[Reading],
    services: Mapping[str, Candidate],
    environ: Mapping[str, str],
    findings: Findings,
) -> McpSpec:
    """Put the MCP servers of all files together.

    Args:
        readings: In order of belief.
        services: The services that hold.
        environ: For variables in addresses and commands.
        findings: Gets what is found.

    Returns:
        One spec a server; of two with one name the first file's.
    """
    owners = service_ports(candidate.spec for candidate in services.values())
    backends: dict[str, McpBackendSpec] = {}
    places: dict[str, Location] = {}
    head: dict[str, Any] = {}
    routing: dict[str, str] = {}
    for reading in readings:
        if reading.mcp is None:
            continue
        for draft in reading.mcp.backends:
            place = draft.origin.where(key=True)
            spec = _backend(draft, owners, environ, findings)
            if spec is None:
                continue
            if draft.name in backends:
                _note_twice(draft.name, (places[draft.name], place), backends[draft.name], spec, findings)
                continue
            backends[draft.name], places[draft.name] = spec, place
        _take_head(reading.mcp, head, routing, findings)
    _check_routing(readings, routing, backends, findings)
    _note_shared_ports(backends, places, findings)
    _note_twins(backends, places, services, findings)
    return McpSpec(backends=backends, routing=routing, **head)


def _backend(
    draft: BackendDraft, owners: Mapping[int, str], environ: Mapping[str, str], findings: Findings
) -> McpBackendSpec | None:
    subject = f"MCP server {shown(draft.name)}"
    form = judge(_BackendForm, draft.body, draft.origin, findings, subject=subject)
    if form is None:
        return None
    filler = _Filler(draft, environ, findings, subject)
    address = "endpoint" if form.endpoint else "url"
    url = filler.text(form.endpoint or form.url, (address,))
    if url is None and form.command is None:
        place = draft.origin.where(key=True)
        message = f"{subject} has neither an address nor a command, and is left out"
        hint = "give it `endpoint` or `command`"
        findings.add(Finding(Severity.WARNING, "mcp.empty", message, (place,), hint=hint))
        return None
    argv = None
    if form.command is not None:
        words = [(form.command, ("command",)), *((arg, ("args", i)) for i, arg in enumerate(form.args or ()))]
        argv = tuple(filler.text(word, path) or "" for word, path in words)
    if url is not None and argv is not None:
        place = draft.origin.where(("command",), key=True)
        message = f"{subject} has an address and a command; the address is used"
        findings.add(Finding(Severity.WARNING, "mcp.both", message, (place,), hint="keep one of them"))
    port = local_port(url)
    service = owners.get(port) if port is not None else None
    if url is not None and service is None:
        what = f"no service here owns port {port}" if port else "it is on another host"
        message = f"{subject} is external: {what}; it is used, never started"
        where = (draft.origin.where((address,)),)
        findings.add(Finding(Severity.INFO, "mcp.external", message, where, address, (shown(url),)))
    return McpBackendSpec(
        name=draft.name,
        endpoint=url,
        argv=argv,
        cwd=str(draft.origin.source.directory / (filler.text(form.cwd, ("cwd",)) or ".")) if argv else None,
        env={key: value for key, value in (form.env or {}).items() if value is not None},
        headers=form.headers or {},
        capabilities=tuple(form.capabilities or ()),
        description=form.description or "",
        priority=999 if form.priority is None else form.priority,
        service=service,
    )


class _Filler:
    """Fills in variables; what cannot be filled in is a warning, since a client may know it."""

    def __init__(
        self, draft: BackendDraft, environ: Mapping[str, str], findings: Findings, subject: str
    ) -> None:
        self._draft = draft
        self._environ = environ
        self._findings = findings
        self._subject = subject

    def text(self, value: str | None, path: KeyPath) -> str | None:
        if value is None:
            return None
        expansion = expand(value, self._environ)
        for mark in (*(f"${{{name}}}" for name in expansion.missing), *expansion.malformed):
            key = self._draft.origin.named(path)
            message = f"{self._subject}: `{key}` uses {shown(mark)}, which is not known here"
            where = (self._draft.origin.where(path),)
            hint = "it is left as it is"
            self._findings.add(Finding(Severity.WARNING, "mcp.variable", message, where, hint=hint))
        return str(expansion.text)


def _take_head(draft: McpDraft, head: dict[str, Any], routing: dict[str, str], findings: Findings) -> None:
    form = judge(_HeadForm, draft.head, draft.origin, findings, subject="the file")
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


def _note_twice(
    name: str,
    places: tuple[Location, Location],
    first: McpBackendSpec,
    second: McpBackendSpec,
    findings: Findings,
) -> None:
    if first == second:
        return
    values = tuple(shown(spec.endpoint or " ".join(spec.argv or ())) for spec in (first, second))
    message = f"two files describe MCP server {shown(name)} differently; the first place holds"
    hint = "keep one of them"
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


def _note_twins(
    backends: Mapping[str, McpBackendSpec],
    places: Mapping[str, Location],
    services: Mapping[str, Candidate],
    findings: Findings,
) -> None:
    """Say where a command starts what already runs as a service."""
    scripts = {
        script: name
        for name, candidate in services.items()
        if (script := view_command(candidate.spec.argv, candidate.spec.cwd).script) is not None
    }
    for name, spec in backends.items():
        if spec.argv is None or spec.endpoint is not None:
            continue
        script = view_command(spec.argv, spec.cwd or "/").script
        service = scripts.get(script) if script else None
        if service is None:
            continue
        findings.add(
            Finding(
                Severity.WARNING,
                "drift.mcp_twin",
                f"MCP server {shown(name)} would start {shown(script)}, which service {service} already runs",
                (places[name], services[service].where("command")),
                "command",
                hint="keep the entry with the address, so that there is one process",
                category=Category.DRIFT,
            )
        )
