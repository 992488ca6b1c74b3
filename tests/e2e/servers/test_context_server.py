"""The context server on real trees: what is there, what changes, what it never tells."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.e2e.servers.server_process import Server, until

Start = Callable[..., Server]
Seen = set[tuple[str, ...]]


class Stream:
    """A client of the stream that reads no more than it is asked to."""

    def __init__(self, server: Server, **headers: str) -> None:
        address = urlsplit(server.url)
        self._socket = socket.create_connection((address.hostname or "", address.port or 0), timeout=10)
        lines = [
            "GET /stream HTTP/1.0",
            "Host: localhost",
            *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline().strip():
            pass

    def line(self) -> str:
        return self._file.readline().decode()

    def next(self) -> dict[str, Any]:
        """Return the next event: id, event, data; an empty one at the end."""
        event: dict[str, Any] = {}
        while line := self.line():
            name, _, value = line.rstrip("\n").partition(": ")
            if not name and not value and "data" in event:
                return {**event, "data": json.loads(event["data"])}
            if name in {"id", "event", "data"}:
                event[name] = value
        return {}

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextlib.contextmanager
def stream(server: Server, **headers: str) -> Generator[Stream]:
    opened = Stream(server, **headers)
    try:
        yield opened
    finally:
        opened.close()


def make_tree(root: Path) -> None:
    for path, text in {
        ".gitignore": "build/\n*.log\n/secret.txt\n",
        "secret.txt": "hidden",
        "build/out.bin": "",
        "src/main.py": "print('hi')\n",
        "src/deep/er/x.ts": "",
        "sub/.gitignore": "!keep.log\n*.tmp\n",
        "sub/keep.log": "",
        "sub/other.log": "",
        "sub/a.tmp": "",
        "node_modules/pkg/index.js": "",
        "src/node_modules/pkg/index.js": "",
        ".venv/lib/x.py": "",
        ".orchestra/state.json": "",
        "README.md": "# hello\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    (root / "src" / "loop").symlink_to("..")
    (root / "outside").symlink_to("/etc/passwd")
    subprocess.run(["git", "init", "-q", "-b", "trunk"], cwd=root, check=True, timeout=20)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree") / "project"
    make_tree(root)
    return root


@pytest.fixture(scope="module")
def context(start: Start, tree: Path) -> Server:
    """A server of a tree that nobody changes."""
    return start("context", "--root", str(tree))


@pytest.fixture(scope="module")
def live_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("live") / "project"
    make_tree(root)
    return root


@pytest.fixture(scope="module")
def live(start: Start, live_tree: Path) -> Server:
    """A server of a tree that tests change, each in files of its own."""
    return start("context", "--root", str(live_tree))


def paths(server: Server, query: str = "") -> list[str]:
    return [item["path"] for item in server.get(f"/files?{query}").json["items"]]


def last_id(server: Server) -> str:
    return server.get("/changes").json["last"]


def changes(
    server: Server, since: str, is_met: Callable[[set[tuple[str, ...]]], bool]
) -> set[tuple[str, ...]]:
    """Return the (kind, path[, old path]) since an id, as soon as they are what is wanted."""

    def look() -> set[tuple[str, ...]]:
        items = server.get(f"/changes?since={since}").json["changes"]
        return {tuple(filter(None, (i["kind"], i["path"], i["old_path"]))) for i in items}

    return until(look, is_met)


def test_the_index_holds_what_git_would_and_no_more(context: Server, tree: Path) -> None:
    command = ["git", "ls-files", "--others", "--exclude-standard"]
    told = subprocess.run(
        command, cwd=tree, capture_output=True, encoding="utf-8", timeout=20, check=True
    ).stdout
    never = (".venv", ".orchestra", "node_modules")
    expected = {path for path in told.splitlines() if not any(part in path.split("/") for part in never)}
    assert set(paths(context)) == expected
    assert "sub/keep.log" in expected


def test_files_are_searched_by_text_pattern_and_language_page_by_page(context: Server) -> None:
    assert paths(context, "q=MAIN") == ["src/main.py"]
    assert paths(context, "glob=main.*") == ["src/main.py"]
    assert paths(context, "glob=/src/**/*.ts") == ["src/deep/er/x.ts"]
    assert paths(context, "language=markdown") == ["README.md"]
    seen: list[str] = []
    cursor = ""
    while True:
        page = context.get(f"/files?limit=2{cursor}").json
        seen += [item["path"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == paths(context)
    assert context.get("/files?glob=!x").status == 400


@pytest.mark.parametrize(
    "path",
    [
        "outside",
        "../../../../../../etc/passwd",
        "/etc/passwd",
        "src/../../../../../../../etc/passwd",
        "secret.txt",
        "src/loop/secret.txt",
        "build/out.bin",
        ".git/HEAD",
        ".venv/lib/x.py",
        ".",
        "src",
        "nothing",
        "src/main.py/x",
    ],
)
def test_a_file_outside_the_tree_or_ignored_is_never_served(context: Server, path: str) -> None:
    answer = context.get(f"/file?path={quote(path)}")
    assert answer.status == 404
    assert b"root:" not in answer.body
    assert b"hidden" not in answer.body


def test_a_path_with_a_nul_is_refused(context: Server) -> None:
    assert context.get("/file?path=a%00b").status == 400


def test_a_file_is_read_in_parts_that_never_cut_a_character(live: Server, live_tree: Path) -> None:
    text = "aäß€🦓" * 50_000
    (live_tree / "long.txt").write_text(text, encoding="utf-8")
    (live_tree / "binary.txt").write_bytes(b"a\0b")
    (live_tree / "latin.txt").write_bytes(b"caf\xe9")
    until(lambda: paths(live), lambda seen: {"long.txt", "binary.txt", "latin.txt"} <= set(seen))
    parts: list[str] = []
    offset: int | None = 0
    while offset is not None:
        answer = live.get(f"/file?path=long.txt&offset={offset}").json
        assert len(answer["text"].encode()) <= 256 * 1024
        parts.append(answer["text"])
        offset = answer["next_offset"]
    assert len(parts) > 1
    assert "".join(parts) == text
    assert live.get("/file?path=long.txt&offset=1&limit=2").json["text"] == "ä"
    assert live.get("/file?path=binary.txt").status == 415
    assert live.get("/file?path=latin.txt").json["text"] == "caf\ufffd"


def test_names_that_are_not_utf8_do_not_break_an_answer(live: Server, live_tree: Path) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (live_tree / name).touch()
    until(lambda: paths(live), lambda seen: name in seen)
    assert live.get("/context").status == 200
    assert live.get("/changes").status == 200


def test_the_summary_counts_languages_and_tells_where_git_stands(start: Start, tmp_path: Path) -> None:
    make_tree(tmp_path)
    server = start("context", "--root", str(tmp_path))
    summary = server.get("/context").json
    assert summary["root"] == str(tmp_path)
    assert summary["languages"]["python"] == {"files": 1, "bytes": 12}
    assert summary["files"] == sum(counts["files"] for counts in summary["languages"].values())
    assert (summary["git"]["branch"], summary["git"]["head"]) == ("trunk", None)
    assert summary["git"]["untracked"] > 0
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.invalid"]
    for command in (["add", "README.md"], [*identity, "commit", "-q", "-m", "x", "--no-gpg-sign"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, timeout=20)
    (tmp_path / "README.md").write_text("other", encoding="utf-8")
    git = until(lambda: server.get("/context").json["git"], lambda git: git["modified"] == 1)
    assert len(git["head"]) == 40
    assert git["dirty"] is True


def test_without_the_git_command_branch_and_head_are_still_known(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "trunk"], cwd=root, check=True, timeout=20)
    server = Server("context", tmp_path / "run", "--root", str(root), env={"PATH": "/nonexistent"})
    try:
        server.wait_ready()
        git = server.get("/context").json["git"]
        assert git == {"branch": "trunk", "head": None, "dirty": None, "source": "HEAD"}
    finally:
        server.end()


def test_changes_are_told_by_kind_as_they_happen(live: Server, live_tree: Path) -> None:
    since = last_id(live)
    (live_tree / "new.py").write_text("1", encoding="utf-8")
    (live_tree / "README.md").write_text("# other\n", encoding="utf-8")
    (live_tree / "made" / "deep").mkdir(parents=True)
    (live_tree / "made" / "deep" / "f.c").write_text("x", encoding="utf-8")
    (live_tree / "src" / "deep" / "er" / "x.ts").rename(
        live_tree / "sub" / "y.ts"
    )  # from one watch to another
    (live_tree / "ignored.log").write_text("x", encoding="utf-8")
    wanted = {
        ("created", "new.py"),
        ("modified", "README.md"),
        ("created", "made/deep/f.c"),
        ("renamed", "sub/y.ts", "src/deep/er/x.ts"),
    }
    seen = changes(live, since, lambda seen: wanted <= seen)
    assert not any("ignored" in change[1] for change in seen)
    since = last_id(live)
    (live_tree / "made").rename(live_tree / "moved")
    (live_tree / "new.py").unlink()
    wanted = {("renamed", "moved/deep/f.c", "made/deep/f.c"), ("deleted", "new.py")}
    assert changes(live, since, lambda seen: wanted <= seen) == wanted


def test_a_change_of_gitignore_changes_what_counts(live: Server, live_tree: Path) -> None:
    (live_tree / "notes.txt").write_text("x", encoding="utf-8")
    until(lambda: paths(live), lambda seen: "notes.txt" in seen)
    with (live_tree / ".gitignore").open("a", encoding="utf-8") as file:
        file.write("notes.txt\n")
    until(lambda: paths(live), lambda seen: "notes.txt" not in seen)
    assert live.get("/file?path=notes.txt").status == 404


def test_directories_made_in_any_corner_are_watched_too(live: Server, live_tree: Path) -> None:
    for parent in ("late", "src/late", "sub/late"):
        directory = live_tree / parent / "a" / "b"
        directory.mkdir(parents=True)
        (directory / "one.py").touch()
        until(lambda: paths(live), lambda seen, d=parent: f"{d}/a/b/one.py" in seen)
        (directory / "two.py").touch()
        until(lambda: paths(live), lambda seen, d=parent: f"{d}/a/b/two.py" in seen)
    shutil.rmtree(live_tree / "late")
    until(lambda: paths(live), lambda seen: not any(path.startswith("late/") for path in seen))


def test_a_stream_tells_changes_and_replays_what_a_client_missed(live: Server, live_tree: Path) -> None:
    with stream(live) as opened:
        (live_tree / "s1.py").touch()
        first = opened.next()
        assert (first["event"], first["data"]["path"]) == ("created", "s1.py")
        assert first["data"]["id"] == first["id"]
    since = first["id"]
    (live_tree / "s2.py").touch()
    until(lambda: paths(live), lambda seen: "s2.py" in seen)
    with stream(live, Last_Event_ID=since) as again:
        second = again.next()
        assert second["data"]["path"] == "s2.py"
        (live_tree / "s3.py").touch()
        third = again.next()
        assert third["data"]["path"] == "s3.py"
    numbers = [int(event["id"].rpartition("-")[2]) for event in (first, second, third)]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_a_client_of_an_earlier_life_learns_of_the_gap(context: Server) -> None:
    with stream(context, Last_Event_ID="abc-5") as late:
        assert late.next()["event"] == "gap"
    assert context.get("/changes?since=abc-5").json["gap"] is True
    assert context.get(f"/changes?since={last_id(context)}").json["gap"] is False


def move_in(root: Path, aside: Path, count: int) -> None:
    """Let many files appear at one instant."""
    aside.mkdir()
    for number in range(count):
        (aside / f"f{number}").touch()
    aside.rename(root / aside.name)


def test_a_client_that_falls_too_far_behind_is_dropped_with_a_last_word(start: Start, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    server = start("context", "--root", str(root))
    with stream(server) as slow:
        move_in(root, tmp_path / "many", 5000)
        events: list[str] = []
        while event := slow.next():
            events.append(event["event"])
    assert events[-1] == "overflow"
    assert set(events[:-1]) == {"created"}
    assert len(events) <= 4096 + 2  # one more is under way, and the last word
    assert len(server.get("/changes").json["changes"]) == 1000  # the ring is bounded
    assert server.wait_ready()["files"] == 5000


def test_a_client_that_keeps_up_gets_all_of_a_large_change(start: Start, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    server = start("context", "--root", str(root))
    with stream(server) as quick:
        move_in(root, tmp_path / "many", 2000)
        seen = {quick.next()["data"]["path"] for _ in range(2000)}
    assert seen == {f"many/f{number}" for number in range(2000)}


def test_sigterm_ends_open_streams_and_the_server_soon(tmp_path: Path) -> None:
    server = Server("context", tmp_path)
    server.wait_ready()
    with stream(server) as open_stream:
        assert open_stream.line().startswith("retry:")
        began = time.monotonic()
        assert server.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 2.5
        assert open_stream.next() == {}
    assert server.stderr == ""


def test_health_fails_while_the_root_is_gone(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    server = Server("context", tmp_path / "run", "--root", str(root))
    try:
        server.wait_ready()
        root.rmdir()
        answer = server.get("/health")
        assert (answer.status, answer.json["status"]) == (503, "failing")
    finally:
        server.end()
