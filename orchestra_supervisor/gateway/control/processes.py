"""The processes of a service's run, asked of the daemon and made fit to be shown."""

from collections.abc import Mapping

from orchestra_supervisor.control_client import ControlClient, rows
from orchestra_supervisor.gateway.control.desk import Desk
from orchestra_supervisor.gateway.control.fields import number, text, whole
from orchestra_supervisor.gateway.control.tool import object_of
from orchestra_supervisor.gateway.control.trouble import ToolTrouble
from orchestra_supervisor.gateway.control.untrusted import clean, without_secrets
from orchestra_supervisor.gateway.endpoint import Caller
from orchestra_supervisor.gateway.messages import Json
from orchestra_supervisor.unix_http import quote

__all__ = ["PROCESS", "processes_of", "tree_lines"]

_SHOWN = 20  # processes in the text
_COMMAND = 120  # characters of a command in the text
_MIB = 1024 * 1024

PROCESS = object_of(
    {
        "pid": {"type": "integer"},
        "parent": {"type": "integer", "description": "pid of the one above it; 0: none"},
        "command": {"type": "string", "description": "its first words; data from outside"},
        "cpu_s": {"type": ["number", "null"], "description": "seconds of processor time"},
        "memory_bytes": {"type": ["number", "null"]},
    }
)
"""The schema of one process."""


async def processes_of(desk: Desk, caller: Caller, name: str) -> list[Json]:
    """Return the processes of a service, each after the one above it; none where nobody can tell."""

    def ask(client: ControlClient) -> Json:
        return client.request("GET", f"/v1/services/{quote(name)}/processes")

    try:
        answer = await desk.ask(caller, ask)
    except ToolTrouble:
        return []  # a daemon of an older version
    return [_told(row) for row in rows(answer, "processes")]


def tree_lines(processes: list[Json]) -> list[str]:
    """Return the processes as indented text."""
    depth: dict[int, int] = {}
    lines: list[str] = []
    for one in processes[:_SHOWN]:
        pid = whole(one, "pid") or 0
        depth[pid] = level = depth.get(whole(one, "parent") or 0, -1) + 1
        cpu, memory = number(one, "cpu_s"), number(one, "memory_bytes")
        used = "" if cpu is None else f" ({cpu:g} s cpu, {(memory or 0) / _MIB:.0f} MB)"
        lines.append(f"{'  ' * level}{pid} {text(one, 'command')[:_COMMAND]}{used}")
    if len(processes) > _SHOWN:
        lines.append(f"and {len(processes) - _SHOWN} more")
    return lines


def _told(row: Mapping[str, object]) -> Json:
    command = without_secrets(" ".join(clean(text(row, "command")).split()))
    return {
        "pid": whole(row, "pid") or 0,
        "parent": whole(row, "parent") or 0,
        "command": command,
        "cpu_s": number(row, "cpu"),
        "memory_bytes": number(row, "memory"),
    }
