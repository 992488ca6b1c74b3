"""An endpoint with all that the conformance suite wants of a server: its tools, resources and prompts.

Written to the suite's descriptions of its scenarios (npm: @modelcontextprotocol/conformance). What a test of
ours needs besides is at the end of the table of tools.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskStatus

from orchestra_supervisor.gateway.endpoint import (
    AskRefused,
    Caller,
    Change,
    ChangeKind,
    Exchange,
    Greeting,
    Sink,
)
from orchestra_supervisor.gateway.front.handshake_http import HttpTurn
from orchestra_supervisor.gateway.messages import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    Json,
    RpcError,
)

__all__ = ["FixtureEndpoint", "FixtureServers"]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
STATE_KEY = b"a key that only this fixture knows"

Tool = Callable[["FixtureEndpoint", Json, Exchange], Awaitable[Json]]

NOTHING: Json = {"type": "object", "properties": {}}
SCHEMA_2020: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def text(words: str) -> Json:
    return {"content": [{"type": "text", "text": words}]}


def string_schema(**descriptions: str) -> Json:
    properties = {name: {"type": "string", "description": words} for name, words in descriptions.items()}
    return {"type": "object", "properties": properties, "required": list(descriptions)}


def elicitation(message: str, schema: Json) -> Json:
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def sampling(words: str, tokens: int = 100) -> Json:
    message = {"role": "user", "content": {"type": "text", "text": words}}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": tokens}}


def field_schema(name: str, kind: str = "string") -> Json:
    return {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}


def input_required(requests: Json, state: str | None = None) -> Json:
    result: Json = {"resultType": "input_required", "inputRequests": requests}
    return result if state is None else {**result, "requestState": state}


def seal(words: str) -> str:
    return f"{words}.{hmac.new(STATE_KEY, words.encode(), hashlib.sha256).hexdigest()}"


def unseal(state: object) -> str:
    words = str(state).rpartition(".")[0]
    if not hmac.compare_digest(seal(words), str(state)):
        raise RpcError(INVALID_PARAMS, "requestState is not what this server sent")
    return words


def responses_of(params: Json) -> Json:
    """Return the client's answers that are objects; anything else is as good as no answer."""
    given = params.get("inputResponses")
    return (
        {key: value for key, value in given.items() if isinstance(value, dict)}
        if isinstance(given, dict)
        else {}
    )


class FixtureEndpoint:
    """The server."""

    def __init__(self) -> None:
        self._sinks: dict[object, Sink] = {}
        self.watched: dict[str, int] = {}
        self.noticed: list[tuple[str, Json]] = []
        self.cancelled: list[str] = []
        self.callers: list[Caller] = []

    @property
    def sinks(self) -> int:
        return len(self._sinks)

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        task_status.started()
        await anyio.sleep_forever()

    async def apply(self, config: Json) -> None:
        pass

    async def greet(self, caller: Caller) -> Greeting:
        return Greeting(
            {"name": "fixture", "title": "Fixture", "version": "1.0.0"},
            {
                "tools": {"listChanged": True},
                "prompts": {"listChanged": True},
                "resources": {"listChanged": True, "subscribe": True},
                "logging": {},
                "completions": {},
            },
            "A server for tests.",
        )

    async def notified(self, method: str, params: Json, caller: Caller) -> None:
        self.noticed.append((method, params))

    def listen(self, caller: Caller, sink: Sink) -> Callable[[], None]:
        token = object()
        self._sinks[token] = sink
        return lambda: self._sinks.pop(token, None) and None

    async def watch(self, uri: str, caller: Caller) -> Callable[[], None]:
        if not uri.startswith("test://"):
            raise RpcError(INVALID_PARAMS, "there is no such resource", {"uri": uri})
        self.watched[uri] = self.watched.get(uri, 0) + 1

        def stop() -> None:
            self.watched[uri] -= 1
            if not self.watched[uri]:
                del self.watched[uri]

        return stop

    def tell(self, change: Change) -> None:
        for sink in list(self._sinks.values()):
            sink(change)

    async def handle(self, method: str, params: Json, exchange: Exchange) -> Json:
        self.callers.append(exchange.caller)
        match method:
            case "tools/list":
                return {"tools": [{"name": name, **said} for name, (said, _) in TOOLS.items()]}
            case "tools/call":
                if params.get("name") not in TOOLS:
                    raise RpcError(INVALID_PARAMS, f"there is no tool {params.get('name')!r}")
                return await TOOLS[str(params["name"])][1](self, params, exchange)
            case "resources/list":
                return {"resources": RESOURCES}
            case "resources/templates/list":
                return {"resourceTemplates": TEMPLATES}
            case "resources/read":
                return read_resource(str(params.get("uri")))
            case "prompts/list":
                return {"prompts": PROMPTS}
            case "prompts/get":
                return get_prompt(params)
            case "completion/complete":
                return {"completion": {"values": ["paris", "park"], "total": 2, "hasMore": False}}
            case _:
                raise RpcError(METHOD_NOT_FOUND, f"there is no {method}", {"method": method})


class FixtureServers:
    """Endpoints by profile and by server, for tests of paths."""

    def __init__(self, everything: FixtureEndpoint, **servers: FixtureEndpoint) -> None:
        self.everything = everything
        self.servers = servers

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        task_status.started()
        await anyio.sleep_forever()

    async def apply(self, config: Json) -> None:
        pass

    def told(self, service: str, state: str) -> None:
        pass

    def left(self, caller: Caller) -> None:
        pass

    def profile(self, name: str | None) -> FixtureEndpoint | None:
        return self.everything if name in {None, "work"} else None

    def server(self, name: str) -> FixtureEndpoint | None:
        return self.servers.get(name)


# Tools.


async def simple_text(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    return text("This is a simple text response for testing.")


async def image(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    return {"content": [{"type": "image", "data": PNG, "mimeType": "image/png"}]}


async def audio(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    return {"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]}


async def embedded(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    resource = {
        "uri": "test://embedded-resource",
        "mimeType": "text/plain",
        "text": "This is an embedded resource content.",
    }
    return {"content": [{"type": "resource", "resource": resource}]}


async def mixed(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    resource = {
        "uri": "test://mixed-content-resource",
        "mimeType": "application/json",
        "text": '{"test":"data","value":123}',
    }
    return {
        "content": [
            {"type": "text", "text": "Multiple content types test:"},
            {"type": "image", "data": PNG, "mimeType": "image/png"},
            {"type": "resource", "resource": resource},
        ]
    }


async def logging_tool(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await exchange.notify("notifications/message", {"level": "info", "logger": "fixture", "data": words})
        await anyio.sleep(0.05)
    return text("Logged three times.")


async def failing(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    return {**text("This tool intentionally returns an error for testing"), "isError": True}


async def progressing(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    token = exchange.meta.get("progressToken")
    for done in (0, 50, 100):
        said = {"progressToken": token, "progress": done, "total": 100}
        await exchange.notify("notifications/progress", said)
        await anyio.sleep(0.05)
    return text("Progressed to the end.")


async def sample(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    request = sampling(str(params["arguments"]["prompt"]))  # type: ignore[index]
    try:
        answer = await exchange.ask("sampling/createMessage", request["params"])  # type: ignore[arg-type]
    except AskRefused as error:
        return {**text(str(error)), "isError": True}
    return text(f"LLM response: {answer['content']['text']}")  # type: ignore[index,call-overload]


async def _elicit(exchange: Exchange, message: str, schema: Json, words: str) -> Json:
    try:
        answer = await exchange.ask("elicitation/create", {"message": message, "requestedSchema": schema})
    except AskRefused as error:
        return {**text(str(error)), "isError": True}
    content = json.dumps(answer.get("content", {}))
    return text(f"{words}: action={answer['action']}, content={content}")


async def elicit(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    schema = string_schema(username="User's response", email="User's email address")
    return await _elicit(exchange, str(params["arguments"]["message"]), schema, "User response")  # type: ignore[index]


async def elicit_defaults(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    schema: Json = {"type": "object", "properties": properties}
    return await _elicit(exchange, "Your data", schema, "Elicitation completed")


async def elicit_enums(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    titled = [
        {"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second"), 1)
    ]
    names = ["Option One", "Option Two", "Option Three"]
    options = ["option1", "option2", "option3"]
    properties = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": names},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    schema: Json = {"type": "object", "properties": properties}
    return await _elicit(exchange, "Choose", schema, "Elicitation completed")


async def reconnect(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    if isinstance(exchange, HttpTurn):
        await exchange.release()
    await anyio.sleep(0.2)
    return text("You came back.")


async def trigger_tools(self: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    self.tell(Change(ChangeKind.TOOLS))
    return text("The tools changed.")


async def trigger_prompts(self: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    self.tell(Change(ChangeKind.PROMPTS))
    return text("The prompts changed.")


async def missing_capability(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    if "sampling" not in exchange.caller.capabilities:
        data: Json = {"requiredCapabilities": {"sampling": {}}}
        raise RpcError(MISSING_CAPABILITY, "the client cannot sample", data)
    return text("The client can sample.")


async def streaming_elicitation(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    if "user_name" in responses_of(params):
        return text("Elicited.")
    return input_required({"user_name": elicitation("What is your name?", field_schema("name"))})


# Tools that ask by their results.


async def ask_elicitation(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    given = responses_of(params).get("user_name")
    if not isinstance(given, dict):
        return input_required({"user_name": elicitation("What is your name?", field_schema("name"))})
    content = given.get("content")
    return text(f"Hello, {content.get('name') if isinstance(content, dict) else 'you'}!")


async def ask_sampling(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    given = responses_of(params).get("capital_question")
    if given is None:
        return input_required({"capital_question": sampling("What is the capital of France?")})
    return text(json.dumps(given))


async def ask_roots(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    given = responses_of(params).get("client_roots")
    if given is None:
        return input_required({"client_roots": {"method": "roots/list", "params": {}}})
    return text(json.dumps(given))


async def ask_with_state(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    if "confirm" not in responses_of(params):
        request = {"confirm": elicitation("Please confirm", field_schema("ok", "boolean"))}
        return input_required(request, seal("confirm"))
    return text(f"state-ok: {unseal(params.get('requestState'))}")


async def ask_many(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    requests: Json = {
        "user_name": elicitation("What is your name?", field_schema("name")),
        "greeting": sampling("Generate a greeting", 50),
        "client_roots": {"method": "roots/list", "params": {}},
    }
    if requests.keys() - responses_of(params).keys():
        return input_required(requests, seal("many"))
    unseal(params.get("requestState"))
    return text("All answered.")


async def ask_rounds(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    given = responses_of(params)
    if "step2" in given:
        return text(f"Done after {unseal(params.get('requestState'))}.")
    if "step1" in given:
        unseal(params.get("requestState"))
        request = {"step2": elicitation("Step 2: What is your favorite color?", field_schema("color"))}
        return input_required(request, seal("round 2"))
    request = {"step1": elicitation("Step 1: What is your name?", field_schema("name"))}
    return input_required(request, seal("round 1"))


async def ask_what_it_can(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    if responses_of(params):
        return text("Answered.")
    requests: Json = {}
    if "elicitation" in exchange.caller.capabilities:
        requests["name"] = elicitation("What is your name?", field_schema("name"))
    if "sampling" in exchange.caller.capabilities:
        requests["word"] = sampling("Say a word")
    return input_required(requests) if requests else text("There is nobody to ask.")


# For tests of ours.


async def echo(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    return {
        **text(json.dumps(params.get("arguments"))),
        "structuredContent": {"said": params.get("arguments")},
    }


async def whoami(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    caller = exchange.caller
    said = [caller.principal, caller.role.name, caller.era.value, caller.version, dict(caller.client)]
    return text(json.dumps(said))


async def wait_for_ever(self: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    """Say that it began, then wait to be cancelled, and note that it was."""
    said = {"progressToken": exchange.meta.get("progressToken"), "progress": 1}
    await exchange.notify("notifications/progress", said)
    try:
        await anyio.sleep_forever()
    finally:
        self.cancelled.append(exchange.caller.era.value)
    raise AssertionError("nobody wakes it")


async def say_cancelled(self: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    return text(json.dumps(self.cancelled))


async def wait_a_moment(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    await anyio.sleep(float(params["arguments"]["seconds"]))  # type: ignore[index]
    return text("It was worth it.")


async def crash(_: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    raise RuntimeError("a secret that no client may see")


async def touch(self: FixtureEndpoint, params: Json, exchange: Exchange) -> Json:
    """Change a resource as often as is asked, at once."""
    arguments = params["arguments"]
    for _ in range(int(arguments["times"])):  # type: ignore[index]
        self.tell(Change(ChangeKind.RESOURCE, str(arguments["uri"])))  # type: ignore[index]
    return text("Touched.")


def tool(description: str, do: Tool, schema: Json = NOTHING) -> tuple[Json, Tool]:
    return {"description": description, "inputSchema": schema}, do


TOOLS: dict[str, tuple[Json, Tool]] = {
    "test_simple_text": tool("Returns text", simple_text),
    "test_image_content": tool("Returns an image", image),
    "test_audio_content": tool("Returns audio", audio),
    "test_embedded_resource": tool("Returns a resource", embedded),
    "test_multiple_content_types": tool("Returns three kinds of content", mixed),
    "test_tool_with_logging": tool("Logs", logging_tool),
    "test_logging_tool": tool("Logs", logging_tool),
    "test_error_handling": tool("Fails", failing),
    "test_tool_with_progress": tool("Tells of progress", progressing),
    "test_sampling": tool("Samples", sample, string_schema(prompt="What to ask")),
    "test_elicitation": tool("Asks the user", elicit, string_schema(message="What to ask")),
    "test_elicitation_sep1034_defaults": tool("Asks with defaults", elicit_defaults),
    "test_elicitation_sep1330_enums": tool("Asks for choices", elicit_enums),
    "test_reconnection": tool("Closes the stream before it answers", reconnect),
    "test_trigger_tool_change": tool("Says that the tools changed", trigger_tools),
    "test_trigger_prompt_change": tool("Says that the prompts changed", trigger_prompts),
    "test_missing_capability": tool("Needs a client that samples", missing_capability),
    "test_streaming_elicitation": tool("Asks by its result", streaming_elicitation),
    "test_input_required_result_elicitation": tool("Asks by its result", ask_elicitation),
    "test_input_required_result_sampling": tool("Asks by its result", ask_sampling),
    "test_input_required_result_list_roots": tool("Asks by its result", ask_roots),
    "test_input_required_result_request_state": tool("Asks, with a state", ask_with_state),
    "test_input_required_result_tampered_state": tool("Asks, with a state", ask_with_state),
    "test_input_required_result_multiple_inputs": tool("Asks thrice at once", ask_many),
    "test_input_required_result_multi_round": tool("Asks twice", ask_rounds),
    "test_input_required_result_capabilities": tool("Asks what the client can answer", ask_what_it_can),
    "json_schema_2020_12_tool": tool("Has a schema with all that JSON Schema has", echo, SCHEMA_2020),
    "test_custom_header": tool(
        "Has arguments that are repeated in headers",
        echo,
        {
            "type": "object",
            "properties": {
                "region": {"type": "string", "x-mcp-header": "Region"},
                "priority": {"type": "integer", "x-mcp-header": "Priority"},
            },
        },
    ),
    "echo": tool("Returns its arguments", echo),
    "whoami": tool("Returns who calls", whoami),
    "wait_for_ever": tool("Waits until it is cancelled", wait_for_ever),
    "cancelled": tool("Returns which calls were cancelled", say_cancelled),
    "wait_a_moment": tool("Waits", wait_a_moment),
    "crash": tool("Fails in a way that nobody thought of", crash),
    "touch": tool("Changes a resource", touch),
}


# Resources and prompts.

RESOURCES: list[Json] = [
    {"uri": "test://static-text", "name": "text", "description": "Text", "mimeType": "text/plain"},
    {"uri": "test://static-binary", "name": "binary", "description": "An image", "mimeType": "image/png"},
    {
        "uri": "test://watched-resource",
        "name": "watched",
        "description": "It changes",
        "mimeType": "text/plain",
    },
]
TEMPLATES: list[Json] = [
    {
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "Data by id",
        "mimeType": "application/json",
    }
]
PROMPTS: list[Json] = [
    {"name": "test_simple_prompt", "description": "A prompt"},
    {
        "name": "test_prompt_with_arguments",
        "description": "A prompt with arguments",
        "arguments": [{"name": name, "description": name, "required": True} for name in ("arg1", "arg2")],
    },
    {
        "name": "test_prompt_with_embedded_resource",
        "description": "A prompt with a resource",
        "arguments": [{"name": "resourceUri", "description": "Which", "required": True}],
    },
    {"name": "test_prompt_with_image", "description": "A prompt with an image"},
    {"name": "test_input_required_result_prompt", "description": "A prompt that asks"},
]


def read_resource(uri: str) -> Json:
    content: Json
    if uri == "test://static-text":
        content = {"mimeType": "text/plain", "text": "This is the content of the static text resource."}
    elif uri == "test://static-binary":
        content = {"mimeType": "image/png", "blob": PNG}
    elif uri == "test://watched-resource":
        content = {"mimeType": "text/plain", "text": "It is as it was."}
    elif uri.startswith("test://template/") and uri.endswith("/data"):
        number = uri.removeprefix("test://template/").removesuffix("/data")
        said = {"id": number, "templateTest": True, "data": f"Data for ID: {number}"}
        content = {"mimeType": "application/json", "text": json.dumps(said)}
    else:
        raise RpcError(INVALID_PARAMS, "Resource not found", {"uri": uri})
    return {"contents": [{"uri": uri, **content}]}


def said_by_user(*contents: Json) -> Json:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


def get_prompt(params: Json) -> Json:
    given = params.get("arguments")
    arguments = given if isinstance(given, dict) else {}
    match params.get("name"):
        case "test_simple_prompt":
            return said_by_user({"type": "text", "text": "This is a simple prompt for testing."})
        case "test_prompt_with_arguments":
            words = f"Prompt with arguments: arg1='{arguments.get('arg1')}', arg2='{arguments.get('arg2')}'"
            return said_by_user({"type": "text", "text": words})
        case "test_prompt_with_embedded_resource":
            resource = {
                "uri": arguments.get("resourceUri"),
                "mimeType": "text/plain",
                "text": "Embedded resource content for testing.",
            }
            words = "Please process the embedded resource above."
            return said_by_user({"type": "resource", "resource": resource}, {"type": "text", "text": words})
        case "test_prompt_with_image":
            picture: Json = {"type": "image", "data": PNG, "mimeType": "image/png"}
            return said_by_user(picture, {"type": "text", "text": "Please analyze the image above."})
        case "test_input_required_result_prompt":
            if "user_context" not in responses_of(params):
                request = elicitation("What context should the prompt use?", field_schema("context"))
                return input_required({"user_context": request})
            return said_by_user({"type": "text", "text": "A prompt with a context."})
        case name:
            raise RpcError(INVALID_PARAMS, f"there is no prompt {name!r}")
