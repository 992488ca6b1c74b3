"""`orchestra doctor`: one page on whether this host and this fleet are well."""

import json
import os
import sys
from pathlib import Path

from orchestra_supervisor.cli.connection import home_of
from orchestra_supervisor.cli.doctor.verdict import Verdict
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import make_visible, pad

__all__ = ["configure", "run"]

_LOOKS = {"ok": ("✓", "+", "green"), "warn": ("▲", "!", "yellow"), "fail": ("✗", "x", "red")}


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.json_option()


def run(options: Options) -> int:
    """Look; 0 where nothing fails, 1 where something does."""
    # It loads a good deal that the other commands, and completion, have no use for.
    from orchestra_supervisor.cli.doctor.diagnosis import diagnose

    verdicts = diagnose(Path(home_of(options.home)), Path.cwd())
    is_well = all(one.grade != "fail" for one in verdicts)
    if options.is_json:
        answer = {"ok": is_well, "checks": [one._asdict() for one in verdicts]}
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        terminal = Terminal(sys.stdout, os.environ)
        sys.stdout.writelines(f"{line}\n" for one in verdicts for line in _lines(one, terminal))
    return 0 if is_well else 1


def _lines(verdict: Verdict, terminal: Terminal) -> list[str]:
    sign, plain, color = _LOOKS[verdict.grade]
    word = terminal.paint(f"{sign if terminal.is_unicode else plain} {pad(verdict.grade, 4)}", color)
    lines = [f"{word}  {pad(verdict.subject, 15)}  {make_visible(verdict.text)}"]
    if verdict.hint:
        lines.append(f"{pad('', 25)}{terminal.paint('hint:', 'cyan')} {make_visible(verdict.hint)}")
    return lines
