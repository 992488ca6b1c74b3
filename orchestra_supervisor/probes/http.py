"""The http check: one request on one connection, judged by status and body.

Redirects are not followed: the status that the service itself gave is what counts.
"""

import contextlib
import functools
import ssl

import anyio
import anyio.abc
import h11
from anyio import to_thread
from anyio.streams.tls import TLSStream

from orchestra_supervisor.model.line_pattern import LinePattern
from orchestra_supervisor.model.spec import HttpCheck
from orchestra_supervisor.probes.connection import ConnectError, ProbeStream, connect, connect_unix, place
from orchestra_supervisor.probes.outcome import ProbeOutcome, Progress
from orchestra_supervisor.probes.request import BadRequest, PreparedRequest, prepare

__all__ = ["BODY_LIMIT", "check_http"]

BODY_LIMIT = 64 * 1024
"""Bytes of a body that are read and searched; the rest is left unread."""
DRAIN_TIME = 0.1
"""Seconds that a server gets to finish its body after the verdict: closing under its hands would
put a broken pipe into its log at every probe."""
MATCH_TIME = 0.5
"""Seconds that searching the body may take; a sound pattern needs less than a millisecond."""
_MATCH_TIME_HERE = 0.01  # of them in the event loop, which a thread would cost more than nearly any search


class _Negative(Exception):
    """Ends a check that did not pass, with the words for people."""


async def check_http(check: HttpCheck, progress: Progress) -> ProbeOutcome:
    """Send the check's request and judge the answer.

    Args:
        check: URL, socket, method, headers, accepted status, pattern of the body.
        progress: Kept up to date for the caller's time-out message.

    Returns:
        Passed, or what was wrong. The caller sets the deadline.
    """
    started = anyio.current_time()
    try:
        request = prepare(check)
        where = check.unix or place(request.host, request.port)
        progress.lacking = f"no connection to {where}"
        stream = await (connect_unix(check.unix) if check.unix else connect(request.host, request.port))
    except (BadRequest, ConnectError) as error:
        return ProbeOutcome(passed=False, detail=str(error), took=anyio.current_time() - started)
    try:
        exchange = _Exchange(await _secured(stream, request, progress) if request.tls else stream)
        passed, detail = await exchange.judge(check, request, progress)
        progress.outcome = ProbeOutcome(passed=passed, detail=detail, took=anyio.current_time() - started)
        await exchange.drain()
    except _Negative as negative:
        return ProbeOutcome(passed=False, detail=str(negative), took=anyio.current_time() - started)
    else:
        return progress.outcome
    finally:
        await stream.aclose()


async def _is_found(pattern: LinePattern, text: str) -> bool:
    """Search a pattern; one that takes long goes on in a thread, where it holds up nobody.

    Raises:
        TimeoutError: It takes over MATCH_TIME.
    """
    try:
        return pattern.search(text, concurrent=False, timeout=_MATCH_TIME_HERE) is not None
    except TimeoutError:
        search = functools.partial(pattern.search, text, concurrent=True, timeout=MATCH_TIME)
        return await to_thread.run_sync(search, abandon_on_cancel=True) is not None


class _Exchange:
    """One request and its answer on one connection."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._connection = h11.Connection(h11.CLIENT)
        self._body = bytearray()
        self._answered = False

    async def judge(self, check: HttpCheck, request: PreparedRequest, progress: Progress) -> tuple[bool, str]:
        """Return whether the answer is the wanted one, and what it was.

        Raises:
            _Negative: No whole answer came.
        """
        progress.lacking = "no answer"
        status = await self._answer(request.head)
        low, high = check.status
        if not low <= status <= high:
            wanted = str(low) if low == high else f"{low}-{high}"
            return False, f"HTTP {status} (wanted {wanted})"
        if request.pattern is None:
            return True, f"HTTP {status}"
        progress.lacking = f"HTTP {status}, but its body did not end"
        await self._read_body()
        try:
            is_found = await _is_found(request.pattern, self._body.decode("utf-8", "replace"))
        except (TimeoutError, MemoryError):
            return False, f"/{request.match}/ was not found in the body within {MATCH_TIME:g} s"
        if not is_found:
            return False, f"body does not match /{request.match}/"
        return True, f"HTTP {status}, body matches /{request.match}/"

    async def drain(self) -> None:
        """Let the server finish within DRAIN_TIME and BODY_LIMIT; failures do not matter any more."""
        with anyio.move_on_after(DRAIN_TIME):
            try:
                await self._read_body()
            except _Negative:
                return

    async def _answer(self, head: h11.Request) -> int:
        data = self._connection.send(head) + (self._connection.send(h11.EndOfMessage()) or b"")
        # A server may answer and close without reading; what it said decides.
        with contextlib.suppress(OSError, anyio.BrokenResourceError):
            await self._stream.send(data)
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                self._answered = True
                return event.status_code
            if not isinstance(event, h11.InformationalResponse):
                raise _Negative("connection closed without an answer")

    async def _read_body(self) -> None:
        while self._connection.their_state is h11.SEND_BODY and len(self._body) < BODY_LIMIT:
            event = await self._next_event()
            if not isinstance(event, h11.Data):
                return
            self._body += event.data[: BODY_LIMIT - len(self._body)]

    async def _next_event(self) -> object:
        try:
            while (event := self._connection.next_event()) is h11.NEED_DATA:
                self._connection.receive_data(await self._receive())
        except h11.RemoteProtocolError as error:
            raise _Negative(self._protocol_error(error)) from error
        return event

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive(BODY_LIMIT)
        except anyio.EndOfStream:
            return b""
        except ssl.SSLError as error:
            raise _Negative(f"TLS failed: {error.reason or 'broken'}") from error
        except (OSError, anyio.BrokenResourceError) as error:
            when = "in the middle of the body" if self._answered else "without an answer"
            raise _Negative(f"connection reset {when}") from error

    def _protocol_error(self, error: h11.RemoteProtocolError) -> str:
        if self._answered:
            return f"broken body: {str(error)[:80]}"
        unread, closed = self._connection.trailing_data
        if closed:
            return f"connection closed {'in the middle of' if unread else 'without'} an answer"
        return f"not a valid HTTP answer: {str(error)[:80]}"


async def _secured(stream: ProbeStream, request: PreparedRequest, progress: Progress) -> anyio.abc.ByteStream:
    where = place(request.host, request.port)
    progress.lacking = f"no TLS connection to {where}"
    try:
        return await TLSStream.wrap(
            stream, hostname=request.host, ssl_context=_tls_context(), standard_compatible=False
        )
    except ssl.SSLCertVerificationError as error:
        raise _Negative(f"certificate of {where} is not trusted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise _Negative(f"TLS failed at {where}: {error.reason or 'not TLS'}") from error
    except (OSError, UnicodeError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
        raise _Negative(f"TLS failed at {where}: connection closed") from error


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Return the one context of all probes: system trust, names checked. Loading it costs milliseconds."""
    return ssl.create_default_context()
