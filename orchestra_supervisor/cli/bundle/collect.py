"""What goes into a bundle: each part is collected apart, and one that cannot be had is named, not missed."""

import contextlib
import json
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.cli.bundle.scrub import Scrubber, sensitive_values
from orchestra_supervisor.cli.doctor.diagnosis import diagnose
from orchestra_supervisor.cli.follow import Layout
from orchestra_supervisor.cli.launch import LOG_NAME
from orchestra_supervisor.cli.text import format_instant, format_size
from orchestra_supervisor.config.check import check
from orchestra_supervisor.config.secrets import SecretStore
from orchestra_supervisor.control_client import ControlClient, ControlError, Json, rows
from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.logfile.lines import LogLine
from orchestra_supervisor.logfile.reader import read_lines
from orchestra_supervisor.model.errors import SecretError

__all__ = ["EVENTS", "TOTAL", "Bundle", "Part", "collect", "manifest_of"]

EVENTS = 1_000
"""Events that go along, the newest."""
TOTAL = 64 << 20
"""Bytes of all parts, above which further logs are left out."""
_OWN_LOG = 512 << 10  # bytes of supervisor.log, the last
_LIMIT = 5.0  # seconds for an answer of the daemon


class Part(NamedTuple):
    """One file of the bundle."""

    name: str
    text: str


class Bundle(NamedTuple):
    """What was collected, and what was not, with its reason."""

    parts: list[Part]
    left_out: list[str]


def collect(home: Path, directory: Path, *, lines: int, is_env_shown: bool) -> Bundle:
    """Collect everything that can be had without its secrets.

    Args:
        home: State directory.
        directory: Where the configuration files are, while no fleet has been applied.
        lines: Newest lines of each log; 0: no logs.
        is_env_shown: Show the environment of services, variables with a telling name apart.
    """
    fleet = _fleet_of(home)
    left_out: list[str] = []
    values = [
        *sensitive_values(os.environ),
        *(value for env in _environments(fleet) for value in sensitive_values(env)),
    ]
    is_sure = True
    try:
        values += SecretStore(_secrets_file(fleet)).values()
    except SecretError as error:
        is_sure = False
        left_out.append(f"logs, events and status: secrets cannot be told from other text: {error.message}")
    scrub = Scrubber(values, is_env_shown=is_env_shown)
    client = ControlClient(socket_path(home), timeout=_LIMIT)
    documents: list[tuple[str, Callable[[], object]]] = [
        ("versions.json", _versions),
        ("doctor.json", lambda: [one._asdict() for one in diagnose(home, directory)]),
        ("figures.json", lambda: client.request("GET", "/v1/figures", query={"since": 3_600})),
        ("config.json", lambda: _present(fleet)),
        ("findings.json", lambda: _findings(fleet)),
    ]
    if is_sure:  # people write into reasons, and programs into logs, what they like
        documents += [("status.json", client.status), ("events.json", lambda: _events(client, home))]
    parts: list[Part] = []
    for name, get in documents:
        try:
            content = scrub.document(get())
            parts.append(Part(name, json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"))
        except Exception as error:  # noqa: BLE001 - a part that cannot be had must not take the others along
            left_out.append(f"{name}: {scrub.text(str(error)) or type(error).__name__}")
    if is_sure:
        for part in _texts(home, lines, left_out):
            if sum(len(one.text) for one in parts) + len(part.text) > TOTAL:
                left_out.append(f"{part.name}: the bundle has {TOTAL >> 20} MiB already")
                continue
            parts.append(Part(part.name, scrub.text(part.text)))
    return Bundle(parts, left_out)


def manifest_of(bundle: Bundle, *, lines: int, is_env_shown: bool) -> str:
    """Return what a bundle says of itself: what is inside, what is not, and how far it can be trusted.

    Args:
        bundle: What was collected.
        lines: Of each log, as asked for.
        is_env_shown: Likewise.
    """
    env = "shown, variables with a telling name apart" if is_env_shown else "masked"
    inside = [f"  {part.name}  {format_size(len(part.text))}" for part in bundle.parts]
    out = [f"  {line}" for line in bundle.left_out] or ["  nothing"]
    text = [
        f"Up to {EVENTS} events, and {lines} lines of each log.",
        f"Secrets are references, environment values are {env}.",
        "Known secret values, and what looks like one, are ***. Look through it before you send it.",
    ]
    return "\n".join(["Inside:", *inside, "Left out:", *out, *text, ""])


def _fleet_of(home: Path) -> Json | None:
    try:
        return json.loads((home / "fleet.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _present(fleet: Json | None) -> Json:
    if fleet is None:
        msg = "no fleet was applied here, or it may not be read"
        raise LookupError(msg)
    return fleet


def _secrets_file(fleet: Json | None) -> str | None:
    settings = (fleet or {}).get("settings")
    path = settings.get("secrets_file") if isinstance(settings, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # JSON
    return path if isinstance(path, str) else None


def _environments(value: object) -> Iterator[dict[str, str]]:
    """Yield every environment and every set of headers in a document."""
    if isinstance(value, dict):
        for name, one in value.items():  # pyright: ignore[reportUnknownVariableType]  # JSON
            if name in {"env", "environment", "headers"} and isinstance(one, dict):
                yield {str(key): text for key, text in one.items() if isinstance(text, str)}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON
            else:
                yield from _environments(one)  # pyright: ignore[reportUnknownArgumentType]  # JSON
    elif isinstance(value, list):
        for one in value:  # pyright: ignore[reportUnknownVariableType]  # JSON
            yield from _environments(one)  # pyright: ignore[reportUnknownArgumentType]  # JSON


def _versions() -> Json:
    found = {one.metadata["Name"]: one.version for one in distributions()}
    return {
        "orchestra": VERSION,
        "python": sys.version,
        "system": " ".join(platform.uname()),
        "packages": dict(sorted(found.items())),
    }


def _findings(fleet: Json | None) -> dict[str, object]:
    files = _present(fleet).get("files")
    paths = [Path(str(file)) for file in files] if isinstance(files, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON
    return check(paths, environ=os.environ, preflight=False).to_dict()


def _events(client: ControlClient, home: Path) -> list[Json]:
    """Return the newest events: of the daemon, or of its file while it is away."""
    try:
        return rows(client.events(limit=EVENTS), "events")
    except ControlError:
        place = home / "journal.sqlite3"
        with contextlib.closing(sqlite3.connect(f"{place.as_uri()}?mode=ro", uri=True)) as connection:
            statement = (
                "SELECT seq, at, kind, service, run, message, data FROM events ORDER BY seq DESC LIMIT ?"
            )
            found = connection.execute(statement, (EVENTS,)).fetchall()
        names = ("seq", "at", "kind", "service", "run", "message")
        return [
            {**dict(zip(names, row, strict=False)), "data": json.loads(row[6])} for row in reversed(found)
        ]


def _texts(home: Path, lines: int, left_out: list[str]) -> Iterator[Part]:
    """Yield the logs: our own first, then those of the services."""
    try:
        with (home / LOG_NAME).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _OWN_LOG))
            yield Part(LOG_NAME, file.read().decode("utf-8", "replace"))
    except OSError as error:
        left_out.append(f"{LOG_NAME}: {error.strerror}")
    if not lines:
        left_out.append("logs of services: not asked for")
        return
    layout = Layout.read(home)
    for name in layout.services:
        try:
            found = read_lines(str(layout.path(name)), limit=lines)
        except OSError as error:
            left_out.append(f"logs/{name}.log: {error.strerror}")
            continue
        if found:
            yield Part(f"logs/{name}.log", "".join(map(_line, found)))


def _line(line: LogLine) -> str:
    at = format_instant(line.at_wall) if line.at_wall else "?"
    return f"{at}  {line.stream}  {line.data.decode('utf-8', 'replace')}\n"
