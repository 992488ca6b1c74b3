"""The fleet's plugins against this host: whether each can be loaded, and has what the services ask for."""

from collections.abc import Sequence

from orchestra_supervisor.config.findings import Category, Finding, Findings, Location, Severity, shown
from orchestra_supervisor.config.load import LoadResult
from orchestra_supervisor.config.secrets import secret_names
from orchestra_supervisor.config.targets import request_of
from orchestra_supervisor.model.errors import OrchestraError
from orchestra_supervisor.model.plugin import BUILTIN_PROBES, BUILTIN_TARGETS
from orchestra_supervisor.model.spec import PluginCheck, ServiceSpec, TargetSpec
from orchestra_supervisor.plugin_api.offers import LoadedPlugin, PluginSource

__all__ = ["look_at_plugins"]


def look_at_plugins(result: LoadResult, source: PluginSource) -> tuple[Finding, ...]:
    """Load every plugin that the settings name and say what is wrong. Blocks for as long as they take.

    Args:
        result: A loaded fleet.
        source: May have loaded some already.
    """
    settings = result.fleet.settings
    plugins = source.load_wanted(settings.plugins, entry_points=settings.plugin_entry_points)
    findings = Findings()
    for index, spec in enumerate(settings.plugins):
        if spec in settings.plugins[:index]:
            where = result.sources.setting("plugins", index)
            _note(
                findings,
                "plugin.twice",
                f"plugin {spec.source} is named twice",
                where,
                "remove one of the two",
            )
    for plugin in plugins:
        if plugin.fault is not None:
            where = _where(result, plugin)
            message = f"plugin {shown(plugin.name)}: {shown(plugin.fault.message)}"
            _note(findings, "plugin.failed", message, where, plugin.fault.hint)
    for spec in result.fleet.services.values():
        _look_at_service(spec, result, [one for one in plugins if one.fault is None], findings)
    return tuple(findings.items)


def _where(result: LoadResult, plugin: LoadedPlugin) -> Location:
    specs = result.fleet.settings.plugins
    if plugin.spec in specs:
        return result.sources.setting("plugins", specs.index(plugin.spec))
    return result.sources.setting("plugin_entry_points")


def _look_at_service(
    spec: ServiceSpec, result: LoadResult, plugins: Sequence[LoadedPlugin], findings: Findings
) -> None:
    types = {*BUILTIN_PROBES, *(name for plugin in plugins for name in plugin.offers.probes)}
    schemes = {name for plugin in plugins for name in plugin.offers.secret_providers}
    for kind in ("startup", "readiness", "liveness"):
        probe = getattr(spec.probes, kind)
        if probe is not None and isinstance(probe.check, PluginCheck) and probe.check.probe not in types:
            where = result.sources.where(spec.name, "probes", kind)
            hint = f"there are: {', '.join(sorted(types))}"
            message = f"service {spec.name}: no plugin has a probe {shown(probe.check.probe)!r}"
            _note(findings, "probe.unknown", message, where, hint, spec.name)
    if spec.target != TargetSpec():
        _look_at_target(spec, result, plugins, findings)
    for variable, value in spec.env.items():
        for name in secret_names(value):
            scheme, colon, _ = name.partition(":")
            if colon and scheme not in schemes:
                where = result.sources.where(spec.name, "env", variable)
                hint = f"schemes of plugins: {', '.join(sorted(schemes)) or 'none'}"
                message = f"service {spec.name}: no plugin gives secrets of {shown(scheme)!r}"
                _note(findings, "secret.unavailable", message, where, hint, spec.name)


def _look_at_target(
    spec: ServiceSpec, result: LoadResult, plugins: Sequence[LoadedPlugin], findings: Findings
) -> None:
    name, where = spec.target.name, result.sources.where(spec.name, "target")
    owner = next((plugin for plugin in plugins if name in plugin.offers.targets), None)
    if owner is None:
        known = sorted({*BUILTIN_TARGETS, *(one for plugin in plugins for one in plugin.offers.targets)})
        if name not in BUILTIN_TARGETS:
            message = f"service {spec.name}: no plugin has a target {shown(name)!r}"
            _note(findings, "target.unknown", message, where, f"there are: {', '.join(known)}", spec.name)
        elif spec.target.options:
            message = f"service {spec.name}: target {name} takes no options"
            _note(findings, "target.options", message, where, "remove them", spec.name)
        return
    try:
        faults = owner.call_blocking(
            f"faults of target {name}", owner.offers.targets[name].faults, request_of(spec, spec.env, home="")
        )
        for fault in faults:
            message = f"service {spec.name}: target {name}: {shown(str(fault))}"
            _note(findings, "target.options", message, where, "docs/plugins.md has its options", spec.name)
    except OrchestraError as error:
        _note(
            findings, "target.options", f"service {spec.name}: {error.message}", where, error.hint, spec.name
        )
    except Exception as error:  # noqa: BLE001 - a plugin's edge
        message = (
            f"service {spec.name}: target {name} cannot tell: {type(error).__name__}: {shown(str(error))}"
        )
        _note(findings, "target.options", message, where, "", spec.name)


def _note(
    findings: Findings, code: str, message: str, where: Location, hint: str = "", service: str = ""
) -> None:
    findings.add(
        Finding(
            Severity.ERROR,
            code,
            message,
            (where,),
            hint=hint,
            service=service,
            category=Category.PREFLIGHT,
        )
    )
