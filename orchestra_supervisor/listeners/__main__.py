"""Start of the process that speaks with event listeners: `python -P -m orchestra_supervisor.listeners`."""

import os
import sys

from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.listeners.memory import Memory
from orchestra_supervisor.listeners.process import Listening, say
from orchestra_supervisor.wire.channel import STDIO_VARIABLE, inherited_socket

__all__ = ["main"]


def main() -> int:
    """Speak with the listeners of $ORCHESTRA_HOME; return the exit status."""
    try:
        home = os.environ["ORCHESTRA_HOME"]
        channel = inherited_socket(os.environ, STDIO_VARIABLE)
        memory = Memory(os.path.join(home, "listeners"))
    except (KeyError, ValueError, OSError) as error:
        say(f"no state directory or no channel: {error!r}; hint: the fleet starts this by itself")
        return 2
    try:
        return Listening(socket_path(home), channel, memory).run()
    finally:
        memory.close()


if __name__ == "__main__":
    sys.exit(main())
