"""Event sinks and notifiers: who is told what happened."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.plugin_api.context import Options

__all__ = ["EventFilter", "EventSink", "GiveUp", "Notice", "Notifier", "TryLater", "seconds_of"]

DEFAULT_KINDS = ("service.failed", "service.unhealthy", "fleet.*")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}
_LONGEST = 86_400.0  # seconds: what is a day old is no news


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a notifier wants, and how often.

    Attributes:
        on: Globs of kinds.
        services: Globs of services; empty: all, and what concerns no service.
        min_interval: Seconds between two notices; what happens between goes into the next.
    """

    on: tuple[str, ...] = DEFAULT_KINDS
    services: tuple[str, ...] = ()
    min_interval: float = 0.0

    @classmethod
    def from_options(cls, options: Options) -> "EventFilter":
        """Return the filter that the options `on`, `services` and `min_interval` (`"30s"`) ask for.

        Raises:
            ValueError: One of them is not what it should be.
        """
        on = _globs(options, "on") or DEFAULT_KINDS
        pause = seconds_of(options.get("min_interval", 0), "min_interval")
        return cls(on, _globs(options, "services"), pause)

    def wants(self, event: Event) -> bool:
        """Tell whether an event passes."""
        if not any(fnmatch.fnmatchcase(event.kind, glob) for glob in self.on):
            return False
        return not self.services or any(fnmatch.fnmatchcase(event.service, one) for one in self.services)


def _globs(options: Options, key: str) -> tuple[str, ...]:
    value = options.get(key, [])
    entries = cast("list[object]", value if isinstance(value, list) else [value])
    if not all(isinstance(entry, str) and entry for entry in entries):
        raise ValueError(f"option `{key}` must be a list of names or globs")
    return tuple(str(entry) for entry in entries)


def seconds_of(value: object, option: str) -> float:
    """Return the seconds of an option: a number of them, or a text like 500ms, 30s, 10m.

    Args:
        value: As it stands in the options.
        option: Its name, for the message.

    Raises:
        ValueError: It is no span of time, or longer than a day.
    """
    match = _SPAN.fullmatch(str(value)) if not isinstance(value, bool) else None
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else -1.0
    if not 0 <= seconds <= _LONGEST:
        msg = f"option `{option}` must be a span of time up to a day, like 30s or 10m"
        raise ValueError(msg)
    return seconds


@dataclass(frozen=True, slots=True)
class Notice:
    """What a person is to be told.

    Attributes:
        events: The newest, in their order; never empty.
        held_back: How many more there were since the last notice.
    """

    events: tuple[Event, ...]
    held_back: int = 0


class TryLater(Exception):
    """Raised where what is on the other side is away or busy: no failure of the plugin.

    Args:
        seconds: The same batch or notice comes again after this time; at most an hour.
        reason: Why, one line, never secrets.
    """

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds = min(max(seconds, 0.0), 3_600.0)


class GiveUp(Exception):
    """Raised by a sink or notifier for what its receiver will never take: it does not come again.

    Args:
        reason: Why, one line, never secrets.
    """


class EventSink(Protocol):
    """Takes every event, in order, in batches."""

    @property
    def name(self) -> str:
        """Return the word for it in messages."""
        ...

    async def take(self, events: Sequence[Event]) -> None:
        """Take a batch. When it raises or is late, the same batch comes again: at least once.

        Raises:
            TryLater: The receiver is away; the plugin itself is well.
            GiveUp: The receiver refuses this batch for good.
        """
        ...


class Notifier(Protocol):
    """Tells people of some events."""

    @property
    def name(self) -> str:
        """Return the word for it in messages."""
        ...

    @property
    def filter(self) -> EventFilter:
        """Return which events it wants, and how often; asked once."""
        ...

    async def notify(self, notice: Notice) -> None:
        """Tell it. When it raises or is late, the same notice comes again: at least once.

        Raises:
            TryLater: The receiver is away; the plugin itself is well.
            GiveUp: The receiver refuses this notice for good.
        """
        ...
