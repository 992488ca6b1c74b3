"""A fake keeper and daemon in one process: plays a scenario, so that `up` can be watched from outside.

Run by a stub in the place of keeper/__main__.py with the keeper's own boot document. It takes the
same signals, holds the same lock and serves the shapes of docs/control-api.md; it starts no
services. The scenario is the key `fake` of the first configuration file:

    {"services": {NAME: {"path": [[seconds, state, reason], ...], ...fields of the row}},
     "daemon_after": s, "stop_takes": s, "dies_after": s, "logs": [[seconds, NAME, stream, text], ...]}
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from orchestra_supervisor.logfile.index import STREAM_CODES, Record, encode_header, encode_record
from tests.e2e.cli import shapes
from tests.e2e.cli.fake_control import Answer, serving

TICK = 0.01


def append_log(path: Path, text: str, *, at: float, stream: str = "stdout") -> None:
    """Write one line as the logger does: index first, then bytes."""
    path.parent.mkdir(exist_ok=True)
    index = path.with_name(path.name + ".idx")
    with path.open("ab") as log, index.open("ab") as beside:
        if not beside.tell():
            beside.write(encode_header(1))
        beside.write(encode_record(Record(int(at * 1e9), log.tell(), 1, STREAM_CODES[stream])))
        beside.flush()
        log.write(text.encode("utf-8", "surrogateescape") + b"\n")


class FakeFleet:
    """Where every service of the scenario stands now."""

    def __init__(self, boot: dict[str, object], scenario: dict[str, object]) -> None:
        self.home = Path(str(boot["home"]))
        self.scenario = scenario
        self.began = time.time()
        self.events: list[dict[str, object]] = []
        self.states: dict[str, tuple[str, str, float]] = {}
        self.stop_began: float | None = None
        self.is_hurried = False
        self.logs_written = 0
        self.lock = threading.Lock()

    def advance(self) -> bool:
        """Bring states, events and logs up to now; return False when the fleet has ended."""
        now = time.time()
        age = now - self.began
        with self.lock:
            for name, plan in self.scenario["services"].items():
                state, reason = plan["path"][0][1], ""
                for at, then, *why in plan["path"]:
                    if age >= at:
                        state, reason = then, why[0] if why else ""
                if self.stop_began is not None:
                    state, reason = "stopping", "SIGTERM sent"
                self._move(name, state, reason, now)
        lines = self.scenario.get("logs", [])
        while self.logs_written < len(lines) and lines[self.logs_written][0] <= age:
            _, name, stream, text = lines[self.logs_written]
            append_log(self.home / "logs" / f"{name}.log", text, at=now, stream=stream)
            self.logs_written += 1
        if age >= self.scenario.get("dies_after", 1e9):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.stop_began is None:
            return True
        return not self.is_hurried and now - self.stop_began < self.scenario.get("stop_takes", 0.1)

    def _move(self, name: str, state: str, reason: str, now: float) -> None:
        if self.states.get(name, ("",))[0] != state:
            self.states[name] = (state, reason, now)
            message = f"{name} is {state}" + (f": {reason}" if reason else "")
            seq = len(self.events) + 1
            self.events.append(shapes.event(seq, f"service.{state}", message, name, now))

    def rows(self) -> list[dict[str, object]]:
        """Return the services as status shows them."""
        with self.lock:
            rows = []
            for name, plan in self.scenario["services"].items():
                state, reason, since = self.states[name]
                fields = {key: value for key, value in plan.items() if key != "path"}
                row = shapes.service(name, state, reason=reason, since=since, **fields)
                rows.append(row | ({"started": self.began} if row["pid"] else {}))
            return rows

    def answer(
        self, method: str, path: str, query: dict[str, str], _body: object
    ) -> Answer | Iterator[dict[str, object]]:
        """Answer one request."""
        if path == "/v1/status":
            keeper = {"pid": os.getpid() + 1, "keeper_pid": os.getpid(), "logger_pid": os.getpid() + 2}
            phase = "running" if self.stop_began is None else "stopping"
            return 200, shapes.status(str(self.home), self.rows(), phase=phase, **keeper)
        if path == "/v1/events":
            events = list(self.events)
            return 200, {"events": events[-int(query["limit"]) :], "last": len(events)}
        if path == "/v1/events/stream":
            return self._stream(int(query.get("after", 0)))
        if path == "/v1/shutdown":
            self.stop(hurry=False)
            return 200, {"stopping": len(self.states)}
        return 404, shapes.error("invalid_request", f"the fake fleet has no {method} {path}")

    def _stream(self, after: int) -> Iterator[dict[str, object]]:
        while True:
            new = self.events[after:]
            after += len(new)
            yield from new
            time.sleep(TICK)

    def stop(self, *, hurry: bool) -> None:
        """Begin to stop, or hurry."""
        self.is_hurried = self.is_hurried or hurry
        self.stop_began = self.stop_began or time.time()


def main() -> None:
    """Play the scenario until the fleet is stopped."""
    boot = json.loads(sys.argv[1])
    daemon = boot["daemon"]
    scenario = json.loads(Path(daemon[daemon.index("-c") + 1]).read_text(encoding="utf-8"))["fake"]
    fleet = FakeFleet(boot, scenario)
    record = {"boot": boot, "home": os.environ["ORCHESTRA_HOME"], "sid": os.getsid(0), "pid": os.getpid()}
    fleet.home.joinpath("fake.json").write_text(json.dumps(record), encoding="utf-8")

    def on_signal(_number: int, _frame: object) -> None:
        fleet.stop(hurry=fleet.stop_began is not None)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    sys.stderr.write("fake keeper started\n")
    sys.stderr.flush()
    if scenario.get("exits_with") is not None:
        sys.stderr.write("fake keeper: cannot go on\n")
        sys.exit(scenario["exits_with"])
    layout = {"log_directory": str(fleet.home / "logs"), "services": list(scenario["services"])}
    fleet.home.joinpath("layout.json").write_text(json.dumps(layout), encoding="utf-8")
    fleet.advance()
    time.sleep(scenario.get("daemon_after", 0.05))
    socket = fleet.home / "control.sock"
    socket.unlink(missing_ok=True)
    with serving(socket, fleet.answer):
        while fleet.advance():
            time.sleep(TICK)
    os._exit(0)


if __name__ == "__main__":
    main()
