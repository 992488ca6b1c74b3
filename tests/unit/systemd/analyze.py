"""`systemd-analyze`, which needs no manager for what is asked of it here."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["exposure", "needs_analyze", "verify"]

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


def verify(folder: Path, files: dict[str, str], *, is_user: bool = False) -> str:
    """Return what systemd has to say against unit files; empty when they are clean."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    scope = ["--user"] if is_user else []
    done = _run(folder, *scope, "verify", "--man=no", *(str(folder / name) for name in files))
    return done.stderr + (f"status {done.returncode}" if done.returncode else "")


def exposure(folder: Path, name: str, text: str) -> float:
    """Return how exposed a unit is, 0 to 10."""
    (folder / name).write_text(text, encoding="utf-8")
    done = _run(folder, "security", "--offline=true", "--no-pager", str(folder / name))
    found = re.search(r"exposure level for \S+ (\d+\.\d)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)},
        timeout=50,
        check=False,
    )
