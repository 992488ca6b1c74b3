"""Gives secrets of a Vault or OpenBao server: `secret:vault:PATH#FIELD`, of a KV engine of version 2 or 1.

A name without `#FIELD` means the field `value`. Options: `address`; how we log in: `token` (as a rule
`secret:NAME`), `token_file`, or `role_id` and `secret_id` (AppRole); `mount` (default `secret`),
`kv_version` (2), `namespace`, `ca_file`, `timeout` (of one request), `poll` (default 60s: between two looks
for changes; 0: none).

It blocks while the server is asked: it has a thread of its own, and every request has its timeout.
Source: Vault HTTP API, "KV secrets engine", "Tokens", "AppRole auth method".
"""

import json
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import quote

import anyio
import anyio.lowlevel

from orchestra_supervisor.model.errors import OrchestraError, PluginError
from orchestra_supervisor.plugin_api.context import PluginContext
from orchestra_supervisor.plugin_api.events import TryLater, seconds_of
from orchestra_supervisor.plugin_api.hooks import hookimpl
from orchestra_supervisor.plugin_api.secrets import Secret

try:
    import hvac
    import requests
    from hvac import exceptions as refusals
except ImportError as error:
    raise PluginError(
        "it needs hvac, which is not installed", hint="pip install 'orchestra-supervisor[vault]'"
    ) from error

NAME = "vault"
VERSION = "1.0"
API_VERSION = 1

WATCHED_PATHS = 1_000
"""Paths that are looked at for changes; what comes after them is asked for at each spawn instead."""
_SHORTEST_PAUSE = 0.2  # seconds between two looks, whatever is configured
_LONGEST_PAUSE = 600.0  # seconds between two looks at a server that is away
_PAUSE = 5.0  # seconds after which one that is away is worth asking again
_GONE = "gone"

_TEXTS = ("address", "token", "token_file", "role_id", "secret_id", "mount", "namespace", "ca_file")


class _Adapter(Protocol):
    """What is used of hvac's client: it has no types of its own."""

    token: str

    def get(self, url: str) -> object: ...
    def post(self, url: str, json: object = None) -> object: ...


class Refused(TryLater):
    """The server does not let us have a path."""


@dataclass(frozen=True, slots=True)
class _Login:
    """How the server is told who asks: a token, a file with one, or an AppRole."""

    token: str = ""
    token_file: str = ""
    role_id: str = ""
    secret_id: str = ""

    def __post_init__(self) -> None:
        ways = [bool(self.token), bool(self.token_file), bool(self.role_id)]
        if sum(ways) != 1 or bool(self.role_id) is not bool(self.secret_id):
            raise ValueError("exactly one of `token`, `token_file`, and `role_id` with `secret_id` is needed")


class Server:
    """One server and our token for it: got when it is first needed, renewed at half of its life.

    Args:
        context: Reveals what the options refer to.
        client: Asks the server.
        address: For messages.
        login: How to log in.
    """

    def __init__(self, context: PluginContext, client: _Adapter, address: str, login: _Login) -> None:
        self._context = context
        self._client = client
        self._address = address
        self._login = login
        self._since = 0.0  # instant of the last login
        self._life = 0.0  # seconds that the token had when we got it; 0: it does not end, or nobody says
        self.renew_at: float | None = None  # instant at which the token wants to be renewed

    async def read(self, path: str) -> Mapping[str, object] | None:
        """Return what is at a path of the API; None where there is nothing.

        Raises:
            TryLater: The server is away, sealed, or refuses.
        """
        await self.keep_token()
        with suppress(refusals.Forbidden):
            return self._ask(path)
        with suppress(refusals.Forbidden):
            if anyio.current_time() >= self._since + _PAUSE:
                await self._log_in()  # the token may have been revoked, or the file may hold another by now
                return self._ask(path)
        raise Refused(_PAUSE, f"{self._address} refuses {path} (403): do the policies of the token allow it?")

    def _ask(self, path: str) -> Mapping[str, object] | None:
        try:
            return _members(self._carry_out(lambda: self._client.get(f"/v1/{quote(path)}")))
        except refusals.InvalidPath:
            return None

    async def keep_token(self) -> None:
        """Log in where that has not been done, and renew the token where half of its life is over."""
        if not self._client.token:
            await self._log_in()
        elif self.renew_at is not None and anyio.current_time() >= self.renew_at:
            await self._renew()

    async def _renew(self) -> None:
        try:
            answer = self._carry_out(lambda: self._client.post("/v1/auth/token/renew-self", json={}))
            left = _number(_members(_members(answer).get("auth")).get("lease_duration"))
        except (refusals.Forbidden, refusals.InvalidRequest):
            left = 0.0
        if left < self._life / 2:  # it has come to the end of what it may be renewed to
            await self._log_in()
        else:
            self.renew_at = anyio.current_time() + max(left / 2, 1.0)

    async def _log_in(self) -> None:
        login = self._login
        self._client.token = ""
        if login.role_id:
            role = {
                "role_id": await self._reveal(login.role_id),
                "secret_id": await self._reveal(login.secret_id),
            }
            try:
                answer = self._carry_out(lambda: self._client.post("/v1/auth/approle/login", json=role))
            except (refusals.InvalidRequest, refusals.Forbidden):
                raise TryLater(_PAUSE, f"{self._address} refuses `role_id` and `secret_id`") from None
            auth = _members(_members(answer).get("auth"))
            self._client.token = str(auth.get("client_token", ""))
            self._begin(_number(auth.get("lease_duration")), can_renew=True)
            return
        self._client.token = self._from_file() if login.token_file else await self._reveal(login.token)
        try:
            answer = self._carry_out(lambda: self._client.get("/v1/auth/token/lookup-self"))
        except refusals.Forbidden:  # it is wrong, which the next request tells, or may not look at itself
            self._begin(0.0, can_renew=False)
            return
        told = _members(_members(answer).get("data"))
        self._begin(_number(told.get("ttl")), can_renew=told.get("renewable") is True)

    def _begin(self, life: float, *, can_renew: bool) -> None:
        self._since, self._life = anyio.current_time(), life
        self.renew_at = anyio.current_time() + max(life / 2, 1.0) if life and can_renew else None

    async def _reveal(self, text: str) -> str:
        try:
            return (await self._context.reveal(text)).strip()
        except OrchestraError as error:
            raise TryLater(_PAUSE, f"what it logs in with is not to be had: {error.message}") from None

    def _from_file(self) -> str:
        path = self._login.token_file
        try:
            with open(path, encoding="ascii") as file:  # noqa: PTH123 - a bounded read
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise TryLater(_PAUSE, f"token file {path} may be read by others: chmod 600 {path}")
                token = file.read(4_096).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise TryLater(_PAUSE, f"token file {path} cannot be read: {reason}") from None
        if not token:
            raise TryLater(_PAUSE, f"token file {path} is empty")
        return token

    def _carry_out(self, request: Callable[[], object]) -> object:
        """Carry out a request; refusals that somebody can do something about pass, the rest is told in words.

        What the server or a library says is left out: it may hold what was sent.
        """
        try:
            return request()
        except (refusals.Forbidden, refusals.InvalidPath, refusals.InvalidRequest):
            raise
        except refusals.VaultDown:
            why = "is sealed, or a standby (503): unseal it, or name the active server"
        except refusals.VaultError as error:
            why = f"cannot do it now: {type(error).__name__}"
        except requests.exceptions.SSLError:
            why = "shows a certificate that is not trusted: name its authority in `ca_file`"
        except requests.exceptions.Timeout:
            why = "does not answer in time"
        except requests.exceptions.RequestException as error:
            why = f"cannot be reached: {type(error).__name__}"
        raise TryLater(_PAUSE, f"{self._address} {why}")


_Reading = tuple[Mapping[str, object], str, Secret]
"""The fields at a path, the mark of their version, and a secret like those it holds."""


class Vault:
    """The secret provider.

    Args:
        context: The plugin's.
        server: Where the secrets are.
        mount: Of the engine, which `is_versioned` where it is KV 2.
        poll: Seconds between two looks for changes; 0: none.
    """

    scheme = "vault"

    def __init__(
        self, context: PluginContext, server: Server, *, mount: str, is_versioned: bool, poll: float
    ) -> None:
        self._log = context.log
        self._time = context.timeout * 0.8  # to say so before it is given up
        self._server = server
        self._mount = mount
        self._is_versioned = is_versioned
        self._poll = poll
        self._sees_versions = is_versioned  # until the policies turn out not to let us see metadata
        self._given: dict[str, dict[str, str]] = {}  # by path: names, and the mark of what each was given
        self._outdated: set[str] = set()
        self._failures = 0

    async def resolve(self, names: Sequence[str]) -> Mapping[str, Secret]:
        """Return the values of names; each path is read once."""
        until = anyio.current_time() + self._time
        read: dict[str, _Reading] = {}
        found: dict[str, Secret] = {}
        for name in names:
            path, key = _split(name)
            if path not in read:
                if anyio.current_time() > until:
                    raise TryLater(_PAUSE, "the server is too slow for all that was asked")
                read[path] = await self._read(path)
            fields, mark, like = read[path]
            if (value := _text(fields.get(key))) is None:
                continue
            is_watched = bool(self._poll and mark) and self._remember(path, name, mark)
            expires_in = like.expires_in if is_watched or like.expires_in is not None else 0.0
            found[name] = Secret(value, expires_in, like.lease)
        return found

    async def watch(self) -> AsyncIterator[Sequence[str]]:
        """Look for other versions of what was given out, and keep the token alive."""
        while True:
            try:
                await self._server.keep_token()
                changed = await self._changed() if self._poll else []
                self._failures = 0
                if changed:
                    yield changed
            except TryLater as error:
                if not self._failures:
                    self._log.warning("changes are not seen for now: %s", error)
                self._failures += 1
            await anyio.sleep(self._pause())

    def _pause(self) -> float:
        pause = min((self._poll or 60.0) * 2 ** min(self._failures, 10), _LONGEST_PAUSE)
        pause *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads requests, guards nothing
        renew_at = self._server.renew_at
        if renew_at is not None and not self._failures:
            pause = min(pause, renew_at - anyio.current_time())
        return max(pause, _SHORTEST_PAUSE)

    async def _changed(self) -> list[str]:
        """Return the names that were given out and have another value, or none, by now.

        Raises:
            TryLater: The server is away; or it refuses a path, and then the others have been looked at.
        """
        refused: Refused | None = None
        for path, names in list(self._given.items()):
            try:
                mark = await self._mark(path)
            except Refused as error:
                refused = error
                continue
            self._outdated |= {name for name, given in names.items() if given != mark}
            self._given[path] = dict.fromkeys(names, mark)
            await anyio.lowlevel.checkpoint()  # whoever waits for a secret comes first
        changed, self._outdated = sorted(self._outdated), set[str]()
        if refused is not None and not changed:
            raise refused
        return changed

    def _remember(self, path: str, name: str, mark: str) -> bool:
        """Take note of the version that a name was given out in; False where there are too many."""
        if path not in self._given and len(self._given) >= WATCHED_PATHS:
            return False
        names = self._given.setdefault(path, {})
        if names.get(name, mark) != mark:
            self._outdated.add(name)  # whoever has the earlier one is to hear of it
        names[name] = mark
        return True

    async def _read(self, path: str) -> _Reading:
        """Return the fields at a path, the mark of their version, and how long they may be kept."""
        if self._is_versioned:
            answer = await self._server.read(f"{self._mount}/data/{path}")
            data = _members((answer or {}).get("data"))
            fields, version = data.get("data"), str(_members(data.get("metadata")).get("version", ""))
            if not isinstance(fields, dict):
                return {}, _GONE, Secret("")
            return _members(cast("object", fields)), version, Secret("", None, f"{path} version {version}")
        answer = await self._server.read(f"{self._mount}/{path}")
        if answer is None:
            return {}, _GONE, Secret("")
        fields = _members(answer.get("data"))
        lease, life = str(answer.get("lease_id", "")), _number(answer.get("lease_duration"))
        # What is lent is another one each time: it is kept for its time, and never looked at again.
        mark = "" if lease else str(hash(json.dumps(fields, sort_keys=True)))
        return fields, mark, Secret("", life or 0.0, lease)

    async def _mark(self, path: str) -> str:
        """Return the mark of the version that there is now."""
        if self._sees_versions:
            try:
                answer = await self._server.read(f"{self._mount}/metadata/{path}")
            except Refused:
                self._sees_versions = False
            else:
                data = _members((answer or {}).get("data"))
                version = str(data.get("current_version", ""))
                one = _members(_members(data.get("versions")).get(version))
                if one and not one.get("destroyed") and not one.get("deletion_time"):  # which may be to come
                    return version
        return (await self._read(path))[1]


def _split(name: str) -> tuple[str, str]:
    path, _, key = name.partition("#")
    return path.strip("/"), key or "value"


def _members(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _text(value: object) -> str | None:
    """Return a value as a process gets it; None for what is no text, number or truth."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _texts(context: PluginContext) -> dict[str, str]:
    texts = {key: value for key in _TEXTS if (value := context.options.get(key)) is not None}
    for key, value in texts.items():
        if not isinstance(value, str) or not value:
            msg = f"option `{key}` must be text"
            raise ValueError(msg)
    return cast("dict[str, str]", texts)


@hookimpl
def register_secret_providers(context: PluginContext) -> list[Vault]:
    """Return the one server that the options name."""
    context.allow(*_TEXTS, "kv_version", "timeout", "poll")
    options, texts = context.options, _texts(context)
    address = texts.get("address", "")
    if not address.startswith(("http://", "https://")):
        raise ValueError("option `address` must be an http:// or https:// address")
    kv_version = options.get("kv_version", 2)
    if kv_version not in (1, 2):
        raise ValueError("option `kv_version` must be 1 or 2")
    longest = context.timeout * 0.4  # a login and a request within the time of a call
    timeout = min(seconds_of(options.get("timeout", longest), "timeout") or longest, longest)
    login = _Login(*(texts.get(key, "") for key in ("token", "token_file", "role_id", "secret_id")))
    client = hvac.Client(
        url=address.rstrip("/"),
        token="",  # else it would look for one in the environment and in the home directory
        verify=texts.get("ca_file", True),
        timeout=cast("int", timeout),  # handed on to requests, which takes fractions
        namespace=texts.get("namespace"),
    )
    server = Server(context, cast("_Adapter", client.adapter), address, login)
    mount = texts.get("mount", "secret").strip("/")
    poll = seconds_of(options.get("poll", 60), "poll")
    return [Vault(context, server, mount=mount, is_versioned=kv_version == 2, poll=poll)]
