"""Secret values, read from a file that nobody else may read, at the moment a process needs them.

`secret:NAME` as a whole value, or `${secret:NAME}` inside a longer one, stands for a secret. NAME is a key
of the file, or keys of nested objects joined by dots. Values appear in no message of ours.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestra_supervisor.config.credentials import Credentials
from orchestra_supervisor.config.environment import SECRET_REFERENCE
from orchestra_supervisor.config.files import MAX_FILE_SIZE, opened, read_all
from orchestra_supervisor.config.jsonc import Node, parse
from orchestra_supervisor.config.judge import nearest
from orchestra_supervisor.model.errors import SecretError

__all__ = ["SecretStore", "ValueOf", "fill_secrets", "secret_names"]

_INLINE = re.compile(r"\$\{secret:([^{}]*)\}")
_Stamp = tuple[int, int, int, int]

ValueOf = Callable[[str, str], str]
"""Returns the value of a secret by (name, variable that it is for); raises SecretError."""


def secret_names(value: str) -> list[str]:
    """Return the names of the secrets that a value refers to."""
    whole = SECRET_REFERENCE.fullmatch(value)
    return [whole[1]] if whole else _INLINE.findall(value)


def fill_secrets(env: Mapping[str, str], value_of: ValueOf) -> dict[str, str]:
    """Return an environment with references replaced by values.

    Raises:
        SecretError: As `value_of` does.
    """
    result: dict[str, str] = {}
    for variable, value in env.items():
        whole = SECRET_REFERENCE.fullmatch(value)
        if whole:
            result[variable] = value_of(whole[1], variable)
        else:
            result[variable] = _INLINE.sub(lambda match, to=variable: value_of(match[1], to), value)
    return result


class SecretStore:
    """The secrets of one file. The file is read when it is first needed, and again when it has changed.

    Args:
        path: The file, or None where the fleet has none.
        credentials: Asked for what the file does not have, or None. With neither, any reference is an error.
    """

    def __init__(self, path: str | Path | None, credentials: Credentials | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._credentials = credentials
        self._stamp: _Stamp | None = None
        self._values: dict[str, str | None] = {}

    def resolve(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return an environment with references replaced by values. Blocks for the reading of a file.

        Raises:
            SecretError: A secret is missing or not text; the file is missing, malformed, or open to others.
        """
        return fill_secrets(env, self.reader())

    def reader(self) -> "ValueOf":
        """Return what looks names up in one reading of the file, which is done when it is first asked."""
        read: list[Mapping[str, str | None]] = []

        def value_of(name: str, variable: str) -> str:
            if not read:
                read.append(self._read())
            return self._value(read[0], name, variable)

        return value_of

    def values(self) -> list[str]:
        """Return every value, for whoever has to keep them out of a text; none where there is no file.

        Raises:
            SecretError: The file cannot be used.
        """
        return [] if self._path is None else [value for value in self._read().values() if value]

    def _value(self, values: Mapping[str, str | None], name: str, variable: str) -> str:
        value = values.get(name)
        if value is not None and "\x00" not in value:
            return value
        if name in values:
            wrong = "is not text" if value is None else "holds a NUL character"
            hint = "a secret is text, a number or a truth; name nested ones with dots"
            raise SecretError(
                f"secret {name!r} for {variable} {wrong} in {self._path}", hint=hint, secret=name
            )
        known = list(values)
        if self._credentials is not None:
            value = self._credentials.value(name)
            if value is not None:
                return value
            known += self._credentials.names()
        near = nearest(name, known)
        hint = f"did you mean {near!r}?" if near else f"add {name!r} to {self._places(' or ')}"
        raise SecretError(
            f"secret {name!r} for {variable} is not in {self._places(' nor in ')}", hint=hint, secret=name
        )

    def _places(self, link: str) -> str:
        directory = None if self._credentials is None else self._credentials.directory
        return link.join(str(place) for place in (self._path, directory) if place is not None)

    def _read(self) -> dict[str, str | None]:
        if self._path is None and self._credentials is not None:
            return self._values
        if self._path is None:
            hint = "name a file in settings.secrets_file"
            raise SecretError("secrets are used, and the fleet has no secrets file", hint=hint)
        try:
            with opened(self._path) as descriptor:
                status = os.fstat(descriptor)
                self._refuse_open(status)
                stamp = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
                if stamp != self._stamp:
                    self._values = self._parse(read_all(descriptor))
                    self._stamp = stamp
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            hint = "check settings.secrets_file"
            raise SecretError(f"secrets file {self._path} cannot be read: {reason}", hint=hint) from error
        return self._values

    def _refuse_open(self, status: os.stat_result) -> None:
        """Refuse a file that others can read or change."""
        if not stat.S_ISREG(status.st_mode):
            raise SecretError(f"secrets file {self._path} is not a regular file", hint="check its path")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise SecretError(
                f"secrets file {self._path} has mode {mode:04o}: others may read or change it",
                hint=f"chmod 600 {self._path}",
            )
        if status.st_uid not in (0, os.geteuid()):
            raise SecretError(
                f"secrets file {self._path} belongs to user {status.st_uid}, not to root or to us",
                hint=f"chown {os.geteuid()} {self._path}",
            )

    def _parse(self, data: bytes) -> dict[str, str | None]:
        if len(data) > MAX_FILE_SIZE:
            hint = "is it the right file?"
            raise SecretError(f"secrets file {self._path} is over {MAX_FILE_SIZE} bytes", hint=hint)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            # The cause would carry the bytes.
            raise SecretError(f"secrets file {self._path} is not UTF-8", hint="save it as UTF-8") from None
        document = parse(text, str(self._path))
        errors = [finding for finding in document.findings if finding.severity == "error"]
        if errors or document.root is None:
            place = errors[0].where[0]
            fault = f"secrets file {place.path}:{place.line}:{place.column}: {errors[0].message}"
            raise SecretError(fault, hint=errors[0].hint)
        if document.root.kind != "object":
            raise SecretError(
                f"secrets file {self._path} is not a JSON object", hint='write {"NAME": "value"}'
            )
        values: dict[str, str | None] = {}
        _flatten(document.root, "", values)
        return values


def _flatten(node: Node, prefix: str, values: dict[str, str | None]) -> None:
    """Collect values under dotted names; None for what is there and is not text."""
    for key, member in node.members.items():
        name = f"{prefix}{key}"
        if member.kind == "object":
            values.setdefault(name, None)
            _flatten(member, f"{name}.", values)
        elif isinstance(member.value, bool):
            values[name] = "true" if member.value else "false"
        else:
            values[name] = None if member.value is None else str(member.value)
