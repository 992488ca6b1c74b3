"""supervisord.conf: what the dialect reads of it, without what the native form has by default."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from orchestra_supervisor.config.dialect_supervisord import read_supervisord
from orchestra_supervisor.config.draft import Body, KeyPath, Origin, Source
from orchestra_supervisor.config.files import read_text
from orchestra_supervisor.config.findings import Location
from orchestra_supervisor.config.importers.piece import Imported, Mark, Piece
from orchestra_supervisor.model.supervisord import OutputSpec, SupervisorName

__all__ = ["import_supervisord"]

_DEFAULTS: Mapping[str, object] = {"enabled": True, "priority": 999}
_STREAMS = ("stdout", "stderr")


def import_supervisord(
    text: str, path: Path, shown_path: str, environ: Mapping[str, str], imported: Imported
) -> None:
    """Add the programs of a file and of those that it includes.

    Args:
        text: Of the file.
        path: Absolute.
        shown_path: Its name in findings.
        environ: For %(ENV_x)s, whose values are written down.
        imported: Gets them.
    """
    found = read_supervisord(text, Source(path, shown_path), environ, read_text)
    imported.findings += found.reading.findings
    imported.source += [name for _, name in found.included]
    head = found.reading.head
    supervisor = dict(cast("Body", cast("Body", head["settings"])["supervisor"])) if head else {}
    for server in _servers(supervisor):
        password = server.get("password")
        if isinstance(password, str) and not password.startswith("{SHA}"):
            plain = password.replace("$$", "$").encode("utf-8", "surrogateescape")
            server["password"] = "{SHA}" + hashlib.sha1(plain, usedforsecurity=False).hexdigest()
    if supervisor:
        imported.settings.put(("supervisor",), supervisor)
        _mark(
            imported.settings, found.reading.origin, supervisor, ("settings", "supervisor"), ("supervisor",)
        )
    for draft in found.reading.services:
        place = draft.origin.where()
        title = str(draft.body.get("title", draft.name))
        piece = Piece(draft.name, Mark(place, title), _short(draft.body, draft.origin))
        _mark(piece, draft.origin, piece.body, (), ())
        _mark_defaults(piece, found.reading.origin)
        imported.services.append(piece)


def _servers(supervisor: Body) -> list[Body]:
    inet = cast("list[Body]", supervisor.get("inet", []))
    unix = [cast("Body", supervisor["unix"])] if "unix" in supervisor else []
    return [*unix, *inet]


def _short(body: Body, origin: Origin) -> Body:
    """Return a body without what is so by default, or follows from where the file is."""
    short = {key: value for key, value in body.items() if _DEFAULTS.get(key) != value}
    name = dict(cast("Body", short["supervisor"]))
    defaults = SupervisorName(group="", process="").model_dump(mode="json")
    for stream in _STREAMS:
        given, usual = cast("Body", name[stream]), OutputSpec().model_dump(mode="json")
        name[stream] = {key: value for key, value in given.items() if usual[key] != value}
    short["supervisor"] = {
        key: value for key, value in name.items() if value != {} and defaults.get(key) != value
    }
    if not origin.has(("cwd",)) and short["cwd"] == str(Path.cwd()):
        del short["cwd"]  # where supervisord was started; here: the folder of the file
    return short


def _mark(piece: Piece, origin: Origin, value: object, native: KeyPath, path: KeyPath) -> None:
    """Remember where values came from, as far down as they were written one by one."""
    if not isinstance(value, dict):
        return
    for key, inner in cast("Body", value).items():
        below, here = (*native, key), (*path, key)
        if origin.has(below):
            place: Location = origin.where(below)
            named = origin.named(below)
            outer = piece.marks.get(path)
            if outer is None or outer.place != place:
                piece.marks[here] = Mark(place, named)
        _mark(piece, origin, inner, below, here)


def _mark_defaults(piece: Piece, head: Origin) -> None:
    """Say of the other values that they are supervisord's own, or those of [supervisord]."""
    written = ("supervisord", "environment")
    for name in cast("Body", piece.body["env"]):
        if ("env", name) in piece.marks:
            continue
        is_own = name.startswith("SUPERVISOR_")
        place = Location("") if is_own or not head.has(written) else head.where(written)
        piece.marks["env", name] = Mark(place, "as supervisord sets it" if is_own else "[supervisord]")
    for key in piece.body:
        if not any(known[0] == key for known in piece.marks):
            piece.marks[(key,)] = Mark(Location(""), "as supervisord has it by default")
