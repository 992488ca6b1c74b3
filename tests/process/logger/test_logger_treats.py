"""Lines that are looked at on their way to the file: redacted, wrapped, limited."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.logger.logger_driver import KeeperStandIn, all_lines, log_bytes, texts, wait_until

SECRET = "hunter2-of-the-database"


@pytest.fixture
def keeper(tmp_path: Path):
    with KeeperStandIn(tmp_path) as standing_in:
        yield standing_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "web.log"


def test_what_matches_is_replaced_before_it_is_written(keeper: KeeperStandIn, path: Path) -> None:
    stream = keeper.open(path, redact=[r"token=\S+", "^begin$"])
    stream.write(b"call token=abc&x=1 done\nbegin\nnot begin\ntoken=\n")
    stream.close()
    keeper.wait_eof(stream)
    assert texts(path) == [b"call [redacted] done", b"[redacted]", b"not begin", b"token="]


def test_the_values_of_secrets_are_on_no_disk(keeper: KeeperStandIn, path: Path) -> None:
    pem = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n"
    stream = keeper.open(path, secrets=(SECRET, "abc", pem))
    stream.write(f"url postgres://u:{SECRET}@h/db abc\n{pem}".encode())
    stream.close()
    keeper.wait_eof(stream)
    assert texts(path) == [b"url postgres://u:[redacted]@h/db abc", *[b"[redacted]"] * 3]
    everything = b"".join(each.read_bytes() for each in keeper.home.rglob("*") if each.is_file())
    assert SECRET.encode() not in everything


def test_a_secret_that_comes_in_two_writes_is_found(keeper: KeeperStandIn, path: Path) -> None:
    stream = keeper.open(path, secrets=(SECRET,))
    stream.write(b"first\npassword " + SECRET[:7].encode())
    wait_until(lambda: log_bytes(path) == b"first\n", "the finished line alone")
    stream.write(SECRET[7:].encode() + b" end\n")
    stream.close()
    keeper.wait_eof(stream)
    assert texts(path) == [b"first", b"password [redacted] end"]


def test_a_secret_anywhere_in_a_very_long_line_is_found(keeper: KeeperStandIn, path: Path) -> None:
    stream = keeper.open(path, secrets=(SECRET,))
    code = f"import sys\nfor n in range(600): sys.stdout.write('x' * (997 + n % 7) + {SECRET!r})\nprint()"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=stream.write_fd)
    stream.close()
    assert writer.wait(10) == 0
    keeper.wait_eof(stream)
    written = log_bytes(path)
    assert written.count(b"[redacted]") == 600
    assert written == b"".join(b"x" * (997 + n % 7) + b"[redacted]" for n in range(600)) + b"\n"


def test_the_last_line_of_a_run_needs_no_end(keeper: KeeperStandIn, path: Path) -> None:
    stream = keeper.open(path, redact=["x"])
    stream.write(b"last words")
    stream.close()
    keeper.wait_eof(stream)
    lines = all_lines(path)
    assert [(line.data, line.complete) for line in lines] == [(b"last words", False)]


@pytest.mark.slow
def test_a_prompt_is_written_after_a_second_and_its_line_goes_on(keeper: KeeperStandIn, path: Path) -> None:
    stream = keeper.open(path, redact=["x"])
    stream.write(b"continue? ")
    wait_until(lambda: log_bytes(path) == b"continue? ", "the unfinished line")
    stream.write(b"yes\n")
    stream.close()
    keeper.wait_eof(stream)
    assert texts(path) == [b"continue? yes"]


def test_each_line_is_an_object_and_readers_show_what_is_in_it(keeper: KeeperStandIn, path: Path) -> None:
    options = {"format": "json", "redact": ["pass[0-9]"]}
    out, err = (keeper.open(path, stream=name, **options) for name in ("stdout", "stderr"))
    out.write(b'{"its": "own"} \xff pass1\n')
    wait_until(lambda: log_bytes(path), "the first line")
    err.write("caf\u00e9\n\nlast".encode())
    for stream in (out, err):
        stream.close()
    keeper.wait_eof(out, err)
    objects = [json.loads(line) for line in log_bytes(path).splitlines()]
    assert [(each["stream"], each["message"], each.get("partial")) for each in objects] == [
        ("stdout", '{"its": "own"} \\xff [redacted]', None),
        ("stderr", "caf\u00e9", None),
        ("stderr", "", None),
        ("stderr", "last", True),
    ]
    assert {(each["service"], each["run"]) for each in objects} == {("web", "web-0000000000a1")}
    assert all(each["time"].endswith("Z") for each in objects)
    assert [(line.stream, line.data, line.complete) for line in all_lines(path)] == [
        ("stdout", b'{"its": "own"} \\xff [redacted]', True),
        ("stderr", "caf\u00e9".encode(), True),
        ("stderr", b"", True),
        ("stderr", b"last", False),
    ]
    assert {line.run for line in all_lines(path)} == {"0000000000a1"}


def test_what_is_over_the_rate_is_left_out_counted_and_shown_in_place(
    keeper: KeeperStandIn, path: Path
) -> None:
    stream = keeper.open(path, rate_limit={"bytes": 1000, "per": 60, "burst": 500})
    stream.write(b"".join(b"line %04d\n" % number for number in range(100)))
    (event,) = keeper.wait_event("limited")
    assert (event["lines"], event["bytes"]) == (50, 500)
    keeper.config(path)  # no limit any more
    stream.write(b"back\n")
    stream.close()
    keeper.wait_eof(stream)
    lines = all_lines(path)
    assert [line.data for line in lines] == [
        *[b"line %04d" % number for number in range(50)],
        b"orchestra: 50 lines (500 bytes) left out here: over log.rate_limit",
        b"back",
    ]
    assert [line.stream for line in lines[-2:]] == ["", "stdout"]


def test_a_gap_is_shown_although_nothing_follows_it(keeper: KeeperStandIn, path: Path) -> None:
    stream = keeper.open(path, rate_limit={"bytes": 100, "per": 0.1})
    stream.write(b"a" * 99 + b"\n" + b"b" * 49 + b"\n")
    wait_until(lambda: b"1 lines (50 bytes) left out" in log_bytes(path), "the gap")
    stream.close()
    keeper.wait_eof(stream)


def test_a_service_that_is_to_be_blocked_loses_nothing(keeper: KeeperStandIn, path: Path) -> None:
    limit = {"bytes": 10_000, "per": 0.01, "burst": 1_000, "on_limit": "block"}
    stream = keeper.open(path, rate_limit=limit)
    code = "for n in range(3000): print('n', n, '.' * (n % 50))"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=stream.write_fd)
    stream.close()
    keeper.wait_eof(stream)
    assert writer.wait(10) == 0
    assert [int(line.split()[1]) for line in texts(path)] == list(range(3000))
    assert [event["bytes"] for event in keeper.of("limited")] == [0]


def test_treatment_begins_and_ends_with_a_change_of_the_options(keeper: KeeperStandIn, path: Path) -> None:
    stream = keeper.open(path, secrets=(SECRET,), redact_secrets=False)

    def shown(options: dict[str, object] | None, text: str) -> None:
        if options is not None:
            keeper.config(path, **options)
            keeper.open(path.with_name("mark.log"), run=f"mark-{len(keeper.streams):012x}", redact=["("])
            keeper.wait_event(
                "misconfigured", len(keeper.of("misconfigured")) + 1
            )  # in order, so it is known
        before = len(log_bytes(path))
        stream.write(f"{SECRET}\n".encode())
        wait_until(lambda: log_bytes(path)[before:].endswith(b"\n"), "the line")
        assert log_bytes(path)[before:].decode() == text

    shown(None, f"{SECRET}\n")
    shown({}, "[redacted]\n")
    shown({"redact": ["hunter", "2-of"], "redact_secrets": False}, "[redacted]-the-database\n")
    shown({"redact_secrets": False}, f"{SECRET}\n")


def test_bad_options_leave_the_rest_of_the_treatment(keeper: KeeperStandIn, path: Path) -> None:
    stream = keeper.open(path, redact=["(", "b+"], format="xml", rate_limit={"bytes": 0})
    stream.write(b"abbc\n")
    stream.close()
    keeper.wait_eof(stream)
    assert texts(path) == [b"a[redacted]c"]
    assert len(keeper.of("misconfigured")) == 3


def test_quit_writes_what_there_is_of_a_line(keeper: KeeperStandIn, path: Path) -> None:
    stream = keeper.open(path, redact=["x"])
    stream.write(b"done\nhalf")
    wait_until(lambda: log_bytes(path) == b"done\n", "the finished line")
    keeper.send({"type": "quit"})
    assert keeper.wait_end() == 0
    assert log_bytes(path) == b"done\nhalf"


def test_a_log_that_cannot_be_written_gets_every_line_once_it_can(keeper: KeeperStandIn, path: Path) -> None:
    path.parent.mkdir()
    path.mkdir()
    stream = keeper.open(path, redact=["b+"])
    stream.write(b"abc\n")
    keeper.wait_event("unwritable")
    path.rmdir()
    stream.write(b"abbc\n")
    stream.close()
    keeper.wait_eof(stream)
    assert texts(path) == [b"a[redacted]c"] * 2


def test_lines_are_treated_where_the_kernel_copies_no_pipe(tmp_path: Path, path: Path) -> None:
    script = tmp_path / "without_tee.py"
    script.write_text(
        "import runpy, sys\nsys.modules['ctypes'] = None\nsys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n",
        encoding="utf-8",
    )
    with KeeperStandIn(tmp_path, prefix=(sys.executable, str(script)), interpreter=()) as keeper:
        stream = keeper.open(path, redact=["o+"])
        code = "for n in range(20000): print('oo', n)\nprint('x' * 200_000, end='')"
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=stream.write_fd)
        stream.close()
        assert writer.wait(10) == 0
        keeper.wait_eof(stream)
        assert path.stat().st_size > 200_000
        assert texts(path) == [*[b"[redacted] %d" % n for n in range(20_000)], b"x" * 200_000]
