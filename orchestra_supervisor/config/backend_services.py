"""The services that run stdio MCP servers: an entry with a command becomes one like any other.

It is rewritten into the native form, with the places of its keys, so that whatever is checked of a service
is checked of it: its files, its secrets, its command on this host. Only variables are filled in here, for
what we do not know is the business of some client and no fault.
"""

import re
from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestra_supervisor.config.draft import BackendDraft, Body, KeyPath, Origin, ServiceDraft
from orchestra_supervisor.config.file_scope import FileScope
from orchestra_supervisor.config.findings import Finding, Findings, Location, Severity, shown
from orchestra_supervisor.config.form_backend import BackendForm, backend_form
from orchestra_supervisor.config.variables import expand
from orchestra_supervisor.model.spec import SERVICE_NAME_PATTERN

__all__ = ["Backend", "read_backends", "with_services"]

SIZES = {"shared": 1, "pool": 4, "per_client": 8, "per_session": 8}
"""Instances at most, by sharing, where the entry does not say."""
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")
_DOLLAR = re.compile(r"\$(?!\{secret:)")
_LONGEST = 48  # characters of a name, which replicas and `mcp-` make longer


@dataclass(frozen=True, slots=True)
class Backend:
    """One MCP server as some file has it.

    Attributes:
        draft: As it was written.
        form: The same, checked.
        url: Its address with variables filled in, or None: it is a stdio server.
        argv: Its command likewise, or None. One beside an address is not run.
        env: The environment that it adds, likewise.
        service: Name of the service that runs it, or empty.
    """

    draft: BackendDraft
    form: BackendForm
    url: str | None
    argv: tuple[str, ...] | None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    service: str = ""

    @property
    def name(self) -> str:
        """Return its name."""
        return self.draft.name

    @property
    def is_stdio(self) -> bool:
        """True where it is run here."""
        return self.url is None

    @property
    def subject(self) -> str:
        """Return what messages begin with."""
        return f"MCP server {shown(self.name)}"

    @property
    def address_key(self) -> str:
        """Return the key of its address."""
        return "endpoint" if self.form.endpoint else "url"

    @property
    def place(self) -> Location:
        """Return where it was written."""
        return self.draft.origin.where(key=True)

    @property
    def cwd(self) -> str:
        """Return the folder that it is run in."""
        return str(self.draft.origin.source.directory / (self.form.cwd or "."))

    @property
    def size(self) -> int:
        """Return how many instances there may be."""
        sharing = self.form.sharing or "shared"
        return 1 if sharing == "shared" else self.form.size or SIZES[sharing]


def read_backends(
    scopes: Sequence[FileScope], environ: Mapping[str, str], findings: Findings
) -> list[Backend]:
    """Return the MCP servers of all files that have no faults, the most believed first.

    Args:
        scopes: Files in order of belief.
        environ: For variables in addresses and commands.
        findings: Gets what is wrong.
    """
    drafts = [draft for scope in scopes if scope.reading.mcp for draft in scope.reading.mcp.backends]
    read = (_read(draft, environ, findings) for draft in drafts)
    return [backend for backend in read if backend is not None]


def _read(draft: BackendDraft, environ: Mapping[str, str], findings: Findings) -> Backend | None:
    subject = f"MCP server {shown(draft.name)}"
    form = backend_form(draft, subject, findings)
    if form is None:
        return None
    filler = _Filler(draft, environ, findings, subject)
    backend = Backend(draft, form, None, None)
    url = filler.text(form.endpoint or form.url, (backend.address_key,))
    if url is None and form.command is None:
        message = f"{subject} has neither an address nor a command, and is left out"
        hint = "give it `endpoint` or `command`"
        findings.add(Finding(Severity.WARNING, "mcp.empty", message, (backend.place,), hint=hint))
        return None
    argv = None
    if form.command is not None:
        words = [(form.command, ("command",)), *((arg, ("args", i)) for i, arg in enumerate(form.args or ()))]
        argv = tuple(filler.text(word, path) or "" for word, path in words)
    if url is not None and argv is not None:
        place = draft.origin.where(("command",), key=True)
        message = f"{subject} has an address and a command; the address is used"
        findings.add(Finding(Severity.WARNING, "mcp.both", message, (place,), hint="keep one of them"))
    for name, value in (form.headers or {}).items():
        filler.text(value, ("headers", name))
    env: dict[str, str] = {}
    if url is None:
        filler.lookup = ChainMap(env, dict(environ))  # each value may use the ones above it
        for name, value in (form.env or {}).items():
            if value is not None:
                env[name] = filler.text(value, ("env", name)) or ""
    cwd = filler.text(form.cwd, ("cwd",))
    return replace(backend, form=form.model_copy(update={"cwd": cwd}), url=url, argv=argv, env=env)


class _Filler:
    """Fills in variables; what cannot be filled in is a warning, since a client may know it."""

    def __init__(
        self, draft: BackendDraft, environ: Mapping[str, str], findings: Findings, subject: str
    ) -> None:
        self._draft = draft
        self.lookup = environ
        self._findings = findings
        self._subject = subject

    def text(self, value: str | None, path: KeyPath) -> str | None:
        if value is None:
            return None
        expansion = expand(value, self.lookup)
        for mark in (*(f"${{{name}}}" for name in expansion.missing), *expansion.malformed):
            key = self._draft.origin.named(path)
            message = f"{self._subject}: `{key}` uses {shown(mark)}, which is not known here"
            where = (self._draft.origin.where(path),)
            hint = "it is left as it is"
            self._findings.add(Finding(Severity.WARNING, "mcp.variable", message, where, hint=hint))
        return str(expansion.text)


# Services.


def with_services(
    scopes: Sequence[FileScope], backends: Sequence[Backend], taken: Collection[str], findings: Findings
) -> tuple[list[FileScope], list[Backend]]:
    """Let each file have the services that run its stdio servers.

    Args:
        scopes: Files in order of belief.
        backends: Their servers; of two of one name the first is run.
        taken: Names of services.
        findings: Gets a word on each server whose service is called otherwise.

    Returns:
        The files, and the servers with the names of their services.
    """
    names = set(taken)
    known: set[str] = set()
    named: list[Backend] = []
    drafts: dict[int, ServiceDraft] = {}
    for backend in backends:
        service = ""
        if backend.is_stdio and backend.name not in known:
            service = _free_name(backend.name, names)
            names.add(service)
            if service != backend.name:
                findings.add(_other_name(backend, service))
        known.add(backend.name)
        named.append(replace(backend, service=service))
        if service:
            drafts[id(backend.draft)] = _draft(named[-1])
    return [_with_own(scope, drafts) for scope in scopes], named


def _with_own(scope: FileScope, drafts: Mapping[int, ServiceDraft]) -> FileScope:
    """Return a file with the services of its servers, which are known by the identity of their drafts."""
    entries = scope.reading.mcp.backends if scope.reading.mcp else ()
    own = tuple(drafts[id(entry)] for entry in entries if id(entry) in drafts)
    if not own:
        return scope
    return replace(scope, reading=replace(scope.reading, services=(*scope.reading.services, *own)))


def _free_name(name: str, taken: Collection[str]) -> str:
    plain = _ODD.sub("-", name).strip("-.")[:_LONGEST] or "server"
    if plain not in taken and re.match(SERVICE_NAME_PATTERN, plain):
        return plain
    number, free = 2, f"mcp-{plain}"
    while free in taken:
        number, free = number + 1, f"mcp-{plain}-{number}"
    return free


def _other_name(backend: Backend, service: str) -> Finding:
    message = f"{backend.subject} runs as the service {service}: its own name is another's or cannot be one"
    return Finding(Severity.INFO, "mcp.service_name", message, (backend.place,), service=service)


def _draft(backend: Backend) -> ServiceDraft:
    """Rewrite a stdio server into a service; what a client may know better is written out literally."""
    origin, form = backend.draft.origin, backend.form
    body: Body = {
        "command": [_literal(word) for word in backend.argv or ()],
        "stdio": True,
        "start_on": "boot" if form.lazy is False else "demand",
    }
    aliases: dict[KeyPath, KeyPath] = {("start_on",): ("lazy",), ("stdio",): ("command",)}
    aliases[("command", 0)] = ("command",)
    aliases |= {("command", index + 1): ("args", index) for index in range(len(form.args or ()))}
    if form.cwd is not None:
        body["cwd"] = _literal(form.cwd)
    if backend.env:
        body["env"] = {name: _literal(value) for name, value in backend.env.items()}
    if form.description is not None:
        body["description"] = form.description
    if (form.sharing or "shared") != "shared":
        body["replicas"] = backend.size if form.sharing == "pool" else 1
        aliases[("replicas",)] = ("size",)
    for key, value in (form.service or {}).items():
        if key not in body:
            body[key] = value
            aliases[(key,)] = ("service", key)
    return ServiceDraft(backend.service, body, Origin(origin.source, origin.node, aliases))


def _literal(text: str) -> str:
    """Return a text that filling in leaves as it is, but for references to secrets."""
    return _DOLLAR.sub("$$", text)
