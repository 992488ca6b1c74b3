"""The fleet on its way: a line a service while there is room, else only what is not there yet."""

from orchestra_supervisor.cli.render import counts_text, glyph_of, note_of, style_of
from orchestra_supervisor.cli.shapes import SETTLED, ServiceView, StatusView
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import clip, clip_middle, display_width, format_duration, make_visible, pad

__all__ = ["Frame", "starting_frame", "stopping_frame"]

Frame = list[tuple[str, str]]
"""Lines, each plain and painted."""

_MOST_LINES = 30  # lines of services that a person still takes in at a glance
_ORDER = ("failed", "unhealthy", "backoff", "stopping", "running", "starting", "waiting")
_FIXED = 21  # columns of a line beside name and note
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def starting_frame(status: StatusView | None, terminal: Terminal, now: float, took: float) -> Frame:
    """Return the frame of a start.

    Args:
        status: The newest answer, or None while there is no daemon yet.
        terminal: Tells room and colours.
        now: Seconds since the epoch.
        took: Seconds since the start was asked for.
    """
    if status is None:
        return [_headline("waiting for the daemon", terminal, took)]
    wanted = [one for one in status.services if one.is_wanted or one.state not in SETTLED]
    good = sum(one.is_good for one in wanted)
    frame = [_headline(f"{good} of {len(wanted)} ready", terminal, took)]
    frame += _body(wanted, [one for one in wanted if not one.is_good], terminal, now)
    return frame[: max(1, terminal.rows - 1)]


def stopping_frame(
    status: StatusView | None, terminal: Terminal, now: float, took: float, word: str, offer: str = ""
) -> Frame:
    """Return the frame of a stop: what is still there and for how long it has been stopping.

    Args:
        status: The newest answer, or None where there was none.
        terminal: Tells room and colours.
        now: Seconds since the epoch.
        took: Seconds since the stop was asked for.
        word: What is being done.
        offer: What else the user may do.
    """
    alive = [one for one in status.services if one.pid or one.state == "stopping"] if status else []
    left = f", {len(alive)} left" if alive else ""
    headline = word + left + (f"  ({offer})" if offer else "")
    frame = [_headline(headline, terminal, took), *_body(alive, alive, terminal, now)]
    return frame[: max(1, terminal.rows - 1)]


def _headline(text: str, terminal: Terminal, took: float) -> tuple[str, str]:
    spin = _SPINNER[int(took * 10) % len(_SPINNER)] if terminal.is_unicode else "*"
    width = (terminal.columns or 80) - 1
    plain = clip(f"{spin} {text}  {format_duration(took)}", width, terminal.mark)
    return plain, terminal.paint(plain, "bold")


def _body(every: list[ServiceView], open_ones: list[ServiceView], terminal: Terminal, now: float) -> Frame:
    # One row stays for the headline, one for the counts, one for the cursor.
    room = max(1, min(terminal.rows - 3, _MOST_LINES))
    if len(every) <= room:
        return _service_lines(every, terminal, now)
    rank = {state: place for place, state in enumerate(_ORDER)}
    first = sorted(open_ones, key=lambda one: rank.get(one.state, len(_ORDER)))[:room]
    shown = {one.name for one in first}
    lines = _service_lines([one for one in every if one.name in shown], terminal, now)
    counts = clip("  " + counts_text(every), (terminal.columns or 80) - 1, terminal.mark)
    return [*lines, (counts, terminal.paint(counts, "dim"))]


def _service_lines(services: list[ServiceView], terminal: Terminal, now: float) -> Frame:
    width = (terminal.columns or 80) - 1
    widest = max((len(one.name) for one in services), default=0)
    name_width = min(widest, max(4, (width - _FIXED) * 2 // 3))
    lines: Frame = []
    for one in services:
        name = pad(clip_middle(make_visible(one.name), name_width, terminal.mark), name_width)
        state = pad(one.state, 9)
        lead = f"{glyph_of(one.state, terminal)} {name}  {state}  "
        elapsed = pad(_elapsed(one, now), 6, is_right=True)
        note = make_visible(note_of(one, now) or (one.url if one.state == "ready" else "")).replace("\t", " ")
        plain = clip(f"{lead}{elapsed}  {note}".rstrip(), width, terminal.mark)
        painted = plain
        if display_width(lead) <= width:
            style = style_of(one.state)
            glyph = terminal.paint(glyph_of(one.state, terminal), *style)
            rest = plain[len(lead) :]
            painted = f"{glyph} {name}  {terminal.paint(state, *style)}  {terminal.paint(rest, 'dim')}"
        lines.append((plain, painted))
    return lines


def _elapsed(service: ServiceView, now: float) -> str:
    """Return how long it has been in its state, or, once ready, how long it took to become so."""
    if service.since is None:
        return ""
    if service.is_good:
        return format_duration(service.since - service.started) if service.started else ""
    return format_duration(now - service.since)
