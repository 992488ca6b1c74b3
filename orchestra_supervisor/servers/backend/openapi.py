"""The OpenAPI document of the backend, from its models and one table of operations."""

from pydantic.json_schema import models_json_schema

from orchestra_supervisor._version import VERSION
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

__all__ = ["openapi_document"]

Json = dict[str, object]

_MODELS = (Agent, AgentPatch, AgentQuery, DeleteQuery, NewAgent, NewTask, NoQuery, Task, TaskPatch, TaskQuery)
_REF = "#/components/schemas/{model}"

# path, method, summary, query, body, answer (status, model or list of it), further statuses
_OPERATIONS: tuple[tuple[str, str, str, str, str, int, str, str], ...] = (
    ("/health", "get", "Whether the server and its database work", "", "", 200, "", "503"),
    ("/api/fleet", "get", "The services of the fleet and their states", "", "", 200, "", "503"),
    ("/api/agents", "get", "List agents", "AgentQuery", "", 200, "[Agent]", "400"),
    ("/api/agents", "post", "Create an agent", "", "NewAgent", 201, "Agent", "200 400 409 413 415 422"),
    ("/api/agents/{agent}", "get", "Read an agent", "", "", 200, "Agent", "304 404"),
    ("/api/agents/{agent}", "patch", "Change an agent", "", "AgentPatch", 200, "Agent", "404 412 422 428"),
    ("/api/agents/{agent}", "delete", "Delete an agent", "DeleteQuery", "", 204, "", "404 409 412"),
    ("/api/agents/{agent}/tasks", "get", "List tasks of an agent", "TaskQuery", "", 200, "[Task]", "400 404"),
    (
        "/api/agents/{agent}/tasks",
        "post",
        "Set a task",
        "",
        "NewTask",
        201,
        "Task",
        "200 404 409 413 415 422",
    ),
    ("/api/agents/{agent}/tasks/{task}", "get", "Read a task", "", "", 200, "Task", "304 404"),
    (
        "/api/agents/{agent}/tasks/{task}",
        "patch",
        "Change a task, or take it to its next state",
        "",
        "TaskPatch",
        200,
        "Task",
        "404 409 412 422 428",
    ),
    ("/api/agents/{agent}/tasks/{task}", "delete", "Delete a task", "", "", 204, "", "404 412"),
)

_MEANINGS = {
    "200": "It existed already, created by this very request",
    "304": "Not changed since the version of If-None-Match",
    "400": "The request is malformed",
    "404": "There is no such thing",
    "409": "The present state does not allow it",
    "412": "It was changed since the version of If-Match",
    "413": "The body is over 1 MiB",
    "415": "The body is not application/json",
    "422": "The body is not as the schema wants it",
    "428": "If-Match is missing",
    "503": "Not available now",
}


def openapi_document() -> Json:
    """Return the document of `GET /openapi.json`."""
    _, definitions = models_json_schema([(model, "validation") for model in _MODELS], ref_template=_REF)
    schemas: dict[str, Json] = definitions["$defs"]
    paths: dict[str, Json] = {}
    for path, method, summary, query, body, status, answer, others in _OPERATIONS:
        parameters = [
            _parameter(part[1:-1], "path", {"type": "string"}) for part in path.split("/") if "{" in part
        ]
        if query:
            properties: dict[str, Json] = schemas[query].get("properties", {})  # pyright: ignore[reportAssignmentType] - a JSON Schema
            parameters += [_parameter(name, "query", schema) for name, schema in properties.items()]
        if method in {"patch", "delete"}:
            parameters.append(_parameter("If-Match", "header", {"type": "string"}))
        operation: Json = {"summary": summary, "parameters": parameters}
        if body:
            schema = {"$ref": _REF.format(model=body)}
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        responses: dict[str, Json] = {str(status): _response("Done", answer)}
        for other in others.split():
            responses[other] = _response(_MEANINGS[other], answer if other == "200" else "")
        operation["responses"] = responses
        paths.setdefault(path, {})[method] = operation
    for name in ("AgentQuery", "TaskQuery", "DeleteQuery", "NoQuery"):
        schemas.pop(name)
    info = {"title": "Platform backend", "version": VERSION}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _parameter(name: str, place: str, schema: Json) -> Json:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _response(description: str, answer: str) -> Json:
    if not answer:
        return {"description": description}
    schema: Json = {"$ref": _REF.format(model=answer.strip("[]"))}
    if answer.startswith("["):
        cursor = {"anyOf": [{"type": "string"}, {"type": "null"}]}
        page = {"items": {"type": "array", "items": schema}, "next_cursor": cursor}
        schema = {"type": "object", "properties": page, "required": list(page)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
