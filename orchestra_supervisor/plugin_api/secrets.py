"""Secret providers: where the values of `secret:SCHEME:NAME` come from."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Secret", "SecretProvider"]


@dataclass(frozen=True, slots=True)
class Secret:
    """One value.

    Attributes:
        value: The secret itself; in no repr.
        expires_in: Seconds for which the value may be kept and given to further processes; 0: ask
            again each time; None: until `watch` names it.
        lease: How the provider calls the loan of it, for its own renewal and for the log; never secret.
    """

    value: str = field(repr=False)
    expires_in: float | None = 0.0
    lease: str = ""


class SecretProvider(Protocol):
    """One source of secrets. Values go to processes that are spawned, and nowhere else."""

    @property
    def scheme(self) -> str:
        """Return the word before the name: `vault` for `secret:vault:db/password`."""
        ...

    async def resolve(self, names: Sequence[str]) -> Mapping[str, Secret]:
        """Return the values of names (without the scheme) that one process needs.

        A name that is left out does not exist. An exception means that none can be had now; with
        `TryLater` the source is away or refuses, and the plugin itself is well.
        """
        ...

    def watch(self) -> AsyncIterator[Sequence[str]]:
        """Yield names whose values have changed, for as long as it is iterated.

        A provider that cannot tell ends at once. What it names is asked for anew, and services that hold
        another value get what their `on_secret_change` says.
        """
        ...
