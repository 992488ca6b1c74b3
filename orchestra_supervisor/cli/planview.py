"""A reload's plan for people: a block a service, a row a value, with its place and what it means."""

import os

from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import clip, clip_middle, display_width, make_visible, pad
from orchestra_supervisor.control_client import Json, rows

__all__ = ["plan_lines"]

_LOOKS: dict[str, tuple[str, str, tuple[str, ...], str, str]] = {
    "add": ("+", "+", ("green",), "starts", "started"),
    "remove": ("-", "-", ("red",), "stops and is forgotten", "stopped and forgotten"),
    "restart": ("↻", "^", ("yellow",), "restarts", "restarted"),
    "roll": ("↻", "^", ("yellow",), "restarts in its turn", "restarts in its turn"),
    "start": ("▸", ">", ("green",), "starts", "started"),
    "stop": ("◼", "x", ("red",), "stops", "stopped"),
    "live": ("~", "~", ("cyan",), "goes on", "goes on"),
    "later": ("○", "o", ("dim",), "stays down", "stays down"),
    "next_up": ("◷", "=", ("magenta",), "", ""),
}
"""Action, or time from which a value holds: sign, sign without Unicode, styles, words before and after."""
_NEXT_UP = "takes effect at the next `up`"
_KEY_WIDTH = 40  # columns of a key before its middle is cut
_PLAIN = ("?", "?", (), "", "")
_Row = tuple[str, str, str, str, str]
"""From when on it holds, key, change, place, note."""


def plan_lines(answer: Json, terminal: Terminal, *, is_done: bool) -> list[str]:
    """Return the lines of a plan.

    Args:
        answer: Of `POST /v1/plan` or `/v1/reload`.
        terminal: Tells width, colours and signs.
        is_done: It has been carried out.
    """
    services = rows(answer, "services") if "services" in answer else _services_by_name(answer)
    settings = rows(answer, "settings")
    if not services and not settings:
        unchanged = answer.get("unchanged")
        count = f"; {unchanged} untouched" if isinstance(unchanged, int) else ""
        return [f"nothing {'changed' if is_done else 'to do'}{count}"]
    lines: list[str] = []
    width = max((display_width(_text(one, "name")) for one in services), default=0)
    for service in services:
        lines.append(_head(service, terminal, width, is_done=is_done))
        lines += _table(rows(service, "fields"), terminal)
    if settings:
        lines.append(terminal.paint("settings", "bold"))
        lines += _table(settings, terminal)
    return [*lines, "", _last_line(answer, terminal)]


def _last_line(answer: Json, terminal: Terminal) -> str:
    unchanged = answer.get("unchanged")
    count = f"; {unchanged} untouched" if isinstance(unchanged, int) else ""
    return terminal.paint(f"{_text(answer, 'summary') or 'changed'}{count}", "bold")


def _services_by_name(answer: Json) -> list[Json]:
    """Return rows out of the lists of names that every version of the answer has."""
    found: list[Json] = []
    for key, action in (("added", "add"), ("changed", "live"), ("removed", "remove")):
        names = answer.get(key)
        if isinstance(names, list):
            found.extend({"name": str(name), "action": action} for name in names)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON
    return found


def _head(service: Json, terminal: Terminal, width: int, *, is_done: bool) -> str:
    action, why = _text(service, "action"), _text(service, "why")
    look = _LOOKS.get(action, _PLAIN)
    word = look[4] if is_done else look[3]
    if action == "add" and "stays down" in why:
        word = "stays down"
    name = pad(_text(service, "name"), width)
    told = f"{_sign(action, terminal)} {name}  {word}"
    # The values below say why it restarts or goes on; of the others nothing else does.
    extra = "" if rows(service, "fields") and action in {"restart", "roll", "live"} else why
    place = _place(service) if action == "add" else ""
    rest = "  ".join(part for part in (extra, place) if part)
    room = None if terminal.columns is None else terminal.columns - display_width(told) - 2
    rest = rest if room is None else clip(rest, max(0, room), terminal.mark)
    painted = f"{terminal.paint(_sign(action, terminal), *look[2])} {terminal.paint(name, 'bold')}"
    painted += f"  {terminal.paint(word, *look[2])}"
    return f"{painted}  {terminal.paint(rest, 'dim')}".rstrip() if rest else painted


def _table(fields: list[Json], terminal: Terminal) -> list[str]:
    """Lay out rows: on one line each where all fit, else with place and note on a line of their own."""
    table = [_row(field, terminal) for field in fields]
    if not table:
        return []
    key_width = min(_KEY_WIDTH, max(display_width(key) for _, key, _, _, _ in table))
    change_width = max(display_width(change) for _, _, change, _, _ in table)
    place_width = max(display_width(place) for _, _, _, place, _ in table)
    note_width = max(display_width(note) for _, _, _, _, note in table)
    total = 4 + key_width + 2 + change_width + 2 + place_width + 2 + note_width
    is_wide = terminal.columns is None or total <= terminal.columns
    lines: list[str] = []
    said = ""
    for when, key, change, place, note in table:
        news, said = ("" if note == said else note), note
        head = f"  {terminal.paint(_sign(when, terminal), *_LOOKS.get(when, _PLAIN)[2])} "
        head += pad(clip_middle(key, key_width, terminal.mark), key_width) + "  "
        if is_wide:
            tail = f"{pad(place, place_width)}  {news}".rstrip()
            lines.append(f"{head}{pad(change, change_width)}  {terminal.paint(tail, 'dim')}".rstrip())
            continue
        columns = terminal.columns or 80
        lines.append(head + clip(change, max(8, columns - 6 - key_width), terminal.mark))
        if below := "  ".join(part for part in (place, news) if part):
            lines.append("      " + terminal.paint(clip(below, columns - 6, terminal.mark), "dim"))
    return lines


def _row(field: Json, terminal: Terminal) -> _Row:
    when, why = _text(field, "when"), _text(field, "why")
    arrow = "→" if terminal.is_unicode else "->"
    old, new = _text(field, "old"), _text(field, "new")
    change = f"{old} (another value)" if old == new else f"{old} {arrow} {new}"
    note = f"{_NEXT_UP}: {why}" if when == "next_up" else why
    return when, _text(field, "field"), change, _place(field), note


def _place(row: Json) -> str:
    where = row.get("where")
    if not isinstance(where, dict):
        return ""
    place: Json = where  # pyright: ignore[reportUnknownVariableType]  # JSON
    path, line = _text(place, "path"), place.get("line")
    here = os.getcwd() + os.sep  # noqa: PTH109  # pathlib is not loaded for this
    path = path.removeprefix(here)
    return f"{path}:{line}" if line else path


def _sign(action: str, terminal: Terminal) -> str:
    look = _LOOKS.get(action, _PLAIN)
    return look[0] if terminal.is_unicode else look[1]


def _text(row: Json, key: str) -> str:
    value = row.get(key)
    return make_visible(value).replace("\t", " ") if isinstance(value, str) else ""
