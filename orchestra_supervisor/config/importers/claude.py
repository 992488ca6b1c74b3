"""Files of MCP clients: servers with an address of this host and a command become services, the file stays.

The gateway reads such a file as it is, so the native file includes it: what is started by the client over
standard input and output, and what runs elsewhere, is nothing that a service could stand for.
"""

from pathlib import Path
from typing import cast

from orchestra_supervisor.config.dialect_mcp import McpDialect
from orchestra_supervisor.config.draft import Body, Source
from orchestra_supervisor.config.findings import Location, Severity, shown
from orchestra_supervisor.config.importers.names import fitting_name
from orchestra_supervisor.config.importers.piece import Imported, Mark, Piece
from orchestra_supervisor.config.jsonc import Node
from orchestra_supervisor.config.resolve import local_port

__all__ = ["import_client"]


def import_client(root: Node, path: Path, shown_path: str, imported: Imported) -> None:
    """Add the servers of a client's file.

    Args:
        root: The file.
        path: Absolute.
        shown_path: Its name in findings.
        imported: Gets them.
    """
    source = Source(path, shown_path)
    reading = McpDialect().read(root, source)
    imported.findings += reading.findings
    imported.include.append((str(path), Mark(Location(shown_path), "its servers are read as they are from")))
    taken = set(imported.names())
    for backend in reading.mcp.backends if reading.mcp else ():
        body, place = backend.body, backend.origin.where(key=True)
        url = body.get("endpoint") or body.get("url")
        port = local_port(url) if isinstance(url, str) else None
        command = body.get("command")
        if not isinstance(command, str) or port is None:
            why = "runs elsewhere" if command is None else "is started for each client over standard input"
            message = f"MCP server {shown(backend.name)!r} is no service: it {why}; the gateway takes it"
            imported.note(Severity.INFO, "import.backend", message, place)
            continue
        piece = Piece(fitting_name(backend.name, taken), Mark(place, f"MCP server {backend.name}"))
        taken.add(piece.name)
        args = cast("list[object]", body.get("args") or [])
        piece.put(
            ("command",), [command, *map(str, args)], Mark(backend.origin.where(("command",)), "command")
        )
        folder = path.parent / str(body.get("cwd") or ".")
        piece.put(("cwd",), str(folder), Mark(backend.origin.where(("cwd",)), "cwd"))
        for name, value in cast("Body", body.get("env") or {}).items():
            piece.put(("env", name), value, Mark(backend.origin.where(("env", name))))
        piece.put(("port",), port, Mark(backend.origin.where(("endpoint" if "endpoint" in body else "url",))))
        probe = {"readiness": {"tcp": port}}
        piece.put(("probes",), probe, Mark(place, "it listens there"))
        if isinstance(body.get("description"), str):
            piece.put(("description",), body["description"], Mark(backend.origin.where(("description",))))
        imported.services.append(piece)
