"""What goes from a client to the gateway and back, across restarts of the gateway; decided without I/O.

The gateway may go away at any byte. Then

* a request that has not gone out whole waits for the next connection;
* one that has, and may be asked twice (lists, reads, `initialize`, `subscriptions/listen`), is asked again;
* every other one, `tools/call` above all, fails: whether it was carried out is for the client to look at;
* a session begun by `initialize` is begun anew with the client's own words, its subscriptions and log level
  with it, and the client is told to look again at what it may have missed;
* what the gateway had asked the client is taken back, and an answer that comes late reaches nobody: ids of
  the gateway's requests carry the number of the connection.

Whole lines come in, whole lines go out.
"""

import json
from collections import deque

from orchestra_supervisor.cli.shim.absence import (
    CONNECTION_CLOSED,
    STAND_IN_TOOL,
    Absence,
    greeting,
    tool_list,
    tool_result,
)
from orchestra_supervisor.cli.shim.messages import (
    ASKED_TWICE,
    MAX_MESSAGE,
    Json,
    Request,
    answer_key,
    encode,
    error_line,
    key_of,
    notification_line,
    object_of,
)
from orchestra_supervisor.cli.shim.state import Conversation, listened

__all__ = ["Relay"]

_DOWN, _OPENING, _UP = "down", "opening", "up"
"""No connection; one on which the session is being begun anew; one that takes what the client says."""

_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600
_LONGEST_FAREWELL = 4_096  # bytes of an error by which a gateway says that it ends
_OWN = "orchestra-"  # how ids of our own requests begin


class Relay:
    """One client's conversation.

    Args:
        hello: The line that begins every connection.
        is_control: It is the control endpoint that the client wants.
    """

    def __init__(self, hello: bytes, *, is_control: bool) -> None:
        self.to_client: deque[bytes] = deque()
        """Lines to be written, oldest first; the caller takes them."""
        self._link = _DOWN
        self.is_alive = False
        """The gateway has said something on this connection."""
        self._hello = hello
        self._is_control = is_control
        self._connection = 0
        self._opening: deque[bytes] = deque()
        self._queue: deque[tuple[bytes, Request | None]] = deque()
        self._pending: dict[str, Request] = {}
        self._asked: dict[str, None] = {}
        self._conversation = Conversation()
        self._refusal: Absence | None = None
        self._held: deque[tuple[Request, bytes]] = deque()

    @property
    def queued(self) -> int:
        """Return how many lines wait to go out."""
        return len(self._queue)

    def is_waiting(self) -> bool:
        """Tell whether the client waits for an answer; an open stream is none."""
        return any(not one.is_acknowledged and not one.is_answered_here for one in self._pending.values())

    def oldest_handshake(self) -> float | None:
        """Return since when `initialize` has been waiting for its answer."""
        waiting = [
            one.at
            for one in self._pending.values()
            if one.method == "initialize" and not one.is_answered_here
        ]
        return min(waiting) if waiting else None

    # From the client.

    def from_client(self, line: bytes, now: float) -> None:
        """Take one line of the client, without its end."""
        try:
            said: object = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._say(error_line(None, _PARSE_ERROR, f"what was sent is not one line of JSON: {error}"))
            return
        if isinstance(said, list):  # a batch of the oldest clients; each part is a message of its own
            for part in map(object_of, said):  # pyright: ignore[reportUnknownArgumentType] - JSON is anything
                self._take(part, encode(part), now)
            return
        self._take(object_of(said), line + b"\n", now)

    def too_long(self) -> None:
        """Note that the client said something so long that it was not even kept."""
        self._say(error_line(None, _INVALID_REQUEST, f"a message has at most {MAX_MESSAGE} bytes"))

    def _take(self, message: Json, line: bytes, now: float) -> None:
        key = key_of(message.get("id"))
        if len(line) > MAX_MESSAGE:
            text = f"a message has at most {MAX_MESSAGE} bytes, this one {len(line)}"
            self._say(error_line(message.get("id"), _INVALID_REQUEST, text))
        elif "method" in message and key:
            request = Request(key, message, line, now)
            if request.method == "initialize":
                self._conversation = Conversation()
            self._pending[key] = request
            self._queue.append((line, request))
        elif "method" in message and "id" not in message:
            self._take_notification(message, line)
        elif key and ("result" in message or "error" in message):
            self._take_answer(message)
        else:
            self._say(error_line(None, _INVALID_REQUEST, "what was sent is no JSON-RPC message"))

    def _take_notification(self, message: Json, line: bytes) -> None:
        if message["method"] == "notifications/cancelled":
            request = self._pending.get(key_of(object_of(message.get("params")).get("requestId")))
            if request is None or request.method == "initialize":
                return  # answered meanwhile, or not to be cancelled
            del self._pending[request.key]
            if not request.is_sent:
                self._unqueue(request)
                return
        elif message["method"] == "notifications/initialized":
            self._conversation.is_begun = True
            if self._link != _UP:
                return  # it is told when the session is begun on the next connection
        self._queue.append((line, None))

    def _take_answer(self, message: Json) -> None:
        asked = str(message["id"])
        connection, _, own = asked.partition(":")
        self._asked.pop(asked, None)
        if self._link == _DOWN or connection != str(self._connection):
            return  # the gateway that asked is gone
        try:
            message["id"] = json.loads(own)
        except ValueError:
            return
        self._queue.append((encode(message), None))

    # To the gateway.

    def next_line(self) -> bytes | None:
        """Return the line that is to go out now, or None; `line_sent` follows when it has."""
        if self._opening:
            return self._opening[0]
        return self._queue[0][0] if self._queue and self._link == _UP else None

    def line_sent(self) -> None:
        """Note that the last byte of `next_line` is on its way."""
        if self._opening:
            self._opening.popleft()
            return
        _, request = self._queue.popleft()
        if request is not None:
            request.is_sent = True

    # The connection.

    def connected(self) -> None:
        """Begin on a new connection."""
        self._connection += 1
        self.is_alive = False
        self._refusal = None
        self._opening = deque([self._hello])
        again = self._conversation.initialize_again(f"{_OWN}initialize-{self._connection}")
        self._link = _UP if again is None else _OPENING
        if again is not None:
            self._opening.append(again)

    def lost(self) -> Absence | None:
        """Note that the connection has ended; half lines on both sides are the caller's to forget.

        Returns:
            The reason, where the gateway refused to serve us at all: then `nobody_comes` is due.
        """
        refusal = None if self.is_alive else self._refusal
        self._link = _DOWN
        self._opening.clear()
        self._held.clear()  # a gateway that ends closes its streams first: they are asked for again
        for asked in self._asked:
            params: Json = {"requestId": asked, "reason": "the gateway restarted"}
            self._say(notification_line("notifications/cancelled", params))
        self._asked.clear()
        self._forget_notifications()
        again: list[Request] = []
        for request in [one for one in self._pending.values() if one.is_sent]:
            request.is_sent = False
            if refusal is not None or request.method in ASKED_TWICE:
                if request.is_answered_here:
                    del self._pending[request.key]  # its session is begun anew in any case
                else:
                    again.append(request)
            else:
                del self._pending[request.key]
                self._fail(
                    request, "the gateway restarted; ask again (it is not known whether this was done)"
                )
        self._queue.extendleft((request.line, request) for request in reversed(again))
        return refusal

    def nobody_comes(self, absence: Absence) -> None:
        """Answer all that waits, as there is no gateway and none on its way."""
        for request in list(self._pending.values()):
            if request.is_acknowledged:
                continue  # a stream says nothing while there is nothing to say
            del self._pending[request.key]
            self._unqueue(request)
            self._answer_for_it(request, absence)
        self._forget_notifications()

    def stand_in(self, absence: Absence) -> None:
        """Answer `initialize`, as the gateway takes longer than a client may wait."""
        for request in list(self._pending.values()):
            if request.method == "initialize" and not request.is_answered_here:
                if request.is_sent:
                    request.is_answered_here = True
                else:
                    del self._pending[request.key]
                    self._unqueue(request)
                self._greet(request, absence)

    def _answer_for_it(self, request: Request, absence: Absence) -> None:
        method, has_session = request.method, self._conversation.is_open
        if method == "initialize" and absence.is_passing:
            self._greet(request, absence)
        elif method == "ping":
            self._result(request, {})
        elif method == "tools/list" and has_session and self._is_control and absence.is_passing:
            self._result(request, tool_list())
        elif method == "tools/call" and has_session and request.params.get("name") == STAND_IN_TOOL:
            self._result(request, tool_result(absence))
        else:
            self._say(error_line(request.message["id"], absence.code, absence.text))

    def _greet(self, request: Request, absence: Absence) -> None:
        answer = greeting(request.params.get("protocolVersion"), absence)
        self._conversation.opened(request.message, object_of(answer["capabilities"]))
        self._result(request, answer)

    # From the gateway.

    def from_gateway(self, line: bytes) -> None:
        """Take one line of the gateway, without its end."""
        found = answer_key(line)
        if found is not None and self._take_result(*found, line, {}):
            return
        try:
            message = object_of(json.loads(line))
        except (ValueError, RecursionError):
            return  # a fault of the gateway; a client could do nothing with it
        if "method" in message:
            self._take_word(message, line)
        elif "id" in message and message["id"] is None:
            error = object_of(message.get("error"))
            code = error.get("code")
            if self.is_alive:
                self._say(line + b"\n")  # of something that we said; nobody can tell of what
                return
            self._refusal = Absence(
                str(error.get("message", "the gateway refused without a reason")),
                "",
                is_passing=False,
                code=code if isinstance(code, int) else CONNECTION_CLOSED,
            )
            return
        else:
            self._take_result(key_of(message.get("id")), "result" in message, line, message)
        self.is_alive = True

    def _take_result(self, key: str, is_result: bool, line: bytes, message: Json) -> bool:  # noqa: FBT001 - what `answer_key` tells
        """Take an answer; False: its message has to be parsed first."""
        request = self._pending.get(key)
        is_own = key.startswith(f'"{_OWN}')
        is_looked_into = is_own or (request is not None and request.method == "initialize")
        if is_looked_into and not message:
            return False
        self.is_alive = True
        if is_own:
            if key.startswith(f'"{_OWN}initialize'):
                self._began_anew(message)
        elif request is not None:
            if self._is_farewell(request, line, is_result):
                self._held.append((request, line))
                return True
            del self._pending[key]
            if is_result:
                self._conversation.note(request.message, object_of(message.get("result")))
            if not request.is_answered_here:
                self._say(line + b"\n")
            elif is_result:
                self._catch_up()
        return True

    @staticmethod
    def _is_farewell(request: Request, line: bytes, is_result: bool) -> bool:  # noqa: FBT001 - as above
        """Tell whether it may be what a gateway says because it ends: then the next one is to be asked."""
        if is_result:
            return request.method == "subscriptions/listen"
        if request.method not in ASKED_TWICE or len(line) > _LONGEST_FAREWELL:
            return False
        try:
            error = object_of(object_of(json.loads(line)).get("error"))
        except ValueError:
            return False
        return error.get("code") == CONNECTION_CLOSED

    def holds_answers(self) -> bool:
        """Tell whether answers are held back, until it shows whether the gateway ends."""
        return bool(self._held)

    def release(self) -> None:
        """Hand on what a gateway said that then ran on."""
        while self._held:
            request, line = self._held.popleft()
            if self._pending.pop(request.key, None) is not None:
                self._say(line + b"\n")

    def _take_word(self, message: Json, line: bytes) -> None:
        method, params = message["method"], object_of(message.get("params"))
        if "id" in message:
            message["id"] = f"{self._connection}:{json.dumps(message['id'])}"
            self._asked[message["id"]] = None
            self._say(encode(message))
        elif method == "notifications/cancelled":
            self._pending.pop(key_of(params.get("requestId")), None)  # a stream that the gateway ends
            params["requestId"] = f"{self._connection}:{json.dumps(params.get('requestId'))}"
            if params["requestId"] in self._asked:
                del self._asked[params["requestId"]]
                self._say(encode(message))
            else:
                self._say(line + b"\n")
        elif method == "notifications/subscriptions/acknowledged":
            request = self._pending.get(listened(params))
            if request is None or not request.is_acknowledged:
                self._say(line + b"\n")
            else:  # the client knows of the stream, and not of what went by meanwhile
                self.to_client.extend(Conversation.missed(params))
            if request is not None:
                request.is_acknowledged = True
        else:
            self._say(line + b"\n")

    def _began_anew(self, message: Json) -> None:
        if "result" not in message:
            error = object_of(message.get("error"))
            text = f"the gateway does not take the session up again: {error.get('message')}"
            self._link = _UP
            self.nobody_comes(Absence(text, "connect this server again in the client", is_passing=False))
            return
        self._link = _UP
        self._opening.extend(self._conversation.resume(f"{_OWN}resume-{self._connection}"))
        self._catch_up()

    def _catch_up(self) -> None:
        self.to_client.extend(self._conversation.missed_by_session())

    # To the client.

    def _say(self, line: bytes) -> None:
        self.to_client.append(line)

    def _result(self, request: Request, result: Json) -> None:
        self._say(encode({"jsonrpc": "2.0", "id": request.message["id"], "result": result}))

    def _fail(self, request: Request, text: str) -> None:
        self._say(error_line(request.message["id"], CONNECTION_CLOSED, text, {"method": request.method}))

    def _forget_notifications(self) -> None:
        """Leave out what was said to a gateway that is gone: notifications, and answers to its requests."""
        self._queue = deque(entry for entry in self._queue if entry[1] is not None)

    def _unqueue(self, request: Request) -> None:
        self._queue = deque(entry for entry in self._queue if entry[1] is not request)
