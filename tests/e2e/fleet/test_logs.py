"""What a file says of a log holds for the service that runs, and over the death of any of our processes."""

import os
import signal

import pytest

from tests.e2e.fleet_driver import Fleet, python, until

TALK = (
    "import os, signal\n"
    "signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'token=abc\\n'))\n"
    "os.write(1, b'token=abc\\n')\n"
    "while True: signal.pause()\n"
)


@pytest.mark.slow
def test_a_reload_changes_how_a_running_services_log_is_written(fleet: Fleet) -> None:
    path = fleet.home / "logs" / "one.log"

    def lines() -> list[str]:
        return path.read_text(encoding="utf-8").splitlines()

    def talk(count: int) -> str:
        os.kill(pid, signal.SIGUSR1)
        return until(lambda: lines()[-1] if len(lines()) >= count else "", f"{count} lines")

    fleet.write({"one": {"command": python(TALK)}})
    fleet.up()
    fleet.until_log("one", "token=abc")
    pid = fleet.pid("one")
    fleet.write({"one": {"command": python(TALK), "log": {"redact": ["token=\\w+"], "format": "json"}}})
    fleet.ok("reload")
    # The logger is told after the answer: talk until it knows.
    count = 1
    while '"message":"[redacted]"' not in talk(count := count + 1):
        assert count < 100, lines()
    old = until(lambda: fleet.role("logger"), "the logger")
    os.kill(old, signal.SIGKILL)
    until(lambda: fleet.role("logger") not in {old, None}, "another logger")
    assert '"message":"[redacted]"' in talk(count + 1), "the next logger knows it, too"
    assert fleet.pid("one") == pid
    assert fleet.ok("logs", "one", "-n", "1") == "[redacted]\n"
    assert int(fleet.ok("logs", "one", "--grep", "^\\[redacted\\]$", "--count")) >= 2
    fleet.ok("down")
