"""The HTTP front by hand: who is let in, what is refused and how, and that nothing else is disturbed."""

import http.client
import json
import socket
import time
from collections.abc import Generator

import pytest

from orchestra_supervisor.mcp_tokens import make_token, revoke_token
from tests.e2e.gateway.front_driver import BOTH, ENVELOPE, Front, running_front, stateless

MODERN = {"MCP-Protocol-Version": "2026-07-28"}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Generator[Front]:
    """A front that asks for tokens."""
    with running_front(tmp_path_factory.mktemp("locked")) as running:
        yield running


@pytest.fixture(autouse=True)
def still_well(front: Front) -> Generator[None]:
    """Whatever a test did, others are answered as ever."""
    yield
    status, answer = front.call("tools/call", {"name": "echo", "arguments": {"still": "here"}})
    assert (status, answer["result"]["structuredContent"]) == (200, {"said": {"still": "here"}})


def test_a_stateless_result_says_what_its_era_wants(front: Front) -> None:
    status, answer = front.call("resources/read", {"uri": "test://watched-resource"})
    content = {"uri": "test://watched-resource", "mimeType": "text/plain", "text": "It is as it was."}
    server = {"name": "fixture", "title": "Fixture", "version": "1.0.0"}
    assert (status, answer) == (
        200,
        {
            "jsonrpc": "2.0",
            "id": 1,
            "result": {
                "contents": [content],
                "resultType": "complete",
                "ttlMs": 0,
                "cacheScope": "private",
                "_meta": {"io.modelcontextprotocol/serverInfo": server},
            },
        },
    )


def test_a_handshake_result_is_the_endpoints_own(front: Front) -> None:
    session = front.begin()
    status, answer = front.in_session(session, "resources/read", {"uri": "test://watched-resource"})
    content = {"uri": "test://watched-resource", "mimeType": "text/plain", "text": "It is as it was."}
    assert (status, answer) == (200, {"jsonrpc": "2.0", "id": 1, "result": {"contents": [content]}})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example.com", 421),
        ("evil.example.com:80", 421),
        ("127.0.0.1.evil.example.com", 421),
        ("localhost@evil.example.com", 421),
        ("169.254.169.254", 421),
        ("[::ffff:10.0.0.1]", 421),
        ("", 421),
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
    ],
)
@pytest.mark.parametrize("path", ["/mcp", "/health"])
def test_a_request_is_for_this_host_or_refused(front: Front, host: str, status: int, path: str) -> None:
    method, body = (
        ("GET", b"") if path == "/health" else ("POST", json.dumps(stateless("tools/list")).encode())
    )
    head = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        f"Accept: {BOTH}",
        "Content-Type: application/json",
        "MCP-Protocol-Version: 2026-07-28",
        "Mcp-Method: tools/list",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as plug:
        plug.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        answer = plug.makefile("rb").read()
    assert int(answer.split(b" ", 2)[1]) == status, answer


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://evil.example.com", 403),
        ("null", 403),
        ("file://", 403),
        ("https://127.0.0.1.nip.io", 403),
        ("http://localhost:3000", 200),
        ("http://127.0.0.1", 200),
    ],
)
def test_a_page_of_another_host_is_refused(front: Front, origin: str, status: int) -> None:
    assert front.call("tools/list", Origin=origin)[0] == status


def test_without_a_token_nobody_is_let_in(locked: Front) -> None:
    text = make_token(locked.home, "laptop", "viewer", 1.0)
    status, headers, content = locked.request("POST", body=stateless("tools/list"))
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert json.loads(content)["error"]["message"] == (
        "a bearer token is needed: `orchestra mcp token` makes one"
    )
    statuses = [
        locked.call("tools/list", Authorization=given)[0]
        for given in ("Bearer wrong", f"Basic {text}", text, "Bearer", f"Bearer {text}x", f"Bearer {text}")
    ]
    assert statuses == [401, 401, 401, 401, 401, 200]
    status, answer = locked.call("tools/call", {"name": "whoami"}, Authorization=f"bearer {text}")
    said = json.loads(answer["result"]["content"][0]["text"])
    assert said == ["token laptop", "VIEWER", "stateless", "2026-07-28", {"name": "test", "version": "1"}]
    revoke_token(locked.home, "laptop")
    assert locked.call("tools/list", Authorization=f"Bearer {text}")[0] == 401


def test_health_needs_no_token_and_tells_nothing(locked: Front) -> None:
    status, _, content = locked.request("GET", "/health")
    assert (status, json.loads(content)) == (200, {"status": "ok"})


def test_a_session_belongs_to_who_began_it(locked: Front) -> None:
    mine = f"Bearer {make_token(locked.home, 'mine', 'operator', 1.0)}"
    other = f"Bearer {make_token(locked.home, 'other', 'admin', 1.0)}"
    session = locked.begin(Authorization=mine)
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert locked.post(ping, Mcp_Session_Id=session, Authorization=mine)[0] == 200
    assert locked.post(ping, Mcp_Session_Id=session, Authorization=other)[0] == 404
    assert locked.post(ping, Mcp_Session_Id=session)[0] == 401


def test_an_open_address_is_warned_of_and_its_callers_are_operators(front: Front) -> None:
    _, answer = front.call("tools/call", {"name": "whoami"})
    said = json.loads(answer["result"]["content"][0]["text"])
    assert said[:2] == ["anybody on this host", "OPERATOR"]
    assert "settings.mcp.auth is none" in front.log.read_text(encoding="utf-8")


def test_each_path_has_its_endpoint_and_the_others_none(front: Front) -> None:
    paths = ["/mcp", "/gw/mcp", "/gw/work/mcp", "/s/one/mcp", "/mcp/"]
    headers = {**MODERN, "Mcp-Method": "tools/list"}
    found = [front.request("POST", path, stateless("tools/list"), headers)[0] for path in paths]
    missing = ["/", "/gw/play/mcp", "/s/two/mcp", "/s//mcp", "/s/one", "/mcp/mcp", "/../mcp"]
    assert found == [200] * 5
    assert [front.request("POST", path, stateless("tools/list"), headers)[0] for path in missing] == [404] * 7


def test_a_session_is_of_its_path(front: Front) -> None:
    session = front.begin(path="/s/one/mcp")
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    paths = ("/s/one/mcp", "/mcp")
    assert [front.request("POST", path, ping, {"Mcp-Session-Id": session})[0] for path in paths] == [200, 404]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, -32700),
        (b"{", 400, -32700),
        (b"\xff\xfe", 400, -32700),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"n": NaN}}', 400, -32700),
        (b"[" * 200_000, 400, -32700),
        (b'{"n": ' + b"9" * 5000 + b"}", 400, -32700),
        (b"5", 400, -32600),
        (b"{}", 400, -32602),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "tools/list"}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "tools/list"}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "tools/list"}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 5}', 400, -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": []}', 400, -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": 5}}', 400, -32602),
        (b"[]", 400, -32600),
    ],
)
def test_what_is_no_message_is_told_so(front: Front, body: bytes, status: int, code: int) -> None:
    found, answer = front.post(body, MCP_Protocol_Version="2026-07-28", Mcp_Method="tools/list")
    if body == b"{}":
        code = -32600
    assert (found, answer["error"]["code"]) == (status, code)


def test_a_body_of_five_megabytes_is_refused_and_one_of_four_is_not(front: Front) -> None:
    for padding, expected in ((5_000_000, 413), (4_000_000, 200)):
        body = stateless("tools/call", {"name": "echo", "arguments": {"pad": "x" * padding}})
        headers = {**MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "echo"}
        assert front.request("POST", body=body, headers=headers)[0] == expected


def test_a_body_without_a_length_is_measured_as_it_comes(front: Front) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=10)
    chunks = iter([b"x" * 65536] * 80)
    headers = {"Accept": BOTH, "Content-Type": "application/json", **MODERN}
    connection.request("POST", "/mcp", chunks, headers, encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, response.getheader("connection")) == (413, "close")
    response.read()
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Accept": "text/html"}, 406),
        ({"Accept": "application/json"}, 406),
        ({"Accept": "text/event-stream"}, 406),
        ({"Accept": "*/*"}, 200),
        ({"Accept": "application/*, text/*;q=0.1"}, 200),
        ({"Accept": ""}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_accept_and_content_type_are_held_to(front: Front, headers: dict[str, str], status: int) -> None:
    given = {**MODERN, "Mcp-Method": "tools/list", **headers}
    assert front.request("POST", body=stateless("tools/list"), headers=given)[0] == status


def test_methods_that_mean_nothing_here_are_refused(front: Front) -> None:
    answers = [
        front.request(method, headers=headers)
        for method, headers in [
            ("PUT", {}),
            ("OPTIONS", {}),
            ("GET", MODERN),
            ("DELETE", MODERN),
            ("GET", {}),
            ("DELETE", {}),
        ]
    ]
    assert [(status, headers.get("allow")) for status, headers, _ in answers] == [
        (405, "GET, POST, DELETE"),
        (405, "GET, POST, DELETE"),
        (405, "POST"),
        (405, "POST"),
        (400, None),
        (400, None),
    ]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Mcp_Method": "prompts/list"}, -32020),
        ({"Mcp_Method": "TOOLS/CALL"}, -32020),
        ({"Mcp_Method": ""}, -32020),
        ({"Mcp_Name": "whoami"}, -32020),
        ({"Mcp_Name": ""}, -32020),
        ({"Mcp_Name": "=?base64?ZWNobw==?="}, None),
        ({"Mcp_Name": "=?base64?ZWNobx==?="}, -32020),
        ({"MCP_Protocol_Version": ""}, -32020),
        ({"MCP_Protocol_Version": "2025-11-25"}, -32020),
    ],
)
def test_headers_and_body_have_to_agree(front: Front, headers: dict[str, str], code: int | None) -> None:
    status, answer = front.call("tools/call", {"name": "echo", "arguments": {}}, **headers)
    assert (status, answer.get("error", {}).get("code")) == (200 if code is None else 400, code)


def test_an_unknown_version_is_answered_with_those_that_are_known(front: Front) -> None:
    body = stateless("tools/list", protocolVersion="2099-01-01")
    headers = {"MCP_Protocol_Version": "2099-01-01", "Mcp_Method": "tools/list"}
    expected = {
        "code": -32022,
        "message": "the protocol version '2099-01-01' is not spoken here",
        "data": {"supported": ["2026-07-28"], "requested": "2099-01-01"},
    }
    assert front.post(body, **headers) == (400, {"jsonrpc": "2.0", "id": 1, "error": expected})


def test_argument_headers_are_held_against_the_arguments(front: Front) -> None:
    def call(arguments: dict[str, object], **headers: str) -> object:
        _, answer = front.call(
            "tools/call", {"name": "test_custom_header", "arguments": arguments}, **headers
        )
        return answer.get("error", {}).get("code")

    assert call({"region": "eu", "priority": 42}, Mcp_Param_Region="eu", Mcp_Param_Priority="42.0") is None
    assert call({"region": "eu"}) == -32020
    assert call({}, Mcp_Param_Region="eu") == -32020
    assert call({"region": "eu"}, Mcp_Param_Region="us") == -32020
    assert call({"region": None}) is None
    assert call({"priority": 42}, Mcp_Param_Priority="42.5") == -32020


def test_a_slow_head_is_cut_off_while_others_are_served(front: Front) -> None:
    with socket.create_connection(("127.0.0.1", front.port), timeout=30) as plug:
        plug.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n")
        assert front.call("tools/list")[0] == 200
        began = time.monotonic()
        assert plug.recv(1) == b""  # closed by the front after its ten seconds
        assert time.monotonic() - began < 20


def test_a_client_that_leaves_cancels_its_stateless_call(front: Front) -> None:
    before = cancelled(front)
    body = stateless("tools/call", {"name": "wait_for_ever", "_meta": {"progressToken": 1}})
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=10)
    headers = {"Accept": BOTH, "Content-Type": "application/json", **MODERN}
    headers |= {"Mcp-Method": "tools/call", "Mcp-Name": "wait_for_ever"}
    connection.request("POST", "/mcp", json.dumps(body), headers)
    response = connection.getresponse()
    assert response.getheader("content-type") == "text/event-stream"
    assert response.getheader("x-accel-buffering") == "no"
    while not response.readline().startswith(b"data: "):
        pass
    response.close()
    connection.close()
    while cancelled(front) != [*before, "stateless"]:
        pass


def cancelled(front: Front) -> list[str]:
    _, answer = front.call("tools/call", {"name": "cancelled"})
    return list(json.loads(answer["result"]["content"][0]["text"]))


def test_a_stateless_notification_is_taken_and_means_nothing(front: Front) -> None:
    notification = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    status, _, content = front.request("POST", body=notification, headers=MODERN)
    assert (status, content) == (202, b"")


def test_the_envelope_of_a_request_is_what_the_endpoint_sees(front: Front) -> None:
    capabilities = {"io.modelcontextprotocol/clientCapabilities": {"sampling": {}}}
    params = {"name": "test_missing_capability", "_meta": capabilities}
    assert front.call("tools/call", params)[0] == 200
    status, answer = front.call("tools/call", {"name": "test_missing_capability"})
    assert (status, answer["error"]["code"]) == (400, -32021)
    assert ENVELOPE["io.modelcontextprotocol/clientCapabilities"] == {}
