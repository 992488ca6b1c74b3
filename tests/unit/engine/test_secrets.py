"""Secrets from the file and from plugins: one environment, values kept for as long as they may be."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.engine.secrets import SecretDesk
from orchestra_supervisor.model.errors import SecretError
from orchestra_supervisor.plugin_api.host import PluginHost
from tests.unit.plugin_api.plugin_files import spec_of, write_plugin

pytestmark = pytest.mark.anyio

VAULT = """
from orchestra_supervisor.plugin_api.events import GiveUp, TryLater
class Vault:
    scheme = "vault"
    calls = []
    away = False
    async def resolve(self, names):
        self.calls.append(list(names))
        if self.away:
            raise OSError("sealed")
        if "busy" in names:
            raise TryLater(5.0, "it is busy")
        if "refused" in names:
            raise GiveUp("never")
        known = {"db/pw": Secret("pw-" + str(len(self.calls)), 60.0), "once": Secret("one-time"),
                 "kept": Secret("forever", None), "odd": "text", "nul": Secret("a" + chr(0))}
        return {name: known[name] for name in names if name in known}
    async def watch(self):
        return
        yield

@hookimpl
def register_secret_providers(context):
    return [Vault()]
"""


@pytest.fixture
def anyio_backend() -> str:
    """A plugin has a thread: its time is the machine's."""
    return "asyncio"


class Away:
    """The provider as the test sees it."""

    def __init__(self, vault: object) -> None:
        self.vault = vault

    @property
    def calls(self) -> list[list[str]]:
        return self.vault.calls  # type: ignore[attr-defined]


@asynccontextmanager
async def secrets(folder: Path, *, plugin: bool = True) -> AsyncGenerator[tuple[SecretDesk, Away]]:
    (folder / "secrets.json").write_text('{"api": {"key": "file-key"}}', encoding="utf-8")
    (folder / "secrets.json").chmod(0o600)
    desk = SecretDesk(lambda: host)
    desk.use_file(str(folder / "secrets.json"))
    host = PluginHost(lambda *_: None, desk.reveal, desk.forget)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await tasks.start(host.run)
            specs = [spec_of(write_plugin(folder, VAULT))] if plugin else []
            await host.apply(specs, entry_points=False)
            vault = host.working[0].offers.secret_providers["vault"] if plugin else None
            yield desk, Away(vault)
            tasks.cancel_scope.cancel()


async def test_an_environment_gets_values_of_the_file_and_of_plugins_also_within_longer_texts(
    tmp_path: Path,
) -> None:
    env = {
        "PLAIN": "x",
        "FILE": "secret:api.key",
        "WHOLE": "secret:vault:db/pw",
        "MIXED": "pg://u:${secret:vault:db/pw}@h/?key=${secret:api.key}",
    }
    async with secrets(tmp_path) as (desk, vault):
        assert await desk.resolve(env) == {
            "PLAIN": "x",
            "FILE": "file-key",
            "WHOLE": "pw-1",
            "MIXED": "pg://u:pw-1@h/?key=file-key",
        }
        assert vault.calls == [["db/pw"]], "asked once for one process"


async def test_a_value_is_kept_as_long_as_its_provider_says(tmp_path: Path) -> None:
    async with secrets(tmp_path) as (desk, vault):
        for _ in range(2):
            await desk.resolve({"A": "secret:vault:db/pw", "B": "secret:vault:kept"})
            await desk.resolve({"A": "secret:vault:once"})
        assert vault.calls == [["db/pw", "kept"], ["once"], ["once"]]
        kept, until = desk._kept["vault:db/pw"]
        assert until is not None
        desk._kept["vault:db/pw"] = kept, until - 61.0  # its minute is over
        assert await desk.resolve({"A": "secret:vault:db/pw"}) == {"A": "pw-4"}


async def test_a_provider_that_is_away_does_not_matter_for_what_is_kept_and_is_named_for_the_rest(
    tmp_path: Path,
) -> None:
    async with secrets(tmp_path) as (desk, vault):
        await desk.resolve({"A": "secret:vault:kept"})
        vault.vault.away = True  # type: ignore[attr-defined]
        assert await desk.resolve({"A": "secret:vault:kept"}) == {"A": "forever"}
        with pytest.raises(SecretError, match=r"vault:db/pw.*plugin demo.*sealed"):
            await desk.resolve({"A": "secret:vault:db/pw"})
        desk.forget("vault", ["kept"])
        with pytest.raises(SecretError, match="sealed"):
            await desk.resolve({"A": "secret:vault:kept"})


@pytest.mark.parametrize(
    ("name", "said"),
    [("none", "does not have it"), ("odd", "gave str, not a Secret"), ("nul", "NUL")],
)
async def test_what_a_provider_lacks_or_gives_wrongly_is_an_error_that_names_it(
    tmp_path: Path, name: str, said: str
) -> None:
    async with secrets(tmp_path) as (desk, _):
        with pytest.raises(SecretError, match=said) as caught:
            await desk.resolve({"A": f"secret:vault:{name}"})
        assert f"vault:{name}" in caught.value.message


@pytest.mark.parametrize(("name", "said"), [("busy", "it is busy"), ("refused", "never")])
async def test_a_provider_whose_server_is_busy_or_refuses_is_a_secret_that_cannot_be_had(
    tmp_path: Path, name: str, said: str
) -> None:
    async with secrets(tmp_path) as (desk, _):
        with pytest.raises(SecretError, match=f"vault:{name}.*plugin demo: {said}"):
            await desk.resolve({"A": f"secret:vault:{name}"})


async def test_a_scheme_that_no_plugin_has_is_named(tmp_path: Path) -> None:
    async with secrets(tmp_path, plugin=False) as (desk, _):
        with pytest.raises(SecretError, match="no plugin gives secrets of 'vault'"):
            await desk.resolve({"A": "secret:vault:x"})
        assert await desk.resolve({"A": "secret:api.key"}) == {"A": "file-key"}


async def test_a_plugin_is_given_values_of_the_file_and_its_plain_texts_as_they_are(tmp_path: Path) -> None:
    async with secrets(tmp_path) as (desk, _):
        assert await desk.reveal("secret:api.key") == "file-key"
        assert await desk.reveal("https://h/x") == "https://h/x"
        with pytest.raises(SecretError):
            await desk.reveal("secret:api.none")
