"""The control API: HTTP and JSON over the Unix socket, SSE for what goes on. See docs/control-api.md."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from orchestra_supervisor.control import Ask, Control
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.logfile.scan import Span
from orchestra_supervisor.logfile.search import Query
from orchestra_supervisor.model.errors import InvalidRequest, OrchestraError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.plugin import PluginReport
from orchestra_supervisor.surfaces.edge import (
    Handler,
    Json,
    body_of,
    caller_of,
    encoded,
    guarded,
    http_error,
    number_of,
    pattern_of,
    seconds_of,
)
from orchestra_supervisor.surfaces.figures import FigureTeller
from orchestra_supervisor.surfaces.log_stream import LogReader
from orchestra_supervisor.surfaces.requests import (
    DemandRequest,
    PlanRequest,
    ReloadRequest,
    RestartRequest,
    RunRequest,
    ScaleRequest,
    ShutdownRequest,
    SignalRequest,
    TellRequest,
    WaitRequest,
)
from orchestra_supervisor.surfaces.sse import SseResponse, encode_event
from orchestra_supervisor.surfaces.status import StatusTeller
from orchestra_supervisor.surfaces.web import Application, Request, Response, Route

__all__ = ["ApiContext", "make_app"]

_LINES_LIMIT = 10_000
_AROUND_LIMIT = 1_000
_EVENTS_LIMIT = 10_000
_REPLAY_LIMIT = 10_000
_DIGITS = 18


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What the API serves.

    Attributes:
        control: The verbs.
        version: Of the product.
        describe: Returns the `daemon` object of status.
        log_path: Returns the log file of a service.
        plugins: Returns the plugins as they stand.
        more: Further routes, as the modules beside this one make them.
    """

    control: Control
    version: str
    describe: Callable[[], dict[str, object]]
    log_path: Callable[[str], Path]
    plugins: Callable[[], list[PluginReport]] = list
    more: Callable[[anyio.Event], Sequence[Route]] = lambda _: ()


def make_app(context: ApiContext) -> Application:
    """Return the ASGI application."""
    api = _Api(context)
    # The socket is there before the services are: a client that is early waits, it is not told nonsense.
    known = context.control.supervisor.taken_over
    routes = [
        Route("/v1/health", guarded(api.health, known)),
        Route("/v1/status", guarded(api.status, known)),
        Route("/v1/figures", guarded(api.figures, known)),
        Route("/v1/services/{name}/figures", guarded(api.service_figures, known)),
        Route("/v1/events", guarded(api.events, known)),
        Route("/v1/events/stream", guarded(api.event_stream, known)),
        Route("/v1/logs/{name}", guarded(api.logs, known)),
        Route("/v1/logs/{name}/search", guarded(api.log_search, known)),
        Route("/v1/logs/{name}/stream", guarded(api.log_stream, known)),
        Route("/v1/plugins", guarded(api.plugins, known)),
        Route("/openapi.json", guarded(api.openapi, known)),
        Route("/v1/restart", guarded(api.restart, known), methods=["POST"]),
        Route("/v1/scale", guarded(api.scale, known), methods=["POST"]),
        Route("/v1/wait", guarded(api.wait, known), methods=["POST"]),
        Route("/v1/run", guarded(api.run, known), methods=["POST"]),
        Route("/v1/signal", guarded(api.signal, known), methods=["POST"]),
        Route("/v1/tell", guarded(api.tell, known), methods=["POST"]),
        Route("/v1/plan", guarded(api.plan, known), methods=["POST"]),
        Route("/v1/reload", guarded(api.reload, known), methods=["POST"]),
        Route("/v1/shutdown", guarded(api.shutdown, known), methods=["POST"]),
    ]
    routes += [
        Route(f"/v1/{verb}", guarded(api.verb(verb), known), methods=["POST"]) for verb in ("start", "stop")
    ]
    routes += context.more(known)
    return Application(routes, http_error)


class _Api:
    def __init__(self, context: ApiContext) -> None:
        self._control = context.control
        self._context = context
        self._logs = LogReader()
        self._figures = FigureTeller(context.control)
        self._status = StatusTeller(context.control, context.describe)

    # Reading.

    async def health(self, _request: Request) -> Response:
        return Json({"ok": True, "pid": os.getpid(), "version": self._context.version})

    async def openapi(self, _request: Request) -> Response:
        # Hardly anybody asks, so that it is made for whoever does.
        from orchestra_supervisor.surfaces.openapi import openapi_document  # noqa: PLC0415

        return Json(openapi_document(self._context.version))

    async def status(self, request: Request) -> Response:
        names = [name for name in request.query_params.get("names", "").split(",") if name]
        return Response(await self._status.answer(names))

    async def figures(self, request: Request) -> Response:
        since = request.query_params.get("since")
        return Json(await self._figures.overview(None if since is None else seconds_of(since)))

    async def service_figures(self, request: Request) -> Response:
        name = self._control.resolve([request.path_params["name"]])[0]
        since = seconds_of(request.query_params.get("since", "3600"))
        return Json(await self._figures.history(name, since))

    async def events(self, request: Request) -> Response:
        query = EventQuery(
            after=number_of(request, "after", 0),
            limit=min(number_of(request, "limit", 100), _EVENTS_LIMIT),
            service=request.query_params.get("service", ""),
            kind_prefix=request.query_params.get("kind", ""),
        )
        found = await self._control.events(query)
        last = self._control.journal.last_seq()
        # One after another: a thousand of them as objects take five times what their text does.
        rows = b",".join(encoded(event.to_dict()) for event in found)
        return Response(b'{"events":[%b],"last":%d}' % (rows, last))

    async def event_stream(self, request: Request) -> Response:
        after = request.query_params.get("after") or request.headers.get("last-event-id")
        wanted = EventQuery(
            service=request.query_params.get("service", ""), kind_prefix=request.query_params.get("kind", "")
        )
        stream = self._control.bus.subscribe(wanted.matches)
        try:
            backfill = await self._missed(after, wanted)
        except OrchestraError:
            stream.close()
            raise
        if len(backfill) == _REPLAY_LIMIT:  # more was missed than one answer holds: the client comes back
            stream.close()
            stream = _ended_stream()
        replayed: set[int] = set()

        def encode(event: Event) -> bytes:
            return b"" if event.seq in replayed else encode_event(event)

        response = SseResponse(stream, encode, backfill=backfill)
        # What happened while the journal was read is in both; the backfill has been encoded by now.
        replayed.update(event.seq for event in backfill)
        return response

    async def _missed(self, after: str | None, wanted: EventQuery) -> list[Event]:
        """Return what came after a seq that the client names. Subscribed first, so nothing falls between."""
        if after is None:
            return []
        if not after.isascii() or not after.isdigit() or len(after) > _DIGITS:
            raise InvalidRequest(f"after={after!r} is not a sequence number")
        replay = EventQuery(int(after), _REPLAY_LIMIT, wanted.service, wanted.kind_prefix, newest=False)
        return await self._control.events(replay)

    async def plugins(self, _request: Request) -> Response:
        return Json({"plugins": [report.to_dict() for report in self._context.plugins()]})

    async def logs(self, request: Request) -> Response:
        name = self._control.resolve([request.path_params["name"]])[0]
        since = request.query_params.get("since")
        lines = await self._logs.tail(
            self._context.log_path(name),
            limit=min(number_of(request, "lines", 100), _LINES_LIMIT),
            since_wall=None if since is None else self._control.clock.wall() - seconds_of(since),
            pattern=pattern_of(request),
        )
        return Json({"lines": lines})

    async def log_search(self, request: Request) -> Response:
        name = self._control.resolve([request.path_params["name"]])[0]
        now = self._control.clock.wall()
        since, until = (request.query_params.get(key) for key in ("since", "until"))
        query = Query(
            Span.of(
                None if since is None else now - seconds_of(since),
                None if until is None else now - seconds_of(until, "until"),
            ),
            pattern_of(request),
            before=min(number_of(request, "before", 0), _AROUND_LIMIT),
            after=min(number_of(request, "after", 0), _AROUND_LIMIT),
        )
        most = _LINES_LIMIT // (1 + query.before + query.after)  # matches: those around are lines, too
        limit = min(number_of(request, "lines", 100), most)
        return Json(await self._logs.search(self._context.log_path(name), query, limit=limit))

    async def log_stream(self, request: Request) -> Response:
        name = self._control.resolve([request.path_params["name"]])[0]
        lines = min(number_of(request, "lines", 0), _LINES_LIMIT)
        return self._logs.follow(self._context.log_path(name), limit=lines, pattern=pattern_of(request))

    # Changing.

    def verb(self, name: str) -> Handler:
        async def handle(request: Request) -> Response:
            who, body = caller_of(request, self._control), await body_of(request, DemandRequest)
            ask = Ask(body.wait != "none", body.timeout, body.reason, body.with_dependents, body.demand)
            carry_out = {"start": self._control.start, "stop": self._control.stop}[name]
            results = await carry_out(who, body.names, ask)
            return Json({"results": [result.to_dict() for result in results]})

        return handle

    async def restart(self, request: Request) -> Response:
        who, body = caller_of(request, self._control), await body_of(request, RestartRequest)
        ask = Ask(body.wait != "none", body.timeout, body.reason, body.with_dependents, body.demand)
        if body.rolling:
            results = await self._control.roll(who, body.names, ask, body.batch)
        else:
            results = await self._control.restart(who, body.names, ask)
        return Json({"results": [result.to_dict() for result in results]})

    async def scale(self, request: Request) -> Response:
        who, body = caller_of(request, self._control), await body_of(request, ScaleRequest)
        ask = Ask(body.wait != "none", body.timeout, body.reason)
        results = await self._control.scale(who, body.replicas, ask)
        return Json({"results": [result.to_dict() for result in results]})

    async def run(self, request: Request) -> Response:
        who, body = caller_of(request, self._control), await body_of(request, RunRequest)
        ask = Ask(body.wait != "none", body.timeout, body.reason)
        results = await self._control.run(who, body.names, ask)
        return Json({"results": [result.to_dict() for result in results]})

    async def signal(self, request: Request) -> Response:
        who, body = caller_of(request, self._control), await body_of(request, SignalRequest)
        name = body.signal if body.signal.startswith("SIG") else f"SIG{body.signal}"
        results = await self._control.signal(who, body.names, name, body.scope)
        return Json({"results": [result.to_dict() for result in results]})

    async def tell(self, request: Request) -> Response:
        who, body = caller_of(request, self._control), await body_of(request, TellRequest)
        results = await self._control.tell(who, body.names)
        return Json({"results": [result.to_dict() for result in results]})

    async def wait(self, request: Request) -> Response:
        body = await body_of(request, WaitRequest)
        results = await self._control.wait(body.names, body.goal, body.timeout)
        return Json({"met": True, "results": [result.to_dict() for result in results]})

    async def plan(self, request: Request) -> Response:
        body = await body_of(request, PlanRequest)
        report = await self._control.plan(caller_of(request, self._control), body.files)
        return Json({"changes": not report.is_empty, **report.to_dict()})

    async def reload(self, request: Request) -> Response:
        await body_of(request, ReloadRequest)
        done = await self._control.reload(caller_of(request, self._control))
        rolls = [self._control.supervisor.roller.report(group) for group in done.rolling]
        return Json({**done.to_dict(), "rolls": [roll for roll in rolls if roll is not None]})

    async def shutdown(self, request: Request) -> Response:
        who, body = caller_of(request, self._control), await body_of(request, ShutdownRequest)
        return Json({"stopping": await self._control.shutdown(who, body.reason)})


def _ended_stream() -> MemoryObjectReceiveStream[Event]:
    send, receive = anyio.create_memory_object_stream[Event]()
    send.close()
    return receive
