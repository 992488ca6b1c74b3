"""Session ids that say, signed, all that a handshake session is: the next gateway knows them as well.

`<payload>.<signature>`: base64url of a JSON object, and of its HMAC-SHA256 by a key in the state directory.
Nobody but us can make one, and one of another user is no use: the principal is in it.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from orchestra_supervisor.gateway.endpoint import HANDSHAKE_VERSIONS, Caller, Era, Role
from orchestra_supervisor.gateway.front.wire import as_object
from orchestra_supervisor.gateway.messages import Json

__all__ = ["KEY_FILE", "KnownSession", "SessionKey", "load_session_key"]

KEY_FILE = "mcp-session.key"
_KEY_BYTES = 32
_MAX_ID = 8 * 1024  # characters that are worth checking; what we make is shorter
_MAX_CAPABILITIES = 2048  # characters of JSON; larger ones keep their names only
_MAX_TEXT = 200  # characters of a client's name, title or version


@dataclass(frozen=True, slots=True)
class KnownSession:
    """What an id says.

    Attributes:
        path: Where the session talks.
        caller: Who talks; the role is that of the request that brought the id.
    """

    path: str
    caller: Caller


class SessionKey:
    """Makes and reads session ids.

    Args:
        key: The secret.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, path: str, caller: Caller) -> str:
        """Return a new id for a session."""
        said: Json = {
            "v": caller.version,
            "c": _trimmed_client(caller),
            "k": _trimmed_capabilities(caller),
            "e": path,
            "p": caller.principal,
            "n": secrets.token_urlsafe(9),
        }
        # Not in ASCII: six characters for one would make an id of long names longer than is worth checking.
        text = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
        payload = _pack(text.encode("utf-8", "surrogatepass"))
        return f"{payload}.{self._sign(payload)}"

    def read(self, session_id: str, path: str, principal: str, role: Role) -> KnownSession | None:
        """Return what an id says.

        Args:
            session_id: As the client sent it.
            path: Where the client sent it to.
            principal: Who sent it.
            role: What they may do, now.

        Returns:
            None where it is not ours, or is of another path or principal.
        """
        payload, _, signature = session_id.partition(".")
        if len(session_id) > _MAX_ID or not session_id.isascii():
            return None
        if not hmac.compare_digest(self._sign(payload), signature):
            return None
        try:
            said: Json = json.loads(_unpack(payload))
        except (ValueError, binascii.Error):  # signed with this key, but by another program
            return None
        version = said.get("v")
        if said.get("e") != path or said.get("p") != principal or version not in HANDSHAKE_VERSIONS:
            return None
        name = hashlib.sha256(session_id.encode("ascii")).hexdigest()[:16]
        client, capabilities = as_object(said.get("c")), as_object(said.get("k"))
        caller = Caller(principal, role, Era.HANDSHAKE, str(version), client, capabilities, name)
        return KnownSession(path, caller)

    def _sign(self, payload: str) -> str:
        return _pack(hmac.new(self._key, payload.encode("ascii"), hashlib.sha256).digest())


def load_session_key(home: Path) -> SessionKey:
    """Return the key of a state directory; made on first use, mode 0600.

    Raises:
        OSError: It can be neither read nor made.
    """
    path = home / KEY_FILE
    for _ in range(2):
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            _make_key(path)
            continue
        if len(key) == _KEY_BYTES:
            return SessionKey(key)
        path.unlink()  # cut short by a full disk, say: no id made with it can be known any more
    return SessionKey(path.read_bytes())


def _make_key(path: Path) -> None:
    """Make a key file that is there as a whole or not at all, whoever else makes one at the same time."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _trimmed_client(caller: Caller) -> Json:
    kept = ((name, caller.client.get(name)) for name in ("name", "title", "version"))
    return {name: value[:_MAX_TEXT] for name, value in kept if isinstance(value, str)}


def _trimmed_capabilities(caller: Caller) -> Json:
    text = json.dumps(caller.capabilities)
    if len(text) <= _MAX_CAPABILITIES:
        return dict(caller.capabilities)
    return {name: {} for name in ("roots", "sampling", "elicitation") if name in caller.capabilities}


def _pack(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _unpack(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
