"""Whether a reload would run anything that does not run already: what nobody but the owner may bring in.

Whoever may only apply files that stand on the disk must not, by that, have other programs run, or the same
ones as somebody else, or open the fleet to others.
"""

import re
from collections.abc import Iterator, Mapping
from typing import cast

from orchestra_supervisor.rules.reload import Action, Difference, ReloadPlan

__all__ = ["new_commands"]

_PROGRAM = frozenset({"argv", "cwd", "user", "group", "groups", "pre_start", "post_stop"})
_GUARD = "protected"
"""The field that asks for a person's word: who may not give that must not take the question away."""
_LOADER = re.compile(
    r"PATH|LD_.*|DYLD_.*|PYTHON.*|NODE_OPTIONS|NODE_PATH|PERL5.*|RUBY(OPT|LIB)|CLASSPATH|_?JAVA_.*|BASH_ENV|ENV|SHELL"
)
"""Variables that decide which code a program runs."""
_ACCESS = frozenset({"plugins", "plugin_entry_points", "control_group", "secrets_file", "credentials"})
"""Settings that load code, or say who may what."""


def new_commands(plan: ReloadPlan) -> tuple[str, ...]:
    """Return what a plan would bring in that was not run before, one line each; empty: nothing."""
    return tuple(_found(plan))


def _found(plan: ReloadPlan) -> Iterator[str]:
    for change in plan.services:
        if change.action is Action.ADD:
            yield f"{change.name} is a new service"
        for one in change.differences:
            if _is_command(one):
                yield f"{change.name}: {one.key} changes what is run"
    for one in plan.settings:
        if one.path[0] in _ACCESS or one.path[0] == "mcp":
            yield f"settings: {one.key} changes what is loaded or who may call"


def _is_command(one: Difference) -> bool:
    if one.path[0] in _PROGRAM or "argv" in one.path or (one.path[0] == _GUARD and one.old is True):
        return True
    if one.path[0] == "env":
        names = one.path[1:2] or tuple(_keys(one.old)) + tuple(_keys(one.new))
        return any(_LOADER.fullmatch(name) for name in names)
    return _holds_argv(one.new)


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (str(key) for key in cast("Mapping[object, object]", value))


def _holds_argv(value: object) -> bool:
    """Return whether a command stands anywhere in a value."""
    if isinstance(value, Mapping):
        held = cast("Mapping[str, object]", value)
        return bool(held.get("argv")) or any(_holds_argv(one) for one in held.values())
    if isinstance(value, list | tuple):
        return any(_holds_argv(one) for one in cast("list[object]", value))
    return False
