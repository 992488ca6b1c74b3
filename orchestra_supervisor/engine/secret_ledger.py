"""What each run was started with, as digests that the keeper holds from daemon to daemon.

The key of the digests is a note of its own. Notes are in the memory of keeper and daemon and never on disk;
the key is as old as the keeper, and so is every run.
"""

import secrets
from collections.abc import Collection, Mapping

from orchestra_supervisor.engine.ports import KeeperPort
from orchestra_supervisor.rules.rotation import Holding, digests_of, holding_from, outdated, to_note

__all__ = ["LEDGER_PREFIX", "SecretLedger"]

LEDGER_PREFIX = "secrets:"
"""Begins the slots of these notes: alone that of the key, before a service's name that of its run."""
_KEY_BYTES = 32


class SecretLedger:
    """Remembers what runs hold.

    Args:
        keeper: Holds the notes.
        notes: Those it holds already.
    """

    def __init__(self, keeper: KeeperPort, notes: Mapping[str, object]) -> None:
        self._keeper = keeper
        key = notes.get(LEDGER_PREFIX)
        self.is_inherited = isinstance(key, str)
        """Whether an earlier daemon has spawned runs with secrets."""
        self._is_kept = self.is_inherited
        self._key = bytes.fromhex(key) if isinstance(key, str) else secrets.token_bytes(_KEY_BYTES)
        self._held: dict[str, Holding] = {}
        for slot, note in notes.items():
            service = slot.removeprefix(LEDGER_PREFIX)
            if service not in {slot, ""} and (holding := holding_from(note)) is not None:
                self._held[service] = holding

    def begin(self, service: str, run: str, values: Mapping[str, str]) -> None:
        """Take down what a run that is about to be spawned gets, before it is ordered."""
        self._keep(service, Holding(run, digests_of(self._key, run, values)))

    def settle(self, service: str, values: Mapping[str, str]) -> None:
        """Take down that a run has been dealt with: these values are no news to it any more."""
        held = self._held[service]
        self._keep(service, Holding(held.run, {**held.digests, **digests_of(self._key, held.run, values)}))

    def run_of(self, service: str) -> str:
        """Return the last run of a service that was given secrets, or empty."""
        return self._held[service].run if service in self._held else ""

    def outdated(self, service: str, values: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names whose values are other ones than the service's last run was started with."""
        held = self._held.get(service)
        return () if held is None else outdated(self._key, held, values)

    def forget_others(self, services: Collection[str]) -> None:
        """Forget the runs of services that are no more."""
        for service in [name for name in self._held if name not in services]:
            del self._held[service]
            self._keeper.note(f"{LEDGER_PREFIX}{service}", None)

    def _keep(self, service: str, holding: Holding) -> None:
        if not self._is_kept:
            self._keeper.note(LEDGER_PREFIX, self._key.hex())
            self._is_kept = True
        self._held[service] = holding
        self._keeper.note(f"{LEDGER_PREFIX}{service}", to_note(holding))
