"""Names of services out of names that other tools allow."""

import re
from collections.abc import Collection

from orchestra_supervisor.model.spec import SERVICE_NAME_PATTERN

__all__ = ["fitting_name"]

_ODD = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST = 60


def fitting_name(name: str, taken: Collection[str]) -> str:
    """Return a name as a service may have it, and none that is taken.

    Args:
        name: As another tool has it.
        taken: Names that are in use.
    """
    plain = _ODD.sub("_", name)[:_LONGEST]
    plain = plain if re.match(SERVICE_NAME_PATTERN, plain) else f"_{plain.lstrip('.-')}"
    fitting, number = plain, 2
    while fitting in taken:
        fitting, number = f"{plain}-{number}", number + 1
    return fitting
