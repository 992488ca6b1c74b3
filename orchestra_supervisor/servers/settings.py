"""What an embedded server is told: the flags and variables that all of them take.

Flags win over the environment, the environment over defaults. Every server has its own directory below one
for data, and listens on loopback unless it is told otherwise in so many words.
"""

import argparse
import ipaddress
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orchestra_supervisor.control_home import find_home

__all__ = [
    "DEFAULT_PORTS",
    "ServerError",
    "Settings",
    "argument_parser",
    "complain",
    "configured_port",
    "data_base",
    "is_loopback",
    "now",
    "private_directory",
    "settings_from",
]

DEFAULT_PORTS: dict[str, int] = {"backend": 8710, "context": 8711, "memory": 8712}
"""Ports of the default fleet; each has its variable, ORCHESTRA_<NAME>_PORT."""


class ServerError(Exception):
    """A server cannot start.

    Args:
        message: What is wrong and where.
        hint: The way out.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server was told.

    Attributes:
        name: The server's name: `backend`, `context`, `memory`.
        host: Address to listen on.
        port: TCP port; 0: any free one.
        data: The server's own directory; it exists.
        home: The fleet's state directory; it need not exist.
        allowed_hosts: Names beside the loopback ones that requests may be addressed to.
        access_log: Whether each request is a line on stdout.
    """

    name: str
    host: str
    port: int
    data: Path
    home: Path
    allowed_hosts: tuple[str, ...]
    access_log: bool


def now() -> str:
    """Return the wall time as ISO 8601 in UTC, in milliseconds: the one place that reads it."""
    return datetime.now(tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_loopback(host: str) -> bool:
    """Return whether an address or name is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def configured_port(name: str, environ: Mapping[str, str]) -> int:
    """Return the port of a server by environment and default.

    Raises:
        ServerError: The variable holds no port.
    """
    variable = f"ORCHESTRA_{name.upper()}_PORT"
    text = environ.get(variable) or str(DEFAULT_PORTS[name])
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ServerError(f"${variable} is {text!r}, not a port", "give a number from 0 to 65535")
    return int(text)


def argument_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the flags that every server has."""
    upper = name.upper()
    parser = argparse.ArgumentParser(
        f"python -m orchestra_supervisor.servers.{name}", description=description
    )
    add = parser.add_argument
    add("--host", help=f"address to listen on (${{ORCHESTRA_{upper}_HOST}}, default 127.0.0.1)")
    add(
        "--port",
        type=int,
        help=f"port, 0: any free (${{ORCHESTRA_{upper}_PORT}}, default {DEFAULT_PORTS[name]})",
    )
    add("--data", metavar="DIR", help=f"data goes to DIR/{name} ($ORCHESTRA_DATA, default HOME/data)")
    add("--home", metavar="DIR", help="state directory of the fleet ($ORCHESTRA_HOME, default .orchestra)")
    add("--allow-remote", action="store_true", help="permit an address that other machines can reach")
    add(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that requests may be addressed to, beside the loopback ones; repeatable",
    )
    add("--access-log", action="store_true", help="write a JSON line to stdout for each request")
    return parser


def data_base(explicit: str | None, home: Path, environ: Mapping[str, str]) -> Path:
    """Return the directory below which every server has its own: explicit, $ORCHESTRA_DATA, HOME/data."""
    named = explicit or environ.get("ORCHESTRA_DATA")
    return Path(named).absolute() if named else home / "data"


def private_directory(path: Path) -> Path:
    """Make a directory, for this user alone where it is new.

    Raises:
        ServerError: It cannot be made or written to.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ServerError(
            f"cannot make the data directory {path}: {error.strerror}", "choose another with --data"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ServerError(
            f"the data directory {path} is not writable for uid {os.getuid()}", "choose another with --data"
        )
    return path


def settings_from(name: str, args: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """Settle flags, environment and defaults, in this order.

    Raises:
        ServerError: They contradict each other, or name what cannot be.
    """
    host = args.host or environ.get(f"ORCHESTRA_{name.upper()}_HOST") or "127.0.0.1"
    port = configured_port(name, environ) if args.port is None else int(args.port)
    if not 0 <= port <= 65535:
        raise ServerError(f"--port {port} is not a port", "give a number from 0 to 65535")
    if not is_loopback(host) and not args.allow_remote:
        raise ServerError(
            f"{host} can be reached by other machines, and this server knows no users",
            "listen on 127.0.0.1, or add --allow-remote behind a firewall",
        )
    home = Path(find_home(Path.cwd(), environ, args.home))
    return Settings(
        name=name,
        host=host,
        port=port,
        data=private_directory(data_base(args.data, home, environ) / name),
        home=home,
        allowed_hosts=(host, *args.allowed_host),
        access_log=bool(args.access_log),
    )


def complain(name: str, error: ServerError) -> int:
    """Write an error and its hint to stderr; return the exit status."""
    sys.stderr.write(f"{name}: error: {error}\nhint: {error.hint}\n")
    return 1
