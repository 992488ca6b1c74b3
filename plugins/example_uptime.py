"""Keeps a file with the seconds that each service has been ready: the example of docs/plugins.md."""

import json
from collections.abc import Sequence
from pathlib import Path

import anyio

from orchestra_supervisor.model.events import Event
from orchestra_supervisor.plugin_api.context import PluginContext
from orchestra_supervisor.plugin_api.hooks import hookimpl

NAME = "uptime"
VERSION = "1.0"
API_VERSION = 1


class UptimeFile:
    """An event sink: it gets every event, in order."""

    name = "uptime"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._since: dict[str, float] = {}
        self._seconds: dict[str, float] = {}

    async def take(self, events: Sequence[Event]) -> None:
        """Count a batch. When this raises, the same batch comes again: keep nothing before it is done."""
        since, seconds = dict(self._since), dict(self._seconds)
        for event in events:
            name = event.service
            if event.kind == "service.ready":
                since.setdefault(name, event.at_wall)
            elif event.kind in {"service.unhealthy", "service.exited", "service.stopping"}:
                seconds[name] = seconds.get(name, 0.0) + event.at_wall - since.pop(name, event.at_wall)
        await anyio.Path(self._path).write_text(json.dumps(seconds), encoding="utf-8")
        self._since, self._seconds = since, seconds


@hookimpl
def register_event_sinks(context: PluginContext) -> list[UptimeFile]:
    """Return the sink that the options describe; a fault of them is a ValueError."""
    path = context.options.get("path")
    if not isinstance(path, str):
        raise ValueError('option `path` must be text: {"path": "/srv/ai/uptime.json"}')
    return [UptimeFile(Path(path))]
