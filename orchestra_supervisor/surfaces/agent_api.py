"""The part of the control API for those who speak for somebody else: audit, checks, the configuration."""

from collections.abc import Callable, Sequence

import anyio

from orchestra_supervisor.agent_room import AgentRoom
from orchestra_supervisor.surfaces.edge import Json, body_of, caller_of, guarded, socket_user
from orchestra_supervisor.surfaces.requests import AuditRequest, CheckRequest, ReloadRequest
from orchestra_supervisor.surfaces.web import Request, Response, Route

__all__ = ["agent_routes"]


def agent_routes(room: AgentRoom) -> Callable[[anyio.Event], Sequence[Route]]:
    """Return what makes the routes, once the event says that the services are known."""
    api = _AgentApi(room)

    def routes(known: anyio.Event) -> Sequence[Route]:
        return (
            Route("/v1/config", guarded(api.config, known)),
            Route("/v1/services/{name}/processes", guarded(api.processes, known)),
            Route("/v1/config/apply", guarded(api.apply, known), methods=["POST"]),
            Route("/v1/audit", guarded(api.audit, known), methods=["POST"]),
            Route("/v1/check", guarded(api.check, known), methods=["POST"]),
        )

    return routes


class _AgentApi:
    def __init__(self, room: AgentRoom) -> None:
        self._room = room

    async def config(self, request: Request) -> Response:
        names = [name for name in request.query_params.get("names", "").split(",") if name]
        return Json(await self._room.config(names))

    async def processes(self, request: Request) -> Response:
        return Json(await self._room.processes(request.path_params["name"]))

    async def apply(self, request: Request) -> Response:
        await body_of(request, ReloadRequest)
        done = await self._room.apply(caller_of(request, self._room.control))
        return Json(done.to_dict())

    async def audit(self, request: Request) -> Response:
        body = await body_of(request, AuditRequest)
        user = socket_user(request, self._room.control)
        event = await self._room.audit(user, body.kind, body.message, body.service, dict(body.data))
        return Json({"seq": event.seq})

    async def check(self, request: Request) -> Response:
        body = await body_of(request, CheckRequest)
        return Json(await self._room.check(body.names, body.ports))
