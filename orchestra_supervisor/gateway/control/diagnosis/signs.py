"""What lines of a log say about why a program cannot work: the words that runtimes use for it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from orchestra_supervisor.gateway.control.untrusted import LogLine

__all__ = ["Sign", "error_lines", "find_signs"]

_NAME = r"[A-Z][A-Z0-9_]{2,63}"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "port",
        re.compile(
            r"(?:address already in use|EADDRINUSE|only one usage of each socket|BindException"
            r"|port \S{1,30} (?:is )?"
            r"(?:already )?in use|bind\(\) to \S{1,60} failed)",
            re.IGNORECASE,
        ),
    ),
    ("env", re.compile(rf"KeyError: ['\"](?P<what>{_NAME})['\"]")),
    (
        "env",
        re.compile(
            rf"(?:environment variable|env(?:ironment)? var|env)[ :]{{1,3}}['\"`$]?(?P<what>{_NAME})['\"`]?"
            r"[^.]{0,40}?"
            r"(?:not set|unset|missing|required|not found|undefined|is empty|must be set)",
            re.IGNORECASE,
        ),
    ),
    (
        "env",
        re.compile(
            rf"(?:missing|required|undefined|unset)[^.'\"`]{{0,40}}"
            r"(?:environment variable|env(?:ironment)? var(?:iable)?)s?"
            rf"[ :]{{1,3}}['\"`$]?(?P<what>{_NAME})"
        ),
    ),
    (
        "env",
        re.compile(
            r"\b(?P<what>[A-Z][A-Z0-9]{0,40}_[A-Z0-9_]{1,60})\b (?:is |was )?"
            r"(?:not set|unset|missing|must be set|required)"
        ),
    ),
    (
        "module",
        re.compile(
            r"(?:ModuleNotFoundError|ImportError): (?:No module named|cannot import name) "
            r"['\"]?(?P<what>[\w.]{1,80})"
        ),
    ),
    ("module", re.compile(r"Cannot find (?:module|package) ['\"](?P<what>[^'\"]{1,200})['\"]")),
    ("module", re.compile(r"error while loading shared libraries: (?P<what>\S{1,80})")),
    ("command", re.compile(r"(?:^|: )(?P<what>[\w./-]{1,80}): (?:command )?not found\s*$")),
    (
        "file",
        re.compile(
            r"(?:can't open file|cannot open|could not open|No such file or directory:"
            r"|ENOENT: no such file or directory, \w+)"
            r" ?['\"]?(?P<what>/?[^'\",:\s]{1,200})",
            re.IGNORECASE,
        ),
    ),
    ("file", re.compile(r"(?P<what>/[^\s:'\"]{1,200}): No such file or directory")),
    ("file", re.compile(r"no such file or directory", re.IGNORECASE)),
    (
        "permission",
        re.compile(
            r"(?:permission denied|EACCES|EPERM|operation not permitted)[^/'\"]{0,20}"
            r"['\"]?(?P<what>/[^'\"\s]{1,200})?",
            re.IGNORECASE,
        ),
    ),
    ("disk", re.compile(r"no space left on device|ENOSPC|disk quota exceeded", re.IGNORECASE)),
    (
        "memory",
        re.compile(
            r"\bMemoryError\b|out of memory|cannot allocate memory|heap out of memory|OutOfMemoryError",
            re.IGNORECASE,
        ),
    ),
    ("descriptors", re.compile(r"too many open files|EMFILE|ENFILE", re.IGNORECASE)),
    (
        "refused",
        re.compile(
            r"(?:connection refused|ECONNREFUSED|could not connect to (?:server|host)"
            r"|connect(?:ion)? (?:to \S{1,80} )?failed)"
            r"(?:[^\d]{0,60}(?P<what>[\w.-]{1,80}:\d{2,5}))?",
            re.IGNORECASE,
        ),
    ),
    (
        "resolve",
        re.compile(
            r"name or service not known|\bENOTFOUND\b|could not resolve host"
            r"|temporary failure in name resolution",
            re.IGNORECASE,
        ),
    ),
    ("tls", re.compile(r"certificate (?:verify failed|has expired)|SSL(?:Error|: )|x509:", re.IGNORECASE)),
    (
        "usage",
        re.compile(r"unrecognized arguments?|unknown (?:option|flag|argument)|invalid option", re.IGNORECASE),
    ),
    ("syntax", re.compile(r"\b(?:SyntaxError|IndentationError|JSONDecodeError|YAMLError|TOMLDecodeError)\b")),
)
_PORTS = re.compile(
    r"(?<![\d.])(?:[\w.*-]{0,60}|\[[0-9a-f:]{0,45}\]|::):(\d{2,5})(?!\d)"
    r"|\bport[ =:]{1,2}(\d{2,5})\b|, (\d{2,5})\)"
)
_LISTENS = re.compile(
    r"\b(?:listening|running|serving|started|available|bound)\b.{0,80}?(?::|port )(\d{2,5})\b", re.IGNORECASE
)
_ERROR = re.compile(
    r"\b(?:error|critical|fatal|panic|exception|traceback|failed|cannot|denied|abort)|(?:Error|Exception)\b",
    re.IGNORECASE,
)
_EXCEPTION = re.compile(r"^[\w.]{1,80}(?:Error|Exception|Exit|Interrupt|Warning)(?::|$)")


@dataclass(frozen=True, slots=True)
class Sign:
    """What a line says.

    Attributes:
        kind: `port`, `env`, `module`, `file`, `exception`, `listens`, ...
        what: Whom it names: a variable, a path, an address; or empty.
        line: The line.
        ports: Ports that it names.
    """

    kind: str
    what: str
    line: str
    ports: tuple[int, ...] = ()


def find_signs(lines: Iterable[LogLine]) -> list[Sign]:
    """Return what lines say, the last first, each kind and subject once."""
    found: dict[tuple[str, str], Sign] = {}
    for line in reversed(list(lines)):
        words = line.text.strip()
        for kind, pattern in _PATTERNS:
            match = pattern.search(words)
            if match is not None:
                what = (match.groupdict().get("what") or "").rstrip(".,;")
                found.setdefault((kind, what), Sign(kind, what, words, _ports(words)))
                break
        if (listens := _LISTENS.search(words)) is not None:
            found.setdefault(("listens", ""), Sign("listens", "", words, (int(listens[1]),)))
        if _EXCEPTION.match(words):
            found.setdefault(("exception", ""), Sign("exception", "", words))
    return list(found.values())


def error_lines(lines: Iterable[LogLine], most: int = 5) -> list[str]:
    """Return the last lines that speak of errors; where none does, the last lines."""
    texts = [line.text for line in lines if line.text.strip()]
    bad = [text for text in texts if _ERROR.search(text)]
    return (bad or texts)[-most:]


def _ports(words: str) -> tuple[int, ...]:
    numbers = (int(next(one for one in groups if one)) for groups in _PORTS.findall(words))
    return tuple(dict.fromkeys(port for port in numbers if 0 < port < 65_536))
