"""The HTTP face of the gateway: one ASGI application for all paths and both eras.

Checks what is checked of every request (to whom it is addressed, which page it comes from, whose it is,
which form it has), finds who is served at its path, and hands it to the era that it speaks.
"""

import logging
from collections.abc import Mapping
from typing import cast

import anyio

from orchestra_supervisor.gateway.endpoint import HANDSHAKE_VERSIONS, STATELESS_VERSIONS
from orchestra_supervisor.gateway.front.eras import has_envelope, unsupported
from orchestra_supervisor.gateway.front.guard import HostGuard
from orchestra_supervisor.gateway.front.handshake_http import HandshakeHttp
from orchestra_supervisor.gateway.front.identity import Doorkeeper, Identity, NotAllowed
from orchestra_supervisor.gateway.front.reply import Pulse
from orchestra_supervisor.gateway.front.request import HttpRefused, Receive, Request, Send
from orchestra_supervisor.gateway.front.routing import VERSION_HEADER
from orchestra_supervisor.gateway.front.served import Places, Served
from orchestra_supervisor.gateway.front.sessions import Sessions
from orchestra_supervisor.gateway.front.stateless_http import StatelessHttp
from orchestra_supervisor.gateway.front.wire import as_object, decode, id_of
from orchestra_supervisor.gateway.messages import INTERNAL_ERROR, RpcError

__all__ = ["HEALTH_PATH", "HttpFront"]

HEALTH_PATH = "/health"
SWEEP_PERIOD = 30.0
"""Seconds between two looks for sessions that nobody uses."""

_JSON = "application/json"
_EVENTS = "text/event-stream"
_ALLOW = b"GET, POST, DELETE"

_log = logging.getLogger("orchestra.gateway")


class HttpFront:
    """The application.

    Args:
        places: What is served where.
        door: Tells who calls.
        sessions: Of handshake clients.
        guard: Knows our names.
    """

    def __init__(self, places: Places, door: Doorkeeper, sessions: Sessions, guard: HostGuard) -> None:
        self._places = places
        self._door = door
        self._guard = guard
        self._pulse = Pulse()
        self._ending = anyio.Event()
        self._handshake = HandshakeHttp(sessions, self._pulse)
        self._stateless = StatelessHttp(self._pulse, self._ending)

    @property
    def running(self) -> int:
        """Return how many requests are being answered, standing streams left out."""
        return self._handshake.running + self._stateless.running

    async def run(self) -> None:
        """Keep answers alive and let sessions go, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pulse.run)
            while True:
                await anyio.sleep(SWEEP_PERIOD)
                self._handshake.sessions.sweep()

    def end(self) -> None:
        """Tell those who listen that the gateway ends; what is being answered goes on."""
        self._ending.set()

    def cancel(self) -> None:
        """Stop answering: whoever still waits is told to ask again."""
        self._stateless.cancel()
        self._handshake.sessions.close()

    async def __call__(self, scope: Mapping[str, object], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        try:
            await self._serve(request)
        except HttpRefused as refused:
            await request.refuse(refused)
        except Exception:  # noqa: BLE001 - a request's edge
            _log.exception("%s %s failed", request.method, request.path)
            fault = RpcError(INTERNAL_ERROR, "the gateway failed at this request; its log says how")
            await request.refuse(HttpRefused(500, fault))

    async def _serve(self, request: Request) -> None:
        self._check_names(request)
        if request.path == HEALTH_PATH:
            await request.respond(200, {"status": "ok"})
            return
        identity = self._identify(request)
        served = self._places.find(request.path)
        if served is None:
            raise HttpRefused(404, f"nothing is served at {request.path[:200]!r}: /mcp is, for one")
        match request.method:
            case "POST":
                await self._post(request, served, identity)
            case "GET" if request.header(VERSION_HEADER) not in STATELESS_VERSIONS:
                self._check_accept(request, _EVENTS)
                await self._handshake.get(request, served, identity)
            case "DELETE" if request.header(VERSION_HEADER) not in STATELESS_VERSIONS:
                await self._handshake.delete(request, served, identity)
            case "GET" | "DELETE":
                raise HttpRefused(405, "this version knows POST alone", headers=((b"allow", b"POST"),))
            case _:
                raise HttpRefused(405, f"use {_ALLOW.decode()}", headers=((b"allow", _ALLOW),))

    def _check_names(self, request: Request) -> None:
        hosts = request.headers.get(b"host", [])
        if len(hosts) != 1 or not self._guard.is_allowed_host(hosts[0].decode("latin-1"), request.arrived_at):
            raise HttpRefused(
                421, "the request is addressed to a host that is not this gateway: use 127.0.0.1"
            )
        for origin in request.headers.get(b"origin", []):
            if not self._guard.is_allowed_origin(origin.decode("latin-1"), request.arrived_at):
                raise HttpRefused(403, "the request comes from a web page of another host")

    def _identify(self, request: Request) -> Identity:
        try:
            if len(request.headers.get(b"authorization", [])) > 1:
                raise NotAllowed("Authorization is given twice")
            return self._door.by_header(request.header(b"authorization"))
        except NotAllowed as error:
            headers = ((b"www-authenticate", b"Bearer"),)
            raise HttpRefused(401, str(error), headers=headers) from error

    async def _post(self, request: Request, served: Served, identity: Identity) -> None:
        self._check_accept(request, _JSON, _EVENTS)
        kind = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
        if kind != _JSON:
            raise HttpRefused(415, f"the body's Content-Type is {_JSON}")
        try:
            body = decode(await request.body())
        except RpcError as error:
            raise HttpRefused(400, error) from error
        if not isinstance(body, dict | list):
            raise HttpRefused(400, "a message is one JSON object")
        message, version = as_object(cast("object", body)), request.header(VERSION_HEADER)
        if version in STATELESS_VERSIONS or has_envelope(as_object(message.get("params"))):
            if isinstance(body, list):
                raise HttpRefused(400, "a message is one JSON object, in this version")
            await self._stateless.post(request, served, identity, message)
        elif version is None or version in HANDSHAKE_VERSIONS or message.get("method") == "initialize":
            await self._handshake.post(request, served, identity, cast("object", body))
        else:
            raise HttpRefused(400, unsupported(version), id_of(message))

    @staticmethod
    def _check_accept(request: Request, *wanted: str) -> None:
        """Hold Accept to what an answer may be; a client that says nothing takes anything."""
        values = request.headers.get(b"accept")
        if values is None:
            return
        ranges = {
            part.partition(";")[0].strip().lower()
            for value in values
            for part in value.decode("latin-1").split(",")
        }
        for kind in wanted:
            if not ranges & {"*/*", kind, f"{kind.partition('/')[0]}/*"}:
                raise HttpRefused(406, f"Accept has {' and '.join(wanted)}")
