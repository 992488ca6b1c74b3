from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.logfile.streams import TRUNCATED
from orchestra_supervisor.model.log import LogFileSpec, LogSpec
from orchestra_supervisor.model.supervisord import OutputSpec, SupervisorName
from orchestra_supervisor.surfaces.xmlrpc.faults import RpcFault
from orchestra_supervisor.surfaces.xmlrpc.log_source import LogSource, named_files, source_of
from orchestra_supervisor.surfaces.xmlrpc.logs import READ_LIMIT, Logs, cut_short, read_part
from tests.unit.logfile.log_builder import LogBuilder
from tests.unit.surfaces.api_desk import service

pytestmark = pytest.mark.anyio


def log_path(name: str) -> Path:
    return Path("/logs") / name


def told(stdout: str | None, stderr: str | None, *, merged: bool = False) -> SupervisorName:
    return SupervisorName(
        group="web",
        process="web",
        redirect_stderr=merged,
        stdout=OutputSpec(logfile=stdout),
        stderr=OutputSpec(logfile=stderr),
    )


def test_a_stream_is_read_where_the_user_has_it_written_else_in_our_log() -> None:
    files = LogSpec(files=(LogFileSpec(path="/x.out", stream="stdout"), LogFileSpec(path="/copy")))
    own = str(log_path("web"))
    cases = {
        "native": (service("web"), LogSource(own, "stdout"), LogSource(own, "stderr")),
        "auto": (
            service("web", supervisor=told("auto", "auto")),
            LogSource(own, "stdout"),
            LogSource(own, "stderr"),
        ),
        "merged": (
            service("web", supervisor=told("auto", "auto", merged=True)),
            LogSource(own, "both"),
            LogSource(""),
        ),
        "none": (service("web", supervisor=told(None, None)), LogSource(""), LogSource("")),
        "named": (
            service("web", supervisor=told("/x.out", "/dev/stderr"), log=files),
            LogSource("/x.out", own=own),
            LogSource(own, "stderr"),
        ),
    }
    for name, (spec, stdout, stderr) in cases.items():
        assert source_of(spec, "stdout", log_path) == stdout, name
        assert source_of(spec, "stderr", log_path) == stderr, name
    assert named_files(cases["named"][0]) == ("/x.out",)
    assert named_files(cases["native"][0]) == ()


async def test_a_named_file_is_empty_once_there_was_a_run_and_missing_before(tmp_path: Path) -> None:
    logs = Logs()
    source = LogSource(str(tmp_path / "x.out"), own=str(tmp_path / "web.log"))
    assert (source.exists, await logs.of(source, lambda log: log.size)) == (False, None)
    (tmp_path / "web.log").touch()
    assert (source.exists, await logs.of(source, lambda log: log.size)) == (True, 0)
    (tmp_path / "x.out").write_bytes(b"text")
    assert await logs.of(source, lambda log: read_part(log, -3, 0)) == b"ext"


async def test_a_reading_that_would_take_too_much_is_refused(tmp_path: Path) -> None:
    logs = Logs()
    with (tmp_path / "x.out").open("wb") as file:
        file.truncate(READ_LIMIT + 1)
    source = LogSource(str(tmp_path / "x.out"))
    with pytest.raises(RpcFault, match=r"FAILED: .* read them in parts"):
        await logs.of(source, lambda log: read_part(log, 0, 0))
    part = await logs.of(source, lambda log: read_part(log, 0, READ_LIMIT))
    assert part is not None
    assert len(part) == READ_LIMIT


async def test_logs_are_held_open_for_the_next_reading_and_let_go_of(tmp_path: Path) -> None:
    logs = Logs()
    log = LogBuilder(tmp_path / "web.log")
    source = LogSource(str(tmp_path / "web.log"), "stdout")
    for number in range(3):
        log.write("stdout", 1, b"out\n")
        log.write("stderr", 1, b"err\n")
        assert await logs.of(source, lambda one: read_part(one, 0, 0)) == b"out\n" * (number + 1)
    log.rotate(packed=False)
    log.write("stdout", 1, b"new\n")
    assert await logs.of(source, lambda one: read_part(one, 0, 0)) == b"new\n"
    logs.close()
    assert await logs.of(source, lambda one: read_part(one, 0, 0)) == b"new\n"
    logs.close()


async def next_of(pieces: AsyncGenerator[bytes]) -> bytes:
    with anyio.fail_after(5):
        return await anext(pieces)


async def test_a_tail_of_a_file_goes_on_over_rotation_and_truncation(tmp_path: Path) -> None:
    path = tmp_path / "x.out"
    path.write_bytes(b"x" * 2000 + b"end")
    async with aclosing(Logs().tail(LogSource(str(path)))) as pieces:
        assert await next_of(pieces) == b"x" * 1021 + b"end"
        with path.open("ab") as file:
            file.write(b"more")
        assert await next_of(pieces) == b"more"
        assert cut_short(path)
        assert await next_of(pieces) == TRUNCATED
        path.rename(tmp_path / "x.out.1")
        path.write_bytes(b"another")
        assert await next_of(pieces) == b"another"
    assert not cut_short(tmp_path / "nothing")
