"""`python -m orchestra_supervisor.servers.setup`: the job that prepares the data directory, once.

It makes the directories, brings the databases to the schema of this version, and writes `platform.json`,
which tells other programs of the platform where its servers are. Doing it again changes nothing.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.control_home import find_home
from orchestra_supervisor.servers.backend.store import MIGRATIONS as BACKEND_MIGRATIONS
from orchestra_supervisor.servers.database import Database
from orchestra_supervisor.servers.guard import write_line
from orchestra_supervisor.servers.memory.store import MIGRATIONS as MEMORY_MIGRATIONS
from orchestra_supervisor.servers.settings import (
    DEFAULT_PORTS,
    ServerError,
    complain,
    configured_port,
    data_base,
    private_directory,
)

__all__ = ["main", "prepare"]

_DATABASES = {"backend": BACKEND_MIGRATIONS, "memory": MEMORY_MIGRATIONS}


def prepare(base: Path, environ: Mapping[str, str]) -> list[str]:
    """Prepare a data directory.

    Args:
        base: The directory below which every server has its own.
        environ: The environment, which may name hosts and ports.

    Returns:
        A line for each thing done, or found done.

    Raises:
        ServerError: It cannot be prepared; what was there is as it was.
    """
    done: list[str] = []
    for name in DEFAULT_PORTS:
        private_directory(base / name)
    for name, migrations in _DATABASES.items():
        database = Database(base / name / f"{name}.sqlite3", migrations)
        before, version = database.migrated_from, database.version
        database.close()
        what = (
            f"is at schema {version}" if before == version else f"brought from schema {before} to {version}"
        )
        done.append(f"{database.path} {what}")
    path = base / "platform.json"
    platform = {
        "version": VERSION,
        "schemas": {name: len(migrations) for name, migrations in _DATABASES.items()},
        "endpoints": {name: _endpoint(name, environ) for name in DEFAULT_PORTS},
        "data": str(base),
    }
    changed = _write(path, json.dumps(platform, indent=2) + "\n")
    return [*done, f"{path} {'written' if changed else 'is as it should be'}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare, say what was done, and return the exit status."""
    parser = argparse.ArgumentParser(
        "python -m orchestra_supervisor.servers.setup", description="Prepare the data."
    )
    parser.add_argument(
        "--data", metavar="DIR", help="the data directory ($ORCHESTRA_DATA, default HOME/data)"
    )
    parser.add_argument("--home", metavar="DIR", help="state directory of the fleet ($ORCHESTRA_HOME)")
    args = parser.parse_args(argv)
    try:
        home = Path(find_home(Path.cwd(), os.environ, args.home))
        for line in prepare(data_base(args.data, home, os.environ), os.environ):
            write_line(f"setup: {line}")
    except ServerError as error:
        return complain("setup", error)
    return 0


def _endpoint(name: str, environ: Mapping[str, str]) -> str:
    host = environ.get(f"ORCHESTRA_{name.upper()}_HOST") or "127.0.0.1"
    shown = f"[{host}]" if ":" in host else host
    path = "/mcp" if name == "memory" else ""
    return f"http://{shown}:{configured_port(name, environ)}{path}"


def _write(path: Path, text: str) -> bool:
    """Write a file whole or not at all; return whether it had to be."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and path.read_bytes() == text.encode():
            return False
        try:
            with aside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise ServerError(
            f"cannot write {path}: {error.strerror}", "make room, or choose another --data"
        ) from error
    return True


if __name__ == "__main__":
    sys.exit(main())
