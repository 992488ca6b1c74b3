"""The fleet against this host: what would keep a service from starting here. Nothing is started.

An error means that this service will not start as things stand; others are not concerned. Certain
faults are errors, likely ones warnings.
"""

import grp
import os
import pwd
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestra_supervisor.config.commands import CommandView, view_command
from orchestra_supervisor.config.credentials import credentials_for
from orchestra_supervisor.config.draft import KeyPath
from orchestra_supervisor.config.environment import PATH_VARIABLES
from orchestra_supervisor.config.findings import Category, Finding, Findings, Location, Severity, shown
from orchestra_supervisor.config.load import LoadResult, Sources
from orchestra_supervisor.config.ports import PortOwner, listeners
from orchestra_supervisor.config.secrets import SecretStore, secret_names
from orchestra_supervisor.model.errors import SecretError
from orchestra_supervisor.model.mcp import GATEWAY, split_address
from orchestra_supervisor.model.spec import ServiceSpec, TargetSpec

__all__ = ["preflight"]

_BUILTINS = frozenset(
    {
        *(".", ":", "[", "alias", "bg", "break", "case", "cd", "command", "continue", "echo", "eval", "exec"),
        *("exit", "export", "false", "fg", "for", "getopts", "hash", "if", "jobs", "kill", "printf", "pwd"),
        *("read", "readonly", "return", "set", "shift", "test", "times", "trap", "true", "type", "ulimit"),
        *("umask", "unalias", "unset", "until", "wait", "while"),
    }
)
"""Words that the shell knows itself."""


def preflight(result: LoadResult, environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """Look at everything that the services need of this host. Blocks for file and process look-ups.

    Args:
        result: A loaded fleet; its faultless services are looked at even when others have faults.
        environ: Environment of the supervisor.

    Returns:
        Findings of the category `preflight`.
    """
    findings = Findings()
    owners = listeners()
    said: set[tuple[Location, str]] = set()
    settings = result.fleet.settings
    store = SecretStore(settings.secrets_file, credentials_for(settings, environ))
    for spec in result.fleet.services.values():
        look = _Look(spec, result.sources, environ, findings, said)
        look.at_cwd()
        if spec.target == TargetSpec():  # else its command is for another place
            look.at_command()
            look.at_paths()
        look.at_identity()
        look.at_secrets(store)
        if spec.port is not None and spec.enabled and (owner := owners.get(spec.port)):
            look.at_busy_port(spec.port, owner)
    _shared_ports(result, findings)
    _log_directory(result.fleet.settings.log_directory, result.sources, findings)
    _gateway_port(result, owners, findings)
    return tuple(findings.items)


@dataclass(frozen=True, slots=True)
class _Look:
    """One service under examination."""

    spec: ServiceSpec
    sources: Sources
    environ: Mapping[str, str]
    findings: Findings
    said: set[tuple[Location, str]]

    def note(
        self, severity: Severity, code: str, message: str, path: KeyPath, value: object = None, hint: str = ""
    ) -> None:
        if self.spec.start_on == "demand" and severity is Severity.ERROR:
            severity = Severity.WARNING  # the fleet starts without it
        field = self.sources.field(self.spec.name, *path)
        self.findings.add(
            Finding(
                severity,
                code,
                f"service {self.spec.name}: {message}",
                (self.sources.where(self.spec.name, *path),),
                field,
                () if value is None else (shown(value, str(path[-1])),),
                hint,
                self.spec.name,
                Category.PREFLIGHT,
            )
        )

    @property
    def view(self) -> CommandView:
        return view_command(self.spec.argv, self.spec.cwd)

    def at_cwd(self) -> None:
        cwd = Path(self.spec.cwd)
        if not _exists(cwd):
            hint = (
                "~ is not expanded: write ${HOME}" if "/~" in self.spec.cwd else "create it, or correct `cwd`"
            )
            message = f"`cwd` {shown(self.spec.cwd)}: this path does not exist here"
            self.note(Severity.ERROR, "cwd.missing", message, ("cwd",), self.spec.cwd, hint)
        elif not cwd.is_dir():
            message = f"`cwd` {shown(self.spec.cwd)} is not a directory"
            self.note(Severity.ERROR, "cwd.not_directory", message, ("cwd",), self.spec.cwd)
        elif self.view.is_shell and not _exists(Path(self.view.cwd)):
            message = f"the shell line goes to {shown(self.view.cwd)}: this path does not exist here"
            self.note(Severity.WARNING, "cwd.missing", message, ("command",), self.view.cwd, "create it")

    def at_command(self) -> None:
        words = self.view.words
        if not words or any(char in words[0] for char in "$`"):
            return
        if self.view.is_shell and words[0] in _BUILTINS:
            return
        program = words[0]
        severity = Severity.WARNING if self.view.is_shell else Severity.ERROR
        if "/" in program:
            file = Path(os.path.join(self.view.cwd, program))  # noqa: PTH118 - as exec resolves it
            if not _exists(file):
                message = f"program {shown(str(file))}: this path does not exist here"
                hint = f"correct `{self.sources.field(self.spec.name, 'command')}`"
                self.note(severity, "command.missing", message, ("command",), program, hint)
            elif file.is_dir() or not os.access(file, os.X_OK):
                message = f"program {shown(str(file))} cannot be executed"
                self.note(
                    severity, "command.not_executable", message, ("command",), program, f"chmod +x {file}"
                )
            return
        path = self.spec.env.get("PATH") or (self.environ.get("PATH") if self.spec.inherit_env else None)
        if shutil.which(program, path=path or os.defpath) is None:
            message = f"program {shown(program)!r} is not on its PATH"
            hint = "install it, or write its absolute path"
            self.note(severity, "command.not_on_path", message, ("command",), program, hint)

    def at_paths(self) -> None:
        """Look for scripts and absolute paths that are not here."""
        script = self.view.script
        if script is not None and "$" not in script and not _exists(Path(script)):
            message = f"script {shown(script)}: this path does not exist here"
            self.note(Severity.WARNING, "script.missing", message, ("command",), script, "correct the path")
        for index, word in enumerate(self.spec.argv[1:] if not self.view.is_shell else (), start=1):
            if word.startswith("/") and word != script and not _exists(Path(word).parent):
                message = f"argument {shown(word)}: this path does not exist here"
                self.note(Severity.WARNING, "path.foreign", message, ("command", index), word)
        for name in sorted(PATH_VARIABLES & self.spec.env.keys() - {"PATH"}):
            for entry in self.spec.env[name].split(os.pathsep):
                if not entry.startswith("/") or _exists(Path(entry)):
                    continue
                place = (self.sources.where(self.spec.name, "env", name), entry)
                if place not in self.said:  # settings are shared by many services
                    self.said.add(place)
                    message = f"{name} holds {shown(entry)}: this path does not exist here"
                    self.note(Severity.WARNING, "path.foreign", message, ("env", name), entry)

    def at_identity(self) -> None:
        user, group = self.spec.user, self.spec.group
        uid = _lookup_user(user) if user else None
        if user and uid is None:
            message = f"user {shown(user)!r} does not exist here"
            self.note(
                Severity.ERROR, "user.unknown", message, ("user",), user, "create it, or correct `user`"
            )
        elif uid is not None and os.geteuid() not in (0, uid):
            message = f"only root may run it as {shown(user)}"
            self.note(
                Severity.ERROR, "user.not_allowed", message, ("user",), user, "run as root, or without `user`"
            )
        groups = [(group, ("group",))] if group else []
        groups += [(name, ("groups", index)) for index, name in enumerate(self.spec.groups or ())]
        for name, path in groups:
            if not _group_exists(name):
                message = f"group {shown(name)!r} does not exist here"
                self.note(
                    Severity.ERROR, "group.unknown", message, path, name, "create it, or correct the name"
                )

    def at_secrets(self, store: SecretStore) -> None:
        for name, value in self.spec.env.items():
            if any(":" in secret for secret in secret_names(value)):
                continue  # of a plugin, which is asked when the process is spawned
            try:
                store.resolve({name: value})
            except SecretError as error:
                path: KeyPath = ("env", name)
                if value == self.spec.env.get(name) and not self._written(path):
                    path = ("secrets", name)
                self.note(Severity.ERROR, "secret.unavailable", error.message, path, hint=error.hint)

    def _written(self, path: KeyPath) -> bool:
        candidate = self.sources.candidates.get(self.spec.name)
        return candidate is not None and candidate.draft.origin.has(path)

    def at_busy_port(self, port: int, owner: PortOwner) -> None:
        if owner.run.rpartition("-")[0] == self.spec.name:
            message = f"port {port} is in use by this service itself, which runs: {owner}"
            self.note(Severity.INFO, "port.own", message, ("port",), port)
            return
        message = f"port {port} is in use by {owner}"
        hint = "stop that process, or choose another port; it is never stopped by force"
        self.note(Severity.ERROR, "port.busy", message, ("port",), port, hint)


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True  # it cannot be looked at, which says nothing about the service's own user
    return True


def _lookup_user(name: str) -> int | None:
    try:
        return pwd.getpwuid(int(name)).pw_uid if name.isdigit() else pwd.getpwnam(name).pw_uid
    except (KeyError, OverflowError, ValueError):
        return int(name) if name.isdigit() and len(name) <= 10 else None


def _group_exists(name: str) -> bool:
    if name.isdigit():
        return len(name) <= 10
    try:
        grp.getgrnam(name)
    except (KeyError, ValueError):
        return False
    return True


def _shared_ports(result: LoadResult, findings: Findings) -> None:
    """Make sure that no two services which are started claim one port."""
    claims: dict[int, list[str]] = {}
    replicas: set[tuple[int, str]] = set()
    for spec in result.fleet.services.values():
        if spec.enabled and spec.port is not None:
            if spec.replica is not None and (spec.port, spec.replica.group) in replicas:
                continue  # an error of the files already
            claims.setdefault(spec.port, []).append(spec.name)
            if spec.replica is not None:
                replicas.add((spec.port, spec.replica.group))
    for port, names in claims.items():
        for name in names[1:]:
            findings.add(
                Finding(
                    Severity.ERROR,
                    "port.conflict",
                    f"service {name}: port {port} is claimed by service {names[0]} too: one cannot start",
                    (result.sources.where(name, "port"), result.sources.where(names[0], "port")),
                    "port",
                    (f"{name}: {port}", f"{names[0]}: {port}"),
                    "give each its own port, or disable one",
                    name,
                    Category.PREFLIGHT,
                )
            )


def _gateway_port(result: LoadResult, owners: Mapping[int, PortOwner], findings: Findings) -> None:
    """Say that MCP over HTTP will not be there; the fleet starts without it, and `orchestra mcp` works."""
    settings = result.fleet.settings.mcp
    if settings.http is None or not settings.enabled:
        return
    _, port = split_address(settings.http)
    claimants = [spec.name for spec in result.fleet.services.values() if spec.port == port and spec.enabled]
    owner = owners.get(port)
    if claimants:
        text = f"port {port} of `settings.mcp.http` is claimed by service {claimants[0]} too"
    elif owner is not None and owner.run.rpartition("-")[0] != GATEWAY:
        text = f"port {port} of `settings.mcp.http` is in use by {owner}: MCP is not served over HTTP"
    else:
        return
    place = result.sources.setting("mcp", "http")
    hint = "choose another port; a fleet that runs already holds its own"
    findings.add(
        Finding(
            Severity.WARNING,
            "mcp.http_busy",
            text,
            (place,),
            "settings.mcp.http",
            (settings.http,),
            hint,
            category=Category.PREFLIGHT,
        )
    )


def _log_directory(directory: str | None, sources: Sources, findings: Findings) -> None:
    if directory is None:
        return
    folder = Path(directory)
    while not _exists(folder) and folder != folder.parent:
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return
    what = "is not a directory" if not folder.is_dir() else "cannot be written to"
    findings.add(
        Finding(
            Severity.ERROR,
            "log_directory.unwritable",
            f"the log directory {shown(directory)} cannot be used: {shown(str(folder))} {what}",
            (sources.setting("log_directory"),),
            "settings.log_directory",
            (shown(directory),),
            "choose another folder, or change its owner",
            category=Category.PREFLIGHT,
        )
    )
