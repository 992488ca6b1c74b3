"""Start of the logger: `python -I -S .../orchestra_supervisor/logger/__main__.py`, by the keeper."""

import os
import resource
import signal
import sys
from contextlib import suppress

if __name__ == "__main__":
    # Isolated and without site, the interpreter knows only its own library: name the place of ours.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
    from orchestra_supervisor.later import put_off_inspect

    put_off_inspect()  # 1.2 MB that `dataclasses` hardly ever uses

from orchestra_supervisor.logger.loop import Logger, complain
from orchestra_supervisor.wire.channel import FD_VARIABLE, Channel, inherited_socket

__all__ = ["main"]

# A terminal, a service manager or a shutdown script may signal every process there is. The logger ends
# when the keeper says so, or when nothing is left to write.
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ)
_UMASK = 0o027


def main() -> int:
    """Run the logger on the socket that the keeper handed down; return its exit status."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.umask(_UMASK)
    # A pipe for each stream and two files for each log: the usual soft limit is for 300 services.
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with suppress(OSError, KeyError):
        os.chdir(os.environ["ORCHESTRA_HOME"])  # not where the keeper was started: that may be unmounted
    try:
        sock = inherited_socket(os.environ)
    except (KeyError, ValueError, OSError) as error:
        complain(f"no socket of a keeper in {FD_VARIABLE}: {error}; hint: the keeper starts the logger")
        return 2
    return Logger(Channel(sock)).run()


if __name__ == "__main__":
    sys.exit(main())
