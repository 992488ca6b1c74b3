"""The bearer tokens of the HTTP address of the gateway: made, listed and revoked by people, matched by it.

They are kept as hashes in `mcp-tokens.json` of the state directory, mode 0600, made with the first token; a
token's text is shown once. Standard library only, and little of it: `orchestra mcp token` must start fast.
The file is `{"tokens": [{"name", "role", "sha256", "created"}]}`.
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "FILE_NAME",
    "ROLES",
    "Token",
    "TokenError",
    "TokenFile",
    "list_tokens",
    "make_token",
    "revoke_token",
]

FILE_NAME = "mcp-tokens.json"
ROLES = ("viewer", "operator", "admin")
"""Each may do what those before it may."""

_PREFIX = "orchestra_"  # so that a secret scanner, or a person, knows one that leaked
_MAX_FILE = 1024 * 1024  # bytes
_MAX_PRESENTED = 1024  # bytes of a token that is worth hashing
_MAX_NAME = 64


class TokenError(Exception):
    """The token file cannot be used, or what was asked of it cannot be done.

    Args:
        message: What and where.
        hint: The way out.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Token:
    """One token, without its text.

    Args:
        name: What a person calls it; unique in its file.
        role: One of ROLES.
        sha256: Of its text, in hex.
        created: Wall seconds.
    """

    __slots__ = ("created", "name", "role", "sha256")

    def __init__(self, name: str, role: str, sha256: str, created: float) -> None:
        self.name = name
        self.role = role
        self.sha256 = sha256
        self.created = created

    def __repr__(self) -> str:
        return f"Token(name={self.name!r}, role={self.role!r}, created={self.created!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and self.to_json() == other.to_json()

    def to_json(self) -> dict[str, object]:
        """Return it as the file has it."""
        return {"name": self.name, "role": self.role, "sha256": self.sha256, "created": self.created}


class TokenFile:
    """The tokens as the gateway asks for them: read again when the file has changed.

    Args:
        home: The state directory.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / FILE_NAME
        self._seen: tuple[int, int, int] | None = None
        self._tokens: list[Token] = []
        self._last: tuple[bytes, Token] | None = None
        """The text of the last one that was presented: mostly it is the next one, too."""

    def match(self, presented: str) -> Token | None:
        """Return the token that a caller presented, in a time that does not tell how near it came.

        Raises:
            TokenError: The file is there and cannot be used; nobody is let in.
        """
        self._refresh()
        if len(presented) > _MAX_PRESENTED:
            return None
        text = presented.encode("utf-8", "surrogatepass")
        if self._last is not None and hmac.compare_digest(self._last[0], text):
            return self._last[1]
        digest = _digest(presented)
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.sha256, digest):
                found = token
        if found is not None:
            self._last = text, found
        return found

    def _refresh(self) -> None:
        try:
            facts = self._path.stat()
        except FileNotFoundError:
            self._seen, self._last, self._tokens = None, None, []
            return
        except OSError as error:
            raise _unusable(self._path, error.strerror or str(error)) from error
        seen = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if seen != self._seen:
            self._seen, self._last, self._tokens = None, None, []  # what cannot be read lets nobody in
            self._tokens = _read(self._path)
            self._seen = seen


def list_tokens(home: Path) -> list[Token]:
    """Return the tokens in the order in which they were made.

    Raises:
        TokenError: The file is there and cannot be used.
    """
    return _read(home / FILE_NAME)


def make_token(home: Path, name: str, role: str, created: float) -> str:
    """Make a token and return its text, which is not kept.

    Args:
        home: The state directory.
        name: What to call it: printable, at most 64 characters, not yet taken.
        role: One of ROLES.
        created: Wall seconds, now.

    Raises:
        TokenError: The name or role cannot be, the name is taken, or the file cannot be used.
    """
    if role not in ROLES:
        raise TokenError(f"a token cannot have the role {role!r}", f"one of {', '.join(ROLES)}")
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        hint = f"printable characters, 1 to {_MAX_NAME} of them"
        raise TokenError(f"a token cannot be called {name!r}", hint)
    with _locked(home):
        tokens = _read(home / FILE_NAME)
        if any(token.name == name for token in tokens):
            raise TokenError(f"there is a token {name!r} already", "revoke it first, or use another name")
        text = _PREFIX + secrets.token_urlsafe(32)
        _write(home / FILE_NAME, [*tokens, Token(name, role, _digest(text), created)])
    return text


def revoke_token(home: Path, name: str) -> Token:
    """Take a token away: from the next request on nobody gets in with it.

    Returns:
        What was taken away.

    Raises:
        TokenError: There is none of this name, or the file cannot be used.
    """
    with _locked(home):
        tokens = _read(home / FILE_NAME)
        revoked = next((token for token in tokens if token.name == name), None)
        if revoked is None:
            known = ", ".join(token.name for token in tokens) or "none"
            raise TokenError(f"there is no token {name!r}", f"there are: {known}")
        _write(home / FILE_NAME, [token for token in tokens if token is not revoked])
    return revoked


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def _locked(home: Path) -> Generator[None, None, None]:
    """Keep other writers out; a lock of the directory needs no file of its own."""
    try:
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        hint = "start a fleet on this home first, or name another home"
        raise TokenError(f"the state directory {home} cannot be used: {error.strerror}", hint) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> list[Token]:
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if facts.st_uid not in {0, os.geteuid()} or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise _unusable(path, "others could have written it")
            content = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    if len(content) > _MAX_FILE:
        raise _unusable(path, f"it is over {_MAX_FILE} bytes")
    try:
        rows: list[dict[str, str | float]] = json.loads(content)["tokens"]
        return [_token(row) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unusable(path, f"it is not a list of tokens ({type(error).__name__}: {error})") from error


def _token(row: dict[str, str | float]) -> Token:
    name, role, sha256 = str(row["name"]), str(row["role"]), str(row["sha256"])
    bytes.fromhex(sha256)
    if role not in ROLES or len(sha256) != 64:
        raise ValueError(f"the token {name!r} has no role or no hash")
    return Token(name, role, sha256.lower(), float(row["created"]))


def _write(path: Path, tokens: list[Token]) -> None:
    """Replace the file as a whole: a reader sees the old one or the new one."""
    text = json.dumps({"tokens": [token.to_json() for token in tokens]}, indent=2) + "\n"
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise _unusable(path, error.strerror or str(error)) from error


def _unusable(path: Path, why: str) -> TokenError:
    hint = "put it right by hand, or remove it and make the tokens anew"
    return TokenError(f"the token file {path} cannot be used: {why}", hint)
