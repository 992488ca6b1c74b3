"""What the gateway's benchmark starts and ends: processes by their ids, a fleet, what it installs."""

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = [
    "ROOT",
    "Fleet",
    "NotTried",
    "Started",
    "await_port",
    "children_of",
    "free_port",
    "install_debian",
    "install_node",
    "install_python",
    "memory_of",
    "orchestra",
    "version_in",
    "with_children",
]

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120.0  # seconds for one command, and for a server to listen
INSTALL_TIME = 600.0  # seconds for one installation


class NotTried(Exception):
    """Something that a part of the benchmark needs is not to be had."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def await_port(port: int) -> None:
    """Wait until somebody listens.

    Raises:
        NotTried: Nobody does.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise NotTried(f"nobody listens on port {port} after {PATIENCE:g} s")


def children_of() -> dict[int, list[int]]:
    """Return the ids of all processes, by that of their parents."""
    found: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with suppress(OSError):
                words = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
                found.setdefault(int(words.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    return found


def with_children(pids: Iterable[int]) -> list[int]:
    """Return these processes, and all that they started."""
    tree, todo, found = children_of(), list(pids), list[int]()
    while todo:
        found.append(todo.pop())
        todo.extend(tree.get(found[-1], ()))
    return found


def memory_of(pids: Iterable[int]) -> float:
    """Return the proportional set size of processes in MB (10^6 bytes)."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        total += int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1])
    return total * 1024 / 1e6


def _identity(pid: int) -> str:
    """Return what tells a process from a later one of the same id; empty where it ended."""
    with suppress(OSError, IndexError):
        words = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        return "" if words[0] in "ZX" else words[19]
    return ""


class Started:
    """The processes that the benchmark started: ended one by one, by their ids, and looked for after that."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._seen: dict[int, str] = {}

    def start(
        self, command: Sequence[str], *, is_talking: bool = False, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one; `is_talking`: by its stdin and stdout."""
        pipe = subprocess.PIPE if is_talking else subprocess.DEVNULL
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, cwd=cwd, bufsize=0
        )
        self._processes.append(process)
        return process

    def note(self, pids: Iterable[int]) -> list[int]:
        """Remember processes that somebody else started for us, to look for them at the end."""
        noted = list(pids)
        self._seen.update((pid, _identity(pid)) for pid in noted)
        return noted

    def end(self) -> None:
        """End all that were started here: the end of their input, SIGTERM, SIGKILL."""
        for process in self._processes:
            self.note(with_children([process.pid]))
            if process.stdin is not None:
                process.stdin.close()
            process.terminate()
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes.clear()
        for pid in self._left(3):  # children that did not end with their parents
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def left(self) -> list[int]:
        """Return those that are alive though they should have ended."""
        return self._left(5)

    def _left(self, seconds: float) -> list[int]:
        end = time.monotonic() + seconds
        while alive := [pid for pid, seen in self._seen.items() if seen and _identity(pid) == seen]:
            if time.monotonic() > end:
                break
            select.select([], [], [], 0.05)
        return alive


def orchestra(folder: Path, *words: str) -> str:
    """Run a command on the fleet of a folder; return its stdout.

    Raises:
        NotTried: It failed, or took too long.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "orchestra_supervisor", *words],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotTried(f"orchestra {' '.join(words)} takes longer than {PATIENCE:g} s") from error
    if done.returncode:
        raise NotTried(f"orchestra {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Fleet:
    """A fleet in a folder, with MCP servers behind its gateway.

    Args:
        folder: An empty one.
        servers: As `mcpServers` has them.
        started: Looks for its processes at the end.

    Raises:
        NotTried: It does not come up.
    """

    def __init__(self, folder: Path, servers: dict[str, object], started: Started) -> None:
        self._folder = folder
        self._started = started
        self.port = free_port()
        settings = {"mcp": {"http": f"127.0.0.1:{self.port}"}}
        (folder / "orchestra.json").write_text(
            json.dumps({"settings": settings, "services": {}}), encoding="utf-8"
        )
        text = json.dumps({"mcpServers": servers})
        (folder / "claude_mcp_config.json").write_text(text, encoding="utf-8")
        try:
            orchestra(folder, "up", "--detach")
            await_port(self.port)
        except BaseException:
            self.end()
            raise

    def token(self) -> str:
        """Return a new bearer token."""
        words = orchestra(self._folder, "mcp", "token", "benchmark", "--role", "operator").split()
        return next(word for word in words if word.startswith("orchestra_"))

    def gateway(self) -> int:
        """Return the gateway's process id."""
        found = json.loads(orchestra(self._folder, "status", "--json"))
        return int(found["daemon"]["gateway_pid"])

    def processes(self) -> list[int]:
        """Return the keeper, and all that it started."""
        keeper = int((self._folder / ".orchestra/lock").read_text(encoding="ascii").split()[0])
        return self._started.note(with_children([keeper]))

    def end(self) -> None:
        """Take it down."""
        with suppress(OSError):
            self.processes()
            orchestra(self._folder, "down")


def _install(command: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, encoding="utf-8", timeout=INSTALL_TIME, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotTried(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NotTried(f"{' '.join(command)}: {done.stderr.strip()[-400:]}")
    return done.stdout


def _once(folder: Path, make: Callable[[], None]) -> None:
    """Make a folder's content, unless an earlier run did."""
    done = folder / "installed"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make()
        done.touch()


def install_python(folder: Path, *packages: str) -> Path:
    """Return the `bin` of a virtual environment with packages of PyPI.

    Raises:
        NotTried: They cannot be had.
    """

    def make() -> None:
        _install([sys.executable, "-m", "venv", str(folder / "venv")], folder)
        _install(
            [str(folder / "venv/bin/pip"), "--disable-pip-version-check", "-q", "install", *packages], folder
        )

    _once(folder, make)
    return folder / "venv" / "bin"


def version_in(bin_folder: Path, package: str) -> str:
    """Return the version of a package of a virtual environment."""
    found = next(bin_folder.parent.glob(f"lib/python*/site-packages/{package.replace('-', '_')}-*.dist-info"))
    return found.name.removesuffix(".dist-info").rpartition("-")[2]


def install_node(folder: Path, *packages: str) -> Path:
    """Return the `node_modules` with packages of npm.

    Raises:
        NotTried: They cannot be had.
    """

    def make() -> None:
        (folder / "package.json").write_text(json.dumps({"private": True}), encoding="utf-8")
        _install(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *packages], folder)

    _once(folder, make)
    return folder / "node_modules"


def install_debian(folder: Path, package: str, needs: re.Pattern[str]) -> tuple[Path, str]:
    """Unpack a package of Debian into a folder; nothing is installed, and nothing of it runs.

    Args:
        folder: Keeps it.
        package: Its name.
        needs: Matches the names of what it depends on that is to be unpacked with it.

    Returns:
        The folder that stands for `/`, and the version.

    Raises:
        NotTried: It cannot be had.
    """

    def make() -> None:
        todo, seen = [package], set[str]()
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            _install(["apt-get", "download", "-q", name], folder)
            archive = next(folder.glob(f"{name}_*.deb"))
            _install(["dpkg-deb", "-x", archive.name, "root"], folder)
            depends = _install(["dpkg-deb", "-f", archive.name, "Depends"], folder)
            words = [word.split()[0] for word in depends.replace("|", ",").split(",") if word.strip()]
            todo += [word for word in words if needs.fullmatch(word)]

    _once(folder, make)
    archive = next(folder.glob(f"{package}_*.deb"))
    return folder / "root", archive.name.split("_")[1]
