"""What a service is equipped with, in systemd's words: commands around it, sockets, notify, limits."""

from collections.abc import Callable

from orchestra_supervisor.model.equipment import SocketSpec
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.systemd.programs import command_line
from orchestra_supervisor.systemd.syntax import UnitText, plain, seconds

__all__ = ["add_equipment", "add_socket", "start_limit"]

_Lose = Callable[[str], None]


def start_limit(spec: ServiceSpec) -> str:
    """Return the value of `TimeoutStartSec=`: what its commands and, with notify, its start may take."""
    own = [hook.timeout for hook in spec.pre_start]
    if spec.notify and not spec.startup_timeout:
        return "infinity"
    return seconds(sum(own) + spec.start_delay + (spec.startup_timeout or 60.0))


def add_equipment(unit: UnitText, spec: ServiceSpec, lose: _Lose, *, is_job: bool) -> None:
    """Add the settings of the section `Service`, all but its type and its stop command."""
    for hook in spec.pre_start:
        unit.set("ExecStartPre", command_line(hook.argv, spec, lose))
    for hook in spec.post_stop:
        unit.set("ExecStopPost", command_line(hook.argv, spec, lose))
    if spec.reload is not None and spec.reload.command is not None:
        unit.set("ExecReload", command_line(spec.reload.command.argv, spec, lose))
    elif spec.reload is not None:
        unit.set("ExecReload", f"/bin/kill -s {spec.reload.signal} $MAINPID")
    if spec.watchdog and not is_job:
        unit.set("WatchdogSec", seconds(spec.watchdog))
    if is_job and (spec.notify or spec.watchdog):
        lose("a job says nothing of itself: notify and watchdog")
    _add_limits(unit, spec)
    if spec.recycle.age is not None:
        unit.set("RuntimeMaxSec", seconds(spec.recycle.age), "Ended as a failure, and started again.")
    if spec.recycle.memory is not None:
        lose(f"it is not recycled at {spec.recycle.memory} bytes of memory")
    if len(spec.sockets) > 1:
        lose("the order of its sockets: a program tells them apart by LISTEN_FDNAMES")


def _add_limits(unit: UnitText, spec: ServiceSpec) -> None:
    if spec.limits.memory is not None:
        unit.set("MemoryMax", str(spec.limits.memory))
    if spec.limits.cpu is not None:
        unit.set("CPUQuota", f"{max(1, round(spec.limits.cpu * 100))}%")
    if spec.limits.pids is not None:
        unit.set("TasksMax", str(spec.limits.pids))


def add_socket(unit: UnitText, socket: SocketSpec, service: str) -> None:
    """Add the section of a socket's unit.

    Args:
        unit: The unit.
        socket: What listens where.
        service: Unit of the service that it is handed to.
    """
    unit.section("Socket")
    kind = "ListenDatagram" if socket.kind == "udp" else "ListenStream"
    address = socket.address
    unit.set(kind, plain(address, f"socket {socket.name}"))
    unit.set("FileDescriptorName", socket.name)
    unit.set("Service", service)
    if socket.kind != "udp":
        unit.set("Backlog", str(socket.backlog))
    if socket.kind == "unix":
        unit.set("SocketMode", f"{socket.mode:04o}")
        for key, value in (("SocketUser", socket.user), ("SocketGroup", socket.group)):
            if value is not None:
                unit.set(key, plain(value, f"socket {socket.name}"))
