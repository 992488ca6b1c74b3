"""The OpenAPI document of the control API, made from the request models and one table."""

from typing import Any

from pydantic import BaseModel

from orchestra_supervisor.model.errors import ERROR_KINDS
from orchestra_supervisor.surfaces.requests import (
    AuditRequest,
    CheckRequest,
    DemandRequest,
    HeadersRequest,
    PlanRequest,
    ReloadRequest,
    RestartRequest,
    RunRequest,
    ScaleRequest,
    ShutdownRequest,
    SignalRequest,
    TellRequest,
    ToldRequest,
    WaitRequest,
)

__all__ = ["openapi_document"]

_POSTS: dict[str, tuple[str, type[BaseModel]]] = {
    "/v1/start": ("Start services and the dependencies they need", DemandRequest),
    "/v1/stop": ("Stop services; they stay down", DemandRequest),
    "/v1/restart": ("Give services a new run", RestartRequest),
    "/v1/scale": ("Have other numbers of replicas", ScaleRequest),
    "/v1/run": ("Run periodic and once services now, beside their schedules", RunRequest),
    "/v1/signal": ("Send a signal to the runs of services", SignalRequest),
    "/v1/tell": ("Tell services to read their own configuration again", TellRequest),
    "/v1/wait": ("Wait for services to be ready, stopped or completed", WaitRequest),
    "/v1/plan": ("Say what a reload would do, without doing it", PlanRequest),
    "/v1/reload": ("Read the configuration anew; a bad file changes nothing", ReloadRequest),
    "/v1/config/apply": ("Go over to the files, if they bring no new commands", ReloadRequest),
    "/v1/check": ("Run the probes of services now, and say who listens on their ports", CheckRequest),
    "/v1/audit": ("Write down what somebody did; for the owner", AuditRequest),
    "/v1/mcp/headers": (
        "The headers of an MCP server with secrets filled in; an admin alone",
        HeadersRequest,
    ),
    "/v1/listeners/told": ("Say how far event listeners were told; for who speaks with them", ToldRequest),
    "/v1/shutdown": ("Take the fleet down", ShutdownRequest),
}

_TEXT: dict[str, object] = {"type": "string"}
_SPAN: dict[str, object] = {"type": "number", "minimum": 0}
_WHOLE: dict[str, object] = {"type": "integer", "minimum": 0}
_GETS: dict[str, tuple[str, dict[str, dict[str, object]]]] = {
    "/v1/health": ("Whether the daemon answers", {}),
    "/v1/status": ("The daemon and the services as they stand", {"names": _TEXT}),
    "/v1/figures": ("What the services and our own processes use; asking raises the rate", {"since": _SPAN}),
    "/v1/services/{name}/figures": ("What a service uses and has used", {"since": _SPAN}),
    "/v1/services/{name}/processes": ("The processes of a service's present run", {}),
    "/v1/config": ("The fleet as applied, without secrets", {"names": _TEXT}),
    "/v1/mcp": ("The MCP servers behind the gateway, and its settings", {}),
    "/v1/listeners": ("Processes and pools in supervisord's words, for who speaks with event listeners", {}),
    "/v1/plugins": ("The plugins as they stand", {}),
    "/v1/events": (
        "Events from the journal, the newest `limit` in ascending order",
        {"after": _WHOLE, "limit": _WHOLE, "service": _TEXT, "kind": _TEXT},
    ),
    "/v1/events/stream": ("Events as they happen (SSE)", {"after": _WHOLE, "service": _TEXT, "kind": _TEXT}),
    "/v1/logs/{name}": (
        "The newest lines of a service's log",
        {"lines": _WHOLE, "since": _SPAN, "grep": _TEXT},
    ),
    "/v1/logs/{name}/search": (
        "Lines of a service's log that match, rotated segments included, the newest `lines` of them",
        {
            "lines": _WHOLE,
            "since": {"type": "number", "minimum": 0},
            "until": {"type": "number", "minimum": 0},
            "grep": _TEXT,
            "before": _WHOLE,
            "after": _WHOLE,
        },
    ),
    "/v1/logs/{name}/stream": ("A service's log as it is written (SSE)", {"lines": _WHOLE, "grep": _TEXT}),
}


def openapi_document(version: str) -> dict[str, Any]:
    """Return the document (OpenAPI 3.1).

    Args:
        version: Of the product.
    """
    schemas: dict[str, Any] = {"Error": _error_schema()}
    paths: dict[str, Any] = {}
    for path, (summary, query) in _GETS.items():
        paths[path] = {"get": {"summary": summary, "parameters": _parameters(path, query), **_responses()}}
    for path, (summary, model) in _POSTS.items():
        schema = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
        body = {"required": True, "content": content}
        paths[path] = {"post": {"summary": summary, "requestBody": body, **_responses()}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Orchestra Supervisor control API", "version": version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _parameters(path: str, query: dict[str, dict[str, object]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "{name}" in path:
        found.append({"name": "name", "in": "path", "required": True, "schema": _TEXT})
    found += [{"name": name, "in": "query", "schema": schema} for name, schema in query.items()]
    return found


def _responses() -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    statuses = sorted({kind.http for kind in ERROR_KINDS.values()})
    responses: dict[str, Any] = {"200": {"description": "Done", "content": {"application/json": {}}}}
    for status in statuses:
        codes = ", ".join(code for code, kind in ERROR_KINDS.items() if kind.http == status)
        responses[str(status)] = {"description": codes, "content": error}
    return {"responses": responses}


def _error_schema() -> dict[str, Any]:
    fields = {
        "code": {"enum": list(ERROR_KINDS)},
        "message": _TEXT,
        "hint": _TEXT,
        "context": {"type": "object"},
    }
    error = {"type": "object", "required": list(fields), "properties": fields}
    return {"type": "object", "required": ["error"], "properties": {"error": error}}
