"""What status says of the daemon itself."""

import os
from pathlib import Path

from orchestra_supervisor._version import VERSION
from orchestra_supervisor.engine.gateway import gateway_pid
from orchestra_supervisor.engine.supervisor import Supervisor
from orchestra_supervisor.process.orders import Snapshot
from orchestra_supervisor.rules.fleet import tally

__all__ = ["describe"]


def describe(
    supervisor: Supervisor, snapshot: Snapshot, home: Path, log_directory: Path, started: float
) -> dict[str, object]:
    """Return the `daemon` object of status.

    Args:
        supervisor: Runs the fleet.
        snapshot: As the keeper gave it to this daemon.
        home: The state directory.
        log_directory: Where logs are.
        started: When this daemon started, seconds since the epoch.
    """
    (ready, count), groups = tally(supervisor.services), snapshot.groups
    return {
        "pid": os.getpid(),
        "keeper_pid": snapshot.keeper_pid,
        "logger_pid": supervisor.logger_pid,
        "gateway_pid": gateway_pid(supervisor.services),
        "version": VERSION,
        "home": str(home),
        "started": snapshot.started_wall,
        "daemon_started": started,
        "daemon_starts": snapshot.daemon_starts,
        "phase": supervisor.phase.value,
        "cgroups": {"version": groups.version, "bases": groups.bases, "limits": groups.limits},
        "files": supervisor.fleet.files,
        "log_directory": str(log_directory),
        "rolls": supervisor.roller.reports(),
        "services": count,
        "ready": ready,
    }
