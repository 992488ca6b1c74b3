"""`orchestra plugins`: every plugin of the fleet, where it stands and what went wrong with it."""

import json
import os
import sys

from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.shapes import PluginView
from orchestra_supervisor.cli.table import Cell, table_lines
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import make_visible
from orchestra_supervisor.control_client import rows

__all__ = ["configure", "run"]

_LOOKS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ok": ("●", "*", ("green",)),
    "suspended": ("↻", "^", ("yellow",)),
    "stuck": ("▲", "!", ("yellow",)),
    "failed": ("✗", "x", ("red", "bold")),
    "disabled": ("○", "-", ("dim",)),
}
"""State to sign, sign without Unicode, styles."""


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.json_option()


def run(options: Options) -> int:
    """Print the table; 0 whenever the daemon answered, however the plugins stand."""
    answer = ask(home_of(options.home), lambda client: client.plugins())
    if options.is_json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
        return 0
    found = [PluginView(row) for row in rows(answer, "plugins")]
    if not found:
        sys.stdout.write("no plugins: settings.plugins names none\n")
        return 0
    terminal = Terminal(sys.stdout, os.environ)
    header = ["", "NAME", "STATE", "VERSION", "CALLS", "FAILURES", "DROPPED", "HOOKS", "SOURCE", "LAST ERROR"]
    lines = table_lines(
        header,
        [_row(plugin, terminal) for plugin in found],
        terminal,
        gives_way=(8, 3, 4, 6),
        is_right={4, 5, 6},
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _row(plugin: PluginView, terminal: Terminal) -> list[Cell]:
    sign, plain, styles = _LOOKS.get(plugin.state, ("?", "?", ()))
    hooks = ", ".join(hook.removeprefix("register_") for hook in plugin.hooks)
    return [
        (sign if terminal.is_unicode else plain, styles),
        (make_visible(plugin.name), ()),
        (plugin.state, styles),
        (make_visible(plugin.version), ()),
        (str(plugin.calls), ()),
        (str(plugin.failures), ("red",) if plugin.failures else ()),
        (str(plugin.dropped), ("yellow",) if plugin.dropped else ()),
        (make_visible(hooks), ()),
        (make_visible(plugin.source), ("dim",)),
        (make_visible(plugin.last_error), ()),
    ]
