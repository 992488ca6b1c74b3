"""One listener: what it says on its stdout, and what that makes of it. No I/O.

Listeners are held to the protocol as strictly as supervisord holds them to it: whoever says anything else
is UNKNOWN, and gets no more events until it is started again. Two things are stricter, for supervisord has
no bound there: an answer that is too long, and a negative length.

Source: supervisor 4.3, `dispatchers.py` (PEventListenerDispatcher).
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["LONGEST", "Fate", "Listener", "ListenerState", "Verdict"]

LONGEST = 1024 * 1024
"""Bytes of one answer, and of a line without an end."""
_READY = b"READY\n"
_RESULT = len(b"RESULT ")
_OK = b"OK"


class ListenerState(StrEnum):
    """Where a listener stands."""

    ACKNOWLEDGED = "acknowledged"
    """It has yet to say READY."""
    READY = "ready"
    BUSY = "busy"
    """It has an event, and has yet to answer."""
    UNKNOWN = "unknown"
    """It broke the protocol."""


class Fate(StrEnum):
    """What became of the event that a listener had."""

    TAKEN = "taken"
    REJECTED = "rejected"
    """It goes back to the pool."""
    NONE = "none"
    """It had none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of something that a listener said.

    Attributes:
        fate: Of its event.
        text: For the log, in supervisord's words; empty: nothing to say.
    """

    fate: Fate
    text: str = ""


@dataclass(slots=True)
class Listener:
    """One run of a listener.

    Attributes:
        name: Of the process, for messages.
        run: Which run.
        state: Where it stands.
        buffer: What it has said and was not understood yet.
        result: The part of its answer that is there.
        length: Bytes that its answer has, or None: it has not said.
    """

    name: str
    run: str
    state: ListenerState = ListenerState.ACKNOWLEDGED
    buffer: bytes = b""
    result: bytes = b""
    length: int | None = None

    def give(self) -> None:
        """It was given an event."""
        assert self.state is ListenerState.READY, "only who is ready gets an event"
        self.state = ListenerState.BUSY

    def feed(self, data: bytes) -> list[Verdict]:
        """Take what it says; return what became of the event that it has, and what else there is to tell."""
        verdicts: list[Verdict] = []
        self.buffer += data
        while self.buffer:
            match self.state:
                case ListenerState.UNKNOWN:
                    self.buffer = b""
                case ListenerState.READY:
                    verdicts.append(self._break())
                case ListenerState.ACKNOWLEDGED:
                    if len(self.buffer) < len(_READY):
                        break
                    if self.buffer.startswith(_READY):
                        self.buffer = self.buffer[len(_READY) :]
                        self.state = ListenerState.READY
                    else:
                        verdicts.append(self._break())
                case ListenerState.BUSY:
                    if self.length is None and b"\n" not in self.buffer and len(self.buffer) <= LONGEST:
                        break
                    verdicts += self._read_length() if self.length is None else self._read_result(self.length)
        return verdicts

    def _read_length(self) -> list[Verdict]:
        line, _, self.buffer = self.buffer.partition(b"\n")
        try:
            length = int(line[_RESULT:])
        except ValueError:
            length = -1
        if not 0 <= length <= LONGEST:
            shown = line[:200].decode("utf-8", "backslashreplace")
            text = f"{self.name}: bad result line: '{shown}'"
            return [Verdict(Fate.REJECTED, text), self._break()]
        self.length = length
        return []

    def _read_result(self, length: int) -> list[Verdict]:
        needed = length - len(self.result)
        self.result += self.buffer[:needed]
        self.buffer = self.buffer[needed:]
        if len(self.result) < length:
            return []
        was_taken, self.result, self.length = self.result == _OK, b"", None
        self.state = ListenerState.ACKNOWLEDGED
        if was_taken:
            return [Verdict(Fate.TAKEN)]
        return [Verdict(Fate.REJECTED, f"{self.name}: event was rejected")]

    def _break(self) -> Verdict:
        self.state, self.buffer, self.result, self.length = ListenerState.UNKNOWN, b"", b"", None
        text = (
            f"{self.name}: has entered the UNKNOWN state and will no longer receive events, this usually "
            "indicates the process violated the eventlistener protocol"
        )
        return Verdict(Fate.NONE, text)
