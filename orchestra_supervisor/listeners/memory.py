"""What outlives a listener process of ours that is killed: all it knows, after every turn.

The state is one file, replaced whole. Beside it stands who is in doubt: before a listener is read or
written its run is named there, and when the state that follows is kept the name goes. So whoever comes next
knows whom its predecessor may have heard or told something that nobody knows of any more.

Nothing is forced to the disk: a host that goes down takes the fleet with it, and then all this is void.
"""

import json
import os
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import cast

__all__ = ["Memory"]

Json = dict[str, object]

VERSION = 1


class Memory:
    """The files of one home.

    Args:
        directory: Where they are; made when missing.

    Raises:
        OSError: It cannot be made, or not written to.
    """

    def __init__(self, directory: str) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._path = os.path.join(directory, "state.json")
        self._doubt = os.open(
            os.path.join(directory, "doubt.json"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._doubted: set[str] = set()

    def close(self) -> None:
        """Close the files."""
        os.close(self._doubt)

    def load(self, fleet: float) -> Json | None:
        """Return the state that was kept last for a fleet, or None.

        Args:
            fleet: When its keeper started: what was kept for another one is void.
        """
        try:
            with open(self._path, encoding="utf-8") as file:
                held: object = json.load(file)
        except (OSError, ValueError):
            return None
        state = cast("Json", held) if isinstance(held, dict) else {}
        return state if (state.get("version"), state.get("fleet")) == (VERSION, fleet) else None

    def in_doubt(self) -> list[str]:
        """Return the runs that the last one was talking with when it was killed."""
        text = os.pread(self._doubt, 1024 * 1024, 0).decode("utf-8", "replace") or "[]"
        try:  # what a longer list left behind a shorter one means nothing
            named: object = json.JSONDecoder().raw_decode(text)[0]
        except ValueError:
            return []
        return [str(one) for one in cast("list[object]", named)] if isinstance(named, list) else []

    def doubt(self, run: str) -> None:
        """A run is about to be read or written."""
        if run in self._doubted:
            return
        self._doubted.add(run)
        data = json.dumps(sorted(self._doubted)).encode()
        with suppress(OSError):
            os.pwrite(self._doubt, data, 0)
            os.ftruncate(self._doubt, len(data))

    def keep(self, fleet: float, state: Json, *, still: AbstractSet[str] = frozenset()) -> None:
        """Keep the state; from here on nobody is in doubt.

        Args:
            fleet: When its keeper started.
            state: JSON-ready.
            still: Runs that were told only half of something.

        Raises:
            OSError: It cannot be written.
        """
        text = json.dumps({"version": VERSION, "fleet": fleet, **state}, separators=(",", ":"))
        scratch = f"{self._path}.new"
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(scratch, self._path)
        if self._doubted != still:
            self._doubted = set(still)
            data = json.dumps(sorted(still)).encode() if still else b""
            os.pwrite(self._doubt, data, 0)
            os.ftruncate(self._doubt, len(data))
