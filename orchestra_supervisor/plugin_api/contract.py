"""Whether an object that a plugin registers meets its Protocol: properties, methods, their arguments.

Runs in the plugin's thread: to look at a property is to run the plugin's code.
"""

import inspect
import re
from typing import get_type_hints

from orchestra_supervisor.model.plugin import PLUGIN_NAME_PATTERN

__all__ = ["faults_of", "named"]


def faults_of(thing: object, protocol: type) -> list[str]:
    """Return what an object lacks of a Protocol, one clause each; empty when it meets it."""
    faults: list[str] = []
    for name, member in vars(protocol).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            assert member.fget is not None
            faults += _property_faults(thing, name, get_type_hints(member.fget).get("return"))
        elif inspect.isfunction(member):
            faults += _method_faults(thing, name, member)
    return faults


def named(thing: object, key: str) -> str:
    """Return the name of an object that meets its Protocol.

    Raises:
        ValueError: It is no name.
    """
    name = getattr(thing, key)
    if not isinstance(name, str) or not re.fullmatch(PLUGIN_NAME_PATTERN, name):
        msg = f"`{key}` of {type(thing).__name__} is {name!r}: a name has letters, digits, `_`, `.`, `-`"
        raise ValueError(msg)
    return name


def _property_faults(thing: object, name: str, wanted: object) -> list[str]:
    if not hasattr(thing, name):
        return [f"has no `{name}`"]
    value = getattr(thing, name)
    if isinstance(wanted, type) and not isinstance(value, wanted):
        return [f"`{name}` is {type(value).__name__}, not {wanted.__name__}"]
    return []


def _method_faults(thing: object, name: str, wanted: object) -> list[str]:
    method = getattr(thing, name, None)
    if not callable(method):
        return [f"has no method `{name}`"]
    assert inspect.isfunction(wanted)
    if inspect.iscoroutinefunction(wanted) and not inspect.iscoroutinefunction(method):
        return [f"`{name}` is not async"]
    if not inspect.iscoroutinefunction(wanted) and inspect.iscoroutinefunction(method):
        return [f"`{name}` is async and must not be"]
    arguments = list(inspect.signature(wanted).parameters)[1:]
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError:
        return [f"`{name}` does not take ({', '.join(arguments)})"]
    except ValueError:  # built-in callables without a signature
        return []
    return []
