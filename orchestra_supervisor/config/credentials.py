"""Secrets that systemd hands down as files, one a credential.

They are in `$CREDENTIALS_DIRECTORY`, the unit's alone. Source: systemd.exec(5), "Credentials".
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from orchestra_supervisor.config.files import MAX_FILE_SIZE, opened, read_all
from orchestra_supervisor.model.errors import SecretError
from orchestra_supervisor.model.spec import FleetSettings

__all__ = ["CREDENTIALS_VARIABLE", "Credentials", "credentials_for"]

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
"""Environment variable that names the directory."""


def credentials_for(settings: FleetSettings, environ: Mapping[str, str]) -> "Credentials | None":
    """Return the credentials that a fleet may use, or None.

    Args:
        settings: `credentials` says whether; where it says nothing, whether there are any.
        environ: Environment of the supervisor.
    """
    directory = environ.get(CREDENTIALS_VARIABLE, "")
    if settings.credentials is False or not (directory or settings.credentials):
        return None
    return Credentials(directory)


class Credentials:
    """The credentials of one directory; each is read when it is asked for.

    Args:
        directory: Absolute; empty where nobody handed one down: then asking is an error.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def names(self) -> list[str]:
        """Return the names of all credentials, for a hint; empty when the directory cannot be read."""
        try:
            return sorted(os.listdir(self.directory)) if self.directory else []  # noqa: PTH208 - names, not paths
        except OSError:
            return []

    def value(self, name: str) -> str | None:
        """Return the text of a credential, without a line break at its end; None where there is none.

        Raises:
            SecretError: It cannot be read, is not text, or is open to others.
        """
        if not self.directory:
            raise SecretError(
                f"settings.credentials is true, and ${CREDENTIALS_VARIABLE} is not set",
                hint="LoadCredential= in the unit makes systemd set it",
            )
        if "/" in name or name in (".", ".."):
            return None
        path = Path(self.directory, name)
        try:
            with opened(path) as descriptor:
                _refuse_open(os.fstat(descriptor), path)
                data = read_all(descriptor)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise SecretError(
                f"credential {path} cannot be read: {reason}", hint="check LoadCredential= of the unit"
            ) from error
        return self._text(data, path)

    @staticmethod
    def _text(data: bytes, path: Path) -> str:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = "\x00"  # the error would carry the bytes
        if len(data) > MAX_FILE_SIZE or "\x00" in text:
            raise SecretError(
                f"credential {path} is not text", hint="an environment variable holds text alone"
            )
        return text.removesuffix("\n")


def _refuse_open(status: os.stat_result, path: Path) -> None:
    """Refuse a file that others can read or change.

    For a unit with `User=` systemd leaves the file root's and lets that user read it by an access list, whose
    mask stands where the rights of the group are: reading by root's group is therefore no one else's reading.
    """
    if not stat.S_ISREG(status.st_mode):
        raise SecretError(
            f"credential {path} is not a regular file", hint="check LoadCredential= of the unit"
        )
    mode = stat.S_IMODE(status.st_mode)
    is_roots = status.st_uid == 0 and status.st_gid == 0
    if mode & (0o037 if is_roots else 0o077):
        raise SecretError(
            f"credential {path} has mode {mode:04o}: others may read or change it", hint=f"chmod 400 {path}"
        )
    if status.st_uid not in (0, os.geteuid()):
        raise SecretError(
            f"credential {path} belongs to user {status.st_uid}, not to root or to us",
            hint="systemd makes these files; another directory is none of its",
        )
