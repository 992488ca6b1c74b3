"""What all backends have in common."""

from orchestra_supervisor.gateway.backends.callbacks import Callbacks
from orchestra_supervisor.gateway.backends.channel import StdioChannel
from orchestra_supervisor.gateway.backends.memory import EraMemory

__all__ = ["Surroundings"]


class Surroundings:
    """See the module.

    Args:
        channel: Of the stdio servers.
        memory: Of what servers said.
        callbacks: To the daemon.
    """

    def __init__(self, channel: StdioChannel, memory: EraMemory, callbacks: Callbacks) -> None:
        self.channel = channel
        self.memory = memory
        self.callbacks = callbacks
