"""Which secrets of a run have another value now, by digests alone.

Values are kept nowhere. A digest is keyed, and made for one run and one name: it says that a value is not the
one the run was started with, and nothing else; two runs with the same value have different digests. Whoever
has digests without the key cannot try values on them (ADR-0014).
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

__all__ = ["Holding", "digests_of", "holding_from", "outdated", "to_note"]

_DIGITS = 32  # of a digest: 128 bits


@dataclass(frozen=True, slots=True)
class Holding:
    """What one run was started with.

    Attributes:
        run: Its id.
        digests: Name of a secret to the digest of its value.
    """

    run: str
    digests: Mapping[str, str]


def digests_of(key: bytes, run: str, values: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of values by name, as they are for one run."""
    return {name: _digest(key, run, name, value) for name, value in values.items()}


def outdated(key: bytes, holding: Holding, values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names whose values are other ones than the run was started with.

    Args:
        key: Of the digests.
        holding: What the run has.
        values: As they are now; names that the run knows nothing of do not count.
    """
    now = digests_of(key, holding.run, values)
    return tuple(sorted(name for name in now if holding.digests.get(name, now[name]) != now[name]))


def to_note(holding: Holding) -> dict[str, object]:
    """Return the JSON form, for the keeper."""
    return {"run": holding.run, "digests": dict(holding.digests)}


def holding_from(note: object) -> Holding | None:
    """Return what a note says; None where it cannot be read."""
    if not isinstance(note, dict):
        return None
    held = cast("Mapping[str, object]", note)
    run, digests = held.get("run"), held.get("digests")
    if not isinstance(run, str) or not isinstance(digests, dict):
        return None
    entries = cast("Mapping[object, object]", digests)
    return Holding(run, {str(name): str(digest) for name, digest in entries.items()})


def _digest(key: bytes, run: str, name: str, value: str) -> str:
    message = "\0".join((run, name, value)).encode("utf-8", "surrogatepass")
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:_DIGITS]
