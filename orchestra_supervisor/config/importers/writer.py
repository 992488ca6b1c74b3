"""The native form as text: JSON with a comment on each value that says where it came from."""

import json
from collections.abc import Iterator
from typing import cast

from orchestra_supervisor.config.draft import Body, KeyPath
from orchestra_supervisor.config.importers.piece import Imported, Piece

__all__ = ["write_native"]

_STEP = "  "
_WIDTH = 100
"""Characters up to which a list or an object without comments of its own stays in one line."""


def write_native(imported: Imported) -> str:
    """Return a file in the native form.

    Args:
        imported: What it is to say.
    """
    lines = [f"// Imported from {_safe(', '.join(imported.source))} by `orchestra import`.", "{"]
    blocks: list[list[str]] = []
    if imported.include:
        items = [(json.dumps(path, ensure_ascii=False), str(mark)) for path, mark in imported.include]
        blocks.append([f'{_STEP}"include": [', *_listed(items, 2), f"{_STEP}]"])
    if imported.settings.body:
        blocks.append([f'{_STEP}"settings": {{', *_members(imported.settings, (), imported.settings.body, 2)])
        blocks[-1].append(f"{_STEP}}}")
    blocks.append([f'{_STEP}"services": {{', *_services(imported), f"{_STEP}}}"])
    for number, block in enumerate(blocks):
        if number < len(blocks) - 1:
            block[-1] += ","
        lines += block
    return "\n".join([*lines, "}"]) + "\n"


def _listed(items: list[tuple[str, str]], depth: int) -> list[str]:
    indent = _STEP * depth
    last = len(items) - 1
    return [
        f"{indent}{text}{'' if number == last else ','}{_comment(said)}"
        for number, (text, said) in enumerate(items)
    ]


def _services(imported: Imported) -> Iterator[str]:
    last = len(imported.services) - 1
    for number, piece in enumerate(imported.services):
        if number:
            yield ""
        yield f"{_STEP * 2}// {_safe(str(piece.heading))}"
        yield f"{_STEP * 2}{json.dumps(piece.name, ensure_ascii=False)}: {{"
        yield from _members(piece, (), piece.body, 3)
        yield f"{_STEP * 2}}}" + ("" if number == last else ",")


def _members(piece: Piece, path: KeyPath, body: Body, depth: int) -> Iterator[str]:
    """Yield the lines of an object's members."""
    indent, last = _STEP * depth, len(body) - 1
    for number, (key, value) in enumerate(body.items()):
        here: KeyPath = (*path, key)
        comma = "" if number == last else ","
        mark = piece.marks.get(here)
        head = f"{indent}{json.dumps(key, ensure_ascii=False)}: "
        flat = json.dumps(value, ensure_ascii=False)
        has_marks = any(known[: len(here)] == here and known != here for known in piece.marks)
        if not isinstance(value, dict) or not value or (not has_marks and len(head) + len(flat) <= _WIDTH):
            yield f"{head}{flat}{comma}{_comment(str(mark or ''))}"
            continue
        yield f"{head}{{{_comment(str(mark or ''))}"
        yield from _members(piece, here, cast("Body", value), depth + 1)
        yield f"{indent}}}{comma}"


def _comment(text: str) -> str:
    return f"  // {_safe(text)}" if text else ""


def _safe(text: str) -> str:
    """Return a text that cannot end a comment."""
    return "".join(char if char.isprintable() else "?" for char in text)
