"""What a check saw: passed or not, one line for people, and how long it took."""

import signal as _signal
from dataclasses import dataclass

__all__ = ["ProbeOutcome", "Progress", "judge_exit"]


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """The result of one check. A negative result is a value, never an exception.

    Attributes:
        passed: Whether the check's condition was met.
        detail: What was seen, for people: `HTTP 503 (wanted 200-299)`. Never secrets.
        took: Seconds until the verdict; 0 where nothing was measured.
    """

    passed: bool
    detail: str
    took: float = 0.0


@dataclass(slots=True)
class Progress:
    """How far a check has come, for the words of its time-out.

    Attributes:
        lacking: What has not happened yet: `no answer`, `no connection to 127.0.0.1:80`.
        outcome: The verdict, once it is known; what follows it is courtesy to the server.
    """

    lacking: str = "no answer"
    outcome: ProbeOutcome | None = None


def judge_exit(code: int | None, signal: str | int | None, took: float = 0.0) -> ProbeOutcome:
    """Judge how a command check ended. Only exit code 0 passes.

    Args:
        code: Exit code, or None when a signal ended it or the status is unknown.
        signal: Name or number of the signal that ended it, or None.
        took: Seconds that the command ran.

    Returns:
        The outcome, e.g. `exit code 2` or `killed by SIGKILL`.
    """
    if signal is not None:
        return ProbeOutcome(passed=False, detail=f"killed by {_signal_name(signal)}", took=took)
    if code is None:
        return ProbeOutcome(passed=False, detail="ended with an unknown exit status", took=took)
    return ProbeOutcome(passed=code == 0, detail=f"exit code {code}", took=took)


def _signal_name(signal: str | int) -> str:
    if isinstance(signal, str):
        return signal
    try:
        return _signal.Signals(signal).name
    except ValueError:  # real-time signals between SIGRTMIN and SIGRTMAX have numbers only
        return f"signal {signal}"
