"""From a module to what it offers: its hooks found, called, and what they return held to the contract.

Plugins and what is built in go through the same door; they differ in who calls it: a plugin's thread, under a
deadline, or whoever puts the daemon together.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Protocol, TypeVar, cast

import pluggy

from orchestra_supervisor.model.errors import PluginError
from orchestra_supervisor.plugin_api import hooks
from orchestra_supervisor.plugin_api.context import PluginContext
from orchestra_supervisor.plugin_api.contract import faults_of, named
from orchestra_supervisor.plugin_api.events import Notifier
from orchestra_supervisor.plugin_api.hooks import API_VERSION, HOOKS, PROJECT, RESERVED
from orchestra_supervisor.plugin_api.offers import Offers

__all__ = ["Caller", "directly", "register"]

T = TypeVar("T")

_Offered = dict[str, dict[str, object]]


class Caller(Protocol):
    """Calls a hook where it belongs."""

    def __call__(self, what: str, function: Callable[[], T]) -> T:
        """Return what a function returns; `what` is the call's name in messages."""
        ...


def directly(what: str, function: Callable[[], T]) -> T:  # noqa: ARG001 - as `Caller` has it
    """Call a hook of what is built in, here and now."""
    return function()


def register(module: ModuleType, context: PluginContext, call: Caller) -> tuple[tuple[str, ...], Offers]:
    """Return the hooks that a module implements, and what they offer.

    Args:
        module: The plugin.
        context: Handed to each hook.
        call: Calls them.

    Raises:
        PluginError: A hook does not exist, has another signature, or returns what the contract does not know.
        Exception: Whatever a hook raises.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hooks)
    _refuse_unknown_hooks(manager, module)
    try:
        manager.register(module, context.name)
    except pluggy.PluginValidationError as error:
        text = re.sub(r"^Plugin .*? for hook", "hook", " ".join(str(error).split()))
        raise PluginError(text, hint="docs/plugins.md has the signature of every hook") from error
    callers = {name: getattr(manager.hook, name) for name in HOOKS}
    implemented = tuple(name for name, caller in callers.items() if caller.get_hookimpls())
    offered: _Offered = {}
    for name in implemented:
        offered[name] = call(f"hook {name}", partial(_take, name, callers[name], context))
    return implemented, _offers(offered)


def _refuse_unknown_hooks(manager: pluggy.PluginManager, module: ModuleType) -> None:
    implemented = [name for name in dir(module) if manager.parse_hookimpl_opts(module, name) is not None]
    for name in implemented:
        if name in RESERVED:
            hint = f"remove it; API version {API_VERSION} never calls it"
            raise PluginError(f"hook {name} is reserved for a later version", hint=hint)
        if name not in HOOKS:
            near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.8)
            hint = f"did you mean {near[0]}?" if near else f"hooks: {', '.join(HOOKS)}"
            raise PluginError(f"there is no hook {name}", hint=hint)
    if not implemented:
        hint = "mark a function with @hookimpl; docs/plugins.md has an example"
        raise PluginError("it implements no hook", hint=hint)


def _take(hook: str, caller: Callable[..., object], context: PluginContext) -> dict[str, object]:
    """Call a hook and hold what it returns to the Protocol; runs in the plugin's thread."""
    protocol, key = HOOKS[hook]
    results = cast("list[object]", caller(context=context))
    result = results[0] if results else None  # pluggy leaves out what returned None
    if not isinstance(result, Sequence) or isinstance(result, str | bytes):
        kind = type(result).__name__
        raise PluginError(
            f"hook {hook} returned {kind}, not a list", hint=f"return [{protocol.__name__}, ...]"
        )
    found: dict[str, object] = {}
    for thing in cast("Sequence[object]", result):
        faults = faults_of(thing, protocol)
        if faults:
            message = f"hook {hook}: {type(thing).__name__} is no {protocol.__name__}: it {'; '.join(faults)}"
            raise PluginError(message, hint="docs/plugins.md has the Protocol")
        name = named(thing, key)
        if name in found:
            raise PluginError(f"hook {hook} returned two of the name {name!r}")
        found[name] = (thing, cast("Notifier", thing).filter) if protocol is Notifier else thing
    return found


def _offers(offered: _Offered) -> Offers:
    short = {
        name.removeprefix("register_"): cast("Mapping[str, object]", one) for name, one in offered.items()
    }
    return Offers(**short)  # type: ignore[arg-type]  # each held to its Protocol by `_take`
