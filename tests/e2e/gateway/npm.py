"""Programs of npm for tests: installed once, at fixed versions, into a folder that is not committed."""

import fcntl
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

__all__ = ["npm_folder"]

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "npm"
INSTALL_TIME = 100.0
"""Seconds after which a registry counts as one that does not answer."""
_GIVEN_UP = 600.0  # seconds for which nobody else tries what could not be had


def npm_folder(name: str, packages: dict[str, str]) -> Path:
    """Return a folder with these packages in its `node_modules`; skips the test where they cannot be had.

    Args:
        name: Of the folder.
        packages: Version by name.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed here")
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other tests may want it at the same time
        wanted = json.dumps(packages)
        done, failed = folder / "installed.json", folder / "failed"
        if failed.exists() and time.time() - failed.stat().st_mtime < _GIVEN_UP:
            pytest.skip(failed.read_text(encoding="utf-8"))
        if not done.exists() or done.read_text(encoding="utf-8") != wanted:
            done.unlink(missing_ok=True)
            (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
            words = [f"{package}@{version}" for package, version in packages.items()]
            command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error", *words]
            try:
                result = subprocess.run(
                    command,
                    cwd=folder,
                    capture_output=True,
                    encoding="utf-8",
                    timeout=INSTALL_TIME,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                fault = f"within {INSTALL_TIME:g} s"
            else:
                fault = f": {result.stderr.strip()[-500:]}" if result.returncode else ""
            if fault:
                failed.write_text(f"npm did not install {', '.join(words)} {fault}", encoding="utf-8")
                pytest.skip(failed.read_text(encoding="utf-8"))
            done.write_text(wanted, encoding="utf-8")
    return folder
