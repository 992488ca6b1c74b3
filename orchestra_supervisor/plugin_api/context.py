"""What a plugin is given when it registers: its name, its options, a log, and a way to secrets."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

__all__ = ["Options", "PluginContext", "Reveal"]

Options = Mapping[str, JsonValue]
"""The `options` of the plugin in the settings, as they stand there."""

Reveal = Callable[[str], Awaitable[str]]
"""Returns the value of a reference to a secret (`secret:NAME`), and any other text as it is."""


@dataclass(frozen=True, slots=True)
class PluginContext:
    """Handed to each hook.

    Attributes:
        name: The plugin's name in this fleet.
        options: What the settings say; the plugin checks them and raises ValueError with the fault.
        log: Writes to the supervisor's log under the plugin's name.
        timeout: Seconds that each call gets; what waits on the outside gives up earlier and says why.
        reveal: Resolves a reference to a secret at the moment it is needed. Awaited inside calls; it
            raises SecretError, always so while a configuration is only checked.
    """

    name: str
    options: Options
    log: logging.Logger
    timeout: float
    reveal: Reveal

    def allow(self, *known: str) -> None:
        """Hold the options to the keys that the plugin knows.

        Raises:
            ValueError: There is another one.
        """
        for key in self.options:
            if key not in known:
                msg = f"unknown option {key!r}; known: {', '.join(sorted(known))}"
                raise ValueError(msg)
