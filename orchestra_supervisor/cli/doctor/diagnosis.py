"""All checks in their order, each of which ends well whatever happens to it."""

from collections.abc import Callable, Iterable
from pathlib import Path

from orchestra_supervisor.cli.doctor.fleet import fleet_checks, look
from orchestra_supervisor.cli.doctor.host import host_checks
from orchestra_supervisor.cli.doctor.verdict import Check, Verdict

__all__ = ["diagnose"]


def diagnose(home: Path, directory: Path) -> list[Verdict]:
    """Look at a host and a home.

    Args:
        home: State directory; it need not exist.
        directory: Where the configuration files are, while no fleet has been applied.

    Returns:
        The verdicts, in the order of the page.
    """
    sight = look(home)
    return [*_made(host_checks(home, sight)), *_made(fleet_checks(home, directory, sight))]


def _made(checks: Iterable[tuple[str, Check]]) -> list[Verdict]:
    found: list[Verdict] = []
    for subject, check in checks:
        found += _safely(subject, check)
    return found


def _safely(subject: str, check: Callable[[], list[Verdict]]) -> list[Verdict]:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - one check that cannot be made must not hide the others
        text = f"this could not be looked at: {type(error).__name__}: {error}"
        return [Verdict(subject, "warn", text, "the other lines hold all the same")]
