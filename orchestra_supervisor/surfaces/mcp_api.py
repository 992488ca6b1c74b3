"""The part of the control API for the gateway: which MCP servers there are, and what it sends to them."""

import os
from collections.abc import Callable, Mapping, Sequence

import anyio

from orchestra_supervisor.config.judge import nearest
from orchestra_supervisor.config.variables import expand
from orchestra_supervisor.control import Control
from orchestra_supervisor.engine.gateway import http_address
from orchestra_supervisor.engine.ports import SecretResolver
from orchestra_supervisor.model.caller import Role
from orchestra_supervisor.model.errors import ControlDenied, UnknownService
from orchestra_supervisor.model.mcp import CacheSpec, McpBackendSpec
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.rules.replicas import members_of
from orchestra_supervisor.surfaces.edge import Json, body_of, caller_of, guarded
from orchestra_supervisor.surfaces.requests import HeadersRequest
from orchestra_supervisor.surfaces.web import Request, Response, Route

__all__ = ["mcp_routes"]


Routes = Callable[[anyio.Event], Sequence[Route]]


def mcp_routes(
    control: Control,
    resolve: SecretResolver,
    *,
    environ: Mapping[str, str] = os.environ,
    beside: Routes = lambda _: (),
) -> Routes:
    """Return what makes the routes, once the event says that the services are known.

    Args:
        control: Knows the fleet, and who may what.
        resolve: Fills in secrets.
        environ: For variables in headers.
        beside: Makes further routes.
    """
    api = _McpApi(control, resolve, environ)

    def routes(known: anyio.Event) -> Sequence[Route]:
        return (
            *beside(known),
            Route("/v1/mcp", guarded(api.backends, known)),
            Route("/v1/mcp/headers", guarded(api.headers, known), methods=["POST"]),
        )

    return routes


class _McpApi:
    def __init__(self, control: Control, resolve: SecretResolver, environ: Mapping[str, str]) -> None:
        self._control = control
        self._resolve = resolve
        self._environ = environ

    async def backends(self, _request: Request) -> Response:
        fleet = self._control.supervisor.fleet
        members = members_of(fleet)
        told = [_backend(one, fleet, members) for one in fleet.mcp.backends.values()]
        return Json({"settings": _settings(fleet), "backends": told})

    async def headers(self, request: Request) -> Response:
        """Return the headers of a backend, filled in: for the gateway, which runs as the fleet's owner."""
        who = caller_of(request, self._control)
        if who.role < Role.ADMIN:
            text = f"{who.name} is {who.role.name.lower()}; headers may hold secrets, which an admin is told"
            raise ControlDenied(text, hint="the owner of the fleet may do this")
        body = await body_of(request, HeadersRequest)
        known = self._control.supervisor.fleet.mcp.backends
        if body.backend not in known:
            near = nearest(body.backend, known)
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(known) or 'none'}"
            text = f"no MCP server {body.backend!r}"
            raise UnknownService(text, hint=hint, name=body.backend, nearest=[near] if near else [])
        headers = known[body.backend].headers
        filled = {name: str(expand(value, self._environ).text) for name, value in headers.items()}
        return Json({"headers": await self._resolve(filled)})


def _settings(fleet: Fleet) -> dict[str, object]:
    settings = fleet.settings.mcp
    return {
        "http": http_address(fleet),
        "auth": settings.auth,
        "control_group": fleet.settings.control_group,
        "pins": settings.pins,
        "search": settings.search,
        "idle_stop": settings.idle_stop,
        "config_apply": settings.config_apply,
        "rate": settings.rate,
        "profiles": {name: one.model_dump(mode="json") for name, one in settings.profiles.items()},
        "routing": fleet.mcp.routing,
        "cache": _cache(fleet).model_dump(mode="json"),
    }


def _cache(fleet: Fleet) -> CacheSpec:
    return CacheSpec(ttl=fleet.mcp.cache_ttl, strategy=fleet.mcp.cache_strategy)


def _backend(one: McpBackendSpec, fleet: Fleet, members: Mapping[str, tuple[str, ...]]) -> dict[str, object]:
    settings = fleet.settings.mcp
    service = one.service or ""
    instances = members.get(service, (service,) if service in fleet.services else ())
    return {
        "name": one.name,
        "transport": "stdio" if one.endpoint is None else "http",
        "url": one.endpoint,
        "service": one.service,
        "description": one.description,
        "capabilities": one.capabilities,
        "priority": one.priority,
        "sharing": one.sharing,
        "size": one.size,
        "lazy": one.lazy,
        "idle_stop": settings.idle_stop if one.idle_stop is None else one.idle_stop,
        "retry_safe": one.retry_safe,
        "timeout": one.timeout,
        "cache": (one.cache or _cache(fleet)).model_dump(mode="json"),
        "pins": one.pins or settings.pins,
        "tools": one.tools,
        "canary": None if one.canary is None else one.canary.model_dump(mode="json"),
        "on_hang": one.on_hang or ("restart" if one.endpoint is None else "report"),
        "members": instances,
        "header_names": list(one.headers),
    }
