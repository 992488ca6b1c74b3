"""What the JSON APIs of the servers have in common: errors, bodies, queries and pages.

An error says what, where and the way out:
`{"error": {"code": ..., "message": ..., "hint": ..., "details": [{"where": ..., "message": ...}]}}`.
"""

import base64
import binascii
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

__all__ = [
    "MAX_BODY",
    "MAX_PAGE",
    "ApiError",
    "decode_cursor",
    "encode_cursor",
    "error_answer",
    "error_handlers",
    "read_body",
    "read_query",
]

MAX_BODY = 1024 * 1024
"""Bytes of a request's body."""
MAX_PAGE = 500
"""Items of one page."""

_MAX_DETAILS = 20  # mistakes named in one answer
_log = logging.getLogger("rest")

M = TypeVar("M", bound=BaseModel)
ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]


class ApiError(Exception):
    """An answer other than success.

    Args:
        status: HTTP status.
        code: A word for programs.
        message: What and where, for people.
        hint: The way out.
        details: Single mistakes, each with `where` and `message`.
    """

    def __init__(
        self, status: int, code: str, message: str, hint: str = "", details: Sequence[Mapping[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details


def error_answer(error: ApiError) -> JSONResponse:
    """Return the answer of an error."""
    body: dict[str, object] = {"code": error.code, "message": error.message, "hint": error.hint}
    if error.details:
        body["details"] = [dict(detail) for detail in error.details]
    return JSONResponse({"error": body}, status_code=error.status)


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_answer(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {
        404: ("not_found", "there is nothing here"),
        405: ("method_not_allowed", "the method is not for this"),
    }
    code, message = words.get(error.status_code, ("http", error.detail))
    answer = error_answer(
        ApiError(
            error.status_code,
            code,
            f"{request.method} {request.url.path}: {message}",
            "GET / lists what there is",
        )
    )
    answer.headers.update(error.headers or {})
    return answer


async def _on_database_error(request: Request, error: Exception) -> Response:
    _log.error("%s %s: %s", request.method, request.url.path, error)
    return error_answer(ApiError(503, "database", f"the database does not answer: {error}", "see /health"))


async def _on_fault(request: Request, _: Exception) -> Response:
    message = f"{request.method} {request.url.path}: a fault of this server"
    return error_answer(ApiError(500, "internal", message, "its log has the traceback"))


def error_handlers() -> dict[type[Exception], ErrorHandler]:
    """Return the handlers that make every error of an app a JSON answer."""
    return {
        ApiError: _on_api_error,
        HTTPException: _on_http_error,
        sqlite3.Error: _on_database_error,
        Exception: _on_fault,
    }


async def read_body(request: Request, model: type[M]) -> M:
    """Return the request's JSON body as a model.

    Raises:
        ApiError: It is no JSON (400), too large (413), of another type (415) or not as wanted (422).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(
            415, "media_type", f"the body is {kind or 'of no type'}", "send Content-Type: application/json"
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ApiError(413, "too_large", f"the body is over {MAX_BODY} bytes", "send less at a time")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        details = _details(error, "body")
        if error.errors(include_url=False)[0]["type"] == "json_invalid":
            raise ApiError(
                400, "invalid_json", f"the body is not JSON: {details[0]['message']}", "", details
            ) from error
        hint = f"/openapi.json has the schema {model.__name__}"
        raise ApiError(422, "invalid", _sentence(details), hint, details) from error


def read_query(request: Request, model: type[M]) -> M:
    """Return the request's query as a model.

    Raises:
        ApiError: A parameter is unknown, repeated or wrong (400).
    """
    pairs = request.query_params.multi_items()
    try:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ApiError(400, "invalid", "a query parameter is given twice", "give each once")
        return model.model_validate(dict(pairs))
    except ValidationError as error:
        details = _details(error, "query")
        hint = f"parameters here: {', '.join(model.model_fields) or 'none'}"
        raise ApiError(400, "invalid", _sentence(details), hint, details) from error


def encode_cursor(position: str) -> str:
    """Return where the next page begins, in a form that nobody builds by hand."""
    return base64.urlsafe_b64encode(position.encode("utf-8", "surrogateescape")).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Return what `encode_cursor` was given.

    Raises:
        ApiError: It is not one of its values (400).
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode(
            "utf-8", "surrogateescape"
        )
    except (ValueError, binascii.Error) as error:
        raise ApiError(
            400, "invalid", f"cursor {cursor[:80]!r} is none of ours", "use next_cursor as it came"
        ) from error


def _details(error: ValidationError, root: str) -> list[dict[str, str]]:
    return [
        {"where": ".".join([root, *map(str, mistake["loc"])]), "message": str(mistake["msg"])}
        for mistake in error.errors(include_url=False, include_context=False)[:_MAX_DETAILS]
    ]


def _sentence(details: Sequence[Mapping[str, str]]) -> str:
    return f"{details[0]['where']}: {details[0]['message']}" + (
        f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    )
