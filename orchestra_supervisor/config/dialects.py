"""The dialects in the order in which they are asked whether a file is theirs."""

from orchestra_supervisor.config.dialect_autostart import AutostartDialect, OlderAutostartDialect
from orchestra_supervisor.config.dialect_mcp import McpDialect
from orchestra_supervisor.config.dialect_supervisor import SupervisorDialect
from orchestra_supervisor.config.draft import Dialect, Source
from orchestra_supervisor.config.findings import Finding, Severity, shown
from orchestra_supervisor.config.jsonc import Node
from orchestra_supervisor.config.native import NativeDialect

__all__ = ["DIALECTS", "detect"]

DIALECTS: list[Dialect] = [
    OlderAutostartDialect(),
    AutostartDialect(),
    SupervisorDialect(),
    NativeDialect(),
    McpDialect(),
]
"""Asked in this order; the native form takes what has `services` and is nobody else's."""


def detect(root: Node, source: Source) -> Dialect | Finding:
    """Return the dialect of a file, or an error that says what was looked for."""
    for dialect in DIALECTS:
        if dialect.detects(root, source):
            return dialect
    found = (
        f"its keys are {', '.join(shown(key) for key in list(root.members)[:8])}"
        if root.members
        else f"it is {root.kind}"
    )
    return Finding(
        Severity.ERROR,
        "file.unknown_shape",
        f"not a file that describes services: {found}",
        (root.location,),
        hint="looked for an object with `services`, `include`, `mcp_servers`, `mcpServers` or `servers`",
    )
