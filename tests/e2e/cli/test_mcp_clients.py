"""Clients' files, as `orchestra mcp install`, `uninstall`, `list` and `import` leave them."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli.runner import orchestra
from tests.e2e.cli.shim_driver import ENTRY
from tests.e2e.cli.terminal_driver import seated

FILES = {
    "claude-desktop": (".config/Claude/claude_desktop_config.json", "mcpServers"),
    "claude-code": (".claude.json", "mcpServers"),
    "cursor": (".cursor/mcp.json", "mcpServers"),
    "vscode": (".config/Code/User/mcp.json", "servers"),
    "windsurf": (".codeium/windsurf/mcp_config.json", "mcpServers"),
}
TYPED = {"claude-code", "vscode"}


class Desk:
    """A user's home directory, and a folder with a fleet."""

    def __init__(self, path: Path) -> None:
        self.user = path / "user"
        self.user.mkdir()
        self.here = path / "fleet"
        self.here.mkdir()
        self.home = self.here / ".orchestra"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return orchestra("mcp", *words, cwd=self.here, HOME=str(self.user))

    def ok(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done

    def file(self, client: str, text: str | bytes | None = None) -> Path:
        path = self.user / FILES[client][0]
        if text is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def entry(self, *words: str, kind: bool = False) -> dict[str, Any]:
        head = {"type": "stdio"} if kind else {}
        return {
            **head,
            "command": sys.executable,
            "args": ["-I", "-S", str(ENTRY), "--home", str(self.home), *words],
        }

    def left(self) -> set[str]:
        """Return every file of the user."""
        return {str(path.relative_to(self.user)) for path in self.user.rglob("*") if path.is_file()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("client", FILES)
def test_install_makes_the_file_and_uninstall_leaves_no_entry(desk: Desk, client: str) -> None:
    done = desk.ok("install", client)
    path, key = desk.file(client), FILES[client][1]
    entry = desk.entry(kind=client in TYPED)
    assert json.loads(path.read_text(encoding="utf-8")) == {key: {"orchestra": entry}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"+++ {path}" in done.stdout
    assert f"{path}: written" in done.stderr
    assert desk.left() == {FILES[client][0]}
    desk.ok("uninstall", client)
    assert json.loads(path.read_text(encoding="utf-8")) == {key: {}}


def test_what_is_there_stays_and_a_backup_is_made(desk: Desk) -> None:
    before = '\ufeff{\r\n\t"theme": "dark",\r\n\t"mcpServers": {\r\n\t\t"a": {"command": "x"}\r\n\t}\r\n}\r\n'
    path = desk.file("cursor", before)
    path.chmod(0o640)
    desk.ok("install", "cursor")
    after = path.read_bytes().decode()
    assert after.startswith(before.partition("\r\n\t}")[0] + ',\r\n\t\t"orchestra": {\r\n\t\t\t"command": ')
    assert after.endswith("]\r\n\t\t}\r\n\t}\r\n}\r\n")
    assert after.count("\n") == after.count("\r\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    backups = list(path.parent.glob("mcp.json.*.orchestra-backup"))
    assert [backup.read_bytes() for backup in backups] == [before.encode()]
    assert stat.S_IMODE(backups[0].stat().st_mode) == 0o640
    again = desk.ok("install", "cursor")
    assert again.stdout == ""
    assert "nothing to do" in again.stderr
    assert path.read_bytes().decode() == after
    desk.ok("uninstall", "cursor")
    assert path.read_bytes().decode() == before


def test_comments_of_vscode_stay_to_the_letter(desk: Desk) -> None:
    before = """\
{
  // what the editor asks for
  "inputs": [],
  "servers": {
    "a": { "type": "stdio", "command": "x" }, // mine
    /* switched off:
    "b": {} */
  },
}
"""
    path = desk.file("vscode", before)
    desk.ok("install", "vscode")
    after = path.read_text(encoding="utf-8")
    kept = [line for line in after.splitlines() if line in before.splitlines()]
    assert kept == before.splitlines()
    desk.ok("uninstall", "vscode")
    assert path.read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("client", "text", "place"),
    [
        ("cursor", '{\n "mcpServers": {,}\n}', ":2:17: expected a key"),
        ("cursor", "[1]", ":1:1: an object was expected"),
        ("cursor", '{"mcpServers": 5}', ":1:16: 'mcpServers' has to be an object"),
        ("claude-desktop", "{\n  // no\n}", ":2:3: a comment, or a comma too many"),
        ("cursor", b'{\n"a": "\xff"}', ":2: not UTF-8 at byte 8"),
        ("cursor", '{"a": 1}'.encode("utf-16"), ": not UTF-8"),
    ],
)
def test_a_malformed_file_is_named_with_the_line_and_left_alone(
    desk: Desk, client: str, text: str | bytes, place: str
) -> None:
    path = desk.file(client, text)
    content = path.read_bytes()
    for verb in ("install", "import"):
        done = desk.run(verb, client)
        assert done.returncode == 3
        assert f"error: {path}" in done.stderr
        assert place in done.stderr
        assert "nothing was changed" in done.stderr
    assert path.read_bytes() == content
    assert desk.left() == {FILES[client][0]}
    assert place in json.loads(desk.ok("list", client, "--json").stdout)["clients"][0]["error"]


def test_an_empty_file_gets_the_entry(desk: Desk) -> None:
    path = desk.file("windsurf", "")
    desk.ok("install", "windsurf")
    assert json.loads(path.read_text(encoding="utf-8")) == {"mcpServers": {"orchestra": desk.entry()}}


def test_a_link_stays_a_link(desk: Desk) -> None:
    real = desk.user / "dotfiles" / "cursor.json"
    real.parent.mkdir()
    real.write_text("{}", encoding="utf-8")
    path = desk.file("cursor")
    path.parent.mkdir()
    path.symlink_to(Path("..") / "dotfiles" / "cursor.json")
    desk.ok("install", "cursor")
    assert path.readlink() == Path("..") / "dotfiles" / "cursor.json"
    assert "orchestra" in real.read_text(encoding="utf-8")
    assert len(list(real.parent.iterdir())) == 2, "the backup is beside the file itself"


def test_a_read_only_file_is_left_alone(desk: Desk) -> None:
    path = desk.file("cursor", "{}")
    path.chmod(0o444)
    for words in (("install", "cursor"), ("install", "cursor", "--dry-run")):
        done = desk.run(*words)
        assert (done.returncode, "is read-only" in done.stderr) == (1, True)
    assert path.read_text(encoding="utf-8") == "{}"
    assert desk.left() == {FILES["cursor"][0]}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_of_a_file_stays(desk: Desk) -> None:
    path = desk.file("cursor", "{}")
    os.chown(path, 65_534, 65_534)
    desk.ok("install", "cursor")
    assert (path.stat().st_uid, path.stat().st_gid) == (65_534, 65_534)
    backup = next(path.parent.glob("*.orchestra-backup"))
    assert backup.stat().st_uid == 65_534


def test_a_directory_in_its_place_is_refused(desk: Desk) -> None:
    desk.file("cursor").mkdir(parents=True)
    done = desk.run("install", "cursor")
    assert done.returncode == 1
    assert "Is a directory" in done.stderr


def test_dry_run_and_print_change_nothing(desk: Desk) -> None:
    path = desk.file("vscode", "{}")
    done = desk.ok("install", "vscode", "--dry-run", "--gateway", "--profile", "p")
    assert '+      "command"' in done.stdout
    assert desk.left() == {FILES["vscode"][0]}
    assert path.read_text(encoding="utf-8") == "{}"
    printed = json.loads(desk.ok("install", "vscode", "--print", "--server", "memory").stdout)
    assert printed == {"servers": {"orchestra": desk.entry("--server", "memory", kind=True)}}
    printed = json.loads(desk.ok("install", "--print", "--gateway", "--profile", "p", "--name", "all").stdout)
    assert printed == {"mcpServers": {"all": desk.entry("--gateway", "--profile", "p")}}


def test_an_entry_that_may_start_the_fleet_names_its_files(desk: Desk) -> None:
    done = desk.run("install", "cursor", "--start")
    assert done.returncode == 2
    (desk.here / "orchestra.json").write_text("{}", encoding="utf-8")
    desk.ok("install", "cursor", "--start")
    written = json.loads(desk.file("cursor").read_text(encoding="utf-8"))["mcpServers"]["orchestra"]
    assert written == desk.entry("--start", "-c", str(desk.here / "orchestra.json"))


def test_an_entry_of_that_name_that_is_not_ours_is_left_alone(desk: Desk) -> None:
    text = '{"mcpServers": {"orchestra": {"command": "other"}}}'
    path = desk.file("cursor", text)
    for verb in ("install", "uninstall"):
        done = desk.run(verb, "cursor")
        assert done.returncode == 8
        assert f"{path}:1:" in done.stderr
    assert path.read_text(encoding="utf-8") == text
    desk.ok("install", "cursor", "--name", "fleet")
    assert set(json.loads(path.read_text(encoding="utf-8"))["mcpServers"]) == {"orchestra", "fleet"}


def test_the_file_of_a_project_is_the_one_here(desk: Desk) -> None:
    desk.ok("install", "claude-code", "--project")
    path = desk.here / ".mcp.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "mcpServers": {"orchestra": desk.entry(kind=True)}
    }
    assert desk.left() == set()
    assert desk.run("install", "windsurf", "--project").returncode == 2


def test_list_shows_where_the_entry_is(desk: Desk) -> None:
    desk.file("cursor", '{"mcpServers": {"a": {}, "b": {}}}')
    desk.ok("install", "cursor")
    found = json.loads(desk.ok("list", "--json").stdout)["clients"]
    assert {one["client"]: (one["exists"], list(one["orchestra"]), one["others"]) for one in found} == {
        "claude-desktop": (False, [], 0),
        "claude-code": (False, [], 0),
        "cursor": (True, ["orchestra"], 2),
        "vscode": (False, [], 0),
        "windsurf": (False, [], 0),
    }
    assert "cursor" in desk.ok("list", "cursor").stdout


SERVERS = {
    "memory": {"command": "npx", "args": ["-y", "server memory", "$(x)"], "env": {"KEY": "s3cret"}},
    "web": {"serverUrl": "https://example.org/mcp", "headers": {"Authorization": "s3cret"}},
    "off": {"command": "x", "disabled": True},
    "editor": {"command": "x", "args": ["${workspaceFolder}/y"]},
    "orchestra": {"command": "/usr/bin/orchestra", "args": ["mcp"]},
}
MOVED = {
    "memory": SERVERS["memory"],
    "web": {"url": "https://example.org/mcp", "headers": {"Authorization": "s3cret"}},
}


def test_import_moves_servers_and_leaves_one_entry(desk: Desk) -> None:
    path = desk.file("windsurf", json.dumps({"mcpServers": SERVERS, "x": 1}, indent=4))
    before = path.read_bytes()
    done = desk.ok("import", "windsurf", "--yes")
    assert "    npx -y 'server memory' '$(x)'\n      env: KEY=***\n" in done.stdout
    assert "    https://example.org/mcp\n      headers: Authorization=***\n" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    assert "off stays in the client: it is switched off" in done.stdout
    assert "editor stays in the client: only the client can fill in ${workspaceFolder" in done.stdout
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "mcpServers": {
            "off": SERVERS["off"],
            "editor": SERVERS["editor"],
            "orchestra": desk.entry("--gateway"),
        },
        "x": 1,
    }
    into = desk.here / "claude_mcp_config.json"
    assert json.loads(into.read_text(encoding="utf-8")) == {"mcp_servers": MOVED}
    assert stat.S_IMODE(into.stat().st_mode) == 0o600
    backup = next(path.parent.glob("*.orchestra-backup"))
    assert backup.read_bytes() == before, "what was moved comes back with it"


def test_import_adds_to_the_file_that_is_there_and_never_replaces(desk: Desk) -> None:
    desk.file("cursor", json.dumps({"mcpServers": {"memory": SERVERS["memory"]}}))
    into = desk.here / "mine.json"
    into.write_text('{\n  "mcpServers": {\n    "memory": {"command": "y"}\n  }\n}\n', encoding="utf-8")
    done = desk.run("import", "cursor", "--yes", "--into", str(into))
    assert done.returncode == 8
    assert f"{into}:3:15: the fleet has another server 'memory'" in done.stderr
    assert desk.left() == {FILES["cursor"][0]}
    into.write_text('{\n  "mcpServers": {\n    "other": {"command": "y"} // kept\n  }\n}\n', encoding="utf-8")
    desk.ok("import", "cursor", "--yes", "--into", str(into))
    text = into.read_text(encoding="utf-8")
    assert '"other": {"command": "y"}, // kept\n    "memory": {' in text


def test_import_asks_and_takes_no_for_an_answer(desk: Desk) -> None:
    path = desk.file("cursor", json.dumps({"mcpServers": {"memory": SERVERS["memory"]}}))
    before = path.read_bytes()
    done = desk.run("import", "cursor")
    assert (done.returncode, "there is nobody to ask" in done.stderr) == (2, True)
    for word, is_moved in (("n", False), ("", False), ("y", True)):
        with seated("mcp", "import", "cursor", cwd=desk.here, HOME=str(desk.user)) as seat:
            seat.until("[y/N]")
            seat.press(word.encode() + b"\n")
            assert seat.end() == (0 if is_moved else 1)
        assert (path.read_bytes() != before) == is_moved
    assert "nothing to move" in desk.ok("import", "cursor", "--yes").stderr


def test_an_import_that_cannot_write_the_client_takes_nothing(desk: Desk) -> None:
    path = desk.file("cursor", json.dumps({"mcpServers": {"memory": SERVERS["memory"]}}))
    path.chmod(0o444)
    assert desk.run("import", "cursor", "--yes").returncode == 1
    assert not (desk.here / "claude_mcp_config.json").exists()


def test_import_dry_run_and_from_a_file(desk: Desk) -> None:
    path = desk.here / "some.json"
    path.write_text(json.dumps({"mcpServers": {"memory": SERVERS["memory"]}}), encoding="utf-8")
    before = path.read_bytes()
    done = desk.ok("import", str(path), "--dry-run")
    assert '"KEY": "***"' in done.stdout
    assert "s3cret" not in done.stdout
    assert path.read_bytes() == before
    desk.ok("import", str(path), "--yes", "--profile", "p")
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "mcpServers": {"orchestra": desk.entry("--gateway", "--profile", "p")}
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("install", "curser"), "did you mean cursor?"),
        (("install",), "claude-desktop, claude-code"),
        (("uninstall", "cursor", "--yes"), "it belongs to import"),
        (("--json",), "takes no --json"),
        (("install", "cursor", "vscode"), "unexpected argument 'vscode'"),
        (("install", "cursor", "--server", "a", "--gateway"), "exclude each other"),
        (("instal",), "did you mean `orchestra mcp install`?"),
        (("import", "/nowhere.json"), "nothing to move"),
    ],
)
def test_wrong_words_are_told(desk: Desk, words: tuple[str, ...], told: str) -> None:
    done = desk.run(*words)
    assert told in done.stderr
    assert done.returncode == (0 if "nothing" in told else 2)
