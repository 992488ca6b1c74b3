"""Runs services in containers: `"target": {"name": "container", "options": {"image": "python:3.13-slim"}}`.

The client of Podman or Docker runs in the foreground and stands for the run: its output is the log, its exit
status the container's, and the signals of a stop go through it. The container's name follows from the fleet
and the service, so that what a killed client has left behind is removed before the next run and after each.
"""

import hashlib
import re
import shutil
from collections.abc import Sequence

from orchestra_supervisor.plugin_api.context import PluginContext
from orchestra_supervisor.plugin_api.hooks import hookimpl
from orchestra_supervisor.plugin_api.target import LocalRun, TargetRequest

NAME = "container"
VERSION = "1.0"
API_VERSION = 1

_ENGINES = ("podman", "docker")
_TEXTS = {"image": None, "network": "--network", "workdir": "--workdir", "user": "--user", "pull": "--pull"}
_NUMBERS = {"memory": "--memory", "cpus": "--cpus", "pids": "--pids-limit"}
_LISTS = {"volumes": "--volume", "publish": "--publish", "arguments": None}
_KINDS = {(True, False): "text", (False, True): "a list of texts", (False, False): "a number or a size"}
_QUIETLY = ("/bin/sh", "-c", '"$@" >/dev/null 2>&1 || :', "sh")
"""Runs a command whose failure means nothing: there was no container to remove."""


class ContainerTarget:
    """Containers of one engine.

    Args:
        engine: The client and its global options; empty: podman, or docker where there is no podman.
    """

    name = "container"

    def __init__(self, engine: Sequence[str]) -> None:
        self._engine = tuple(engine)

    def faults(self, request: TargetRequest) -> Sequence[str]:
        """Return what is wrong with a service's options, and what of it a container is not given."""
        options, found = request.options, list[str]()
        for key, value in options.items():
            if key in _TEXTS:
                is_right = isinstance(value, str) and value != ""
            elif key in _NUMBERS:
                is_right = isinstance(value, str | int | float) and not isinstance(value, bool)
            elif key in _LISTS:
                is_right = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
            else:
                known = ", ".join(sorted({*_TEXTS, *_NUMBERS, *_LISTS}))
                found.append(f"unknown option {key!r}; known: {known}")
                continue
            if not is_right:
                kind = (
                    "text" if key in _TEXTS else "a list of texts" if key in _LISTS else "a number or a size"
                )
                found.append(f"option `{key}` must be {kind}")
        if not options.get("image"):
            found.append("option `image` is missing")
        if request.uses:
            own = "`memory`, `cpus`, `pids` and `user` are options of the target"
            found.append(f"a container is not given {', '.join(sorted(request.uses))}: {own}")
        if self._command() is None:
            found.append(
                f"{self._engine[0] if self._engine else ' and '.join(_ENGINES)}: not found on this host"
            )
        return found

    async def prepare(self, request: TargetRequest) -> LocalRun:
        """Return the client's command for a run."""
        engine = self._command()
        if engine is None:
            raise ValueError("no container engine is on this host")
        name = container_name(request.home, request.service)
        words = [*engine, "run", "--rm", "--name", name, "--label", f"orchestra.run={request.run}"]
        for key, flag in (_TEXTS | _NUMBERS).items():
            if flag is not None and key in request.options:
                words.append(f"{flag}={request.options[key]}")
        for key, flag in _LISTS.items():
            entries = request.options.get(key)
            for entry in entries if isinstance(entries, list) else ():
                words += [str(entry)] if flag is None else [f"{flag}={entry}"]
        # Names alone: the client takes the values from its environment, where no process list shows them.
        words += [f"--env={variable}" for variable in sorted(request.env)]
        words += [str(request.options["image"]), *request.argv]
        remove = (*_QUIETLY, *engine, "rm", "--force", name)
        return LocalRun(tuple(words), before=(remove,), after=(remove,))

    def _command(self) -> tuple[str, ...] | None:
        """Return the client by its path: the service's own PATH is the container's."""
        for name in self._engine[:1] or _ENGINES:
            path = shutil.which(name)
            if path is not None:
                return (path, *self._engine[1:])
        return None


def container_name(home: str, service: str) -> str:
    """Return the name of a service's container: the same in each run, another in each fleet."""
    mark = hashlib.sha256(f"{home}\0{service}".encode()).hexdigest()[:8]
    return f"orchestra-{re.sub('[^A-Za-z0-9_.-]', '-', service)}-{mark}"


@hookimpl
def register_targets(context: PluginContext) -> list[ContainerTarget]:
    """Return the target; `engine` is the client: a text, or a list with its global options."""
    context.allow("engine")
    engine = context.options.get("engine", [])
    words = [engine] if isinstance(engine, str) else engine
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise ValueError('option `engine` must be text or a list: "docker", ["podman", "--log-level=error"]')
    return [ContainerTarget([str(word) for word in words])]
