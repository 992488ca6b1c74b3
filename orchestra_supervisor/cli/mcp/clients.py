"""The MCP clients whose files we know: where these stand and how an entry looks in them.

Source: the clients' own documentation; the paths as of 2026.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestra_supervisor.cli.words import UsageError, nearest

__all__ = ["CLIENTS", "Client", "client_named", "client_path"]


@dataclass(frozen=True, slots=True)
class Client:
    """One client.

    Attributes:
        name: As it is named on the command line.
        title: As people know it.
        linux: Its file below $XDG_CONFIG_HOME (`@config`) or the home directory; of several the first that is
            there.
        mac: The same on macOS.
        project: Its file in a project's folder; empty: it has none.
        key: The member that holds the servers.
        has_type: An entry says `"type": "stdio"`.
        is_strict: It reads JSON only: a comment makes it refuse the file.
        afterwards: What makes it read the file again.
    """

    name: str
    title: str
    linux: tuple[str, ...]
    mac: tuple[str, ...]
    project: str = ""
    key: str = "mcpServers"
    has_type: bool = False
    is_strict: bool = False
    afterwards: str = "start it again"


_MAC = "Library/Application Support"

CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        Client(
            "claude-desktop",
            "Claude Desktop",
            ("@config/Claude/claude_desktop_config.json", "@config/claude/claude_desktop_config.json"),
            (f"{_MAC}/Claude/claude_desktop_config.json",),
            is_strict=True,
            afterwards="quit it fully and start it again",
        ),
        Client(
            "claude-code",
            "Claude Code",
            (".claude.json",),
            (".claude.json",),
            project=".mcp.json",
            has_type=True,
            is_strict=True,
            afterwards="sessions that begin from now on have it",
        ),
        Client("cursor", "Cursor", (".cursor/mcp.json",), (".cursor/mcp.json",), project=".cursor/mcp.json"),
        Client(
            "vscode",
            "VS Code",
            ("@config/Code/User/mcp.json",),
            (f"{_MAC}/Code/User/mcp.json",),
            project=".vscode/mcp.json",
            key="servers",
            has_type=True,
            afterwards="it asks whether to start the server",
        ),
        Client(
            "windsurf",
            "Windsurf",
            (".codeium/windsurf/mcp_config.json",),
            (".codeium/windsurf/mcp_config.json",),
            afterwards="refresh its list of servers",
        ),
    )
}
"""Every client by its name."""


def client_named(name: str) -> Client:
    """Return a client.

    Raises:
        UsageError: There is none of that name.
    """
    if name in CLIENTS:
        return CLIENTS[name]
    close = nearest(name, CLIENTS)
    hint = f"did you mean {close}?" if close else f"one of {', '.join(CLIENTS)}"
    raise UsageError(f"unknown client {name!r}", hint)


def client_path(
    client: Client, environ: Mapping[str, str], *, project: Path | None = None, platform: str = sys.platform
) -> Path:
    """Return a client's file; it need not exist.

    Args:
        client: Whose.
        environ: For HOME and XDG_CONFIG_HOME.
        project: The folder of a project whose file is meant, or None: the user's.
        platform: As `sys.platform`.

    Raises:
        UsageError: The client has no file in a project.
    """
    if project is not None:
        if not client.project:
            raise UsageError(f"{client.title} has no file in a project", "leave --project out")
        return project / client.project
    home = Path(environ.get("HOME") or Path.home())
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    places = [
        config / place.removeprefix("@config/") if place.startswith("@config/") else home / place
        for place in (client.mac if platform == "darwin" else client.linux)
    ]
    present = [place for place in places if place.exists()]
    likely = [place for place in places if place.parent.is_dir()]
    return [*present, *likely, *places][0]
