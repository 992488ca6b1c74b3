"""The backend's routes: health, fleet, agents, tasks."""

import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.control_client import ControlClient, ControlError, rows
from orchestra_supervisor.control_home import socket_path
from orchestra_supervisor.servers.backend.models import (
    Agent,
    AgentPatch,
    AgentQuery,
    DeleteQuery,
    NewAgent,
    NewTask,
    NoQuery,
    Task,
    TaskPatch,
    TaskQuery,
)
from orchestra_supervisor.servers.backend.openapi import openapi_document
from orchestra_supervisor.servers.backend.store import Store
from orchestra_supervisor.servers.database import DatabaseUnavailable
from orchestra_supervisor.servers.rest import ApiError, error_handlers, read_body, read_query
from orchestra_supervisor.servers.settings import Settings

__all__ = ["build_app"]

_FLEET_TIMEOUT = 3.0  # seconds that the daemon gets to answer
_ETAG = re.compile(r'(?:W/)?"v?(\d{1,18})"')
_FLEET_FIELDS = ("name", "title", "kind", "state", "pid", "restarts", "port", "url", "since", "reason")

Handler = Callable[[Request], Awaitable[Response]]
T = TypeVar("T")


class _Api:
    """The handlers, over one store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._began = time.monotonic()

    async def index(self, request: Request) -> Response:
        """List the routes."""
        read_query(request, NoQuery)
        about = {"service": "backend", "version": VERSION}
        return JSONResponse({**about, "routes": [f"{method} {path}" for path, method, _ in self.table()]})

    async def health(self, _: Request) -> Response:
        """Prove that the database takes a write."""
        about: dict[str, object] = {"service": "backend", "version": VERSION}
        about["uptime"] = round(time.monotonic() - self._began, 3)
        try:
            await to_thread.run_sync(self._store.database.check)
        except DatabaseUnavailable as error:
            return JSONResponse({"status": "failing", "error": str(error), **about}, status_code=503)
        return JSONResponse({"status": "ok", "database": str(self._store.database.path), **about})

    async def openapi(self, _: Request) -> Response:
        """Describe the API."""
        return JSONResponse(openapi_document())

    async def fleet(self, request: Request) -> Response:
        """Show the services of the fleet as the daemon sees them."""
        read_query(request, NoQuery)
        client = ControlClient(socket_path(self._settings.home), timeout=_FLEET_TIMEOUT)
        try:
            answer = await to_thread.run_sync(client.status)
        except ControlError as error:
            raise ApiError(503, error.code, f"no view of the fleet: {error.message}", error.hint) from error
        services = [{key: row.get(key) for key in _FLEET_FIELDS} for row in rows(answer, "services")]
        states = Counter(str(service["state"]) for service in services)
        return JSONResponse({"daemon": answer.get("daemon"), "states": states, "services": services})

    async def list_agents(self, request: Request) -> Response:
        """List agents."""
        agents, cursor = await _work(self._store.agents, read_query(request, AgentQuery))
        return _page([agent.model_dump(mode="json") for agent in agents], cursor)

    async def create_agent(self, request: Request) -> Response:
        """Create an agent."""
        agent, created = await _work(self._store.create_agent, await read_body(request, NewAgent))
        return _item(agent, 201 if created else 200, f"/api/agents/{agent.id}")

    async def read_agent(self, request: Request) -> Response:
        """Read an agent."""
        return _fresh(request, await _work(self._store.agent, request.path_params["agent"]))

    async def change_agent(self, request: Request) -> Response:
        """Change an agent."""
        version = _seen(request, required=True)
        patch = await read_body(request, AgentPatch)
        return _item(await _work(self._store.change_agent, request.path_params["agent"], patch, version))

    async def delete_agent(self, request: Request) -> Response:
        """Delete an agent."""
        with_tasks = read_query(request, DeleteQuery).tasks == "delete"
        delete = partial(self._store.delete_agent, with_tasks=with_tasks)
        await _work(delete, request.path_params["agent"], _seen(request, required=False))
        return Response(status_code=204)

    async def list_tasks(self, request: Request) -> Response:
        """List the tasks of an agent."""
        query = read_query(request, TaskQuery)
        tasks, cursor = await _work(self._store.tasks, request.path_params["agent"], query)
        return _page([task.model_dump(mode="json") for task in tasks], cursor)

    async def create_task(self, request: Request) -> Response:
        """Set an agent a task."""
        agent = request.path_params["agent"]
        task, created = await _work(self._store.create_task, agent, await read_body(request, NewTask))
        return _item(task, 201 if created else 200, f"/api/agents/{agent}/tasks/{task.id}")

    async def read_task(self, request: Request) -> Response:
        """Read a task."""
        return _fresh(request, await _work(self._store.task, *_task_key(request)))

    async def change_task(self, request: Request) -> Response:
        """Change a task."""
        version = _seen(request, required=True)
        patch = await read_body(request, TaskPatch)
        return _item(await _work(self._store.change_task, *_task_key(request), patch, version))

    async def delete_task(self, request: Request) -> Response:
        """Delete a task."""
        await _work(self._store.delete_task, *_task_key(request), _seen(request, required=False))
        return Response(status_code=204)

    def table(self) -> list[tuple[str, str, Handler]]:
        """Return path, method and handler of every route."""
        agents, tasks = "/api/agents", "/api/agents/{agent}/tasks"
        return [
            ("/", "GET", self.index),
            ("/health", "GET", self.health),
            ("/openapi.json", "GET", self.openapi),
            ("/api/fleet", "GET", self.fleet),
            (agents, "GET", self.list_agents),
            (agents, "POST", self.create_agent),
            (f"{agents}/{{agent}}", "GET", self.read_agent),
            (f"{agents}/{{agent}}", "PATCH", self.change_agent),
            (f"{agents}/{{agent}}", "DELETE", self.delete_agent),
            (tasks, "GET", self.list_tasks),
            (tasks, "POST", self.create_task),
            (f"{tasks}/{{task}}", "GET", self.read_task),
            (f"{tasks}/{{task}}", "PATCH", self.change_task),
            (f"{tasks}/{{task}}", "DELETE", self.delete_task),
        ]


def build_app(store: Store, settings: Settings) -> Starlette:
    """Return the backend's ASGI app.

    Args:
        store: Its data, open.
        settings: Where the fleet's home is.
    """
    api = _Api(store, settings)
    handlers = dict[str, dict[str, Handler]]()
    for path, method, handler in api.table():
        handlers.setdefault(path, {})[method] = handler
    routes = [Route(path, _by_method(methods), methods=list(methods)) for path, methods in handlers.items()]
    return Starlette(routes=routes, exception_handlers=error_handlers())


def _by_method(methods: dict[str, Handler]) -> Handler:
    """Return one handler of a path, so that a wrong method is answered 405 with all that are allowed."""

    async def dispatch(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return dispatch


async def _work(function: Callable[..., T], *args: object) -> T:
    """Run a store's method in a worker thread."""
    return await to_thread.run_sync(function, *args)


def _task_key(request: Request) -> tuple[str, str]:
    return request.path_params["agent"], request.path_params["task"]


def _page(items: list[dict[str, object]], cursor: str | None) -> Response:
    return JSONResponse({"items": items, "next_cursor": cursor})


def _item(item: Agent | Task, status: int = 200, location: str | None = None) -> Response:
    headers = {"etag": f'"{item.version}"', **({"location": location} if location else {})}
    return JSONResponse(item.model_dump(mode="json"), status_code=status, headers=headers)


def _fresh(request: Request, item: Agent | Task) -> Response:
    known = {mark.strip().removeprefix("W/") for mark in request.headers.get("if-none-match", "").split(",")}
    etag = f'"{item.version}"'
    return Response(status_code=304, headers={"etag": etag}) if etag in known else _item(item)


def _seen(request: Request, *, required: bool) -> int | None:
    """Return the version of If-Match; None stands for whichever."""
    given = request.headers.get("if-match", "").strip()
    if given == "*" or (not given and not required):
        return None
    if not given:
        hint = "send the ETag that you have read, or * for whichever"
        raise ApiError(428, "precondition_required", "a change needs If-Match", hint)
    match = _ETAG.fullmatch(given)
    if match is None:
        raise ApiError(400, "invalid", f"If-Match {given[:80]!r} is no ETag of ours", 'such as "3", or *')
    return int(match[1])
