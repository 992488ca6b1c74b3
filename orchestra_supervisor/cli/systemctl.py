"""The tools of systemd, where they are installed: their version, their judgement, and switching a unit on."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from orchestra_supervisor.cli.errors import ActionFailed

__all__ = ["ask_version", "commands_to_enable", "enable", "judge"]

_LIMIT = 10.0  # seconds; each of these answers at once, or hangs
_ENABLE_LIMIT = 900.0  # seconds; a start waits until the fleet is ready
_ANSWERS = ("running", "degraded", "starting", "initializing", "maintenance")
_OLD_ENOUGH = 252  # where no tool is there to ask: what older and newer ones understand


def ask_version() -> int:
    """Return the version of the systemd that is installed here."""
    for tool in ("systemctl", "systemd-analyze"):
        found = re.match(r"systemd (\d+)", _ask(tool, "--version"))
        if found:
            return int(found[1])
    return _OLD_ENOUGH


def judge(name: str, text: str, *, is_user: bool) -> str:
    """Return what `systemd-analyze security` says of a unit in short; empty where it cannot be asked."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"{name}.service"
        file.write_text(text, encoding="utf-8")
        scope = ["--user"] if is_user else []
        said = _ask("systemd-analyze", *scope, "security", "--offline=true", "--no-pager", str(file))
    found = re.search(r"exposure level for \S+ (\d+\.\d) (\w+)", said)
    return f"{found[1]} {found[2]}" if found else ""


def commands_to_enable(unit: str, *, is_user: bool) -> list[list[str]]:
    """Return the commands that make a manager know, keep and start a unit."""
    systemctl = ["systemctl", *(["--user"] if is_user else [])]
    return [[*systemctl, "daemon-reload"], [*systemctl, "enable", unit], [*systemctl, "start", unit]]


def enable(unit: str, *, is_user: bool) -> None:
    """Carry these commands out.

    Raises:
        ActionFailed: No manager answers, or one of them fails.
    """
    commands = commands_to_enable(unit, is_user=is_user)
    if _ask(*commands[0][:-1], "is-system-running").strip() not in _ANSWERS:
        raise ActionFailed(
            "the unit is installed and not enabled: no systemd manager answers here",
            hint="leave out --enable, and run the commands where one does",
        )
    for command in commands:
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=_ENABLE_LIMIT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ActionFailed(f"`{' '.join(command)}`: {error}") from error
        if done.returncode:
            raise ActionFailed(
                f"`{' '.join(command)}` failed with status {done.returncode}",
                hint=f"systemctl status {unit}, journalctl -u {unit}",
            )


def _ask(tool: str, *words: str) -> str:
    if shutil.which(tool) is None:
        return ""
    try:
        done = subprocess.run(
            [tool, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
