"""Fleet-wide settings out of the settings of several files."""

from collections.abc import Collection, Sequence
from typing import Any, cast

from orchestra_supervisor.config.file_scope import FileScope
from orchestra_supervisor.config.findings import Category, Finding, Findings, Location, Severity, shown
from orchestra_supervisor.config.form_exit import exit_policy
from orchestra_supervisor.config.form_mcp import McpForm, mcp_settings
from orchestra_supervisor.config.form_plugins import plugin_spec
from orchestra_supervisor.config.form_supervisord import supervisor_spec
from orchestra_supervisor.config.judge import nearest
from orchestra_supervisor.model.mcp import McpSettings
from orchestra_supervisor.model.spec import FleetSettings
from orchestra_supervisor.model.supervisord import SupervisorSpec

__all__ = ["check_exit", "merge_settings"]

_PATHS = ("log_directory", "secrets_file")
_PLAIN = (
    "remember_stops",
    "control_group",
    "leftovers",
    "journal_keep",
    "log_keep_bytes",
    "figures_period",
    "watch_config",
    "watch_debounce",
    "credentials",
    "journald",
    "systemd_ready",
    "plugin_entry_points",
    "console",
)


def merge_settings(scopes: Sequence[FileScope], findings: Findings) -> FleetSettings:
    """Take each setting from the first file that has it.

    Args:
        scopes: In order of belief.
        findings: Gets a warning where two files differ.
    """
    values: dict[str, Any] = {}
    places: dict[str, Location] = {}
    for scope in scopes:
        settings = scope.head.settings
        if settings is None:
            continue
        for key in (*_PATHS, *_PLAIN, "plugins", "mcp", "supervisor", "exit_when"):
            value: Any = getattr(settings, key)
            if value is None:
                continue
            if key == "plugins":
                value = tuple(plugin_spec(form, scope.reading.source.directory) for form in value)
            elif isinstance(value, McpForm):
                value = mcp_settings(value)
            elif key == "exit_when":
                value = exit_policy(value)
            elif key == "supervisor":
                value = supervisor_spec(value, scope.reading.source.directory)
            elif key in _PATHS:
                value = str(scope.reading.source.directory / value)
            place = scope.reading.origin.where(("settings", key))
            if key not in values:
                values[key], places[key] = value, place
            elif values[key] != value:
                findings.add(
                    Finding(
                        Severity.WARNING,
                        "drift.setting",
                        f"two files differ in `settings.{key}`; the first place holds",
                        (places[key], place),
                        f"settings.{key}",
                        (_said(values[key]), _said(value)),
                        "say it in one file",
                        category=Category.DRIFT,
                    )
                )
    return FleetSettings(**values)


def check_exit(
    settings: FleetSettings, known: Collection[str], scopes: Sequence[FileScope], findings: Findings
) -> None:
    """Make sure that the services whose end ends the fleet are there.

    Args:
        settings: Of the fleet.
        known: Names of services and of groups of replicas.
        scopes: The files.
        findings: Gets an error for each name that is nobody's.
    """
    path = ("settings", "exit_when", "ends")
    for name in settings.exit_when.ends:
        if name not in known:
            where = next(
                (one.reading.origin.where((*path, name)) for one in scopes if one.reading.origin.has(path)),
                None,
            )
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else "name a service"
            message = f"`settings.exit_when.ends` names {shown(name)!r}, which is no service"
            places = (where,) if where else ()
            findings.add(Finding(Severity.ERROR, "exit.unknown", message, places, ".".join(path), hint=hint))


def _said(value: object) -> str:
    """Return a setting as a finding may show it; what plugins are given, and who may connect, is not."""
    if isinstance(value, SupervisorSpec):
        return f"the supervisor {value.identifier!r}"
    if isinstance(value, McpSettings):
        said = {name: getattr(value, name) for name in type(value).model_fields}
        own = [f"{name}: {one}" for name, one in said.items() if one != getattr(McpSettings(), name)]
        return shown(", ".join(own) or "as by default")
    return f"{len(cast('tuple[object, ...]', value))} plugins" if isinstance(value, tuple) else shown(value)
