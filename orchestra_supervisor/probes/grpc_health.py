"""The grpc check: asks a server's health service, in one call on one connection without TLS.

`h2` keeps the rules of HTTP/2; grpcio would bring threads and 30 MB for two messages of a few bytes.
"""

from urllib.parse import unquote

import anyio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from orchestra_supervisor.model.checks import GrpcCheck
from orchestra_supervisor.probes.connection import ConnectError, ProbeStream, connect, connect_unix, place
from orchestra_supervisor.probes.health_messages import (
    MESSAGE_LIMIT,
    SERVING,
    BadMessage,
    encode_request,
    serving_status,
    status_name,
)
from orchestra_supervisor.probes.outcome import ProbeOutcome, Progress

__all__ = ["check_grpc"]

_CALL = 1  # the first stream of a client
_HEAD, _SETTINGS = 5, 4  # bytes that tell what is spoken; the type of a server's first frame (RFC 9113, 3.4)
_OK, _NOT_FOUND, _UNIMPLEMENTED = "0", "5", "12"
_NAMES = {
    "1": "CANCELLED",
    "2": "UNKNOWN",
    "4": "DEADLINE_EXCEEDED",
    "7": "PERMISSION_DENIED",
    "8": "RESOURCE_EXHAUSTED",
    "13": "INTERNAL",
    "14": "UNAVAILABLE",
    "16": "UNAUTHENTICATED",
}
"""Codes that an overloaded, guarded or broken server gives; others are shown as numbers."""
_LONGEST_MESSAGE = 120  # characters of what a server says


class _Negative(Exception):
    """Ends a check that did not pass, with the words for people."""


async def check_grpc(check: GrpcCheck, progress: Progress) -> ProbeOutcome:
    """Call `grpc.health.v1.Health/Check` and judge the answer.

    Args:
        check: Address, and the service that is asked for.
        progress: Kept up to date for the caller's time-out message.

    Returns:
        Passed, or what was wrong. The caller sets the deadline.
    """
    started = anyio.current_time()
    where = check.unix or place(check.host, check.port or 0)
    progress.lacking = f"no connection to {where}"
    try:
        stream = await (connect_unix(check.unix) if check.unix else connect(check.host, check.port or 0))
    except ConnectError as error:
        return ProbeOutcome(passed=False, detail=str(error), took=anyio.current_time() - started)
    progress.lacking = "no answer"
    try:
        authority = "localhost" if check.unix else where
        status = serving_status(await _Call(stream, check.service).exchange(authority))
    except (_Negative, BadMessage) as negative:
        return ProbeOutcome(passed=False, detail=str(negative), took=anyio.current_time() - started)
    finally:
        await stream.aclose()
    detail = f"gRPC {status_name(status)}"
    return ProbeOutcome(passed=status == SERVING, detail=detail, took=anyio.current_time() - started)


class _Call:
    """One call and its answer on one connection."""

    def __init__(self, stream: ProbeStream, service: str) -> None:
        self._stream = stream
        self._service = service
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._first = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._has_ended = False

    async def exchange(self, authority: str) -> bytes:
        """Send the request and return the body of the answer.

        Raises:
            _Negative: The call did not succeed; says how.
        """
        self._connection.initiate_connection()
        self._connection.send_headers(
            _CALL,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/grpc.health.v1.Health/Check"),
                (":authority", authority),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("user-agent", "orchestra-supervisor"),
            ],
        )
        self._connection.send_data(_CALL, encode_request(self._service), end_stream=True)
        await self._flush()
        while not self._has_ended:
            for event in await self._next_events():
                if not self._has_ended:  # what follows, a farewell perhaps, changes nothing
                    self._take(event)
            await self._flush()
        self._connection.close_connection()
        await self._flush()
        self._judge_call()
        return bytes(self._body)

    async def _flush(self) -> None:
        try:
            await self._stream.send(self._connection.data_to_send())
        except OSError:
            return  # a server may answer and close without reading; what it said decides

    async def _next_events(self) -> list[Event]:
        try:
            data = await self._stream.receive(MESSAGE_LIMIT)
        except (anyio.EndOfStream, OSError) as error:  # a reset is what our own frames may lead to
            raise _Negative("connection closed without an answer") from error
        # Text read as a frame's head announces megabytes, which would be waited for.
        self._first += data[: _HEAD - len(self._first)]
        if self._first == b"HTTP/":
            raise _Negative("answers in HTTP/1, so it is no gRPC server")
        if len(self._first) == _HEAD and self._first[3] != _SETTINGS:
            raise _Negative("not a valid HTTP/2 answer, so it is no gRPC server")
        try:
            return self._connection.receive_data(data)
        except ProtocolError as error:
            raise _Negative("not a valid HTTP/2 answer, so it is no gRPC server") from error

    def _take(self, event: Event) -> None:
        match event:
            case ResponseReceived() | TrailersReceived():
                self._headers |= {str(name): str(value) for name, value in event.headers}
            case DataReceived():
                self._body += event.data
                if len(self._body) > MESSAGE_LIMIT:
                    raise _Negative(f"the answer is longer than {MESSAGE_LIMIT // 1024} KiB")
            case StreamEnded():
                self._has_ended = True
            case StreamReset():
                raise _Negative(f"the server ended the call (HTTP/2 error {int(event.error_code)})")
            case ConnectionTerminated():
                raise _Negative(
                    f"the server ended the connection (HTTP/2 error {int(event.error_code or 0)})"
                )
            case _:
                pass

    def _judge_call(self) -> None:
        status = self._headers.get(":status", "")
        code = self._headers.get("grpc-status")
        if code is None:
            raise _Negative(f"HTTP {status} without a gRPC status, so it is no gRPC server")
        if code == _OK:
            return
        if code == _NOT_FOUND:
            raise _Negative(f"the server knows no service {self._service!r}")
        if code == _UNIMPLEMENTED:
            raise _Negative("the server has no health service (grpc.health.v1.Health)")
        name = _NAMES.get(code, f"status {code[:20]}")
        said = " ".join(unquote(self._headers.get("grpc-message", "")).split())[:_LONGEST_MESSAGE]
        raise _Negative(f"gRPC {name}: {said}" if said else f"gRPC {name}")
