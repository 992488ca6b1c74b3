"""`orchestra reload`: read the configuration again and apply what changed."""

import json
import sys
from argparse import Namespace

from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.parser import CommandParser
from orchestra_supervisor.cli.text import make_visible
from orchestra_supervisor.control_client import rows

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.json_option()


def run(options: Namespace) -> int:
    """Reload; a refused configuration is an error and changes nothing."""
    answer = ask(home_of(options.home), lambda client: client.reload(), is_read=False)
    if options.is_json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
        return 0
    is_changed = False
    for word, sign in (("added", "+"), ("removed", "-"), ("changed", "~")):
        names = answer.get(word)
        if isinstance(names, list) and names:
            is_changed = True
            shown = ", ".join(make_visible(str(name)) for name in names)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON
            sys.stdout.write(f"{sign} {word}: {shown}\n")
    rolls = rows(answer, "rolls")
    for roll in rolls:
        is_changed = True
        shown = make_visible(f"{roll.get('name')} {roll.get('state')}: {roll.get('message')}")
        sys.stdout.write(f"~ rolling {shown}\n")
    unchanged = answer.get("unchanged")
    if not is_changed:
        sys.stdout.write("nothing changed\n")
    elif isinstance(unchanged, int):
        sys.stdout.write(f"  unchanged: {unchanged}\n")
    stopped = [str(roll.get("name")) for roll in rolls if roll.get("state") == "stopped"]
    if stopped:
        sys.stdout.flush()
        hint = f"`orchestra events --service {stopped[0]}` tells more; the next reload tries again"
        raise ActionFailed(f"the new configuration did not hold for {', '.join(stopped)}", hint=hint)
    return 0
