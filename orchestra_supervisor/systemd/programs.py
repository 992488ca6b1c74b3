"""Command lines of a service, with the program by the path at which the service would find it."""

import os
import shutil
from collections.abc import Callable, Sequence

from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.systemd.syntax import quote_command

__all__ = ["command_line"]


def command_line(argv: Sequence[str], spec: ServiceSpec, lose: Callable[[str], None]) -> str:
    """Return a command of a service as a unit has it.

    Args:
        argv: The command; it runs with the service's directory and environment.
        spec: The service.
        lose: Told when the program is not on this host.
    """
    program, *arguments = argv
    if "/" in program:
        # The host that will run it may be another one: the path is put together, not looked at.
        found = os.path.normpath(os.path.join(spec.cwd, program))  # noqa: PTH118
    else:
        found = shutil.which(program, path=spec.env.get("PATH"))
    if found is None:
        lose(f"{program} is not on the PATH of this host; systemd looks for it on its own")
    return quote_command((found or program, *arguments))
