"""Tables that fit the terminal: the reason is kept, whole columns give way, names lose their middle."""

from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import clip, clip_middle, display_width, pad

__all__ = ["Cell", "table_lines"]

Cell = tuple[str, tuple[str, ...]]
"""A text and the styles it is painted with."""

_GAP = "  "
_NOTE_FLOOR = 24  # columns that the note keeps before other columns give way


def table_lines(
    header: list[str],
    body: list[list[Cell]],
    terminal: Terminal,
    *,
    gives_way: tuple[int, ...] = (),
    is_right: set[int] | frozenset[int] = frozenset(),
) -> list[str]:
    """Lay out a table; the second column is the name, the last one takes what width is left.

    Args:
        header: Column titles.
        body: Rows of as many cells.
        terminal: Tells width and colours.
        gives_way: Columns that may be left out, the first one first.
        is_right: Columns that are set to the right.
    """
    widths = [
        max([len(title), *(display_width(row[column][0]) for row in body)])
        if any(row[column][0] for row in body)
        else 0
        for column, title in enumerate(header)
    ]
    last = len(header) - 1
    total = terminal.columns
    if total is not None:
        widths = _fit(widths, total, gives_way)
    kept = [column for column in range(len(header)) if widths[column]]
    lines: list[str] = []
    for row in [[(title, ("dim",)) for title in header], *body]:
        parts: list[str] = []
        for column in kept:
            text, styles = row[column]
            cut = clip_middle(text, widths[column], terminal.mark) if column == 1 else text
            cut = clip(cut, widths[column], terminal.mark)
            if column == last or (column == kept[-1] and column not in is_right):
                parts.append(terminal.paint(cut, *styles))
            else:
                shown = pad(cut, widths[column], is_right=column in is_right)
                parts.append(shown.replace(cut, terminal.paint(cut, *styles), 1) if cut else shown)
        line = parts[0] + " " + _GAP.join(parts[1:])
        lines.append(line.rstrip())
    return lines


def _fit(widths: list[int], total: int, gives_way: tuple[int, ...]) -> list[int]:
    """Shrink columns until a row fits: the note to a floor, then whole columns, then names, then the note."""
    widths = list(widths)
    last = len(widths) - 1

    def over() -> int:
        shown = [width for width in widths if width]
        return sum(shown) + len(_GAP) * (len(shown) - 2) + 1 - total

    def shrink(column: int, floor: int) -> None:
        if over() > 0 and widths[column] > floor:
            widths[column] = max(floor, widths[column] - over())

    shrink(last, _NOTE_FLOOR)
    for column in gives_way:
        if over() > 0:
            widths[column] = 0
    shrink(1, 12)
    shrink(last, 8)
    shrink(1, 4)
    if over() > 0:
        widths[last] = 0
    return widths
