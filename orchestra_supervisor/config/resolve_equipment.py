"""From the written parts of a service's equipment to the specs: commands, sockets, limits."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestra_supervisor.config.form import ServiceForm
from orchestra_supervisor.config.form_equipment import HookForm, SocketForm
from orchestra_supervisor.config.form_schedule import host_zone
from orchestra_supervisor.model.equipment import HookSpec, LimitsSpec, RecycleSpec, ReloadSpec, SocketSpec

__all__ = ["equipment_values", "hook"]


def hook(command: list[str], timeout: float | None) -> HookSpec:
    """Return a command with its timeout, or the default one."""
    return (
        HookSpec(argv=tuple(command)) if timeout is None else HookSpec(argv=tuple(command), timeout=timeout)
    )


def equipment_values(form: ServiceForm, directory: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a spec that say what a run is equipped with.

    Args:
        form: The service as it is written.
        directory: The folder of its file, from which paths start.
        environ: Environment of the supervisor, for the host's time zone.
    """
    values: dict[str, Any] = {
        "pre_start": _hooks(form.pre_start),
        "post_stop": _hooks(form.post_stop),
        "sockets": tuple(_socket(name, one, directory) for name, one in (form.sockets or {}).items()),
    }
    for name in ("start_on", "stdio", "protected", "notify", "watchdog"):
        if (value := getattr(form, name)) is not None:
            values[name] = value
    if form.watchdog:
        values["notify"] = True
    if form.reload is not None:
        command = form.reload.command
        told = None if command is None else hook(command, form.reload.timeout)
        values["reload"] = ReloadSpec(signal=form.reload.signal, command=told)
    if form.limits is not None:
        values["limits"] = LimitsSpec(memory=form.limits.memory, cpu=form.limits.cpu, pids=form.limits.pids)
    if form.recycle is not None:
        recycle = form.recycle
        zone = recycle.timezone or (host_zone(environ) if recycle.cron is not None else "UTC")
        values["recycle"] = RecycleSpec(
            memory=recycle.memory, age=recycle.age, cron=recycle.cron, timezone=zone
        )
    return values


def _hooks(forms: list[HookForm] | None) -> tuple[HookSpec, ...]:
    return tuple(hook(form.command, form.timeout) for form in forms or ())


def _socket(name: str, form: SocketForm, directory: Path) -> SocketSpec:
    optional = {key: getattr(form, key) for key in ("backlog", "shared", "mode", "user", "group")}
    given: dict[str, Any] = {key: value for key, value in optional.items() if value is not None}
    if form.path is not None:
        return SocketSpec(name=name, kind="unix", path=os.path.normpath(directory / form.path), **given)
    if form.systemd is not None:
        return SocketSpec(name=name, kind="inherited", fd_name=form.systemd)
    port = form.udp if form.port is None else form.port
    host = "127.0.0.1" if form.host in (None, "localhost") else form.host
    kind = "tcp" if form.udp is None else "udp"
    return SocketSpec(name=name, kind=kind, host=host or "", port=port or 0, **given)
