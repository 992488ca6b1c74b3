"""Files in, one validated fleet out, with everything there is to say about them.

The steps: read each file and the ones it includes; find its dialect; rewrite it into the native form;
fill in variables and check; merge; compare. No step stops at the first fault: all files are
gone through, so that one look shows everything. A fleet with errors must not be started.
"""

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestra_supervisor.config.backend_services import read_backends, with_services
from orchestra_supervisor.config.backends import check_settings, resolve_mcp
from orchestra_supervisor.config.candidates import to_candidates
from orchestra_supervisor.config.dependencies import check_dependencies
from orchestra_supervisor.config.dialect_plugin import read_with_plugins
from orchestra_supervisor.config.dialects import detect
from orchestra_supervisor.config.draft import Origin, Reading, Source
from orchestra_supervisor.config.drift import find_drift
from orchestra_supervisor.config.file_scope import FileScope
from orchestra_supervisor.config.files import read_text
from orchestra_supervisor.config.findings import Finding, Findings, Location, Severity, shown
from orchestra_supervisor.config.ini_places import is_ini
from orchestra_supervisor.config.jsonc import Node, parse
from orchestra_supervisor.config.merge import Candidate, merge
from orchestra_supervisor.config.plugin_source import LazyPlugins
from orchestra_supervisor.config.replicas import check_ports, once_a_group, spread_dependencies
from orchestra_supervisor.config.resolve import resolve_head
from orchestra_supervisor.config.settings import check_exit, merge_settings
from orchestra_supervisor.config.templates import lay_templates
from orchestra_supervisor.model.errors import ConfigError
from orchestra_supervisor.model.replicas import GroupSpec
from orchestra_supervisor.model.spec import Fleet
from orchestra_supervisor.plugin_api.offers import PluginSource

__all__ = ["DEFAULT_FILES", "LoadResult", "Sources", "default_files", "in_order", "load_fleet"]

DEFAULT_FILES = (
    "orchestra.json",
    "orchestra_supervisor_config.json",
    "orchestra_autostart.json",
    "claude_mcp_config.json",
)
"""What a bare `orchestra up` reads of a folder, all that are there, the most believed first."""

MAX_FILES = 1_000
"""Files of one fleet, included ones counted: a stop for a glob that says too much."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the parts of a fleet were written.

    Attributes:
        files: Every configuration file that was read, included ones too, absolute.
        shown: The same files as they were given.
        candidates: The description that holds, for each service.
        origins: The head of each file, the most believed first.
        read: Further files that were read or looked for: env files, absolute.
        globs: Patterns of included files, absolute.
    """

    files: tuple[Path, ...] = ()
    shown: tuple[str, ...] = ()
    candidates: Mapping[str, Candidate] = field(default_factory=dict[str, Candidate])
    origins: tuple[Origin, ...] = ()
    read: tuple[Path, ...] = ()
    globs: tuple[str, ...] = ()

    def where(self, service: str, *path: str | int) -> Location:
        """Return the place of a service, or of one of its values by its native key."""
        candidate = self.candidates.get(service)
        return candidate.where(*path) if candidate else Location("")

    def field(self, service: str, *path: str | int) -> str:
        """Return the key that the user wrote for a native one."""
        candidate = self.candidates.get(service)
        return candidate.draft.origin.named(path) if candidate else ".".join(map(str, path))

    def setting(self, *keys: str | int) -> Location:
        """Return the place of a fleet-wide setting or of a part of it, or of nothing."""
        path = ("settings", *keys)
        return next((origin.where(path) for origin in self.origins if origin.has(path)), Location(""))


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a set of files comes to.

    Attributes:
        fleet: All services without faults. Not to be applied when there are errors.
        findings: In the order of files and lines.
        sources: Where each part was written.
    """

    fleet: Fleet
    findings: tuple[Finding, ...]
    sources: Sources

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return the findings that forbid to apply the fleet."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.ERROR)

    def raise_for_errors(self) -> None:
        """Raise when the files must not be used.

        Raises:
            ConfigError: The first error; its context counts the others and holds them all.
        """
        errors = self.errors
        if not errors:
            return
        first = errors[0]
        place = f"{first.where[0]}: " if first.where else ""
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ConfigError(
            f"{place}{first.message}{more}",
            hint=first.hint or "orchestra check shows all findings",
            path=first.where[0].path if first.where else "",
            line=first.where[0].line if first.where else 0,
            pointer=first.field,
            errors=[error.to_dict() for error in errors[:50]],
            count=len(errors),
        )


def default_files(directory: Path) -> list[Path]:
    """Return the files that a bare `orchestra up` reads.

    Args:
        directory: Where it was called.

    Returns:
        Those of DEFAULT_FILES that are there, in that order.
    """
    return [path for name in DEFAULT_FILES if (path := directory / name).is_file()]


def load_fleet(
    paths: Sequence[Path],
    *,
    environ: Mapping[str, str],
    plugins: PluginSource | None = None,
    live: Mapping[str, GroupSpec] | None = None,
) -> LoadResult:
    """Read a fleet.

    Args:
        paths: Configuration files of any dialect, in order.
        environ: Environment of the supervisor: the weakest layer of variables.
        plugins: Loads the plugins of the fleet where a file is in none of the built-in dialects.
        live: Groups of the fleet that runs, whose numbers hold until the files say others.

    Returns:
        The fleet and all findings. Faults do not raise; see `LoadResult.raise_for_errors`.
    """
    findings = Findings()
    intake = _Intake(environ, findings)
    if not paths:
        findings.add(
            Finding(
                Severity.ERROR,
                "file.none",
                "no configuration file was given or found",
                hint=f"looked for {', '.join(DEFAULT_FILES)}; name one with -c FILE",
            )
        )
    for path in paths:
        intake.take(path, str(path))
    intake.ask_plugins(plugins or LazyPlugins())
    scopes = sorted(intake.scopes, key=lambda scope: scope.reading.rank)
    read = read_backends(scopes, environ, findings)
    scopes, backends = with_services(scopes, read, intake.names, findings)
    merged = merge(to_candidates(scopes, live or {}, findings))
    services = spread_dependencies(merged.services, merged.groups)
    check_ports(services, findings)
    find_drift(services, merged.unused, findings)
    check_dependencies(services, intake.names, findings)
    settings = merge_settings(scopes, findings)
    readings = [scope.reading for scope in scopes]
    mcp = resolve_mcp(readings, backends, services, merged.groups, findings)
    check_settings(settings.mcp, mcp, scopes, findings)
    check_exit(settings, {*services, *merged.groups}, scopes, findings)
    fleet = Fleet(
        services={name: candidate.spec for name, candidate in services.items()},
        groups=merged.groups,
        settings=settings,
        mcp=mcp,
        files=tuple(os.path.abspath(path) for path in paths),  # noqa: PTH100 - no symlinks resolved
    )
    origins = tuple(scope.reading.origin for scope in scopes)
    sources = Sources(
        files=tuple(intake.files),
        shown=tuple(intake.shown),
        candidates=services,
        origins=origins,
        read=tuple(dict.fromkeys(findings.read)),
        globs=tuple(intake.globs),
    )
    ordered = in_order(once_a_group(findings.items, services), intake.shown)
    return LoadResult(fleet, ordered, sources)


def in_order(findings: Sequence[Finding], files: Sequence[str]) -> tuple[Finding, ...]:
    """Sort findings by file, line and column; those without a place first.

    Args:
        findings: In any order.
        files: Names of the files in the order they were read.
    """
    order = {name: index for index, name in enumerate(files)}

    def key(finding: Finding) -> tuple[int, int, int]:
        if not finding.where:
            return (-1, 0, 0)
        place = finding.where[0]
        return (order.get(place.path, len(order)), place.line, place.column)

    return tuple(sorted(findings, key=key))


class _Intake:
    """Reads files and the files they include, each once."""

    def __init__(self, environ: Mapping[str, str], findings: Findings) -> None:
        self._environ = environ
        self._findings = findings
        self.files: list[Path] = []
        self.shown: list[str] = []
        self.scopes: list[FileScope] = []
        self.names: set[str] = set()
        self.globs: list[str] = []
        self._unclaimed: list[tuple[Node, Source, Finding]] = []

    def take(self, path: Path, shown_path: str) -> None:
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - no symlinks resolved
        if any(_is_same(absolute, known) for known in self.files):
            return
        if len(self.files) >= MAX_FILES:
            if len(self.files) == MAX_FILES:
                message = f"more than {MAX_FILES} configuration files"
                hint = "does an `include` say too much?"
                self._findings.add(Finding(Severity.ERROR, "file.too_many", message, hint=hint))
                self.files.append(absolute)
            return
        self.files.append(absolute)
        self.shown.append(shown_path)
        text = read_text(absolute, shown_path)
        if isinstance(text, Finding):
            self._findings.add(text)
            return
        if is_ini(text, absolute.name):
            self._take_ini(text, Source(absolute, shown_path))
            return
        document = parse(text, shown_path)
        self._findings.extend(document.findings)
        # The tree knows its document. Both ways they would keep each other until the collector comes by, and
        # all that is made until then would find no room where they were.
        root, document.root = document.root, None
        if root is None:
            return
        source = Source(absolute, shown_path)
        dialect = detect(root, source)
        if isinstance(dialect, Finding):
            self._unclaimed.append((root, source, dialect))
            return
        self._use(dialect.read(root, source))

    def _take_ini(self, text: str, source: Source) -> None:
        """Take a file of supervisord and those that it includes, which are read as a part of it."""
        # Their parser is 1 MB that a fleet without such files does not pay.
        from orchestra_supervisor.config.dialect_supervisord import read_supervisord  # noqa: PLC0415

        found = read_supervisord(text, source, self._environ, read_text)
        self.files += [path for path, _ in found.included]
        self.shown += [name for _, name in found.included]
        self.globs += found.globs
        self._use(found.reading)

    def ask_plugins(self, loader: PluginSource) -> None:
        """Give the files that no built-in dialect takes to those of plugins, which other files name."""
        while self._unclaimed:
            unclaimed, self._unclaimed = self._unclaimed, []
            settings = merge_settings(sorted(self.scopes, key=lambda one: one.reading.rank), Findings())
            loaded = loader.load_wanted(settings.plugins, entry_points=settings.plugin_entry_points)
            plugins = [one for one in loaded if one.fault is None]
            for root, source, refusal in unclaimed:
                reading = read_with_plugins(root, source, plugins)
                if isinstance(reading, Reading):
                    self._use(reading)
                else:
                    self._findings.add(reading or refusal)

    def _use(self, reading: Reading) -> None:
        self._findings.extend(reading.findings)
        self.names.update(draft.name for draft in reading.services)
        reading = lay_templates(reading, self._findings)
        scope = resolve_head(reading, self._environ, self._findings)
        self.scopes.append(scope)
        for index, pattern in enumerate(scope.head.include or ()):
            self._include(pattern, reading, index)

    def _include(self, pattern: str, reading: Reading, index: int) -> None:
        source = reading.source
        names = [pattern]
        if any(char in pattern for char in "*?["):
            self.globs.append(os.path.abspath(source.directory / pattern))  # noqa: PTH100 - no symlinks resolved
            found = glob.glob(pattern, root_dir=source.directory, recursive=True)  # noqa: PTH207 - takes any text
            names = sorted(name for name in found if (source.directory / name).is_file())
        for name in names:
            self.take(source.directory / name, os.path.join(os.path.dirname(source.shown), name))  # noqa: PTH118, PTH120 - the user's form
        if not names:
            place = reading.origin.where(("include", index))
            message = f"include {shown(pattern)!r} matches no file"
            self._findings.add(Finding(Severity.INFO, "include.empty", message, (place,), "include"))


def _is_same(first: Path, second: Path) -> bool:
    try:
        return first == second or first.samefile(second)
    except OSError:
        return False
