"""Control groups of a test's own, below the machine's roots, where those may be written."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.process.keeper_driver import wait_until

__all__ = ["groups_of", "made_group", "root_of"]


def root_of(kind: str) -> Path | None:
    """Return where groups of a kind (`v2`, or a controller of version 1) can be made, or None."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        point, (filesystem, _, options) = Path(fields[4]), fields[fields.index("-") + 1 :][:3]
        wanted = filesystem == "cgroup2" if kind == "v2" else kind in options.split(",")
        if filesystem.startswith("cgroup") and wanted and os.access(point, os.W_OK):
            return point
    return None


@contextmanager
def made_group(kind: str) -> Iterator[Path]:
    """Make an empty group, and remove it with all that is empty below it."""
    root = root_of(kind)
    assert root is not None, f"asked for a {kind} group where there is none to be had"
    base = root / f"orchestra-test-{uuid.uuid4().hex[:12]}"
    base.mkdir()
    try:
        yield base
    finally:
        wait_until(lambda: _removed(base), f"{base} can be removed: nobody is in it")


def groups_of(pid: int) -> str:
    """Return which groups a process is in, as the kernel writes it."""
    return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")


def _removed(base: Path) -> bool:
    for directory, _, _ in os.walk(base, topdown=False):
        with suppress(OSError):
            Path(directory).rmdir()
    return not base.exists()
