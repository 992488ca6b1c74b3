"""`orchestra top`: what each service uses, as it goes; one table where the output is no terminal."""

import json
import os
import re
import selectors
import sys
import time

from orchestra_supervisor.cli.connection import ask, home_of, no_answer
from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.holder import keeper_pid_of
from orchestra_supervisor.cli.live import Frame
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.shapes import FiguresView, StatusView
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import clip, make_visible
from orchestra_supervisor.cli.topview import ORDERS, Past, top_lines
from orchestra_supervisor.cli.words import split_names
from orchestra_supervisor.control_client import ControlClient, ControlError, Json, NoDaemon
from orchestra_supervisor.control_home import socket_path

__all__ = ["configure", "run"]

_PERIOD = 1.0  # seconds between two tables; the daemon looks no more often
_FIRST_LOOKS = 2.5  # seconds that one table waits for figures of a service that was just started
_LIMIT = 2.0  # seconds for an answer, as keys wait for it
_HISTORY = 150.0  # seconds of the past that are asked for: the curve and a little more
_KEYS = {"c": "cpu", "m": "mem", "n": "name"}
_PAINT = re.compile(r"\x1b\[[0-9;]*m")
_OFFER = "c cpu  m memory  n name  q quit"


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.names(is_required=False)
    parser.option("--sort", choices=ORDERS, default="cpu", help="what comes first (default: cpu)")
    parser.option("--once", action="store_true", help="one table, also on a terminal")
    parser.json_option()


def run(options: Options) -> int:
    """Show the table until q, Ctrl-C or the end of the fleet."""
    home, names = home_of(options.home), split_names(options.names)
    if options.is_json:
        answer = ask(home, lambda client: _figures(client, None))
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
        return 0
    terminal = Terminal(sys.stdout, os.environ)
    status = StatusView(ask(home, lambda client: client.status(names)))
    figures = FiguresView(ask(home, lambda client: _figures(client, _HISTORY)))
    if not figures.is_on:
        raise ActionFailed(
            "this fleet takes no figures: settings.figures_period is 0",
            hint="set it to 10s, or leave it out, and `orchestra reload`",
        )
    past = Past()
    past.note(figures)
    if options.once or not terminal.is_live:
        until = time.monotonic() + _FIRST_LOOKS
        while _is_unknown(status, figures) and time.monotonic() < until:
            time.sleep(_PERIOD / 4)
            figures = FiguresView(ask(home, lambda client: _figures(client, None)))
        past.note(figures)
        lines = top_lines(status, figures, past, terminal, time.time(), options.sort)
        sys.stdout.write("\n".join(lines) + "\n")
        return 0
    return _Top(home, names, _Margin(sys.stdout, os.environ), past, options.sort).watch(status, figures)


def _figures(client: ControlClient, since: float | None) -> Json:
    return client.request("GET", "/v1/figures", query={"since": since})


def _is_unknown(status: StatusView, figures: FiguresView) -> bool:
    """Return whether the processor use of a service that runs is not known yet."""
    seen = {name for name, one in figures.services.items() if one.cpu is not None}
    return any(service.pid and service.name not in seen for service in status.services)


class _Top:
    """The table on a terminal."""

    def __init__(self, home: str, names: list[str], terminal: Terminal, past: Past, order: str) -> None:
        self._home = home
        self._names = names
        self._terminal = terminal
        self._past = past
        self._order = order
        self._note = ""

    def watch(self, status: StatusView, figures: FiguresView) -> int:
        """Draw, wait for a second or a key, and ask again."""
        from orchestra_supervisor.cli.keys import Keys
        from orchestra_supervisor.cli.screen import Screen
        from orchestra_supervisor.cli.session import SignalBox

        screen = Screen(self._terminal)
        with SignalBox() as box, Keys(sys.stdin.fileno()) as keys, selectors.DefaultSelector() as selector:
            selector.register(box.fileno(), selectors.EVENT_READ)
            if keys.is_active:
                selector.register(keys.fileno(), selectors.EVENT_READ)
            try:
                due = time.monotonic() + _PERIOD
                while screen.is_live:
                    screen.show(self._frame(status, figures))
                    ready = selector.select(max(0.0, due - time.monotonic()))
                    pressed = keys.take() if any(key.fd == keys.fileno() for key, _ in ready) else ""
                    if box.take() or "q" in pressed:
                        return 0
                    for key in pressed:
                        self._order = _KEYS.get(key, self._order)
                    if keys.fileno() in selector.get_map() and not keys.is_active:
                        return 0  # the terminal is gone
                    if time.monotonic() >= due:
                        due = time.monotonic() + _PERIOD
                        status, figures = self._ask(status, figures)
            finally:
                screen.end_region()
        return 0

    def _ask(self, status: StatusView, figures: FiguresView) -> tuple[StatusView, FiguresView]:
        """Return what the daemon says now; between two daemons, what it said last.

        Raises:
            NoDaemon: The fleet has ended.
        """
        client = ControlClient(socket_path(self._home), timeout=_LIMIT)
        try:
            status, figures = StatusView(client.status(self._names)), FiguresView(_figures(client, None))
        except NoDaemon:
            if keeper_pid_of(self._home) is None:
                raise no_answer(self._home) from None
            self._note = "the daemon is on its way back"
        except ControlError as error:
            self._note = error.message
        else:
            self._note = ""
            self._past.note(figures)
        return status, figures

    def _frame(self, status: StatusView, figures: FiguresView) -> Frame:
        terminal = self._terminal
        room = max(1, terminal.rows - 2)
        lines = top_lines(status, figures, self._past, terminal, time.time(), self._order)
        shown = lines if len(lines) <= room else lines[: room - 1]
        more = f"{len(lines) - len(shown)} more; " if len(lines) > len(shown) else ""
        foot = clip(make_visible(f"{more}{self._note or _OFFER}"), terminal.columns or 80, terminal.mark)
        return [*((_PAINT.sub("", line), line) for line in shown), (foot, terminal.paint(foot, "dim"))]


class _Margin(Terminal):
    """A terminal whose last column stays empty: what wipes the rest of a full line takes its last sign."""

    @property
    def columns(self) -> int | None:
        """Width in columns."""
        width = super().columns
        return None if width is None else max(1, width - 1)
