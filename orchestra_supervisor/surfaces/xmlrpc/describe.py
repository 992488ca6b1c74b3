"""What supervisord's clients are told of a process: how it stands, and how it is configured.

Keys, types and texts are those of supervisor 4.3, `rpcinterface.py`: clients compare them.
"""

import pwd
import shlex
import signal
import time
from datetime import timedelta

from orchestra_supervisor.model.spec import END_OF_INPUT, ServiceSpec
from orchestra_supervisor.model.supervisord import OutputSpec
from orchestra_supervisor.rules.service import Service
from orchestra_supervisor.surfaces.xmlrpc.history import Past
from orchestra_supervisor.surfaces.xmlrpc.log_source import LogPath, source_of
from orchestra_supervisor.surfaces.xmlrpc.names import process_of
from orchestra_supervisor.surfaces.xmlrpc.states import ProcessState, has_ended_quickly, state_of

__all__ = ["config_info", "process_info"]

Info = dict[str, object]

_TOO_QUICK = "Exited too quickly (process log may have details)"
_ENDED = frozenset({ProcessState.STOPPED, ProcessState.EXITED})
_FAULTY = frozenset({ProcessState.BACKOFF, ProcessState.FATAL})
_BY_SIGNAL = -1


def process_info(service: Service, past: Past, now: float, log_path: LogPath) -> Info:
    """Return how a process stands, as `getProcessInfo` has it.

    Args:
        service: The service.
        past: Its last run that ended.
        now: Wall seconds.
        log_path: Returns the log of a service.
    """
    process, run = process_of(service.spec), service.run
    state = state_of(service)
    stdout, stderr = (source_of(service.spec, one, log_path).path for one in ("stdout", "stderr"))
    info: Info = {
        "name": process.name,
        "group": process.group,
        "start": int(run.ordered_wall if run is not None else past.started),
        "stop": int(service.exit.at_wall) if service.exit is not None else 0,
        "now": int(now),
        "state": int(state),
        "statename": state.name,
        "spawnerr": _spawn_error(service, state, past),
        "exitstatus": _exit_status(service, state),
        "logfile": stdout,
        "stdout_logfile": stdout,
        "stderr_logfile": stderr,
        "pid": (run.main_pid or run.pid or 0) if run is not None and not run.leader_ended else 0,
    }
    info["description"] = _description(info, state)
    return info


def _spawn_error(service: Service, state: ProcessState, past: Past) -> str:
    if state not in _FAULTY and state is not ProcessState.EXITED:
        return ""
    if past.spawn_error:
        return past.spawn_error
    if has_ended_quickly(service):
        return _TOO_QUICK
    if state is ProcessState.EXITED:
        is_well = service.exit is None or service.exit.success
        return "" if is_well else f"Bad exit code {_exit_status(service, state)}"
    return service.reason


def _exit_status(service: Service, state: ProcessState) -> int:
    ended = service.exit
    if state not in _ENDED or ended is None or has_ended_quickly(service):
        return 0
    return _BY_SIGNAL if ended.signal is not None else ended.code or 0


def _description(info: Info, state: ProcessState) -> str:
    start, now = int(str(info["start"])), int(str(info["now"]))
    match state:
        case ProcessState.RUNNING:
            return f"pid {info['pid']}, uptime {timedelta(seconds=max(0, now - start))}"
        case ProcessState.FATAL | ProcessState.BACKOFF:
            return str(info["spawnerr"]) or f'unknown error (try "tail {info["name"]}")'
        case ProcessState.STOPPED | ProcessState.EXITED:
            stop = int(str(info["stop"]))
            return time.strftime("%b %d %I:%M %p", time.localtime(stop)) if start else "Not started"
        case _:
            return ""


def config_info(spec: ServiceSpec, *, in_use: bool, log_path: LogPath) -> Info:
    """Return how a process is configured, as `getAllConfigInfo` has it.

    Args:
        spec: The service.
        in_use: It is part of the fleet, not only of the files.
        log_path: Returns the log of a service.
    """
    info = _native(spec) if spec.supervisor is None else _as_written(spec)
    process = process_of(spec)
    info |= {
        "name": process.name,
        "group": process.group,
        "group_prio": process.group_priority,
        "process_prio": process.priority,
        "inuse": in_use,
    }
    if in_use:
        info |= {key: str(log_path(spec.name)) for key in _LOGFILES if info[key] == "auto"}
    return {key: "none" if value is None else value for key, value in info.items()}


_LOGFILES = ("stdout_logfile", "stderr_logfile")


def _as_written(spec: ServiceSpec) -> Info:
    told = spec.supervisor
    assert told is not None
    return {
        "autostart": told.autostart,
        "directory": told.directory,
        "uid": _user_id(told.user),
        "command": told.command or shlex.join(spec.argv),
        "exitcodes": list(told.exitcodes),
        "killasgroup": told.killasgroup,
        "redirect_stderr": told.redirect_stderr,
        "startretries": told.startretries,
        "startsecs": told.startsecs,
        "stopsignal": int(signal.Signals[told.stopsignal]),
        "stopwaitsecs": told.stopwaitsecs,
        "serverurl": told.serverurl,
        **_output("stdout", told.stdout),
        **_output(
            "stderr",
            told.stderr.model_copy(update={"logfile": None}) if told.redirect_stderr else told.stderr,
        ),
    }


def _native(spec: ServiceSpec) -> Info:
    """Return the options of supervisord that come nearest to how a service of ours is configured."""
    first = next((step for step in spec.stop.steps if step.signal != END_OF_INPUT), None)
    output = OutputSpec(maxbytes=spec.log.max_bytes, backups=spec.log.backups)
    return {
        "autostart": spec.enabled,
        "directory": spec.cwd,
        "uid": _user_id(spec.user),
        "command": shlex.join(spec.argv),
        "exitcodes": list(spec.restart.success_exit_codes),
        "killasgroup": True,
        "redirect_stderr": False,
        "startretries": spec.restart.max_restarts or 0,
        "startsecs": int(spec.start.after) if spec.start is not None else 0,
        "stopsignal": int(signal.Signals[first.signal if first is not None else "SIGTERM"]),
        "stopwaitsecs": int(sum(step.wait for step in spec.stop.steps)),
        "serverurl": None,
        **_output("stdout", output),
        **_output("stderr", output),
    }


def _output(stream: str, spec: OutputSpec) -> Info:
    return {
        f"{stream}_capture_maxbytes": spec.capture_maxbytes,
        f"{stream}_events_enabled": spec.events_enabled,
        f"{stream}_logfile": spec.logfile,
        f"{stream}_logfile_backups": spec.backups,
        f"{stream}_logfile_maxbytes": spec.maxbytes,
        f"{stream}_syslog": spec.syslog,
    }


def _user_id(user: str | None) -> int | None:
    if user is None:
        return None
    if user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None
