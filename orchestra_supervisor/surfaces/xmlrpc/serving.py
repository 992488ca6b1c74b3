"""The interface of supervisord for one daemon, where the fleet's settings ask for it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.abc

from orchestra_supervisor.control import Control
from orchestra_supervisor.engine.launch import Launcher
from orchestra_supervisor.engine.reload import Reloader

__all__ = ["serve_supervisord"]

_MAIN_LOG = "supervisor.log"


async def serve_supervisord(
    control: Control,
    reloader: Reloader,
    launcher: Launcher,
    keeper_pid: int,
    say: Callable[[str], None],
    *,
    home: Path,
    is_fresh: bool,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; at once over where the settings ask for no interface.

    Args:
        control: The verbs.
        reloader: Reads the fleet's files.
        launcher: Knows where logs are.
        keeper_pid: Whom signals for the whole are sent to.
        say: Told what goes wrong.
        home: The state directory.
        is_fresh: The fleet starts: a socket that cannot be had ends it.
        task_status: Told when the sockets are open.

    Raises:
        ConflictError: A socket cannot be had, and the fleet starts.
    """
    spec = control.supervisor.fleet.settings.supervisor
    if spec is None:
        task_status.started()
        return
    # 1 MB that a fleet without it does not pay.
    from orchestra_supervisor.surfaces.xmlrpc.endpoint import Endpoint  # noqa: PLC0415
    from orchestra_supervisor.surfaces.xmlrpc.surroundings import Surroundings  # noqa: PLC0415

    def on_cleared(service: str) -> None:
        fleet = control.supervisor.fleet.services
        if service in fleet:
            control.keeper.log_config(launcher.log_target(fleet[service]))

    around = Surroundings(
        control, reloader, spec, launcher.log_path, home / _MAIN_LOG, keeper_pid, on_cleared
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(partial(Endpoint(around, say).run, is_fresh=is_fresh))
        task_status.started()
