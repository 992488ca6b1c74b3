import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_supervisor.gateway.endpoint import Caller, Era, Role
from orchestra_supervisor.gateway.front.session_ids import KEY_FILE, SessionKey, load_session_key

KEY = SessionKey(b"k" * 32)
CALLER = Caller(
    "token a",
    Role.OPERATOR,
    Era.HANDSHAKE,
    "2025-06-18",
    {"name": "c", "version": "1"},
    {"sampling": {"tools": {}}},
)


def test_an_id_says_all_that_the_session_is() -> None:
    session_id = KEY.make("/mcp", CALLER)
    known = KEY.read(session_id, "/mcp", "token a", Role.VIEWER)
    assert known is not None
    assert (known.path, known.caller.version, known.caller.client, known.caller.capabilities) == (
        "/mcp",
        "2025-06-18",
        {"name": "c", "version": "1"},
        {"sampling": {"tools": {}}},
    )
    assert (known.caller.role, known.caller.principal) == (Role.VIEWER, "token a")
    again = KEY.read(session_id, "/mcp", "token a", Role.VIEWER)
    assert again == known
    assert session_id.isascii()
    assert session_id.isprintable()


def test_two_sessions_of_one_client_have_two_ids() -> None:
    assert KEY.make("/mcp", CALLER) != KEY.make("/mcp", CALLER)


def test_an_id_is_no_use_to_others() -> None:
    session_id = KEY.make("/mcp", CALLER)
    assert KEY.read(session_id, "/gw/mcp", "token a", Role.ADMIN) is None
    assert KEY.read(session_id, "/mcp", "token b", Role.ADMIN) is None
    assert SessionKey(b"j" * 32).read(session_id, "/mcp", "token a", Role.ADMIN) is None


@given(st.integers(min_value=0), st.characters(min_codepoint=33, max_codepoint=126))
def test_one_changed_character_makes_it_none_of_ours(place: int, character: str) -> None:
    session_id = KEY.make("/mcp", CALLER)
    at = place % len(session_id)
    changed = session_id[:at] + character + session_id[at + 1 :]
    assert changed == session_id or KEY.read(changed, "/mcp", "token a", Role.ADMIN) is None


@given(st.text())
def test_any_text_is_looked_at_without_a_fault(text: str) -> None:
    assert KEY.read(text, "/mcp", "token a", Role.ADMIN) is None


def test_large_clients_make_ids_that_fit_a_header() -> None:
    client = {"name": "n" * 10_000, "icons": ["x" * 10_000]}
    capabilities = {"elicitation": {"x": "y" * 10_000}, "experimental": {"z" * 10_000: {}}}
    caller = Caller("token a", Role.ADMIN, Era.HANDSHAKE, "2025-11-25", client, capabilities)
    session_id = KEY.make("/mcp", caller)
    known = KEY.read(session_id, "/mcp", "token a", Role.ADMIN)
    assert known is not None
    assert (known.caller.client, known.caller.capabilities) == ({"name": "n" * 200}, {"elicitation": {}})
    assert len(session_id) < 4096


def test_the_key_is_made_once_and_kept_to_the_owner(tmp_path: Path) -> None:
    session_id = load_session_key(tmp_path).make("/mcp", CALLER)
    assert load_session_key(tmp_path).read(session_id, "/mcp", "token a", Role.ADMIN) is not None
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"short")
    load_session_key(tmp_path)
    assert len((tmp_path / KEY_FILE).read_bytes()) == 32


def test_a_key_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(OSError, match="directory"):
        load_session_key(tmp_path)


def test_gateways_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    readers = []
    for _ in range(8):
        reader, writer = os.pipe()
        if os.fork() == 0:
            try:
                os.write(writer, load_session_key(tmp_path).make("/mcp", CALLER).encode())
            finally:
                os._exit(0)
        os.close(writer)
        readers.append(reader)
    ids = [os.read(reader, 10_000).decode() for reader in readers]
    for reader in readers:
        os.close(reader)
        os.wait()
    key = load_session_key(tmp_path)
    assert all(key.read(session_id, "/mcp", "token a", Role.ADMIN) for session_id in ids)


@pytest.mark.parametrize("sign", ["x", "\u044f", "\U0001f3bc", "\ud83c"])
def test_the_longest_names_make_an_id_that_is_known(sign: str) -> None:
    client = {"name": sign * 300, "title": sign * 300, "version": sign * 300}
    capabilities = {"experimental": {"x": "y" * 2_000}}
    caller = Caller("token a", Role.OPERATOR, Era.HANDSHAKE, "2025-06-18", client, capabilities)
    known = KEY.read(KEY.make("/mcp", caller), "/mcp", "token a", Role.VIEWER)
    assert known is not None
    assert known.caller.client == {name: text[:200] for name, text in client.items()}
