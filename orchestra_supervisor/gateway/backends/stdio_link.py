"""A link over a server's stdin and stdout, whose far ends the keeper holds.

Many calls share the two pipes, told apart by ids with a prefix of this process: an earlier gateway may
have asked over the same pipes, and the answers that it did not wait for are dropped.
"""

import os
import secrets
from collections import deque
from collections.abc import Sequence
from itertools import count

import anyio

from orchestra_supervisor.gateway.backends.channel import Pipes
from orchestra_supervisor.gateway.backends.fields import member
from orchestra_supervisor.gateway.backends.framing import LineDecoder, Noise, Oversized, encode
from orchestra_supervisor.gateway.backends.link import Call, LinkError, Stray, Trouble
from orchestra_supervisor.gateway.endpoint import Era
from orchestra_supervisor.gateway.messages import INTERNAL_ERROR, Json

__all__ = ["StdioLink"]

_READ_SIZE = 64 * 1024  # a pipe's capacity
_LAST_READS = 64  # of what is left in a pipe when its server has ended; a pipe holds 1 MiB at most
_OUTBOX_LIMIT = 16 * 1024 * 1024  # bytes that may wait for a server that does not read its stdin
_INBOX_LIMIT = 1000  # messages that may wait for who holds a call
_NOISE_PAUSE = (
    0.005  # seconds without reading after a whole read of noise: a flood gets 13 MB/s, not a processor
)

_CALL_WIDE = {"notifications/message", "notifications/progress"}
"""Notifications that belong to the one call that is on its way, if there is but one."""


class _StdioCall:
    """See link.Call."""

    def __init__(self, link: "StdioLink", call_id: str, *, is_attended: bool) -> None:
        self._link = link
        self._id = call_id
        self._inbox: deque[Json] = deque()
        self._waiting: anyio.Event | None = None
        self._error: LinkError | None = None
        self.is_attended = is_attended
        self.asked: set[object] = set()

    @property
    def id(self) -> str:
        return self._id

    async def next(self) -> Json:
        while not self._inbox:
            if self._error is not None:
                raise self._error
            self._waiting = anyio.Event()
            await self._waiting.wait()
        return self._inbox.popleft()

    async def answer(self, message: Json) -> None:
        self.asked.discard(message.get("id"))
        await self._link.respond(message)

    def drop(self, reason: str = "") -> None:
        if self._link.forget(self._id) and self._error is None:
            self._link.cancel(self._id, reason)

    def put(self, message: Json) -> bool:
        """Add a message; False: there is no room for it. The answer, the last one, finds room always."""
        if "method" in message and len(self._inbox) >= _INBOX_LIMIT:
            return False
        self._inbox.append(message)
        self._wake()
        return True

    def fail(self, error: LinkError) -> None:
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.set()


class StdioLink:
    """See link.Link.

    Args:
        pipes: The two descriptors; closed with the link.
        on_stray: Gets what belongs to no call.
        noise: Counts what is dropped.
        is_used: An earlier gateway wrote to these pipes, perhaps half a line.

    Raises:
        LinkError: Nobody reads there any more.
    """

    def __init__(self, pipes: Pipes, on_stray: Stray, noise: Noise, *, is_used: bool) -> None:
        self._pipes = pipes
        self._on_stray = on_stray
        self._noise = noise
        self._prefix = f"o{secrets.token_hex(4)}-"
        self._numbers = count(1)
        self._calls: dict[str, _StdioCall] = {}
        self._decoder = LineDecoder(noise, self._prefix)
        self._outbox = bytearray()
        self._outbox_filled = anyio.Event()
        self._lost: LinkError | None = None
        if is_used:
            self._write(b"\n")
        pipes.take()  # once nothing can fail any more: whoever has them lets go of them at the end of `run`

    def speak(self, era: Era, version: str) -> None:
        """Speak so from here on; see link.Link."""

    async def begin(
        self,
        method: str,
        params: Json,
        *,
        has_progress: bool = False,
        headers: Sequence[tuple[str, str]] = (),  # noqa: ARG002 - of HTTP
        is_attended: bool = False,
    ) -> Call:
        """Send a request; see link.Link."""
        call_id = f"{self._prefix}{next(self._numbers)}"
        if has_progress:
            params = {**params, "_meta": {**member(params, "_meta"), "progressToken": call_id}}
        self._write(encode({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}))
        call = self._calls[call_id] = _StdioCall(self, call_id, is_attended=is_attended)
        return call

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification; see link.Link."""
        message: Json = {"jsonrpc": "2.0", "method": method}
        self._write(encode({**message, "params": params} if params else message))

    async def respond(self, message: Json) -> None:
        """Send a response; see link.Link."""
        self._write(encode(message))

    async def run(self) -> LinkError:
        """Read and write until the server is gone; see link.Link.

        A link that is cancelled leaves the pipes open: the next one may have more luck with the same process.
        """
        error = LinkError(Trouble.LOST, "the gateway closed the link")
        is_cancelled = True
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._flush)
                group.start_soon(self._end, group.cancel_scope)
                error = await self._read()
                group.cancel_scope.cancel()
            if self._pipes.ended.is_set():
                error = self._drain()
            is_cancelled = False
        finally:
            self._lost = error
            if not is_cancelled or self._pipes.ended.is_set():
                self._pipes.close()
            self._pipes.release()
            for call in list(self._calls.values()):
                call.fail(error)
            self._calls.clear()
        return error

    def forget(self, call_id: str) -> bool:
        """Take a call off the table; False where it is not there."""
        return self._calls.pop(call_id, None) is not None

    def cancel(self, call_id: str, reason: str) -> None:
        """Tell the server that nobody waits for a call any more."""
        params: Json = {"requestId": call_id, "reason": reason or "the client does not wait any more"}
        try:
            self._write(encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}))
        except LinkError:
            return

    def _write(self, line: bytes) -> None:
        if self._lost is not None:
            raise LinkError(self._lost.trouble, self._lost.reason, was_sent=False)
        if not self._outbox:
            try:
                line = line[os.write(self._pipes.stdin, line) :]
            except BlockingIOError:
                pass
            except OSError as error:
                reason = f"its stdin is closed ({os.strerror(error.errno or 0)})"
                raise LinkError(Trouble.LOST, reason, was_sent=False) from error
            if not line:
                return
        if len(self._outbox) + len(line) > _OUTBOX_LIMIT:
            reason = f"it does not read its stdin: {len(self._outbox)} bytes wait for it"
            raise LinkError(Trouble.BUSY, reason, was_sent=False)
        self._outbox += line
        self._outbox_filled.set()

    async def _flush(self) -> None:
        while True:
            await self._outbox_filled.wait()
            while self._outbox:
                try:
                    await anyio.wait_writable(self._pipes.stdin)
                    del self._outbox[: os.write(self._pipes.stdin, self._outbox[:_READ_SIZE])]
                except BlockingIOError:
                    continue
                except (OSError, ValueError, anyio.ClosedResourceError):
                    return  # the reading end tells that the server is gone
            self._outbox_filled = anyio.Event()

    async def _end(self, scope: anyio.CancelScope) -> None:
        await self._pipes.ended.wait()
        scope.cancel()

    async def _read(self) -> LinkError:
        while True:
            try:
                await anyio.wait_readable(self._pipes.stdout)
                data = os.read(self._pipes.stdout, _READ_SIZE)
            except BlockingIOError:
                continue
            except (OSError, ValueError, anyio.ClosedResourceError) as error:
                return LinkError(Trouble.LOST, f"its stdout cannot be read ({error})")
            if not data:
                return LinkError(Trouble.LOST, "it closed its stdout")
            if not self._take(data) and len(data) >= _READ_SIZE:
                await anyio.sleep(_NOISE_PAUSE)

    def _drain(self) -> LinkError:
        """Take what it said last, and end; a child that it left behind may go on writing without an end."""
        error = LinkError(Trouble.LOST, "its process ended")
        try:
            for _ in range(_LAST_READS):
                data = os.read(self._pipes.stdout, _READ_SIZE)
                if not data:
                    break
                self._take(data)
        except OSError:
            return error
        return error

    def _take(self, data: bytes) -> int:
        messages = 0
        for message in self._decoder.feed(data):
            messages += 1
            if isinstance(message, Oversized):
                self._refuse(message)
            elif "method" in message:
                self._route(message)
            else:
                self._respond(message)
        return messages

    def _respond(self, message: Json) -> None:
        call_id = message.get("id")
        call = self._calls.get(call_id) if isinstance(call_id, str) else None
        if call is None and call_id is None and len(self._calls) == 1:
            call = next(iter(self._calls.values()))  # it could not read the id of what it refuses
        if call is None:
            self._noise.unknown_ids += 1
        else:
            self.forget(call.id)  # nothing more belongs to it, whenever the answer is read
            call.put(message)

    def _refuse(self, line: Oversized) -> None:
        call = self._calls.pop(line.id, None)
        if call is not None:
            text = f"the answer is too large: {line.size} bytes, and {self._decoder.limit} are the limit"
            call.put({"jsonrpc": "2.0", "id": line.id, "error": {"code": INTERNAL_ERROR, "message": text}})

    def _route(self, message: Json) -> None:
        method, params = message["method"], member(message, "params")
        call: _StdioCall | None = None
        if method == "notifications/progress" and isinstance(token := params.get("progressToken"), str):
            call = self._calls.get(token)
            if call is None:
                return  # late
        elif "io.modelcontextprotocol/subscriptionId" in (meta := member(params, "_meta")):
            call = self._calls.get(str(meta["io.modelcontextprotocol/subscriptionId"]))
        elif method == "notifications/cancelled":
            request = params.get("requestId")
            asked = request if isinstance(request, str | int) else None
            call = next((one for one in self._calls.values() if asked in one.asked), None)
        elif method != "ping" and ("id" in message or method in _CALL_WIDE):
            attended = [one for one in self._calls.values() if one.is_attended]
            call = attended[0] if len(attended) == 1 else None
        if call is not None:
            is_taken = call.put(message)
            if is_taken and "id" in message:
                call.asked.add(message["id"])
            elif "id" in message:
                self._on_stray(message)  # who refuses it
        elif method in _CALL_WIDE:
            self._noise.unattributed += 1
        else:
            self._on_stray(message)
