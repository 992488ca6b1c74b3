"""`python -m orchestra_supervisor.servers.memory`: the memory server, MCP over streamable HTTP."""

import os
import sys
from collections.abc import Sequence

from orchestra_supervisor.servers.hosting import configure_logging, serve
from orchestra_supervisor.servers.memory.store import Store
from orchestra_supervisor.servers.memory.tools import build_app
from orchestra_supervisor.servers.settings import ServerError, argument_parser, complain, settings_from

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; return the exit status."""
    args = argument_parser(
        "memory", "An MCP server that remembers texts (streamable HTTP at /mcp)."
    ).parse_args(argv)
    configure_logging()  # before the SDK sets up the root logger its own way
    try:
        settings = settings_from("memory", args, os.environ)
        store = Store(settings.data / "memory.sqlite3")
        try:
            return serve(settings, build_app(store, settings))
        finally:
            store.database.close()
    except ServerError as error:
        return complain("memory", error)


if __name__ == "__main__":
    sys.exit(main())
