"""One checked service out of one draft: variables filled in, paths absolute, defaults applied."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from orchestra_supervisor.config.draft import Body, KeyPath, Reading, ServiceDraft
from orchestra_supervisor.config.environment import Layers, Scope, activation, anchor_paths, holds_secret
from orchestra_supervisor.config.findings import Finding, Findings, Severity, shown
from orchestra_supervisor.config.form import DefaultsForm, HeadForm, ServiceForm
from orchestra_supervisor.config.form_log import to_log_spec
from orchestra_supervisor.config.form_parts import (
    ProbeForm,
    ProbesForm,
    ProbeTimingForm,
    RestartForm,
    StopForm,
    StopStepForm,
)
from orchestra_supervisor.config.form_schedule import to_schedule
from orchestra_supervisor.config.form_watch import watch_spec
from orchestra_supervisor.config.judge import judge
from orchestra_supervisor.config.resolve_equipment import equipment_values, hook
from orchestra_supervisor.config.values import UNLIMITED
from orchestra_supervisor.config.variables import shell_variables
from orchestra_supervisor.model.spec import (
    BackoffSpec,
    CommandCheck,
    DependencySpec,
    HttpCheck,
    PluginCheck,
    ProbeSet,
    ProbeSpec,
    RestartSpec,
    RlimitSpec,
    ServiceSpec,
    StopSpec,
    StopStep,
    TcpCheck,
)
from orchestra_supervisor.model.states import Condition, Kind

__all__ = ["FileScope", "local_port", "resolve_head", "resolve_service", "service_ports"]

_HOOK_KEYS = ("pre_start", "post_stop", "stop", "reload")
"""Keys below which commands stand."""

_LITERAL_KEYS = frozenset(
    {"title", "name", "description", "env", "env_files", "command", "probes", *_HOOK_KEYS}
)
"""Keys whose texts are not filled in, or are so elsewhere."""

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
            port = local_port(check.url) if isinstance(check, HttpCheck) else None
            if port is not None:
                probed.setdefault(port, spec.name)
    return probed | owners


@dataclass(frozen=True, slots=True)
class FileScope:
    """What a file's head gives to its services.

    Attributes:
        reading: The file.
        head: Its checked head.
        environ: Environment of the supervisor.
        added: Variables that the file adds for all its services.
    """

    reading: Reading
    head: HeadForm
    environ: Mapping[str, str]
    added: Mapping[str, str]

    @property
    def defaults(self) -> DefaultsForm:
        """Return the defaults for services, empty where the file has none."""
        settings = self.head.settings
        return (settings.defaults if settings else None) or DefaultsForm.model_construct(
            restart=None, stop=None, probes=None, log=None, startup_timeout=None
        )


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
    body = dict(reading.head)
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
    head = judge(HeadForm, body, reading.origin, findings, subject="the file", beside=("services",))
    if head is None:
        head = HeadForm.model_validate({})
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
    body, env = _filled(draft, file, own)
    form = judge(
        ServiceForm, body, draft.origin, own, subject=f"service {shown(draft.name)}", service=draft.name
    )
    findings.extend(own.items)
    findings.read.extend(own.read)
    if form is None or own.has_errors:
        return None
    values = _spec_values(draft.name, form, env, file)
    try:
        return ServiceSpec.model_validate(values)
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


def _filled(draft: ServiceDraft, file: FileScope, findings: Findings) -> tuple[Body, dict[str, str]]:
    """Fill in a draft's variables and build its environment."""
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
    values |= {
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
        "restart": _restart(form, defaults.restart, kind),
        "stop": _stop(form.stop or defaults.stop),
        "probes": _probe_set(form, file.head, defaults.probes),
        "url": form.url or _site(form.health_url),
        **equipment_values(form, file.reading.source.directory, file.environ),
        "log": to_log_spec(defaults.log, form.log),
        "tags": tuple(form.tags or ()),
        "watch": watch_spec(form.watch),
    }
    return values


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


def _probe_set(form: ServiceForm, head: HeadForm, default: ProbeTimingForm | None) -> ProbeSet:
    timing: dict[str, Any] = {}
    if head.health_check_interval is not None:
        timing["period"] = head.health_check_interval
    timing |= _given(default)
    written = form.probes or ProbesForm.model_construct(startup=None, readiness=None, liveness=None)
    probes = {name: _probe(probe, timing) for name, probe in _given(written).items()}
    if form.health_url is not None:
        if form.health_check_retries is not None:
            timing["failure_threshold"] = form.health_check_retries
        shorthand = ProbeSpec(check=HttpCheck(url=form.health_url), **timing)
        probes.setdefault("readiness", shorthand)
        probes.setdefault("liveness", shorthand)
    return ProbeSet(**probes)


def _probe(form: ProbeForm, timing: dict[str, Any]) -> ProbeSpec:
    given = _given(form)
    checks = {key: given.pop(key, None) for key in ("http", "tcp", "command", "plugin")}
    check: HttpCheck | TcpCheck | CommandCheck | PluginCheck
    if form.http is not None:
        http = _given(checks["http"])
        renamed = {"body_match": http.pop("body")} if "body" in http else {}
        if "status" in http:
            http["status"] = tuple(http["status"])
        check = HttpCheck(**http, **renamed)
    elif form.tcp is not None:
        check = TcpCheck(**_given(checks["tcp"]))
    elif form.plugin is not None:
        check = PluginCheck(**_given(checks["plugin"]))
    else:
        check = CommandCheck(argv=tuple(form.command or ()))
    return ProbeSpec(check=check, **(timing | given))
