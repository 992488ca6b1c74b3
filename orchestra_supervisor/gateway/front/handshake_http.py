"""The handshake eras over HTTP: sessions, POSTs whose streams can be taken up again, and the standing stream.

Source: the MCP specification 2025-11-25, `basic/transports.mdx`; 2025-03-26 for batches.
"""

from typing import cast

import anyio

from orchestra_supervisor.gateway.endpoint import HANDSHAKE_VERSIONS
from orchestra_supervisor.gateway.front import core
from orchestra_supervisor.gateway.front.changes import notification_of
from orchestra_supervisor.gateway.front.conversation import Conversation
from orchestra_supervisor.gateway.front.eras import handshake_caller, is_resumable
from orchestra_supervisor.gateway.front.events import (
    KEEP_ALIVE,
    EventId,
    EventLog,
    plain_event,
    read_event_id,
)
from orchestra_supervisor.gateway.front.identity import Identity
from orchestra_supervisor.gateway.front.reply import KEEP_ALIVE_TIME, SSE_HEADERS, Pulse, Reply
from orchestra_supervisor.gateway.front.request import HttpRefused, Request
from orchestra_supervisor.gateway.front.served import Served
from orchestra_supervisor.gateway.front.sessions import Session, Sessions
from orchestra_supervisor.gateway.front.turn import Turn
from orchestra_supervisor.gateway.front.wire import (
    as_object,
    error_response,
    id_of,
    is_notification,
    is_response,
    method_of,
    params_of,
    result_response,
)
from orchestra_supervisor.gateway.messages import (
    CANCELLED,
    CONNECTION_CLOSED,
    Json,
    RequestId,
    RpcError,
)

__all__ = ["HandshakeHttp", "HttpTurn"]

SESSION_HEADER = b"mcp-session-id"
LAST_EVENT_HEADER = b"last-event-id"

_BATCH_VERSION = "2025-03-26"
_MAX_BATCH = 64


class HttpTurn(Turn):
    """A request over HTTP whose client may be let go, to come back for the answer.

    Not part of `Exchange`: an endpoint that knows that its answer takes long may look whether it has one.
    """

    __slots__ = ("_reply",)

    def __init__(
        self,
        conversation: Conversation,
        request_id: RequestId,
        params: Json,
        reply: Reply,
    ) -> None:
        super().__init__(conversation.caller, request_id, params, reply.emit, conversation)
        self._reply = reply

    async def release(self) -> None:
        """Close the connection of the client, which comes back for the answer where its version can."""
        await self._reply.release()


class HandshakeHttp:
    """Answers what clients with sessions send.

    Args:
        sessions: Theirs.
        pulse: Keeps long answers alive.
    """

    def __init__(self, sessions: Sessions, pulse: Pulse) -> None:
        self.sessions = sessions
        self._pulse = pulse
        self.running = 0

    async def post(self, request: Request, served: Served, identity: Identity, body: object) -> None:
        """Answer one POST.

        Raises:
            HttpRefused: It is not what a POST of this era is, or its session is none.
        """
        message = as_object(body)
        if message.get("method") == "initialize" and id_of(message) is not None:
            await self._initialize(request, served, identity, message)
            return
        session = await self._session(request, served, identity)
        self._enter(session)
        try:
            if isinstance(body, list):
                messages = [as_object(one) for one in cast("list[object]", body)]
                await self._batch(request, session, messages)
            elif is_response(message):
                session.conversation.take_response(message)
                await request.respond(202)
            elif is_notification(message):
                await request.respond(202)
                await _take_notification(session.conversation, message)
            else:
                await self._single(request, session, message)
        finally:
            self._leave(session)

    async def get(self, request: Request, served: Served, identity: Identity) -> None:
        """Serve a stream: the standing one of the session, or the rest of one that was closed.

        Raises:
            HttpRefused: The session is none.
        """
        session = await self._session(request, served, identity)
        last = request.header(LAST_EVENT_HEADER)
        event_id = None if last is None else read_event_id(last)
        session.open += 1
        try:
            with anyio.CancelScope() as scope, request.connection.cancelling(scope):
                if event_id is not None and event_id.request_id is not None:
                    await self._resume(request, session, event_id)
                else:
                    await self._stand(request, session, event_id, scope)
        finally:
            session.open -= 1
            session.used_at = anyio.current_time()
        await request.write(b"", last=True)

    async def delete(self, request: Request, served: Served, identity: Identity) -> None:
        """End a session.

        Raises:
            HttpRefused: It is none.
        """
        session = await self._session(request, served, identity)
        self.sessions.end(session)
        await request.respond(204)

    async def _session(self, request: Request, served: Served, identity: Identity) -> Session:
        session_id = request.header(SESSION_HEADER)
        if session_id is None:
            known = ", ".join(HANDSHAKE_VERSIONS)
            raise HttpRefused(400, f"there is no Mcp-Session-Id: begin with initialize (versions {known})")
        session = await self.sessions.find(session_id, served, identity.principal, identity.role)
        if session is None:
            raise HttpRefused(404, "this session has ended or is none of yours: begin with initialize")
        return session

    async def _initialize(self, request: Request, served: Served, identity: Identity, message: Json) -> None:
        request_id = id_of(message)
        assert request_id is not None, "the caller looked"
        try:
            method_of(message)
            caller = handshake_caller(params_of(message), identity.principal, identity.role)
            greeting = await core.greet(served, caller)
        except RpcError as error:
            await request.respond(400, error_response(request_id, error))
            return
        session = self.sessions.begin(served, caller, greeting.capabilities)
        result = core.greeting_result(greeting, caller.version)
        headers = ((SESSION_HEADER, session.session_id.encode("ascii")),)
        await request.respond(200, result_response(request_id, result), headers)

    async def _single(self, request: Request, session: Session, message: Json) -> None:
        conversation = session.conversation
        try:
            method, params = method_of(message), params_of(message)
        except RpcError as error:
            raise HttpRefused(400, error, id_of(message)) from error
        request_id = id_of(message)
        assert request_id is not None, "method_of lets no such id pass"
        log = session.make_log(request_id) if is_resumable(conversation.caller.version) else None
        reply = Reply(request, log, session.keep)
        self._pulse.watch(reply)
        try:
            turn = HttpTurn(conversation, request_id, params, reply)
            response = await _run(conversation, method, params, turn)
        finally:
            self._pulse.leave(reply)
        await reply.finish(response)

    async def _batch(self, request: Request, session: Session, messages: list[Json]) -> None:
        conversation = session.conversation
        if conversation.caller.version != _BATCH_VERSION:
            raise HttpRefused(400, f"batches belong to {_BATCH_VERSION}: send one message at a time")
        if not 1 <= len(messages) <= _MAX_BATCH:
            raise HttpRefused(400, f"a batch has 1 to {_MAX_BATCH} messages")
        reply, responses = Reply(request), list[Json]()
        self._pulse.watch(reply)
        try:
            async with anyio.create_task_group() as tasks:
                for message in messages:
                    tasks.start_soon(self._batched, conversation, message, reply, responses)
        finally:
            self._pulse.leave(reply)
        if not reply.is_stream:
            await (request.respond(200, responses) if responses else request.respond(202))
            return
        for response in responses:
            await reply.emit(response)
        await reply.finish(None)

    async def _batched(
        self, conversation: Conversation, message: Json, reply: Reply, responses: list[Json]
    ) -> None:
        """Deal with one message of a batch; only requests are answered."""
        request_id = id_of(message)
        try:
            if is_response(message):
                conversation.take_response(message)
                return
            method, params = method_of(message), params_of(message)
            if request_id is None:
                await _take_notification(conversation, message)
                return
        except RpcError as error:
            responses.append(error_response(request_id, error))
            return
        turn = HttpTurn(conversation, request_id, params, reply)
        responses.append(await _run(conversation, method, params, turn))

    async def _stand(
        self, request: Request, session: Session, event_id: EventId | None, scope: anyio.CancelScope
    ) -> None:
        """Tell of changes until the client leaves, or comes again by another connection."""
        if session.listener is not None:
            session.listener.cancel()
        session.listener = scope
        try:
            session.conversation.listen()
            log = session.standing if is_resumable(session.conversation.caller.version) else None
            await request.begin(200, SSE_HEADERS)
            await request.write(KEEP_ALIVE if log is None else log.primer())
            if log is not None and event_id is not None and session.find(event_id) is log:
                for _, event in log.after(event_id.number):
                    await request.write(event)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_keep_alive, request)
                await _tell(session.conversation, log, request)
        finally:
            if session.listener is scope:
                session.listener = None

    async def _resume(self, request: Request, session: Session, event_id: EventId) -> None:
        """Send the rest of a stream that answers a request."""
        log = session.find(event_id)
        await request.begin(200, SSE_HEADERS)
        if log is None:
            assert event_id.request_id is not None, "the caller looked"
            lost = RpcError(CONNECTION_CLOSED, "the gateway was restarted and this answer is lost: ask again")
            await request.write(plain_event(error_response(event_id.request_id, lost)))
            return
        number = event_id.number
        while True:
            for at, event in log.after(number):
                await request.write(event)
                number = at
            if log.done:
                return
            with anyio.move_on_after(KEEP_ALIVE_TIME) as silence:
                await log.wait_after(number)
            if silence.cancelled_caught:
                await request.write(KEEP_ALIVE)

    def _enter(self, session: Session) -> None:
        session.open += 1
        self.running += 1

    def _leave(self, session: Session) -> None:
        session.open -= 1
        self.running -= 1
        session.used_at = anyio.current_time()


async def _run(conversation: Conversation, method: str, params: Json, turn: Turn) -> Json:
    """Return the response to a request, whatever becomes of it."""
    scope = anyio.CancelScope()
    try:
        conversation.running.enter(turn.request_id, scope)
    except RpcError as error:
        return error_response(turn.request_id, error)
    response = None
    try:
        with scope:
            result = await core.answer(conversation.served, method, params, turn, conversation)
            response = result_response(turn.request_id, result)
    except RpcError as error:
        response = error_response(turn.request_id, error)
    finally:
        cancelled = conversation.running.leave(turn.request_id)
    if response is not None:
        return response
    if cancelled:  # nobody waits for it, but the HTTP answer has to end with something
        return error_response(turn.request_id, RpcError(CANCELLED, "the client cancelled this request"))
    return error_response(turn.request_id, RpcError(CONNECTION_CLOSED, "the session ended: ask again"))


async def _take_notification(conversation: Conversation, message: Json) -> None:
    try:
        method, params = method_of(message), params_of(message)
    except RpcError:
        return
    if method == "notifications/cancelled":
        conversation.running.cancel(params)
    else:
        await core.notified(conversation.served, method, params, conversation.caller)


async def _tell(conversation: Conversation, log: EventLog | None, request: Request) -> None:
    while True:
        for change in await conversation.changes.gather():
            message = notification_of(change)
            await request.write(plain_event(message) if log is None else log.add(message))


async def _keep_alive(request: Request) -> None:
    while True:
        await anyio.sleep(KEEP_ALIVE_TIME)
        await request.write(KEEP_ALIVE)
