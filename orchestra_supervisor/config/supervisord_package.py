"""supervisord's file as the `supervisor` package itself reads it: values, expansion, defaults, groups.

The package has no types and ends at the first fault. This asks it section by section, so that all faults are
found, and keeps from it what depends on the host (users, folders of logs): those are for preflight.
"""

import configparser
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from orchestra_supervisor.config.supervisord_groups import BadValue, Group, Process, Socket
from orchestra_supervisor.config.supervisord_options import DEFAULT_HANDLER

__all__ = ["PackageReader"]

_PROGRAMS = ("program:", "fcgi-program:", "eventlistener:")
_WORDS = frozenset({"none", "off", "auto", "syslog"})
_UNSET = object()


@dataclass(slots=True)
class _Seen:
    """What was kept from the package while it made one process."""

    user: str | None = None
    logfiles: dict[str, str] = field(default_factory=dict[str, str])


class PackageReader:
    """Reads one configuration with the package's parser.

    Args:
        path: Of the main file, absolute.
        environ: Environment of the supervisor, for %(ENV_x)s.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        # Loaded with the first such file: it is large, and most fleets have none.
        self._package = _imported("supervisor.options")
        self._types = _imported("supervisor.datatypes")
        self._event_types = _imported("supervisor.events").EventTypes
        self._options = self._package.ServerOptions()
        self._options.configfile = str(path)
        self._options.here = self._here = str(path.parent)
        self._options.environ_expansions = {f"ENV_{name}": value for name, value in environ.items()}
        self._parser: Any = self._package.UnhosedConfigParser()
        self._parser.expansions = self._options.environ_expansions
        self._plain: Callable[..., Any] = self._parser.saneget
        self._parser.saneget = self._get
        self._seen = _Seen()

    @property
    def sections(self) -> list[str]:
        """Return the names of all sections, in order."""
        return list(self._parser.sections())

    @property
    def warnings(self) -> list[str]:
        """Return what the package warns of."""
        return list(self._options.parse_warnings)

    def options(self, section: str) -> list[str]:
        """Return the options of a section, those of DEFAULT included."""
        return list(self._parser.options(section))

    def read(self, text: str, name: str) -> None:
        """Take the sections of a text over those that are there.

        Raises:
            configparser.Error: It is no such file.
        """
        self._parser.read_file(io.StringIO(text), source=name)

    def expand_here(self, folder: Path) -> None:
        """Have %(here)s mean a folder in all that has been read and does not know yet."""
        self._parser.expand_here(str(folder))

    def include_patterns(self) -> list[str]:
        """Return what [include] names, or nothing where there is no such section.

        Raises:
            BadValue: It names nothing, or what cannot be expanded.
        """
        if not self._parser.has_section("include"):
            return []
        self.expand_here(Path(self._here))
        if not self._parser.has_option("include", "files"):
            raise BadValue("include", "", "has no `files`")
        return self.value("include", "files", "").split()

    def value(self, section: str, option: str, default: str | None) -> Any:
        """Return a value with its expressions expanded, or the default.

        Raises:
            BadValue: It cannot be expanded.
        """
        expansions = {"here": self._here, "host_node_name": self._package.platform.node()}
        try:
            if not self._parser.has_option(section, option):
                return default
            return self._plain(section, option, default, expansions=expansions)
        except ValueError as error:
            raise BadValue(section, option, str(error)) from error

    def convert(self, kind: str, section: str, option: str, default: str | None) -> Any:
        """Return a value as one of the package's types (`boolean`, `integer`, `byte_size`, ...).

        Raises:
            BadValue: It is no such value.
        """
        value = self.value(section, option, default)
        if value is None:
            return None
        try:
            return getattr(self._types, kind)(value)
        except ValueError as error:
            raise BadValue(section, option, str(error)) from error

    def environment(self) -> dict[str, str]:
        """Return the variables of [supervisord], which other values may use from here on.

        Raises:
            BadValue: They are no pairs of names and values.
        """
        values: dict[str, str] = self.convert("dict_of_key_value_pairs", "supervisord", "environment", "")
        for name, value in values.items():
            self._options.environ_expansions[f"ENV_{name}"] = value
        return values

    # Groups.

    def group_sections(self) -> list[str]:
        """Return the sections that make groups: not those programs that a [group:x] has taken."""
        taken: set[str] = set()
        for section in self.sections:
            if section.startswith("group:"):
                taken |= set(self._members(section, strict=False))
        makers = ("group:", *_PROGRAMS)
        return [one for one in self.sections if one.startswith(makers) and one not in taken]

    def group(self, section: str) -> Group:
        """Return the group that a section makes.

        Raises:
            BadValue: The package refuses it.
        """
        kind, _, name = section.partition(":")
        listens = kind == "eventlistener"
        name = name if listens else self._name(section, name)
        priority = int(self.convert("integer", section, "priority", "-1" if listens else "999"))
        if kind == "group":
            members = [one for part in self._members(section, strict=True) for one in self._made(part, name)]
            return Group(name, section, priority, tuple(members))
        if listens:
            return self._pool(section, name, priority)
        socket = self._socket(section) if kind == "fcgi-program" else None
        processes = tuple(self._made(section, name))
        return Group(name, section, priority, processes, "fcgi" if socket else "program", socket=socket)

    def _members(self, section: str, *, strict: bool) -> list[str]:
        """Return the sections of the programs that a [group:x] names."""
        names: list[str] = []
        try:
            names = self.convert("list_of_strings", section, "programs", "")
        except BadValue:
            if strict:
                raise
        found: list[str] = []
        for name in names:
            here = [one for one in (f"program:{name}", f"fcgi-program:{name}") if one in self.sections]
            if len(here) != 1 and strict:
                what = (
                    "names an unknown program" if not here else "name is ambiguous: program or fcgi-program"
                )
                raise BadValue(section, "programs", f"{what} {name!r}")
            found += here
        return found

    def _pool(self, section: str, name: str, priority: int) -> Group:
        buffer_size = int(self.convert("integer", section, "buffer_size", "10"))
        if buffer_size < 1:
            raise BadValue(section, "buffer_size", f"must be 1 or more, not {buffer_size}")
        events = tuple(
            dict.fromkeys(one.upper() for one in self.convert("list_of_strings", section, "events", ""))
        )
        if not events:
            raise BadValue(section, "", "has no `events`: which ones does it listen to?")
        for event in events:
            if getattr(self._event_types, event, None) is None:
                raise BadValue(section, "events", f"unknown event type {event}")
        if self.convert("boolean", section, "redirect_stderr", "false"):
            raise BadValue(
                section, "redirect_stderr", "must not be true: it would break the listener's protocol"
            )
        handler = str(self.value(section, "result_handler", DEFAULT_HANDLER))
        processes = tuple(self._made(section, name))
        return Group(name, section, priority, processes, "eventlistener", events, buffer_size, handler)

    def _socket(self, section: str) -> Socket:
        program = section.partition(":")[2]
        self._parser.expansions["program_name"] = program
        try:
            address = self.value(section, "socket", "")
        finally:
            del self._parser.expansions["program_name"]
        if not address:
            raise BadValue(section, "", "has no `socket`")
        backlog = self.convert("integer", section, "socket_backlog", None)
        if backlog is not None and not 1 <= backlog <= 65_535:
            raise BadValue(section, "socket_backlog", f"must be from 1 to 65535, not {backlog}")
        mode = self.convert("octal_type", section, "socket_mode", None)
        owner = self.value(section, "socket_owner", None)
        if (mode is not None or owner is not None) and not address.startswith("unix://"):
            raise BadValue(section, "socket", "has an owner and a mode only where it is a Unix socket")
        return Socket(address, backlog, mode, owner)

    def _name(self, section: str, name: str) -> str:
        try:
            return str(self._types.process_or_group_name(name))
        except ValueError as error:
            raise BadValue(section, "", str(error)) from error

    def _made(self, section: str, group: str) -> list[Process]:
        """Return the processes of a program section, in the order in which the package has them."""
        made: dict[int, Process] = {}

        def make(options: object, **params: Any) -> Any:
            config = self._package.ProcessConfig(options, **params)
            made[id(config)] = Process(section, params, self._seen.user, dict(self._seen.logfiles))
            return config

        self._seen = _Seen()
        try:
            configs = self._options._processes_from_section(self._parser, section, group, make)  # noqa: SLF001 - the one that does not put the file's name into what it says
        except ValueError as error:
            raise BadValue(section, self._blamed(section, group, str(error)), str(error)) from error
        except configparser.Error as error:
            raise BadValue(section, "", str(error)) from error
        return [made[id(config)] for config in configs]

    def _get(
        self,
        section: str,
        option: str,
        default: Any = _UNSET,
        do_expand: bool = True,  # noqa: FBT001, FBT002 - the package's signature
        expansions: Mapping[str, Any] | None = None,
    ) -> Any:
        """Stand in for the parser's `saneget`: keep what depends on the host from the package."""
        given = dict(expansions or {})
        fallback = () if default is _UNSET else (default,)
        value = self._plain(section, option, *fallback, do_expand=do_expand, expansions=given)
        if not isinstance(value, str) or not section.startswith(_PROGRAMS):
            return value
        if option == "user":
            self._seen.user = value
            return None
        if option not in {"stdout_logfile", "stderr_logfile"}:
            return value
        stream = option.partition("_")[0]
        value = self._package.expand(value, {**self._parser.expansions, **given}, option)
        word = value.lower()
        is_word = word in _WORDS
        self._seen.logfiles[stream] = "none" if word == "off" else word if is_word else value
        return word if is_word else "none"

    def _blamed(self, section: str, group: str, text: str) -> str:
        """Find the option for which the package refuses a program, by what it says; empty: none by itself."""
        program = section.partition(":")[2]
        expansions = {
            "here": self._here,
            "program_name": program,
            "group_name": group,
            "host_node_name": self._package.platform.node(),
            "process_num": 0,
            "numprocs": 1,
            **self._options.environ_expansions,
        }
        guess = ""
        for option in self.options(section):
            kind = _KINDS.get(option)
            try:
                value = self._plain(section, option, expansions=expansions)
                if kind is not None:
                    getattr(self._types, kind)(value)
            except (ValueError, AttributeError) as error:
                if str(error) == text:
                    return option
                guess = guess or option
        return next((option for word, option in _NAMED if word in text), guess)


def _imported(name: str) -> ModuleType:
    """Return a module of the package; that it reads a file of its own without an encoding is not told."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=EncodingWarning, module=r"supervisor\.")
        return import_module(name)


_NAMED = (("process_num", "process_name"), ("stopasgroup", "killasgroup"))
"""What the package says of two options at once, and the one to look at."""
_KINDS = {
    "autostart": "boolean",
    "autorestart": "auto_restart",
    "environment": "dict_of_key_value_pairs",
    "exitcodes": "list_of_exitcodes",
    "killasgroup": "boolean",
    "numprocs": "integer",
    "numprocs_start": "integer",
    "priority": "integer",
    "process_name": "process_or_group_name",
    "redirect_stderr": "boolean",
    "startretries": "integer",
    "startsecs": "integer",
    "stderr_capture_maxbytes": "byte_size",
    "stderr_events_enabled": "boolean",
    "stderr_logfile_backups": "integer",
    "stderr_logfile_maxbytes": "byte_size",
    "stderr_syslog": "boolean",
    "stdout_capture_maxbytes": "byte_size",
    "stdout_events_enabled": "boolean",
    "stdout_logfile_backups": "integer",
    "stdout_logfile_maxbytes": "byte_size",
    "stdout_syslog": "boolean",
    "stopasgroup": "boolean",
    "stopsignal": "signal_number",
    "stopwaitsecs": "integer",
    "umask": "octal_type",
}
"""Options of a program to the package's types."""
