"""`orchestra up --detach`: watch the start, print the table, leave the fleet running.

Exit statuses: 0 when every service that counts is ready or completed; else 1, with the reasons.
The services that count are those marked `required_for_system`; where none is, all enabled ones.
"""

import os
import sys
import time

from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.foreground import is_settled, keeper_lost, tail_of
from orchestra_supervisor.cli.launch import LOG_NAME, Plan, spawn_keeper
from orchestra_supervisor.cli.live import starting_frame
from orchestra_supervisor.cli.render import note_of, summary_lines
from orchestra_supervisor.cli.screen import Screen
from orchestra_supervisor.cli.session import Session, SignalBox
from orchestra_supervisor.cli.shapes import ServiceView, StatusView
from orchestra_supervisor.cli.terminal import Terminal

__all__ = ["watch_detached"]

INTERRUPTED = 130
_FRAME = 0.1  # seconds between frames
_TAIL = 5


def watch_detached(plan: Plan, lock_fd: int, timeout: float) -> int:
    """Start the keeper and return when the services are settled, or the time is up.

    Args:
        plan: What to start.
        lock_fd: The lock of the home; handed to the keeper.
        timeout: Seconds.

    Raises:
        ActionFailed: A service that counts is not there, or there is no fleet.
    """
    began = time.time()
    screen = Screen(Terminal(sys.stderr, os.environ))
    with SignalBox() as box:
        keeper = spawn_keeper(plan, lock_fd)
        session = Session(plan.home, keeper, box, began)
        until = time.monotonic() + timeout

        def draw() -> None:
            screen.show(starting_frame(session.status, screen.terminal, time.time(), session.age()))

        try:
            signals = session.run_until(
                lambda: is_settled(session) or time.monotonic() >= until, _FRAME, draw
            )
        finally:
            screen.end_region()
            session.close()
    if session.is_over():
        screen.say(tail_of(plan.home / LOG_NAME, _TAIL))
        raise keeper_lost(keeper, plan.home)
    if session.status is None:
        screen.say(tail_of(plan.home / LOG_NAME, _TAIL))
        raise ActionFailed(
            f"the keeper (pid {keeper.pid}) runs, and its daemon did not answer within {timeout:g} s",
            hint=f"see {plan.home / LOG_NAME}; `orchestra down` ends it",
        )
    # The keeper goes on without us; its exit is for init to collect.
    keeper.returncode = 0
    sys.stdout.write(
        "\n".join(summary_lines(session.status, Terminal(sys.stdout, os.environ), time.time())) + "\n"
    )
    sys.stdout.flush()
    if signals:
        screen.say(["interrupted: the fleet runs on; `orchestra down` stops it"])
        return INTERRUPTED
    return _judge(session.status, timeout, screen)


def _judge(status: StatusView, timeout: float, screen: Screen) -> int:
    missing = status.shortfalls()
    is_any_required = any(service.is_required for service in status.services)
    counted = [service for service in missing if service.is_required or not is_any_required]
    if not counted:
        for service in missing:
            screen.say([f"warning: {_reason(service)}"])
        return 0
    late = f" within {timeout:g} s" if any(service.state != "failed" for service in counted) else ""
    raise ActionFailed(
        f"not ready{late}: {'; '.join(_reason(service) for service in counted)}",
        hint=f"the fleet runs on; `orchestra logs {counted[0].name}` shows what it said",
    )


def _reason(service: ServiceView) -> str:
    note = note_of(service, time.time())
    return f"{service.name} is {service.state}" + (f" ({note})" if note else "")
