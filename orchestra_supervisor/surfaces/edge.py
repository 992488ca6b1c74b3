"""The edge of the control API: who asks, what requests bring, and how errors and answers leave."""

import grp
import json
import os
import pwd
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Annotated, Any, Literal, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestra_supervisor.control import Control
from orchestra_supervisor.model.caller import Principal, Role
from orchestra_supervisor.model.errors import ControlDenied, InvalidRequest, OrchestraError
from orchestra_supervisor.surfaces.log_pattern import LogPattern
from orchestra_supervisor.surfaces.peer import peer_of
from orchestra_supervisor.surfaces.web import Missing, Request, Response
from orchestra_supervisor.unix_peer import Peer

__all__ = [
    "BODY_LIMIT",
    "CALLER_HEADER",
    "Handler",
    "Json",
    "body_of",
    "caller_of",
    "encoded",
    "guarded",
    "http_error",
    "number_of",
    "pattern_of",
    "seconds_of",
    "socket_user",
]

BODY_LIMIT = 1024 * 1024
"""Bytes of a request's body; five thousand names fit many times."""
CALLER_HEADER = "Orchestra-Caller"
"""For whom the user of the socket asks: a JSON object of name and role."""
_DIGITS = 18
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=str)

Handler = Callable[[Request], Awaitable[Response]]
M = TypeVar("M", bound=BaseModel)


def _error_response(error: OrchestraError, status: int | None = None) -> Response:
    return Json({"error": error.to_dict()}, status or error.kind.http)


async def http_error(request: Request, missing: Missing) -> Response:
    """Return the answer to a request that no route takes."""
    problem = InvalidRequest(
        f"{request.method} {request.path}: {missing.detail}", hint="docs/control-api.md lists the requests"
    )
    return _error_response(problem, missing.status)


def guarded(handler: Handler, known: anyio.Event) -> Handler:
    """Turn our errors into their HTTP form; the edge where a request's fault must not end the daemon."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
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

    return answer


def encoded(content: object) -> bytes:
    """Return the JSON of an answer, whatever bytes a service may have put into its texts."""
    return _ENCODER.encode(content).encode("utf-8", "backslashreplace")


class Json(Response):
    """An answer in JSON, whatever bytes a service may have put into its texts.

    Args:
        content: What is said.
        status: The status code.
    """

    def __init__(self, content: Any, status: int = 200) -> None:
        super().__init__(encoded(content), status)


# What requests bring.


class _OnBehalf(BaseModel):
    """The header `Orchestra-Caller`: for whom the caller asks, who need not be of this system."""

    model_config = ConfigDict(defer_build=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    role: Literal["viewer", "operator", "admin"]


def socket_user(request: Request, control: Control) -> Principal:
    """Return who holds the other end of the socket: never by anything that the request says."""
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
    is_member = _is_member(peer, control.supervisor.fleet.settings.control_group)
    return Principal(name, Role.OPERATOR if is_member else Role.VIEWER)


def _is_member(peer: Peer, group: str | None) -> bool:
    if group is None:
        return False
    try:
        return grp.getgrnam(group).gr_gid in {peer.gid, *peer.groups}
    except KeyError:  # it was removed while the fleet ran
        return False


def caller_of(request: Request, control: Control) -> Principal:
    """Return the caller: the user of the socket, or whom that user asks for, with the lower of both roles.

    Both names are kept, for the audit. A request cannot raise a role by what it says.
    """
    user = socket_user(request, control)
    text = request.headers.get(CALLER_HEADER.lower())
    if text is None:
        return user
    try:
        behalf = _OnBehalf.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or CALLER_HEADER
        hint = '{"name": text, "role": "viewer", "operator" or "admin"}'
        raise InvalidRequest(f"header {CALLER_HEADER}: {place}: {first['msg']}", hint=hint) from error
    shown = "".join(char if char.isprintable() else "?" for char in behalf.name)
    return Principal(f"{shown} by {user.name}", min(user.role, Role[behalf.role.upper()]))


async def body_of(request: Request, model: type[M]) -> M:
    """Return the body of a request as what it must be."""
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


def number_of(request: Request, name: str, default: int) -> int:
    """Return a whole number of the query."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise InvalidRequest(f"{name}={text!r} is not a whole number")
    return int(text)


def seconds_of(text: str, key: str = "since") -> float:
    """Return a span of the query."""
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidRequest(f"{key}={text!r} is not a number of seconds") from error
    if not 0 <= value < float("inf"):
        raise InvalidRequest(f"{key}={text!r} is not a number of seconds in the past")
    return value


def pattern_of(request: Request) -> LogPattern | None:
    """Return the regular expression of the query, if there is one."""
    text = request.query_params.get("grep")
    return LogPattern(text.encode()) if text else None
