"""The backend as its clients see it."""

import json
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.servers.server_process import Answer, Server, until

Start = Callable[..., Server]


@pytest.fixture(scope="module")
def backend(start: Start) -> Server:
    return start("backend")


def make_agent(backend: Server, agent_id: str, **fields: object) -> Answer:
    body = {"id": agent_id, "name": agent_id.title(), "model": "large-1", **fields}
    answer = backend.request("POST", "/api/agents", body)
    assert answer.status == 201, answer.body
    return answer


def test_an_agent_is_created_read_changed_and_deleted(backend: Server) -> None:
    created = make_agent(backend, "crud", tags=["b", "a", "b"])
    assert created.headers["location"] == "/api/agents/crud"
    assert created.headers["etag"] == '"1"'
    assert created.json["tags"] == ["a", "b"]
    changed = backend.request("PATCH", "/api/agents/crud", {"enabled": False}, if_match='"1"')
    assert changed.status == 200
    assert changed.json == {
        **created.json,
        "enabled": False,
        "version": 2,
        "updated_at": changed.json["updated_at"],
    }
    assert backend.get("/api/agents/crud").json == changed.json
    assert backend.get("/api/agents/crud", if_none_match='"2"').status == 304
    assert backend.request("DELETE", "/api/agents/crud", if_match='"1"').status == 412
    assert backend.request("DELETE", "/api/agents/crud", if_match='"2"').status == 204
    gone = backend.get("/api/agents/crud")
    assert gone.status == 404
    assert "crud" in gone.error["message"]
    assert gone.error["hint"]


def test_creating_twice_with_one_id_creates_once(backend: Server) -> None:
    body = {"id": "twice", "name": "T", "model": "m"}
    assert backend.request("POST", "/api/agents", body).status == 201
    backend.request("PATCH", "/api/agents/twice", {"name": "Other"}, if_match="*")
    again = backend.request("POST", "/api/agents", body)
    assert again.status == 200
    assert again.json["name"] == "Other"  # as it is now
    assert backend.request("POST", "/api/agents", {**body, "name": "U"}).status == 409
    assert backend.request("POST", "/api/agents/twice/tasks", {"id": "t", "title": "x"}).status == 201
    assert backend.request("POST", "/api/agents/twice/tasks", {"id": "t", "title": "x"}).status == 200
    assert backend.request("POST", "/api/agents/twice/tasks", {"id": "t", "title": "y"}).status == 409


def test_a_task_goes_through_its_states_and_no_others(backend: Server) -> None:
    make_agent(backend, "worker")
    task = backend.request("POST", "/api/agents/worker/tasks", {"title": "sum up", "input": "text"})
    path = task.headers["location"]
    assert task.json["state"] == "queued"

    def take(state: str, **more: object) -> Answer:
        return backend.request("PATCH", path, {"state": state, **more}, if_match="*")

    refused = take("succeeded")
    assert refused.status == 409
    assert "cancelled, running" in refused.error["hint"]
    assert take("running").json["started_at"]
    done = take("succeeded", output="short").json
    assert (done["output"], done["ended_at"] is not None) == ("short", True)
    assert take("running").status == 409
    assert take("succeeded").status == 200  # where it is already
    assert backend.request("DELETE", "/api/agents/worker").status == 409
    assert backend.request("DELETE", "/api/agents/worker?tasks=delete").status == 204
    assert backend.get(path).status == 404


def test_pages_hold_every_item_once_while_others_are_added(backend: Server) -> None:
    make_agent(backend, "pager")
    for number in range(7):
        body = {"id": f"t{number}", "title": "t", "priority": number}
        backend.request("POST", "/api/agents/pager/tasks", body)
    seen: list[str] = []
    path: str | None = "/api/agents/pager/tasks?limit=3"
    while path:
        page = backend.get(path).json
        seen += [task["id"] for task in page["items"]]
        backend.request("POST", "/api/agents/pager/tasks", {"title": "late"}) if len(seen) == 3 else None
        cursor = page["next_cursor"]
        path = f"/api/agents/pager/tasks?limit=3&cursor={cursor}" if cursor else None
    assert seen[:7] == [f"t{number}" for number in range(7)]
    assert len(seen) == len(set(seen)) == 8


def test_lists_are_filtered_by_what_is_asked(backend: Server) -> None:
    make_agent(backend, "filter-a", tags=["fast", "cheap"], enabled=False)
    make_agent(backend, "filter-b", tags=["fast"])

    def ids(query: str) -> list[str]:
        return [agent["id"] for agent in backend.get(f"/api/agents?{query}").json["items"]]

    assert ids("tag=fast") == ["filter-a", "filter-b"]
    assert ids("tag=fast&enabled=true") == ["filter-b"]
    assert ids("q=LTER-A") == ["filter-a"]
    assert ids("q=%25") == []  # a text, not a pattern
    backend.request("POST", "/api/agents/filter-a/tasks", {"id": "x", "title": "x"})
    assert backend.get("/api/agents/filter-a/tasks?state=running").json["items"] == []
    assert len(backend.get("/api/agents/filter-a/tasks?state=queued").json["items"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "where"),
    [
        ("GET", "/nothing", None, {}, 404, "/nothing"),
        ("PUT", "/api/agents", {}, {}, 405, "PUT"),
        ("GET", "/api/agents?limit=0", None, {}, 400, "query.limit"),
        ("GET", "/api/agents?limit=1&limit=2", None, {}, 400, "twice"),
        ("GET", "/api/agents?colour=red", None, {}, 400, "query.colour"),
        ("GET", "/api/agents?cursor=AAAA%00", None, {}, 400, "cursor"),
        ("GET", "/api/agents?cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5", None, {}, 400, "cursor"),
        ("POST", "/api/agents", b"{", {}, 400, "JSON"),
        ("POST", "/api/agents", b"\xff\xfe", {}, 400, "JSON"),
        ("POST", "/api/agents", b"[" * 100_000, {}, 400, "JSON"),
        ("POST", "/api/agents", [], {}, 422, "body"),
        ("POST", "/api/agents", {"name": "x"}, {}, 422, "body.model"),
        ("POST", "/api/agents", {"name": "x", "model": "m", "id": "../x"}, {}, 422, "body.id"),
        ("POST", "/api/agents", {"name": "x", "model": "m", "colour": 1}, {}, 422, "body.colour"),
        ("POST", "/api/agents", {"name": "x", "model": "m", "tags": ["a b"]}, {}, 422, "body.tags.0"),
        ("POST", "/api/agents", {}, {"content_type": "text/plain"}, 415, "text/plain"),
        ("POST", "/api/agents", b" " * (1024 * 1024 + 1), {}, 413, "1048576"),
        ("POST", "/api/agents/nobody/tasks", {"title": "x"}, {}, 404, "nobody"),
        ("GET", "/api/agents/nobody/tasks", None, {}, 404, "nobody"),
        ("PATCH", "/api/agents/nobody", {}, {"if_match": "*"}, 404, "nobody"),
        ("PATCH", "/api/agents/nobody", {}, {}, 428, "If-Match"),
        ("PATCH", "/api/agents/nobody", {}, {"if_match": "W/abc"}, 400, "W/abc"),
    ],
)
def test_a_mistake_is_answered_with_what_and_where(
    backend: Server, method: str, path: str, body: object, headers: dict[str, str], status: int, where: str
) -> None:
    answer = backend.request(method, path, body, **headers)
    assert answer.status == status
    assert answer.error["code"]
    assert where in answer.error["message"]


def test_the_largest_allowed_body_is_taken(backend: Server) -> None:
    body = json.dumps({"name": "x", "model": "m", "instructions": "a" * 1000}).encode()
    body += b" " * (1024 * 1024 - len(body))
    assert backend.request("POST", "/api/agents", body).status == 201


def test_the_openapi_document_names_every_route(backend: Server) -> None:
    document = backend.get("/openapi.json").json
    routes = {tuple(route.split(" ")) for route in backend.get("/").json["routes"]}
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == routes - {("GET", "/"), ("GET", "/openapi.json")}
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text
    listing = document["paths"]["/api/agents"]["get"]["parameters"]
    assert {parameter["name"] for parameter in listing} == {"limit", "cursor", "tag", "enabled", "q"}


def test_of_writers_that_saw_one_version_a_single_one_wins(backend: Server) -> None:
    make_agent(backend, "race")

    def change(number: int) -> int:
        return backend.request("PATCH", "/api/agents/race", {"name": f"n{number}"}, if_match='"1"').status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(change, range(16)))
    assert sorted(statuses) == [200] + [412] * 15
    assert backend.get("/api/agents/race").json["version"] == 2


def test_what_was_acknowledged_before_sigkill_is_there_after_it(tmp_path: Path) -> None:
    first = Server("backend", tmp_path)
    first.wait_ready()
    make_agent(first, "k")
    acknowledged: list[str] = []
    enough = threading.Event()

    def write(writer: int) -> None:
        for number in range(10_000):
            task = f"{writer}-{number}"
            try:
                answer = first.request("POST", "/api/agents/k/tasks", {"id": task, "title": "t"})
            except (OSError, HTTPException):  # not answered, or cut off
                return
            assert answer.status == 201, answer.body
            acknowledged.append(task)
            if len(acknowledged) >= 60:
                enough.set()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert enough.wait(20)
    finally:
        first.end(signal.SIGKILL)
    for thread in threads:
        thread.join(10)
    second = Server("backend", tmp_path)
    try:
        second.wait_ready()
        kept: set[str] = set()
        path: str | None = "/api/agents/k/tasks?limit=500"
        while path:
            page = second.get(path).json
            kept |= {task["id"] for task in page["items"]}
            path = (
                f"/api/agents/k/tasks?limit=500&cursor={page['next_cursor']}" if page["next_cursor"] else None
            )
        assert set(acknowledged) <= kept
        assert len(kept) <= len(acknowledged) + 4  # each writer had at most one answer under way
    finally:
        second.end()


def test_health_says_when_the_database_is_taken_away(start: Start) -> None:
    server = start("backend")
    database = server.directory / "home" / "data" / "backend" / "backend.sqlite3"
    database.rename(database.with_suffix(".aside"))
    answer = server.get("/health")
    assert answer.status == 503
    assert str(database) in answer.json["error"]
    database.with_suffix(".aside").rename(database)
    assert server.get("/health").status == 200


def test_without_a_daemon_the_fleet_is_unavailable_with_a_reason(backend: Server) -> None:
    answer = backend.get("/api/fleet")
    assert answer.status == 503
    assert answer.error["code"] == "no_daemon"
    assert "orchestra up" in answer.error["hint"]


def test_the_fleet_is_shown_as_the_daemon_tells_it(backend: Server) -> None:
    rows: list[dict[str, Any]] = [
        {"name": "api", "state": "ready", "pid": 7, "port": 80, "secret": "x"},
        {"name": "job", "state": "completed", "pid": None},
    ]
    body = json.dumps({"daemon": {"pid": 5}, "services": rows}).encode()
    home = backend.directory / "home"
    home.mkdir(exist_ok=True)
    short = home / "c"  # the name stays short; control.path says where it is
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short))
        listener.listen()
        listener.settimeout(10)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)

        thread = threading.Thread(target=serve)
        thread.start()
        (home / "control.path").write_text(str(short), encoding="utf-8")
        answer = backend.get("/api/fleet")
        thread.join(10)
    (home / "control.path").unlink()
    short.unlink()
    assert answer.status == 200
    assert answer.json["states"] == {"ready": 1, "completed": 1}
    assert [service["name"] for service in answer.json["services"]] == ["api", "job"]
    assert "secret" not in answer.json["services"][0]


def test_many_clients_at_once_are_all_answered(backend: Server) -> None:
    make_agent(backend, "busy")

    def work(number: int) -> int:
        return backend.request("POST", "/api/agents/busy/tasks", {"title": f"{number}"}).status

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(work, range(64))) == {201}
    until(lambda: backend.get("/health").status, lambda status: status == 200)
    assert len(backend.get("/api/agents/busy/tasks?limit=500").json["items"]) == 64
