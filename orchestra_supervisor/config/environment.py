"""The environment a service gets, layer by layer, and the variables its values may use.

One rule: `${NAME}` has the value that the service itself would see. From the strongest layer down:
the service's `env` and `secrets`, its `env_files`, the file's `settings.environment`, the file's
`settings.env_files`, and the environment of the supervisor.
"""

import os
import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from orchestra_supervisor.config.draft import Body, KeyPath, Origin
from orchestra_supervisor.config.envfile import parse_env
from orchestra_supervisor.config.files import read_text
from orchestra_supervisor.config.findings import Finding, Findings, Severity, shown
from orchestra_supervisor.config.values import Expanded
from orchestra_supervisor.config.variables import expand

__all__ = [
    "PATH_VARIABLES",
    "SECRET_REFERENCE",
    "Layers",
    "Scope",
    "activation",
    "anchor_paths",
    "holds_secret",
]

PATH_VARIABLES = frozenset(
    {
        "PATH",
        "PYTHONPATH",
        "NODE_PATH",
        "LD_LIBRARY_PATH",
        "MYPYPATH",
        "PERL5LIB",
        "RUBYLIB",
        "CLASSPATH",
        "GOPATH",
    }
)
"""Variables that are lists of folders."""

SECRET_REFERENCE = re.compile(r"secret:([A-Za-z0-9_][A-Za-z0-9_.:#/-]*)")
"""A whole value that stands for a secret: a name of the secrets file, or `SCHEME:NAME` of a plugin."""


def holds_secret(text: str) -> bool:
    """Tell whether a value is, or contains, a reference to a secret."""
    return "${secret:" in text or SECRET_REFERENCE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a body's variables are looked up, and whom its findings name.

    Attributes:
        origin: Where the body was written.
        lookup: Values by name.
        findings: Gets what cannot be filled in.
        subject: Begins messages: `service api`, `settings`.
        service: Name of the service, or empty.
        in_env: The body is an environment, where references to secrets may stand.
    """

    origin: Origin
    lookup: Mapping[str, str]
    findings: Findings
    subject: str
    service: str = ""
    in_env: bool = False

    def note(self, severity: Severity, code: str, message: str, path: KeyPath, hint: str = "") -> None:
        """Keep a finding on one value; the message goes on after the value's key."""
        key = self.origin.named(path)
        text = f"{self.subject}: `{key}` {message}"
        place = self.origin.where(path)
        self.findings.add(Finding(severity, code, text, (place,), key, hint=hint, service=self.service))

    def text(self, value: str, path: KeyPath) -> str:
        """Fill in one text; an unset variable is an error."""
        expansion = expand(value, self.lookup)
        for name in expansion.missing:
            hint = f"set {name}, or write ${{{name}:-default}}"
            self.note(Severity.ERROR, "variable.unset", f"uses ${{{name}}}, which is not set", path, hint)
        for mark in expansion.malformed:
            hint = "write ${NAME} or ${NAME:-default}; $$ is a dollar sign"
            message = f"holds {shown(mark)!r}, which is no variable"
            self.note(Severity.ERROR, "variable.malformed", message, path, hint)
        if not self.in_env and holds_secret(expansion.text):
            message = "refers to a secret, which others could read there"
            hint = "hand it over in `env` or `secrets`"
            self.note(Severity.ERROR, "secret.exposed", message, path, hint)
        return expansion.text

    def tree(self, value: object, path: KeyPath) -> object:
        """Fill in every text of a value; keys stay as they are."""
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, list):
            items = cast("list[object]", value)
            return [self.tree(item, (*path, index)) for index, item in enumerate(items)]
        if isinstance(value, dict):
            members = cast("dict[str, object]", value)
            return {key: self.tree(item, (*path, key)) for key, item in members.items()}
        return value


class Layers:
    """Builds an environment from the weakest layer to the strongest.

    Args:
        below: What is known before: the supervisor's environment, or that and a file's settings.
        added: What earlier layers add to the supervisor's environment.
    """

    def __init__(self, below: Mapping[str, str], added: Mapping[str, str] | None = None) -> None:
        self._below = below
        self.added: dict[str, str] = dict(added or {})
        self.lookup: Mapping[str, str] = ChainMap(self.added, cast("dict[str, str]", below))

    def add_files(self, paths: object, scope: Scope, path: KeyPath) -> None:
        """Add the variables of env files.

        Args:
            paths: The list as written; anything but texts is left to the form to refuse.
            scope: For variables in the names and for findings; its lookup is this environment.
            path: The list's path below the scope's origin.
        """
        if not isinstance(paths, list):
            return
        for index, entry in enumerate(cast("list[object]", paths)):
            if isinstance(entry, str) and entry:
                self._add_file(scope.text(entry, (*path, index)), scope, (*path, index))

    def _add_file(self, entry: str, scope: Scope, path: KeyPath) -> None:
        optional = entry.startswith("?")
        name = entry.removeprefix("?")
        source = scope.origin.source
        file = source.directory / name
        scope.findings.read.append(Path(os.path.abspath(file)))  # noqa: PTH100 - no symlinks resolved
        display = os.path.join(os.path.dirname(source.shown), name)  # noqa: PTH118, PTH120 - keeps the user's form
        text = read_text(file, display)
        if isinstance(text, Finding):
            if optional and text.code == "file.missing":
                return
            hint = (
                f'write "?{shown(name)}" if it may be missing' if text.code == "file.missing" else text.hint
            )
            message = f"names {shown(name)!r}: {text.message}"
            scope.note(Severity.ERROR, "env_file.unreadable", message, path, hint)
            return
        parsed = parse_env(text, display, self.lookup)
        scope.findings.extend(parsed.findings)
        self.added.update(parsed.values)

    def add_values(self, values: object, scope: Scope, path: KeyPath) -> Body | None:
        """Add the entries of an `env` object, in order; each may use the ones above it.

        Returns:
            The object with its variables filled in, for the form to check; None when it is no object.
        """
        if not isinstance(values, dict):
            return None
        result: Body = {}
        for name, value in cast("dict[str, object]", values).items():
            filled: object = value
            if isinstance(value, str):
                filled = self._fill(value, scope, (*path, name))
            result[name] = filled
            if isinstance(filled, bool):
                self.added[name] = "true" if filled else "false"
            elif isinstance(filled, str | int | float):
                self.added[name] = str(filled)
        return result

    def _fill(self, value: str, scope: Scope, path: KeyPath) -> str:
        if "$" not in value:
            return value
        text = scope.text(value, path)
        # A variable that stands for a secret may be the whole of a value, or a part of it.
        for name in re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*)", value):
            found = self.lookup.get(name, "")
            if SECRET_REFERENCE.fullmatch(found) and text != found:
                text = Expanded(text.replace(found, f"${{{found}}}"))
        return text


def activation(directory: Path, path: str) -> dict[str, str]:
    """Return what activating the virtual environment in a folder sets; empty where there is none.

    Args:
        directory: Folder that may hold `.venv` or `venv`.
        path: PATH as it is without.
    """
    for name in (".venv", "venv"):
        folder = directory / name
        if (folder / "bin" / "python").exists():
            return {"VIRTUAL_ENV": str(folder), "PATH": f"{folder / 'bin'}{os.pathsep}{path}"}
    return {}


def anchor_paths(values: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Return the values with relative entries of path variables made absolute.

    Args:
        values: An environment.
        directory: What relative entries start from.
    """
    result = dict(values)
    for name in PATH_VARIABLES & result.keys():
        entries = result[name].split(os.pathsep)
        result[name] = os.pathsep.join(
            entry
            if not entry or entry.startswith(("/", "~", "$")) or holds_secret(entry)
            else os.path.normpath(directory / entry)
            for entry in entries
        )
    return result
