"""Bad input is refused with its place, and bad output is kept as it is."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.fleet_driver import Fleet, python, until

GOOD = '"good": {"command": ["sleep", "1000"]}'
REFUSED: dict[str, tuple[str, int, str]] = {
    "malformed": ('{"services": {\n' + GOOD + ",\n" + '"bad": {"command": ["a", ]]}\n}}', 3, ""),
    "cut off": ('{"services": {\n' + GOOD, 2, ""),
    "duplicate key": (
        '{"services": {\n' + GOOD + ',\n"bad": {"command": "a",\n"command": "b"}}}',
        4,
        "command",
    ),
    "duplicate service": ('{"services": {\n' + GOOD + ',\n"good": {"command": "b"}}}', 3, "good"),
    "wrong type": ('{"services": {\n' + GOOD + ',\n"bad": {"command": 7}}}', 3, "command"),
    "wrong truth": (
        '{"services": {\n' + GOOD + ',\n"bad": {"command": "a", "enabled": "maybe"}}}',
        3,
        "enabled",
    ),
    "unknown key": ('{"services": {\n' + GOOD + ',\n"bad": {"comand": "a"}}}', 3, "command"),
    "no command": ('{"services": {\n' + GOOD + ',\n"bad": {}}}', 3, "command"),
    "port": ('{"services": {\n' + GOOD + ',\n"bad": {"command": "a",\n"port": 65536}}}', 4, "65536"),
    "nul": ('{"services": {\n' + GOOD + ',\n"bad": {"command": ["a\\u0000b"]}}}', 3, "NUL"),
    "unknown dependency": (
        '{"services": {\n' + GOOD + ',\n"bad": {"command": "a",\n"depends_on": ["goood"]}}}',
        4,
        "good",
    ),
    "cycle": (
        '{"services": {\n'
        + GOOD
        + ',\n"x": {"command": "a", "depends_on": ["y"]},\n"y": {"command": "a", "depends_on": ["x"]}}}',
        3,
        "x",
    ),
    "bad variable": (
        '{"services": {\n' + GOOD + ',\n"bad": {"command": ["${NOT_SET_AT_ALL}"]}}}',
        3,
        "NOT_SET",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_up_refuses_a_bad_file_with_its_place_and_starts_nothing(fleet: Fleet, what: str) -> None:
    text, line, word = REFUSED[what]
    (fleet.path / "orchestra.json").write_text(text, encoding="utf-8")
    done = fleet.run("up", "--detach")
    assert done.returncode == 3, done.stderr
    assert f"orchestra.json:{line}" in done.stderr
    assert word in done.stderr
    assert "hint:" in done.stderr
    assert "nothing was started" in done.stderr
    assert not (fleet.home / "control.sock").exists()
    assert fleet.processes() == []


@pytest.mark.parametrize(
    "data", [os.urandom(5000), b"\x00" * 100, b"\xff\xfe{\x00}\x00", b"[" * 200_000, b""]
)
def test_up_refuses_what_is_no_configuration_at_all(fleet: Fleet, data: bytes) -> None:
    (fleet.path / "orchestra.json").write_bytes(data)
    done = fleet.run("up", "--detach")
    assert done.returncode == 3, done.stderr
    assert "orchestra.json" in done.stderr
    assert "hint:" in done.stderr
    assert fleet.processes() == []


def test_up_refuses_a_file_of_ten_megabytes(fleet: Fleet) -> None:
    filler = "\n".join(f'"k{number}": {{"command": "{"x" * 1000}"}},' for number in range(10_000))
    (fleet.path / "orchestra.json").write_text('{"services": {' + filler + GOOD + "}}", encoding="utf-8")
    done = fleet.run("up", "--detach")
    assert done.returncode == 3, done.stderr
    assert "orchestra.json" in done.stderr
    assert "hint:" in done.stderr


WRITER = """
import os, sys
data = open(sys.argv[1], "rb").read()
while data:
    data = data[os.write(1, data):]
os.write(2, b"done")
"""


def test_long_lines_and_any_bytes_land_in_the_log_as_they_are(fleet: Fleet) -> None:
    dice = random.Random(7)
    data = (
        b"a" * 1_000_000 + b"\n" + dice.randbytes(300_000) + b"\n\xff\xfe\x80\n\x00\x00\n" + b"b" * 2_000_000
    )
    (fleet.path / "data").write_bytes(data)
    job: dict[str, object] = {"kind": "once", "command": python(WRITER + "", fleet.path / "data")}
    quiet = {
        **job,
        "command": ["sh", "-c", 'exec "$@" 2>/dev/null', "x", *python(WRITER, fleet.path / "data")],
    }
    fleet.write({"both": job, "one": quiet}, defaults={"log": {"max_bytes": 0}})
    fleet.up()
    until(lambda: len(fleet.log("one")) >= len(data), "all is written")
    assert fleet.log("one") == data
    until(lambda: len(fleet.log("both")) >= len(data) + 4, "all is written")
    assert fleet.log("both").replace(b"done", b"", 1) in {data, data.replace(b"done", b"", 1)}
    for words in (("logs", "one", "-n", "5"), ("logs", "one", "--json"), ("status",)):
        assert fleet.run(*words).returncode == 0


IN_NAMESPACE = ["unshare", "--mount", "--propagation", "private"]


def _can_mount() -> bool:
    if os.geteuid() or not shutil.which("unshare"):
        return False
    words = [*IN_NAMESPACE, "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


needs_mount = pytest.mark.skipif(not _can_mount(), reason="needs root and a mount namespace of its own")


def on_tmpfs(fleet: Fleet, size: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script with `$home` on a small file system that nobody else sees; `o` is the command."""
    (fleet.path / "small").mkdir(exist_ok=True)
    lines = [
        f"mount -t tmpfs -o size={size} none {fleet.path}/small",
        f"export home={fleet.path}/small/home",
        f'o() {{ {sys.executable} -P -m orchestra_supervisor "$@" --home "$home"; }}',
        script,
    ]
    return subprocess.run(
        [*IN_NAMESPACE, "bash", "-c", "\n".join(lines)],
        cwd=fleet.path,
        env=fleet.environ(),
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )


@needs_mount
def test_a_home_on_a_read_only_file_system_is_a_clear_error(fleet: Fleet) -> None:
    fleet.write({"one": {"command": ["sleep", "1000"]}})
    for made in ("true", 'mkdir -m 700 "$home"'):
        done = on_tmpfs(fleet, "1m", f"{made}; mount -o remount,ro {fleet.path}/small\no up --detach")
        assert done.returncode == 1, done.stderr
        assert f"{fleet.path}/small/home" in done.stderr
        assert "Read-only file system" in done.stderr
        assert "hint:" in done.stderr
        assert "Traceback" not in done.stderr
        assert fleet.processes() == []


@needs_mount
@pytest.mark.parametrize("blocks", ["", "count=255", "count=254"])  # of 256: none, and next to none free
def test_a_full_disk_keeps_a_fleet_from_starting_with_a_clear_error(fleet: Fleet, blocks: str) -> None:
    fleet.write({"one": {"command": ["sleep", "1000"]}})
    fill = f"mkdir -m 700 $home; dd if=/dev/zero of={fleet.path}/small/fill bs=4k {blocks} 2>/dev/null"
    done = on_tmpfs(fleet, "1m", f"{fill}\no up --detach --timeout 10")
    assert done.returncode not in {0, 7}, done.stderr
    assert "No space left on device" in done.stderr or "disk is full" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    until(lambda: not fleet.processes(), "nothing is left")


@needs_mount
def test_a_disk_that_fills_up_stops_no_service_and_is_told(fleet: Fleet) -> None:
    code = (
        "import os, sys, time\nn = 0\nwhile True:\n"
        "    n += 1\n    os.write(1, b'x' * 4095 + b'\\n')\n"
        "    open(sys.argv[1] + '.new', 'w').write(str(n))\n"
        "    os.replace(sys.argv[1] + '.new', sys.argv[1])\n    time.sleep(0.002)\n"
    )
    fleet.write(
        {
            "loud": {"command": python(code, fleet.path / "count")},
            "calm": {"command": ["sleep", "1000"], "restart": "always"},
        }
    )
    script = r"""
o up --detach || exit 20
o status --json > before.json
until [ "$(stat -f -c %a $home)" = 0 ]; do read -t 0.05 <> <(:); done
at=$(cat count)
for _ in $(seq 400); do [ "$(cat count)" -gt $((at + 500)) ] && break; read -t 0.05 <> <(:); done
echo $(( $(cat count) - at )) > went_on
o stop calm || exit 21
o start calm || exit 22
o status --json > after.json || exit 23
o events --json -n 500 > events.json || exit 24
o down || exit 25
"""
    done = on_tmpfs(fleet, "2m", script)
    assert done.returncode == 0, f"{done.returncode} {done.stdout} {done.stderr} {fleet.said()}"
    before, after = (_rows(fleet.path / name) for name in ("before.json", "after.json"))
    assert before["loud"]["pid"] == after["loud"]["pid"]
    assert after["loud"]["restarts"] == 0
    assert (after["calm"]["state"], before["calm"]["pid"] != after["calm"]["pid"]) == ("ready", True)
    assert int((fleet.path / "went_on").read_text(encoding="utf-8")) >= 500, "the service was not blocked"
    kinds = (fleet.path / "events.json").read_text(encoding="utf-8")
    assert "log.unwritable" in kinds or "log.dropped" in kinds
    until(lambda: not fleet.processes(), "nothing is left")


def _rows(path: Path) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))["services"]}
