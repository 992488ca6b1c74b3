"""docker-compose.yml, its services as processes of this host: as far as the file says what they run.

What is inside an image is not known: a service without a command is left out. Networks, volumes and images
mean nothing to a process and are said. Source: the Compose Specification.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import yaml

from orchestra_supervisor.config.findings import Location, Severity, shown
from orchestra_supervisor.config.importers.names import fitting_name
from orchestra_supervisor.config.importers.piece import Imported, Mark, Piece

__all__ = ["import_compose", "is_compose"]

_CONDITIONS = {
    "service_started": "started",
    "service_healthy": "ready",
    "service_completed_successfully": "completed",
}
_NOTHING = frozenset(
    [
        "container_name",
        "labels",
        "logging",
        "image",
        "build",
        "restart",
        "tty",
        "hostname",
        "pull_policy",
        "init",
    ]
)
"""Keys that need no word of their own: of a container, or read together with others."""
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<sign>:?[-?+])(?P<word>[^{}]*))?\}|(?P<bare>[A-Za-z_]\w*))"
)
_SPAN = re.compile(r"([0-9.]+)(us|ms|s|m|h)")
_UNITS = {"us": 0.000001, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

_Node = yaml.nodes.Node


def is_compose(text: str, name: str) -> bool:
    """Tell whether a file is one of Compose."""
    return name.endswith((".yml", ".yaml")) and re.search(r"^services\s*:", text, re.MULTILINE) is not None


def import_compose(text: str, shown_path: str, directory: Path, imported: Imported) -> None:
    """Add the services of a file.

    Args:
        text: Of the file.
        shown_path: Its name in findings.
        directory: Its folder.
        imported: Gets them.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = Location(shown_path, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0)
        imported.note(Severity.ERROR, "yaml.syntax", shown(error.problem or "no YAML"), place)
        return
    reader = _Reader(loader, shown_path, directory, imported)
    reader.read(root)


class _Reader:
    def __init__(self, loader: yaml.SafeLoader, shown_path: str, directory: Path, imported: Imported) -> None:
        self._loader = loader
        self._shown = shown_path
        self._directory = directory
        self._imported = imported
        self._names: dict[str, str] = {}
        self._readers: Mapping[str, Callable[[Piece, str, _Node], None]] = {
            "environment": self._environment,
            "env_file": self._env_file,
            "working_dir": self._plain(("cwd",)),
            "user": self._user,
            "ports": self._ports,
            "depends_on": self._depends_on,
            "healthcheck": self._healthcheck,
            "stop_signal": self._plain(("stop", "signal")),
            "stop_grace_period": self._span(("stop", "grace")),
            "mem_limit": self._size(("limits", "memory")),
            "cpus": self._number(("limits", "cpu")),
            "pids_limit": self._number(("limits", "pids")),
            "oom_score_adj": self._number(("oom_score_adj",)),
            "scale": self._number(("replicas",)),
            "deploy": self._deploy,
            "profiles": self._profiles,
        }

    def read(self, root: _Node | None) -> None:
        """Add all services."""
        services = dict(self._pairs(root)).get("services") if root is not None else None
        entries = self._pairs(services[1]) if services else []
        usable = [(name, key, node) for name, (key, node) in entries if self._has_command(name, key, node)]
        taken = set(self._imported.names())
        for name, _, _ in usable:
            self._names[name] = fitting_name(name, taken)
            taken.add(self._names[name])
        for name, key, node in usable:
            self._service(name, key, node)
        self._settle()
        for name, (key, _) in self._pairs(root) if root is not None else []:
            if name in ("volumes", "networks", "secrets", "configs"):
                self._left_out(f"`{name}`", "means nothing to processes of this host", key)
        if (self._directory / ".env").is_file():
            mark = Mark(Location(self._shown), "beside")
            self._imported.settings.put(("env_files",), [f"?{self._directory / '.env'}"], mark)

    def _has_command(self, name: str, key: _Node, node: _Node) -> bool:
        keys = dict(self._pairs(node))
        if {"command", "entrypoint"} & keys.keys():
            return True
        image = keys.get("image") or keys.get("build")
        what = f"what it runs is inside {shown(self._scalar(image[1]))}" if image else "it says no command"
        hint = "add a `command`, or run it by a target: docs/plugins.md"
        self._left_out(f"service {shown(name)}", what, key, hint=hint)
        return False

    def _service(self, name: str, key: _Node, node: _Node) -> None:
        piece = Piece(self._names[name], self._mark(key, f"service {name}"))
        keys = dict(self._pairs(node))
        words = [*self._words(keys, "entrypoint"), *self._words(keys, "command")]
        source = keys.get("command") or keys["entrypoint"]
        piece.put(("command",), [self._text(word) for word in words], self._mark(source[0], "command"))
        piece.put(("cwd",), str(self._directory), Mark(Location(self._shown), "the folder of"))
        restart = keys.get("restart")
        self._restart(piece, restart)
        for option, (option_key, value) in keys.items():
            reader = self._readers.get(option)
            if reader is not None:
                reader(piece, option, value)
            elif option not in _NOTHING and option not in ("command", "entrypoint"):
                why = "means nothing to a process of this host, or is not known"
                self._left_out(f"service {shown(name)}: `{option}`", why, option_key, service=piece.name)
        self._imported.services.append(piece)

    def _settle(self) -> None:
        """Say what only all of them together say: who is a job, and whose replicas share a port."""
        pieces = self._imported.names()
        for piece in list(pieces.values()):
            needs = cast("dict[str, str]", piece.body.get("depends_on", {}))
            for name, condition in needs.items():
                if condition == "completed" and name in pieces:
                    mark = piece.marks[("depends_on", name)]
                    pieces[name].put(("kind",), "once", Mark(mark.place, "others wait for its end"))
            if cast("int", piece.body.get("replicas", 1)) > 1 and "port" in piece.body:
                port = piece.body.pop("port")
                place = piece.marks.pop(("port",)).place
                why = f"all replicas would listen on {port} of one host"
                hint = 'give each its own: "port": "{7999+replica}"'
                self._imported.left_out("`ports`", why, place, hint=hint, service=piece.name)

    # Values.

    def _pairs(self, node: _Node) -> list[tuple[str, tuple[_Node, _Node]]]:
        """Return the members of a mapping, with what it merges in (`<<`)."""
        if not isinstance(node, yaml.MappingNode):
            return []
        self._loader.flatten_mapping(node)
        pairs = cast("list[tuple[_Node, _Node]]", node.value)
        return [(self._scalar(key), (key, value)) for key, value in pairs]

    def _items(self, node: _Node) -> list[_Node]:
        return cast("list[_Node]", node.value) if isinstance(node, yaml.SequenceNode) else [node]

    def _scalar(self, node: _Node) -> str:
        return str(node.value) if isinstance(node, yaml.ScalarNode) else ""

    def _place(self, node: _Node) -> Location:
        mark = node.start_mark
        return Location(self._shown, mark.line + 1, mark.column + 1)

    def _mark(self, node: _Node, key: str = "") -> Mark:
        return Mark(self._place(node), key)

    def _left_out(self, what: str, why: str, node: _Node, *, hint: str = "", service: str = "") -> None:
        self._imported.left_out(what, why, self._place(node), hint=hint, service=service)

    def _text(self, text: str) -> str:
        """Return a text whose variables mean here what they mean to Compose: what is not set is empty."""

        def put(match: "re.Match[str]") -> str:
            if match["dollar"]:
                return "$$"
            name, sign, word = match["name"] or match["bare"], match["sign"] or "", match["word"] or ""
            if sign.endswith("?"):
                return f"${{{name}}}"  # an error where it is not set, as there
            return f"${{{name}:-{word if sign.endswith('-') else ''}}}"

        return _VARIABLE.sub(put, text)

    def _words(self, keys: Mapping[str, tuple[_Node, _Node]], option: str) -> list[str]:
        if option not in keys:
            return []
        node = keys[option][1]
        if isinstance(node, yaml.SequenceNode):
            return [self._scalar(item) for item in self._items(node)]
        try:
            return shlex.split(self._scalar(node))
        except ValueError as error:
            message = f"`{option}` cannot be split into words: {error}"
            self._imported.note(Severity.ERROR, "value.invalid", message, self._place(node))
            return ["false"]

    # Options.

    def _plain(self, path: tuple[str, ...]) -> Callable[[Piece, str, _Node], None]:
        def read(piece: Piece, option: str, node: _Node) -> None:
            piece.put(path, self._text(self._scalar(node)), self._mark(node, option))

        return read

    def _number(self, path: tuple[str, ...]) -> Callable[[Piece, str, _Node], None]:
        def read(piece: Piece, option: str, node: _Node) -> None:
            text = self._scalar(node)
            try:
                value = float(text) if path[-1] == "cpu" else int(text)
            except ValueError:
                self._left_out(f"`{option}`", f"{shown(text)} is no number", node, service=piece.name)
                return
            if value > 0 or path[-1] == "oom_score_adj":
                piece.put(path, value, self._mark(node, option))

        return read

    def _size(self, path: tuple[str, ...]) -> Callable[[Piece, str, _Node], None]:
        def read(piece: Piece, option: str, node: _Node) -> None:
            piece.put(path, re.sub(r"[bB]$", "", self._scalar(node)), self._mark(node, option))

        return read

    def _span(self, path: tuple[str, ...]) -> Callable[[Piece, str, _Node], None]:
        def read(piece: Piece, option: str, node: _Node) -> None:
            seconds = self._seconds(node)
            if seconds is not None:
                piece.put(path, seconds, self._mark(node, option))

        return read

    def _seconds(self, node: _Node) -> float | None:
        text = self._scalar(node)
        parts = _SPAN.findall(text)
        if not parts or _SPAN.sub("", text):
            self._left_out("a span of time", f"{shown(text)} is none", node)
            return None
        return sum(float(number) * _UNITS[unit] for number, unit in parts)

    def _environment(self, piece: Piece, option: str, node: _Node) -> None:
        del option
        if isinstance(node, yaml.MappingNode):
            for name, (key, value) in self._pairs(node):
                is_null = isinstance(value, yaml.ScalarNode) and value.tag.endswith(":null")
                if not is_null:  # else it is that of our own environment
                    piece.put(("env", name), self._text(self._scalar(value)), self._mark(key))
            return
        for item in self._items(node):
            name, sign, value = self._scalar(item).partition("=")
            if sign:
                piece.put(("env", name), self._text(value), self._mark(item))

    def _env_file(self, piece: Piece, option: str, node: _Node) -> None:
        files: list[str] = []
        for item in self._items(node):
            keys = dict(self._pairs(item))
            path = self._scalar(keys["path"][1]) if "path" in keys else self._scalar(item)
            is_needed = "required" not in keys or self._scalar(keys["required"][1]) != "false"
            whole = str(self._directory / path)
            files.append(whole if is_needed else f"?{whole}")
        piece.put(("env_files",), files, self._mark(node, option))

    def _user(self, piece: Piece, option: str, node: _Node) -> None:
        user, _, group = self._text(self._scalar(node)).partition(":")
        piece.put(("user",), user, self._mark(node, option))
        if group:
            piece.put(("group",), group, self._mark(node, option))

    def _ports(self, piece: Piece, option: str, node: _Node) -> None:
        for item in self._items(node):
            keys = dict(self._pairs(item))
            published = self._scalar(keys["published"][1]) if "published" in keys else self._scalar(item)
            target = self._scalar(keys["target"][1]) if "target" in keys else published.rpartition(":")[2]
            port = target.partition("/")[0]
            outer = published.rpartition(":")[0].rpartition(":")[2] or port
            if not port.isdigit() or "port" in piece.body:
                self._left_out(f"`ports` {shown(published)}", "one port of a service is known", item)
                continue
            piece.put(("port",), int(port), self._mark(item, option))
            if outer not in (port, published):
                why = f"it listens on {port} itself: nothing stands before a process that maps ports"
                self._left_out(f"`ports` {shown(published)}", why, item, service=piece.name)

    def _depends_on(self, piece: Piece, option: str, node: _Node) -> None:
        wanted: dict[str, str] = {}
        for item in self._items(node) if not isinstance(node, yaml.MappingNode) else []:
            wanted[self._scalar(item)] = "service_started"
        for name, (_, value) in self._pairs(node):
            condition = dict(self._pairs(value)).get("condition")
            wanted[name] = self._scalar(condition[1]) if condition else "service_started"
        for name, condition in wanted.items():
            if name not in self._names:
                why = f"{shown(name)} is not there"
                self._left_out("`depends_on`", why, node, service=piece.name)
                continue
            meaning = _CONDITIONS.get(condition, "started")
            piece.put(("depends_on", self._names[name]), meaning, self._mark(node, option))

    def _restart(self, piece: Piece, pair: tuple[_Node, _Node] | None) -> None:
        """Compose restarts nothing where it is not told to."""
        word, _, most = (self._scalar(pair[1]) if pair else "no").partition(":")
        mark = self._mark(pair[1], "restart") if pair else Mark(Location(self._shown), "default of")
        policy = {"always": "always", "unless-stopped": "always", "on-failure": "on-failure"}.get(
            word, "never"
        )
        piece.put(("restart", "policy"), policy, mark)
        if most.isdigit():
            piece.put(("restart", "max_restarts"), int(most), mark)
        elif policy != "never":
            piece.put(("restart", "max_restarts"), "unlimited", mark)

    def _healthcheck(self, piece: Piece, option: str, node: _Node) -> None:
        keys = dict(self._pairs(node))
        disabled = "disable" in keys and self._scalar(keys["disable"][1]) == "true"
        if "test" not in keys or disabled:
            return
        test = keys["test"][1]
        words = [self._scalar(item) for item in self._items(test)]
        if words[:1] == ["NONE"]:
            return
        mark = self._mark(test, option)
        path = ("probes", "readiness")
        if isinstance(test, yaml.SequenceNode) and words[0] == "CMD":
            piece.put((*path, "command"), [self._text(word) for word in words[1:]], mark)
        else:
            line = words[-1] if isinstance(test, yaml.SequenceNode) else words[0]
            piece.put((*path, "command"), ["/bin/sh", "-c", self._text(line)], mark)
        for key, name in (("interval", "period"), ("timeout", "timeout"), ("start_period", "initial_delay")):
            seconds = self._seconds(keys[key][1]) if key in keys else None
            if seconds is not None:
                piece.put((*path, name), seconds, self._mark(keys[key][1], key))
        if "retries" in keys and self._scalar(keys["retries"][1]).isdigit():
            retries = max(1, int(self._scalar(keys["retries"][1])))
            piece.put((*path, "failure_threshold"), retries, self._mark(keys["retries"][1], "retries"))

    def _deploy(self, piece: Piece, option: str, node: _Node) -> None:
        del option
        keys = dict(self._pairs(node))
        if "replicas" in keys:
            self._number(("replicas",))(piece, "deploy.replicas", keys["replicas"][1])
        limits = dict(self._pairs(keys["resources"][1])).get("limits") if "resources" in keys else None
        for name, (_, value) in self._pairs(limits[1]) if limits else []:
            reader = {
                "memory": self._size(("limits", "memory")),
                "cpus": self._number(("limits", "cpu")),
                "pids": self._number(("limits", "pids")),
            }.get(name)
            if reader is not None:
                reader(piece, f"deploy.resources.limits.{name}", value)

    def _profiles(self, piece: Piece, option: str, node: _Node) -> None:
        piece.put(("tags",), [self._scalar(item) for item in self._items(node)], self._mark(node, option))
        piece.put(
            ("enabled",), value=False, mark=self._mark(node, "of a profile, which is not started by itself")
        )
