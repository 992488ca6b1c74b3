"""One request while it is answered: the `Exchange` that an endpoint is handed."""

from collections.abc import Mapping

from orchestra_supervisor.gateway.endpoint import AskRefused, Caller
from orchestra_supervisor.gateway.front.conversation import Conversation, Send
from orchestra_supervisor.gateway.front.eras import LOG_LEVELS, META_LOG_LEVEL
from orchestra_supervisor.gateway.front.wire import as_object
from orchestra_supervisor.gateway.messages import Json, RequestId

__all__ = ["Turn"]

_PROGRESS = "notifications/progress"
_LOG = "notifications/message"


class Turn:
    """Who asks, and the way back to them.

    Args:
        caller: Who asks.
        request_id: Of the request.
        params: Of the request.
        send: Takes messages that belong to this request to the client.
        conversation: Of a handshake client; None: a stateless one asks.
    """

    __slots__ = ("_caller", "_conversation", "_meta", "_send", "request_id")

    def __init__(
        self,
        caller: Caller,
        request_id: RequestId,
        params: Json,
        send: Send,
        conversation: Conversation | None = None,
    ) -> None:
        self._caller = caller
        self._meta = as_object(params.get("_meta"))
        self._send = send
        self._conversation = conversation
        self.request_id = request_id

    @property
    def caller(self) -> Caller:
        """Return who asks."""
        return self._caller

    @property
    def meta(self) -> Mapping[str, object]:
        """Return `_meta` of the request's params."""
        return self._meta

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification, where the client wants it: progress that it asked for, logs of its level."""
        if method == _LOG and not self._wants_log(params.get("level")):
            return
        if method == _PROGRESS and "progressToken" not in self._meta:
            return
        await self._send({"jsonrpc": "2.0", "method": method, "params": params})

    async def ask(self, method: str, params: Json) -> Json:
        """Ask the client something and wait for its answer; see `Conversation.ask`."""
        if self._conversation is None:
            raise AskRefused("a stateless client is asked by a result that says input_required")
        return await self._conversation.ask(method, params, self._send)

    def _wants_log(self, level: object) -> bool:
        if self._conversation is not None:
            return self._conversation.wants_log(level)
        wanted = self._meta.get(META_LOG_LEVEL)
        if wanted not in LOG_LEVELS:
            return False
        return level not in LOG_LEVELS or LOG_LEVELS.index(str(level)) >= LOG_LEVELS.index(str(wanted))
