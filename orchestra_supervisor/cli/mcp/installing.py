"""`orchestra mcp install`, `uninstall` and `list`: our entry in the files of clients."""

import json
import os
import sys
from pathlib import Path

from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.launch import find_config_files
from orchestra_supervisor.cli.mcp.clientfile import ClientFile, difference
from orchestra_supervisor.cli.mcp.clients import CLIENTS, Client, client_named, client_path
from orchestra_supervisor.cli.mcp.entry import Endpoint, entry_for, is_ours, pump_words
from orchestra_supervisor.cli.mcp.jsontext import JsonText
from orchestra_supervisor.cli.parser import Options
from orchestra_supervisor.cli.shim.messages import object_of
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import make_visible
from orchestra_supervisor.cli.words import UsageError
from orchestra_supervisor.model.errors import ConflictError, OrchestraError

__all__ = ["apply_change", "fleet_files", "install", "list_clients", "path_of", "show_change", "uninstall"]


def install(options: Options, home: Path, endpoint: Endpoint) -> int:
    """Put our entry into a client's file, or print it."""
    start = None
    if options.start:
        start = find_config_files(options.config, Path.cwd()) if options.config else fleet_files(home)
        start = start or find_config_files([], Path.cwd())
    client = client_named(options.words[0]) if options.words else None
    entry = entry_for(client, pump_words(home, endpoint, start))
    if options.is_print:
        key = client.key if client is not None else "mcpServers"
        sys.stdout.write(json.dumps({key: {options.name: entry}}, indent=2, ensure_ascii=False) + "\n")
        return 0
    if client is None:
        raise UsageError("which client?", f"one of {', '.join(CLIENTS)}; --print shows the entry for others")
    path = path_of(client, options)
    file = ClientFile(path, is_strict=client.is_strict)
    present = file.json.member(client.key, options.name)
    if present is not None and not is_ours(present.to_python()):
        raise ConflictError(
            f"{file.json.where(present)}: {options.name!r} is there already, and runs something else",
            hint="--name gives ours another name",
        )
    changed = file.json.with_member((client.key, options.name), entry)
    _say_what_is_missing(client, path, home, file)
    return apply_change(file, changed, client.afterwards, is_dry=options.dry_run)


def uninstall(options: Options) -> int:
    """Take our entry out of a client's file."""
    if not options.words:
        raise UsageError("which client?", f"one of {', '.join(CLIENTS)}")
    client = client_named(options.words[0])
    path = path_of(client, options)
    file = ClientFile(path, is_strict=client.is_strict)
    present = file.json.member(client.key, options.name)
    if present is None:
        sys.stderr.write(f"{path}: has no {options.name!r}; nothing to do\n")
        return 0
    if not is_ours(present.to_python()):
        raise ConflictError(
            f"{file.json.where(present)}: {options.name!r} runs something else, and is not ours to remove",
            hint="--name says under which name ours stands",
        )
    changed = file.json.without_member((client.key, options.name))
    return apply_change(file, changed, client.afterwards, is_dry=options.dry_run)


def list_clients(options: Options) -> int:
    """Show every client: whether our entry is there, how many others, and the file."""
    clients = [client_named(word) for word in options.words] or list(CLIENTS.values())
    found = [_sight(client, path_of(client, options)) for client in clients if _has_place(client, options)]
    if options.is_json:
        sys.stdout.write(json.dumps({"clients": found}, indent=2, ensure_ascii=False) + "\n")
        return 0
    from orchestra_supervisor.cli.table import Cell, table_lines

    terminal = Terminal(sys.stdout, os.environ)
    body: list[list[Cell]] = []
    for sight in found:
        names = ", ".join(object_of(sight["orchestra"]))
        sign, plain = ("\u25cf", "*") if names else ("\u25cb", "-")
        painted = ("green",) if names else ("dim",)
        note = str(sight["error"] or sight["file"]).removeprefix(f"{sight['file']}:")
        body.append(
            [
                (sign if terminal.is_unicode else plain, painted),
                (str(sight["client"]), ()),
                (make_visible(names) or ("no file" if not sight["exists"] else "not installed"), painted),
                (str(sight["others"]), ()),
                (make_visible(note), ("red",) if sight["error"] else ()),
            ]
        )
    lines = table_lines(["", "CLIENT", "ORCHESTRA", "OTHERS", "FILE"], body, terminal, is_right={3})
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def path_of(client: Client, options: Options) -> Path:
    """Return the file that the options mean: the user's, or that of the project here."""
    return client_path(client, os.environ, project=Path.cwd() if options.is_project else None)


def fleet_files(home: Path) -> list[Path]:
    """Return the files that the fleet of a home was last read from; none where there was none."""
    try:
        fleet: dict[str, list[object]] = json.loads((home / "fleet.json").read_text(encoding="utf-8"))
        return [Path(str(file)) for file in fleet["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def show_change(file: ClientFile, changed: JsonText) -> bool:
    """Show on stdout what changes; tell whether anything does."""
    terminal = Terminal(sys.stdout, os.environ)
    lines = difference(file.path, file.json, changed)
    for line in lines:
        is_head = line.startswith(("---", "+++", "@@"))
        colour = "dim" if is_head else {"+": "green", "-": "red"}.get(line[:1], "")
        terminal.line(terminal.paint(make_visible(line), *filter(None, [colour])))
    return bool(lines)


def apply_change(file: ClientFile, changed: JsonText, afterwards: str, *, is_dry: bool) -> int:
    """Show a change and make it."""
    if not show_change(file, changed):
        sys.stderr.write(f"{file.path}: as it should be; nothing to do\n")
        return 0
    if is_dry:
        file.check_writable()
        sys.stderr.write("nothing was changed (--dry-run)\n")
        return 0
    backup = file.write(changed.text)
    sys.stderr.write(f"{file.path}: written; {afterwards}\n")
    if backup is not None:
        sys.stderr.write(f"{backup}: as it was\n")
    return 0


def _say_what_is_missing(client: Client, path: Path, home: Path, file: ClientFile) -> None:
    if not file.exists and not path.parent.is_dir():
        sys.stderr.write(f"note: {client.title} has left no trace here; {path} is made for it\n")
    if not home.is_dir():
        sys.stderr.write(f"note: no fleet was ever started on {home}\n")


def _has_place(client: Client, options: Options) -> bool:
    return bool(client.project) or not options.is_project


def _sight(client: Client, path: Path) -> dict[str, object]:
    ours: dict[str, object] = {}
    others, error, exists = 0, "", path.exists()
    try:
        servers = ClientFile(path, is_strict=client.is_strict).json.object_at(client.key)
        for name, node in servers.members.items() if servers is not None else ():
            entry = node.to_python()
            if is_ours(entry):
                ours[name] = entry
            else:
                others += 1
    except (OrchestraError, ActionFailed) as fault:
        error = fault.message
    return {
        "client": client.name,
        "file": str(path),
        "exists": exists,
        "orchestra": ours,
        "others": others,
        "error": error,
    }
