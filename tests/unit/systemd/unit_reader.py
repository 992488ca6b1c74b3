"""Reads unit files as systemd.syntax(7) and systemd.service(5) say, written apart from what makes them."""

import re
from collections import defaultdict

__all__ = ["command_words", "settings", "words"]

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "s": " "}


def settings(text: str) -> dict[str, list[str]]:
    """Return the values of all settings by name, in order; refuse lines that are none."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        if not line or line.startswith("#") or re.fullmatch(r"\[\w+\]", line):
            continue
        key, sign, value = line.partition("=")
        assert sign, line
        assert re.fullmatch(r"[A-Za-z]+", key), line
        assert not value.endswith("\\"), line
        found[key].append(value)
    return found


def words(value: str) -> list[str]:
    """Split a list: quotes, C escapes, `%%`."""
    found: list[str] = []
    place = 0
    while place < len(value):
        if value[place] == " ":
            place += 1
            continue
        word, place = _word(value, place)
        assert not re.search(r"%(?!%)", word.replace("%%", "")), f"a specifier: {word}"
        found.append(word.replace("%%", "%"))
    return found


def command_words(value: str) -> list[str]:
    """Split a command line; `$$` is a dollar, a single one would be a variable."""
    program, *arguments = words(value)
    for argument in arguments:
        assert "$" not in argument.replace("$$", ""), f"a variable: {argument}"
    return [program, *(argument.replace("$$", "$") for argument in arguments)]


def _word(value: str, place: int) -> tuple[str, int]:
    data = bytearray()
    quote = ""
    while place < len(value):
        character = value[place]
        if character == "\\":
            escape = value[place + 1]
            if escape == "x":
                data.append(int(value[place + 2 : place + 4], 16))
                place += 4
            else:
                data += _ESCAPES[escape].encode()
                place += 2
            continue
        if quote and character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
        elif not quote and character == " ":
            break
        else:
            data += character.encode()
        place += 1
    assert not quote, f"an open quote: {value}"
    return data.decode("utf-8", "surrogateescape"), place
