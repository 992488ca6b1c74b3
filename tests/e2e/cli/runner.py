"""Running the real CLI in a process of its own, as a user does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 20.0


def environment(**extra: str) -> dict[str, str]:
    """Return an environment without anything of the tester's own that changes output."""
    env = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    env |= {
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "100",
        "TZ": "UTC",
        "PYTHONUTF8": "1",
        "TERM": "xterm-256color",
    }
    return env | extra


def argv(*words: str) -> list[str]:
    """Return the command line of the CLI."""
    return [sys.executable, "-P", "-m", "orchestra_supervisor", *words]


def orchestra(*words: str, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        argv(*words),
        cwd=cwd,
        env=environment(**extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )
