"""`orchestra mcp`: the way from an MCP client to the fleet, and what belongs to it.

Without an action it becomes the pump that clients start: another program, which loads next to nothing.
"""

import os
import sys
from pathlib import Path

from orchestra_supervisor.cli.connection import home_of
from orchestra_supervisor.cli.parser import CommandParser, Options
from orchestra_supervisor.cli.words import UsageError, seconds_of

__all__ = ["ACTIONS", "configure", "run"]

ACTIONS = {
    "install": (
        {"gateway", "profile", "server", "start", "config", "name", "dry-run", "print", "project"},
        1,
    ),
    "uninstall": ({"name", "dry-run", "project"}, 1),
    "list": ({"project", "json"}, 9),
    "import": ({"profile", "name", "into", "yes", "dry-run", "project"}, 1),
    "bundle": ({"gateway", "profile", "server", "portable"}, 1),
    "tools": ({"gateway", "profile", "server", "timeout", "json"}, 0),
    "call": ({"timeout", "json"}, 999),
    "url": ({"gateway", "profile", "server"}, 1),
    "token": ({"role", "list", "revoke", "json"}, 1),
}
"""Action to the options that it takes and how many words."""
_PUMP_OPTIONS = {"gateway", "profile", "server", "start", "config"}
_TIMEOUT = 60.0  # seconds


def configure(parser: CommandParser) -> None:
    """Say what it takes."""
    parser.argument(
        "action",
        nargs="?",
        choices=list(ACTIONS),
        metavar="ACTION",
        help=f"{', '.join(ACTIONS)}; without one: serve the client that has started this",
    )
    parser.argument(
        "words", is_told=False, nargs="*", metavar="WORDS", help="a client, a file, a server and a tool, ..."
    )
    parser.option("--gateway", action="store_true", help="the tools of all servers, not the control tools")
    parser.option("--profile", metavar="NAME", help="of the gateway: as this profile has it")
    parser.option("--server", metavar="NAME", help="this server alone")
    parser.option("--start", action="store_true", help="start the fleet where none runs")
    parser.option(
        "-c", "--config", action="append", default=[], metavar="FILE", help="of that fleet, may repeat"
    )
    parser.option("--name", metavar="NAME", help="install: of the entry (default: orchestra)")
    parser.option(
        "--project", action="store_true", dest="is_project", help="the client's file in this directory"
    )
    parser.option("--dry-run", action="store_true", help="show the change and make none")
    parser.option("--print", action="store_true", dest="is_print", help="install: print the entry alone")
    parser.option("--into", metavar="FILE", help="import: where the servers go")
    parser.option("--yes", action="store_true", help="import: do not ask")
    parser.option("--portable", action="store_true", help="bundle: for other hosts too")
    parser.option("--role", choices=["viewer", "operator", "admin"], help="token: default operator")
    parser.option("--list", action="store_true", dest="is_list", help="token: those that there are")
    parser.option("--revoke", metavar="NAME", help="token: refuse it from now on")
    parser.option("--timeout", type=seconds_of, metavar="S", help="tools, call: for an answer (default: 60)")
    parser.json_option()


def run(options: Options) -> int:
    """Serve a client, or carry an action out."""
    _check(options)
    home = Path(home_of(options.home))
    if options.action is None:
        return _serve(options, home)
    options.name = options.name or "orchestra"
    options.timeout = options.timeout or _TIMEOUT
    from orchestra_supervisor.cli.mcp.entry import Endpoint

    endpoint = Endpoint(
        is_gateway=options.gateway, profile=options.profile or "", server=options.server or ""
    )
    match options.action:
        case "install" | "uninstall" | "list":
            from orchestra_supervisor.cli.mcp import installing

            if options.action == "install":
                return installing.install(options, home, endpoint)
            return (
                installing.uninstall(options)
                if options.action == "uninstall"
                else installing.list_clients(options)
            )
        case "import":
            from orchestra_supervisor.cli.mcp.importing import import_servers

            return import_servers(options, home)
        case "tools" | "call":
            from orchestra_supervisor.cli.mcp.tools import call_tool, list_tools

            return (
                call_tool(options, home) if options.action == "call" else list_tools(options, home, endpoint)
            )
        case "bundle":
            return _bundle(options, home, endpoint)
        case _:
            from orchestra_supervisor.cli.mcp.access import manage_tokens, print_url

            return (
                print_url(options, home, endpoint)
                if options.action == "url"
                else manage_tokens(options, home)
            )


def _serve(options: Options, home: Path) -> int:
    if sys.stdin.isatty():
        sys.stderr.write(
            "orchestra mcp: speaks MCP on stdin and stdout, a JSON object a line; Ctrl-D ends it\n"
            "  hint: `orchestra mcp install CLIENT` has a client start it; `orchestra help mcp`\n"
        )
    from orchestra_supervisor.cli.mcp.entry import Endpoint, pump_words

    endpoint = Endpoint(
        is_gateway=options.gateway, profile=options.profile or "", server=options.server or ""
    )
    files = [Path(os.path.abspath(file)) for file in options.config]  # noqa: PTH100 - keeps symbolic links
    words = pump_words(home, endpoint, files if options.start else None)
    os.execv(words[0], words)  # noqa: S606 - a fresh interpreter has a third of our memory
    return 0


def _bundle(options: Options, home: Path, endpoint: object) -> int:
    from orchestra_supervisor.cli.errors import ActionFailed
    from orchestra_supervisor.cli.mcp.entry import Endpoint
    from orchestra_supervisor.cli.mcp.mcpb import manifest_of, write_bundle
    from orchestra_supervisor.model.errors import ConflictError

    assert isinstance(endpoint, Endpoint)
    target = Path(options.words[0] if options.words else "orchestra.mcpb")
    manifest = manifest_of(os.path.abspath(home), endpoint, is_portable=options.portable)  # noqa: PTH100 - keeps symbolic links
    try:
        write_bundle(target, manifest)
    except FileExistsError as error:
        raise ConflictError(
            f"{target} is there already", hint="name another file, or move it away"
        ) from error
    except OSError as error:
        raise ActionFailed(f"{target} cannot be made: {error.strerror}", hint="name another file") from error
    sys.stdout.write(f"{target}\n")
    sys.stderr.write("open it with Claude Desktop, which asks for the state directory\n")
    return 0


def _check(options: Options) -> None:
    """Refuse options that the action does not take, rather than let them mean nothing."""
    allowed, most = ACTIONS[options.action] if options.action else (_PUMP_OPTIONS, 0)
    given = {
        "gateway": options.gateway,
        "profile": options.profile,
        "server": options.server,
        "start": options.start,
        "config": options.config,
        "name": options.name,
        "project": options.is_project,
        "dry-run": options.dry_run,
        "print": options.is_print,
        "into": options.into,
        "yes": options.yes,
        "portable": options.portable,
        "role": options.role,
        "list": options.is_list,
        "revoke": options.revoke,
        "timeout": options.timeout,
        "json": options.is_json,
    }
    what = f"orchestra mcp {options.action}" if options.action else "orchestra mcp without an action"
    for name, value in given.items():
        if value and name not in allowed:
            takers = [action for action, (taken, _) in ACTIONS.items() if name in taken]
            raise UsageError(f"{what} takes no --{name}", f"it belongs to {', '.join(takers)}")
    if len(options.words) > most:
        raise UsageError(f"{what}: unexpected argument {options.words[most]!r}", "orchestra help mcp")
    if options.server and (options.gateway or options.profile):
        raise UsageError("--server and --gateway exclude each other", "a profile is of the gateway")
    if options.config and not options.start:
        raise UsageError("--config belongs to --start", "it names the files of the fleet to be started")
