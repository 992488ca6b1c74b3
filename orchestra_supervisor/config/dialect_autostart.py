"""`orchestra_autostart.json`: the current form (A) and the older one (B).

`command` is a shell line in the file's folder with the virtual environment beside it activated. Keys of
the native form may stand beside the dialect's own; a key that neither knows is a warning, since other
tools read these files too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, cast

from orchestra_supervisor.config.draft import Body, KeyPath, Origin, Reading, ServiceDraft, Source
from orchestra_supervisor.config.findings import Finding, Severity, shown
from orchestra_supervisor.config.form import HeadForm, ServiceForm, SettingsForm
from orchestra_supervisor.config.jsonc import Node
from orchestra_supervisor.config.judge import keys_of, unknown_key
from orchestra_supervisor.config.native import service_nodes, shape_findings

__all__ = ["AutostartDialect", "OlderAutostartDialect"]

_A_SERVICE = frozenset({"health_check", "restart_on_failure"})
_A_SETTINGS = frozenset({"pid_directory", "health_check_interval", "restart_delay", "max_restart_attempts"})
_B_SERVICE = frozenset({"startup_delay", "interval", "health_check", "restart_on_failure"})
_B_MARKS = frozenset({"startup_delay", "interval"})
_B_HEAD = frozenset({"startup_checks", "restart_policy"})
_B_KINDS = frozenset({"oneshot", "periodic"})
_DEFAULT_PERIOD = 30.0
"""Seconds between health checks where the file does not say; what the tools that write this form use."""
_PERIOD: KeyPath = ("settings", "defaults", "probes", "period")
_RANKS = {"A": 2, "B": 3}


class AutostartDialect:
    """The current form."""

    name = "autostart"

    def detects(self, root: Node, source: Source) -> bool:
        """Look for keys that only this form has; then for its file name."""
        if root.kind != "object" or "$schema" in root.members or "services" not in root.members:
            return False
        settings = root.members.get("settings")
        named = source.path.name.startswith("orchestra_autostart")
        return (
            _any_service_has(root, _A_SERVICE)
            or (settings is not None and bool(_A_SETTINGS & settings.members.keys()))
            or (named and not _any_service_has(root, _NATIVE_ONLY))
        )

    def read(self, root: Node, source: Source) -> Reading:
        """Rewrite the file into the native form."""
        return _Reader("A", root, source).read(self.name)


class OlderAutostartDialect:
    """The older form, which its tool still writes."""

    name = "autostart-older"

    def detects(self, root: Node, source: Source) -> bool:  # noqa: ARG002 - the protocol's signature
        """Look for keys and kinds that only this form has."""
        if root.kind != "object" or "$schema" in root.members or "services" not in root.members:
            return False
        kinds = (
            node.members["type"].value for node in service_nodes(root).values() if "type" in node.members
        )
        return (
            bool(_B_HEAD & root.members.keys())
            or _any_service_has(root, _B_MARKS)
            or any(kind in _B_KINDS for kind in kinds)
        )

    def read(self, root: Node, source: Source) -> Reading:
        """Rewrite the file into the native form."""
        return _Reader("B", root, source).read(self.name)


_SHARED = {"name", "description", "type", "command", "port", "enabled", "priority", "start_delay"}
_NATIVE_ONLY = frozenset(keys_of(ServiceForm)) - _SHARED


def _any_service_has(root: Node, keys: Iterable[str]) -> bool:
    wanted = frozenset(keys)
    return any(wanted & node.members.keys() for node in service_nodes(root).values())


@dataclass(slots=True)
class _Service:
    """One service while it is being rewritten."""

    name: str
    node: Node
    body: Body
    aliases: dict[KeyPath, KeyPath] = field(default_factory=dict[KeyPath, KeyPath])

    def take(self, key: str) -> object:
        return self.body.pop(key, None)

    def put(self, path: KeyPath, value: object, written: KeyPath) -> None:
        """Set a value at a native path and remember where it was written."""
        body = self.body
        for step in path[:-1]:
            inner = body.get(str(step))
            if not isinstance(inner, dict):
                inner = dict[str, object]()
                body[str(step)] = inner
            body = cast("Body", inner)
        body[str(path[-1])] = value
        self.aliases[path] = written


class _Reader:
    """Rewrites one file."""

    def __init__(self, form: Literal["A", "B"], root: Node, source: Source) -> None:
        self._form = form
        self._root = root
        self._source = source
        self._findings: list[Finding] = []

    def read(self, dialect: str) -> Reading:
        self._findings += shape_findings(self._root)
        services = tuple(self._service(name, node) for name, node in service_nodes(self._root).items())
        head = self._head()
        self._note_staggering(services)
        return Reading(
            self._source,
            dialect,
            _RANKS[self._form],
            Origin(self._source, self._root, head.aliases),
            services=services,
            head=head.body,
            activates=True,
            findings=tuple(self._findings),
        )

    def _note(
        self, severity: Severity, code: str, message: str, node: Node, hint: str = "", service: str = ""
    ) -> None:
        self._findings.append(
            Finding(severity, code, message, (node.key_location,), hint=hint, service=service)
        )

    def _service(self, name: str, node: Node) -> ServiceDraft:
        draft = _Service(name, node, cast("Body", node.to_python()))
        own = _B_SERVICE if self._form == "B" else _A_SERVICE
        known = own | set(keys_of(ServiceForm))
        for key in [key for key in draft.body if key not in known]:
            place = node.members[key].key_location
            subject = f"service {shown(name)}"
            self._findings.append(
                unknown_key(key, known, place, subject=subject, service=name, severity=Severity.WARNING)
            )
            del draft.body[key]
        self._kind(draft)
        self._restart(draft)
        self._health(draft)
        return ServiceDraft(name, draft.body, Origin(self._source, node, draft.aliases))

    def _kind(self, draft: _Service) -> None:
        kind = draft.body.get("type")
        if kind == "oneshot":
            draft.body["type"] = "once"
        interval = draft.take("interval")
        if kind == "periodic" and "schedule" not in draft.body:
            if interval is None:
                self._leave_unplanned(draft)
            else:
                draft.put(("schedule", "every"), interval, ("interval",))
        elif interval is not None:
            self._note(
                Severity.WARNING,
                "key.unused",
                f"service {shown(draft.name)}: `interval` means something for periodic services "
                "without a schedule only",
                draft.node.members["interval"],
                service=draft.name,
            )

    def _leave_unplanned(self, draft: _Service) -> None:
        draft.body["type"] = "once"
        draft.body["enabled"] = False
        self._note(
            Severity.WARNING,
            "periodic.unplanned",
            f"service {shown(draft.name)} is periodic and says no `interval`; it is not started",
            draft.node.members["type"],
            'give it an interval in seconds, or a schedule like "0 3 * * *"',
            draft.name,
        )

    def _restart(self, draft: _Service) -> None:
        if "restart_on_failure" not in draft.body:
            return
        wanted = draft.take("restart_on_failure")
        if "restart" in draft.body:
            return
        written: KeyPath = ("restart_on_failure",)
        if isinstance(wanted, bool):
            draft.put(("restart", "policy"), "on-failure" if wanted else "never", written)
        else:
            self._findings.append(
                Finding(
                    Severity.ERROR,
                    "value.type",
                    f"service {shown(draft.name)}: `restart_on_failure` must be true or false",
                    (draft.node.members["restart_on_failure"].location,),
                    "restart_on_failure",
                    service=draft.name,
                )
            )

    def _health(self, draft: _Service) -> None:
        url = draft.take("health_check")
        delay = draft.take("startup_delay")
        if delay is not None and "startup_delay" in draft.node.members:
            self._note(
                Severity.INFO,
                "startup_delay.read_as",
                f"service {shown(draft.name)}: `startup_delay` delays the first look at its health; "
                "what starts next follows from priority and dependencies",
                draft.node.members["startup_delay"],
                service=draft.name,
            )
        if url is None:
            return
        written: KeyPath = ("health_check",)
        if delay is None:
            draft.put(("health_url",), url, written)
            return
        for probe in ("readiness", "liveness"):
            draft.put(("probes", probe, "http"), url, written)
            draft.put(("probes", probe, "initial_delay"), delay, ("startup_delay",))

    def _head(self) -> _Service:
        members = {key: node for key, node in self._root.members.items() if key != "services"}
        head = _Service("", self._root, {key: node.to_python() for key, node in members.items()})
        extra = _B_HEAD if self._form == "B" else frozenset[str]()
        known = extra | set(keys_of(HeadForm)) | {"services"}
        for key in [key for key in head.body if key not in known]:
            place = members[key].key_location
            self._findings.append(
                unknown_key(key, known, place, subject="the file", severity=Severity.WARNING)
            )
            del head.body[key]
        self._settings(head)
        self._older_head(head)
        return head

    def _settings(self, head: _Service) -> None:
        node = self._root.members.get("settings")
        if node is None:
            head.put(_PERIOD, _DEFAULT_PERIOD, ("settings",))
        if node is None or node.kind != "object":
            return
        settings = cast("Body", head.body["settings"])
        known = _A_SETTINGS | set(keys_of(SettingsForm))
        for key in [key for key in settings if key not in known]:
            place = node.members[key].key_location
            self._findings.append(
                unknown_key(key, known, place, subject="settings", severity=Severity.WARNING)
            )
            del settings[key]
        moves: dict[str, KeyPath] = {
            "health_check_interval": ("probes", "period"),
            "restart_delay": ("restart", "backoff", "initial"),
            "max_restart_attempts": ("restart", "max_restarts"),
        }
        period = settings.get("health_check_interval")
        if period is None:
            head.put(_PERIOD, _DEFAULT_PERIOD, ("settings",))
        for key, path in moves.items():
            if key in settings:
                head.put(("settings", "defaults", *path), settings.pop(key), ("settings", key))
        if settings.pop("pid_directory", None) is not None:
            self._note(
                Severity.INFO,
                "key.unused",
                "`settings.pid_directory` is not needed: what runs is kept in the state directory",
                node.members["pid_directory"],
            )

    def _older_head(self, head: _Service) -> None:
        if "startup_checks" in head.body:
            del head.body["startup_checks"]
            self._note(
                Severity.INFO,
                "key.unused",
                "`startup_checks` is not needed: `orchestra check` always looks at dependencies and ports",
                self._root.members["startup_checks"],
            )
        policy = self._root.members.get("restart_policy")
        if policy is None:
            return
        head.take("restart_policy")
        moves: dict[str, KeyPath] = {
            "max_retries": ("max_restarts",),
            "retry_delay": ("backoff", "initial"),
            "backoff_multiplier": ("backoff", "multiplier"),
        }
        for key, member in policy.members.items():
            if key in moves:
                path: KeyPath = ("settings", "defaults", "restart", *moves[key])
                head.put(path, member.to_python(), ("restart_policy", key))
            else:
                self._findings.append(
                    unknown_key(
                        key, moves, member.key_location, subject="restart_policy", severity=Severity.WARNING
                    )
                )

    def _note_staggering(self, services: tuple[ServiceDraft, ...]) -> None:
        """Say where start delays stand in for dependencies."""
        delayed = [s for s in services if isinstance(d := s.body.get("start_delay"), int | float) and d > 0]
        ordered = any("depends_on" in s.body or "dependencies" in s.body for s in services)
        if len(delayed) < 2 or ordered:
            return
        self._findings.append(
            Finding(
                Severity.INFO,
                "delay.as_dependency",
                f"{len(delayed)} services start after a fixed delay, and none says what it waits for",
                tuple(s.origin.where(("start_delay",)) for s in delayed[:5]),
                "start_delay",
                hint="name what each one needs in `depends_on`: it then starts as soon as that is ready",
            )
        )
