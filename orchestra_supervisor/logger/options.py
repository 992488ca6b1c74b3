"""What the daemon says of a log, checked: the keeper carries it without looking.

A bad value never costs a byte of output: its default holds in its place, and the fault is told.
"""

from dataclasses import dataclass
from typing import TypeVar, cast

__all__ = ["Options", "Rotation", "parse_options"]

_T = TypeVar("_T")
_MAX_BYTES = 2**63 - 1
_MAX_BACKUPS = 2**31 - 1
_MAX_SECONDS = 31_536_000.0  # one year; the limit of the daemon's specs


@dataclass(frozen=True, slots=True)
class Rotation:
    """How one log is rotated.

    Attributes:
        max_bytes: Size at which the segment is rotated; 0: never.
        backups: So many rotated segments are kept.
        compress: Rotated segments are packed.
        max_age: Seconds after a segment's first byte at which it is rotated; 0: never.
        keep_bytes: What the log may take with its rotated segments; 0: no limit.
        directory_keep_bytes: The same for all logs of its directory.
    """

    max_bytes: int = 0
    backups: int = 5
    compress: bool = True
    max_age: float = 0.0
    keep_bytes: int = 0
    directory_keep_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Options:
    """All that is said of one log.

    Attributes:
        rotation: When it is rotated and what is kept.
        faults: What could not be understood, one sentence each.
    """

    rotation: Rotation = Rotation()
    faults: tuple[str, ...] = ()


def parse_options(value: object) -> Options:
    """Return the options that a message carries. Never raises: what makes no sense is in `faults`."""
    reader = _Reader(value)
    default = Rotation()
    rotation = Rotation(
        max_bytes=reader.count("max_bytes", default.max_bytes, _MAX_BYTES),
        backups=reader.count("backups", default.backups, _MAX_BACKUPS),
        compress=reader.flag("compress", default=default.compress),
        max_age=reader.seconds("max_age", default.max_age),
        keep_bytes=reader.count("keep_bytes", default.keep_bytes, _MAX_BYTES),
        directory_keep_bytes=reader.count("directory_keep_bytes", default.directory_keep_bytes, _MAX_BYTES),
    )
    return Options(rotation, tuple(reader.faults))


class _Reader:
    """Takes values out of an object; null and what is missing stand for the default."""

    def __init__(self, value: object) -> None:
        self.faults: list[str] = []
        self._values: dict[str, object] = {}
        if isinstance(value, dict):
            self._values = cast("dict[str, object]", value)
        elif value is not None:
            self.faults.append("options are not an object")

    def count(self, key: str, default: int, limit: int) -> int:
        value = self._values.get(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limit:
            return value
        return self._refuse(key, f"a whole number from 0 to {limit}", default)

    def seconds(self, key: str, default: float) -> float:
        value = self._values.get(key)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MAX_SECONDS:
            return float(value)
        return self._refuse(key, f"a number of seconds from 0 to {_MAX_SECONDS:.0f}", default)

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._values.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        return self._refuse(key, "true or false", default)

    def _refuse(self, key: str, wanted: str, default: _T) -> _T:
        # Its own words are not shown: what stands in the place of a number may be anything.
        self.faults.append(f"{key} is not {wanted}; going on with {default!r}")
        return default
