"""`orchestra check`: the findings as text or JSON."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from orchestra_supervisor.config.check import CheckReport, check
from orchestra_supervisor.config.findings import Category, Severity
from orchestra_supervisor.config.load import default_files
from orchestra_supervisor.model.errors import ERROR_KINDS

__all__ = ["run_check", "run_check_for_up"]


def run_check(paths: Sequence[str], *, as_json: bool, preflight: bool, stream: TextIO) -> int:
    """Check files and write what was found.

    Args:
        paths: Files; none: those that a bare `orchestra up` reads here.
        as_json: One JSON object instead of lines.
        preflight: Also look at this host.
        stream: Where the result goes.

    Returns:
        Exit status: 0, or 3 when there are errors.
    """
    files = [Path(path) for path in paths] or [Path(path.name) for path in default_files(Path.cwd())]
    report = check(files, environ=os.environ, preflight=preflight)
    if as_json:
        json.dump(report.to_dict(), stream, indent=2, ensure_ascii=False)
        stream.write("\n")
    else:
        for finding in report.findings:
            stream.write("\n".join(finding.render()) + "\n")
        stream.write(_summary(report) + "\n")
    return report.exit_status


def run_check_for_up(paths: Sequence[str], *, stream: TextIO) -> int:
    """Check files before a start, and write what a person must know now.

    A fault of the files forbids the start. What this host lacks for one service (its port is taken, its
    program is missing) is said and does not keep the others from starting.

    Args:
        paths: The files.
        stream: Where the errors go; nothing is written where there are none.

    Returns:
        Exit status: 0, or 3 when the files have errors.
    """
    report = check([Path(path) for path in paths], environ=os.environ, preflight=True)
    refused = [one for one in report.findings if one.severity is Severity.ERROR]
    if any(one.category is not Category.PREFLIGHT for one in refused):
        refused = [one for one in refused if one.category is not Category.PREFLIGHT]
    for finding in refused:
        stream.write("\n".join(finding.render()) + "\n")
    warnings = report.count(Severity.WARNING)
    if warnings:
        stream.write(f"{_counted(warnings, 'warning')}: `orchestra check` shows them\n")
    return ERROR_KINDS["config"].exit if report.fleet is None else 0


def _summary(report: CheckReport) -> str:
    words = ((Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.INFO, "note"))
    counts = [_counted(n, word) for severity, word in words if (n := report.count(severity))]
    read = f"{_counted(report.services, 'service')} in {_counted(len(report.files), 'file')}"
    return f"{', '.join(counts) or 'nothing to report'}; {read}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
