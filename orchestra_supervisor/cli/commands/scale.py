"""`orchestra scale`: have another number of replicas of a service."""

from orchestra_supervisor.cli.commands.verbs import print_results
from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.words import UnfitWord, UsageError, seconds_of, whole_of
from orchestra_supervisor.control_client import WAIT_TIMEOUT

__all__ = ["configure", "counts_of", "run"]

_HINT = "orchestra scale web=5 api=2"


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.names(is_required=True, what="NAME=N: a service with replicas, and how many there are to be")
    parser.option(
        "--wait", choices=("ready", "none"), default="ready", help="what to wait for (default: ready)"
    )
    parser.option(
        "--timeout", type=seconds_of, default=WAIT_TIMEOUT, metavar="S", help="longest wait (default: 2m)"
    )
    parser.option("--reason", default="", metavar="TEXT", help="why, for the journal")
    parser.json_option()


def run(options: Options) -> int:
    """Do it; 0 where every replica that is new is ready, and every one that goes is down."""
    replicas = counts_of(options.names)
    answer = ask(
        home_of(options.home),
        lambda client: client.scale(
            replicas, wait=options.wait, timeout=options.timeout, reason=options.reason
        ),
        is_read=False,
    )
    return print_results(answer, "scale", is_json=options.is_json)


def counts_of(words: list[str]) -> dict[str, int]:
    """Return name to number of words like `web=5`."""
    counts: dict[str, int] = {}
    for word in (part for group in words for part in group.split(",") if part):
        name, sign, number = word.rpartition("=")
        if not sign or not name:
            raise UsageError(f"{word!r} does not say how many", _HINT)
        try:
            counts[name] = whole_of(number)
        except UnfitWord as error:
            raise UsageError(f"{word!r}: {error}", _HINT) from error
    return counts
