"""`orchestra mcp import`: a client's servers become servers of the fleet, and the client has one entry."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from orchestra_supervisor.cli.mcp.clientfile import ClientFile
from orchestra_supervisor.cli.mcp.clients import CLIENTS, client_named
from orchestra_supervisor.cli.mcp.entry import Endpoint, entry_for, is_ours, pump_words
from orchestra_supervisor.cli.mcp.installing import fleet_files, path_of, show_change
from orchestra_supervisor.cli.mcp.jsontext import JsonText
from orchestra_supervisor.cli.parser import Options
from orchestra_supervisor.cli.shim.messages import items_of, object_of
from orchestra_supervisor.cli.text import make_visible
from orchestra_supervisor.cli.words import UsageError
from orchestra_supervisor.model.errors import ConflictError

__all__ = ["FILE_NAME", "import_servers"]

FILE_NAME = "claude_mcp_config.json"
"""Where the servers go: one of the files that `orchestra up` reads by itself."""

_LISTS = ("mcpServers", "mcp_servers", "servers")
_ADDRESSES = ("url", "serverUrl", "httpUrl", "endpoint")
_CLIENTS_OWN = ("${input:", "${workspaceFolder", "${userHome}", "${file", "${env:", "${command:", "${config:")
"""Placeholders of VS Code and Cursor, which only they can fill in."""


class _Server:
    """One server of a client.

    Args:
        name: Its name there.
        entry: Its entry.
    """

    def __init__(self, name: str, entry: dict[str, object]) -> None:
        self.name = name
        self.entry = entry

    def lines(self) -> list[str]:
        """Return what it runs or reaches, whole, and with which variables; values may be secrets."""
        address = self.address()
        if address:
            lines = [address]
        else:
            words = [str(self.entry.get("command")), *map(str, items_of(self.entry.get("args")))]
            lines = [shlex.join(words)]
        if self.entry.get("cwd"):
            lines.append(f"in {self.entry['cwd']}")
        for what in ("env", "headers"):
            names = ", ".join(f"{name}=***" for name in object_of(self.entry.get(what)))
            lines += [f"{what}: {names}"] if names else []
        return lines

    def address(self) -> str:
        """Return its URL, or nothing."""
        return next((str(self.entry[key]) for key in _ADDRESSES if self.entry.get(key)), "")

    def obstacle(self) -> str:
        """Return why it cannot be moved, or nothing."""
        if self.entry.get("disabled") is True or self.entry.get("enabled") is False:
            return "it is switched off in the client"
        if not self.address() and not isinstance(self.entry.get("command"), str):
            return "it has neither a command nor an address"
        text = str(self.entry)
        own = next((mark for mark in _CLIENTS_OWN if mark in text), "")
        return f"only the client can fill in {own.rstrip('}:')}...}}" if own else ""

    def for_fleet(self) -> dict[str, object]:
        """Return the entry as the fleet reads it."""
        entry = {key: value for key, value in self.entry.items() if key not in _ADDRESSES}
        return {"url": self.address(), **entry} if self.address() else entry


def import_servers(options: Options, home: Path) -> int:
    """Show what would be moved, ask, move it."""
    if not options.words:
        raise UsageError("import from where?", f"one of {', '.join(CLIENTS)}, or a file")
    word = options.words[0]
    is_file = word not in CLIENTS and (os.sep in word or Path(word).exists())
    client = None if is_file else client_named(word)
    path = Path(word) if client is None else path_of(client, options)
    source = ClientFile(path, is_strict=client is not None and client.is_strict)
    key = (
        client.key
        if client is not None
        else next((one for one in _LISTS if source.json.member(one)), _LISTS[0])
    )
    servers = source.json.object_at(key)
    found = object_of(servers.to_python()) if servers is not None else {}
    moved, kept = _sorted_out(found)
    _show(path, moved, kept)
    if not moved:
        sys.stderr.write(f"{path}: nothing to move\n")
        return 0
    target = ClientFile(_target(options, home))
    into = _with_servers(target, moved)
    left = source.json
    for server in moved:
        left = left.without_member((key, server.name))
    entry = entry_for(client, pump_words(home, Endpoint(is_gateway=True, profile=options.profile or "")))
    left = left.with_member((key, options.name), entry)
    source.check_writable()
    target.check_writable()
    if options.dry_run:
        show_change(source, left)
        sys.stderr.write("nothing was changed (--dry-run)\n")
        return 0
    if not options.yes and not _agreed(len(moved), target.path):
        sys.stderr.write("nothing was changed\n")
        return 1
    _write(source, left, target, into)
    _say_next(home, target.path)
    return 0


def _sorted_out(entries: Mapping[str, object]) -> tuple[list[_Server], list[tuple[str, str]]]:
    moved: list[_Server] = []
    kept: list[tuple[str, str]] = []
    for name, entry in entries.items():
        if is_ours(entry):
            continue
        if not isinstance(entry, dict):
            kept.append((name, "its entry is not an object"))
            continue
        server = _Server(name, object_of(entry))  # pyright: ignore[reportUnknownArgumentType] - JSON keys are str
        obstacle = server.obstacle()
        if obstacle:
            kept.append((name, obstacle))
        else:
            moved.append(server)
    return moved, kept


def _show(path: Path, moved: list[_Server], kept: list[tuple[str, str]]) -> None:
    if moved:
        sys.stdout.write(f"{path} has these servers:\n")
    for server in moved:
        first, *more = server.lines()
        sys.stdout.write(f"\n  {make_visible(server.name)}\n    {make_visible(first)}\n")
        sys.stdout.writelines(f"      {make_visible(line)}\n" for line in more)
    for name, why in kept:
        sys.stdout.write(f"\n  {make_visible(name)} stays in the client: {why}\n")
    sys.stdout.flush()


def _target(options: Options, home: Path) -> Path:
    if options.into:
        return Path(options.into)
    files = fleet_files(home)
    if files:
        return files[0].parent / FILE_NAME
    return (home.parent if home.name == ".orchestra" else Path.cwd()) / FILE_NAME


def _with_servers(target: ClientFile, moved: list[_Server]) -> JsonText:
    text = target.json
    key = next((one for one in _LISTS if text.member(one) is not None), "mcp_servers")
    for server in moved:
        present = text.member(key, server.name)
        if present is not None and present.to_python() != server.for_fleet():
            raise ConflictError(
                f"{text.where(present)}: the fleet has another server {server.name!r}",
                hint="rename one of the two; nothing was changed",
            )
        text = text.with_member((key, server.name), server.for_fleet())
    return text


def _agreed(count: int, target: Path) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(
            "there is nobody to ask", "--yes moves them without asking; --dry-run shows the change"
        )
    what = "this server" if count == 1 else f"these {count} servers"
    sys.stderr.write(f"\nMove {what} into {target}, and leave the client with orchestra? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _write(source: ClientFile, left: JsonText, target: ClientFile, into: JsonText) -> None:
    backups = [target.write(into.text)]
    try:
        backups.append(source.write(left.text))
    except Exception:
        target.put_back()  # the servers must not run for both
        raise
    for file in (target, source):
        sys.stderr.write(f"{file.path}: written\n")
    for backup in filter(None, backups):
        sys.stderr.write(f"{backup}: as it was; moved back, it undoes this\n")


def _say_next(home: Path, target: Path) -> None:
    files = fleet_files(home)
    if target.resolve() in {file.resolve() for file in files}:
        sys.stderr.write("next: orchestra reload, then start the client again\n")
    elif files:
        sys.stderr.write(f"next: the fleet on {home} was started without {target}: `orchestra down`, then\n")
        sys.stderr.write("`orchestra up` in its directory (or with -c), then start the client again\n")
    else:
        sys.stderr.write(f"next: `orchestra up` in {target.parent}, then start the client again\n")
