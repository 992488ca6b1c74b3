"""`orchestra_supervisor_config.json` (C): argument vectors, dependencies, restart limits.

The native form grew out of it, so its keys are read as they stand. Its tools restart a service
however it ended, so the policy is `always` where the file does not say.
"""

from typing import cast

from orchestra_supervisor.config.draft import Body, Origin, Reading, ServiceDraft, Source
from orchestra_supervisor.config.findings import Finding, Severity, shown
from orchestra_supervisor.config.form import HeadForm, ServiceForm
from orchestra_supervisor.config.jsonc import Node
from orchestra_supervisor.config.judge import keys_of, unknown_key
from orchestra_supervisor.config.native import service_nodes, shape_findings

__all__ = ["SupervisorDialect"]

_HEAD = frozenset({"health_check_interval", "monitor_interval"})
_SERVICE = frozenset(
    [
        "name",
        "description",
        "command",
        "cwd",
        "port",
        "env",
        "health_url",
        "restart_delay",
        "max_restarts",
        "restart_window",
        "required_for_system",
        "dependencies",
        "startup_timeout",
        "health_check_retries",
        "enabled",
    ]
)
_MARKS = frozenset(
    {"health_url", "dependencies", "restart_delay", "max_restarts", "restart_window", "health_check_retries"}
)


class SupervisorDialect:
    """The form of `orchestra_supervisor_config.json`."""

    name = "supervisor-config"
    rank = 1

    def detects(self, root: Node, source: Source) -> bool:
        """Look for its keys, and for none that only the native form has."""
        if root.kind != "object" or "services" not in root.members:
            return False
        if {"$schema", "settings", "include", "templates"} & root.members.keys():
            return False
        services = service_nodes(root).values()
        if any(node.members.keys() & (set(keys_of(ServiceForm)) - _SERVICE) for node in services):
            return False
        named = source.path.name.startswith("orchestra_supervisor_config")
        marked = any(node.members.keys() & _MARKS for node in services)
        return named or marked or bool(root.members.keys() & _HEAD)

    def read(self, root: Node, source: Source) -> Reading:
        """Hand the services on with the dialect's own restart policy."""
        findings = shape_findings(root)
        drafts: list[ServiceDraft] = []
        for name, node in service_nodes(root).items():
            body = cast("Body", node.to_python())
            subject = f"service {shown(name)}"
            findings += _drop_unknown(body, node, keys_of(ServiceForm), subject, name)
            body.setdefault("restart", "always")
            drafts.append(ServiceDraft(name, body, Origin(source, node)))
        head: Body = {key: node.to_python() for key, node in root.members.items() if key != "services"}
        findings += _drop_unknown(head, root, [*keys_of(HeadForm), "services"], "the file", "")
        return Reading(
            source,
            self.name,
            self.rank,
            Origin(source, root),
            services=tuple(drafts),
            head=head,
            findings=tuple(findings),
        )


def _drop_unknown(body: Body, node: Node, known: list[str], subject: str, service: str) -> list[Finding]:
    """Take out what the form does not know, with a warning each: other tools read these files too."""
    findings: list[Finding] = []
    for key in [key for key in body if key not in known]:
        place = node.members[key].key_location
        findings.append(
            unknown_key(key, known, place, subject=subject, service=service, severity=Severity.WARNING)
        )
        del body[key]
    return findings
