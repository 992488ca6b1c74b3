"""What a stateless client carries between two requests, sealed so that it can only be handed back.

A seal says for whom, for which tool and for which arguments it was made, and until when it holds. Its key is
in the state directory, so that it holds over a gateway that is replaced. One that was used is not taken again
for as long as this gateway lives.

Source: RFC 2104 (HMAC).
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

__all__ = ["SEAL_HOLDS", "BadSeal", "Sealer", "load_key"]

SEAL_HOLDS = 600.0
"""Seconds."""
_KEY_FILE = "mcp-control.key"
_KEY_SIZE = 32
_USED = 10_000  # seals remembered as used
_LONGEST = 4_096  # characters


class BadSeal(Exception):
    """It is none of ours, too old, used, or made for something else; the text says which."""


def load_key(home: Path) -> bytes:
    """Return the key of a home, made on first use, readable for its owner alone. Blocks for the file.

    Raises:
        OSError: It can be neither read nor made.
    """
    path = home / _KEY_FILE
    for _ in range(2):
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            key = b""
        if len(key) == _KEY_SIZE:
            return key
        fresh = path.with_name(f"{_KEY_FILE}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(_KEY_SIZE))
        finally:
            os.close(descriptor)
        if key:
            fresh.replace(path)  # what is there is no key
        else:
            try:
                path.hardlink_to(fresh)  # unlike a rename, this does not take another gateway's key away
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
    return path.read_bytes()


class Sealer:
    """Makes and opens seals.

    Args:
        key: 32 bytes.
        now: Returns wall seconds.
    """

    def __init__(self, key: bytes, now: Callable[[], float]) -> None:
        self._key = key
        self._now = now
        self._used: OrderedDict[str, None] = OrderedDict()

    def seal(self, principal: str, tool: str, arguments: object) -> str:
        """Return a seal for whoever called a tool with these arguments."""
        facts = {
            "for": _digest([principal, tool, arguments]),
            "until": round(self._now() + SEAL_HOLDS),
            "once": secrets.token_hex(8),
        }
        body = _encode(json.dumps(facts, separators=(",", ":")).encode("ascii"))
        return f"{body}.{self._signature(body)}"

    def open(self, sealed: object, principal: str, tool: str, arguments: object) -> None:
        """Take a seal that holds; it does not hold a second time.

        Raises:
            BadSeal: It does not hold.
        """
        if not isinstance(sealed, str) or len(sealed) > _LONGEST:
            raise BadSeal("it is not of this fleet")
        body, _, signature = sealed.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            raise BadSeal("it is not of this fleet")
        try:
            facts: dict[str, str] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValueError, binascii.Error) as error:
            raise BadSeal("it is not of this fleet") from error
        if facts["for"] != _digest([principal, tool, arguments]):
            raise BadSeal("it was made for another call")
        if float(facts["until"]) < self._now():
            raise BadSeal(f"it is older than {SEAL_HOLDS:g} s")
        if facts["once"] in self._used:
            raise BadSeal("it was used already")
        self._used[facts["once"]] = None
        while len(self._used) > _USED:
            self._used.popitem(last=False)

    def _signature(self, body: str) -> str:
        return _encode(hmac.digest(self._key, body.encode(), hashlib.sha256))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")
