"""Start of the gateway: `python -P -m orchestra_supervisor.gateway`, by the keeper."""

import logging
import os
import resource
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio

from orchestra_supervisor.gateway.app import inherited_sockets, run_gateway

__all__ = ["main"]

_HINT = "the fleet starts the gateway by itself"


def main() -> int:
    """Run the gateway of $ORCHESTRA_HOME on the sockets that it was started with; return its exit status."""
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        home = Path(os.environ["ORCHESTRA_HOME"])
        sockets = inherited_sockets(os.environ)
    except (KeyError, ValueError, OSError) as error:
        sys.stderr.write(f"orchestra: no state directory or no sockets: {error!r}; hint: {_HINT}\n")
        return 2
    # A connection for each client and one for each server: the usual soft limit is for a thousand.
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return anyio.run(partial(run_gateway, home, sockets))


if __name__ == "__main__":
    sys.exit(main())
