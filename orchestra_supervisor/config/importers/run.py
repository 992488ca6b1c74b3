"""`orchestra import`: finds out what files are, rewrites them, and says what could not be carried over."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from orchestra_supervisor.config.dialect_mcp import McpDialect
from orchestra_supervisor.config.draft import Source
from orchestra_supervisor.config.files import read_text
from orchestra_supervisor.config.findings import Finding, Location, Severity
from orchestra_supervisor.config.importers.claude import import_client
from orchestra_supervisor.config.importers.compose import import_compose, is_compose
from orchestra_supervisor.config.importers.piece import Imported
from orchestra_supervisor.config.importers.procfile import import_procfile
from orchestra_supervisor.config.importers.supervisord import import_supervisord
from orchestra_supervisor.config.importers.systemd import import_units, is_unit
from orchestra_supervisor.config.importers.writer import write_native
from orchestra_supervisor.config.ini_places import is_ini
from orchestra_supervisor.config.jsonc import parse
from orchestra_supervisor.model.errors import ERROR_KINDS

__all__ = ["ImportResult", "import_files", "run_import"]


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What came of the files.

    Attributes:
        text: In the native form; empty when there are errors.
        findings: In the order of the files.
        services: How many there are.
    """

    text: str
    findings: tuple[Finding, ...]
    services: int

    def count(self, severity: Severity) -> int:
        """Return how many findings are of this severity."""
        return sum(finding.severity is severity for finding in self.findings)


def import_files(paths: Sequence[Path], environ: Mapping[str, str]) -> ImportResult:
    """Rewrite files into the native form.

    Args:
        paths: supervisord.conf, Procfile, units of systemd, docker-compose.yml, files of MCP clients.
        environ: Environment, for files whose values depend on it.
    """
    imported = Imported()
    units: list[tuple[str, Path, str]] = []
    for path in paths:
        shown_path = str(path)
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - no symlinks resolved
        text = read_text(absolute, shown_path)
        if isinstance(text, Finding):
            imported.findings.append(text)
            continue
        imported.source.append(absolute.name)
        if is_unit(absolute.name):
            units.append((text, absolute, shown_path))
        elif is_compose(text, absolute.name):
            import_compose(text, shown_path, absolute.parent, imported)
        elif absolute.name.startswith("Procfile") or absolute.suffix == ".procfile":
            import_procfile(text, shown_path, absolute.parent, imported)
        elif is_ini(text, absolute.name):
            import_supervisord(text, absolute, shown_path, environ, imported)
        else:
            _import_json(text, absolute, shown_path, imported)
    import_units(units, imported)
    has_errors = any(finding.severity is Severity.ERROR for finding in imported.findings)
    text = "" if has_errors else write_native(imported)
    return ImportResult(text, tuple(imported.findings), len(imported.services))


def _import_json(text: str, path: Path, shown_path: str, imported: Imported) -> None:
    document = parse(text, shown_path)
    source = Source(path, shown_path)
    if document.root is not None and McpDialect().detects(document.root, source):
        imported.findings += document.findings
        import_client(document.root, path, shown_path, imported)
        return
    message = "is none of the files that can be imported"
    hint = "known: supervisord.conf, Procfile, units of systemd, docker-compose.yml, files of MCP clients"
    if document.root is not None and "services" in document.root.members:
        hint = "it is read as it is: orchestra up -c FILE"
    imported.note(Severity.ERROR, "import.unknown", message, Location(shown_path), hint=hint)


def run_import(paths: Sequence[str], *, output: str | None, stream: TextIO, report: TextIO) -> int:
    """Rewrite files and write what came of it.

    Args:
        paths: The files.
        output: A file that is made, for its owner alone to write; None: the text goes to the stream.
        stream: Where the text goes.
        report: Where findings go.

    Returns:
        Exit status: 0, or 3 when a file has errors; nothing is written then.

    Raises:
        FileExistsError: The output is there already.
    """
    result = import_files([Path(path) for path in paths], os.environ)
    for finding in result.findings:
        report.write("\n".join(finding.render()) + "\n")
    if not result.text:
        report.write("nothing was written\n")
        return ERROR_KINDS["config"].exit
    if output is None:
        stream.write(result.text)
    else:
        with open(output, "x", encoding="utf-8", opener=_private) as file:
            file.write(result.text)
    number = f"{result.services} service" if result.services == 1 else f"{result.services} services"
    left = result.count(Severity.WARNING)
    where = f" in {output}; `orchestra check {output}` looks at it" if output else ""
    report.write(f"{number}{where}" + (f"; {left} to look at above" if left else "") + "\n")
    return 0


def _private(path: str, flags: int) -> int:
    """Open a file that others cannot read: environments hold what they should not see."""
    return os.open(path, flags, 0o600)
