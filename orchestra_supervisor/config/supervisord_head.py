"""What supervisord's file says of the whole: [supervisord], its servers, and the sections of plugins."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from orchestra_supervisor.config.draft import Body, KeyPath, Source
from orchestra_supervisor.config.findings import Severity, shown
from orchestra_supervisor.config.ini_places import IniPlaces
from orchestra_supervisor.config.supervisord_groups import BadValue
from orchestra_supervisor.config.supervisord_native import Around
from orchestra_supervisor.config.supervisord_package import PackageReader
from orchestra_supervisor.config.supervisord_words import literal

__all__ = ["Head", "read_head"]

_UNNEEDED = {
    "logfile_maxbytes": "supervisor.log is begun anew at 10 MB",
    "logfile_backups": "one earlier supervisor.log is kept",
    "loglevel": "all that happens is in the journal: `orchestra events`",
    "minfds": "give a program `rlimits` where it needs more descriptors",
    "minprocs": "give a program `rlimits` where it needs more processes",
    "nocleanup": "logs are never removed at a start",
    "childlogdir": "logs are in the home, see `orchestra logs`",
    "silent": "nothing but messages goes to stderr",
}
"""Options of [supervisord] that need not be followed, and why."""
_MAIN_INTERFACE = "supervisor.rpcinterface:make_main_rpcinterface"
_NUMBERS = {
    "logfile_maxbytes": "byte_size",
    "logfile_backups": "integer",
    "minfds": "integer",
    "minprocs": "integer",
    "nocleanup": "boolean",
    "silent": "boolean",
    "loglevel": "logging_level",
}

Note = Callable[..., None]
"""Keep a finding: severity, code, section, option, message, hint."""
Refuse = Callable[[BadValue], None]


def _no_around() -> Around:
    return Around(str(Path.cwd()), {})


@dataclass(slots=True)
class Head:
    """Everything but the programs.

    Attributes:
        body: In the native form.
        aliases: Where it was written.
        around: What it says to all programs.
    """

    body: Body = field(default_factory=dict[str, object])
    aliases: dict[KeyPath, KeyPath] = field(default_factory=dict[KeyPath, KeyPath])
    around: Around = field(default_factory=_no_around)


def read_head(package: PackageReader, places: IniPlaces, source: Source, note: Note, refuse: Refuse) -> Head:
    """Read the sections that are no programs.

    Args:
        package: The file.
        places: Where everything is.
        source: The main file.
        note: Gets what cannot be had as it is written.
        refuse: Gets what is wrong.
    """
    return _HeadReader(package, places, source, note, refuse).read()


class _HeadReader:
    def __init__(
        self, package: PackageReader, places: IniPlaces, source: Source, note: Note, refuse: Refuse
    ) -> None:
        self._package = package
        self._written = {name: set(node.members) for name, node in places.root.members.items()}
        self._source = source
        self._note = note
        self._refuse = refuse
        self._urls: dict[str, str] = {}
        """By family: the address of the first server, as its children are told."""

    def read(self) -> Head:
        head = Head()
        if "supervisord" not in self._package.sections:
            message = "has no [supervisord], without which supervisord does not start; its defaults hold"
            self._note(Severity.INFO, "supervisord.no_section", "supervisord", "", message)
        try:
            environment = self._package.environment()
        except BadValue as error:
            self._refuse(error)
            environment = {}
        cwd, umask = self._place()
        supervisor: Body = {"identifier": literal(self._get("identifier", "supervisor"))}
        self._logfile(supervisor, cwd)
        servers = self._servers(head)
        supervisor |= servers
        head.body = {"settings": {"supervisor": supervisor}}
        head.aliases[("settings", "supervisor")] = ("supervisord",)
        user = self._convert("user", "str", None)
        if user is not None:
            message = "is the user of programs that name none; we ourselves stay who we are"
            self._note(Severity.INFO, "supervisord.user", "supervisord", "user", message)
        url = self._urls.get("unix") or self._urls.get("inet")
        head.around = Around(cwd, environment, user, umask, url)
        self._unneeded()
        self._plugins()
        return head

    def _get(self, option: str, default: str) -> str:
        try:
            return str(self._package.value("supervisord", option, default))
        except BadValue as error:
            self._refuse(error)
            return default

    def _convert(self, option: str, kind: str, default: str | None) -> Any:
        try:
            if kind == "str":
                return self._package.value("supervisord", option, default)
            return self._package.convert(kind, "supervisord", option, default)
        except BadValue as error:
            self._refuse(error)
            return None

    def _has(self, option: str) -> bool:
        return option in self._written.get("supervisord", ())

    def _place(self) -> tuple[str, int | None]:
        """Return where programs start that name no directory, and with which umask.

        supervisord goes to its `directory` and takes its `umask` when it becomes a daemon, and only then.
        """
        cwd = str(Path.cwd())
        is_daemon = not self._convert("nodaemon", "boolean", "false")
        umask = self._convert("umask", "octal_type", "022")
        directory = self._convert("directory", "str", None)
        if directory is not None:
            directory = os.path.expanduser(directory)  # noqa: PTH111 - as supervisord
            if is_daemon:
                cwd = os.path.normpath(os.path.join(cwd, directory))  # noqa: PTH118 - text, not a file
            else:
                message = "means nothing beside nodaemon=true; so does supervisord"
                self._note(Severity.INFO, "supervisord.unused", "supervisord", "directory", message)
        return cwd, umask if is_daemon else None

    def _logfile(self, supervisor: Body, cwd: str) -> None:
        if not self._has("logfile"):
            return
        written = self._get("logfile", "supervisord.log")
        if written.lower() not in {"none", "off", "syslog"}:
            path = os.path.normpath(os.path.join(cwd, os.path.expanduser(written)))  # noqa: PTH111, PTH118 - as supervisord
            supervisor["logfile"] = literal(path)
        message = "our own messages are in supervisor.log in the home, and under systemd in its journal"
        self._note(Severity.INFO, "supervisord.logfile", "supervisord", "logfile", message)

    def _unneeded(self) -> None:
        for option, why in _UNNEEDED.items():
            if self._has(option):
                self._convert(option, _NUMBERS.get(option, "str"), None)
                self._note(
                    Severity.INFO, "supervisord.not_needed", "supervisord", option, f"is not followed: {why}"
                )
        if self._has("pidfile"):
            message = "no such file is written: the pid of the keeper is in the home's file `lock`"
            hint = "`orchestra status` and `supervisorctl pid` tell it, too"
            self._note(Severity.WARNING, "supervisord.pidfile", "supervisord", "pidfile", message, hint)
        if self._convert("strip_ansi", "boolean", "false"):
            message = "colours stay in the logs, where `supervisorctl tail` shows them as they are"
            self._note(Severity.WARNING, "supervisord.strip_ansi", "supervisord", "strip_ansi", message)

    def _plugins(self) -> None:
        for section in self._package.sections:
            if not section.startswith("rpcinterface:"):
                continue
            try:
                factory = self._package.value(section, "supervisor.rpcinterface_factory", None)
            except BadValue as error:
                self._refuse(error)
                continue
            if factory is None:
                self._refuse(BadValue(section, "", "has no supervisor.rpcinterface_factory"))
            elif factory != _MAIN_INTERFACE:
                message = f"{shown(factory)} is not loaded: further XML-RPC interfaces are not supported"
                option = "supervisor.rpcinterface_factory"
                self._note(Severity.WARNING, "supervisord.rpcinterface", section, option, message)

    # Servers.

    def _servers(self, head: Head) -> Body:
        found: dict[str, list[Body]] = {"unix": [], "inet": []}
        for section in self._package.sections:
            kind, _, _name = section.partition(":")
            if kind not in ("unix_http_server", "inet_http_server"):
                continue
            family: Literal["unix", "inet"] = "unix" if kind == "unix_http_server" else "inet"
            try:
                server = self._unix(section) if family == "unix" else self._inet(section)
                server |= self._auth(section)
            except BadValue as error:
                self._refuse(error)
                continue
            if family == "unix" and found["unix"]:
                message = "a second Unix socket is not served"
                self._note(Severity.WARNING, "supervisord.second_socket", section, "", message)
                continue
            place: KeyPath = ("settings", "supervisor", family)
            head.aliases[place if family == "unix" else (*place, len(found["inet"]))] = (section,)
            found[family].append(server)
        servers: Body = {}
        if found["unix"]:
            servers["unix"] = found["unix"][0]
        if found["inet"]:
            servers["inet"] = found["inet"]
        return servers

    def _unix(self, section: str) -> Body:
        path = self._package.value(section, "file", None)
        if path is None or not path.strip():
            raise BadValue(section, "", "has no `file`")
        whole = os.path.normpath(os.path.abspath(os.path.expanduser(path.strip())))  # noqa: PTH100, PTH111 - as supervisord
        server: Body = {"path": literal(whole)}
        self._urls.setdefault("unix", f"unix://{whole}")
        mode = self._package.convert("octal_type", section, "chmod", None)
        if mode is not None:
            server["mode"] = f"{mode & 0o777:03o}"
        owner = self._package.convert("colon_separated_user_group", section, "chown", None)
        if owner is not None:
            server["owner"] = list(owner)
        return server

    def _inet(self, section: str) -> Body:
        address = self._package.convert("inet_address", section, "port", None)
        if address is None:
            raise BadValue(section, "", "has no `port`")
        self._urls.setdefault("inet", f"http://{address[0] or 'localhost'}:{address[1]}")
        return {"host": literal(address[0]), "port": address[1]}

    def _auth(self, section: str) -> Body:
        name = self._package.value(section, "username", None)
        password = self._package.value(section, "password", None)
        if (name is None) is not (password is None):
            raise BadValue(section, "", "has only one of username and password; it needs both, or none")
        return {} if name is None else {"username": literal(name), "password": literal(password)}
