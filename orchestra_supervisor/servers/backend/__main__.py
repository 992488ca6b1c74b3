"""`python -m orchestra_supervisor.servers.backend`: the platform's HTTP API."""

import os
import sys
from collections.abc import Sequence

from orchestra_supervisor.servers.backend.api import build_app
from orchestra_supervisor.servers.backend.store import Store
from orchestra_supervisor.servers.hosting import serve
from orchestra_supervisor.servers.settings import ServerError, argument_parser, complain, settings_from

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; return the exit status."""
    args = argument_parser("backend", "The platform's HTTP API over SQLite.").parse_args(argv)
    try:
        settings = settings_from("backend", args, os.environ)
        store = Store(settings.data / "backend.sqlite3")
        try:
            return serve(settings, build_app(store, settings))
        finally:
            store.database.close()
    except ServerError as error:
        return complain("backend", error)


if __name__ == "__main__":
    sys.exit(main())
