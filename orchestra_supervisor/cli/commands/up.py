"""`orchestra up`: check the configuration, start the keeper, watch the fleet become ready."""

import os
import subprocess
import sys
from pathlib import Path

from orchestra_supervisor.cli.errors import exit_status_of
from orchestra_supervisor.cli.launch import (
    Plan,
    acquire_lock,
    choose_home,
    find_config_files,
    prepare_home,
    replace_by_keeper,
)
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.screen import Screen
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.words import UsageError, seconds_of, split_names

__all__ = ["configure", "run"]

_CHECK_LIMIT = 60.0  # seconds; a check reads files and starts nothing


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.option(
        "-c", "--config", action="append", default=[], metavar="FILE", help="configuration file, may repeat"
    )
    parser.option("--detach", action="store_true", help="return when the services are settled")
    parser.option(
        "--only", action="append", default=[], metavar="NAMES", help="start only these and what they need"
    )
    parser.option(
        "--timeout",
        type=seconds_of,
        default=60.0,
        metavar="S",
        help="how long to watch the start before going on (default: 60)",
    )
    parser.option(
        "--logs",
        choices=("off", "raw", "prefix", "json"),
        help="with --exec: what the services write goes to our output, too (default: `settings.console`)",
    )
    parser.option(
        "--exec", action="store_true", dest="is_exec", help="become the keeper: for systemd and containers"
    )


def run(options: Options) -> int:
    """Start a fleet; see docs/cli.md for the exit statuses of its forms."""
    if options.is_exec and options.detach:
        raise UsageError("--exec and --detach exclude each other", "--exec stays where it is, as the keeper")
    if options.logs and not options.is_exec:
        raise UsageError(
            "--logs is for --exec", "without it the logs are shown as `orchestra logs` shows them"
        )
    files = find_config_files(options.config, Path.cwd())
    home = choose_home(options.home, os.environ, files)
    prepare_home(home)
    lock_fd = acquire_lock(home)
    console = (options.logs or "auto") if options.is_exec else ""
    plan = Plan(home, files, split_names(options.only), console)
    screen = Screen(Terminal(sys.stderr, os.environ))
    screen.show([("checking the configuration", "checking the configuration")])
    status = _check(plan, screen)
    screen.end_region()
    if status:
        os.close(lock_fd)
        return status
    if options.is_exec:
        replace_by_keeper(plan, lock_fd)
    if options.detach:
        from orchestra_supervisor.cli.detached import watch_detached

        return watch_detached(plan, lock_fd, options.timeout)
    from orchestra_supervisor.cli.foreground import watch_foreground

    return watch_foreground(plan, lock_fd, options.timeout)


def _check(plan: Plan, screen: Screen) -> int:
    """Check the files in another process, as this one stays small; show what must be known now.

    Returns:
        0, or the exit status of the failure.
    """
    argv = [sys.executable, "-P", "-m", "orchestra_supervisor", "check", "--for-up"]
    try:
        done = subprocess.run(
            [*argv, "--", *map(str, plan.files)],
            env=plan.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_CHECK_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        from orchestra_supervisor.cli.errors import ActionFailed

        raise ActionFailed(
            f"the check of the configuration did not end within {_CHECK_LIMIT:g} s",
            hint="`orchestra check` alone shows where it stays",
        ) from None
    screen.end_region()
    sys.stderr.write(done.stdout.decode("utf-8", "replace"))
    if done.returncode:
        sys.stderr.write("nothing was started\n")
    return done.returncode if done.returncode >= 0 else exit_status_of("internal")
