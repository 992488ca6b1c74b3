"""Twenty clients and three MCP servers: shared through the gateway, or started by each client for itself."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gateway_world import ROOT, Fleet, NotTried, Started, install_node, memory_of, with_children

__all__ = ["measure_memory"]

PATIENCE = 60.0  # seconds for one answer
_CALLS: dict[str, tuple[str, dict[str, object]]] = {
    "everything": ("echo", {"message": "hello"}),
    "memory": ("read_graph", {}),
    "filesystem": ("list_allowed_directories", {}),
}
"""By server: the tool that each client calls once."""


class LineClient:
    """A client on the stdin and stdout of what it started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._got = b""
        self._number = 0

    def meet(self) -> None:
        """Shake hands."""
        client = {"name": "benchmark", "version": "1"}
        self.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, tool: str, arguments: dict[str, object]) -> None:
        """Call a tool.

        Raises:
            NotTried: It fails.
        """
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise NotTried(f"{tool} answers {result}")

    def tools(self) -> list[str]:
        """Return the names of the tools."""
        result = self.ask("tools/list", {})
        return [tool["name"] for tool in result["tools"]]

    def ask(self, method: str, params: dict[str, object]) -> dict[str, Any]:
        """Send a request and return its result; what else comes is passed over.

        Raises:
            NotTried: It is answered with an error, or not at all.
        """
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        while True:
            message = json.loads(self._line())
            if message.get("id") == self._number and "method" not in message:
                if "result" not in message:
                    raise NotTried(f"{method} is answered by {message}")
                return message["result"]

    def _send(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None, "it was started to be talked to"
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _line(self) -> bytes:
        assert self._process.stdout is not None, "it was started to be talked to"
        plug = self._process.stdout.fileno()
        while b"\n" not in self._got:
            piece = os.read(plug, 65536) if select.select([plug], [], [], PATIENCE)[0] else b""
            if not piece:
                raise NotTried(f"no answer of {self._process.args}")
            self._got += piece
        line, _, self._got = self._got.partition(b"\n")
        return line


def measure_memory(folder: Path, installed: Path, clients: int) -> bool:
    """Measure both and print the table; return whether clients of the gateway shared the servers.

    Raises:
        NotTried: Something cannot be had, or does not come up.
    """
    modules = install_node(installed / "servers", *(f"@modelcontextprotocol/server-{one}" for one in _CALLS))
    commands = {name: server_command(modules, name, folder) for name in _CALLS}
    print(f"\n{clients} clients, {len(commands)} servers:")
    print(f"{'memory':28}{'servers':>9}{'processes':>11}{'MB (PSS)':>10}{'servers, MB':>13}{'ready, s':>10}")
    shared = run_shared(folder, commands, clients)
    own = run_own(commands, clients)
    print(f"through the gateway: {own / shared[0]:.1f} times less memory")
    return shared[1] == len(commands)


def server_command(modules: Path, name: str, folder: Path) -> list[str]:
    """Return the command of a server: its program itself, without npx before it, for both sides."""
    script = modules / "@modelcontextprotocol" / f"server-{name}" / "dist" / "index.js"
    return ["node", str(script), *([str(folder)] if name == "filesystem" else [])]


def run_shared(folder: Path, commands: dict[str, list[str]], clients: int) -> tuple[float, int]:
    """Measure clients that share the servers; return the MB and how many server processes there are."""
    started = Started()
    fleet = None
    servers = {name: {"command": words[0], "args": words[1:]} for name, words in commands.items()}
    try:
        fleet = Fleet(folder, dict(servers), started)
        pump = [
            sys.executable,
            "-P",
            "-m",
            "orchestra_supervisor",
            "mcp",
            "--gateway",
            "--home",
            str(folder / ".orchestra"),
        ]
        os.environ["PYTHONPATH"] = str(ROOT)
        began = time.perf_counter()
        pumps = [started.start(pump, is_talking=True) for _ in range(clients)]
        for client in [LineClient(process) for process in pumps]:
            client.meet()
            wanted = {f"{server}__{tool}" for server, (tool, _) in _CALLS.items()}
            end = time.monotonic() + PATIENCE
            while not wanted <= set(client.tools()):
                if time.monotonic() > end:
                    raise NotTried(f"the gateway lists {client.tools()}")
                time.sleep(0.1)
            for server, (tool, arguments) in _CALLS.items():
                client.call(f"{server}__{tool}", arguments)
        took = time.perf_counter() - began
        everything = [*fleet.processes(), *with_children(process.pid for process in pumps)]
        return report("orchestra mcp --gateway", everything, took)
    finally:
        if fleet is not None:
            fleet.end()
        end_all(started)


def run_own(commands: dict[str, list[str]], clients: int) -> float:
    """Measure clients that start their own servers; return the MB."""
    started = Started()
    try:
        began = time.perf_counter()
        found = [
            (name, started.start(command, is_talking=True))
            for _ in range(clients)
            for name, command in commands.items()
        ]
        for name, process in found:
            client = LineClient(process)
            client.meet()
            client.call(*_CALLS[name])
        took = time.perf_counter() - began
        return report("each starts its own", with_children(process.pid for _, process in found), took)[0]
    finally:
        end_all(started)


def report(name: str, processes: list[int], took: float) -> tuple[float, int]:
    """Print a row; return the MB and how many of the processes are servers."""
    servers = [
        pid
        for pid in processes
        if b"@modelcontextprotocol/server-" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    total = memory_of(processes)
    print(f"{name:28}{len(servers):9}{len(processes):11}{total:10.0f}{memory_of(servers):13.0f}{took:10.1f}")
    return total, len(servers)


def end_all(started: Started) -> None:
    """End what was started.

    Raises:
        NotTried: Some of it is still alive.
    """
    started.end()
    if left := started.left():
        raise NotTried(f"still alive at the end: {left}")
