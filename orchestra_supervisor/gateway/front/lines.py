"""The front for the socket of the shim: a hello, then MCP messages, one JSON object a line, both ways.

A connection is a handshake conversation, or stateless requests, or both: each message says what it is. What
a client does wrong is told to that client alone; one that does not read is not read from either.

Source: the MCP specification, `basic/transports/stdio.mdx`, whose framing this is.
"""

import logging
import secrets

import anyio
from anyio.abc import ByteStream, TaskGroup

from orchestra_supervisor.gateway.front import core
from orchestra_supervisor.gateway.front.changes import notification_of
from orchestra_supervisor.gateway.front.conversation import Conversation, Running
from orchestra_supervisor.gateway.front.eras import (
    check_envelope,
    handshake_caller,
    has_envelope,
    stateless_caller,
)
from orchestra_supervisor.gateway.front.hello import MAX_HELLO, path_of_hello
from orchestra_supervisor.gateway.front.identity import Identity
from orchestra_supervisor.gateway.front.served import Places, Served
from orchestra_supervisor.gateway.front.turn import Turn
from orchestra_supervisor.gateway.front.wire import (
    MAX_MESSAGE,
    as_object,
    decode,
    encode,
    error_response,
    id_of,
    is_notification,
    is_response,
    method_of,
    params_of,
    result_response,
)
from orchestra_supervisor.gateway.messages import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    Json,
    RequestId,
    RpcError,
)

__all__ = ["HELLO_TIME", "LineFront"]

HELLO_TIME = 10.0
"""Seconds that a client has for its first line."""

_CHUNK = 64 * 1024
_OUTBOX = 16  # messages that wait for a client to read; then those who send wait as well
_MAX_BAD = 100  # messages in a row that are none, after which a connection is closed
_DRAIN_TIME = 2.0  # seconds that a client's last requests get when it has closed its side
_WRITE_TIME = 60.0  # seconds that a client may leave unread what it was sent

_log = logging.getLogger("orchestra.gateway")


class LineFront:
    """Talks with those who come by the socket.

    Args:
        places: What is served where.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._ending = anyio.Event()
        self._stamp = secrets.token_hex(4)
        self._open: dict[_Line, None] = {}

    @property
    def connections(self) -> int:
        """Return how many clients are connected."""
        return len(self._open)

    @property
    def running(self) -> int:
        """Return how many requests are being answered."""
        return sum(len(line.running) for line in self._open)

    def end(self) -> None:
        """Tell those who listen that the gateway ends; what is being answered goes on."""
        self._ending.set()

    def cancel(self) -> None:
        """Stop answering: whoever still waits is told to ask again."""
        for line in self._open:
            line.stop()

    @property
    def is_written(self) -> bool:
        """Return whether all clients were sent all that there is."""
        return all(line.is_written and not len(line.running) for line in self._open)

    def close(self) -> None:
        """End all connections."""
        for line in self._open:
            line.close()

    def check_places(self) -> None:
        """Close the connections whose endpoint is not served any more, or by another."""
        for line in self._open:
            if line.served is not None and self._places.find(line.served.path) is not line.served:
                line.close()

    async def talk(self, stream: ByteStream, identity: Identity) -> None:
        """Talk with one client until it leaves; closes the connection.

        Args:
            stream: The connection.
            identity: Who it is.
        """
        line = _Line(stream, identity, self._ending, f"{self._stamp}-{secrets.token_hex(3)}")
        self._open[line] = None
        try:
            async with stream:
                await line.talk(self._places)
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the client left
        except* Exception:  # noqa: BLE001 - a connection's edge
            _log.exception("a connection of %s failed", identity.principal)
        finally:
            del self._open[line]


class _Line:
    """One connection."""

    def __init__(self, stream: ByteStream, identity: Identity, ending: anyio.Event, name: str) -> None:
        self.served: Served | None = None
        self.running = Running()
        self._stream = stream
        self._identity = identity
        self._ending = ending
        self._name = name
        self._conversation: Conversation | None = None
        self._outbox, self._written = anyio.create_memory_object_stream[bytes](_OUTBOX)
        self._unsent = 0
        self._scope = anyio.CancelScope()
        self._stopped = False
        self._bad = 0

    def stop(self) -> None:
        """Stop answering."""
        self._stopped = True
        self.running.cancel_all()

    def close(self) -> None:
        """End the connection."""
        self._scope.cancel()

    @property
    def is_written(self) -> bool:
        """Return whether the client was sent all that there is."""
        if self._unsent:
            return False
        if self.served is None:
            return True
        # What is sent to a writer that waits is in its hands, and in no buffer, before it runs again.
        outbox = self._written.statistics()
        return outbox.tasks_waiting_receive > 0 and not outbox.current_buffer_used

    async def talk(self, places: Places) -> None:
        """Talk until the client leaves."""
        reader = _Reader(self._stream)
        with self._scope, self._outbox, self._written:
            try:
                self.served = await self._greet(reader, places)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write)
                    await self._read(reader, self.served, tasks)
                    with anyio.move_on_after(_DRAIN_TIME):
                        while len(self.running) or not self.is_written:  # noqa: ASYNC110 - each says so itself
                            await anyio.sleep(0.01)
                    tasks.cancel_scope.cancel()
            except RpcError as error:
                await self._stream.send(encode(error_response(None, error)) + b"\n")
            finally:
                if self._conversation is not None:
                    self._conversation.close()

    async def _greet(self, reader: "_Reader", places: Places) -> Served:
        """Return whom the client wants to talk with, by its first line."""
        with anyio.move_on_after(HELLO_TIME):
            path = path_of_hello(await reader.next(MAX_HELLO) or b"")
            served = places.find(path)
            if served is None:
                raise RpcError(INVALID_REQUEST, f"nothing is served at {path}: is the name right?")
            return served
        raise RpcError(INVALID_REQUEST, f"the first line did not come within {HELLO_TIME:g} s")

    async def _read(self, reader: "_Reader", served: Served, tasks: TaskGroup) -> None:
        while self._bad < _MAX_BAD:
            try:
                text = await reader.next(MAX_MESSAGE)
                if text is None:
                    return
                message = decode(text)
                method = "" if is_response(as_object(message)) else method_of(message)
            except RpcError as error:
                self._bad += 1
                await self._send(error_response(None, error))
                continue
            self._bad = 0
            await self._take(served, as_object(message), method, tasks)
        farewell = RpcError(INVALID_REQUEST, f"{_MAX_BAD} lines in a row were no messages: goodbye")
        await self._send(error_response(None, farewell))

    async def _take(self, served: Served, message: Json, method: str, tasks: TaskGroup) -> None:
        """Deal with one message; waits for nothing but the client."""
        if not method:
            if self._conversation is not None:
                self._conversation.take_response(message)
            return
        request_id = id_of(message)
        try:
            params = params_of(message)
            if is_notification(message):
                self._take_notification(served, method, params, tasks)
                return
            assert request_id is not None, "method_of lets no such id pass"
            scope = anyio.CancelScope()
            self.running.enter(request_id, scope, self._unsent)
        except RpcError as error:
            await self._send(error_response(request_id, error))
            return
        if method == "initialize" and self._conversation is None:
            # What the client sends next relies on it: nothing else is read until it is answered.
            await self._answer(served, method, params, request_id, scope)
            if self._conversation is not None:
                self._conversation.listen()
                tasks.start_soon(self._tell, self._conversation)
        else:
            tasks.start_soon(self._answer, served, method, params, request_id, scope)

    def _take_notification(self, served: Served, method: str, params: Json, tasks: TaskGroup) -> None:
        if method == "notifications/cancelled":
            self.running.cancel(params)
        elif self._conversation is not None:
            tasks.start_soon(core.notified, served, method, params, self._conversation.caller)

    async def _answer(
        self, served: Served, method: str, params: Json, request_id: RequestId, scope: anyio.CancelScope
    ) -> None:
        response: Json | None = None
        try:
            with scope:
                result = await self._result(served, method, params, request_id)
                response = result_response(request_id, result)
        except RpcError as error:
            response = error_response(request_id, error)
        finally:
            cancelled = self.running.leave(request_id)
        if response is None and not cancelled:
            restarted = RpcError(CONNECTION_CLOSED, "the gateway is being restarted: ask again")
            response = error_response(request_id, restarted)
        if response is not None:
            self._unsent += 1
            try:
                await self._send(response)
            finally:
                self._unsent -= 1

    async def _result(self, served: Served, method: str, params: Json, request_id: RequestId) -> Json:
        if self._stopped:
            raise RpcError(CONNECTION_CLOSED, "the gateway is being restarted: ask again")
        if has_envelope(params):
            check_envelope(params)
            caller = stateless_caller(params, self._identity.principal, self._identity.role, self._name)
            if method == core.LISTEN:
                return await core.listen(served, params, caller, request_id, self._send, ending=self._ending)
            return await core.answer(
                served, method, params, Turn(caller, request_id, params, self._send), None
            )
        if self._conversation is None:
            if method == "initialize":
                return await self._initialize(served, params)
            if method == "ping":
                return {}
            message = f"{method} comes after initialize, or says its protocol version in params._meta"
            raise RpcError(INVALID_REQUEST, message)
        conversation = self._conversation
        turn = Turn(conversation.caller, request_id, params, self._send, conversation)
        return await core.answer(served, method, params, turn, conversation)

    async def _initialize(self, served: Served, params: Json) -> Json:
        caller = handshake_caller(params, self._identity.principal, self._identity.role, self._name)
        greeting = await core.greet(served, caller)
        self._conversation = Conversation(served, caller, greeting.capabilities, self._name)
        return core.greeting_result(greeting, caller.version)

    async def _tell(self, conversation: Conversation) -> None:
        while True:
            for change in await conversation.changes.gather():
                await self._send(notification_of(change))

    async def _send(self, message: Json) -> None:
        await self._outbox.send(encode(message) + b"\n")

    async def _write(self) -> None:
        """Write what is sent: as a task of its own, so that no cancelled request leaves half a line."""
        async for data in self._written:
            with anyio.move_on_after(_WRITE_TIME) as deadline:
                await self._stream.send(data)
            if deadline.cancelled_caught:
                self.close()


class _Reader:
    """Reads lines; one that is too long is read to its end and told as an error."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False
        self._ended = False

    async def next(self, limit: int) -> bytes | None:
        """Return the next line that is not blank, or None at the end.

        Raises:
            RpcError: INVALID_REQUEST, it has more than `limit` bytes.
        """
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end < 0:
                self._searched = len(self._buffer)
                if self._searched > limit:
                    self._buffer.clear()
                    self._searched, self._skipping = 0, True
                if self._ended:
                    return None
                try:
                    self._buffer += await self._stream.receive(_CHUNK)
                except anyio.EndOfStream:
                    self._ended = True
                continue
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            if self._skipping or len(line) > limit:
                self._skipping = False
                raise RpcError(INVALID_REQUEST, f"a line has at most {limit} bytes")
            if line.strip():
                return line
