"""Tools, calls, addresses, tokens and the bundle, as a person at a terminal has them."""

import json
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestra_supervisor.mcp_tokens import TokenFile
from tests.e2e.cli.fake_control import holding_lock, serving
from tests.e2e.cli.runner import environment, orchestra
from tests.e2e.cli.shim_driver import LIMIT, VERSION, Bench, bench_at
from tests.e2e.cli.terminal_driver import seated

NAMES = ["echo", "wait", "die", "half", "ask", "flood", "fail"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bench_at(tmp_path / ".orchestra") as bench:
        bench.hold()
        yield bench


def run(bench: Bench, *words: str) -> subprocess.CompletedProcess[str]:
    return orchestra("mcp", *words, cwd=bench.home.parent)


def test_tools_lists_the_control_tools_and_those_of_all_servers(bench: Bench) -> None:
    bench.start()
    done = run(bench, "tools")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["TOOL", "FROM", "ARGUMENTS", "DESCRIPTION"]
    assert lines[1] == "r echo   control  text [times]  Does echo."
    assert [line[2:].split()[:2] for line in lines[1:]] == [
        [name, source] for source in ("control", "gateway") for name in NAMES
    ]
    found = json.loads(run(bench, "tools", "--server", "memory", "--json").stdout)["tools"]
    assert [(tool["from"], tool["name"]) for tool in found] == [("memory", name) for name in NAMES]
    hellos = [
        json.loads(line)["hello"] for line in bench.notes.read_bytes().splitlines() if b'"hello"' in line
    ]
    assert hellos == [
        {"orchestra": 1, "profile": None, "server": None, "endpoint": "control"},
        {"orchestra": 1, "profile": None, "server": None, "endpoint": "gateway"},
        {"orchestra": 1, "profile": None, "server": "memory", "endpoint": "server"},
    ]


def test_call_gives_values_as_the_tool_wants_them(bench: Bench) -> None:
    pid = bench.start()
    done = run(bench, "call", "control", "echo", "text=12", "times=3", 'more={"a": [1]}', "plain=x=y")
    assert done.returncode == 0, done.stderr
    said = {"text": "12", "times": 3, "more": {"a": [1]}, "plain": "x=y"}
    assert json.loads(done.stdout) == {"said": said, "to": pid}
    result = json.loads(run(bench, "call", "memory", "echo", "--json").stdout)
    assert result["structuredContent"] == {"said": {}, "to": pid}
    asked = bench.taken(pid, "tools/call")[0]["params"]
    assert asked["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert asked["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}


def test_what_goes_wrong_is_told_with_the_way_out(bench: Bench) -> None:
    for words, status, told in (
        (("tools",), 4, "no fleet runs on"),
        (("call", "control", "echo"), 4, "no fleet runs on"),
    ):
        bench_home = bench.home / "nowhere"
        done = orchestra("mcp", *words, "--home", str(bench_home), cwd=bench.home.parent)
        assert (done.returncode, told in done.stderr) == (status, True), done.stderr
    bench.start()
    for words, status, told in (
        (("call", "control", "ecko"), 2, "did you mean echo?"),
        (("call", "control"), 2, "key=value"),
        (("call", "control", "echo", "text"), 2, "'text' is not key=value"),
        (("call", "control", "wait", "second=1"), 2, "did you mean seconds?"),
        (("tools", "--server", "nobody"), 2, "no server 'nobody'"),
        (("call", "control", "fail"), 1, "fail says that it failed"),
        (("call", "control", "wait", "--timeout", "300ms"), 7, "no answer within 0.3 s"),
        (("call", "control", "die"), 1, "went away before it answered tools/call"),
    ):
        done = run(bench, *words)
        assert (done.returncode, told in done.stderr) == (status, True), (words, done.stderr)


def test_what_a_tool_says_cannot_command_the_terminal(bench: Bench) -> None:
    bench.start()
    done = run(bench, "call", "control", "fail")
    assert done.stdout == "no: ^[[31mred\n"


def test_url_is_where_the_configuration_says(tmp_path: Path) -> None:
    home = tmp_path / ".orchestra"
    home.mkdir()
    answers: dict[str, object] = {"http": "127.0.0.1:8765"}
    with holding_lock(home), serving(home / "control.sock", lambda *_: (200, {"settings": answers})):
        for words, path in {
            (): "/mcp",
            ("control",): "/mcp",
            ("gateway",): "/gw/mcp",
            ("--profile", "a b"): "/gw/a%20b/mcp",
            ("--server", "memory"): "/s/memory/mcp",
        }.items():
            done = orchestra("mcp", "url", *words, cwd=tmp_path)
            assert (done.stdout, done.returncode) == (f"http://127.0.0.1:8765{path}\n", 0)
        assert orchestra("mcp", "url", "gatway", cwd=tmp_path).returncode == 2
        answers["http"] = None
        done = orchestra("mcp", "url", cwd=tmp_path)
        assert (done.returncode, "settings.mcp.http" in done.stderr) == (8, True)
    assert orchestra("mcp", "url", cwd=tmp_path).returncode == 4


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    home = tmp_path / ".orchestra"
    home.mkdir()
    assert orchestra("mcp", "token", cwd=tmp_path).stdout.startswith("no tokens")
    text = orchestra("mcp", "token", "laptop", cwd=tmp_path).stdout.strip()
    admin = orchestra("mcp", "token", "ci", "--role", "admin", cwd=tmp_path).stdout.strip()
    tokens = TokenFile(home)
    assert [(one.name, one.role) for one in map(tokens.match, (text, admin)) if one is not None] == [
        ("laptop", "operator"),
        ("ci", "admin"),
    ]
    listed = json.loads(orchestra("mcp", "token", "--list", "--json", cwd=tmp_path).stdout)["tokens"]
    assert [(one["name"], one["role"]) for one in listed] == [("laptop", "operator"), ("ci", "admin")]
    shown = orchestra("mcp", "token", "--list", cwd=tmp_path).stdout
    assert [line.split()[:2] for line in shown.splitlines()[1:]] == [["laptop", "operator"], ["ci", "admin"]]
    assert text not in shown
    assert stat.S_IMODE((home / "mcp-tokens.json").stat().st_mode) == 0o600
    again = orchestra("mcp", "token", "laptop", cwd=tmp_path)
    assert again.returncode == 1
    assert orchestra("mcp", "token", "--revoke", "laptop", cwd=tmp_path).returncode == 0
    assert TokenFile(home).match(text) is None
    assert orchestra("mcp", "token", "--revoke", "laptop", cwd=tmp_path).returncode == 1
    assert orchestra("mcp", "token", "x", "--list", cwd=tmp_path).returncode == 2


def test_the_command_is_the_pump(bench: Bench) -> None:
    bench.start()
    code = (
        "import sys; from orchestra_supervisor.cli.main import main; main(); "
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "mcp", "--gateway", "--home", str(bench.home)],
        input=b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
        capture_output=True,
        env=environment(),
        timeout=LIMIT,
        check=True,
    )
    assert json.loads(done.stdout)["id"] == 1
    assert not {"argparse", "pathlib", "subprocess"} & set(done.stderr.decode().split())
    assert b'"endpoint": "gateway"' in bench.notes.read_bytes()


def test_at_a_terminal_the_command_says_what_it_is_for(bench: Bench) -> None:
    bench.start()
    with seated("--home", str(bench.home), "mcp", cwd=bench.home.parent) as seat:
        seat.until("orchestra mcp install CLIENT")
        seat.press(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        seat.until('"result"')
        seat.press(b"\x04")
        assert seat.end() == 0


def test_the_bundle_is_the_same_each_time_and_its_pump_runs_alone(bench: Bench) -> None:
    pid = bench.start()
    here = bench.home.parent
    assert run(bench, "bundle", "a.mcpb").stdout == "a.mcpb\n"
    run(bench, "bundle", "b.mcpb")
    assert (here / "a.mcpb").read_bytes() == (here / "b.mcpb").read_bytes()
    again = run(bench, "bundle", "a.mcpb")
    assert (again.returncode, "is there already" in again.stderr) == (8, True)
    with zipfile.ZipFile(here / "a.mcpb") as archive:
        archive.extractall(here / "unpacked")
    manifest = json.loads((here / "unpacked" / "manifest.json").read_text(encoding="utf-8"))
    config = manifest["server"]["mcp_config"]
    values = {"${__dirname}": str(here / "unpacked"), "${user_config.home}": str(bench.home)}
    words = [config["command"]]
    text = json.dumps(config["args"])
    for name, value in values.items():
        text = text.replace(name, value)
    words += json.loads(text)
    assert manifest["user_config"]["home"]["default"] == str(bench.home)
    params = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    question = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    done = subprocess.run(
        words,
        input=json.dumps(question),
        capture_output=True,
        encoding="utf-8",
        cwd="/",
        env={},
        timeout=LIMIT,
        check=True,
    )
    assert json.loads(done.stdout)["result"]["serverInfo"]["version"] == str(pid)
    # Without a gateway it needs all of its modules, those of the way up as well.
    bench.end()
    (bench.home / "mcp.sock").unlink()
    done = subprocess.run(
        words,
        input=json.dumps(question),
        capture_output=True,
        encoding="utf-8",
        cwd="/",
        env={},
        timeout=LIMIT,
        check=True,
    )
    assert "no fleet runs on" in json.loads(done.stdout)["result"]["instructions"]
    portable = run(bench, "bundle", "c.mcpb", "--portable", "--gateway")
    assert portable.returncode == 0
    with zipfile.ZipFile(here / "c.mcpb") as archive:
        other = json.loads(archive.read("manifest.json"))
    assert other["server"]["mcp_config"]["command"] == "python3"
    assert other["server"]["mcp_config"]["args"][-1] == "--gateway"
    assert "default" not in other["user_config"]["home"]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(shutil.which("npx") is None, reason="npx is not installed")
def test_the_bundle_is_valid_by_its_own_tool(bench: Bench) -> None:
    for name, words in {"a": (), "b": ("--portable", "--gateway")}.items():
        run(bench, "bundle", f"{name}.mcpb", *words)
        with zipfile.ZipFile(bench.home.parent / f"{name}.mcpb") as archive:
            archive.extractall(bench.home.parent / name)
        done = subprocess.run(
            [
                "npx",
                "-y",
                "@anthropic-ai/mcpb@2.1.2",
                "validate",
                str(bench.home.parent / name / "manifest.json"),
            ],
            capture_output=True,
            encoding="utf-8",
            timeout=170,
            check=False,
        )
        if "npm error" in done.stderr or "ENOTFOUND" in done.stderr:
            pytest.skip(f"npm cannot fetch it: {done.stderr.strip().splitlines()[0]}")
        assert done.returncode == 0, done.stdout + done.stderr
