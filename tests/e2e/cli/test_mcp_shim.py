"""The pump with real gateways that are killed at chosen points, as a client sees it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli.fake_control import holding_lock
from tests.e2e.cli.shim_driver import LIMIT, META, VERSION, Bench, Client, Json, argv, bench_at

INITIALIZE = {
    "protocolVersion": VERSION,
    "capabilities": {"elicitation": {}},
    "clientInfo": {"name": "test", "version": "1"},
}
RESTARTED = "the gateway restarted; ask again (it is not known whether this was done)"
LISTS = [f"notifications/{name}/list_changed" for name in ("tools", "resources")]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Return a home whose socket is held as the keeper holds it."""
    with bench_at(tmp_path / ".orchestra") as bench:
        bench.hold()
        yield bench


def said(answer: Json) -> Json:
    """Return what the gateway's `echo` had to say."""
    return answer["result"]["structuredContent"]


def test_lines_go_both_ways_as_they_are_and_the_hello_says_what_is_wanted(bench: Bench) -> None:
    pid = bench.start()
    for words, hello in {
        (): {"endpoint": "control", "profile": None, "server": None},
        ("--gateway",): {"endpoint": "gateway", "profile": None, "server": None},
        ("--gateway", "--profile", "p"): {"endpoint": "gateway", "profile": "p", "server": None},
        ("--server=memory",): {"endpoint": "server", "profile": None, "server": "memory"},
    }.items():
        bench.notes.write_bytes(b"")
        client = bench.client(*words)
        client.handshake()
        assert said(client.answer(client.call("echo", {"text": "h\u00e4 \u2028 \\n"}))) == {
            "said": {"text": "h\u00e4 \u2028 \\n"},
            "to": pid,
        }
        assert client.close() == (0, b"", "")
        first = json.loads(bench.notes.read_bytes().splitlines()[0])
        assert first == {"gateway": pid, "hello": {"orchestra": 1, **hello}}


@pytest.mark.parametrize("times", [1, 2])
def test_a_session_goes_on_after_the_gateway_was_killed(bench: Bench, times: int) -> None:
    bench.start()
    client = bench.client()
    client.handshake()
    client.answer(client.ask("resources/subscribe", {"uri": "fleet://status"}))
    client.answer(client.ask("resources/subscribe", {"uri": "service://a"}))
    client.answer(client.ask("resources/unsubscribe", {"uri": "service://a"}))
    client.answer(client.ask("logging/setLevel", {"level": "error"}))
    for _ in range(times):
        bench.kill()
        pid = bench.start()
        told = [client.read() for _ in range(3)]
        assert [one["method"] for one in told] == [*LISTS, "notifications/resources/updated"]
        assert told[2]["params"] == {"uri": "fleet://status"}
        assert said(client.answer(client.call("echo"))) == {"said": {}, "to": pid}
        began = bench.taken(pid)
        assert [one["method"] for one in began] == [
            "initialize",
            "notifications/initialized",
            "resources/subscribe",
            "logging/setLevel",
            "tools/call",
        ]
        assert began[0]["params"] == INITIALIZE
        assert began[2]["params"] == {"uri": "fleet://status"}
        assert began[3]["params"] == {"level": "error"}
    assert client.close()[:2] == (0, b"")


def test_a_call_in_flight_fails_and_is_never_asked_again_while_lists_and_pings_are(bench: Bench) -> None:
    first = bench.start()
    client = bench.client()
    client.handshake()
    call = client.call("wait")
    bench.until_taken(first, "tools/call")
    # The gateway is stopped, so that what is asked now is on its way and without an answer.
    bench.gateways[-1].send_signal(signal.SIGSTOP)
    asked = [client.ask(method) for method in ("tools/list", "ping")]
    bench.kill()
    second = bench.start()
    answers = {message["id"]: message for message in (client.read() for _ in range(5)) if "id" in message}
    assert answers.pop(call) == {
        "jsonrpc": "2.0",
        "id": call,
        "error": {"code": -32000, "message": RESTARTED, "data": {"method": "tools/call"}},
    }
    assert sorted(answers) == asked
    assert all("result" in answer for answer in answers.values())
    assert bench.taken(second, "tools/call") == []


def test_a_call_that_has_not_gone_out_waits_for_the_next_gateway(bench: Bench) -> None:
    bench.start()
    client = bench.client()
    client.handshake()
    bench.kill()
    assert bench.listener is not None
    bench.listener.close()
    (bench.home / "mcp.sock").unlink()
    with holding_lock(bench.home):  # a keeper is there, so a gateway will come
        call = client.call("echo", {"text": "late"})
        time.sleep(0.3)  # not for synchronisation: the pump looks, finds nobody, and keeps what it has
        bench.hold()
        pid = bench.start()
        told = [client.read() for _ in LISTS]
        assert [one["method"] for one in told] == LISTS
        assert said(client.answer(call)) == {"said": {"text": "late"}, "to": pid}


def test_a_gateway_that_dies_before_it_answers_the_hello_is_waited_for(bench: Bench) -> None:
    bench.start("die-at-hello")
    client = bench.client()
    one = client.ask("initialize", INITIALIZE)
    bench.gateways[-1].wait(LIMIT)
    bench.start("die-at-hello")
    bench.gateways[-1].wait(LIMIT)
    pid = bench.start()
    assert client.answer(one)["result"]["serverInfo"] == {"name": "line", "version": str(pid)}
    assert [message["id"] for message in bench.taken(pid, "initialize")] == [one]


def test_half_a_line_of_a_gateway_never_reaches_the_client(bench: Bench) -> None:
    bench.start()
    client = bench.client()
    client.handshake()
    call = client.call("half")
    assert client.answer(call)["error"]["message"] == RESTARTED
    pid = bench.start()
    assert [client.read()["method"] for _ in LISTS] == LISTS
    assert said(client.answer(client.call("echo"))) == {"said": {}, "to": pid}


def test_half_a_line_of_a_client_never_reaches_a_gateway(bench: Bench) -> None:
    pid = bench.start()
    client = bench.client()
    client.handshake()
    client.write(b'{"jsonrpc":"2.0","id":77,"method":"tools/c')
    bench.kill()
    second = bench.start()
    client.write(b'all","params":{"name":"echo"}}\n')
    while client.read().get("id") != 77:
        pass
    assert bench.taken(pid, "tools/call") == []
    assert [one["id"] for one in bench.taken(second, "tools/call")] == [77]
    client.write(b'{"jsonrpc":"2.0","id":78,"meth')
    assert client.close()[:2] == (0, b"")
    assert [one["id"] for one in bench.taken(second, "tools/call")] == [77]


def test_an_answer_to_a_gateway_that_is_gone_reaches_no_other(bench: Bench) -> None:
    bench.start()
    client = bench.client()
    client.handshake()
    call = client.call("ask")
    question = client.read()
    assert question["method"] == "elicitation/create"
    bench.kill()
    pid = bench.start()
    taken_back = client.read()
    assert taken_back["method"] == "notifications/cancelled"
    assert taken_back["params"]["requestId"] == question["id"]
    assert client.answer(call)["error"]["message"] == RESTARTED
    assert [client.read()["method"] for _ in LISTS] == LISTS
    again = client.call("ask")
    second = client.read()
    assert second["id"] != question["id"]
    client.send({"id": question["id"], "result": {"action": "accept"}})
    client.send({"id": second["id"], "result": {"action": "decline"}})
    assert json.loads(client.answer(again)["result"]["content"][0]["text"]) == {"action": "decline"}
    answers = [one for one in bench.taken(pid) if "method" not in one]
    assert answers == [{"jsonrpc": "2.0", "id": "question", "result": {"action": "decline"}}]


def test_a_stateless_client_needs_nothing_replayed_and_its_streams_are_asked_for_again(bench: Bench) -> None:
    bench.start()
    client = bench.client()
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["fleet://status"]}
    stream = client.ask("subscriptions/listen", {"_meta": META, "notifications": wanted})
    stamp = {"_meta": {"io.modelcontextprotocol/subscriptionId": stream}}
    acknowledged = {"method": "notifications/subscriptions/acknowledged"}
    assert client.read() == {"jsonrpc": "2.0", **acknowledged, "params": {**stamp, "notifications": wanted}}
    call = client.call("die", stateless=True)  # it closes its streams first, as one that ends in order
    assert client.answer(call)["error"]["message"] == RESTARTED
    pid = bench.start()
    assert [client.read(), client.read()] == [
        {"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": stamp},
        {
            "jsonrpc": "2.0",
            "method": "notifications/resources/updated",
            "params": {**stamp, "uri": "fleet://status"},
        },
    ]
    assert said(client.answer(client.call("echo", stateless=True))) == {"said": {}, "to": pid}
    assert [one["method"] for one in bench.taken(pid)] == ["subscriptions/listen", "tools/call"]
    client.send({"method": "notifications/cancelled", "params": {"requestId": stream}})
    call = client.call("close-streams", stateless=True)
    client.answer(call)
    assert client.close()[:2] == (0, b"")


def test_the_end_of_a_stream_is_handed_on_when_the_gateway_runs_on(bench: Bench) -> None:
    bench.start()
    client = bench.client()
    stream = client.ask("subscriptions/listen", {"_meta": META, "notifications": {}})
    client.read()
    client.answer(client.call("close-streams", stateless=True))
    assert client.answer(stream)["result"]["resultType"] == "complete"


def test_a_hello_that_is_refused_is_told_to_every_request(bench: Bench) -> None:
    bench.start()
    client = bench.client("--server", "nobody")
    for method in ("initialize", "tools/list", "tools/call"):
        answer = client.answer(client.ask(method, dict(INITIALIZE)))
        assert answer["error"] == {"code": -32602, "message": "no server 'nobody'"}
    assert client.close()[0] == 0


def test_without_a_fleet_the_handshake_is_answered_and_the_rest_says_what_to_do(tmp_path: Path) -> None:
    with bench_at(tmp_path / ".orchestra") as bench:
        client = bench.client()
        result = client.handshake()
        assert result["protocolVersion"] == VERSION
        none = f"no fleet runs on {bench.home}"
        hint = f"`orchestra up --home {bench.home}` in the directory of its files starts it"
        assert f"{none}. To do: {hint}" in result["instructions"]
        listed = client.answer(client.ask("tools/list"))["result"]["tools"]
        assert [tool["name"] for tool in listed] == ["fleet_status"]
        told = client.answer(client.call("fleet_status"))["result"]
        assert told == {"content": [{"type": "text", "text": f"{none}. To do: {hint}"}], "isError": True}
        refused = client.answer(client.call("service_start", {"names": ["a"]}))
        assert refused["error"] == {"code": -32000, "message": f"{none}. To do: {hint}"}
        assert client.answer(client.ask("ping"))["result"] == {}
        discovered = client.answer(client.ask("server/discover", {"_meta": META}))
        assert discovered["error"]["code"] == -32000
        # The session that was begun so goes on with the gateway, once there is one.
        pid = bench.start()
        assert [client.read()["method"] for _ in range(3)] == [
            "notifications/tools/list_changed",
            "notifications/prompts/list_changed",
            "notifications/resources/list_changed",
        ]
        assert said(client.answer(client.call("echo"))) == {"said": {}, "to": pid}
        assert [one["method"] for one in bench.taken(pid)] == [
            "initialize",
            "notifications/initialized",
            "tools/call",
        ]
        status, rest, errors = client.close()
        assert (status, rest) == (0, b"")
        assert errors == f"orchestra mcp: {none}. To do: {hint}\n"


def test_the_other_endpoints_list_no_tool_of_another_while_there_is_no_fleet(tmp_path: Path) -> None:
    with bench_at(tmp_path / ".orchestra") as bench:
        client = bench.client("--gateway")
        client.handshake()
        assert client.answer(client.ask("tools/list"))["error"]["code"] == -32000


def test_what_is_no_message_is_answered_and_goes_nowhere(bench: Bench) -> None:
    pid = bench.start()
    client = bench.client()
    client.handshake()
    codes: list[int] = []
    for line in (
        b"{not json}",
        b"[1, 2",
        b'"text"',
        b'{"id": 1}',
        b'{"id": null, "method": "x"}',
        b"\xff\xfe",
    ):
        client.write(line + b"\r\n\n")
        codes.append(client.read()["error"]["code"])
    assert codes == [-32700, -32700, -32600, -32600, -32600, -32700]
    assert said(client.answer(client.call("echo"))) == {"said": {}, "to": pid}
    client.write(b'[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","id":"b","method":"ping"}]\n')
    assert [client.read()["id"], client.read()["id"]] == ["a", "b"]
    assert [one["method"] for one in bench.taken(pid)][2:] == ["tools/call", "ping", "ping"]


def test_a_request_that_is_cancelled_before_it_went_out_is_never_asked(bench: Bench) -> None:
    client = bench.client()
    assert bench.listener is not None
    bench.listener.close()
    (bench.home / "mcp.sock").unlink()
    with holding_lock(bench.home):
        call = client.call("echo", stateless=True)
        client.send({"method": "notifications/cancelled", "params": {"requestId": call}})
        last = client.ask("tools/list", {"_meta": META})
        bench.hold()
        pid = bench.start()
        client.answer(last)
        assert bench.taken(pid, "tools/call") == []


def test_answers_are_waited_for_when_the_client_says_no_more(bench: Bench) -> None:
    bench.start()
    text = b"".join(
        json.dumps(
            {"jsonrpc": "2.0", "id": number, "method": "tools/list", "params": {"_meta": META}}
        ).encode()
        + (b"\n" if number < 5 else b"")  # the last line of a `printf` has no end
        for number in range(6)
    )
    done = subprocess.run(
        argv("--home", bench.home), input=text, capture_output=True, timeout=LIMIT, check=True
    )
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == list(range(6))


def test_a_client_that_reads_late_gets_every_line_whole(bench: Bench) -> None:
    bench.start()
    client = bench.client()
    client.handshake()
    call = client.call("flood")  # 10 MB, far over what pipes and the pump hold
    bench.until_taken(bench.gateways[-1].pid, "tools/call")
    for number in range(200):
        assert client.read()["params"]["data"] == "x" * 50_000 + str(number)
    assert client.answer(call)["result"]["content"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_no_line_is_left_half(bench: Bench, number: int) -> None:
    bench.start()
    client = bench.client()
    client.handshake()
    client.call("flood")
    client.read()
    client.process.send_signal(number)
    output = b""
    assert client.process.stdout is not None
    while data := os.read(client.process.stdout.fileno(), 65_536):
        output += data
    whole = (client._rest + output).splitlines(keepends=True)
    for line in whole:
        assert line.endswith(b"\n")
        json.loads(line)
    assert client.process.wait(LIMIT) == {signal.SIGTERM: 0, signal.SIGINT: 130}[number]


def test_a_client_that_is_gone_takes_the_pump_with_it(bench: Bench) -> None:
    bench.start()
    client = bench.client()
    client.handshake()
    client.call("wait")
    assert client.process.stdout is not None
    client.process.stdout.close()
    assert client.process.wait(LIMIT) == 0


def test_twenty_pumps_live_through_two_restarts_of_their_gateway(
    bench: Bench, record_property: object
) -> None:
    bench.start()
    began = time.perf_counter()
    bench.client().answer(bench.clients[-1].ask("ping"))
    first = time.perf_counter() - began
    clients = [bench.client() for _ in range(20)]
    for client in clients:
        client.handshake()
    took = time.perf_counter() - began
    memory = [rss_of(client) for client in clients]
    for _ in range(2):
        bench.kill()
        pid = bench.start()
        calls = [client.call("echo") for client in clients]
        for client, call in zip(clients, calls, strict=True):
            while (message := client.read()).get("id") != call:
                assert message["method"] in LISTS
            assert said(message) == {"said": {}, "to": pid}
    assert callable(record_property)
    record_property("first_byte_seconds", round(first, 3))
    record_property("start_of_20_seconds", round(took, 3))
    record_property("rss_kib_each", max(memory))
    assert max(memory) < 24 * 1024, "a library came in"


def rss_of(client: Client) -> int:
    """Return the resident memory of a pump, in KiB."""
    status = Path(f"/proc/{client.process.pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0])


def test_the_pump_loads_nothing_that_costs(bench: Bench) -> None:
    bench.start()
    code = (
        "import sys; sys.path.append(sys.argv.pop(1)); from orchestra_supervisor.cli.shim.shim import main; "
        "main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    )
    root = str(Path(argv()[3]).parents[3])
    done = subprocess.run(
        [*argv()[:3], "-c", code, root, "--home", str(bench.home)],
        input=b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
        capture_output=True,
        timeout=LIMIT,
        check=True,
    )
    loaded = set(done.stderr.decode().split())
    assert json.loads(done.stdout)["id"] == 1
    assert not loaded & {
        "argparse",
        "subprocess",
        "pathlib",
        "typing",
        "asyncio",
        "dataclasses",
        "inspect",
        "logging",
    }
    assert {name for name in loaded if name.startswith("orchestra_supervisor.") and ".shim" not in name} == {
        "orchestra_supervisor.cli",
        "orchestra_supervisor.unix_http",
    }


def test_wrong_words_are_refused_with_the_usage(tmp_path: Path) -> None:
    for words in (("--hom", "x"), ("--home",), ("--server", "a", "--gateway"), ("--gateway=1",)):
        done = subprocess.run(argv(*words), capture_output=True, cwd=tmp_path, timeout=LIMIT, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith(f"orchestra mcp: {' '.join(words)!r} is not understood\n".encode())
