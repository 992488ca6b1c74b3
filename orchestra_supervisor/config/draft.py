"""What a dialect hands on: services rewritten into the native form, and where each value stands.

A dialect neither checks values nor expands variables. It renames and rearranges; `aliases` lead from
a native key back to the key that the user wrote, so that every later finding names that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orchestra_supervisor.config.findings import Finding, Location
from orchestra_supervisor.config.jsonc import Node
from orchestra_supervisor.model.replicas import GroupSpec, ReplicaSpec

__all__ = [
    "BackendDraft",
    "Body",
    "Dialect",
    "KeyPath",
    "McpDraft",
    "Origin",
    "Reading",
    "ServiceDraft",
    "Source",
]

KeyPath = tuple[str | int, ...]
"""Keys and indices from an object down to a value."""

Body = dict[str, object]
"""An object of the native form before it is checked."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file that is being read.

    Attributes:
        path: Absolute.
        shown: As it was given; named in findings.
    """

    path: Path
    shown: str

    @property
    def directory(self) -> Path:
        """Return the folder that relative paths in the file start from."""
        return self.path.parent


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object of the native form was written.

    Attributes:
        source: The file.
        node: The object in it.
        aliases: Native path to the path that the user wrote, both below the object.
    """

    source: Source
    node: Node
    aliases: Mapping[KeyPath, KeyPath] = field(default_factory=dict[KeyPath, KeyPath])

    def written(self, path: KeyPath) -> KeyPath:
        """Return the user's path for a native one."""
        for length in range(len(path), 0, -1):
            alias = self.aliases.get(path[:length])
            if alias is not None:
                return alias + path[length:]
        return path

    def where(self, path: KeyPath = (), *, key: bool = False) -> Location:
        """Return the place of a value, or of the nearest one above it that was written.

        Args:
            path: Native path below the object.
            key: The place of its key instead of its value.
        """
        node, taken = self.node.find(self.written(path))
        return node.key_location if key or not taken else node.location

    def has(self, path: KeyPath) -> bool:
        """Tell whether this value was written."""
        written = self.written(path)
        return self.node.find(written)[1] == len(written)

    def named(self, path: KeyPath) -> str:
        """Return the user's key for a native path, dotted, without what shorthands add."""
        written = self.written(path)
        taken = self.node.find(written)[1]
        return ".".join(str(step) for step in written[: max(taken, 1)])


@dataclass(frozen=True, slots=True)
class ServiceDraft:
    """One service of one file in the native form, unchecked, variables not expanded.

    Attributes:
        name: Its id; of a replica `web@1`.
        body: Its keys.
        origin: Where they were written.
        borrowed: Places of what a template says of it.
        replica: Which replica it is; of a service with none of them the first one, for its faults.
        group: What holds for all replicas.
    """

    name: str
    body: Body
    origin: Origin
    borrowed: frozenset[Location] = frozenset()
    replica: ReplicaSpec | None = None
    group: GroupSpec | None = None


@dataclass(frozen=True, slots=True)
class BackendDraft:
    """One MCP server of one file."""

    name: str
    body: Body
    origin: Origin


@dataclass(frozen=True, slots=True)
class McpDraft:
    """What a file says of MCP servers. `head` holds `routing` and `cache`."""

    backends: tuple[BackendDraft, ...]
    head: Body
    origin: Origin


@dataclass(frozen=True, slots=True)
class Reading:
    """One file, read by its dialect.

    Attributes:
        source: The file.
        dialect: Name of the dialect.
        rank: Position of the dialect when two files describe one service; lower wins.
        services: In the order of the file.
        head: Everything but the services, in the native form.
        origin: Of the head.
        activates: A virtual environment beside the file is put first on PATH, and relative
            entries of path variables start from the file's folder.
        mcp: MCP servers, where the dialect has them.
        findings: What the dialect has to say.
    """

    source: Source
    dialect: str
    rank: int
    origin: Origin
    services: tuple[ServiceDraft, ...] = ()
    head: Body = field(default_factory=dict[str, object])
    activates: bool = False
    mcp: McpDraft | None = None
    findings: tuple[Finding, ...] = ()


class Dialect(Protocol):
    """One way of writing a fleet down."""

    @property
    def name(self) -> str:
        """Return the word for it in findings and documentation."""
        ...

    def detects(self, root: Node, source: Source) -> bool:
        """Tell whether a file is written in this dialect, by its content before its name."""
        ...

    def read(self, root: Node, source: Source) -> Reading:
        """Rewrite a file into the native form."""
        ...
