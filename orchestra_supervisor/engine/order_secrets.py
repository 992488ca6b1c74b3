"""A spawn order with its secrets resolved: in the environment for the run, and apart for the logger."""

from dataclasses import replace

from orchestra_supervisor.config.secrets import secret_names
from orchestra_supervisor.engine.ports import SecretResolver
from orchestra_supervisor.process.orders import SpawnOrder

__all__ = ["has_secrets", "with_secrets"]

_APART = "="
"""Begins the names under which single values are asked for; no variable's name has it."""


def has_secrets(order: SpawnOrder) -> bool:
    """Return whether an order's environment refers to secrets."""
    return any("secret:" in value for value in order.env.values())


async def with_secrets(order: SpawnOrder, resolve: SecretResolver) -> SpawnOrder:
    """Return the order with every reference replaced; its log is told the values that must not be written.

    Raises:
        SecretError: A secret is missing.
    """
    names = {name for value in order.env.values() for name in secret_names(value)}
    # One question for both: the file may change between two.
    apart = {f"{_APART}{name}": f"${{secret:{name}}}" for name in sorted(names)}
    resolved = await resolve(order.env | apart)
    values = tuple(dict.fromkeys(resolved.pop(key) for key in apart))
    log = None if order.log is None else replace(order.log, secrets=values)
    return replace(order, env=resolved, log=log)
