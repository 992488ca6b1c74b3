"""Dialects of plugins, as the load sees them: plain values go out, drafts with places come back."""

from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import JsonValue

from orchestra_supervisor.config.draft import Body, Origin, Reading, ServiceDraft, Source
from orchestra_supervisor.config.findings import Finding, Severity, shown
from orchestra_supervisor.config.jsonc import Node
from orchestra_supervisor.model.errors import OrchestraError
from orchestra_supervisor.plugin_api.dialect import JsonObject, Translation
from orchestra_supervisor.plugin_api.offers import LoadedPlugin

__all__ = ["read_with_plugins"]

RANK = 10
"""After every built-in dialect where two files describe one service."""


def read_with_plugins(
    root: Node, source: Source, plugins: Sequence[LoadedPlugin]
) -> Reading | Finding | None:
    """Read a file that no built-in dialect takes.

    Args:
        root: The file.
        source: Where it is.
        plugins: Loaded ones; each is asked in its thread, within its time.

    Returns:
        What it says, the fault of the plugin that wanted it, or None where none wants it.
    """
    if root.kind != "object":
        return None
    document = cast("JsonObject", root.to_python())
    for plugin in plugins:
        for dialect in plugin.offers.dialects.values():
            try:
                if not plugin.call_blocking("detects", dialect.detects, document, source.path):
                    continue
                translation = plugin.call_blocking("read", dialect.read, document, source.path)
                return _reading(_held_to_type(translation), root, source, plugin.name)
            except OrchestraError as error:
                return _fault(plugin, error.message, error.hint, root)
            except Exception as error:  # noqa: BLE001 - a plugin's edge
                return _fault(plugin, f"{type(error).__name__}: {error}", "", root)
    return None


def _fault(plugin: LoadedPlugin, message: str, hint: str, root: Node) -> Finding:
    text = f"plugin {plugin.name} cannot read this file: {shown(message)}"
    return Finding(Severity.ERROR, "plugin.dialect", text, (root.location,), hint=hint)


def _held_to_type(translation: object) -> Translation:
    if not isinstance(translation, Translation):
        msg = f"`read` returned {type(translation).__name__}, not a Translation"
        raise TypeError(msg)
    return translation


def _reading(translation: Translation, root: Node, source: Source, name: str) -> Reading:
    drafts = tuple(
        ServiceDraft(one.name, _copy(one.body), Origin(source, root.find(one.written)[0], dict(one.aliases)))
        for one in translation.services
    )
    notes = tuple(
        Finding(
            Severity.WARNING,
            "plugin.note",
            shown(note.message),
            (root.find(note.written)[0].location,),
            hint=note.hint,
        )
        for note in translation.notes
    )
    head = _copy(translation.head)
    return Reading(source, name, RANK, Origin(source, root), services=drafts, head=head, findings=notes)


def _copy(body: Mapping[str, JsonValue]) -> Body:
    return dict(body)
