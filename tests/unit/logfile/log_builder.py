"""Builds logs as the logger would, byte by byte, and says which lines they hold."""

import gzip
from dataclasses import dataclass, field
from pathlib import Path

from orchestra_supervisor.logfile.index import (
    STREAM_CODES,
    Flag,
    Record,
    encode_header,
    encode_record,
)

__all__ = ["LogBuilder", "ModelLine"]

ModelLine = tuple[str, int, bytes, bool]
"""Stream, run, bytes, complete."""


@dataclass
class LogBuilder:
    """Writes a log with its index, and keeps the model: lines in the order of their last bytes.

    `offset` is where the next byte goes in the file.
    """

    path: Path
    records_always: bool = False
    _done: list[tuple[int, ModelLine]] = field(default_factory=list[tuple[int, ModelLine]])
    _open: dict[tuple[str, int], tuple[int, bytes]] = field(
        default_factory=dict[tuple[str, int], tuple[int, bytes]]
    )
    _written: int = 0
    _clock: int = 1_000_000_000
    offset: int = 0
    _last: tuple[str, int] | None = None
    _segments: int = 0

    def __post_init__(self) -> None:
        self._begin()

    @property
    def lines(self) -> list[ModelLine]:
        """Every line as it stands now, in the order of their last bytes."""
        begun = [(at, (*source, data, False)) for source, (at, data) in self._open.items()]
        return [line for _, line in sorted(self._done + begun)]

    @property
    def now(self) -> float:
        return self._clock / 1e9

    def set_clock(self, seconds: int) -> None:
        """Have the next line come a second after this instant."""
        self._clock = seconds * 1_000_000_000

    def write(self, stream: str, run: int, data: bytes) -> None:
        self._clock += 1_000_000_000
        source = (stream, run)
        if source != self._last or self.records_always:
            self._record(Record(self._clock, self.offset, run, STREAM_CODES[stream]))
            self._last = source
        self._append(self.path, data)
        self.offset += len(data)
        _, begun = self._open.pop(source, (0, b""))
        position = self._written - len(begun)
        self._written += len(data)
        *ended, rest = (begun + data).split(b"\n")
        for line in ended:
            position += len(line) + 1
            self._done.append((position, (*source, line, True)))
        if rest:
            self._open[source] = (self._written, rest)

    def drop(self, stream: str, run: int) -> None:
        """Bytes were lost here: no line goes on."""
        self._record(Record(self._clock, self.offset, run, STREAM_CODES[stream], int(Flag.DROPPED)))
        self._last = (stream, run)
        self._done += [(at, (*source, data, False)) for source, (at, data) in self._open.items()]
        self._open.clear()

    def end(self, stream: str, run: int) -> None:
        self._record(Record(self._clock, self.offset, run, STREAM_CODES[stream], int(Flag.END)))
        self._last = None

    def rotate(self, *, packed: bool) -> str:
        self._segments += 1
        target = f"{self.path}.20260101T000000.{self._segments:06d}Z"
        self.path.rename(target)
        Path(f"{self.path}.idx").rename(f"{target}.idx")
        if packed:
            self.pack(target)
        self._begin()
        return target

    def pack(self, target: str) -> None:
        Path(f"{target}.gz").write_bytes(gzip.compress(Path(target).read_bytes(), 1))
        Path(target).unlink()

    def _begin(self) -> None:
        self._append(Path(f"{self.path}.idx"), encode_header(1000 + self._segments))
        self._append(self.path, b"")
        self.offset, self._last = 0, None

    def _record(self, record: Record) -> None:
        self._append(Path(f"{self.path}.idx"), encode_record(record))

    def _append(self, path: Path, data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data)
