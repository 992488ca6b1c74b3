"""`orchestra reload`: read the configuration again and apply what changed, or have services read theirs."""

import json
import os
import sys

from orchestra_supervisor.cli.commands.plan import show_plan
from orchestra_supervisor.cli.commands.verbs import print_results
from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.planview import plan_lines
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import make_visible
from orchestra_supervisor.cli.words import UsageError, split_names
from orchestra_supervisor.control_client import rows

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.names(
        is_required=False,
        what="services, globs, or `all`: told to read their own configuration again, by their `reload`; "
        "without NAMES the fleet's files are read again",
    )
    parser.option("--dry-run", action="store_true", help="as `orchestra plan`: only say what would be done")
    parser.json_option()


def _tell(options: Options, names: list[str]) -> int:
    if options.dry_run:
        raise UsageError("orchestra reload: --dry-run is for files alone", "leave out NAMES or --dry-run")
    answer = ask(home_of(options.home), lambda client: client.tell(names), is_read=False)
    return print_results(answer, "reload", is_json=options.is_json)


def run(options: Options) -> int:
    """Reload; a refused configuration is an error and changes nothing."""
    names = split_names(options.names)
    if names:
        return _tell(options, names)
    if options.dry_run:
        return show_plan(options, [])
    answer = ask(home_of(options.home), lambda client: client.reload(), is_read=False)
    rolls = rows(answer, "rolls")
    if options.is_json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        lines = plan_lines(answer, Terminal(sys.stdout, os.environ), is_done=True)
        told = (f"rolling {roll.get('name')} {roll.get('state')}: {roll.get('message')}" for roll in rolls)
        sys.stdout.write("\n".join([*lines, *map(make_visible, told)]) + "\n")
    stopped = [str(roll.get("name")) for roll in rolls if roll.get("state") == "stopped"]
    if stopped:
        from orchestra_supervisor.cli.errors import ActionFailed  # 10 ms, and mostly none is stopped

        sys.stdout.flush()
        hint = f"`orchestra events --service {stopped[0]}` tells more; the next reload tries again"
        raise ActionFailed(f"the new configuration did not hold for {', '.join(stopped)}", hint=hint)
    return 0
