"""Dialects of plugins: further shapes of JSON files that describe services."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

__all__ = ["Dialect", "JsonObject", "JsonPath", "Note", "TranslatedService", "Translation"]

JsonObject = Mapping[str, JsonValue]
"""An object of a file: plain values."""
JsonPath = tuple[str | int, ...]
"""Keys and indices from the top of a file, or of an object, down to a value."""


@dataclass(frozen=True, slots=True)
class TranslatedService:
    """One service in the native form.

    Attributes:
        name: Its id.
        body: Keys of docs/configuration.md and their values, variables not filled in.
        written: Where the object that describes it stands in the file.
        aliases: Native path to the path that the user wrote, both below the object, so that a finding
            names the user's line.
    """

    name: str
    body: JsonObject
    written: JsonPath
    aliases: Mapping[JsonPath, JsonPath] = field(default_factory=dict[JsonPath, JsonPath])


@dataclass(frozen=True, slots=True)
class Note:
    """What the dialect has to say about a place of the file: a warning of `orchestra check`."""

    message: str
    written: JsonPath = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Translation:
    """A file in the native form.

    Attributes:
        services: In the order of the file.
        head: Everything else, in the native form: `settings`, `include`.
        notes: What is doubtful.
    """

    services: tuple[TranslatedService, ...]
    head: JsonObject = field(default_factory=dict[str, JsonValue])
    notes: tuple[Note, ...] = ()


class Dialect(Protocol):
    """One way of writing a fleet down. Asked only for files that no built-in dialect takes."""

    @property
    def name(self) -> str:
        """Return the word for it in findings."""
        ...

    def detects(self, document: JsonObject, path: Path) -> bool:
        """Tell whether a file is written in this dialect, by its content before its name."""
        ...

    def read(self, document: JsonObject, path: Path) -> Translation:
        """Rewrite a file; values are neither checked nor filled in here."""
        ...
