"""Which programs the keeper may wait for: what leads over another file system is never one of them."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.process.local_files import LocalFiles, read_mounts

LOCAL = {"/": "ext4", "/tmp": "tmpfs"}


def spec(*argv: str, **extra: Any) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": "a", "argv": argv, "cwd": "/", **extra})


def program(path: Path, text: str = "#!/bin/sh\n") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def is_local(one: ServiceSpec, elsewhere: Path | None = None, kind: str = "nfs4", path: str = "/bin") -> bool:
    mounts = LOCAL | ({} if elsewhere is None else {str(elsewhere): kind})
    files = LocalFiles({"PATH": path}, lambda: mounts)
    anyio.run(files.look, [one])
    return files.has(one, one.argv)


def test_a_program_on_this_host(tmp_path: Path) -> None:
    assert is_local(spec("sh"))
    assert is_local(spec("/bin/sh"))
    assert is_local(spec(program(tmp_path / "run")))
    assert is_local(spec("./run", cwd=str(tmp_path)))


@pytest.mark.parametrize("kind", ["nfs", "cifs", "9p", "fuse.sshfs", "autofs", "ceph", "what-comes-yet"])
def test_a_program_on_another_one(tmp_path: Path, kind: str) -> None:
    assert not is_local(spec(program(tmp_path / "far" / "run")), tmp_path / "far", kind)
    assert is_local(spec(program(tmp_path / "far" / "run")), tmp_path / "far", "xfs")


def test_a_root_that_is_elsewhere() -> None:
    files = LocalFiles({"PATH": "/bin"}, lambda: {"/": "nfs"})
    anyio.run(files.look, [spec("sh")])
    assert not files.has(spec("sh"), ("sh",))


def test_a_link_that_leads_there_and_one_that_passes(tmp_path: Path) -> None:
    far = tmp_path / "far"
    program(far / "run")
    (tmp_path / "link").symlink_to(far / "run")
    (far / "back").symlink_to("/bin/sh")
    (tmp_path / "there-and-back").symlink_to("far/../far/back")
    assert not is_local(spec(str(tmp_path / "link")), far)
    assert not is_local(spec(str(tmp_path / "there-and-back")), far)
    assert is_local(spec(str(tmp_path / "there-and-back")))


def test_a_script_whose_interpreter_is_there(tmp_path: Path) -> None:
    shell = tmp_path / "far" / "sh"
    shell.parent.mkdir()
    shell.symlink_to("/bin/sh")
    script = program(tmp_path / "run", f"#! {shell} -e\n")
    assert not is_local(spec(script), tmp_path / "far")
    assert is_local(spec(script))


def test_a_directory_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    assert not is_local(spec("/bin/sh", cwd=str(tmp_path / "far")), tmp_path / "far")


def test_a_path_that_asks_there_first(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    path = f"{tmp_path}/none:{tmp_path}/far:/bin"
    assert not is_local(spec("sh"), tmp_path / "far", path=path)
    assert is_local(spec("sh"), tmp_path / "far", path=f"/bin:{tmp_path}/far"), "it is found before"
    assert not is_local(spec("sh", env={"PATH": path}), tmp_path / "far")


def test_what_is_not_there_and_what_goes_in_circles(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "empty").write_bytes(b"#!\n")
    for name in ("no-such-program", "/no/such/program", f"{tmp_path}/circle", f"{tmp_path}/empty", "/usr"):
        assert not is_local(spec(name)), name


def test_of_what_was_never_looked_at_nothing_is_assumed() -> None:
    assert not LocalFiles({"PATH": "/bin"}).has(spec("sh"), ("sh",))


def test_a_probes_command_is_looked_at_too() -> None:
    one = spec("sh", probes={"liveness": {"check": {"type": "command", "argv": ["true"]}}})
    files = LocalFiles({"PATH": "/bin"}, lambda: LOCAL)
    anyio.run(files.look, [one])
    assert files.has(one, ("true",))
    assert not files.has(one, ("false",))


def test_a_disk_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestra_supervisor.process.local_files._PATIENCE", 0.01)
    answers = threading.Event()
    looked: list[bool] = []

    def mounts() -> dict[str, str]:
        looked.append(answers.wait(10))
        return LOCAL

    files = LocalFiles({"PATH": "/bin"}, mounts)

    async def look(then: Callable[[], None]) -> None:
        await files.look([spec("sh")])
        then()

    anyio.run(look, answers.set)  # set by nobody else: were it waited for, it would be for 10 s, and without
    assert looked in ([], [True])
    assert not files.has(spec("sh"), ("sh",))


def test_mounts_are_read_as_the_kernel_writes_them() -> None:
    text = (
        "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        "30 22 0:40 / /srv/with\\040space rw,relatime shared:1 master:2 - nfs4 host:/x rw,addr=1\n"
        "31 22 0:41 / /mnt rw - tmpfs none rw\n"
        "32 31 0:42 / /mnt rw - fuse.sshfs me@host: rw\n"
        "a line of some other form\n"
    )
    assert read_mounts(text) == {"/": "ext4", "/srv/with space": "nfs4", "/mnt": "fuse.sshfs"}
    assert "/" in read_mounts()
    assert os.path.ismount("/proc") == ("/proc" in read_mounts())
