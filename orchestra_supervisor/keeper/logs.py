"""The read ends of the services' output, kept until the logger has written all of it."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from orchestra_supervisor.keeper.loop import Loop, Timer
from orchestra_supervisor.keeper.request import LogTarget
from orchestra_supervisor.keeper.runs import Run
from orchestra_supervisor.wire.frames import MAX_FDS, Message

__all__ = ["LogPipes"]

_RETRY_AFTER = 1.0  # seconds until a hand-over that failed for want of descriptors is repeated

_Key = tuple[str, str]
"""Run and stream."""


@dataclass(slots=True, eq=False)
class _Pipe:
    """One stream of one run."""

    fd: int
    slot: str
    log: LogTarget


class LogPipes:
    """Hands read ends to the logger, and to every new logger again.

    What is taken in one turn of the loop is handed over at its end, in as few messages as it fits into: each
    message wakes the logger, and while a fleet starts it is the programs that are waited for.

    Args:
        loop: The keeper's loop.
        send: Sends a message with descriptors to the logger. Returns False when it could not.
    """

    def __init__(self, loop: Loop, send: Callable[[Message, list[int]], bool]) -> None:
        self._loop = loop
        self._send = send
        self._serial = 0
        self._pipes: dict[_Key, _Pipe] = {}
        self._unhanded: dict[_Key, _Pipe] = {}
        self._timer: Timer | None = None

    def take(self, run: Run) -> None:
        """Take over the streams of a run and hand them on."""
        streams, run.streams = run.streams, {}
        self._take(run, run.run, streams)

    def take_beside(self, run: Run, name: str, streams: dict[str, int]) -> None:
        """Take over the streams of a command beside a run; in its log they are those of `RUN:NAME`."""
        self._take(run, f"{run.run}:{name}-{self._serial}", streams)

    def _take(self, run: Run, label: str, streams: dict[str, int]) -> None:
        self._serial += 1
        log = run.log
        if log is None:
            return
        for stream, fd in streams.items():
            self._pipes[label, stream] = self._unhanded[label, stream] = _Pipe(fd, run.slot, log)
        if len(self._unhanded) == MAX_FDS:  # more wait only while they cannot be handed over
            self.offer()
        elif self._unhanded:
            self._offer_later(0.0)

    def configure(self, log: LogTarget) -> None:
        """Pass on other options for a log; the next logger is told the same."""
        for pipe in self._pipes.values():
            if pipe.log.path == log.path:
                pipe.log = replace(pipe.log, options=log.options)
        self._send({"type": "log_config", "path": log.path, "options": log.options}, [])

    def offer(self, *, again: bool = False) -> None:
        """Hand over what the logger does not have; everything when it is a new one (`again`)."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if again:
            self._unhanded = dict(self._pipes)
        for batch in _batches(list(self._unhanded.items())):
            if self._send(_opening(batch), [pipe.fd for _, pipe in batch]):
                for key, _ in batch:
                    self._unhanded.pop(key, None)  # who failed may have been followed by one who took all
        if self._unhanded:
            self._offer_later(_RETRY_AFTER)

    def _offer_later(self, delay: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(delay, self.offer)

    def finished(self, run: object, stream: object) -> None:
        """Close the duplicate of a stream that is all in its file."""
        key = str(run), str(stream)
        self._unhanded.pop(key, None)
        pipe = self._pipes.pop(key, None)
        if pipe is not None:
            os.close(pipe.fd)


def _batches(pipes: Iterable[tuple[_Key, _Pipe]]) -> Iterator[list[tuple[_Key, _Pipe]]]:
    """Cut into what one message can hold: as many descriptors, and the same options and secrets."""
    batch: list[tuple[_Key, _Pipe]] = []
    for key, pipe in pipes:
        is_other = bool(batch) and _treatment(batch[0][1]) != _treatment(pipe)
        if is_other or len(batch) == MAX_FDS:
            yield batch
            batch = []
        batch.append((key, pipe))
    if batch:
        yield batch


def _treatment(pipe: _Pipe) -> tuple[object, object]:
    return pipe.log.options, pipe.log.secrets


def _opening(batch: list[tuple[_Key, _Pipe]]) -> Message:
    pipes = [
        {"run": label, "slot": pipe.slot, "stream": stream, "path": pipe.log.path}
        for (label, stream), pipe in batch
    ]
    options, secrets = _treatment(batch[0][1])
    return {"type": "open", "pipes": pipes, "options": options, "secrets": secrets}
