"""Time what the catalog adds to a call, in this process: over pipes, and over HTTP.

Each round makes one call in each way, so that all have the same weather; the figures are medians.

    python benchmarks/relay.py [--rounds 2000]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from orchestra_supervisor.gateway.backends.http_pool import HttpPool, parse_target
from orchestra_supervisor.gateway.endpoint import Era
from tests.e2e.gateway.clients import Client
from tests.e2e.gateway.conftest import HttpServers, World, http, settings, stdio, until_ready

ECHO = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request: continue
    method = request["method"]
    if method == "initialize":
        server = {"name": "echo", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": server}
    elif method == "tools/list":
        result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": request["params"]["arguments"]["text"]}]}
    else:
        result = {}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}) + "\\n")
    sys.stdout.flush()
"""

ECHO_HTTP = """
import asyncio, json, sys
async def serve(reader, writer):
    while True:
        try: head = await reader.readuntil(b"\\r\\n\\r\\n")
        except Exception: return
        if head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 405 No\\r\\ncontent-length: 0\\r\\n\\r\\n"); continue
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\\r\\n")[0])
        request = json.loads(await reader.readexactly(size))
        if "id" not in request:
            writer.write(b"HTTP/1.1 202 Accepted\\r\\ncontent-length: 0\\r\\n\\r\\n"); continue
        method = request["method"]
        if method == "server/discover":
            result = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        elif method == "tools/list":
            result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
        else:
            result = {"content": [{"type": "text", "text": request["params"]["arguments"]["text"]}]}
        body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()
        head = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n"
        writer.write(head % len(body) + body)
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()
asyncio.run(main())
"""
PARAMS = {"name": "echo", "arguments": {"text": "hello"}}
Ask = Callable[[], Awaitable[object]]


class DirectPipe:
    """The least that a client of a stdio server does."""

    def __init__(self, script: Path) -> None:
        self.process = subprocess.Popen([sys.executable, str(script)], stdin=-1, stdout=-1, bufsize=0)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._to, self._from = self.process.stdin.fileno(), self.process.stdout.fileno()
        self._number = 0

    async def ask(self) -> object:
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": "tools/call", "params": PARAMS}
        os.write(self._to, json.dumps(message).encode() + b"\n")
        await anyio.wait_readable(self._from)
        return json.loads(os.read(self._from, 65536))["result"]


class DirectHttp:
    """The same over HTTP, with the gateway's own pool of connections."""

    def __init__(self, port: int) -> None:
        self._pool = HttpPool(parse_target(f"http://127.0.0.1:{port}/mcp"))
        self._number = 0

    async def ask(self) -> object:
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": "tools/call", "params": PARAMS}
        lines = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]
        response = await self._pool.send("POST", lines, json.dumps(message).encode())
        await response.head()
        return json.loads(await response.body())["result"]


async def measure(rounds: int) -> None:
    home = Path(tempfile.mkdtemp())
    world, servers = World(home), HttpServers(home)
    pipe_script, http_script = home / "echo.py", home / "echo_http.py"
    pipe_script.write_text(ECHO, encoding="utf-8")
    http_script.write_text(ECHO_HTTP, encoding="utf-8")
    port = servers.port(str(http_script))
    await servers.start(port)
    pipe = DirectPipe(pipe_script)
    try:
        backends = settings(stdio("p"), http("h", f"http://127.0.0.1:{port}/mcp"))
        async with world.gateway(backends, {"p": [sys.executable, str(pipe_script)]}) as catalog:
            await until_ready(catalog, "p", "h")
            handshake = Client(catalog.aggregate(), Era.HANDSHAKE)
            stateless = Client(catalog.aggregate(), Era.STATELESS)
            ways: dict[str, Ask] = {
                "stdio, direct": pipe.ask,
                "stdio, handshake client": lambda: handshake.call("p__echo", text="hello"),
                "stdio, stateless client": lambda: stateless.call("p__echo", text="hello"),
                "http, direct": DirectHttp(port).ask,
                "http, stateless client": lambda: stateless.call("h__echo", text="hello"),
            }
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, ask in ways.items():
                    began = time.perf_counter()
                    await ask()
                    times[name].append(time.perf_counter() - began)
            for name, taken in times.items():
                middle = statistics.median(taken[rounds // 10 :]) * 1e6
                best = "direct" in name
                base = statistics.median(times[name.partition(",")[0] + ", direct"][rounds // 10 :]) * 1e6
                print(f"{name:26} {middle:7.0f} us{'' if best else f'   added {middle - base:5.0f} us'}")
    finally:
        pipe.process.kill()
        pipe.process.communicate()
        servers.close()
        world.keeper.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2000)
    anyio.run(measure, int(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
