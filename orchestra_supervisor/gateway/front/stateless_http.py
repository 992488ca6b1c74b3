"""The stateless era over HTTP: each POST says all there is to know, and closing its answer cancels it.

Source: the MCP specification 2026-07-28, `basic/transports/streamable-http.mdx`.
"""

import anyio

from orchestra_supervisor.gateway.endpoint import STATELESS_VERSIONS
from orchestra_supervisor.gateway.front import core
from orchestra_supervisor.gateway.front.eras import check_envelope, http_status, stateless_caller, unsupported
from orchestra_supervisor.gateway.front.identity import Identity
from orchestra_supervisor.gateway.front.reply import Pulse, Reply
from orchestra_supervisor.gateway.front.request import HttpRefused, Request
from orchestra_supervisor.gateway.front.routing import (
    PARAMETER_PREFIX,
    VERSION_HEADER,
    check_parameters,
    check_routing,
)
from orchestra_supervisor.gateway.front.served import Served
from orchestra_supervisor.gateway.front.turn import Turn
from orchestra_supervisor.gateway.front.wire import (
    as_object,
    error_response,
    id_of,
    is_notification,
    method_of,
    params_of,
    result_response,
)
from orchestra_supervisor.gateway.messages import CONNECTION_CLOSED, Json, RpcError

__all__ = ["StatelessHttp"]


class StatelessHttp:
    """Answers stateless POSTs.

    Args:
        pulse: Keeps long answers alive.
        ending: Set when the gateway ends.
    """

    def __init__(self, pulse: Pulse, ending: anyio.Event) -> None:
        self._pulse = pulse
        self._ending = ending
        self._running: set[anyio.CancelScope] = set()

    @property
    def running(self) -> int:
        """Return how many requests are being answered."""
        return len(self._running)

    def cancel(self) -> None:
        """Stop answering; whoever waits is told to ask again."""
        for scope in list(self._running):
            scope.cancel()

    async def post(self, request: Request, served: Served, identity: Identity, message: Json) -> None:
        """Answer one POST.

        Raises:
            HttpRefused: It is not what a POST of this era is.
        """
        request_id = id_of(message)
        try:
            method = method_of(message)
            if is_notification(message):
                self._check_version(request)
                await request.respond(202)  # there is nothing to tell us: cancelling is closing the stream
                return
            assert request_id is not None, "method_of lets no such id pass"
            params = params_of(message)
            check_envelope(params)
            check_routing(request.headers, method, params)
            caller = stateless_caller(params, identity.principal, identity.role)
        except RpcError as error:
            raise HttpRefused(http_status(error.code), error, request_id) from error
        reply = Reply(request)
        turn = Turn(caller, request_id, params, reply.emit)
        with anyio.CancelScope() as scope, request.connection.cancelling(scope):
            self._running.add(scope)
            self._pulse.watch(reply)
            try:
                status, response = await self._answer(request, served, method, params, turn, reply)
            finally:
                self._running.discard(scope)
                self._pulse.leave(reply)
            await reply.finish(response, status)
            return
        if not request.connection.lost:
            ended = RpcError(CONNECTION_CLOSED, "the gateway is being restarted: ask again")
            await reply.finish(error_response(request_id, ended))

    async def _answer(
        self, request: Request, served: Served, method: str, params: Json, turn: Turn, reply: Reply
    ) -> tuple[int, Json]:
        try:
            if method == core.LISTEN:
                result = await core.listen(
                    served, params, turn.caller, turn.request_id, reply.emit, ending=self._ending
                )
            else:
                if method == "tools/call":
                    await self._check_parameters(request, served, params, turn)
                result = await core.answer(served, method, params, turn, None)
        except RpcError as error:
            return http_status(error.code), error_response(turn.request_id, error)
        return 200, result_response(turn.request_id, result)

    async def _check_parameters(self, request: Request, served: Served, params: Json, turn: Turn) -> None:
        arguments = as_object(params.get("arguments"))
        if arguments or any(name.startswith(PARAMETER_PREFIX) for name in request.headers):
            parameters = await served.header_parameters(str(params.get("name")), turn)
            check_parameters(request.headers, parameters, arguments)

    @staticmethod
    def _check_version(request: Request) -> None:
        version = request.header(VERSION_HEADER) or ""
        if version not in STATELESS_VERSIONS:
            raise unsupported(version)
