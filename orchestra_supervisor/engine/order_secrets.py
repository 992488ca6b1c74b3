"""A spawn order with its secrets resolved: in the environment for the run, and apart for the logger."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestra_supervisor.config.secrets import secret_names
from orchestra_supervisor.engine.ports import SecretResolver
from orchestra_supervisor.process.orders import SpawnOrder

__all__ = ["TakeDown", "has_secrets", "with_secrets"]

TakeDown = Callable[[str, str, Mapping[str, str]], None]
"""Takes (slot, run, values by name) of what a process gets."""

_APART = "="
"""Begins the names under which single values are asked for; no variable's name has it."""


def has_secrets(order: SpawnOrder) -> bool:
    """Return whether an order's environment refers to secrets."""
    return any("secret:" in value for value in order.env.values())


async def with_secrets(
    order: SpawnOrder, resolve: SecretResolver, take_down: TakeDown | None = None
) -> SpawnOrder:
    """Return the order with every reference replaced; its log is told the values that must not be written.

    Args:
        order: What is about to be spawned.
        resolve: Knows the values.
        take_down: Told which values they are.

    Raises:
        SecretError: A secret is missing.
    """
    names = {name for value in order.env.values() for name in secret_names(value)}
    # One question for both: the file may change between two.
    apart = {f"{_APART}{name}": f"${{secret:{name}}}" for name in sorted(names)}
    resolved = await resolve(order.env | apart)
    values = {key.removeprefix(_APART): resolved.pop(key) for key in apart}
    if take_down is not None:
        take_down(order.slot, order.run, values)
    log = None if order.log is None else replace(order.log, secrets=tuple(dict.fromkeys(values.values())))
    return replace(order, env=resolved, log=log)
