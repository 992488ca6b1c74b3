"""Pins: a fingerprint of each tool when it is first seen, so that one that becomes another is noticed.

HOME/gateway/pins.json: `{"servers": {SERVER: {TOOL: {"sha256": PINNED, "seen": WHAT IT IS NOW}}}}`;
`seen` is there only while it differs. Who accepts a change makes `seen` the pin; the file may be edited
while the gateway runs.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.notebook import Notebook
from orchestra_supervisor.gateway.messages import Json

__all__ = ["PinBook", "tool_fingerprint"]

_PINNED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
"""What a model, or we, go by."""


def tool_fingerprint(tool: Json) -> str:
    """Return the sha256 of what matters of a tool, as the server sent it."""
    parts = {key: tool[key] for key in _PINNED if key in tool}
    return hashlib.sha256(
        json.dumps(parts, sort_keys=True, separators=(",", ":")).encode("ascii")
    ).hexdigest()


class PinBook:
    """The pins of all servers.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self.notebook = Notebook(path)
        self._stamp = _stamp(path)

    def check(self, server: str, tools: Iterable[Json]) -> frozenset[str]:
        """Pin what is new, and return the names of the tools that are not as they were pinned."""
        servers = member(self.notebook.data, "servers")
        pins = member(servers, server)
        changed: set[str] = set()
        is_touched = False
        for tool in tools:
            name, now = text(tool, "name"), tool_fingerprint(tool)
            pin = member(pins, name)
            pinned = text(pin, "sha256")
            if pinned and pinned != now:
                changed.add(name)
            entry: Json = {"sha256": pinned, "seen": now} if name in changed else {"sha256": now}
            if pin != entry:
                pins[name] = entry
                is_touched = True
        if is_touched:
            servers[server] = pins
            self.notebook.data["servers"] = servers
            self.notebook.touch()
        return frozenset(changed)

    def accept(self, server: str, tools: Iterable[str] = ()) -> list[str]:
        """Take what is seen now as right, of the named tools or all; return those that had changed."""
        wanted = set(tools)
        accepted: list[str] = []
        for name, entry in member(member(self.notebook.data, "servers"), server).items():
            seen = text(entry, "seen")
            if seen and (not wanted or name in wanted):
                pin = cast("Json", entry)
                pin["sha256"] = seen
                del pin["seen"]
                accepted.append(name)
        if accepted:
            self.notebook.touch()
        return sorted(accepted)

    def was_edited(self) -> bool:
        """Return whether somebody else wrote the file, and take what they wrote."""
        stamp = _stamp(self.notebook.path)
        if stamp == self._stamp or not self.notebook.is_settled:
            return False
        self._stamp = stamp
        before = self.notebook.data
        self.notebook.reread()
        return self.notebook.data != before


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
