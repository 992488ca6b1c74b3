"""`orchestra run`: run periodic and once services now, beside their schedules."""

from orchestra_supervisor.cli.commands.verbs import print_results
from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.words import seconds_of, split_names
from orchestra_supervisor.control_client import WAIT_TIMEOUT

__all__ = ["configure", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.names(is_required=True)
    parser.option("--wait", action="store_true", dest="is_waiting", help="until the run is over")
    parser.option(
        "--timeout", type=seconds_of, default=WAIT_TIMEOUT, metavar="S", help="longest wait (default: 2m)"
    )
    parser.option("--reason", default="", metavar="TEXT", help="why, for the journal")
    parser.json_option()


def run(options: Options) -> int:
    """Ask for it; 0 where every run was taken on, with --wait: where every run succeeded."""
    names = split_names(options.names)
    answer = ask(
        home_of(options.home),
        lambda client: client.run(
            names,
            wait="completed" if options.is_waiting else "none",
            timeout=options.timeout,
            reason=options.reason,
        ),
        is_read=False,
    )
    return print_results(answer, "run", is_json=options.is_json)
