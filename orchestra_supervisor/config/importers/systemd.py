"""Units of systemd: services, and their timers where an interval says when.

Source: systemd.service(5), systemd.exec(5), systemd.kill(5), systemd.resource-control(5), systemd.syntax(7).
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestra_supervisor.config.findings import Location, Severity, shown
from orchestra_supervisor.config.importers.names import fitting_name
from orchestra_supervisor.config.importers.piece import Imported, Mark, Piece
from orchestra_supervisor.config.values import RLIMIT_NAMES

__all__ = ["import_units", "is_unit"]

_SPAN = re.compile(r"([0-9.]+)\s*(usec|us|msec|ms|seconds?|sec|s|minutes?|min|m|hours?|hr|h|days?|d)?\s*")
_UNITS = {"us": 0.000001, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PLAIN: Mapping[str, tuple[str, ...]] = {
    "User": ("user",),
    "Group": ("group",),
    "KillSignal": ("stop", "signal"),
    "WorkingDirectory": ("cwd",),
}
_SPANS: Mapping[str, tuple[str, ...]] = {
    "TimeoutStopSec": ("stop", "grace"),
    "TimeoutStartSec": ("startup_timeout",),
    "RestartSec": ("restart", "backoff", "initial"),
    "StartLimitIntervalSec": ("restart", "window"),
    "WatchdogSec": ("watchdog",),
    "RuntimeMaxSec": ("recycle", "age"),
}
_NUMBERS: Mapping[str, tuple[str, ...]] = {
    "Nice": ("nice",),
    "OOMScoreAdjust": ("oom_score_adj",),
    "TasksMax": ("limits", "pids"),
    "StartLimitBurst": ("restart", "max_restarts"),
}
_NEEDS = ("Requires", "Wants", "BindsTo", "Requisite", "After")
_IGNORED = frozenset(
    ["Type", "Documentation", "RemainAfterExit", "SyslogIdentifier", "StandardInput", "NotifyAccess"]
)
_POLICIES = {"always": "always", "no": "never", "on-success": "always"}


@dataclass(frozen=True, slots=True)
class _Line:
    """One assignment of a unit."""

    section: str
    key: str
    value: str
    place: Location


def is_unit(name: str) -> bool:
    """Tell whether a file is a unit by its name."""
    return name.endswith((".service", ".timer"))


def import_units(units: list[tuple[str, Path, str]], imported: Imported) -> None:
    """Add services.

    Args:
        units: Text, path and shown name of each unit.
        imported: Gets them.
    """
    names = {
        path.name: fitting_name(path.stem, imported.names())
        for _, path, _ in units
        if path.suffix == ".service"
    }
    for text, path, shown_path in units:
        lines = _parse(text, shown_path, imported)
        if path.suffix == ".service":
            _Unit(path, shown_path, names, imported).read(lines)
    for text, path, shown_path in units:
        if path.suffix == ".timer":
            _timer(_parse(text, shown_path, Imported()), path, shown_path, names, imported)


def _parse(text: str, shown_path: str, imported: Imported) -> list[_Line]:
    """Return the assignments; a backslash at the end joins lines, an empty value resets a list."""
    found: list[_Line] = []
    section, held, begun = "", "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not held and (not line.strip() or line.lstrip().startswith(("#", ";"))):
            continue
        if held and line.lstrip().startswith(("#", ";")):
            continue
        begun = begun if held else number
        held = f"{held} {line.strip()}" if held else line.strip()
        if held.endswith("\\"):
            held = held[:-1].rstrip()
            continue
        whole, held = held, ""
        place = Location(shown_path, begun, 1)
        if whole.startswith("[") and whole.endswith("]"):
            section = whole[1:-1]
            continue
        key, sign, value = whole.partition("=")
        if not sign:
            message = f"{shown(whole)!r} is neither a section nor an assignment"
            imported.note(Severity.ERROR, "unit.syntax", message, place, hint="lines are Key=value")
            continue
        key, value = key.strip(), value.strip()
        if not value:
            found = [one for one in found if (one.section, one.key) != (section, key)]
            continue
        found.append(_Line(section, key, value, place))
    return found


def _seconds(text: str) -> float | None:
    if text == "infinity":
        return 0.0
    parts = _SPAN.findall(text)
    if not parts or _SPAN.sub("", text).strip():
        return None
    total = 0.0
    for number, unit in parts:
        short = unit[:2] if unit[:2] in ("us", "ms") else unit[:1] or "s"
        total += float(number) * _UNITS[short]
    return total


class _Unit:
    """One service unit on its way."""

    def __init__(self, path: Path, shown_path: str, names: Mapping[str, str], imported: Imported) -> None:
        self._path = path
        self._names = names
        self._imported = imported
        self.piece = Piece(names[path.name], Mark(Location(shown_path, 1), path.name))
        self._instance = path.stem.partition("@")[2]

    def read(self, lines: list[_Line]) -> None:
        """Take all assignments, and add the service if it has a command."""
        service = [line for line in lines if line.section == "Service"]
        kind = next((line.value for line in reversed(service) if line.key == "Type"), "simple")
        starts = [line for line in service if line.key == "ExecStart"]
        if not starts:
            self._left_out(f"unit {self._path.name}", "it has no ExecStart", self.piece.heading.place)
            return
        if len(starts) > 1:
            self.piece.put(
                ("pre_start",),
                [self._command(one) for one in starts[:-1]],
                Mark(starts[0].place, "ExecStart"),
            )
        self.piece.put(("command",), self._command(starts[-1]), Mark(starts[-1].place, "ExecStart"))
        self._type(kind, service)
        for line in lines:
            if line.section == "Service":
                self._service_line(line)
            elif line.section == "Unit":
                self._unit_line(line)
        if "restart" not in self.piece.body:
            self.piece.put(("restart", "policy"), "never", Mark(self.piece.heading.place, "default of"))
        self._imported.services.append(self.piece)

    def _left_out(self, what: str, why: str, place: Location, hint: str = "") -> None:
        self._imported.left_out(what, why, place, hint=hint, service=self.piece.name)

    def _text(self, line: _Line, text: str) -> str:
        """Return a text with the specifiers that are known put in, and dollar signs that stay."""
        values = {
            "%": "%",
            "n": self._path.name,
            "N": self._path.stem,
            "p": self._path.stem.partition("@")[0],
            "i": self._instance,
            "I": self._instance,
            "t": "/run",
            "S": "/var/lib",
            "C": "/var/cache",
            "L": "/var/log",
            "T": "/tmp",  # noqa: S108 - what systemd calls it
        }

        def put(match: "re.Match[str]") -> str:
            if match[1] not in values:
                self._left_out(f"{line.key}: %{match[1]}", "this specifier is not known here", line.place)
                return match[0]
            return values[match[1]]

        return re.sub(r"%(.)", put, text)

    def _command(self, line: _Line) -> list[str]:
        """Return a command line; ${NAME} means the same here, and so does a word that is $NAME."""
        text = self._text(line, line.value)
        prefixes = re.match(r"[-@:+!|]*", text)
        marks = prefixes[0] if prefixes else ""
        for mark in set(marks) - {"-", ":"}:
            self._left_out(f"{line.key}: prefix {mark}", "it is run as any other command", line.place)
        try:
            words = shlex.split(text[len(marks) :], comments=False)
        except ValueError as error:
            message = f"{line.key} cannot be split into words: {error}"
            self._imported.note(Severity.ERROR, "value.invalid", message, line.place)
            return ["false"]
        words = [word for word in words if word != ";"]
        if "@" in marks and len(words) > 1:
            del words[1]
        shaped = [
            re.sub(r"^\$(\w+)$", r"${\1:-}", re.sub(r"\$\{(\w+)\}", r"${\1:-}", word)) for word in words
        ]
        if "-" in marks and line.key != "ExecStart":
            return ["/bin/sh", "-c", '"$$@" || true', "sh", *shaped]
        return shaped or ["false"]

    def _type(self, kind: str, service: list[_Line]) -> None:
        place = next((line.place for line in service if line.key == "Type"), self.piece.heading.place)
        if kind == "oneshot":
            self.piece.put(("kind",), "once", Mark(place, "Type"))
        elif kind in ("notify", "notify-reload"):
            self.piece.put(("notify",), value=True, mark=Mark(place, "Type"))
        elif kind in ("forking", "dbus"):
            hint = "have it stay in the foreground"
            self._left_out(f"Type={kind}", "a service is the process that is started", place, hint)

    def _unit_line(self, line: _Line) -> None:
        if line.key == "Description":
            self.piece.put(("description",), line.value, Mark(line.place, line.key))
        elif line.key in _NUMBERS or line.key in _SPANS:
            self._service_line(line)
        elif line.key in _NEEDS:
            for unit in line.value.split():
                name = self._names.get(unit)
                if name is not None and name != self.piece.name:
                    self.piece.put(("depends_on", name), "ready", Mark(line.place, line.key))
                elif name is None and unit.endswith(".service") and line.key != "After":
                    self._left_out(f"{line.key}={unit}", "this unit is not imported", line.place)
        elif line.key.startswith(("Condition", "Assert")) or line.key in ("OnFailure", "Conflicts", "PartOf"):
            self._left_out(line.key, "it has no counterpart", line.place)

    def _service_line(self, line: _Line) -> None:
        key, value, mark = line.key, line.value, Mark(line.place, line.key)
        if key in _PLAIN:
            text = self._text(line, value.removeprefix("-") if key == "WorkingDirectory" else value)
            self.piece.put(_PLAIN[key], text, mark)
        elif key in _SPANS:
            seconds = _seconds(value)
            if seconds is None:
                self._left_out(f"{key}={shown(value)}", "it is no span of time", line.place)
            else:
                self.piece.put(_SPANS[key], seconds, mark)
        elif key in _NUMBERS:
            if re.fullmatch(r"-?[0-9]+", value):
                self.piece.put(_NUMBERS[key], int(value), mark)
            elif value != "infinity":
                self._left_out(f"{key}={shown(value)}", "it is no number", line.place)
        else:
            self._other_line(line, mark)

    def _other_line(self, line: _Line, mark: Mark) -> None:
        reader = {
            "Environment": self._environment,
            "EnvironmentFile": self._environment_file,
            "Restart": self._restart,
            "SuccessExitStatus": self._success,
            "StandardOutput": self._output,
            "StandardError": self._output,
        }.get(line.key)
        value = line.value
        if reader is not None:
            reader(line, mark)
        elif line.key == "UMask":
            self.piece.put(("umask",), value[-3:], mark)
        elif line.key == "SupplementaryGroups":
            self.piece.put(("groups",), value.split(), mark)
        elif line.key == "KillMode":
            self.piece.put(("stop", "scope"), "leader" if value in ("process", "mixed") else "group", mark)
        elif line.key == "MemoryMax" and re.fullmatch(r"[0-9]+[KMG]?", value):
            self.piece.put(("limits", "memory"), value, mark)
        elif line.key == "CPUQuota" and re.fullmatch(r"[0-9.]+%", value):
            self.piece.put(("limits", "cpu"), float(value[:-1]) / 100, mark)
        elif line.key.startswith("Limit") and line.key[5:].lower() in RLIMIT_NAMES:
            self._limit(line, mark)
        else:
            self._command_line(line, mark)

    def _environment(self, line: _Line, mark: Mark) -> None:
        for word in shlex.split(self._text(line, line.value)):
            name, sign, text = word.partition("=")
            if sign:
                self.piece.put(("env", name), text.replace("$", "$$"), mark)

    def _environment_file(self, line: _Line, mark: Mark) -> None:
        path = f"?{line.value[1:]}" if line.value.startswith("-") else line.value
        self.piece.append(("env_files",), self._text(line, path), mark)

    def _restart(self, line: _Line, mark: Mark) -> None:
        self.piece.put(("restart", "policy"), _POLICIES.get(line.value, "on-failure"), mark)
        if line.value == "on-success":
            self._left_out("Restart=on-success", "it is restarted after a failure, too", line.place)

    def _success(self, line: _Line, mark: Mark) -> None:
        words = line.value.split()
        codes = [int(word) for word in words if word.isdigit() and int(word) < 256]
        self.piece.put(("restart", "success_exit_codes"), sorted({0, *codes}), mark)
        if len(codes) < len(words):
            self._left_out(f"{line.key}={shown(line.value)}", "only numbers from 0 to 255 count", line.place)

    def _output(self, line: _Line, mark: Mark) -> None:
        """Take over files; the journal and all else is what our own log stands for."""
        if line.value.startswith(("append:", "file:", "truncate:")):
            stream = "stdout" if line.key == "StandardOutput" else "stderr"
            path = self._text(line, line.value.partition(":")[2])
            self.piece.append(("log", "files"), {"path": path, "stream": stream, "max_bytes": 0}, mark)

    def _limit(self, line: _Line, mark: Mark) -> None:
        limits: list[int | str] = []
        for word in line.value.split(":"):
            match = re.fullmatch(r"([0-9]+)([KMG]?)", word)
            number = (
                int(match[1]) * {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}[match[2]]
                if match
                else "unlimited"
            )
            limits.append(number)
        self.piece.put(("rlimits", line.key[5:].lower()), limits if len(limits) == 2 else limits[0], mark)

    def _command_line(self, line: _Line, mark: Mark) -> None:
        key = line.key
        lists = {"ExecStartPre": "pre_start", "ExecCondition": "pre_start", "ExecStopPost": "post_stop"}
        if key in lists:
            self.piece.append((lists[key],), self._command(line), mark)
        elif key == "ExecStop":
            self.piece.put(("stop", "command"), self._command(line), mark)
        elif key == "ExecReload":
            signalled = re.search(r"kill\s+-(?:s\s+)?(\w+)\s+\$\{?MAINPID", line.value)
            if signalled:
                self.piece.put(("reload",), signalled[1], mark)
            else:
                self.piece.put(("reload",), {"command": self._command(line)}, mark)
        elif key not in _IGNORED and key != "ExecStart":
            self._left_out(key, "it has no counterpart, or is not known", line.place)


def _timer(
    lines: list[_Line], path: Path, shown_path: str, names: Mapping[str, str], imported: Imported
) -> None:
    """Make a periodic service of one that a timer starts."""
    unit = next((line.value for line in lines if line.key == "Unit"), f"{path.stem}.service")
    piece = imported.names().get(names.get(unit, ""))
    if piece is None:
        imported.left_out(f"timer {path.name}", f"{unit} is not imported", Location(shown_path, 1))
        return
    every = next((line for line in lines if line.key in ("OnUnitActiveSec", "OnUnitInactiveSec")), None)
    seconds = _seconds(every.value) if every is not None else None
    if every is None or not seconds:
        place = next((line.place for line in lines if line.key == "OnCalendar"), Location(shown_path, 1))
        hint = 'write it as cron: "schedule": "0 3 * * *"'
        imported.left_out(
            f"timer {path.name}", "only intervals are carried over", place, hint=hint, service=piece.name
        )
        piece.put(("kind",), "once", Mark(place, "a timer starts it"))
        piece.put(("enabled",), value=False, mark=Mark(place, "a timer starts it"))
        return
    piece.put(("kind",), "periodic", Mark(every.place, "a timer starts it"))
    piece.put(("schedule", "every"), max(1.0, seconds), Mark(every.place, every.key))
