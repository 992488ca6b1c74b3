"""Secrets of a real OpenBao server: values, logins, faults told in words, and changes that are noticed."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import anyio
import pytest

from orchestra_supervisor.plugin_api.events import TryLater
from orchestra_supervisor.plugin_api.plugin import Plugin
from orchestra_supervisor.plugin_api.secrets import Secret
from tests.unit.plugins.bao_server import ROOT_TOKEN, Bao, serving

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Load = Callable[..., Plugin]
VALUE = "s3cr3t-Zm9vYmFy"
READ_DATA = 'path "secret/data/*" { capabilities = ["read"] }'


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with serving(tmp_path_factory.mktemp("bao")) as server:
        yield server


async def ask(plugin: Plugin, *names: str) -> dict[str, Secret]:
    assert plugin.fault is None, plugin.fault
    with anyio.fail_after(10):
        provider = plugin.offers.secret_providers["vault"]
        return dict(await plugin.call("secret provider vault", provider.resolve, names))


async def values(plugin: Plugin, *names: str) -> dict[str, str]:
    return {name: secret.value for name, secret in (await ask(plugin, *names)).items()}


class Listener:
    """Who hears of changes, as the host of the plugins does."""

    def __init__(self, plugin: Plugin) -> None:
        self.heard: list[Sequence[str]] = []
        self._plugin = plugin

    async def listen(self) -> None:
        watch = self._plugin.offers.secret_providers["vault"].watch

        async def iterate() -> None:
            async for names in watch():
                self.heard.append(names)

        await self._plugin.attend("watch of vault", iterate)

    async def next(self) -> Sequence[str]:
        with anyio.fail_after(10):
            while not self.heard:
                await anyio.sleep(0.01)
        return self.heard.pop(0)


async def test_fields_of_versioned_secrets_are_found_and_what_is_not_there_is_left_out(
    bao: Bao, load: Load
) -> None:
    bao.put("db/one", password=VALUE, port=5432, tls=True, value="plain", nested={"a": 1})
    plugin = load("vault.py", address=bao.url, token=ROOT_TOKEN)
    names = ("db/one#password", "db/one#port", "db/one#tls", "db/one", "db/one#none", "db/one#nested", "no#x")
    assert await values(plugin, *names) == {
        "db/one#password": VALUE,
        "db/one#port": "5432",
        "db/one#tls": "true",
        "db/one": "plain",
    }
    secret = (await ask(plugin, "db/one#password"))["db/one#password"]
    assert (secret.expires_in, secret.lease) == (None, "db/one version 1")
    unwatched = load("vault.py", address=bao.url, token=ROOT_TOKEN, poll=0)
    assert (await ask(unwatched, "db/one"))["db/one"].expires_in == 0.0, "asked for each time"


async def test_a_secret_of_version_1_is_kept_as_long_as_the_server_says(bao: Bao, load: Load) -> None:
    bao.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    bao.ask("POST", "old/app", {"password": VALUE, "ttl": "90s"})
    plugin = load("vault.py", address=bao.url, token=ROOT_TOKEN, mount="old", kv_version=1)
    secret = (await ask(plugin, "app#password"))["app#password"]
    assert (secret.value, secret.expires_in) == (VALUE, 90.0)


async def test_a_namespace_is_asked_for_its_own(bao: Bao, load: Load) -> None:
    bao.ask("POST", "sys/namespaces/team")
    bao.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, namespace="team")
    bao.ask("POST", "secret/data/app", {"data": {"value": "of the team"}}, namespace="team")
    plugin = load("vault.py", address=bao.url, token=ROOT_TOKEN, namespace="team")
    assert await values(plugin, "app") == {"app": "of the team"}


async def test_an_app_role_logs_in_and_again_when_its_token_is_revoked(bao: Bao, load: Load) -> None:
    bao.put("app/role", value=VALUE)
    bao.ask("PUT", "sys/policies/acl/role", {"policy": READ_DATA})
    bao.ask("POST", "sys/auth/approle", {"type": "approle"})
    bao.ask("POST", "auth/approle/role/fleet", {"token_policies": ["role"], "token_ttl": "1h"})
    role_id = bao.ask("GET", "auth/approle/role/fleet/role-id")["data"]["role_id"]  # type: ignore[index]
    made = bao.ask("POST", "auth/approle/role/fleet/secret-id")
    secret_id = made["data"]["secret_id"]  # type: ignore[index]
    plugin = load("vault.py", address=bao.url, role_id=role_id, secret_id=secret_id)
    assert await values(plugin, "app/role") == {"app/role": VALUE}
    server = plugin.offers.secret_providers["vault"]._server  # type: ignore[attr-defined]
    first = server._client.token
    bao.ask("POST", "auth/token/revoke", {"token": first})
    server._since = 0.0  # the login is not of just now
    assert await values(plugin, "app/role") == {"app/role": VALUE}
    assert server._client.token != first
    wrong = load("vault.py", address=bao.url, role_id=role_id, secret_id="no-" + VALUE)
    with pytest.raises(TryLater, match="refuses `role_id` and `secret_id`") as caught:
        await ask(wrong, "app/role")
    assert VALUE not in str(caught.value)


async def test_a_token_is_renewed_at_half_of_its_life(bao: Bao, load: Load) -> None:
    bao.put("app/renewed", value=VALUE)
    token = bao.token(READ_DATA, ttl="4s", renewable=True)
    plugin = load("vault.py", address=bao.url, token=token, poll=0)
    assert await values(plugin, "app/renewed") == {"app/renewed": VALUE}

    def renewed() -> bool:
        data = bao.ask("POST", "auth/token/lookup", {"token": token})["data"]
        return "last_renewal_time" in data  # type: ignore[operator]

    assert not renewed()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Listener(plugin).listen)
        with anyio.fail_after(10):
            while not renewed():
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()


async def test_a_token_comes_from_a_file_that_nobody_else_may_read(
    bao: Bao, load: Load, tmp_path: Path
) -> None:
    bao.put("app/file", value=VALUE)
    file = tmp_path / "token"
    file.write_text(f"{ROOT_TOKEN}\n", encoding="ascii")
    file.chmod(0o644)
    plugin = load("vault.py", address=bao.url, token_file=str(file))
    with pytest.raises(TryLater, match="chmod 600"):
        await ask(plugin, "app/file")
    file.chmod(0o600)
    assert await values(plugin, "app/file") == {"app/file": VALUE}


async def test_a_path_that_the_policies_do_not_allow_is_named_and_is_no_fault_of_the_plugin(
    bao: Bao, load: Load
) -> None:
    bao.put("mine", value=VALUE)
    bao.put("theirs", value=VALUE)
    token = bao.token('path "secret/data/mine" { capabilities = ["read"] }')
    plugin = load("vault.py", address=bao.url, token=token)
    for _ in range(5):
        with pytest.raises(TryLater, match=r"refuses secret/data/theirs \(403\)") as caught:
            await ask(plugin, "theirs")
        assert token not in str(caught.value)
    assert await values(plugin, "mine") == {"mine": VALUE}
    wrong = load("vault.py", address=bao.url, token="no-token-" + VALUE)
    with pytest.raises(TryLater, match="403") as caught:
        await ask(wrong, "mine")
    assert VALUE not in str(caught.value)


async def test_a_sealed_server_and_one_that_is_away_are_told_apart_and_used_again_when_they_are_back(
    load: Load, tmp_path: Path
) -> None:
    with serving(tmp_path) as own:
        own.put("a", value=VALUE)
        plugin = load("vault.py", address=own.url, token=ROOT_TOKEN)
        assert await values(plugin, "a") == {"a": VALUE}
        own.ask("PUT", "sys/seal")
        with pytest.raises(TryLater, match=r"is sealed.*503"):
            await ask(plugin, "a")
        own.ask("PUT", "sys/unseal", {"key": own.unseal_key})
        with anyio.fail_after(10):
            while await answer(plugin) != {"a": VALUE}:
                await anyio.sleep(0.05)
    with pytest.raises(TryLater, match="cannot be reached"):
        await ask(plugin, "a")


async def answer(plugin: Plugin) -> dict[str, str]:
    try:
        return await values(plugin, "a")
    except TryLater:  # it is still on its way back
        return {}


async def test_a_server_is_trusted_by_the_authority_that_is_named(load: Load, tmp_path: Path) -> None:
    with serving(tmp_path, tls=True) as own:
        own.put("a", value=VALUE)
        plugin = load("vault.py", address=own.url, token=ROOT_TOKEN, ca_file=own.ca_file)
        assert await values(plugin, "a") == {"a": VALUE}
        with pytest.raises(
            TryLater, match="certificate that is not trusted: name its authority in `ca_file`"
        ):
            await ask(load("vault.py", address=own.url, token=ROOT_TOKEN), "a")


@pytest.mark.parametrize(
    "policy", [f'{READ_DATA} path "secret/metadata/*" {{ capabilities = ["read"] }}', READ_DATA]
)
async def test_a_new_version_is_told_once_and_only_of_what_was_given_out(
    bao: Bao, load: Load, policy: str
) -> None:
    for path in ("w/one", "w/two", "w/other"):
        bao.put(path, value="before", key="k")
    plugin = load("vault.py", address=bao.url, token=bao.token(policy), poll=0.2)
    await ask(plugin, "w/one", "w/one#key", "w/two")
    listener = Listener(plugin)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.listen)
        bao.put("w/other", value="after")
        bao.put("w/one", value="after", key="k")
        assert await listener.next() == ["w/one", "w/one#key"]
        bao.ask("DELETE", "secret/data/w/two")
        assert await listener.next() == ["w/two"]
        assert await values(plugin, "w/one", "w/two") == {"w/one": "after"}
        bao.put("w/two", value="again")
        assert await listener.next() == ["w/two"]
        tasks.cancel_scope.cancel()


async def test_a_version_that_is_to_be_deleted_later_is_no_change(bao: Bao, load: Load) -> None:
    bao.put("later/one", value="1")
    bao.put("later/two", value="1")
    bao.ask("POST", "secret/metadata/later/one", {"delete_version_after": "1h"})
    bao.put("later/one", value="2")
    plugin = load("vault.py", address=bao.url, token=ROOT_TOKEN, poll=0.2)
    await ask(plugin, "later/one", "later/two")
    listener = Listener(plugin)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.listen)
        bao.put("later/two", value="2")
        assert await listener.next() == ["later/two"]
        tasks.cancel_scope.cancel()


async def test_whoever_got_an_earlier_version_hears_of_the_later_one_that_another_got(
    bao: Bao, load: Load
) -> None:
    bao.put("two", value="1")
    plugin = load("vault.py", address=bao.url, token=ROOT_TOKEN, poll=0.2)
    await ask(plugin, "two")
    bao.put("two", value="2")
    await ask(plugin, "two")
    listener = Listener(plugin)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.listen)
        assert await listener.next() == ["two"]
        tasks.cancel_scope.cancel()


async def test_values_and_tokens_are_in_no_log(
    bao: Bao, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    bao.put("logged", value=VALUE)
    with caplog.at_level(logging.DEBUG):
        plugin = load("vault.py", address=bao.url, token=ROOT_TOKEN)
        assert await values(plugin, "logged") == {"logged": VALUE}
        with pytest.raises(TryLater):
            await ask(load("vault.py", address=bao.url, token="x" + ROOT_TOKEN), "logged")
    assert VALUE not in caplog.text
    assert ROOT_TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "`address`"),
        ({"address": "vault:8200"}, "`address`"),
        ({"address": "http://h"}, "exactly one of"),
        ({"address": "http://h", "token": "a", "token_file": "/b"}, "exactly one of"),
        ({"address": "http://h", "role_id": "a"}, "exactly one of"),
        ({"address": "http://h", "token": "a", "kv_version": 3}, "`kv_version`"),
        ({"address": "http://h", "token": "a", "poll": "soon"}, "`poll`"),
        ({"address": "http://h", "token": "a", "mount": 5}, "`mount`"),
        ({"address": "http://h", "token": "a", "tokn": "b"}, "unknown option 'tokn'"),
    ],
)
def test_a_wrong_option_is_named(load: Load, options: dict[str, object], said: str) -> None:
    plugin = load("vault.py", **options)
    assert plugin.fault is not None
    assert said in plugin.fault.message


def test_where_hvac_is_missing_the_plugin_says_how_to_get_it(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    plugin = load("vault.py", address="http://127.0.0.1:1", token="x")
    assert plugin.fault is not None
    assert "needs hvac" in plugin.fault.message
    assert "pip install 'orchestra-supervisor[vault]'" in plugin.fault.hint
