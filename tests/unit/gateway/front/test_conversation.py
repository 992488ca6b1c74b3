import anyio
import pytest

from orchestra_supervisor.gateway.endpoint import AskRefused, Caller, Era, Role
from orchestra_supervisor.gateway.front.conversation import MAX_RUNNING, MAX_WATCHED, Conversation, Running
from orchestra_supervisor.gateway.front.served import Served
from orchestra_supervisor.gateway.messages import Json, RpcError
from tests.e2e.gateway.fixture_endpoint import FixtureEndpoint

pytestmark = pytest.mark.anyio

CALLER = Caller("uid 0", Role.ADMIN, Era.HANDSHAKE, "2025-11-25", {}, {"elicitation": {}})
CAPABILITIES: Json = {"tools": {"listChanged": True}, "resources": {"subscribe": True}}


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
def endpoint() -> FixtureEndpoint:
    return FixtureEndpoint()


@pytest.fixture
async def conversation(endpoint: FixtureEndpoint) -> Conversation:
    return Conversation(Served("/mcp", endpoint), CALLER, CAPABILITIES, "stamp")


async def test_an_answer_reaches_who_asked(conversation: Conversation) -> None:
    sent: list[Json] = []

    async def send(message: Json) -> None:
        sent.append(message)
        conversation.take_response({"id": message["id"], "result": {"action": "accept"}})

    answer = await conversation.ask("elicitation/create", {"message": "?"}, send)
    assert (answer, sent[0]["method"], sent[0]["params"]) == (
        {"action": "accept"},
        "elicitation/create",
        {"message": "?"},
    )


async def test_an_error_of_the_client_is_raised(conversation: Conversation) -> None:
    async def send(message: Json) -> None:
        conversation.take_response({"id": message["id"], "error": {"code": -1, "message": "no"}})

    with pytest.raises(RpcError) as caught:
        await conversation.ask("elicitation/create", {}, send)
    assert caught.value.to_json() == {"code": -1, "message": "no"}


@pytest.mark.parametrize("method", ["sampling/createMessage", "roots/list", "no/such"])
async def test_what_a_client_did_not_declare_it_is_not_asked(conversation: Conversation, method: str) -> None:
    async def send(message: Json) -> None:
        raise AssertionError(message)

    with pytest.raises(AskRefused, match="did not declare"):
        await conversation.ask(method, {}, send)


async def test_a_question_that_is_given_up_is_taken_back(conversation: Conversation) -> None:
    sent: list[Json] = []

    async def send(message: Json) -> None:
        sent.append(message)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(conversation.ask, "elicitation/create", {}, send)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    reason = {"requestId": sent[0]["id"], "reason": "the request that asked was cancelled"}
    assert sent[1] == {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": reason}


async def test_a_client_that_goes_away_is_not_waited_for(conversation: Conversation) -> None:
    refused: list[str] = []

    async def send(message: Json) -> None:
        pass

    async def ask() -> None:
        try:
            await conversation.ask("elicitation/create", {}, send)
        except AskRefused as error:
            refused.append(str(error))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            conversation.close()
    await ask()
    assert refused == ["the client went away before it answered", "the client is gone"]


async def test_what_is_watched_is_let_go_once(conversation: Conversation, endpoint: FixtureEndpoint) -> None:
    for _ in range(2):
        await conversation.subscribe({"uri": "test://a"})
    await conversation.subscribe({"uri": "test://b"})
    assert endpoint.watched == {"test://a": 1, "test://b": 1}
    for _ in range(2):
        conversation.unsubscribe({"uri": "test://a"})
    assert endpoint.watched == {"test://b": 1}
    conversation.close()
    assert (endpoint.watched, endpoint.sinks) == ({}, 0)


async def test_watching_has_an_end_and_needs_a_resource(conversation: Conversation) -> None:
    for number in range(MAX_WATCHED):
        await conversation.subscribe({"uri": f"test://{number}"})
    for params in ({"uri": "test://more"}, {"uri": "http://elsewhere"}, {}, {"uri": 5}):
        with pytest.raises(RpcError) as caught:
            await conversation.subscribe(params)
        assert caught.value.code == -32602


async def test_a_request_is_cancelled_by_its_own_id_alone() -> None:
    running, scopes = Running(), {request_id: anyio.CancelScope() for request_id in (1, "1", 2)}
    for request_id, scope in scopes.items():
        running.enter(request_id, scope)
    for params in ({"requestId": "1"}, {"requestId": 3}, {"requestId": []}, {}):
        running.cancel(params)
    assert [scope.cancel_called for scope in scopes.values()] == [False, True, False]
    assert [running.leave(request_id) for request_id in scopes] == [False, True, False]


async def test_no_more_requests_run_than_may() -> None:
    running = Running()
    for number in range(MAX_RUNNING - 1):
        running.enter(number, anyio.CancelScope())
    with pytest.raises(RpcError, match="ask again when one is done"):
        running.enter("more", anyio.CancelScope(), unsent=1)
    running.enter("last", anyio.CancelScope())
    with pytest.raises(RpcError, match="is being answered already"):
        running.enter("last", anyio.CancelScope())
