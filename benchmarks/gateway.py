"""What the gateway costs: a call through it, beside a direct one and other proxies; twenty clients at once.

Calls: one echo server, made with the SDK, is called over HTTP directly, through the gateway of a real fleet,
and through the proxies of FastMCP and mcp-proxy (installed from PyPI into a temporary folder). mcp-proxy
stands before stdio servers alone, so it and the gateway are also measured before the same server on its
stdio. In each round every way is called for a moment, by one caller and by eight, in both eras: all have the
same weather. Times are medians; ratios and differences are taken within each round, and are medians over the
rounds. CPU time is that of the process which answers, for one call: it hardly depends on what else runs.

Memory: three stdio servers from npm, and twenty clients. The clients share the servers by `orchestra mcp
--gateway`, or each starts its own. What counts is the proportional set size (PSS) of all processes that a
client or the fleet started, and how many of them are servers.

    python benchmarks/gateway.py [--rounds 12] [--clients 20] [--only calls|memory] [--installed FOLDER]

Exit status 0 when the targets were met, 1 when not, 2 when it could not be tried.
"""

import argparse
import importlib.metadata
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gateway_client import HANDSHAKE, STATELESS, Burst, Caller, Refused, Way, burst
from gateway_memory import measure_memory
from gateway_world import (
    ROOT,
    Fleet,
    NotTried,
    Started,
    await_port,
    free_port,
    install_python,
    version_in,
)

__all__ = ["main"]

MOST_ADDED = 0.7
"""Milliseconds that the gateway may add to a call, by one caller."""
LEAST_RATE = 0.6
"""Of the direct calls in a second that have to come through."""

_BURST = 0.4  # seconds that a way is called in each round
_WARM_UP = 0.3  # seconds of it before the first round
_CALLERS = (1, 8)
_ERAS = {"stateless": STATELESS, "handshake": HANDSHAKE}
_SERVER = ROOT / "tests" / "e2e" / "gateway" / "sdk_server.py"
_DIRECT, _OURS = "direct", "gateway /s/echo"
_PEER = """
import sys
from fastmcp.server import create_proxy
proxy = create_proxy(sys.argv[1])
place = {"host": "127.0.0.1", "port": int(sys.argv[2]), "path": "/mcp"}
proxy.run("http", **place, show_banner=False, log_level="error")
"""

Key = tuple[str, str, int]  # way, era, callers


def start_peers(installed: Path, backend: int, started: Started) -> list[Way]:
    """Start the other proxies; one that cannot be had is left out, and said so."""
    ways: list[Way] = []
    with attempt("FastMCP"):
        bin_folder, port = install_python(installed / "fastmcp", "fastmcp"), free_port()
        url = f"http://127.0.0.1:{backend}/mcp"
        process = started.start([str(bin_folder / "python"), "-c", _PEER, url, str(port)])
        await_port(port)
        ways.append(Way(f"FastMCP {version_in(bin_folder, 'fastmcp')}", port, pid=process.pid))
    with attempt("mcp-proxy"):
        # It asks for any version of mcp, but imports what only 1.x has.
        bin_folder, port = install_python(installed / "mcp-proxy", "mcp-proxy>=0.13", "mcp<2"), free_port()
        command = [str(bin_folder / "mcp-proxy"), "--port", str(port), "--pass-environment"]
        process = started.start([*command, "--", sys.executable, str(_SERVER)])
        await_port(port)
        ways.append(Way(f"mcp-proxy {version_in(bin_folder, 'mcp-proxy')}, stdio", port, pid=process.pid))
    return ways


@contextmanager
def attempt(what: str) -> Generator[None]:
    """Say what could not be tried, and go on without it."""
    try:
        yield
    except NotTried as error:
        print(f"{what} is left out: {error}", file=sys.stderr)


def measure_calls(folder: Path, installed: Path, rounds: int) -> bool:
    """Measure the calls and print the table; return whether the targets were met.

    Raises:
        NotTried: Something does not come up.
    """
    started = Started()
    fleet = None
    try:
        backend = free_port()
        server = started.start([sys.executable, str(_SERVER), str(backend)])
        await_port(backend)
        servers: dict[str, object] = {
            "echo": {"url": f"http://127.0.0.1:{backend}/mcp"},
            "piped": {"command": sys.executable, "args": [str(_SERVER)]},
        }
        fleet = Fleet(folder, servers, started)
        token, gateway = fleet.token(), fleet.gateway()
        ways = [
            Way(_DIRECT, backend, pid=server.pid),
            Way(_OURS, fleet.port, "/s/echo/mcp", token=token, pid=gateway),
            Way("gateway /gw", fleet.port, "/gw/mcp", "echo__echo", token, gateway),
            Way("gateway /s/piped, stdio", fleet.port, "/s/piped/mcp", token=token, pid=gateway),
            *start_peers(installed, backend, started),
        ]
        bursts = measure(ways, rounds)
        return print_calls(ways, bursts)
    finally:
        finish(started, fleet)


def finish(started: Started, fleet: Fleet | None) -> None:
    """End all that was started, and look whether that is so."""
    if fleet is not None:
        fleet.end()
    started.end()
    if left := started.left():
        raise NotTried(f"still alive at the end: {left}")


def measure(ways: list[Way], rounds: int) -> dict[Key, list[Burst]]:
    """Call in all ways, round by round; a way that does not speak an era is not there."""
    callers: dict[Key, list[Caller]] = {}
    for way in ways:
        for era, version in _ERAS.items():
            try:
                for count in _CALLERS:
                    found = [Caller(way, version) for _ in range(count)]
                    burst(found, _WARM_UP)
                    callers[way.name, era, count] = found
            except (Refused, OSError) as error:
                print(f"{way.name} is left out of the {era} era: {str(error)[:300]}", file=sys.stderr)
    bursts: dict[Key, list[Burst]] = {key: [] for key in callers}
    for number in range(rounds):
        keys = list(callers)
        for key in keys[number % len(keys) :] + keys[: number % len(keys)]:
            bursts[key].append(burst(callers[key], _BURST))
    for found in callers.values():
        for caller in found:
            caller.socket.close()
    return bursts


def print_calls(ways: list[Way], bursts: dict[Key, list[Burst]]) -> bool:
    """Print the table; return whether the gateway before the HTTP server met the targets."""
    is_met = True
    print(
        f"{'calls':26}{'era':10}{'callers':>8}{'p50 ms':>9}{'p99 ms':>9}{'added ms':>10}"
        f"{'calls/s':>9}{'of direct':>11}{'CPU ms':>8}"
    )
    for era in _ERAS:
        for count in _CALLERS:
            direct = bursts[_DIRECT, era, count]
            for way in ways:
                mine = bursts.get((way.name, era, count))
                start = f"{way.name:26}{era:10}{count:8}"
                if mine is None:
                    print(f"{start}{'-':>9}")
                    continue
                row = Row(mine, direct)
                extra = ("", "") if way.name == _DIRECT else (f"{row.added:.2f}", f"{row.share:.2f}")
                print(
                    f"{start}{row.middle:9.2f}{row.late:9.2f}{extra[0]:>10}"
                    f"{row.rate:9.0f}{extra[1]:>11}{row.used:8.2f}"
                )
                if way.name == _OURS:
                    is_met &= row.share >= LEAST_RATE and (count > 1 or row.added <= MOST_ADDED)
    return is_met


class Row:
    """The figures of one way, in milliseconds; beside those of the direct one in the same rounds."""

    def __init__(self, mine: list[Burst], direct: list[Burst]) -> None:
        pairs = list(zip(mine, direct, strict=True))
        taken = sorted(one for each in mine for one in each.taken)
        self.middle = statistics.median(taken) * 1000
        self.late = taken[int(len(taken) * 0.99)] * 1000
        self.added = 1000 * statistics.median(
            statistics.median(one.taken) - statistics.median(other.taken) for one, other in pairs
        )
        self.rate = statistics.median(one.rate for one in mine)
        self.share = statistics.median(one.rate / other.rate for one, other in pairs)
        self.used = 1000 * sum(one.used for one in mine) / len(taken)


def print_machine() -> None:
    """Say where and when the figures were taken."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("mcp", "uvicorn", "anyio"))
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.release().partition('-')[0]}, "
        f"{os.cpu_count()} processors, load {load}, Python {platform.python_version()}, {versions}"
    )


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the script; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12, help="of calls in all ways")
    parser.add_argument("--clients", type=int, default=20, help="at once, for the memory")
    parser.add_argument("--only", choices=("calls", "memory"))
    parser.add_argument(
        "--installed", type=Path, help="a folder that keeps what is installed for the next run"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    folder = Path(tempfile.mkdtemp(prefix="orchestra-gateway-"))
    installed = folder / "installed" if options.installed is None else options.installed.resolve()
    is_met = True
    try:
        for part in ("calls", "memory"):
            (folder / part).mkdir()
        print_machine()
        if options.only != "memory":
            is_met &= measure_calls(folder / "calls", installed, options.rounds)
        if options.only != "calls":
            is_met &= measure_memory(folder / "memory", installed, options.clients)
        print_machine()
    except (NotTried, Refused, OSError) as error:
        print(f"could not be tried: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("the targets were met" if is_met else "the targets were missed")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
