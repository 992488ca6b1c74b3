"""`python -m orchestra_supervisor.servers.context`: what is in a project tree and what changes there."""

import os
import sys
from collections.abc import Sequence

from orchestra_supervisor.servers.context.api import build_app
from orchestra_supervisor.servers.context.tracker import Tracker
from orchestra_supervisor.servers.hosting import serve
from orchestra_supervisor.servers.settings import ServerError, argument_parser, complain, settings_from

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; return the exit status."""
    parser = argument_parser("context", "Watches a project tree and tells what is in it and what changes.")
    parser.add_argument(
        "--root", metavar="DIR", help="the tree ($ORCHESTRA_CONTEXT_ROOT, default the working directory)"
    )
    args = parser.parse_args(argv)
    try:
        settings = settings_from("context", args, os.environ)
        root = os.path.realpath(args.root or os.environ.get("ORCHESTRA_CONTEXT_ROOT") or ".")
        if not os.path.isdir(root):  # noqa: PTH112 - the package speaks of paths as str
            raise ServerError(f"the root {root} is no directory", "name one with --root")
        if root == "/":
            raise ServerError("the root / is no project", "name a directory below it with --root")
        tracker = Tracker(root)
        return serve(settings, build_app(tracker), on_stop=tracker.feed.end)
    except ServerError as error:
        return complain("context", error)


if __name__ == "__main__":
    sys.exit(main())
