"""The logger's loop: what the keeper says, what the pipes hold, what is due."""

import os
import select
import selectors
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import cast

from orchestra_supervisor.journald import WARNING, with_priority
from orchestra_supervisor.logfile.index import STREAM_CODES, run_number
from orchestra_supervisor.logger.copies import Copies
from orchestra_supervisor.logger.directory import Directories
from orchestra_supervisor.logger.logfile import LogFile
from orchestra_supervisor.logger.options import Options, parse_options, parse_secrets
from orchestra_supervisor.logger.packer import Packer
from orchestra_supervisor.logger.pipe import Peeker, Pipe
from orchestra_supervisor.logger.relay import Relays
from orchestra_supervisor.logger.retention import Retention
from orchestra_supervisor.logger.sink import Sink, Surroundings
from orchestra_supervisor.logger.timers import Timers
from orchestra_supervisor.wire.channel import Channel, ChannelClosed
from orchestra_supervisor.wire.frames import Message, WireError

__all__ = ["Logger", "complain"]

_RELAY_FLUSH = 1.0  # seconds for the last lines to other destinations
_FLUSH = 2.0  # seconds for the last words to the keeper


def complain(text: str) -> None:
    """Say something to whoever reads our stderr; nobody has to."""
    with suppress(OSError, ValueError):
        print(with_priority(f"orchestra logger: {text}", WARNING), file=sys.stderr, flush=True)  # noqa: T201  # stderr is all we have


class Logger:
    """Writes the logs that the keeper hands it.

    Args:
        channel: The connection to the keeper.
    """

    def __init__(self, channel: Channel) -> None:
        self._selector = selectors.DefaultSelector()
        self._channel: Channel | None = channel
        self._channel_mask = selectors.EVENT_READ
        self._timers = Timers()
        self._directories = Directories()
        self._packer = Packer(self._selector, self._on_packed)
        self._retention = Retention(self._timers, lambda: self._packer.is_busy, self._event)
        self._sinks: dict[str, Sink] = {}
        self._is_quitting = False
        self._last_options: tuple[object, Options] = (None, parse_options(None))
        self._peeker = Peeker()
        self._relays = Relays(self._selector, self._timers, self._event)
        self._copies = Copies(self._timers, self._event)
        self._around = Surroundings(
            self._timers,
            self._peeker,
            self._relays,
            self._copies,
            self._watch,
            self._unwatch,
            self._event,
            self._eof,
        )
        self._selector.register(channel, self._channel_mask, self._on_channel)

    def run(self) -> int:
        """Write until told to quit, or until the keeper is gone and every pipe at its end.

        Returns:
            The exit status: 1 when the keeper broke the protocol and must start a new logger.
        """
        code = 0
        try:
            while not self._is_quitting and (self._channel is not None or self._has_pipes()):
                events = self._selector.select(self._timers.wait())
                for key, _ in events:
                    call: Callable[[], object] = key.data
                    call()
                self._timers.run()
                self._watch_channel()
            if self._is_quitting:
                self._drain()
        except WireError as error:
            complain(f"the keeper broke the protocol: {error}; hint: the keeper starts a new logger")
            code = 1
        self._end()
        return code

    def _has_pipes(self) -> bool:
        return any(sink.pipes for sink in self._sinks.values())

    # -- the keeper

    def _on_channel(self) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            if channel.wants_write:
                channel.on_writable()
            messages = channel.on_readable()
        except ChannelClosed as error:
            self._lose_channel(str(error))
            return
        for message, fds in messages:
            self._handle(message, fds)

    def _handle(self, message: Message, fds: list[int]) -> None:
        kind = message["type"]
        try:
            if kind == "open":
                self._open(message, fds)
            elif kind == "log_config":
                path = _path_of(message)
                if path in self._sinks:
                    self._configure(path, self._options(message))
            elif kind == "quit":
                self._is_quitting = True
        except (KeyError, TypeError, ValueError) as error:
            complain(f"message {kind!r} makes no sense: {type(error).__name__} {error}")
        finally:
            for fd in fds:
                os.close(fd)

    def _open(self, message: Message, fds: list[int]) -> None:
        """Let pipes flow into their logs. Descriptors that were not taken stay in `fds`, for the caller.

        Raises:
            TypeError: The message makes no sense.
        """
        options, secrets = self._options(message), parse_secrets(message.get("secrets"))
        pipes = message.get("pipes", [message])  # one pipe by itself: of an older keeper
        if not isinstance(pipes, list):
            raise TypeError("pipes are not a list")
        left = list(fds)
        told = ""
        for named in cast("list[object]", pipes):
            fd = left.pop(0) if left else -1
            try:
                path, pipe = _pipe_of(named, fd, secrets or ())
            except (KeyError, TypeError, ValueError) as error:  # the others are as good without it
                complain(f"message 'open' makes no sense: {type(error).__name__} {error}")
                continue
            if path != told:  # once for the streams of a run, which stand side by side
                told = path
                self._configure(path, options)
                if secrets is None:
                    self._event("misconfigured", {"path": path, "reason": "secrets are not a list of texts"})
            self._sinks[path].add(pipe)
            fds.remove(fd)

    def _options(self, message: Message) -> Options:
        """Return the options of a message; most have those of the message before."""
        given = message.get("options")
        if given != self._last_options[0]:
            self._last_options = (given, parse_options(given))
        return self._last_options[1]

    def _configure(self, path: str, options: Options) -> None:
        """Go on with these options for a log, or begin with it; what makes no sense is told."""
        self._retention.limit(path, options.rotation)
        for fault in options.faults:
            self._event("misconfigured", {"path": path, "reason": fault})
        sink = self._sinks.get(path)
        if sink is None:
            log = LogFile(path, options.rotation, self._directories, self._packer)
            sink = self._sinks[path] = Sink(log, self._around)
        sink.configure(options)

    def _send(self, message: Message) -> bool:
        if self._channel is None:
            return False
        try:
            self._channel.send(message)
        except ChannelClosed as error:
            self._lose_channel(str(error))
            return False
        return True

    def _event(self, kind: str, facts: dict[str, object]) -> None:
        is_told = self._send({"type": "event", "kind": kind, **facts})
        if not is_told and kind in {"dropped", "unwritable", "limited"}:
            complain(f"{kind} {facts}")
        if kind == "rotated":
            self._retention.look()
        if kind in {"dropped", "limited"}:
            self._forget_if_done(str(facts["path"]))

    def _eof(self, pipe: Pipe) -> None:
        self._send({"type": "eof", "run": pipe.run, "stream": pipe.stream})

    def _lose_channel(self, reason: str) -> None:
        """Go on without a keeper until every pipe is at its end; without a protocol, end.

        Raises:
            WireError: The keeper is there, but what it says cannot be understood. It keeps
                duplicates of every pipe, so that nothing is lost by ending at once.
        """
        channel, self._channel = self._channel, None
        if channel is None:
            return
        is_gone = _is_hung_up(channel)
        self._selector.unregister(channel)
        channel.close()
        if not is_gone:
            raise WireError(reason)

    def _watch_channel(self) -> None:
        """Wait for the channel to be writable only while something waits to be sent."""
        channel = self._channel
        if channel is None:
            return
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.wants_write else 0)
        if mask != self._channel_mask:
            self._channel_mask = mask
            self._selector.modify(channel, mask, self._on_channel)

    # -- the pipes

    def _watch(self, sink: Sink, pipe: Pipe) -> None:
        if not pipe.is_watched:
            pipe.is_watched = True
            self._selector.register(pipe.fd, selectors.EVENT_READ, partial(self._on_pipe, sink, pipe))

    def _unwatch(self, pipe: Pipe) -> None:
        if pipe.is_watched:
            pipe.is_watched = False
            self._selector.unregister(pipe.fd)

    def _on_pipe(self, sink: Sink, pipe: Pipe) -> None:
        if pipe.is_watched:  # else another pipe of the same turn has found the log unwritable
            sink.on_readable(pipe)
            if not sink.pipes:
                self._forget_if_done(sink.log.path)

    def _forget_if_done(self, path: str) -> None:
        if path in self._sinks and self._sinks[path].is_done:
            self._sinks.pop(path).close()
            self._retention.forget(path)

    def _on_packed(self) -> None:
        self._retention.look()

    # -- the end

    def _drain(self) -> None:
        """Write what the pipes hold at this moment."""
        for sink in list(self._sinks.values()):
            for pipe in list(sink.pipes):
                sink.drain(pipe, pipe.waiting() + 1)  # one more meets the end of file

    def _end(self) -> None:
        for sink in list(self._sinks.values()):
            with suppress(WireError):
                sink.close()
        with suppress(WireError):
            self._copies.close()
        with suppress(WireError):
            self._relays.close(_RELAY_FLUSH)
        self._packer.stop()
        self._peeker.close()
        deadline = time.monotonic() + _FLUSH
        with suppress(ChannelClosed):
            while self._channel is not None and self._channel.wants_write and time.monotonic() < deadline:
                select.select([], [self._channel], [], deadline - time.monotonic())
                self._channel.on_writable()


def _pipe_of(named: object, fd: int, secrets: tuple[bytes, ...]) -> tuple[str, Pipe]:
    """Return a pipe as a message names it, and the path of its log.

    Raises:
        KeyError, TypeError, ValueError: It makes no sense.
    """
    if not isinstance(named, dict):
        raise TypeError("a pipe is not an object")
    message = cast("Message", named)
    path, run, stream = _path_of(message), str(message["run"]), str(message["stream"])
    pipe = Pipe(fd, run, str(message.get("slot", "")), run_number(run), stream, STREAM_CODES[stream], secrets)
    if fd < 0:
        raise ValueError("no descriptor came with it")
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        raise ValueError("the descriptor is not a pipe")
    os.set_blocking(fd, False)  # os takes it by position only
    return path, pipe


def _path_of(message: Message) -> str:
    path = message["path"]
    if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
        msg = f"path {path!r} is not absolute"
        raise ValueError(msg)
    return path


def _is_hung_up(channel: Channel) -> bool:
    poll = select.poll()
    poll.register(channel.fileno(), 0)
    return any(mask & (select.POLLHUP | select.POLLERR) for _, mask in poll.poll(0))
