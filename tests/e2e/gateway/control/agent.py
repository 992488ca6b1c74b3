"""A client of the control endpoint, in process and over a real fleet: it holds every answer to its schema."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import anyio
import jsonschema
import mcp_types
from mcp_types import _v2026_07_28 as modern

from orchestra_supervisor.gateway.control.endpoint import ControlEndpoint, Settings, make_control
from orchestra_supervisor.gateway.endpoint import AskRefused, Caller, Era, Role
from orchestra_supervisor.gateway.messages import Json

__all__ = ["Agent", "Answer", "Asked", "Line", "serving", "text_of"]

Asked = Callable[[str, Json], Awaitable[Json]]
"""Answers what the server asks the client."""


async def _nobody(method: str, params: Json) -> Json:
    raise AskRefused(f"{method}: nobody is asked here")


@dataclass
class Line:
    """One request's way back, as a front would make it: an Exchange."""

    caller: Caller
    meta: Mapping[str, object] = field(default_factory=dict[str, object])
    told: list[tuple[str, Json]] = field(default_factory=list[tuple[str, Json]])
    asked: Asked = _nobody

    async def notify(self, method: str, params: Json) -> None:
        self.told.append((method, params))

    async def ask(self, method: str, params: Json) -> Json:
        return await self.asked(method, params)


@dataclass(frozen=True)
class Answer:
    """A result of `tools/call`, held to the schemas already."""

    result: Json

    @property
    def is_error(self) -> bool:
        return self.result.get("isError") is True

    @property
    def data(self) -> Any:
        return self.result["structuredContent"]

    @property
    def text(self) -> str:
        return text_of(self.result)


def text_of(result: Json) -> str:
    """Return the text blocks of a result."""
    content = cast("list[dict[str, str]]", result["content"])
    return "\n".join(one["text"] for one in content if one["type"] == "text")


@dataclass
class Agent:
    """One client of an endpoint."""

    endpoint: ControlEndpoint
    caller: Caller
    asked: Asked = _nobody
    told: list[tuple[str, Json]] = field(default_factory=list[tuple[str, Json]])

    def as_role(self, role: Role, principal: str = "token other") -> "Agent":
        """Return another client of the same endpoint."""
        return Agent(self.endpoint, replace(self.caller, role=role, principal=principal))

    async def request(self, method: str, params: Json | None = None, **meta: object) -> Json:
        """Send a request, and return its result."""
        line = Line(self.caller, meta, self.told, self.asked)
        with anyio.fail_after(55):
            result = await self.endpoint.handle(
                method, {**(params or {}), **({"_meta": meta} if meta else {})}, line
            )
        self._held_to_protocol(method, result)
        return result

    async def call(self, tool: str, /, **arguments: object) -> Answer:
        """Call a tool."""
        return await self.send(tool, arguments)

    async def send(self, tool: str, arguments: Json, more: Json | None = None, **meta: object) -> Answer:
        """Call a tool with further params, or with members of `_meta`."""
        result = await self.request(
            "tools/call", {"name": tool, "arguments": arguments, **(more or {})}, **meta
        )
        if "structuredContent" in result:
            tools = cast("list[Json]", (await self.request("tools/list"))["tools"])
            (schema,) = (one["outputSchema"] for one in tools if one["name"] == tool)
            validator = jsonschema.Draft202012Validator(cast("Any", schema))
            validator.validate(result["structuredContent"])
        return Answer(result)

    def _held_to_protocol(self, method: str, result: Json) -> None:
        """Hold a result to the protocol's own models of both revisions."""
        models: dict[str, tuple[Any, Any]] = {
            "tools/call": (mcp_types.CallToolResult, modern.CallToolResult),
            "tools/list": (mcp_types.ListToolsResult, modern.ListToolsResult),
            "resources/list": (mcp_types.ListResourcesResult, modern.ListResourcesResult),
            "resources/templates/list": (
                mcp_types.ListResourceTemplatesResult,
                modern.ListResourceTemplatesResult,
            ),
            "resources/read": (mcp_types.ReadResourceResult, modern.ReadResourceResult),
            "prompts/list": (mcp_types.ListPromptsResult, modern.ListPromptsResult),
            "prompts/get": (mcp_types.GetPromptResult, modern.GetPromptResult),
            "completion/complete": (mcp_types.CompleteResult, modern.CompleteResult),
        }
        if result.get("resultType") == "input_required":
            modern.InputRequiredResult.model_validate(result)
            return
        old, new = models[method]
        if self.caller.era is Era.STATELESS:
            new.model_validate({"resultType": "complete", **result})
        else:
            old.model_validate(result)


@asynccontextmanager
async def serving(
    home: Path,
    *,
    era: Era = Era.HANDSHAKE,
    role: Role = Role.ADMIN,
    settings: Settings | None = None,
    inline: float = 45.0,
    make: Callable[..., ControlEndpoint] = make_control,
    servers: Callable[[], list[Json]] | None = None,
) -> AsyncGenerator[Agent]:
    """Serve the endpoint of a home for the time of the block."""
    endpoint = make(home, settings or Settings(), servers, inline=inline)
    version = "2025-11-25" if era is Era.HANDSHAKE else "2026-07-28"
    caller = Caller("token laptop", role, era, version, {"name": "test-agent", "version": "1"})
    async with anyio.create_task_group() as tasks:
        await tasks.start(endpoint.run)
        yield Agent(endpoint, caller)
        tasks.cancel_scope.cancel()
