import json
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event as ThreadEvent
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from orchestra_supervisor.agent_room import AgentRoom
from orchestra_supervisor.control_client import ControlClient, ControlError, SseEvent, rows
from orchestra_supervisor.engine.meter import Meter, Scene
from orchestra_supervisor.engine.ports import SecretResolver
from orchestra_supervisor.journal.records import EventQuery
from orchestra_supervisor.model.errors import ERROR_KINDS
from orchestra_supervisor.model.events import Event
from orchestra_supervisor.model.figures import FigureRow, Figures
from orchestra_supervisor.model.plugin import PluginReport, PluginState
from orchestra_supervisor.model.states import DownReason, State
from orchestra_supervisor.probes.outcome import ProbeOutcome
from orchestra_supervisor.process.figures import ProcessSampler
from orchestra_supervisor.surfaces import http_api, log_pattern
from orchestra_supervisor.surfaces.agent_api import agent_routes
from orchestra_supervisor.surfaces.listeners_api import listener_routes
from orchestra_supervisor.surfaces.mcp_api import mcp_routes
from tests.unit.engine.desk import FakeKeeper, replicas_of, settle
from tests.unit.surfaces.api_desk import Api, api_of, call, service
from tests.unit.surfaces.client import ask

pytestmark = pytest.mark.anyio
DOCS = (Path(__file__).parents[3] / "docs" / "control-api.md").read_text(encoding="utf-8")


def documented(begins: str) -> list[str]:
    """Return the keys that the page lists after a word, up to the end of the paragraph."""
    paragraph = DOCS.split(f"\n`{begins}`: ", 1)[1].split("\n\n", 1)[0]
    paragraph = re.sub(r"`\{[^}]*\}`", "", paragraph.split(": states", 1)[0])
    paragraph = re.sub(r"\([^)]*\)", "", paragraph)
    return re.findall(r"`\{?([a-z_]+)`", paragraph)


async def refused(function: Any, *args: Any, **kwargs: Any) -> ControlError:
    with pytest.raises(ControlError) as caught:
        await call(function, *args, **kwargs)
    assert caught.value.code in ERROR_KINDS
    assert caught.value.http_status == ERROR_KINDS[caught.value.code].http
    return caught.value


async def test_status_has_every_key_that_the_page_lists_and_no_other(folder: Path) -> None:
    keys = documented("services[]")
    assert len(keys) > 20
    async with api_of(folder, service("web", port=8000)) as api:
        answer = await call(api.client.status)
        (web,) = rows(answer, "services")
        assert sorted(web) == sorted(keys)
        assert (web["name"], web["state"], web["desired"], web["port"]) == ("web", "ready", "up", 8000)
        assert (web["pid"], web["exit"], web["restarts"]) == (1001, None, 0)
        api.desk.keeper.end(api.desk.run("web"), None, "SIGKILL")
        await settle()
        (web,) = rows(await call(api.client.status, ["web"]), "services")
        exit_keys = re.search(r"`exit` `\{([^}]*)\}`", DOCS.replace("\n", " "))
        assert exit_keys is not None
        ended = cast("dict[str, object]", web["exit"])
        assert sorted(ended) == sorted(re.findall(r'"(\w+)"', exit_keys.group(1)))
        assert (ended["signal"], ended["success"], web["restarts"]) == ("SIGKILL", False, 1)


async def test_status_of_a_name_that_is_unknown_says_the_nearest(folder: Path) -> None:
    async with api_of(folder, service("backend"), service("context")) as api:
        error = await refused(api.client.status, ["bakend"])
        assert (error.code, error.message) == ("unknown_service", "no service 'bakend'")
        assert error.hint == "did you mean backend?"
        assert error.context["nearest"] == ["backend"]


async def test_health_says_the_daemons_pid(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        answer = await call(api.client.health)
        assert (answer["ok"], answer["pid"], answer["version"]) == (True, os.getpid(), "1.2.3")


async def test_the_verbs_do_what_they_say_and_answer_with_the_keys_of_the_page(folder: Path) -> None:
    keys = re.search(r"`results\[\]`: `\{([^}]*)\}`", DOCS)
    assert keys is not None
    async with api_of(folder, service("db"), service("web", "db")) as api:
        (stopped,) = rows(await call(api.client.stop, ["web"], reason="lunch"), "results")
        assert sorted(stopped) == sorted(re.findall(r'"(\w+)"', keys.group(1)))
        assert (stopped["before"], stopped["after"], stopped["ok"], stopped["changed"]) == (
            "ready",
            "stopped",
            True,
            True,
        )
        (started,) = rows(await call(api.client.start, ["web"]), "results")
        assert (started["before"], started["after"], started["changed"]) == ("stopped", "ready", True)
        first = api.desk.run("db")
        restarted = rows(await call(api.client.restart, ["db"], with_dependents=True), "results")
        assert [one["name"] for one in restarted] == ["db", "web"]
        assert all(one["ok"] and one["changed"] for one in restarted)
        assert api.desk.run("db") != first


async def test_a_service_that_is_found_hung_is_ended_and_its_policy_says_what_follows(tmp_path: Path) -> None:
    never = service("never", restart={"policy": "never"})
    down = {"idle": DownReason.DEMAND}
    async with api_of(tmp_path, service("web"), never, service("idle"), down=down) as api:
        names = ["web", "never", "idle"]
        found = await call(api.client.restart, names, wait="none", demand=True, reason="it is silent")
        assert [row["name"] for row in rows(found, "results")] == ["web", "never"], "idle has no run"
        await call(api.client.wait, ["web"], "ready")
        await settle()
        web, failed = api.desk.supervisor.services["web"], api.desk.supervisor.services["never"]
        assert (web.state, web.attempts) == ("ready", 1)
        assert (failed.state, failed.run) == ("failed", None)
        assert "found not to answer by" in failed.reason
        assert "it is silent" in failed.reason


async def test_a_start_of_what_is_up_has_changed_nothing(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        (result,) = rows(await call(api.client.start, ["web"]), "results")
        assert (result["ok"], result["changed"], result["took"]) == (True, False, 0.0)


async def test_a_verb_that_does_not_wait_answers_when_it_is_taken(folder: Path) -> None:
    async with api_of(folder, service("web"), keeper=FakeKeeper(obeys=False)) as api:
        (result,) = rows(await call(api.client.stop, ["web"], wait="none"), "results")
        assert (result["after"], result["ok"], result["changed"]) == ("stopping", True, True)


async def test_a_verb_that_is_not_done_in_time_says_where_it_stands(folder: Path) -> None:
    async with api_of(folder, service("web"), keeper=FakeKeeper(obeys=False)) as api:
        (result,) = rows(await call(api.client.stop, ["web"], timeout=0.05), "results")
        assert (result["after"], result["ok"]) == ("stopping", False)
        assert str(result["message"]).startswith("still stopping after 0.")


async def test_a_start_that_fails_is_not_ok_and_says_why(folder: Path) -> None:
    keeper = FakeKeeper()
    keeper.on_spawn = lambda order: keeper.refuse(order.run, "exec", "No such file: x")
    never = service("web", restart={"policy": "never"})
    async with api_of(folder, never, keeper=keeper, down={"web": DownReason.OPERATOR}) as api:
        (result,) = rows(await call(api.client.start, ["web"]), "results")
        assert (result["after"], result["ok"]) == ("failed", False)
        assert result["message"] == "could not start: No such file: x (exec)"


async def test_a_wait_is_met_or_ends_with_408_and_the_results(folder: Path) -> None:
    probe = {"check": {"type": "tcp", "port": 1}}
    slow = service("slow", probes={"readiness": probe})
    fails = ProbeOutcome(passed=False, detail="refused")
    async with api_of(folder, service("web"), slow, check=lambda _: fails) as api:
        answer = await call(api.client.wait, ["web"], "ready", timeout=5.0)
        assert answer["met"] is True
        error = await refused(api.client.wait, ["all"], "ready", timeout=0.1)
        assert (error.code, error.message) == ("timeout", "not ready: slow is running")
        results = cast("list[dict[str, object]]", error.context["results"])
        assert {one["name"]: one["ok"] for one in results} == {"web": True, "slow": False}


async def test_a_run_is_asked_for_and_reported(folder: Path) -> None:
    job = service("job", kind="periodic", schedule={"every": 3600}, restart={"policy": "never"})
    async with api_of(folder, job) as api:
        answer = await call(api.client.run, ["job"], reason="now")
        (result,) = cast("list[dict[str, object]]", answer["results"])
        assert (result["before"], result["ok"]) == ("waiting", True)
        await api.desk.until("job", State.RUNNING)
        api.desk.keeper.end(api.desk.run("job"), 3)
        await api.desk.until("job", State.FAILED)
        (row,) = cast("list[dict[str, object]]", (await call(api.client.status))["services"])
        last = cast("dict[str, object]", row["last_run"])
        assert set(last) == {"planned", "started", "ended", "lasted", "success", "text"}
        assert (last["success"], last["text"]) == (False, "exit code 3")
        assert isinstance(row["next_run"], float)


async def test_a_signal_goes_to_the_run_and_needs_one(folder: Path) -> None:
    async with api_of(folder, service("web"), service("off"), down={"off": DownReason.DISABLED}) as api:
        await call(api.client.signal, ["web"], "HUP", scope="group")
        assert ("signal", api.desk.run("web"), "SIGHUP", "group") in api.desk.keeper.orders
        error = await refused(api.client.signal, ["web", "off"], "SIGHUP")
        assert (error.code, error.message) == ("conflict", "off is not running")
        assert len([order for order in api.desk.keeper.orders if order[0] == "signal"]) == 1


async def test_reload_says_what_became_of_whom(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        answer = await call(api.client.reload)
        assert (answer["added"], answer["removed"], answer["changed"], answer["unchanged"]) == (
            ["added"],
            [],
            [],
            1,
        )


async def test_a_shutdown_says_how_many_go_down_and_refuses_what_comes_after(folder: Path) -> None:
    async with api_of(folder, service("web"), keeper=FakeKeeper(obeys=False)) as api:
        assert await call(api.client.shutdown, "night") == {"stopping": 1}
        error = await refused(api.client.start, ["web"])
        assert (error.code, error.message) == ("conflict", "the fleet is going down")


async def test_every_change_is_in_the_journal_with_who_what_why_and_result(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        await call(api.client.stop, ["web"], reason="lunch")
        events = await api.desk.journal.events(EventQuery(limit=100, kind_prefix="control."))
        asked, done = events
        assert (asked.kind, done.kind) == ("control.stop", "control.result")
        who = str(asked.data["who"])
        assert f"(uid {os.getuid()}, pid {os.getpid()})" in who
        assert (asked.data["names"], asked.data["reason"]) == (["web"], "lunch")
        assert {key: done.data[key] for key in ("who", "verb", "names", "reason")} == {
            "who": who,
            "verb": "stop",
            "names": ["web"],
            "reason": "lunch",
        }
        assert done.data["result"] == {"web": "stopped by hand"}


# What is asked wrongly.

BAD = [
    ("/v1/start", b"{", "JSON"),
    ("/v1/start", b"[]", "object"),
    ("/v1/start", b"{}", "names"),
    ("/v1/start", b'{"names": []}', "names"),
    ("/v1/start", b'{"names": [""]}', "names.0"),
    ("/v1/start", b'{"names": ["web"], "wait": "forever"}', "wait"),
    ("/v1/start", b'{"names": ["web"], "timeout": -1}', "timeout"),
    ("/v1/start", b'{"names": ["web"], "timeout": 1e999}', "timeout"),
    ("/v1/start", b'{"names": ["web"], "force": true}', "force"),
    ("/v1/start", b"\xff\xfe", "body"),
    ("/v1/wait", b'{"names": ["web"], "for": "lunch"}', "for"),
    ("/v1/signal", b'{"names": ["web"], "signal": "rm -rf"}', "signal"),
    ("/v1/run", b'{"names": ["web"], "wait": "ready"}', "wait"),
    ("/v1/shutdown", b'{"now": true}', "now"),
]


@pytest.mark.parametrize(("path", "body", "place"), BAD)
async def test_a_body_that_is_wrong_is_refused_and_says_where(
    folder: Path, path: str, body: bytes, place: str
) -> None:
    async with api_of(folder, service("web")) as api:
        status, answer = await post(api, path, body)
        assert (status, answer["error"]["code"]) == (400, "invalid_request")
        assert place in answer["error"]["message"]
        assert api.desk.keeper.of("stop") == []


async def post(api: Api, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    with anyio.fail_after(5):
        async with await anyio.connect_unix(api.path) as stream:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            await stream.send(head.encode() + body)
            answer = b""
            try:
                while True:
                    answer += await stream.receive()
            except anyio.EndOfStream:
                pass
    return int(answer.split(b" ", 2)[1]), json.loads(answer.split(b"\r\n\r\n", 1)[1])


async def test_a_body_of_five_megabytes_is_refused_with_an_answer(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        error = await refused(api.client.request, "POST", "/v1/stop", body={"names": ["x" * 5_000_000]})
        assert (error.code, error.message) == ("invalid_request", "the body is over 1048576 bytes")
        assert (await call(api.client.health))["ok"] is True


@pytest.mark.parametrize(
    "target",
    [
        "/v1/events?limit=-1",
        "/v1/events?after=one",
        "/v1/events?after=99999999999999999999",
        "/v1/events/stream?after=x",
        "/v1/logs/web?since=yesterday",
        "/v1/logs/web?since=inf",
        "/v1/logs/web?grep=(",
        "/v1/logs/web/stream?grep=(",
        "/v1/logs/web/search?grep=(",
        "/v1/logs/web/search?until=now",
        "/v1/logs/web/search?before=-1",
    ],
)
async def test_a_query_that_is_wrong_is_refused(folder: Path, target: str) -> None:
    async with api_of(folder, service("web")) as api:
        answer = await ask(api.path, target)
        assert b" 400 " in answer.split(b"\r\n")[0]
        assert b'"code":"invalid_request"' in answer


async def test_a_path_or_method_that_is_not_there_is_answered_in_our_form(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        for target, method, status in (("/v2", "GET", b"404"), ("/v1/start", "GET", b"405")):
            answer = await ask(api.path, target, method)
            assert answer.split(b" ")[1] == status
            assert b'"code":"invalid_request"' in answer


# Events.


async def test_events_are_read_with_their_filters(folder: Path) -> None:
    async with api_of(folder, service("web"), service("db")) as api:
        everything = await call(api.client.events, limit=1000)
        seqs = [cast("int", event["seq"]) for event in rows(everything, "events")]
        assert seqs == sorted(seqs)
        assert everything["last"] == seqs[-1]
        of_web = rows(await call(api.client.events, service="web", kind="service.ready"), "events")
        assert [(one["service"], one["kind"]) for one in of_web] == [("web", "service.ready")]
        after = rows(await call(api.client.events, after=seqs[-2]), "events")
        assert [one["seq"] for one in after] == seqs[-1:]
        newest = rows(await call(api.client.events, limit=1), "events")
        assert [one["seq"] for one in newest] == seqs[-1:]


def follow(api: Api, after: int | None, last: int, is_open: ThreadEvent) -> list[SseEvent]:
    """Follow until an event with a seq has come."""
    found: list[SseEvent] = []
    stream = api.client.stream("/v1/events/stream", {"after": after}, idle=5.0)
    for event in stream:
        found.append(event)
        is_open.set()
        if int(event.id) >= last:
            break
    stream.close()
    return found


async def test_a_stream_with_after_has_no_gap_and_nothing_twice(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        for number in range(50):
            api.desk.bus.publish("test.before", f"{number}")
        start = api.desk.journal.last_seq() - 30
        found: list[SseEvent] = []
        is_open = ThreadEvent()

        async def read() -> None:
            last = start + 30 + 20
            found.extend(await to_thread.run_sync(follow, api, start, last, is_open))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await to_thread.run_sync(is_open.wait, 5.0)
            for number in range(20):
                api.desk.bus.publish("test.after", f"{number}")
                await anyio.lowlevel.checkpoint()
        assert [int(event.id) for event in found] == list(range(start + 1, start + 51))
        assert (found[0].event, found[-1].event) == ("test.before", "test.after")
        assert found[-1].data["message"] == "19"


async def test_what_happens_while_the_journal_is_read_is_sent_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api_of(folder, service("web")) as api:
        read = api.desk.journal.events

        async def read_and_let_something_happen(query: EventQuery) -> list[Event]:
            api.desk.bus.publish("test.during", "in the journal and on the stream")
            found = await read(query)
            api.desk.bus.publish("test.late", "on the stream alone")
            return found

        last = api.desk.journal.last_seq()
        monkeypatch.setattr(api.desk.journal, "events", read_and_let_something_happen)
        found = await to_thread.run_sync(follow, api, last - 1, last + 2, ThreadEvent())
        assert [int(event.id) for event in found] == [last, last + 1, last + 2]


async def test_a_client_that_missed_more_than_one_answer_holds_comes_back_for_the_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_api, "_REPLAY_LIMIT", 10)
    async with api_of(folder, service("web")) as api:
        for number in range(25):
            api.desk.bus.publish("test.many", f"{number}")
        last, seen = api.desk.journal.last_seq(), api.desk.journal.last_seq() - 25
        got: list[int] = []
        while len(got) < 25:
            page = await to_thread.run_sync(follow, api, seen, last, ThreadEvent())
            got += [int(event.id) for event in page]
            seen = got[-1]
        assert got == list(range(last - 24, last + 1))


async def test_a_stream_keeps_to_its_filter(folder: Path) -> None:
    async with api_of(folder, service("web"), service("db")) as api:

        def read() -> list[SseEvent]:
            query = {"after": 0, "service": "db", "kind": "service.ready"}
            stream = api.client.stream("/v1/events/stream", query, idle=5.0)
            first = next(stream)
            stream.close()
            return [first]

        (event,) = await to_thread.run_sync(read)
        assert (event.event, event.data["service"]) == ("service.ready", "db")


# Logs.


async def test_logs_are_read_from_the_file(folder: Path) -> None:
    (folder / "web.log").write_bytes(b"one\ntwo\nthree \xff\n")
    async with api_of(folder, service("web")) as api:
        lines = rows(await call(api.client.logs, "web", lines=2), "lines")
        assert [line["text"] for line in lines] == ["two", "three \\xff"]
        assert set(lines[0]) == {"at", "stream", "run", "text"}
        (found,) = rows(await call(api.client.logs, "web", grep="^t.o"), "lines")
        assert found["text"] == "two"
        error = await refused(api.client.logs, "wob")
        assert error.hint == "did you mean web?"


async def test_a_log_is_searched_with_the_lines_around_a_match(folder: Path) -> None:
    (folder / "web.log").write_bytes(b"".join(b"line %d\n" % number for number in range(20)))
    async with api_of(folder, service("web")) as api:
        target = "/v1/logs/web/search?grep=e.[59]$&before=1&after=1&lines=1"
        found = await call(api.client.request, "GET", target)
        shown = [(line["text"], line["match"], line["first"]) for line in rows(found, "lines")]
        assert shown == [("line 8", False, True), ("line 9", True, False), ("line 10", False, False)]
        assert (found["count"], found["complete"]) == (2, True)
        none = await call(api.client.request, "GET", "/v1/logs/web/search?since=60&lines=0")
        assert (none["lines"], none["count"]) == ([], 0), "lines of unknown time are in no span"


async def test_a_log_is_followed_from_its_last_lines_on(folder: Path) -> None:
    log = folder / "web.log"
    log.write_bytes(b"one\ntwo\n")
    async with api_of(folder, service("web")) as api:

        def read() -> list[object]:
            stream = api.client.stream("/v1/logs/web/stream", {"lines": 1}, idle=5.0)
            first = next(stream).data["text"]
            with log.open("ab") as file:
                file.write(b"three\n")
            second = next(stream)
            stream.close()
            return [first, second.event, second.data["text"]]

        assert await to_thread.run_sync(read) == ["two", "log", "three"]


# Backtracks twice as long with each further letter; for these 40 the time of a life is too short.
ENDLESS = "(a|aa|a)+$"


async def test_an_expression_without_end_holds_up_nobody_and_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pattern, "_LINE_TIME", 0.3)
    monkeypatch.setattr(log_pattern, "_BLOCK_TIME", 0.3)
    (folder / "web.log").write_bytes(b"a" * 40 + b"b\n")
    async with api_of(folder, service("web")) as api:
        for target in (f"/v1/logs/web?grep={ENDLESS}", f"/v1/logs/web/search?grep={ENDLESS}"):
            answered = 0
            async with anyio.create_task_group() as group:

                async def ask(target: str = target) -> None:
                    error = await refused(api.client.request, "GET", target.replace("+", "%2B"))
                    assert "comes to no end within 0.3 s" in error.message
                    assert "(a+)+" in error.hint
                    group.cancel_scope.cancel()

                group.start_soon(ask)
                while True:
                    await call(api.client.health)
                    answered += 1
            assert answered > 3, "others are answered meanwhile"


async def test_following_with_an_expression_without_end_ends_the_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log_pattern, "_LINE_TIME", 0.1)
    log = folder / "web.log"
    log.write_bytes(b"aaa\n")
    async with api_of(folder, service("web")) as api:

        def read() -> list[object]:
            stream = api.client.stream("/v1/logs/web/stream", {"lines": 1, "grep": ENDLESS}, idle=5.0)
            first = next(stream).data["text"]
            with log.open("ab") as file:
                file.write(b"a" * 40 + b"b\n")
            return [first, *stream]

        assert await to_thread.run_sync(read) == ["aaa"]
    assert "comes to no end" in capsys.readouterr().err


# The plugins.


async def test_the_plugins_are_reported_with_every_key_that_the_page_lists(folder: Path) -> None:
    report = PluginReport("hook", "1", "/p.py", PluginState.OK, ("register_probes",), 3, 1, 0, "late")
    async with api_of(folder, service("web"), plugins=lambda: [report]) as api:
        [row] = rows(await call(api.client.plugins), "plugins")
    assert list(row) == documented("plugins[]")
    assert (row["state"], row["hooks"], row["failures"]) == ("ok", ["register_probes"], 1)


# The document.


async def test_every_route_is_in_the_document_and_the_page_and_nothing_else_is(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        document = await call(api.client.request, "GET", "/openapi.json")
        agents = agent_routes(cast("AgentRoom", None))  # asked for nothing
        beside = listener_routes(api.control, lambda name: folder / name, 0.0, agents)
        more = mcp_routes(api.control, cast("SecretResolver", None), beside=beside)
        context = http_api.ApiContext(api.control, "1", dict[str, object], lambda name: folder / name)
        app = http_api.make_app(replace(context, more=more))
    routes = {
        (method, route.path)
        for route in app.routes
        for method in (route.methods or ())
        if method != "HEAD" and route.path != "/openapi.json"
    }
    paths = cast("dict[str, dict[str, Any]]", document["paths"])
    described = {(method.upper(), path) for path, item in paths.items() for method in item}
    assert described == routes
    assert {tuple(found) for found in re.findall(r"^\| `(GET|POST) (/\S+)` ", DOCS, re.MULTILINE)} == routes


async def test_the_document_is_whole(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        document = await call(api.client.request, "GET", "/openapi.json")
    assert str(document["openapi"]).startswith("3.1")
    assert cast("dict[str, str]", document["info"])["version"] == "1.2.3"
    components = cast("dict[str, dict[str, Any]]", document["components"])
    schemas = components["schemas"]
    text = json.dumps(document)
    references = set(re.findall(r'"\$ref": "([^"]+)"', text))
    assert references
    for reference in references:
        kind, name = reference.removeprefix("#/components/").split("/")
        assert (kind, name in schemas) == ("schemas", True), reference
    assert schemas["Error"]["properties"]["error"]["properties"]["code"]["enum"] == list(ERROR_KINDS)
    for path, item in cast("dict[str, dict[str, Any]]", document["paths"]).items():
        for method, operation in item.items():
            assert operation["summary"]
            assert "200" in operation["responses"]
            named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            assert (method == "post") == ("requestBody" in operation)


async def test_a_client_that_is_there_before_the_services_are_known_waits_for_them(folder: Path) -> None:
    known = anyio.Event()
    async with api_of(folder, service("web"), known=known) as api:
        early = ControlClient(api.path, timeout=0.3)
        with pytest.raises(ControlError, match="no answer within"):
            await call(early.status)
        known.set()
        assert [row["name"] for row in rows(await call(api.client.status), "services")] == ["web"]


# Replicas.


async def test_replicas_are_rolled_and_scaled_by_requests(folder: Path) -> None:
    fleet = replicas_of("web", 2)
    async with api_of(folder, *fleet.services.values()) as api:
        api.desk.supervisor.rewire(fleet)
        rolled = await call(api.client.restart, ["web"], batch=2, wait="none")
        assert [row["name"] for row in rows(rolled, "results")] == ["web@1", "web@2"]
        with pytest.raises(ControlError, match="a rolling restart of web goes on") as caught:
            await call(api.client.restart, ["web"], batch=1)
        assert (caught.value.code, caught.value.http_status) == ("conflict", 409)
        scaled = await call(api.client.scale, {"web": 3}, reason="more")
        assert [(row["name"], row["ok"]) for row in rows(scaled, "results")] == [("web@3", True)]
        with pytest.raises(ControlError, match="replicas"):
            await call(api.client.request, "POST", "/v1/scale", body={"replicas": {}})
        with pytest.raises(ControlError, match="batch"):
            await call(api.client.restart, ["web"], batch=0)


# Figures.


async def test_figures_are_unknown_where_nobody_measures(folder: Path) -> None:
    async with api_of(folder, service("web")) as api:
        answer = await call(api.client.request, "GET", "/v1/figures", query={"since": 60})
        nobody = dict.fromkeys(("keeper", "logger", "daemon"))
        assert answer == {"period": 0.0, "services": {"web": None}, "roles": nobody, "history": {}}
        path = "/v1/services/web/figures"
        assert await call(api.client.request, "GET", path) == {"name": "web", "now": None, "samples": []}
        error = await refused(partial(api.client.request, "GET", path, query={"since": -1}))
        assert error.code == "invalid_request"
        error = await refused(api.client.request, "GET", "/v1/services/wep/figures")
        assert error.hint == "did you mean web?"


async def test_figures_are_told_as_the_page_lists_them_and_asking_is_watching(folder: Path) -> None:
    keys = re.search(r"present run: `\{([^}]*)\}`", DOCS)
    assert keys is not None
    now = Figures(1_000.0, 12.5, 4_096, "pss", 1, 2, 3, None, None)
    async with api_of(folder, service("web"), service("db")) as api:
        looks: list[int] = []

        class Stub(Meter):
            def look(self) -> None:
                looks.append(1)

        api.control.meter = Stub(
            sampler=ProcessSampler(os.getpid()),
            scene=lambda: Scene({}, {}),
            period=lambda: 10.0,
            clock=api.desk.clock,
            journal=api.desk.journal,
            latest={"web": now, "role:daemon": now},
        )
        api.desk.journal.add_figures([FigureRow("web", replace(now, at=api.desk.clock.wall()))])
        (web, db) = rows(await call(api.client.status, ["web", "db"]), "services")
        assert looks == []
        assert (web["figures"], db["figures"]) == (now.to_dict(), None)
        assert sorted(now.to_dict()) == sorted(re.findall(r'"(\w+)"', keys.group(1)))
        answer = cast("Any", await call(api.client.request, "GET", "/v1/figures", query={"since": 60}))
        assert looks == [1]
        assert (answer["period"], answer["services"]["db"]) == (10.0, None)
        assert answer["roles"]["daemon"] == now.to_dict()
        assert answer["history"]["web"][0][1:] == [12.5, 4_096]
        one = cast("Any", await call(api.client.request, "GET", "/v1/services/web/figures"))
        assert (one["now"], [sample["cpu"] for sample in one["samples"]]) == (now.to_dict(), [12.5])
