"""The native form: read as it is, every key known."""

from typing import cast

from orchestra_supervisor.config.draft import Body, Origin, Reading, ServiceDraft, Source
from orchestra_supervisor.config.findings import Finding, Severity, shown
from orchestra_supervisor.config.jsonc import Node

__all__ = ["NativeDialect", "service_nodes", "shape_findings"]


def service_nodes(root: Node) -> dict[str, Node]:
    """Return the members of `services` that are objects."""
    services = root.members.get("services")
    if services is None:
        return {}
    return {name: node for name, node in services.members.items() if node.kind == "object"}


def shape_findings(root: Node) -> list[Finding]:
    """Say where `services`, or an entry of it, is not an object."""
    services = root.members.get("services")
    if services is None:
        return []
    if services.kind != "object":
        return [_not_an_object(services, "services", f"`services` must be an object, not {services.kind}")]
    return [
        _not_an_object(node, name, f"service {shown(name)!r} must be an object, not {node.kind}")
        for name, node in services.members.items()
        if node.kind != "object"
    ]


def _not_an_object(node: Node, field: str, message: str) -> Finding:
    return Finding(Severity.ERROR, "value.type", message, (node.location,), shown(field))


class NativeDialect:
    """The native form."""

    name = "native"
    rank = 0

    def detects(self, root: Node, source: Source) -> bool:  # noqa: ARG002 - the protocol's signature
        """Take every file with `services` that no other dialect has claimed."""
        return root.kind == "object" and ("services" in root.members or "include" in root.members)

    def read(self, root: Node, source: Source) -> Reading:
        """Hand the file on unchanged."""
        drafts = tuple(
            ServiceDraft(name, cast("Body", node.to_python()), Origin(source, node))
            for name, node in service_nodes(root).items()
        )
        head: Body = {key: node.to_python() for key, node in root.members.items() if key != "services"}
        return Reading(
            source,
            self.name,
            self.rank,
            Origin(source, root),
            services=drafts,
            head=head,
            findings=tuple(shape_findings(root)),
        )
