"""Secrets for processes that are about to be spawned: from the secrets file, and from plugins.

`secret:NAME` is a name of the secrets file, `secret:SCHEME:NAME` one of the plugin that registers SCHEME.
Values from plugins are kept for as long as their provider says, so that a service can be restarted
while the provider is away. They are in no event, note or error.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import anyio
from anyio import to_thread

from orchestra_supervisor.config.credentials import Credentials
from orchestra_supervisor.config.secrets import SecretStore, fill_secrets, secret_names
from orchestra_supervisor.model.errors import PluginError, SecretError
from orchestra_supervisor.plugin_api.events import GiveUp, TryLater
from orchestra_supervisor.plugin_api.host import PluginHost
from orchestra_supervisor.plugin_api.plugin import Plugin
from orchestra_supervisor.plugin_api.secrets import Secret

__all__ = ["SecretDesk"]

KEPT_SECRETS = 10_000
"""Values of plugins that are kept; when there are more, they are asked for anew."""

_Kept = tuple[str, float | None]


class SecretDesk:
    """Resolves references, wherever the values are.

    Args:
        host: Returns the host of the plugins.
    """

    def __init__(self, host: Callable[[], PluginHost]) -> None:
        self._host = host
        self._store = SecretStore(None)
        self._limiter = anyio.CapacityLimiter(2)
        self._kept: dict[str, _Kept] = {}

    def use_file(self, path: str | None, credentials: Credentials | None = None) -> None:
        """Take another secrets file, and other credentials, from now on."""
        self._store = SecretStore(path, credentials)

    def forget(self, scheme: str, names: Sequence[str]) -> None:
        """Ask for these anew when they are next needed."""
        for name in names:
            self._kept.pop(f"{scheme}:{name}", None)

    def is_lasting(self, name: str) -> bool:
        """Return whether the value of a plugin's name holds until the plugin says otherwise."""
        kept = self._kept.get(name)
        return kept is not None and kept[1] is None

    async def resolve(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return an environment with references replaced by values.

        Raises:
            SecretError: A secret is missing, or where it comes from cannot be asked.
        """
        names = {name for value in env.values() for name in secret_names(value)}
        if not names:
            return dict(env)
        found = await self._from_plugins(sorted(name for name in names if ":" in name))
        from_file = self._store.reader()

        def value_of(name: str, variable: str) -> str:
            return found[name] if name in found else from_file(name, variable)

        return await to_thread.run_sync(fill_secrets, env, value_of, limiter=self._limiter)

    async def reveal(self, reference: str) -> str:
        """Return the value of one reference, or the text as it is where it is none."""
        return (await self.resolve({"a plugin": reference}))["a plugin"]

    async def _from_plugins(self, names: Sequence[str]) -> dict[str, str]:
        by_scheme: dict[str, list[str]] = {}
        for name in names:
            by_scheme.setdefault(name.partition(":")[0], []).append(name)
        found: dict[str, str] = {}
        for scheme, wanted in by_scheme.items():
            found |= await self._of_scheme(scheme, wanted)
        return found

    async def _of_scheme(self, scheme: str, wanted: Sequence[str]) -> dict[str, str]:
        now = anyio.current_time()
        found = {name: kept[0] for name in wanted if (kept := self._kept.get(name)) and _is_good(kept, now)}
        missing = [name for name in wanted if name not in found]
        if not missing:
            return found
        host = self._host()
        await host.loaded.wait()
        plugin = next((one for one in host.working if scheme in one.offers.secret_providers), None)
        if plugin is None:
            raise SecretError(
                f"secret {missing[0]!r}: no plugin gives secrets of {scheme!r}",
                hint="orchestra plugins shows what is loaded; names of the secrets file have no colon",
                secret=missing[0],
            )
        return found | await self._ask(plugin, scheme, missing)

    async def _ask(self, plugin: Plugin, scheme: str, missing: Sequence[str]) -> dict[str, str]:
        provider = plugin.offers.secret_providers[scheme]
        bare = tuple(name.partition(":")[2] for name in missing)
        try:
            answer = await plugin.call(f"secret provider {scheme}", provider.resolve, bare, wanted=Mapping)
        except PluginError as error:
            raise SecretError(f"secret {missing[0]!r}: {error.message}", hint=error.hint) from None
        except (TryLater, GiveUp) as error:
            raise SecretError(f"secret {missing[0]!r}: plugin {plugin.name}: {error}") from None
        now = anyio.current_time()
        found: dict[str, str] = {}
        for name, key in zip(missing, bare, strict=True):
            secret = cast("object", answer.get(key))
            if not isinstance(secret, Secret) or not isinstance(cast("object", secret.value), str):
                said = "does not have it" if secret is None else f"gave {type(secret).__name__}, not a Secret"
                raise SecretError(f"secret {name!r}: plugin {plugin.name} {said}", secret=name)
            if "\x00" in secret.value:
                raise SecretError(
                    f"secret {name!r} of plugin {plugin.name} holds a NUL character", secret=name
                )
            found[name] = secret.value
            self._keep(name, secret, now)
        return found

    def _keep(self, name: str, secret: Secret, now: float) -> None:
        if len(self._kept) >= KEPT_SECRETS:
            self._kept.clear()
        if secret.expires_in is None or secret.expires_in > 0:
            until = None if secret.expires_in is None else now + secret.expires_in
            self._kept[name] = secret.value, until


def _is_good(kept: _Kept, now: float) -> bool:
    return kept[1] is None or now < kept[1]
