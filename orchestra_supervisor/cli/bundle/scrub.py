"""Keeping secrets out of what leaves the host.

Two nets: values that are known to be secret (the secrets file's, those of variables with a telling name)
are replaced wherever they stand, also quoted, escaped or in base64; and what looks like a secret, by what
stands before it, is replaced too. Neither is perfect; the manifest says so.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping

from orchestra_supervisor.config.findings import is_sensitive, masked
from orchestra_supervisor.unix_http import quote

__all__ = ["MASK", "Scrubber", "sensitive_values"]

MASK = "***"
_LONGEST_LINE = 4_000  # characters: the search takes time in the square of a word's length
_SHORTEST = 4  # characters of a value that is searched for: a shorter one stands in any text
_TRIVIAL = frozenset({"true", "false", "none", "null", "yes", "no", "on", "off"})
_ENVIRONMENTS = frozenset({"env", "environment", "headers"})
_PLACES = frozenset({"secrets_file"})  # keys with a telling name whose value is no secret
_REFERENCE = re.compile(r"secret:[^\s{}]+|\$\{secret:[^{}]*\}")
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)


class Scrubber:
    """Replaces secrets in texts and documents.

    Args:
        values: Secret values.
        is_env_shown: Leave the values of environment variables as they are, those with a telling name apart.
    """

    def __init__(self, values: Iterable[str], *, is_env_shown: bool) -> None:
        forms = {form for value in values if _is_telling(value) for form in _forms(value)}
        ordered = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self._is_env_shown = is_env_shown

    def text(self, text: str) -> str:
        """Return a text of any number of lines without secrets; very long lines lose their end."""
        text = _PRIVATE_KEY.sub(MASK, self._without_known(text))
        return "\n".join(self._line(line) for line in text.split("\n"))

    def document(self, value: object, key: str = "") -> object:
        """Return a JSON document without secrets; references to secrets stay."""
        match value:
            case str() if _REFERENCE.fullmatch(value):
                return value
            case str():
                return MASK if key not in _PLACES and is_sensitive(key) else self.text(value)
            case dict():
                is_env = key in _ENVIRONMENTS
                return {name: self._member(str(name), one, is_env=is_env) for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON
            case list():
                return self._list(value)  # pyright: ignore[reportUnknownArgumentType]  # JSON
            case _:
                return value

    def _member(self, name: str, value: object, *, is_env: bool) -> object:
        if is_env and isinstance(value, str) and not self._is_env_shown and not _REFERENCE.fullmatch(value):
            return MASK
        return self.document(value, name)

    def _list(self, values: list[object]) -> list[object]:
        """Return a list without secrets: of a command, also what follows an option with a telling name."""
        found: list[object] = []
        before = ""
        for value in values:
            is_told = before.startswith("-") and "=" not in before and is_sensitive(before)
            found.append(MASK if is_told and isinstance(value, str) else self.document(value))
            before = value if isinstance(value, str) else ""
        return found

    def _without_known(self, text: str) -> str:
        return text if self._known is None else self._known.sub(MASK, text)

    def _line(self, line: str) -> str:
        if len(line) > _LONGEST_LINE:
            line = f"{line[:_LONGEST_LINE]} ({len(line) - _LONGEST_LINE} characters left out)"
        return _BEARER.sub(rf"\1 {MASK}", masked(line))


def _is_telling(value: str) -> bool:
    return len(value) >= _SHORTEST and value.lower() not in _TRIVIAL and not _REFERENCE.fullmatch(value)


def _forms(value: str) -> set[str]:
    """Return how a value may be spelled where it turns up."""
    coded = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode("ascii").rstrip("=")
    quoted = quote(value) if value.isprintable() else value
    lines = {line.strip() for line in value.splitlines() if len(line.strip()) >= 16}
    return {
        value,
        quoted,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        coded,
        *lines,
    }


def sensitive_values(env: Mapping[str, str]) -> list[str]:
    """Return the values of the variables of an environment whose names tell that they are secret."""
    return [value for name, value in env.items() if is_sensitive(name)]
