"""`orchestra wait`: return when services are where a script needs them."""

import json
import os
import sys

from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.render import result_line
from orchestra_supervisor.cli.shapes import ResultView
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.words import seconds_of, split_names
from orchestra_supervisor.control_client import WAIT_TIMEOUT, ControlClient, ControlError, Json, rows

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.names(is_required=True)
    parser.option(
        "--for",
        dest="condition",
        choices=("ready", "stopped", "completed"),
        default="ready",
        help="what to wait for (default: ready)",
    )
    parser.option(
        "--timeout", type=seconds_of, default=WAIT_TIMEOUT, metavar="S", help="longest wait (default: 2m)"
    )
    parser.json_option()


def run(options: Options) -> int:
    """Wait; 0 when the condition is met, 7 when it was not in time."""
    names = split_names(options.names)
    # A wait changes nothing, so it may be asked again after a daemon was replaced.
    try:
        answer = ask(home_of(options.home), lambda client: _wait(client, names, options))
    except ControlError as error:
        if "results" not in error.context:
            raise
        answer = {"met": False, "results": error.context["results"]}
    results = [ResultView(row) for row in rows(answer, "results")]
    if options.is_json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        terminal = Terminal(sys.stdout, os.environ)
        sys.stdout.writelines(result_line(result, terminal) + "\n" for result in results)
    if answer.get("met") is True:
        return 0
    from orchestra_supervisor.model.errors import WaitTimeout  # 10 ms, and mostly the condition is met

    sys.stdout.flush()
    behind = [f"{result.name} is {result.after}" for result in results if not result.is_ok]
    what = f": {', '.join(behind)}" if behind else ""
    raise WaitTimeout(
        f"not {options.condition} within {options.timeout:g} s{what}",
        hint="`orchestra status` says what they wait for; --timeout allows more",
    )


def _wait(client: ControlClient, names: list[str], options: Options) -> Json:
    return client.wait(names, options.condition, timeout=options.timeout)
