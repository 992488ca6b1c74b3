"""One checked service out of one draft: variables filled in, paths absolute, defaults applied."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from orchestra_supervisor.config.draft import Body, Reading, ServiceDraft
from orchestra_supervisor.config.environment import Layers, Scope, activation, anchor_paths
from orchestra_supervisor.config.file_scope import FileScope
from orchestra_supervisor.config.filling import filled
from orchestra_supervisor.config.findings import Finding, Findings, Severity, shown
from orchestra_supervisor.config.form import HeadForm, ServiceForm
from orchestra_supervisor.config.form_log import to_log_spec
from orchestra_supervisor.config.form_parts import RestartForm, StopForm, StopStepForm
from orchestra_supervisor.config.form_plugins import target_spec
from orchestra_supervisor.config.form_probes import ProbesForm
from orchestra_supervisor.config.form_rotation import secret_change
from orchestra_supervisor.config.form_schedule import to_schedule
from orchestra_supervisor.config.form_supervisord import start_spec, supervisor_name
from orchestra_supervisor.config.form_watch import watch_spec
from orchestra_supervisor.config.judge import judge
from orchestra_supervisor.config.replicas import place_replica
from orchestra_supervisor.config.resolve_equipment import equipment_values, hook
from orchestra_supervisor.config.resolve_probes import probe_spec
from orchestra_supervisor.config.stdio import STDIO_RESTART, STDIO_STOP
from orchestra_supervisor.config.thrift import slim
from orchestra_supervisor.config.values import UNLIMITED
from orchestra_supervisor.model.mcp import OWN_PREFIX
from orchestra_supervisor.model.spec import (
    BackoffSpec,
    DependencySpec,
    HttpCheck,
    ProbeSet,
    ProbeSpec,
    RestartSpec,
    RlimitSpec,
    ServiceSpec,
    StopSpec,
    StopStep,
)
from orchestra_supervisor.model.states import Condition, Kind

__all__ = ["local_port", "resolve_head", "resolve_service", "service_ports"]

_SAME = frozenset(
    [
        "description",
        "inherit_env",
        "user",
        "group",
        "umask",
        "nice",
        "oom_score_adj",
        "enabled",
        "priority",
        "start_delay",
        "required_for_system",
        "port",
    ]
)
"""Keys that mean in a spec what they mean in a file."""

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104 - compared, never bound


def local_port(url: str | None) -> int | None:
    """Return the port of an address on this host, or None for another host or no address."""
    try:
        parts = urlsplit(url or "")
        if parts.hostname not in _LOCAL_HOSTS:
            return None
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None


def service_ports(specs: Iterable[ServiceSpec]) -> dict[int, str]:
    """Return which service owns a port: by its `port`, else by the port of an http probe."""
    owners: dict[int, str] = {}
    probed: dict[int, str] = {}
    for spec in specs:
        if spec.port is not None:
            owners.setdefault(spec.port, spec.name)
        for probe in (spec.probes.readiness, spec.probes.liveness, spec.probes.startup):
            check = None if probe is None else probe.check
            port = local_port(check.url) if isinstance(check, HttpCheck) and not check.unix else None
            if port is not None:
                probed.setdefault(port, spec.name)
    return probed | owners


def resolve_head(reading: Reading, environ: Mapping[str, str], findings: Findings) -> FileScope:
    """Check everything of a file but its services.

    Args:
        reading: The file.
        environ: Environment of the supervisor.
        findings: Gets what is wrong.

    Returns:
        The scope for its services; with an empty head when that is wrong, so that the services are
        still gone through.
    """
    body = {key: value for key, value in reading.head.items() if key != "templates"}
    layers = Layers(environ)
    scope = Scope(reading.origin, layers.lookup, findings, "settings")
    settings = body.get("settings")
    if isinstance(settings, dict):
        members = dict(cast("Body", settings))
        env_scope = Scope(reading.origin, layers.lookup, findings, "settings", in_env=True)
        layers.add_files(members.get("env_files"), scope, ("settings", "env_files"))
        own = layers.add_values(members.get("environment"), env_scope, ("settings", "environment"))
        if own is not None:
            members["environment"] = own
        for key in [key for key in members if key not in ("env_files", "environment")]:
            # A plugin's options may refer to secrets: it gets their values when it needs them.
            filler = env_scope if key == "plugins" else scope
            members[key] = filler.tree(members[key], ("settings", key))
        body["settings"] = members
    if "include" in body:
        body["include"] = scope.tree(body["include"], ("include",))
    head: HeadForm | None = None
    if body:  # else nothing is said, as in most files of MCP servers: there is nothing to check
        head = judge(
            HeadForm, body, reading.origin, findings, subject="the file", beside=("services", "templates")
        )
    if head is None:
        head = HeadForm.model_construct()
    added = dict(layers.added)
    if reading.activates:
        added = anchor_paths(added, reading.source.directory)
        added |= activation(reading.source.directory, added.get("PATH", environ.get("PATH", os.defpath)))
    return FileScope(reading, head, environ, added)


def resolve_service(draft: ServiceDraft, file: FileScope, findings: Findings) -> ServiceSpec | None:
    """Turn one draft into a spec.

    Args:
        draft: The service as its dialect wrote it down.
        file: What its file gives to it.
        findings: Gets what is wrong.

    Returns:
        The spec, or None when something is wrong with it.
    """
    own = Findings()
    if draft.name.startswith(OWN_PREFIX):
        message = (
            f"service {shown(draft.name)}: names that begin with {OWN_PREFIX} are those of our own services"
        )
        place = (draft.origin.where(key=True),)
        own.add(
            Finding(Severity.ERROR, "value.invalid", message, place, hint="rename it", service=draft.name)
        )
    body, env = filled(draft, file, own)
    if draft.replica is not None:
        body, env = place_replica(body, env, draft.replica)
    form = judge(
        ServiceForm, body, draft.origin, own, subject=f"service {shown(draft.name)}", service=draft.name
    )
    findings.extend(own.items)
    findings.read.extend(own.read)
    if form is None or own.has_errors:
        return None
    values = _spec_values(draft.name, form, env, file) | {"replica": draft.replica}
    try:
        return slim(ServiceSpec.model_validate(values))
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            path = fault["loc"]
            findings.add(
                Finding(
                    Severity.ERROR,
                    "value.invalid",
                    f"service {shown(draft.name)}: {'.'.join(map(str, path))}: {fault['msg']}",
                    (draft.origin.where(path, key=True),),
                    service=draft.name,
                )
            )
        return None


def _given(form: BaseModel | None) -> dict[str, Any]:
    """Return what was said in a form, without what was left out."""
    if form is None:
        return {}
    return {name: value for name in type(form).model_fields if (value := getattr(form, name)) is not None}


def _spec_values(name: str, form: ServiceForm, env: dict[str, str], file: FileScope) -> dict[str, Any]:
    defaults = file.defaults
    kind = Kind(form.kind or form.type or ("daemon" if form.schedule is None else "periodic"))
    values: dict[str, Any] = {key: value for key, value in _given(form).items() if key in _SAME}
    timeout = form.startup_timeout if form.startup_timeout is not None else defaults.startup_timeout
    if timeout is not None:
        values["startup_timeout"] = timeout
    return values | {
        "name": name,
        "title": form.title or form.name or "",
        "kind": kind,
        "schedule": to_schedule(form.schedule, file.environ),
        "argv": tuple(form.command),
        "cwd": os.path.normpath(file.reading.source.directory / (form.cwd or ".")),
        "env": env,
        "groups": None if form.groups is None else tuple(form.groups),
        "rlimits": {
            key: RlimitSpec(soft=pair[0], hard=pair[1]) for key, pair in (form.rlimits or {}).items()
        },
        "depends_on": _dependencies(form),
        "target": target_spec(form.target),
        "start": start_spec(form.start),
        "restart": _restart(form, STDIO_RESTART if form.stdio else defaults.restart, kind),
        "stop": _stop(form.stop or (STDIO_STOP if form.stdio else defaults.stop)),
        "probes": _probe_set(form, file),
        "url": form.url or _site(form.health_url),
        **equipment_values(form, file.reading.source.directory, file.environ),
        "log": to_log_spec(defaults.log, form.log, file.reading.source.directory),
        "tags": tuple(form.tags or ()),
        "watch": watch_spec(form.watch),
        "on_secret_change": secret_change(form.on_secret_change),
        "supervisor": supervisor_name(form.supervisor),
    }


def _site(url: str | None) -> str | None:
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else None


def _dependencies(form: ServiceForm) -> dict[str, DependencySpec]:
    result = {name: DependencySpec() for name in form.dependencies or ()}
    for name, entry in (form.depends_on or {}).items():
        given = _given(entry)
        if "condition" in given:
            given["condition"] = Condition(given["condition"])
        result[name] = DependencySpec(**given)
    return result


def _restart(form: ServiceForm, default: RestartForm | None, kind: Kind) -> RestartSpec:
    values = _given(default)
    backoff = _given(values.pop("backoff", None))
    short = {"max_restarts": form.max_restarts, "window": form.restart_window}
    values |= {key: value for key, value in short.items() if value is not None}
    if form.restart_delay is not None:
        backoff["initial"] = form.restart_delay
    own = _given(form.restart)
    backoff |= _given(own.pop("backoff", None))
    values |= own
    if values.get("max_restarts") == UNLIMITED:
        values["max_restarts"] = None
    if "success_exit_codes" in values:
        values["success_exit_codes"] = tuple(values["success_exit_codes"])
    backoff.setdefault("cap", max(BackoffSpec().cap, backoff.get("initial", 0.0)))
    values.setdefault("policy", "on-failure" if kind is Kind.DAEMON else "never")
    return RestartSpec(**values, backoff=BackoffSpec(**backoff))


def _stop(form: StopForm | None) -> StopSpec:
    if form is None:
        return StopSpec()
    scope: dict[str, Any] = {"scope": form.scope} if form.scope else {}
    if form.command is not None:
        scope["command"] = hook(form.command, form.timeout)
    if form.steps is not None:
        return StopSpec(steps=tuple(StopStep(**_given(step)) for step in form.steps), **scope)
    step = _given(StopStepForm.model_construct(signal=form.signal, wait=form.grace))
    return StopSpec(steps=(StopStep(**step),), **scope)


def _probe_set(form: ServiceForm, file: FileScope) -> ProbeSet:
    timing: dict[str, Any] = {}
    if file.head.health_check_interval is not None:
        timing["period"] = file.head.health_check_interval
    timing |= _given(file.defaults.probes)
    directory = file.reading.source.directory
    written = form.probes or ProbesForm.model_construct(startup=None, readiness=None, liveness=None)
    probes = {name: probe_spec(probe, timing, directory) for name, probe in _given(written).items()}
    if form.health_url is not None:
        if form.health_check_retries is not None:
            timing["failure_threshold"] = form.health_check_retries
        shorthand = ProbeSpec(check=HttpCheck(url=form.health_url), **timing)
        probes.setdefault("readiness", shorthand)
        probes.setdefault("liveness", shorthand)
    return ProbeSet(**probes)
