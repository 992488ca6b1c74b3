"""A service with its variables filled in, and its environment; what a shell reads stays as it is."""

from typing import cast

from orchestra_supervisor.config.draft import Body, KeyPath, ServiceDraft
from orchestra_supervisor.config.environment import Layers, Scope, anchor_paths, holds_secret
from orchestra_supervisor.config.file_scope import FileScope
from orchestra_supervisor.config.findings import Findings, Severity, shown
from orchestra_supervisor.config.variables import shell_variables

__all__ = ["filled"]

_HOOK_KEYS = ("pre_start", "post_stop", "stop", "reload")
"""Keys below which commands stand."""

_LITERAL_KEYS = frozenset(
    {"title", "name", "description", "env", "env_files", "command", "probes", *_HOOK_KEYS}
)
"""Keys whose texts are not filled in, or are so elsewhere."""


def filled(draft: ServiceDraft, file: FileScope, findings: Findings) -> tuple[Body, dict[str, str]]:
    """Fill in a draft's variables and build its environment.

    Args:
        draft: The service as its dialect wrote it down.
        file: What its file gives to it.
        findings: Gets what is wrong.

    Returns:
        The draft's body, and the environment that its file and itself add.
    """
    body = dict(draft.body)
    layers = Layers(file.environ, file.added)
    subject = f"service {shown(draft.name)}"
    scope = Scope(draft.origin, layers.lookup, findings, subject, draft.name)
    layers.add_files(body.get("env_files"), scope, ("env_files",))
    env_scope = Scope(draft.origin, layers.lookup, findings, subject, draft.name, in_env=True)
    own = layers.add_values(body.get("env"), env_scope, ("env",))
    if own is not None:
        body["env"] = own
    secrets = body.get("secrets")
    if isinstance(secrets, dict):
        names = cast("dict[str, object]", secrets)
        layers.added.update({name: f"secret:{secret}" for name, secret in names.items()})
    for key in [key for key in body if key not in _LITERAL_KEYS]:
        body[key] = scope.tree(body[key], (key,))
    if "command" in body:
        body["command"] = _command(body["command"], scope, ("command",))
    for key in _HOOK_KEYS:
        if key in body:
            body[key] = _hooks(body[key], scope, (key,))
    if isinstance(body.get("probes"), dict):
        body["probes"] = _probes(cast("Body", body["probes"]), scope)
    env = layers.added
    return body, anchor_paths(env, file.reading.source.directory) if file.reading.activates else env


def _probes(probes: Body, scope: Scope) -> Body:
    result: Body = {}
    for name, probe in probes.items():
        path: KeyPath = ("probes", name)
        if not isinstance(probe, dict):
            result[name] = probe
            continue
        members = cast("Body", probe)
        result[name] = {
            key: _command(value, scope, (*path, key)) if key == "command" else scope.tree(value, (*path, key))
            for key, value in members.items()
        }
    return result


def _command(value: object, scope: Scope, path: KeyPath) -> object:
    """Fill in an argument vector; leave a shell line to the shell, which sees the same variables."""
    if not isinstance(value, str):
        return scope.tree(value, path)
    if holds_secret(value):
        return scope.text(value, path)
    for name in shell_variables(value):
        if name not in scope.lookup:
            hint = f"set {name}, or write ${{{name}:-default}}"
            message = f"uses ${{{name}}}, which is not set; the shell reads it as empty"
            scope.note(Severity.INFO, "variable.unset_in_shell", message, path, hint)
    return value


def _hooks(value: object, scope: Scope, path: KeyPath) -> object:
    """Fill in commands that stand alone, in lists, or in objects with a key `command`."""
    if isinstance(value, list) and path[-1] in ("pre_start", "post_stop"):
        entries = cast("list[object]", value)
        return [_hooks(entry, scope, (*path, index)) for index, entry in enumerate(entries)]
    if isinstance(value, dict):
        result: Body = {}
        for key, member in cast("Body", value).items():
            place = (*path, key)
            is_command = key == "command"
            result[key] = _command(member, scope, place) if is_command else scope.tree(member, place)
        return result
    return _command(cast("object", value), scope, path)
