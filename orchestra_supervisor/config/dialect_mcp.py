"""`claude_mcp_config.json` (D) and the files of MCP clients: which MCP servers there are.

The servers stand under `mcp_servers`, `mcpServers` (Claude Desktop, Claude Code, Cursor, Windsurf) or
`servers` (VS Code). Clients keep other things in these files too, so unknown keys are left alone.
"""

from typing import cast

from orchestra_supervisor.config.draft import BackendDraft, Body, McpDraft, Origin, Reading, Source
from orchestra_supervisor.config.findings import Finding, Severity, shown
from orchestra_supervisor.config.jsonc import Node

__all__ = ["McpDialect"]

_LISTS = ("mcp_servers", "mcpServers", "servers")
_ENTRY = frozenset({"command", "args", "endpoint", "url", "httpUrl", "serverUrl"})


def _list_of(root: Node) -> tuple[str, Node] | None:
    for key in _LISTS:
        node = root.members.get(key)
        if node is None:
            continue
        entries = [entry for entry in node.members.values() if entry.kind == "object"]
        if key != "servers" or not node.members or any(_ENTRY & entry.members.keys() for entry in entries):
            return key, node
    return None


class McpDialect:
    """Lists of MCP servers."""

    name = "mcp"
    rank = 4

    def detects(self, root: Node, source: Source) -> bool:  # noqa: ARG002 - the protocol's signature
        """Look for one of the lists."""
        return root.kind == "object" and _list_of(root) is not None

    def read(self, root: Node, source: Source) -> Reading:
        """Take the servers, `routing` and `cache`."""
        found = _list_of(root)
        findings: list[Finding] = []
        backends: list[BackendDraft] = []
        entries = found[1] if found else root
        if entries.kind != "object":
            findings.append(_not_an_object(entries, f"`{found[0] if found else ''}` must be an object"))
        for name, node in entries.members.items() if entries.kind == "object" else ():
            if node.kind != "object":
                findings.append(_not_an_object(node, f"MCP server {shown(name)!r} must be an object"))
                continue
            backends.append(BackendDraft(name, cast("Body", node.to_python()), Origin(source, node)))
        head: Body = {
            key: root.members[key].to_python() for key in ("routing", "cache") if key in root.members
        }
        origin = Origin(source, root)
        return Reading(
            source,
            self.name,
            self.rank,
            origin,
            mcp=McpDraft(tuple(backends), head, origin),
            findings=tuple(findings),
        )


def _not_an_object(node: Node, message: str) -> Finding:
    return Finding(Severity.ERROR, "value.type", f"{message}, not {node.kind}", (node.location,))
