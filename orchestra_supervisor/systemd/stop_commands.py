"""A stop sequence in systemd's words: all signals but the last by commands, the last by systemd itself.

Source: systemd.kill(5); systemd.service(5), `ExecStop=`, `TimeoutStopSec=`.
"""

from collections.abc import Callable

from orchestra_supervisor.model.spec import ServiceSpec, StopStep
from orchestra_supervisor.systemd.programs import command_line
from orchestra_supervisor.systemd.syntax import UnitText, quote_command, seconds

__all__ = ["add_stop"]

_TURNS = 10  # looks a second whether the main process is still there
_MARGIN = 1.0  # seconds by which systemd's limit for a command is over the command's own


def add_stop(unit: UnitText, spec: ServiceSpec, lose: Callable[[str], None]) -> None:
    """Add the stop sequence to a unit; SIGKILL to all that is left follows in any case."""
    stop = spec.stop
    commands = [hook.timeout for hook in spec.post_stop]
    unit.set("KillMode", "mixed" if stop.scope == "leader" else "control-group")
    if stop.command is not None:
        unit.set("ExecStop", "-" + command_line(stop.command.argv, spec, lose))
        commands.append(stop.command.timeout)
    if not stop.steps:
        unit.set("KillSignal", "SIGKILL")
        if commands:
            unit.set("TimeoutStopSec", seconds(max(commands)))
        return
    *before, last = stop.steps
    for step in before:
        unit.set("ExecStop", "-" + quote_command(("/bin/sh", "-c", _script(step, stop.scope))))
    unit.set("KillSignal", last.signal)
    longest = max([last.wait, *commands, *(step.wait + _MARGIN for step in before)])
    unit.set("TimeoutStopSec", seconds(longest))
    if longest > last.wait:
        lose(f"{last.signal} is given {longest:g} s, as systemd has one limit for the whole sequence")


def _script(step: StopStep, scope: str) -> str:
    """Return a shell line that sends a signal and waits; services lead a process group of their own."""
    target = '"$MAINPID"' if scope == "leader" else '-- "-$MAINPID"'
    turns = max(1, round(step.wait * _TURNS))
    return (
        f"kill -s {step.signal.removeprefix('SIG')} {target} || exit 0; n=0; "
        f'while [ "$n" -lt {turns} ] && kill -s 0 "$MAINPID" 2>/dev/null; '
        f"do sleep {1 / _TURNS:g}; n=$((n + 1)); done"
    )
