"""`orchestra mcp bundle`: the pump as an .mcpb that Claude Desktop installs with a click.

The archive holds the pump's own modules, which are standard library only, and a manifest. Equal input gives
equal bytes.

Source: the manifest's specification 0.3 (github.com/anthropics/mcpb).
"""

import json
import sys
import zipfile
from pathlib import Path

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.cli.mcp.entry import Endpoint

__all__ = ["MODULES", "manifest_of", "write_bundle"]

_PACKAGE = Path(__file__).resolve().parents[2]
_SHIM = "cli/shim"
MODULES = (
    "__init__.py",
    "unix_http.py",
    "control_home.py",
    "cli/__init__.py",
    "cli/holder.py",
    *sorted(f"{_SHIM}/{path.name}" for path in (_PACKAGE / _SHIM).glob("*.py")),
)
"""All that the pump may import of this package."""
_INSTANT = (1980, 1, 1, 0, 0, 0)  # of every file in it, the earliest that a zip can say
_TOOLS = (
    ("fleet_status", "What runs, what does not, and why"),
    ("service_diagnose", "Why a service is not well: ranked causes with evidence"),
    ("service_restart", "Stop and start services and wait until they are ready"),
)


def manifest_of(home: str, endpoint: Endpoint, *, is_portable: bool) -> dict[str, object]:
    """Return the manifest.

    Args:
        home: The state directory that is proposed to whoever installs it.
        endpoint: What it reaches.
        is_portable: For any host: the Python of its PATH, not the one that runs this.
    """
    entry = f"server/orchestra_supervisor/{_SHIM}/__main__.py"
    words = ["-I", "-S", f"${{__dirname}}/{entry}", "--home", "${user_config.home}", *endpoint.words()]
    directory: dict[str, object] = {
        "type": "directory",
        "title": "State directory",
        "description": "The .orchestra directory of the fleet, beside its configuration files",
        "required": True,
    }
    if not is_portable:
        directory["default"] = home
    return {
        "manifest_version": "0.3",
        "name": "orchestra",
        "display_name": "Orchestra Supervisor",
        "version": VERSION,
        "description": "Operate the services and MCP servers of this host.",
        "author": {"name": "Orchestra Supervisor"},
        "license": "Apache-2.0",
        "server": {
            "type": "python",
            "entry_point": entry,
            "mcp_config": {"command": "python3" if is_portable else sys.executable, "args": words, "env": {}},
        },
        "tools": [{"name": name, "description": text} for name, text in _TOOLS]
        if not endpoint.words()
        else [],
        "tools_generated": True,
        "prompts_generated": True,
        "compatibility": {"platforms": ["darwin", "linux"], "runtimes": {"python": ">=3.11"}},
        "user_config": {"home": directory},
    }


def write_bundle(target: Path, manifest: dict[str, object]) -> None:
    """Write the archive.

    Raises:
        FileExistsError: The file is there already.
        OSError: It cannot be written.
    """
    parts = [("manifest.json", (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())]
    parts += [
        (f"server/orchestra_supervisor/{module}", (_PACKAGE / module).read_bytes()) for module in MODULES
    ]
    with open(target, "xb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:  # noqa: PTH123 - `x` of zipfile removes the file that is there
        for name, content in parts:
            about = zipfile.ZipInfo(name, _INSTANT)
            about.compress_type = zipfile.ZIP_DEFLATED
            about.external_attr = 0o644 << 16
            about.create_system = 3  # Unix, wherever it is made
            archive.writestr(about, content)
