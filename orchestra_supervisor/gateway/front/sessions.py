"""The handshake sessions over HTTP that are in memory; any other one is known by its id, and comes back."""

import secrets
from collections import OrderedDict

import anyio

from orchestra_supervisor.gateway.endpoint import Caller, Role
from orchestra_supervisor.gateway.front.conversation import Conversation
from orchestra_supervisor.gateway.front.events import STANDING, EventId, EventLog
from orchestra_supervisor.gateway.front.served import Served
from orchestra_supervisor.gateway.front.session_ids import SessionKey
from orchestra_supervisor.gateway.messages import Json, RequestId

__all__ = ["IDLE_TIME", "MAX_SESSIONS", "Session", "Sessions"]

IDLE_TIME = 600.0
"""Seconds without a request or stream after which a session leaves the memory: it comes back by its id."""
MAX_SESSIONS = 2048
"""Sessions in memory; the one that was used longest ago leaves for a further one."""

_MAX_ENDED = 4096  # ids of ended sessions that are remembered: further ones could be used again
_MAX_STREAMS = 8  # complete streams of one session that a client may come back for
_STREAM_TIME = 60.0  # seconds that a client has for it


class Session:
    """One session in memory.

    Args:
        session_id: Its id.
        conversation: What goes on in it.
        stamp: Of this gateway.
    """

    def __init__(self, session_id: str, conversation: Conversation, stamp: str) -> None:
        self.session_id = session_id
        self.conversation = conversation
        self.standing = EventLog(stamp, STANDING, None)
        self.listener: anyio.CancelScope | None = None
        self.open = 0
        self.used_at = anyio.current_time()
        self._stamp = stamp
        self._streams: OrderedDict[str, EventLog] = OrderedDict()
        self._made = 0

    def make_log(self, request_id: RequestId) -> EventLog:
        """Return the log of a new stream, which answers a request."""
        self._made += 1
        return EventLog(self._stamp, str(self._made), request_id)

    def keep(self, log: EventLog) -> None:
        """Keep a stream that its client may come back for; the oldest that are done make room."""
        self._streams[log.stream] = log
        done = [name for name, kept in self._streams.items() if kept.done]
        for name in done[:-_MAX_STREAMS]:
            del self._streams[name]

    def trim(self) -> None:
        """Forget the streams that nobody came back for."""
        due = anyio.current_time() - _STREAM_TIME
        for name in [name for name, kept in self._streams.items() if kept.done and kept.added_at <= due]:
            del self._streams[name]

    def find(self, event_id: EventId) -> EventLog | None:
        """Return the stream that an event was sent on; None where it is not known any more."""
        if event_id.stamp != self._stamp:
            return None
        return self.standing if event_id.stream == STANDING else self._streams.get(event_id.stream)


class Sessions:
    """All of them.

    Args:
        key: Makes and reads their ids.
    """

    def __init__(self, key: SessionKey) -> None:
        self.stamp = secrets.token_hex(4)
        self._key = key
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, served: Served, caller: Caller, capabilities: Json) -> Session:
        """Begin a session.

        Args:
            served: Whom it talks with.
            caller: Who it is.
            capabilities: What the endpoint does.
        """
        session_id = self._key.make(served.path, caller)
        known = self._key.read(session_id, served.path, caller.principal, caller.role)
        assert known is not None, "an id that was just made is not known"
        return self._add(session_id, Conversation(served, known.caller, capabilities, self.stamp))

    async def find(self, session_id: str, served: Served, principal: str, role: Role) -> Session | None:
        """Return the session of an id, from memory or by what the id says.

        Args:
            session_id: As the client sent it.
            served: Whom the client sent it to.
            principal: Who sent it.
            role: What they may do.

        Returns:
            None where it is not ours, of another path or principal, or ended.
        """
        known = self._key.read(session_id, served.path, principal, role)
        if known is None or session_id in self._ended:
            return None
        session = self._sessions.get(session_id)
        if session is not None and session.conversation.served is not served:
            self._drop(session)  # another endpoint answers at this path now
            session = None
        if session is None:
            greeting = await served.greet(known.caller)
            session = self._sessions.get(session_id)  # two requests may come at once
            if session is None:
                conversation = Conversation(served, known.caller, greeting.capabilities, self.stamp)
                session = self._add(session_id, conversation)
                conversation.listen(missed=True)
        session.conversation.take_role(role)
        session.used_at = anyio.current_time()
        self._sessions.move_to_end(session_id)
        return session

    def end(self, session: Session) -> None:
        """End a session for good."""
        self._drop(session)
        self._ended[session.session_id] = None
        while len(self._ended) > _MAX_ENDED:
            self._ended.popitem(last=False)

    def sweep(self) -> None:
        """Let those go that nobody used for long."""
        due = anyio.current_time() - IDLE_TIME
        for session in [one for one in self._sessions.values() if not one.open and one.used_at <= due]:
            self._drop(session)
        for session in self._sessions.values():
            session.trim()

    def close(self) -> None:
        """Let all go."""
        for session in list(self._sessions.values()):
            self._drop(session)

    def _add(self, session_id: str, conversation: Conversation) -> Session:
        self._sessions[session_id] = session = Session(session_id, conversation, self.stamp)
        if len(self._sessions) > MAX_SESSIONS:
            idle = next((one for one in self._sessions.values() if not one.open and one is not session), None)
            if idle is not None:
                self._drop(idle)
        return session

    def _drop(self, session: Session) -> None:
        self._sessions.pop(session.session_id, None)
        session.conversation.close()
        if session.listener is not None:
            session.listener.cancel()
