"""Text for people: tables of services, results, events. Pure: views and a clock in, lines out."""

from orchestra_supervisor.cli.shapes import EventView, ResultView, ServiceView, StatusView
from orchestra_supervisor.cli.table import Cell, table_lines
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import (
    clip,
    display_width,
    format_duration,
    format_instant,
    make_visible,
)

__all__ = [
    "counts_text",
    "event_line",
    "glyph_of",
    "note_of",
    "result_line",
    "status_lines",
    "style_of",
    "summary_lines",
]

_LOOKS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "stopped": ("○", "-", ("dim",)),
    "waiting": ("◌", ".", ("cyan",)),
    "starting": ("◔", ">", ("blue",)),
    "running": ("◑", "~", ("blue",)),
    "ready": ("●", "*", ("green",)),
    "unhealthy": ("▲", "!", ("yellow",)),
    "backoff": ("↻", "^", ("yellow",)),
    "stopping": ("◒", "<", ("magenta",)),
    "completed": ("✓", "+", ("green",)),
    "failed": ("✗", "x", ("red", "bold")),
}
"""State to glyph, glyph without Unicode, styles."""

_GAP = "  "
_DAY = 86_400.0
_DOWN_REASONS = {
    "disabled": "disabled",
    "not_selected": "not selected",
    "operator": "stopped by hand",
    "demand": "started on demand",
}


def glyph_of(state: str, terminal: Terminal) -> str:
    """Return the sign of a state."""
    look = _LOOKS.get(state, ("?", "?", ()))
    return look[0] if terminal.is_unicode else look[1]


def style_of(state: str) -> tuple[str, ...]:
    """Return the colours of a state."""
    return _LOOKS.get(state, ("?", "?", ()))[2]


def note_of(service: ServiceView, now: float) -> str:
    """Say in one clause why a service is where it is; empty where nothing needs saying."""
    if service.next_run is not None:
        why = "" if service.is_good else _why_of(service, now)
        return f"{why}; {_next_run(service.next_run, now)}" if why else _next_run(service.next_run, now)
    return _why_of(service, now)


def _next_run(at: float, now: float) -> str:
    """Return `next 03:00 (in 4h00m)`, with the day where that is not within one."""
    day, time_of_day = format_instant(at)[:16].split()
    when = time_of_day if at - now < _DAY else f"{day} {time_of_day}"
    return f"next {when} (in {format_duration(at - now)})"


def _why_of(service: ServiceView, now: float) -> str:
    if service.state in {"ready", "completed"}:
        return f"watch: {service.watch_error}" if service.watch_error else service.status_text
    if service.state == "stopped":
        return service.reason or _DOWN_REASONS.get(service.down_reason, "") or service.exit_text
    if service.state == "waiting" and service.waiting_for:
        return "waiting for " + ", ".join(service.waiting_for)
    parts: list[str] = []
    if service.state in {"unhealthy", "running", "starting"}:
        parts.append(service.probe_error or service.reason)
    elif service.state in {"backoff", "failed"}:
        parts.append(service.exit_text or service.reason)
        if service.exit_text and service.state == "failed" and service.exit_text not in service.reason:
            parts.append(service.reason)
        elif service.exit_text and service.exit_text in service.reason:
            parts[0] = service.reason
    else:
        parts.append(service.reason)
    if service.next_start is not None and service.state in {"backoff", "waiting"}:
        parts.append(f"next start in {format_duration(service.next_start - now)}")
    return "; ".join(part for part in parts if part)


def counts_text(services: list[ServiceView]) -> str:
    """Say how many services are in each state, in the order of the life of a service."""
    counts: dict[str, int] = {}
    for service in services:
        counts[service.state] = counts.get(service.state, 0) + 1
    order = [*_LOOKS, *sorted(set(counts) - set(_LOOKS))]
    return ", ".join(f"{counts[state]} {state}" for state in reversed(order) if state in counts)


def status_lines(status: StatusView, terminal: Terminal, now: float) -> list[str]:
    """Return the header and the table of `orchestra status`.

    Args:
        status: What the daemon says.
        terminal: Where it will be shown.
        now: Seconds since the epoch.
    """
    lines = _header_lines(status, terminal)
    if status.services:
        lines += ["", *_service_table(status.services, terminal, now)]
    return lines


def summary_lines(status: StatusView, terminal: Terminal, now: float) -> list[str]:
    """Return what `status_lines` does, and of a fleet too large for the terminal only what is not there."""
    if not terminal.is_live or len(status.services) <= terminal.rows:
        return status_lines(status, terminal, now)
    lines = _header_lines(status, terminal)
    missing = [service for service in status.services if not service.is_good and service.is_wanted]
    if missing:
        lines += ["", *_service_table(missing[: terminal.rows], terminal, now)]
    return [*lines, "", f"{counts_text(status.services)}; `orchestra status` shows all"]


def _header_lines(status: StatusView, terminal: Terminal) -> list[str]:
    daemon = status.daemon
    ready, total = status.tally()
    pieces: list[Cell] = [
        (f"orchestra {daemon.version}".rstrip(), ("bold",)),
        (f"home {make_visible(daemon.home)}", ()),
        *((f"{role} {pid}", ("dim",)) for role, pid in _roles(status)),
        (f"{ready} ready of {total}", ("green",) if ready == total else ("yellow",)),
    ]
    if daemon.phase not in {"", "running"}:
        pieces.append((daemon.phase, ("magenta",)))
    width = terminal.columns
    lines = [""]
    used = 0
    for text, styles in pieces:
        shown = clip(text, width, terminal.mark) if width else text
        if used and width and used + len(_GAP) + display_width(shown) > width:
            lines.append("")
            used = 0
        lines[-1] += (_GAP if used else "") + terminal.paint(shown, *styles)
        used += display_width(shown) + (len(_GAP) if used else 0)
    return lines


def _roles(status: StatusView) -> list[tuple[str, int]]:
    daemon = status.daemon
    roles = (
        ("keeper", daemon.keeper_pid),
        ("daemon", daemon.pid),
        ("logger", daemon.logger_pid),
        ("gateway", daemon.gateway_pid),
    )
    return [(role, pid) for role, pid in roles if pid is not None]


def _service_table(services: list[ServiceView], terminal: Terminal, now: float) -> list[str]:
    header = ["", "NAME", "STATE", "PID", "UPTIME", "RESTARTS", "URL", "NOTE"]
    body: list[list[Cell]] = []
    for service in services:
        style = style_of(service.state)
        up = format_duration(now - service.started) if service.pid and service.started else ""
        where = service.url or (f":{service.port}" if service.port else "")
        body.append(
            [
                (glyph_of(service.state, terminal), style),
                (make_visible(service.name), ()),
                (service.state, style),
                (str(service.pid) if service.pid else "", ()),
                (up, ()),
                (str(service.restarts), ("yellow",) if service.restarts else ("dim",)),
                (make_visible(where), ("dim",)),
                (make_visible(note_of(service, now)).replace("\t", " "), ()),
            ]
        )
    # What gives way first where the terminal is narrow; empty columns are never shown.
    return table_lines(header, body, terminal, gives_way=(5, 3, 6, 4), is_right={3, 4, 5})


def result_line(result: ResultView, terminal: Terminal) -> str:
    """Return one line on what a verb did to one service."""
    sign = glyph_of("ready" if result.is_ok else "failed", terminal)
    if result.is_ok and not result.is_changed:
        sign = glyph_of("stopped", terminal)
    arrow = "→" if terminal.is_unicode else "->"
    is_moved = result.before not in {"", result.after}  # one that is new was nowhere before
    change = f"{result.before} {arrow} {result.after}" if is_moved else result.after
    took = f"{_GAP}{format_duration(result.took)}" if result.took and result.is_changed else ""
    message = f"{_GAP}{make_visible(result.message)}" if result.message else ""
    style = ("green",) if result.is_ok else ("red", "bold")
    return f"{terminal.paint(sign, *style)} {make_visible(result.name)}{_GAP}{change}{took}{message}"


def event_line(event: EventView, terminal: Terminal, *, is_dated: bool = True) -> str:
    """Return one line on one event."""
    state = event.kind.rpartition(".")[2]
    style = style_of(state) if state in _LOOKS else _severity(event.kind)
    who = f"{terminal.paint(make_visible(event.service), 'bold')}{_GAP}" if event.service else ""
    at = terminal.paint(format_instant(event.at, is_dated=is_dated), "dim")
    kind = terminal.paint(make_visible(event.kind), *style)
    return f"{at}{_GAP}{kind}{_GAP}{who}{make_visible(event.message)}"


def _severity(kind: str) -> tuple[str, ...]:
    if kind.endswith(("failed", "stuck", "refused", "unwritable", "dropped")):
        return ("red",)
    return ("yellow",) if kind.startswith(("leftover.", "role.")) else ()
