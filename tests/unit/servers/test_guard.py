"""Which hosts and pages a server answers."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.servers.guard import is_allowed_host
from orchestra_supervisor.servers.rest import ApiError, decode_cursor, encode_cursor


@pytest.mark.parametrize(
    "authority",
    [
        "localhost",
        "LocalHost:80",
        "localhost.",
        "127.0.0.1",
        "127.1.2.3:9",
        "[::1]",
        "[::1]:80",
        "::1",
        "box:1",
    ],
)
def test_loopback_and_allowed_names_are_served(authority: str) -> None:
    assert is_allowed_host(authority, ["BOX"])


@pytest.mark.parametrize(
    "authority",
    [
        "",
        ":80",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "evil.example#localhost",
        "[::1].evil.example:80/",
        "192.168.0.1",
        "0.0.0.0",
        "[::ffff:8.8.8.8]",
        "2130706433",
        "0x7f.1",
        "[",
        "boxes",
    ],
)
def test_other_names_are_not(authority: str) -> None:
    assert not is_allowed_host(authority, ["box"])


@given(st.binary(max_size=60))
def test_a_cursor_gives_back_the_path_it_was_given(path: bytes) -> None:
    cursor = encode_cursor(os.fsdecode(path))
    assert cursor.isascii()
    assert os.fsencode(decode_cursor(cursor)) == path


@given(st.text(max_size=30))
def test_any_text_is_a_cursor_or_a_clear_mistake(text: str) -> None:
    statuses: list[int] = []
    try:
        decode_cursor(text)
    except ApiError as error:
        statuses.append(error.status)
    assert statuses in ([], [400])
