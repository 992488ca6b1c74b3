import json
import os
from pathlib import Path

import pytest

from orchestra_supervisor.mcp_tokens import (
    FILE_NAME,
    Token,
    TokenError,
    TokenFile,
    list_tokens,
    make_token,
    revoke_token,
)


def test_a_token_is_known_by_its_text_alone(tmp_path: Path) -> None:
    laptop = make_token(tmp_path, "laptop", "operator", 1.0)
    desk = make_token(tmp_path, "desk", "viewer", 2.0)
    tokens = TokenFile(tmp_path)
    found = [tokens.match(text) for text in (laptop, desk, laptop + "x", "", "x" * 5000)]
    assert [token and (token.name, token.role, token.created) for token in found] == [
        ("laptop", "operator", 1.0),
        ("desk", "viewer", 2.0),
        None,
        None,
        None,
    ]


def test_the_file_is_the_owners_and_holds_no_token(tmp_path: Path) -> None:
    text = make_token(tmp_path, "laptop", "admin", 1.5)
    path = tmp_path / FILE_NAME
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert text not in path.read_text(encoding="utf-8")
    (row,) = json.loads(path.read_text(encoding="utf-8"))["tokens"]
    assert {**row, "sha256": len(row["sha256"])} == {
        "name": "laptop",
        "role": "admin",
        "sha256": 64,
        "created": 1.5,
    }
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE_NAME]


def test_a_revoked_token_lets_nobody_in_from_the_next_match_on(tmp_path: Path) -> None:
    text = make_token(tmp_path, "laptop", "admin", 1.0)
    tokens = TokenFile(tmp_path)
    assert tokens.match(text) is not None
    assert revoke_token(tmp_path, "laptop").name == "laptop"
    assert (tokens.match(text), list_tokens(tmp_path)) == (None, [])


def test_without_a_file_nobody_gets_in_and_nothing_is_made(tmp_path: Path) -> None:
    assert TokenFile(tmp_path).match("anything") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "role", "message"),
    [
        ("laptop", "root", "a token cannot have the role 'root'"),
        ("", "viewer", "a token cannot be called ''"),
        ("a\nb", "viewer", "a token cannot be called 'a\\nb'"),
        ("taken", "viewer", "there is a token 'taken' already"),
    ],
)
def test_a_token_that_cannot_be_is_refused(tmp_path: Path, name: str, role: str, message: str) -> None:
    make_token(tmp_path, "taken", "viewer", 1.0)
    with pytest.raises(TokenError) as caught:
        make_token(tmp_path, name, role, 2.0)
    assert caught.value.message == message
    assert [token.name for token in list_tokens(tmp_path)] == ["taken"]


def test_revoking_an_unknown_token_names_those_there_are(tmp_path: Path) -> None:
    make_token(tmp_path, "laptop", "viewer", 1.0)
    with pytest.raises(TokenError) as caught:
        revoke_token(tmp_path, "lap")
    assert (caught.value.message, caught.value.hint) == ("there is no token 'lap'", "there are: laptop")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"tokens": 5}', '{"tokens": [{"name": "a"}]}', '{"tokens": [5]}', "[" * 100_000],
)
def test_a_damaged_file_lets_nobody_in_and_is_not_written_over(tmp_path: Path, content: str) -> None:
    text = make_token(tmp_path, "laptop", "admin", 1.0)
    tokens = TokenFile(tmp_path)
    assert tokens.match(text) is not None
    (tmp_path / FILE_NAME).write_text(content, encoding="utf-8")
    for attempt in (lambda: tokens.match(text), lambda: make_token(tmp_path, "desk", "viewer", 2.0)):
        with pytest.raises(TokenError) as caught:
            attempt()
        assert caught.value.message.startswith(f"the token file {tmp_path / FILE_NAME} cannot be used: ")
    assert (tmp_path / FILE_NAME).read_text(encoding="utf-8") == content


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    text = make_token(tmp_path, "laptop", "admin", 1.0)
    (tmp_path / FILE_NAME).chmod(0o620)
    with pytest.raises(TokenError, match="others could have written it"):
        TokenFile(tmp_path).match(text)


def test_makers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            try:
                make_token(tmp_path, f"t{number}", "viewer", 1.0)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert sorted(token.name for token in list_tokens(tmp_path)) == [f"t{number}" for number in range(8)]


def test_a_token_shows_itself_without_its_hash() -> None:
    assert repr(Token("laptop", "viewer", "ab" * 32, 1.0)) == (
        "Token(name='laptop', role='viewer', created=1.0)"
    )
