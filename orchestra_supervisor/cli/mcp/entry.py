"""Our entry in a client's file: the fastest command that reaches one endpoint of one fleet."""

import os
import sys
from pathlib import Path

from orchestra_supervisor.cli.mcp.clients import Client
from orchestra_supervisor.cli.shim.messages import items_of, object_of

__all__ = ["NAME", "PUMP", "Endpoint", "entry_for", "is_ours", "pump_words"]

NAME = "orchestra"
"""Under which name the entry stands where no other is asked for."""
PUMP = Path(__file__).resolve().parents[1] / "shim" / "__main__.py"
"""What a client runs, by `python -I -S`."""


class Endpoint:
    """What a client is to reach.

    Args:
        is_gateway: The catalog of all servers instead of the control tools.
        profile: The catalog as a profile has it, or empty.
        server: One server alone, or empty.
    """

    def __init__(self, *, is_gateway: bool = False, profile: str = "", server: str = "") -> None:
        self.is_gateway = is_gateway or bool(profile)
        self.profile = profile
        self.server = server

    def words(self) -> list[str]:
        """Return the options that name it."""
        if self.server:
            return ["--server", self.server]
        profile = ["--profile", self.profile] if self.profile else []
        return ["--gateway", *profile] if self.is_gateway else []

    def __str__(self) -> str:
        if self.server:
            return f"server {self.server}"
        if self.is_gateway:
            return f"gateway, profile {self.profile}" if self.profile else "gateway"
        return "control"


def pump_words(home: Path, endpoint: Endpoint, start: list[Path] | None = None) -> list[str]:
    """Return the words of the command, all paths absolute.

    Args:
        home: The state directory.
        endpoint: What is to be reached.
        start: The configuration files of a fleet that it may start; None: it may not.
    """
    words = [sys.executable, "-I", "-S", str(PUMP), "--home", os.path.abspath(home), *endpoint.words()]  # noqa: PTH100 - keeps symbolic links
    if start is not None:
        words.append("--start")
        for file in start:
            words += ["-c", str(file)]
    return words


def entry_for(client: Client | None, words: list[str]) -> dict[str, object]:
    """Return the entry as a client has it; None: as most do."""
    kind: dict[str, object] = {"type": "stdio"} if client is not None and client.has_type else {}
    return {**kind, "command": words[0], "args": words[1:]}


def is_ours(entry: object) -> bool:
    """Tell whether an entry runs this program, in whatever installation."""
    fields = object_of(entry)
    words = [str(word) for word in items_of(fields.get("args"))]
    if any(word.endswith("orchestra_supervisor/cli/shim/__main__.py") for word in words):
        return True
    return Path(str(fields.get("command", ""))).name == "orchestra" and words[:1] == ["mcp"]
