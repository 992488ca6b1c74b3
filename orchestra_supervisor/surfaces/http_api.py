"""The control API: HTTP and JSON over the Unix socket, SSE for what goes on. See docs/control-api.md."""

import grp
import json
import os
import pwd
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestra_supervisor.control import Ask, Control, Principal, Role
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.logfile.scan import Span
from orchestra_supervisor.logfile.search import Query
from orchestra_supervisor.model.errors import ControlDenied, InvalidRequest, OrchestraError
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.plugin import PluginReport
from orchestra_supervisor.surfaces.figures import FigureTeller
from orchestra_supervisor.surfaces.log_stream import LogReader
from orchestra_supervisor.surfaces.openapi import openapi_document
from orchestra_supervisor.surfaces.peer import peer_of
from orchestra_supervisor.surfaces.requests import (
    PlanRequest,
    ReloadRequest,
    RestartRequest,
    RunRequest,
    ScaleRequest,
    ShutdownRequest,
    SignalRequest,
    TellRequest,
    VerbRequest,
    WaitRequest,
)
from orchestra_supervisor.surfaces.sse import SseResponse, encode_event

__all__ = ["BODY_LIMIT", "ApiContext", "make_app"]

BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body; five thousand names fit many times."""
_LINES_LIMIT = 10_000
_AROUND_LIMIT = 1_000
_EVENTS_LIMIT = 10_000
_REPLAY_LIMIT = 10_000
_DIGITS = 18

Handler = Callable[[Request], Awaitable[Response]]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What the API serves.

    Attributes:
        control: The verbs.
        version: Of the product.
        describe: Returns the `daemon` object of status.
        log_path: Returns the log file of a service.
        plugins: Returns the plugins as they stand.
    """

    control: Control
    version: str
    describe: Callable[[], dict[str, object]]
    log_path: Callable[[str], Path]
    plugins: Callable[[], list[PluginReport]] = list


def make_app(context: ApiContext) -> Starlette:
    """Return the ASGI application."""
    api = _Api(context)
    # The socket is there before the services are: a client that is early waits, it is not told nonsense.
    known = context.control.supervisor.taken_over
    routes = [
        Route("/v1/health", _guarded(api.health, known)),
        Route("/v1/status", _guarded(api.status, known)),
        Route("/v1/figures", _guarded(api.figures, known)),
        Route("/v1/services/{name}/figures", _guarded(api.service_figures, known)),
        Route("/v1/events", _guarded(api.events, known)),
        Route("/v1/events/stream", _guarded(api.event_stream, known)),
        Route("/v1/logs/{name}", _guarded(api.logs, known)),
        Route("/v1/logs/{name}/search", _guarded(api.log_search, known)),
        Route("/v1/logs/{name}/stream", _guarded(api.log_stream, known)),
        Route("/v1/plugins", _guarded(api.plugins, known)),
        Route("/openapi.json", _guarded(api.openapi, known)),
        Route("/v1/restart", _guarded(api.restart, known), methods=["POST"]),
        Route("/v1/scale", _guarded(api.scale, known), methods=["POST"]),
        Route("/v1/wait", _guarded(api.wait, known), methods=["POST"]),
        Route("/v1/run", _guarded(api.run, known), methods=["POST"]),
        Route("/v1/signal", _guarded(api.signal, known), methods=["POST"]),
        Route("/v1/tell", _guarded(api.tell, known), methods=["POST"]),
        Route("/v1/plan", _guarded(api.plan, known), methods=["POST"]),
        Route("/v1/reload", _guarded(api.reload, known), methods=["POST"]),
        Route("/v1/shutdown", _guarded(api.shutdown, known), methods=["POST"]),
    ]
    routes += [
        Route(f"/v1/{verb}", _guarded(api.verb(verb), known), methods=["POST"]) for verb in ("start", "stop")
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})


def _error_response(error: OrchestraError, status: int | None = None) -> JSONResponse:
    return _Json({"error": error.to_dict()}, status_code=status or error.kind.http)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = InvalidRequest(
        f"{request.method} {request.url.path}: {error.detail}", hint="docs/control-api.md lists the requests"
    )
    return _error_response(problem, error.status_code)


def _guarded(handler: Handler, known: anyio.Event) -> Handler:
    """Turn our errors into their HTTP form; the edge where a request's fault must not end the daemon."""

    @wraps(handler)
    async def guarded(request: Request) -> Response:
        try:
            await known.wait()
            return await handler(request)
        except OrchestraError as error:
            return _error_response(error)
        except Exception as error:  # noqa: BLE001  # a request's edge
            problem = OrchestraError(
                f"{type(error).__name__}: {error}", hint="this is a fault of ours: please report it"
            )
            return _error_response(problem)

    return guarded


class _Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False, default=str).encode(
            "utf-8", "backslashreplace"
        )


class _Api:
    def __init__(self, context: ApiContext) -> None:
        self._control = context.control
        self._context = context
        self._logs = LogReader()
        self._figures = FigureTeller(context.control)
        self._document = openapi_document(context.version)

    # Reading.

    async def health(self, _request: Request) -> Response:
        return _Json({"ok": True, "pid": os.getpid(), "version": self._context.version})

    async def openapi(self, _request: Request) -> Response:
        return _Json(self._document)

    async def status(self, request: Request) -> Response:
        names = [name for name in request.query_params.get("names", "").split(",") if name]
        services = [
            report.to_dict() | {"figures": self._figures.latest(report.name)}
            for report in self._control.reports(names)
        ]
        return _Json({"daemon": self._context.describe(), "services": services})

    async def figures(self, request: Request) -> Response:
        since = request.query_params.get("since")
        return _Json(await self._figures.overview(None if since is None else _seconds(since)))

    async def service_figures(self, request: Request) -> Response:
        name = self._control.resolve([request.path_params["name"]])[0]
        since = _seconds(request.query_params.get("since", "3600"))
        return _Json(await self._figures.history(name, since))

    async def events(self, request: Request) -> Response:
        query = EventQuery(
            after=_number(request, "after", 0),
            limit=min(_number(request, "limit", 100), _EVENTS_LIMIT),
            service=request.query_params.get("service", ""),
            kind_prefix=request.query_params.get("kind", ""),
        )
        found = await self._control.events(query)
        last = self._control.journal.last_seq()
        return _Json({"events": [event.to_dict() for event in found], "last": last})

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
        return _Json({"plugins": [report.to_dict() for report in self._context.plugins()]})

    async def logs(self, request: Request) -> Response:
        name = self._control.resolve([request.path_params["name"]])[0]
        since = request.query_params.get("since")
        lines = await self._logs.tail(
            self._context.log_path(name),
            limit=min(_number(request, "lines", 100), _LINES_LIMIT),
            since_wall=None if since is None else self._control.clock.wall() - _seconds(since),
            pattern=_pattern(request),
        )
        return _Json({"lines": lines})

    async def log_search(self, request: Request) -> Response:
        name = self._control.resolve([request.path_params["name"]])[0]
        now = self._control.clock.wall()
        since, until = (request.query_params.get(key) for key in ("since", "until"))
        query = Query(
            Span.of(
                None if since is None else now - _seconds(since),
                None if until is None else now - _seconds(until, "until"),
            ),
            _pattern(request),
            before=min(_number(request, "before", 0), _AROUND_LIMIT),
            after=min(_number(request, "after", 0), _AROUND_LIMIT),
        )
        most = _LINES_LIMIT // (1 + query.before + query.after)  # matches: those around are lines, too
        limit = min(_number(request, "lines", 100), most)
        return _Json(await self._logs.search(self._context.log_path(name), query, limit=limit))

    async def log_stream(self, request: Request) -> Response:
        name = self._control.resolve([request.path_params["name"]])[0]
        lines = min(_number(request, "lines", 0), _LINES_LIMIT)
        return self._logs.follow(self._context.log_path(name), limit=lines, pattern=_pattern(request))

    # Changing.

    def verb(self, name: str) -> Handler:
        async def handle(request: Request) -> Response:
            who, body = _principal(request, self._control), await _body(request, VerbRequest)
            ask = Ask(body.wait != "none", body.timeout, body.reason, body.with_dependents)
            carry_out = {"start": self._control.start, "stop": self._control.stop}[name]
            results = await carry_out(who, body.names, ask)
            return _Json({"results": [result.to_dict() for result in results]})

        return handle

    async def restart(self, request: Request) -> Response:
        who, body = _principal(request, self._control), await _body(request, RestartRequest)
        ask = Ask(body.wait != "none", body.timeout, body.reason, body.with_dependents)
        if body.rolling:
            results = await self._control.roll(who, body.names, ask, body.batch)
        else:
            results = await self._control.restart(who, body.names, ask)
        return _Json({"results": [result.to_dict() for result in results]})

    async def scale(self, request: Request) -> Response:
        who, body = _principal(request, self._control), await _body(request, ScaleRequest)
        ask = Ask(body.wait != "none", body.timeout, body.reason)
        results = await self._control.scale(who, body.replicas, ask)
        return _Json({"results": [result.to_dict() for result in results]})

    async def run(self, request: Request) -> Response:
        who, body = _principal(request, self._control), await _body(request, RunRequest)
        ask = Ask(body.wait != "none", body.timeout, body.reason)
        results = await self._control.run(who, body.names, ask)
        return _Json({"results": [result.to_dict() for result in results]})

    async def signal(self, request: Request) -> Response:
        who, body = _principal(request, self._control), await _body(request, SignalRequest)
        name = body.signal if body.signal.startswith("SIG") else f"SIG{body.signal}"
        results = await self._control.signal(who, body.names, name, body.scope)
        return _Json({"results": [result.to_dict() for result in results]})

    async def tell(self, request: Request) -> Response:
        who, body = _principal(request, self._control), await _body(request, TellRequest)
        results = await self._control.tell(who, body.names)
        return _Json({"results": [result.to_dict() for result in results]})

    async def wait(self, request: Request) -> Response:
        body = await _body(request, WaitRequest)
        results = await self._control.wait(body.names, body.goal, body.timeout)
        return _Json({"met": True, "results": [result.to_dict() for result in results]})

    async def plan(self, request: Request) -> Response:
        body = await _body(request, PlanRequest)
        report = await self._control.plan(_principal(request, self._control), body.files)
        return _Json({"changes": not report.is_empty, **report.to_dict()})

    async def reload(self, request: Request) -> Response:
        await _body(request, ReloadRequest)
        done = await self._control.reload(_principal(request, self._control))
        rolls = [self._control.supervisor.roller.report(group) for group in done.rolling]
        return _Json({**done.to_dict(), "rolls": [roll for roll in rolls if roll is not None]})

    async def shutdown(self, request: Request) -> Response:
        who, body = _principal(request, self._control), await _body(request, ShutdownRequest)
        return _Json({"stopping": await self._control.shutdown(who, body.reason)})


def _ended_stream() -> MemoryObjectReceiveStream[Event]:
    send, receive = anyio.create_memory_object_stream[Event]()
    send.close()
    return receive


# What requests bring.


def _principal(request: Request, control: Control) -> Principal:
    """Return the caller by the socket's credentials: never by anything that the request says."""
    peer = peer_of(request.scope)
    if peer is None:
        raise ControlDenied("the system does not say who calls", hint="use the Unix socket of the fleet")
    try:
        user = pwd.getpwuid(peer.uid).pw_name
    except KeyError:
        user = "unknown user"
    name = f"{user} (uid {peer.uid}, pid {peer.pid})"
    if peer.uid in {0, os.geteuid()}:
        return Principal(name, Role.ADMIN)
    group = control.supervisor.fleet.settings.control_group
    if group is not None and grp.getgrnam(group).gr_gid in {peer.gid, *peer.groups}:
        return Principal(name, Role.OPERATOR)
    return Principal(name, Role.VIEWER)


async def _body(request: Request, model: type[M]) -> M:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_LIMIT:
            raise InvalidRequest(f"the body is over {BODY_LIMIT} bytes", hint="name fewer services, or `all`")
    try:
        return model.model_validate_json(bytes(data) or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise InvalidRequest(f"{place}: {first['msg']}", hint="GET /openapi.json has the schema") from error


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise InvalidRequest(f"{name}={text!r} is not a whole number")
    return int(text)


def _seconds(text: str, key: str = "since") -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidRequest(f"{key}={text!r} is not a number of seconds") from error
    if not 0 <= value < float("inf"):
        raise InvalidRequest(f"{key}={text!r} is not a number of seconds in the past")
    return value


def _pattern(request: Request) -> re.Pattern[bytes] | None:
    text = request.query_params.get("grep")
    if not text:
        return None
    try:
        return re.compile(text.encode())
    except re.error as error:
        raise InvalidRequest(f"grep: {error}", hint="a regular expression as of Python's re") from error
