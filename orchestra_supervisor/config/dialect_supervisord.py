"""`supervisord.conf`: programs, groups, listeners and servers, as supervisord itself reads them.

Values are those of the `supervisor` package's own parser; places are ours (`ini_places`). What has no
counterpart here is said with its file and line. docs/from-supervisord.md has every option.
"""

import configparser
import glob
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestra_supervisor.config.draft import Origin, Reading, ServiceDraft, Source
from orchestra_supervisor.config.findings import Finding, Location, Severity, masked, shown
from orchestra_supervisor.config.ini_places import IniPlaces, to_lines
from orchestra_supervisor.config.judge import unknown_key
from orchestra_supervisor.config.supervisord_groups import BadValue, Group
from orchestra_supervisor.config.supervisord_head import Head, read_head
from orchestra_supervisor.config.supervisord_native import in_start_order, service_body, service_name
from orchestra_supervisor.config.supervisord_options import DEFAULT_HANDLER, KNOWN, kind_of
from orchestra_supervisor.config.supervisord_package import PackageReader

__all__ = ["SupervisordReading", "read_supervisord"]

_RANK = 1
_UNSET_NAME = re.compile(r"contains names \('([^']*)'\)")
_SUFFIX = re.compile(r" in section '[^']*' \(file: .*\)$")


@dataclass(slots=True)
class SupervisordReading:
    """What came of one file and those that it includes.

    Attributes:
        reading: In the native form.
        included: Files that were included, absolute, with their names as shown.
        globs: Patterns of included files, absolute.
    """

    reading: Reading
    included: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    globs: list[str] = field(default_factory=list[str])


def read_supervisord(
    text: str, source: Source, environ: Mapping[str, str], read: Callable[[Path, str], str | Finding]
) -> SupervisordReading:
    """Rewrite a file into the native form.

    Args:
        text: Of the main file.
        source: The main file.
        environ: Environment of the supervisor, for %(ENV_x)s.
        read: Reads a further file, by its path and the name it is shown by.
    """
    return _Reader(source, environ, read).read(text)


class _Reader:
    def __init__(
        self, source: Source, environ: Mapping[str, str], read: Callable[[Path, str], str | Finding]
    ) -> None:
        self._source = source
        self._read = read
        self._places = IniPlaces(source.shown)
        self._package = PackageReader(source.path, environ)
        self._findings: list[Finding] = []
        self._included: list[tuple[Path, str]] = []
        self._globs: list[str] = []

    def read(self, text: str) -> SupervisordReading:
        services: tuple[ServiceDraft, ...] = ()
        head = Head()
        if self._take(text, self._source.shown) and self._include():
            self._look_at_names()
            head = read_head(self._package, self._places, self._source, self._note, self._refuse)
            services = self._services(head)
        self._findings += self._places.findings
        reading = Reading(
            self._source,
            "supervisord",
            _RANK,
            Origin(self._source, self._places.root, head.aliases),
            services=services,
            head=head.body,
            findings=tuple(self._findings),
        )
        return SupervisordReading(reading, self._included, self._globs)

    # Files.

    def _take(self, text: str, shown_path: str) -> bool:
        """Read one file; False: it is none of this form."""
        text = to_lines(text)
        try:
            self._package.read(text, shown_path)
        except configparser.MissingSectionHeaderError as error:
            message = "a line before the first section"
            hint = "begin with [supervisord], or with [program:NAME]"
            self._add(Severity.ERROR, "ini.syntax", message, Location(shown_path, error.lineno, 1), hint)
            return False
        except configparser.ParsingError as error:
            hint = "lines are `key = value`, [section], a comment after `;`, or an indented continuation"
            for line, _ in error.errors:
                message = "neither a section, nor an option with a value"
                self._add(Severity.ERROR, "ini.syntax", message, Location(shown_path, line, 1), hint)
            return False
        except configparser.Error as error:
            self._add(Severity.ERROR, "ini.syntax", shown(str(error)), Location(shown_path))
            return False
        self._places.add(text, shown_path)
        return True

    def _include(self) -> bool:
        try:
            patterns = self._package.include_patterns()
        except BadValue as error:
            self._refuse(error)
            return False
        is_whole = True
        for pattern in patterns:
            path = os.path.join(self._source.directory, pattern)  # noqa: PTH118 - takes any text
            if glob.has_magic(pattern):
                self._globs.append(path)
            found = sorted(glob.glob(path))  # noqa: PTH207 - likewise
            if not found:
                message = f"include {shown(pattern)!r} matches no file"
                self._note(Severity.INFO, "include.empty", "include", "files", message)
            for name in found:
                is_whole &= self._include_file(Path(name))
        return is_whole

    def _include_file(self, path: Path) -> bool:
        shown_path = os.path.relpath(path, self._source.directory)
        if shown_path.startswith(".."):
            shown_path = str(path)
        shown_path = os.path.join(os.path.dirname(self._source.shown), shown_path)  # noqa: PTH118, PTH120 - the user's form
        self._included.append((path, shown_path))
        text = self._read(path, shown_path)
        if isinstance(text, Finding):
            self._findings.append(text)
            return False
        if not self._take(text, shown_path):
            return False
        self._package.expand_here(path.parent)
        return True

    # Names.

    def _look_at_names(self) -> None:
        """Say which sections and options mean nothing to supervisord, which says nothing of them itself."""
        for section in self._package.sections:
            place = self._places.where(section)
            kind = kind_of(section)
            if kind is None:
                self._findings.append(
                    unknown_key(section, KNOWN, place, subject="the file", severity=Severity.WARNING)
                )
                continue
            known, subject = KNOWN[kind], f"[{section}]"
            for option, node in self._places.section(section).members.items():
                if known and option not in known:
                    self._findings.append(
                        unknown_key(
                            option, known, node.key_location, subject=subject, severity=Severity.WARNING
                        )
                    )

    # Services.

    def _services(self, head: Head) -> tuple[ServiceDraft, ...]:
        groups = self._groups()
        for text in self._package.warnings:
            self._package_warning(text)
        drafts: list[ServiceDraft] = []
        taken: set[str] = set()
        for group, process, priority in in_start_order(groups):
            section = process.section

            def note(
                severity: Severity, code: str, option: str, message: str, hint: str, section: str = section
            ) -> None:
                self._note(severity, code, section, option, message, hint)

            try:
                service = service_body(group, process, priority, head.around, note)
            except BadValue as error:
                self._refuse(error)
                continue
            name = service_name(group.name, process.name, taken)
            taken.add(name)
            node = self._places.section(section)
            origin = Origin(Source(self._source.path, node.document.path), node, service.aliases)
            drafts.append(ServiceDraft(name, service.body, origin))
        self._look_at_programs(groups)
        return tuple(drafts)

    def _groups(self) -> list[Group]:
        found: list[Group] = []
        for section in self._package.group_sections():
            try:
                found.append(self._package.group(section))
            except BadValue as error:
                self._refuse(error)
        groups: dict[str, Group] = {}
        for group in sorted(found, key=lambda one: (one.priority, one.name)):
            first = groups.setdefault(group.name, group)
            if first is not group:
                message = f"its name is that of [{first.section}], which alone is run; so does supervisord"
                self._note(
                    Severity.WARNING, "supervisord.group_twice", group.section, "", message, "rename one"
                )
        return list(groups.values())

    def _look_at_programs(self, groups: list[Group]) -> None:
        """Say, once for each program, what holds otherwise than it is written."""
        said: set[str] = set()
        for group in groups:
            if group.kind == "eventlistener" and group.result_handler != DEFAULT_HANDLER:
                message = "is not loaded: RESULT 2 with OK takes an event, any other answer refuses it"
                code = "supervisord.result_handler"
                self._note(Severity.WARNING, code, group.section, "result_handler", message)
            for process in group.processes:
                section, written = process.section, self._places.section(process.section).members
                if section in said:
                    continue
                said.add(section)
                if "killasgroup" in written and not process.params["killasgroup"]:
                    message = (
                        "is not held to: SIGKILL reaches all processes of a run, so that nothing is left"
                    )
                    self._note(Severity.INFO, "supervisord.killasgroup", section, "killasgroup", message)
                if process.params["redirect_stderr"] and "stderr_logfile" in written:
                    message = "means nothing beside redirect_stderr=true"
                    self._note(Severity.WARNING, "supervisord.unused", section, "stderr_logfile", message)
                if section.startswith("fcgi-program:") and group.socket is None:
                    message = "a [group:x] starts it without its socket; so does supervisord"
                    self._note(Severity.WARNING, "supervisord.no_socket", section, "socket", message)

    # Findings.

    def _add(self, severity: Severity, code: str, message: str, place: Location, hint: str = "") -> None:
        self._findings.append(Finding(severity, code, message, (place,), hint=hint))

    def _note(
        self, severity: Severity, code: str, section: str, option: str, message: str, hint: str = ""
    ) -> None:
        place = self._places.where(section, option)
        subject = f"[{section}] `{option}`" if option else f"[{section}]"
        finding = Finding(severity, code, f"{subject}: {message}", (place,), option, hint=hint)
        self._findings.append(finding)

    def _package_warning(self, text: str) -> None:
        match = re.match(r"For \[([^\]]+)\], (?:AUTO logging used for )?(\w+)", text)
        section, option = match.groups() if match else ("supervisord", "")
        if "redirect_stderr" not in text:  # that is said with more words
            self._note(Severity.WARNING, "supervisord.warning", section, option, shown(text))

    def _refuse(self, error: BadValue) -> None:
        text = _SUFFIX.sub("", error.text)
        unset = _UNSET_NAME.search(text)
        if unset is not None:
            text = f"uses %({unset[1]})s, which is not set"
            hint = f"set {unset[1].removeprefix('ENV_')}" if unset[1].startswith("ENV_") else ""
            hint = hint or "known: %(here)s, %(program_name)s, %(group_name)s, %(process_num)d, %(ENV_NAME)s"
        elif "badly formatted" in text:
            text, hint = "holds a percent sign that begins no %(name)s", "write %% for a percent sign"
        else:
            hint = next((hint for word, hint in _HINTS if word in text), _WAY_OUT)
        self._note(Severity.ERROR, "value.invalid", error.section, error.option, shown(masked(text)), hint)


_WAY_OUT = "docs/from-supervisord.md says what each option takes"
_HINTS = (
    ("boolean", "write true or false"),
    ("invalid literal for int", "write a whole number"),
    ("octal", 'write digits from 0 to 7, as "022"'),
    ("process_num", "for example process_name=%(program_name)s_%(process_num)02d"),
    ("signal", "write the name of a signal, as TERM"),
    ("autorestart", "write true, false or unexpected"),
    ("key/value pairs", 'write KEY="value",KEY2="value 2"'),
    ("does not specify a command", "add command=PROGRAM ARGUMENTS"),
    ("exit codes", "write numbers from 0 to 255 with commas between them"),
    ("event type", "docs/from-supervisord.md lists them"),
    ("stopasgroup", "write killasgroup=true, or leave it out"),
)
