"""supervisord's interface, served: its sockets, who may use them, and what each request is answered with."""

import base64
import binascii
from collections.abc import Callable, Sized
from functools import partial

import anyio
import anyio.abc
from anyio import to_thread

from orchestra_supervisor.model.caller import Principal, Role
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.model.supervisord import AuthSpec, ServerSpec
from orchestra_supervisor.surfaces.xmlrpc.changing import Task
from orchestra_supervisor.surfaces.xmlrpc.exchange import Answer, Request
from orchestra_supervisor.surfaces.xmlrpc.faults import RpcFault
from orchestra_supervisor.surfaces.xmlrpc.methods import Methods
from orchestra_supervisor.surfaces.xmlrpc.pages import NOT_FOUND, Pages
from orchestra_supervisor.surfaces.xmlrpc.server import Server, listening
from orchestra_supervisor.surfaces.xmlrpc.surroundings import Surroundings
from orchestra_supervisor.surfaces.xmlrpc.wire import BadCall, encode_fault, encode_value, parse_call

__all__ = ["Endpoint", "Say"]

Say = Callable[[str], None]
"""Tells the operator, in one line."""

_RETRY = 1.0  # seconds until a socket that was taken is tried for again
_LARGE = 50
"""Items of an answer, or characters, above which a thread writes it: the daemon goes on meanwhile."""


class Endpoint:
    """The interface of one fleet.

    Args:
        around: The fleet.
        say: Told what goes wrong.
    """

    def __init__(self, around: Surroundings, say: Say) -> None:
        self._around = around
        self._say = say
        self._limiter = anyio.CapacityLimiter(4)
        self._pages = Pages(around)
        self._methods: Methods

    async def run(
        self, *, is_fresh: bool, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled.

        Args:
            is_fresh: The fleet starts: a socket that cannot be had is an error. Else it runs, and goes on
                without the socket, which is tried for again.
            task_status: Told when the sockets are open.

        Raises:
            ConflictError: A socket cannot be had, and the fleet starts.
        """
        spec = self._around.spec
        servers = [*([spec.unix] if spec.unix is not None else []), *spec.inet]
        try:
            async with anyio.create_task_group() as tasks:
                self._methods = Methods(self._around, partial(_start, tasks))
                for one in servers:
                    if is_fresh:
                        await tasks.start(self._serve, one)
                    else:
                        tasks.start_soon(self._serve_patiently, one)
                task_status.started()
        finally:
            self._around.logs.close()

    async def _serve(
        self, spec: ServerSpec, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        if spec.auth is None and spec.path is None:
            self._say(f"{spec.url} is open to whoever reaches it: give it a username and a password")

        async def handle(request: Request) -> Answer:
            return await self._answer(request, spec.auth)

        async with listening(spec) as listener:
            task_status.started()
            await Server(handle, spec.url, self._say).run(listener)

    async def _serve_patiently(self, spec: ServerSpec) -> None:
        last = ""
        while True:
            try:
                await self._serve(spec)
            except ConflictError as error:
                if error.message != last:
                    self._say(error.message)
                last = error.message
            await anyio.sleep(_RETRY)

    # Requests.

    async def _answer(self, request: Request, auth: AuthSpec | None) -> Answer:
        try:
            await self._around.control.supervisor.taken_over.wait()
            user = await self._user(request, auth)
            if user is None:
                return Answer(401, b"Unauthorized\n", headers={"WWW-Authenticate": 'Basic realm="default"'})
            name = f"{user}, {request.client}" if user else request.client
            return await self._route(request, Principal(f"{name}, by XML-RPC", Role.ADMIN))
        except Exception as error:  # noqa: BLE001  # a request's edge
            self._say(f"{request.method} {request.path[:200]}: {type(error).__name__}: {error}")
            return Answer(500, b"Internal Server Error\n")

    async def _user(self, request: Request, auth: AuthSpec | None) -> str | None:
        """Return who it is by name and password, empty where nobody is asked; None: not one of them."""
        if auth is None:
            return ""
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        try:
            text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8", "surrogateescape")
        except (binascii.Error, ValueError):
            return None
        user, _, password = text.partition(":")
        is_known = await to_thread.run_sync(auth.accepts, user, password, limiter=self._limiter)
        return user if is_known else None

    async def _route(self, request: Request, who: Principal) -> Answer:
        path = request.path
        if path.startswith("/RPC2"):
            return await self._call(request, who)
        if path.startswith(("/logtail", "/mainlogtail")):
            if request.method != "GET":
                return Answer(400, b"Bad Request\n")
            return self._pages.log_tail(path) if path.startswith("/logtail") else self._pages.main_tail()
        if path in {"/", "/index.html"} and request.method in {"GET", "HEAD"}:
            return await self._pages.status()
        return NOT_FOUND

    async def _call(self, request: Request, who: Principal) -> Answer:
        if request.method not in {"POST", "PUT"}:
            return Answer(400, b"Bad Request\n")
        if "origin" in request.headers:  # a browser's page: no client of this interface sends it
            return Answer(403, b"calls from web pages are refused\n")
        try:
            call = parse_call(request.body)
        except BadCall as error:
            return Answer(400, f"Bad Request: {error}\n".encode("utf-8", "backslashreplace"))
        try:
            value = await self._methods.call(who, call.method, call.params)
        except RpcFault as fault:
            return Answer(200, encode_fault(fault), "text/xml")
        return Answer(200, await self._encoded(value), "text/xml")

    async def _encoded(self, value: object) -> bytes:
        if isinstance(value, Sized) and len(value) > _LARGE:
            return await to_thread.run_sync(encode_value, value, limiter=self._limiter)
        return encode_value(value)


def _start(tasks: anyio.abc.TaskGroup, task: Task) -> None:
    async def run() -> None:
        await task()

    tasks.start_soon(run)
