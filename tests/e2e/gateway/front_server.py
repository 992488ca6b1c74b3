"""The gateway without a fleet, as a process: both fronts before the fixture endpoint.

`python -m tests.e2e.gateway.front_server HOME [--open] [--port N] [--idle S]` says on one line where it is.
"""

import argparse
import json
import logging
import socket
import sys
from pathlib import Path

import anyio

from orchestra_supervisor.gateway.app import HTTP_SOCKET, LINE_SOCKET, Gateway, Settings, end_at_signal
from orchestra_supervisor.gateway.parts import Parts
from tests.e2e.gateway.fixture_endpoint import FixtureCatalog, FixtureEndpoint


async def serve(options: argparse.Namespace) -> None:
    endpoint = FixtureEndpoint()
    parts = Parts(endpoint, FixtureCatalog(FixtureEndpoint(), one=FixtureEndpoint()))
    http = socket.create_server((options.host, options.port), backlog=256)
    lines = socket.socket(socket.AF_UNIX)
    lines.bind(str(options.home / "mcp.sock"))
    lines.listen(256)
    settings = Settings(f"{options.host}:{options.port}", options.open, options.idle)
    gateway = Gateway(options.home, settings, parts)
    where = {"port": http.getsockname()[1], "socket": str(options.home / "mcp.sock")}
    async with anyio.create_task_group() as tasks:
        await tasks.start(end_at_signal, gateway)
        sys.stdout.write(json.dumps(where) + "\n")
        sys.stdout.flush()
        await gateway.run({HTTP_SOCKET: http, LINE_SOCKET: lines})
        tasks.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--open", action="store_true")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=0.0)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    anyio.run(serve, parser.parse_args())


if __name__ == "__main__":
    main()
