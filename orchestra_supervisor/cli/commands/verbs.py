"""`orchestra start`, `stop` and `restart`: change what is wanted of services, and wait until it is so."""

import json
import os
import sys

from orchestra_supervisor.cli.connection import ask, home_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.render import result_line
from orchestra_supervisor.cli.shapes import ResultView
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.words import UsageError, count_of, seconds_of, split_names
from orchestra_supervisor.control_client import WAIT_TIMEOUT, ControlClient, Json, rows

__all__ = ["configure", "print_results", "run"]


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    goal = "stopped" if parser.verb == "stop" else "ready"
    choices = ("stopped", "ready", "none") if parser.verb == "stop" else ("ready", "none")
    parser.names(is_required=True)
    parser.option("--wait", choices=choices, default=goal, help=f"what to wait for (default: {goal})")
    parser.option(
        "--timeout", type=seconds_of, default=WAIT_TIMEOUT, metavar="S", help="longest wait (default: 2m)"
    )
    if parser.verb == "restart":
        parser.option(
            "--rolling", action="store_true", help="one replica at a time; the next when it is ready"
        )
        parser.option(
            "--batch", type=count_of, default=1, metavar="N", help="with --rolling: N at a time (default: 1)"
        )
    parser.option("--with-dependents", action="store_true", help="also those that depend on them")
    parser.option("--reason", default="", metavar="TEXT", help="why, for the journal")
    parser.json_option()
    parser.fixed["verb"] = parser.verb


def run(options: Options) -> int:
    """Do it; 0 where every service did what was asked."""
    names = split_names(options.names)
    # `stop --wait ready` is a slip of the fingers that means: until it is done.
    wait = "stopped" if options.verb == "stop" and options.wait == "ready" else options.wait
    is_rolling = options.verb == "restart" and options.rolling
    if is_rolling and options.with_dependents:
        hint = "restart the dependents by themselves, or without --rolling"
        raise UsageError("--rolling and --with-dependents exclude each other", hint)

    def act(client: ControlClient) -> Json:
        if is_rolling:
            return client.restart(
                names, batch=options.batch, wait=wait, timeout=options.timeout, reason=options.reason
            )
        verbs = {"start": client.start, "stop": client.stop, "restart": client.restart}
        return verbs[options.verb](
            names,
            wait=wait,
            timeout=options.timeout,
            with_dependents=options.with_dependents,
            reason=options.reason,
        )

    answer = ask(home_of(options.home), act, is_read=False)
    return print_results(answer, options.verb, is_json=options.is_json)


def print_results(answer: Json, verb: str, *, is_json: bool) -> int:
    """Print one line a service.

    Raises:
        ActionFailed: Some did not do what was asked.
    """
    results = [ResultView(row) for row in rows(answer, "results")]
    if is_json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        terminal = Terminal(sys.stdout, os.environ)
        sys.stdout.writelines(result_line(result, terminal) + "\n" for result in results)
    failed = [result.name for result in results if not result.is_ok]
    if failed:
        from orchestra_supervisor.cli.errors import ActionFailed  # 10 ms, and mostly nothing fails

        sys.stdout.flush()
        raise ActionFailed(
            f"{verb} did not succeed for {', '.join(failed)}",
            hint=f"`orchestra logs {failed[0]}` and `orchestra events --service {failed[0]}` tell more",
        )
    return 0
