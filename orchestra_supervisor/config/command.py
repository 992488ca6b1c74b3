"""`orchestra check`: the findings as text or JSON."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from orchestra_supervisor.config.check import CheckReport, check
from orchestra_supervisor.config.findings import Severity
from orchestra_supervisor.config.load import default_files

__all__ = ["run_check"]


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


def _summary(report: CheckReport) -> str:
    words = ((Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.INFO, "note"))
    counts = [_counted(n, word) for severity, word in words if (n := report.count(severity))]
    read = f"{_counted(report.services, 'service')} in {_counted(len(report.files), 'file')}"
    return f"{', '.join(counts) or 'nothing to report'}; {read}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
