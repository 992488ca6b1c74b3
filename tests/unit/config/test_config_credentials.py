"""Secrets out of systemd's credentials: asked after the file, refused when they are open to others."""

import os
from pathlib import Path

import pytest

from orchestra_supervisor.config.credentials import credentials_for
from orchestra_supervisor.config.secrets import SecretStore
from orchestra_supervisor.model.errors import SecretError
from orchestra_supervisor.model.spec import FleetSettings


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Credentials as systemd leaves them: `db`, and one of another user's unit with an access list's mask."""
    place = tmp_path / "credentials"
    place.mkdir()
    write(place / "db", b"hunter2\n")
    write(place / "api.key", b"two\nlines\n\n")
    return place


def write(path: Path, data: bytes, mode: int = 0o400) -> None:
    path.write_bytes(data)
    path.chmod(mode)


def store(directory: Path | str, file: Path | None = None, *, setting: bool | None = None) -> SecretStore:
    environ = {"CREDENTIALS_DIRECTORY": str(directory)} if directory else {}
    return SecretStore(file, credentials_for(FleetSettings(credentials=setting), environ))


def refused(secrets: SecretStore, name: str = "db") -> SecretError:
    with pytest.raises(SecretError) as caught:
        secrets.resolve({"DB": f"secret:{name}"})
    assert "hunter" not in f"{caught.value.message} {caught.value.hint} {caught.value.context}"
    return caught.value


def test_a_credential_is_a_secret_without_the_line_break_at_its_end(directory: Path) -> None:
    env = {"A": "secret:db", "B": "x://${secret:db}@h", "C": "secret:api.key"}
    assert store(directory).resolve(env) == {"A": "hunter2", "B": "x://hunter2@h", "C": "two\nlines\n"}


def test_the_secrets_file_comes_first(directory: Path, tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    write(file, b'{"db": "of the file"}', 0o600)
    assert store(directory, file).resolve({"A": "secret:db", "B": "secret:api.key"}) == {
        "A": "of the file",
        "B": "two\nlines\n",
    }
    error = refused(store(directory, file), "api.kay")
    assert f"is not in {file} nor in {directory}" in error.message
    assert error.hint == "did you mean 'api.key'?"


def test_a_credential_is_read_anew_each_time(directory: Path) -> None:
    secrets = store(directory)
    assert secrets.resolve({"A": "secret:db"}) == {"A": "hunter2"}
    (directory / "db").unlink()
    write(directory / "db", b"hunter3")
    assert secrets.resolve({"A": "secret:db"}) == {"A": "hunter3"}


@pytest.mark.parametrize("mode", [0o404, 0o420, 0o460, 0o600 | 0o002, 0o777])
def test_a_credential_that_others_may_read_or_change_is_refused(directory: Path, mode: int) -> None:
    (directory / "db").chmod(mode)
    assert f"{mode:04o}" in refused(store(directory)).message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_reading_by_roots_group_is_an_access_lists_mask_and_by_another_group_is_not(directory: Path) -> None:
    (directory / "db").chmod(0o440)
    assert store(directory).resolve({"A": "secret:db"}) == {"A": "hunter2"}
    os.chown(directory / "db", 0, 12345)
    assert "0440" in refused(store(directory)).message
    (directory / "db").chmod(0o400)
    os.chown(directory / "db", 12345, 0)
    assert "belongs to user 12345" in refused(store(directory)).message


def test_what_is_no_text_or_no_file_is_refused(directory: Path) -> None:
    for data in (b"\xff hunter2", b"hunter2\0"):
        (directory / "db").unlink()
        write(directory / "db", data)
        assert "is not text" in refused(store(directory)).message
    (directory / "sub").mkdir(mode=0o700)
    assert "not a regular file" in refused(store(directory), "sub").message


def test_a_name_never_leads_out_of_the_directory(directory: Path) -> None:
    write(directory.parent / "outside", b"hunter2")
    assert "is not in" in refused(store(directory), "a/../../outside").message


def test_the_setting_decides_and_where_it_says_nothing_the_environment(directory: Path) -> None:
    assert "settings.secrets_file" in refused(store("")).hint
    assert "settings.secrets_file" in refused(store(directory, setting=False)).hint
    assert "CREDENTIALS_DIRECTORY is not set" in refused(store("", setting=True)).message
    assert store("", setting=True).resolve({"A": "no reference"}) == {"A": "no reference"}
