"""What the daemon says of a log, checked: the keeper carries it without looking.

A bad value never costs a byte of output: its default holds in its place, and the fault is told.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, cast

from orchestra_supervisor.logger.copies import CopyTarget
from orchestra_supervisor.logger.destinations import Destination, Route
from orchestra_supervisor.logger.limit import RateLimit

__all__ = ["Options", "Rotation", "Treatment", "parse_options", "parse_secrets"]

_T = TypeVar("_T")
_STREAMS = ("stdout", "stderr", "both")
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
class Treatment:
    """What is done to the lines of one log.

    Attributes:
        redact: Matches are replaced.
        redact_secrets: So are the values of the run's secrets.
        is_json: Each line is written as an object.
        limit: How much may come in a time.
        sinks: Where each line goes besides the file.
        files: Further files that get a copy.
    """

    redact: tuple[re.Pattern[bytes], ...] = ()
    redact_secrets: bool = True
    is_json: bool = False
    limit: RateLimit | None = None
    sinks: tuple[Route, ...] = ()
    files: tuple[CopyTarget, ...] = ()

    @property
    def needs_lines(self) -> bool:
        """True when bytes cannot be moved without a look at them, whosever they are."""
        return bool(self.redact or self.is_json or self.limit or self.sinks or self.files)

    @property
    def is_plain(self) -> bool:
        """True when lines need not be looked at one by one."""
        return not (self.is_json or self.limit or self.sinks)


@dataclass(frozen=True, slots=True)
class Options:
    """All that is said of one log.

    Attributes:
        rotation: When it is rotated and what is kept.
        treatment: What is done to its lines.
        faults: What could not be understood, one sentence each.
    """

    rotation: Rotation = Rotation()
    treatment: Treatment = Treatment()
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
    treatment = Treatment(
        redact=reader.patterns("redact"),
        redact_secrets=reader.flag("redact_secrets", default=True),
        is_json=reader.choice("format", "raw", ("raw", "json")) == "json",
        limit=_limit(reader.inner("rate_limit")),
        sinks=_sinks(reader),
        files=_files(reader),
    )
    return _known(Options(rotation, treatment, tuple(reader.faults)))


@lru_cache(maxsize=256)
def _known(options: Options) -> Options:
    return options  # most logs have the same


def parse_secrets(value: object) -> tuple[bytes, ...] | None:
    """Return the secrets that a message carries; None when it is something else, which is not shown."""
    if value is None:
        return ()
    if not isinstance(value, list):
        return None
    items = cast("list[object]", value)
    texts = [item.encode("utf-8", "surrogateescape") for item in items if isinstance(item, str)]
    return tuple(texts) if len(texts) == len(items) else None


def _files(reader: "_Reader") -> tuple[CopyTarget, ...]:
    found: list[CopyTarget] = []
    for number, inner in enumerate(reader.inners("files")):
        path = inner.text("path")
        if not path.startswith("/") or "\0" in path:
            reader.faults.append(f"files: number {number + 1} has no absolute path; going on without it")
            continue
        stream = inner.choice("stream", "both", _STREAMS)
        max_bytes = inner.count("max_bytes", 0, _MAX_BYTES)
        found.append(CopyTarget(path, stream, max_bytes, inner.count("backups", 10, _MAX_BACKUPS)))
    return tuple(found)


def _sinks(reader: "_Reader") -> tuple[Route, ...]:
    found: list[Route] = []
    for number, inner in enumerate(reader.inners("sinks")):
        protocol = inner.choice("protocol", "", ("journald", "rfc5424", "rfc3164", "console"))
        transport = inner.choice("transport", "unix", ("unix", "udp", "tcp", "stream"))
        host, port = inner.text("address"), inner.count("port", 0, 65_535)
        has_port = transport in ("udp", "tcp")
        if not protocol or not host or has_port != bool(port):
            reader.faults.append(f"sinks: number {number + 1} makes no sense; going on without it")
            continue
        address = (host, port) if has_port else host
        layout = inner.choice("layout", "raw", ("raw", "prefix", "json"))
        destination = Destination(protocol, transport, address, inner.count("facility", 3, 23), layout)
        found.append(Route(destination, inner.choice("stream", "both", _STREAMS)))
    return tuple(found)


def _limit(reader: "_Reader | None") -> RateLimit | None:
    if reader is None:
        return None
    size = reader.count("bytes", 0, _MAX_BYTES)
    per = reader.seconds("per", 1.0)
    if not size or not per:
        reader.faults.append("rate_limit needs bytes and per above 0; going on without a limit")
        return None
    burst = reader.count("burst", 0, _MAX_BYTES) or size
    is_blocking = reader.choice("on_limit", "drop", ("drop", "block")) == "block"
    return RateLimit(size, per, burst, is_blocking)


class _Reader:
    """Takes values out of an object; null and what is missing stand for the default."""

    def __init__(self, value: object, faults: list[str] | None = None) -> None:
        self.faults: list[str] = [] if faults is None else faults
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

    def choice(self, key: str, default: str, known: tuple[str, ...]) -> str:
        value = self._values.get(key)
        if value is None:
            return default
        return str(value) if value in known else self._refuse(key, f"one of {', '.join(known)}", default)

    def inner(self, key: str) -> "_Reader | None":
        value = self._values.get(key)
        return None if value is None else _Reader(value, self.faults)

    def inners(self, key: str) -> "list[_Reader]":
        value = self._values.get(key)
        items = cast("list[object]", value) if isinstance(value, list) else []
        if value is not None and not isinstance(value, list):
            self._refuse(key, "a list", default=None)
        return [_Reader(item, self.faults) for item in items]

    def text(self, key: str) -> str:
        value = self._values.get(key)
        return value if isinstance(value, str) else ""

    def patterns(self, key: str) -> tuple[re.Pattern[bytes], ...]:
        value = self._values.get(key)
        items = cast("list[object]", value) if isinstance(value, list) else []
        if value is not None and not isinstance(value, list):
            return self._refuse(key, "a list of regular expressions", ())
        found: list[re.Pattern[bytes]] = []
        for number, item in enumerate(items):
            try:
                found.append(re.compile(str(item).encode("utf-8", "surrogateescape")))
            except (re.error, UnicodeError, OverflowError, RecursionError):
                self.faults.append(
                    f"{key}: number {number + 1} is no regular expression; going on without it"
                )
        return tuple(found)

    def _refuse(self, key: str, wanted: str, default: _T) -> _T:
        # Its own words are not shown: what stands in the place of a number may be anything.
        self.faults.append(f"{key} is not {wanted}; going on with {default!r}")
        return default
