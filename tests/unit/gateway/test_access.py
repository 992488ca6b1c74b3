import os
from pathlib import Path

import pytest

from orchestra_supervisor.gateway.access import Access
from orchestra_supervisor.gateway.endpoint import Role
from orchestra_supervisor.gateway.front.identity import Identity, NotAllowed
from orchestra_supervisor.mcp_tokens import FILE_NAME, make_token
from orchestra_supervisor.unix_peer import Peer

STRANGER = 4_000_000_000


def test_the_owner_and_root_are_admins(tmp_path: Path) -> None:
    access = Access(tmp_path)
    for uid in {0, os.geteuid()}:
        assert access.by_peer(Peer(1, uid, 5)) == Identity(f"uid {uid}", Role.ADMIN)


def test_members_of_the_control_group_are_operators_and_others_nobody(tmp_path: Path) -> None:
    access = Access(tmp_path, group="root")
    assert access.by_peer(Peer(1, STRANGER, 0)) == Identity(f"uid {STRANGER}", Role.OPERATOR)
    assert access.by_peer(Peer(1, STRANGER, 5, (7, 0))).role is Role.OPERATOR
    for group in ("root", None, "no such group"):
        access.group = group
        with pytest.raises(NotAllowed, match=f"user {STRANGER} may not talk to this fleet"):
            access.by_peer(Peer(1, STRANGER, 5, (7,)))


def test_a_caller_that_the_system_does_not_know_is_nobody(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="does not say who calls"):
        Access(tmp_path).by_peer(None)


def test_tokens_have_their_roles(tmp_path: Path) -> None:
    access = Access(tmp_path)
    for role in Role:
        text = make_token(tmp_path, f"t {role.name}", role.name.lower(), 1.0)
        assert access.by_header(f"Bearer {text}") == Identity(f"token t {role.name}", role)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic x", "Bearer \ud800", "Bearer " + "x" * 9999]
)
def test_no_token_and_a_wrong_one_let_nobody_in(tmp_path: Path, header: str | None) -> None:
    make_token(tmp_path, "a", "admin", 1.0)
    with pytest.raises(NotAllowed):
        Access(tmp_path).by_header(header)


def test_a_damaged_token_file_lets_nobody_in(tmp_path: Path) -> None:
    text = make_token(tmp_path, "a", "admin", 1.0)
    (tmp_path / FILE_NAME).write_text("{", encoding="utf-8")
    with pytest.raises(NotAllowed, match="the tokens cannot be read"):
        Access(tmp_path).by_header(f"Bearer {text}")


def test_an_open_address_makes_everybody_an_operator(tmp_path: Path) -> None:
    assert Access(tmp_path, is_open=True).by_header(None) == Identity("anybody on this host", Role.OPERATOR)
