import json
import os
from pathlib import Path

import pytest

from orchestra_supervisor.config.secrets import SecretStore, secret_names
from orchestra_supervisor.model.errors import SecretError


@pytest.fixture
def secrets(tmp_path: Path):
    """Write a secrets file with mode 0600 and return its store."""

    def secrets(content: object, mode: int = 0o600) -> SecretStore:
        path = tmp_path / "secrets.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        path.chmod(mode)
        return SecretStore(path)

    return secrets


def refused(store: SecretStore, value: str = "secret:db") -> SecretError:
    with pytest.raises(SecretError) as caught:
        store.resolve({"DB": value})
    assert "hunter" not in f"{caught.value.message} {caught.value.hint} {caught.value.context}"
    return caught.value


def test_references_are_replaced_and_everything_else_is_left(secrets):
    store = secrets({"db": "hunter2", "api": {"key": "k", "n": 5, "on": True}, "flat.name": "f"})
    env = {
        "A": "secret:db",
        "B": "postgres://u:${secret:db}@h/${secret:api.key}",
        "C": "secret:api.n",
        "D": "secret:api.on",
        "E": "secret:flat.name",
        "F": "a secret:db in the middle",
        "G": "",
    }
    assert store.resolve(env) == {
        "A": "hunter2",
        "B": "postgres://u:hunter2@h/k",
        "C": "5",
        "D": "true",
        "E": "f",
        "F": "a secret:db in the middle",
        "G": "",
    }


def test_a_value_that_looks_like_a_reference_is_not_looked_up_again(secrets):
    assert secrets({"db": "secret:other", "b": "${secret:db}"}).resolve(
        {"A": "secret:db", "B": "secret:b"}
    ) == {
        "A": "secret:other",
        "B": "${secret:db}",
    }


def test_an_environment_without_references_needs_no_file():
    assert SecretStore(None).resolve({"A": "b"}) == {"A": "b"}
    assert SecretStore("/nowhere/x").resolve({"A": "b"}) == {"A": "b"}


def test_a_fleet_without_a_secrets_file_has_no_secrets():
    assert "settings.secrets_file" in refused(SecretStore(None)).hint


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o777])
def test_a_file_that_others_may_read_or_change_is_refused(secrets, mode):
    error = refused(secrets({"db": "hunter2"}, mode))
    assert f"{mode:04o}" in error.message
    assert "chmod 600" in error.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_of_another_user_is_refused(secrets, tmp_path):
    store = secrets({"db": "hunter2"})
    os.chown(tmp_path / "secrets.json", 12345, -1)
    assert "12345" in refused(store).message


def test_a_missing_secret_is_named_with_the_nearest_one(secrets):
    error = refused(secrets({"database": {"password": "hunter2"}}), "secret:database.pasword")
    assert "'database.pasword'" in error.message
    assert "'database.password'" in error.hint
    assert "DB" in error.message


@pytest.mark.parametrize("value", [None, [1], {"a": "hunter2"}, "hunter\x00"])
def test_a_secret_that_is_no_text_is_refused(secrets, value):
    refused(secrets({"db": value}))


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"db": hunter2}', '{"db": "hunter2"', '{"db": "hunter2", "db": "hunter3"}', '"hunter2"'],
)
def test_a_malformed_file_is_refused_without_its_values(secrets, text):
    refused(secrets(text))


def test_a_file_that_is_not_text_a_directory_or_missing_is_refused(tmp_path):
    path = tmp_path / "bin"
    path.write_bytes(b"\xff\xfehunter2")
    path.chmod(0o600)
    refused(SecretStore(path))
    refused(SecretStore(tmp_path))
    refused(SecretStore(tmp_path / "missing"))
    refused(SecretStore("a\x00b"))


def test_a_changed_file_is_read_again(secrets, tmp_path):
    store = secrets({"db": "old"})
    assert store.resolve({"A": "secret:db"}) == {"A": "old"}
    replacement = tmp_path / "new.json"
    replacement.write_text('{"db": "new"}', encoding="utf-8")
    replacement.chmod(0o600)
    replacement.rename(tmp_path / "secrets.json")
    assert store.resolve({"A": "secret:db"}) == {"A": "new"}


def test_a_file_that_was_opened_to_others_later_is_refused(secrets, tmp_path):
    store = secrets({"db": "hunter2"})
    store.resolve({"A": "secret:db"})
    (tmp_path / "secrets.json").chmod(0o644)
    refused(store)


def test_no_descriptor_is_left_open(secrets):
    store = secrets({"db": "hunter2"}, 0o644)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        refused(store)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_names_of_the_secrets_in_a_value_are_known():
    assert secret_names("secret:a.b") == ["a.b"]
    assert secret_names("x${secret:a}y${secret:b}") == ["a", "b"]
    assert secret_names("plain") == []
