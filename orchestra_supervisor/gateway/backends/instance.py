"""One instance of a server: the task that connects it, keeps it connected, and knows how it is.

The task is the sole owner of the link. It finds out how the server speaks, fetches its lists, hears what
it says of itself, asks it now and then whether it is there, and begins again when it is gone. Those who
call come in from their own tasks, and take a call with them; when the server goes away each of them is
told at once.
"""

from collections.abc import Sequence
from contextlib import suppress
from math import inf

import anyio

from orchestra_supervisor.gateway.backends.fields import member, text
from orchestra_supervisor.gateway.backends.framing import Noise
from orchestra_supervisor.gateway.backends.health import CRASH_WINDOW, Facts, backoff, is_crash_loop
from orchestra_supervisor.gateway.backends.introduction import Introduction, introduce
from orchestra_supervisor.gateway.backends.link import Call, Link, LinkError, Trouble
from orchestra_supervisor.gateway.backends.lister import Listener, Lister
from orchestra_supervisor.gateway.backends.listing import Lists
from orchestra_supervisor.gateway.backends.mailbox import Mailbox
from orchestra_supervisor.gateway.backends.probing import is_answering, try_canary
from orchestra_supervisor.gateway.backends.sources import Source
from orchestra_supervisor.gateway.backends.spec import BackendSpec
from orchestra_supervisor.gateway.backends.standing import Standing
from orchestra_supervisor.gateway.backends.subscriptions import Subscriptions
from orchestra_supervisor.gateway.endpoint import ChangeKind, Era
from orchestra_supervisor.gateway.messages import INVALID_REQUEST, Json, RpcError

__all__ = ["Instance"]

_START_LIMIT = 60.0  # seconds for the introduction: npx and uvx may have to fetch the server first
_COALESCE = 0.25  # seconds in which changes that a server tells of are put together
_PROBE_EVERY = 30.0  # seconds without an answer after which the server is asked whether it is there
_PROBE_LIMIT = 5.0  # seconds for the answer
_BUSY_LIMIT = 30.0  # likewise while calls are on their way: a server with one thread is busy with them
_ANSWERS = 64  # refusals that may wait to be sent

_KINDS = {kind.value: kind for kind in ChangeKind if kind is not ChangeKind.RESOURCE}


class Instance:
    """See the module.

    Args:
        name: For messages: the backend, or the member.
        spec: Of the backend.
        source: Of links.
        listener: Told of lists and resources.
        client: Client capabilities to tell of in a handshake.
        era: Spoken whatever else the server can; None: what it prefers.
        known_era: How the server spoke the last time.
        is_lister: It fetches the lists.
    """

    def __init__(
        self,
        name: str,
        spec: BackendSpec,
        source: Source,
        listener: Listener,
        *,
        client: Json,
        era: Era | None = None,
        known_era: Era | None = None,
        is_lister: bool = True,
    ) -> None:
        self.name = name
        self.source = source
        self.noise = Noise()
        self.subscriptions = Subscriptions(self._take, self.report)
        self._standing = Standing(self.subscriptions)
        self.lock = anyio.Lock()
        """Held while it is started or stopped."""
        self.in_flight = 0
        self.last_used = anyio.current_time()
        self.starts = 0
        self.is_expected_down = True
        """Nobody has seen it run, or it was stopped on purpose."""
        self._spec = spec
        self._listener = listener
        self._client = client
        self._era = era
        self._known_era = known_era
        self._lister = Lister(listener, is_idle=not is_lister)
        self._link: Link | None = None
        self.introduction: Introduction | None = None
        self._ready = anyio.Event()
        self._news = anyio.Event()
        self._stale: set[ChangeKind] = set()
        self._error: LinkError | None = None
        self._trouble: LinkError | None = None
        self._failures = 0
        self._crashes = 0
        self._unanswered = 0
        self._canary = ""
        self.ready_since = 0.0
        self.last_answer = 0.0
        self._answers = Mailbox(_ANSWERS)

    @property
    def is_ready(self) -> bool:
        """Return whether it can be called."""
        return self._link is not None and self.introduction is not None

    def is_idle_since(self, moment: float) -> bool:
        """Return whether nobody has used it since then, or wants to hear of it."""
        is_unused = not self.in_flight and not self.subscriptions.uris
        return is_unused and max(self.last_used, self.ready_since) < moment

    @property
    def crashes(self) -> int:
        """Return how often in a row it ended soon after its start."""
        return self._crashes

    @property
    def unanswered(self) -> int:
        """Return how many probes in a row got no answer."""
        return self._unanswered

    @property
    def trouble(self) -> LinkError | None:
        """Return why it is not connected, where that is known."""
        return self._trouble

    async def wait_tried(self) -> None:
        """Wait until it can be called, or an attempt has failed."""
        await self._ready.wait()

    def facts(self) -> Facts:
        """Return what is known of it."""
        return Facts(
            is_up=self.source.is_up,
            is_demanded=bool(self._spec.service) and self.is_expected_down,
            is_connected=self.is_ready,
            trouble=self._trouble.trouble if self._trouble is not None else None,
            why=self._trouble.reason if self._trouble is not None else "",
            crashes=self._crashes,
            unanswered=self._unanswered,
            shrunk=self._lister.shrunk,
            faults=self._lister.faults,
            canary=self._canary,
        )

    async def begin(
        self, method: str, params: Json, *, has_progress: bool, headers: Sequence[tuple[str, str]] = ()
    ) -> Call:
        """Send a client's request.

        Raises:
            LinkError: It is not connected, or gone.
        """
        if self._link is None:
            raise self._trouble or LinkError(Trouble.LOST, "it is not connected", was_sent=False)
        return await self._link.begin(
            method, params, has_progress=has_progress, headers=headers, is_attended=True
        )

    async def notify(self, method: str, params: Json) -> None:
        """Send a client's notification; dropped where it is not connected."""
        if self._link is not None:
            await self._link.notify(method, params)

    def answered(self) -> None:
        """Note that it answered."""
        self.last_answer = anyio.current_time()
        self._unanswered = 0

    def report(self, error: LinkError) -> None:
        """Note that a call found it gone."""
        if (
            self._error is None
            and error.trouble not in {Trouble.FAULT, Trouble.BUSY}
            and self._link is not None
        ):
            self._error = error
            self._lose()

    def let_go(self) -> None:
        """Hold nothing open to a server that is told to end; calls that are on their way go on."""
        self.is_expected_down = True
        self._standing.let_go()

    def take_up(self, *, is_up: bool) -> None:
        """Be told that no run of the server is ending; `is_up`: it may be there to be connected."""
        if self._standing.is_let_go:
            self._standing.take_up()
            self.report(LinkError(Trouble.LOST, "its service was stopped"))
        if is_up and not self.is_ready:
            self._failures = 0
            self.source.poke()

    async def run(self) -> None:
        """Connect, serve, begin again. For a task, which is cancelled to end it."""
        while True:
            self.ready_since = 0.0
            try:
                link, known = await self.source.open(self._take, self.noise)
                if self.source.is_up:
                    self.is_expected_down = False
                error = await self._live(link, known)
            except LinkError as found:
                error = found
            if not self.ready_since and self.source.failed(error):
                continue  # there is another address to try
            self._note_end(error)
            is_hopeless = is_crash_loop(self._crashes) or error.trouble in {Trouble.AUTH, Trouble.NOT_MCP}
            await self.source.rest(backoff(self._failures, is_hopeless=is_hopeless))

    async def _live(self, link: Link, known: Introduction | None) -> LinkError:
        self._error, self._news = None, anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self._run_link, link)
            group.start_soon(self._send_answers, link)
            try:
                with anyio.fail_after(_START_LIMIT):
                    introduction = known or await self._introduce(link)
                    lists = await self._lister.fetch(link, introduction, frozenset())
                    if known is not None and "tools" in lists.faults:
                        introduction = await self._introduce(link)  # it is not what it was
                        lists = await self._lister.fetch(link, introduction, frozenset())
            except LinkError as error:
                self._error = self._error or error
            except RpcError as error:
                reason = f"it refuses to be connected: {error.message[:300]}"
                self._error = self._error or LinkError(Trouble.NOT_MCP, reason)
            except TimeoutError:
                reason = f"it runs, and did not introduce itself within {_START_LIMIT:g} s"
                self._error = self._error or LinkError(Trouble.SILENT, reason)
            else:
                self._become_ready(link, introduction, lists)
                group.start_soon(self._standing.run, link, introduction)
                await self._serve(link, introduction)
            self._link = None
            group.cancel_scope.cancel()
        return self._error or LinkError(Trouble.LOST, "it went away")

    async def _run_link(self, link: Link) -> None:
        error = await link.run()
        self._error = self._error or error
        self._lose()  # before those whose calls failed with it ask again

    def _lose(self) -> None:
        """Take note that the link is gone; who waits from here on waits for the next attempt."""
        self._link = None
        if self._ready.is_set():
            self._ready = anyio.Event()
        self._news.set()

    async def _introduce(self, link: Link) -> Introduction:
        era = self._era or self._known_era
        try:
            introduction = await introduce(link, era=era, client=self._client)
        except RpcError:
            self._known_era = None  # it may be another server by now: the next time it is found out anew
            raise
        self._known_era = introduction.era
        if self._era is None:
            self.source.met(introduction)
        return introduction

    def _become_ready(self, link: Link, introduction: Introduction, lists: Lists) -> None:
        self.introduction, self._link = introduction, link
        self._trouble = None
        self.is_expected_down = False
        self.starts += 1
        self.ready_since = anyio.current_time()
        self.answered()
        self._lister.publish(lists, introduction, frozenset())
        self._ready.set()

    def _note_end(self, error: LinkError) -> None:
        self._link = None
        self._trouble = error
        if self.ready_since:
            self._failures = 0
            if anyio.current_time() - self.ready_since >= CRASH_WINDOW:
                self._crashes = 0
        if not self.is_expected_down:
            self._failures += 1
            # What never answered over HTTP is down; that it ended again and again is not known.
            is_end = error.trouble is Trouble.LOST and (self._spec.is_stdio or self.ready_since)
            self._crashes += bool(is_end)
        waiting, self._ready = self._ready, anyio.Event()
        waiting.set()

    async def _serve(self, link: Link, introduction: Introduction) -> None:
        """Do what is due until the link is lost."""
        probe_at = anyio.current_time() + _PROBE_EVERY
        while self._error is None:
            now = anyio.current_time()
            doubt_at = self.ready_since + self._lister.doubt if self._lister.doubt is not None else inf
            due = min(probe_at, doubt_at)
            if not self._stale:
                with anyio.move_on_after(max(0.0, due - now)):
                    await self._news.wait()
            self._news = anyio.Event()
            if self._error is not None:
                return
            if self._stale:
                await anyio.sleep(_COALESCE)
                kinds, self._stale = frozenset(self._stale), set[ChangeKind]()
                await self._refresh(link, introduction, kinds)
            elif anyio.current_time() >= doubt_at:
                self._lister.doubted()
                await self._refresh(link, introduction, frozenset())
            if anyio.current_time() >= probe_at:
                await self._probe(link, introduction)
                probe_at = anyio.current_time() + _PROBE_EVERY

    async def _refresh(self, link: Link, introduction: Introduction, kinds: frozenset[ChangeKind]) -> None:
        try:
            lists = await self._lister.fetch(link, introduction, kinds)
        except LinkError as error:
            self._error = self._error or error
        else:
            self.answered()
            self._lister.publish(lists, introduction, kinds)

    async def _probe(self, link: Link, introduction: Introduction) -> None:
        if anyio.current_time() - self.last_answer < _PROBE_EVERY:
            return
        canary = self._spec.canary
        try:
            if not await is_answering(link, introduction, _BUSY_LIMIT if self.in_flight else _PROBE_LIMIT):
                self._unanswered += 1
                return
            self.answered()
            if canary is not None:
                self._canary = await try_canary(link, introduction, canary, self._spec.timeout)
        except LinkError as error:
            self._error = self._error or error

    def _take(self, message: Json) -> None:
        """Take what belongs to no call."""
        method = text(message, "method")
        if "id" in message:
            self._refuse(message, method)
        elif method in _KINDS:
            self._stale.add(_KINDS[method])
            self._news.set()
        elif method == ChangeKind.RESOURCE:
            self._listener.updated(text(member(message, "params"), "uri"))

    def _refuse(self, message: Json, method: str) -> None:
        """Answer a question that cannot be put to anybody."""
        answer: Json = {"jsonrpc": "2.0", "id": message["id"]}
        if method == "ping":
            answer["result"] = {}
        else:
            what = "it could belong to several calls" if self.in_flight else "it belongs to no call"
            error = RpcError(INVALID_REQUEST, f"{method} cannot be put to a client: {what}")
            answer["error"] = error.to_json()
            self.noise.unattributed += 1
        self._answers.put(answer)

    async def _send_answers(self, link: Link) -> None:
        while True:
            answer = await self._answers.get()
            with suppress(LinkError):
                await link.respond(answer)
