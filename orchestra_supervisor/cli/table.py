"""Tables that fit the terminal: the reason is kept, whole columns give way, names lose their middle."""

from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import clip, clip_middle, display_width

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
    rows: list[list[Cell]] = [[(title, ("dim",)) for title in header], *body]
    taken = [[display_width(text) for text, _ in row] for row in rows]
    # A column in which nothing stands is not shown.
    widths = [
        max(columns) if any(row[number][0] for row in body) else 0
        for number, columns in enumerate(zip(*taken, strict=True))
    ]
    total = terminal.columns
    if total is not None:
        widths = _fit(widths, total, gives_way)
    kept = [column for column in range(len(header)) if widths[column]]
    open_end = {len(header) - 1, *kept[-1:]} - (is_right - {len(header) - 1})
    lines: list[str] = []
    for row, sizes in zip(rows, taken, strict=True):
        parts: list[str] = []
        for column in kept:
            text, styles = row[column]
            size, width = sizes[column], widths[column]
            if size > width or (column == 1 and len(text) > width):
                text = clip_middle(text, width, terminal.mark) if column == 1 else text
                text = clip(text, width, terminal.mark)
                size = display_width(text)
            shown = terminal.paint(text, *styles) if terminal.is_color else text
            if column in open_end:
                parts.append(shown)
            elif column in is_right:
                parts.append(" " * (width - size) + shown)
            else:
                parts.append(shown + " " * (width - size))
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
