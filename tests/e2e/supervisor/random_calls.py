"""Random calls, from a seed, made to supervisord and to Orchestra, and their answers held against each other.

`python -m tests.e2e.supervisor.random_calls SEED [SEEDS]` plays more of them, or one again.
"""

import random
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tests.e2e.fleet_driver import until
from tests.e2e.supervisor.pair import Info, Pair, Program

__all__ = ["PROGRAMS", "Call", "Play", "main"]

PROGRAMS = [
    Program.sleeping("web", "hello", priority=10, redirect_stderr=True),
    Program.sleeping("db", "data", group="back", priority=2),
    Program.sleeping("cache", "warm", group="back", priority=1),
    Program.sleeping("off", "idle", autostart=False),
    Program.shell("brief", "sleep 0.5; echo was here; exit 0", autostart=False),
    Program.shell("wrong", "sleep 0.5; echo no >&2; exit 3", autostart=False),
    Program.shell("broken", "sleep 0.5; exit 7", startsecs=3, startretries=0, autostart=False),
    Program("missing", "/no/such/program", autostart=False),
    Program("folder", "/usr", autostart=False),
]
BRIEF = ("brief:brief", "wrong:wrong", "broken:broken")
CALLS = 45
NAMES = [
    *(program.namespec for program in PROGRAMS),
    "back:*",
    "back:",
    "web:*",
    "nobody",
    "back:nobody",
    ":",
    "",
]
GROUPS = ["back", "web", "off", "brief", "wrong", "nobody", "db"]
SIGNALS = ["0", "HUPP", "CONT", "sigwinch", "18", "99", "", 18]

Call = tuple[str, tuple[object, ...]]


@dataclass(frozen=True)
class Difference:
    """Where the two are known to differ, and why: docs/supervisorctl.md has the same table."""

    methods: str
    """A pattern of methods."""
    why: str
    norm: Callable[[object], object]
    """Makes both answers the same where only that differs."""


def _by_name(answer: object) -> object:
    if isinstance(answer, list) and all(
        isinstance(one, dict) and "status" in one for one in cast("list[object]", answer)
    ):
        return sorted(cast("list[Info]", answer), key=lambda one: (one["group"], one["name"]))
    return answer


def _rounded(answer: object) -> object:
    """Leave out what moves: times and pids; whether there is one stays."""
    if isinstance(answer, list):
        return [_rounded(one) for one in cast("list[object]", answer)]
    if not isinstance(answer, dict) or "statename" not in answer or "pid" not in answer:
        return answer
    info = dict(cast("Info", answer))
    for key in ("pid", "now", "start", "stop"):
        info[key] = bool(info[key])
    text = re.sub(r"pid \d+, uptime \d+:\d\d:\d\d", "pid N, uptime T", str(info["description"]))
    info["description"] = re.sub(r"[A-Z][a-z]{2} \d\d \d\d:\d\d [AP]M", "DATE", text)
    return info


KNOWN = [
    Difference(".*", "processes have other pids, and times go on", _rounded),
    Difference("stop.*", "several that stop are told of as they are down", _by_name),
]


def _in_folder(answer: object, folder: str) -> object:
    """Return an answer with the folder of its side called FOLDER."""
    match answer:
        case ("fault", int() as code, str() as text):
            return ("fault", code, text.replace(folder, "FOLDER"))
        case str():
            return answer.replace(folder, "FOLDER")
        case list():
            return [_in_folder(one, folder) for one in cast("list[object]", answer)]
        case dict():
            return {key: _in_folder(one, folder) for key, one in cast("Info", answer).items()}
        case _:
            return answer


def _differing(theirs: object, ours: object) -> tuple[object, object]:
    """Return the parts of two answers that differ."""
    if (
        isinstance(theirs, list)
        and isinstance(ours, list)
        and len(cast("list[object]", theirs)) == len(cast("list[object]", ours))
    ):
        pairs = zip(cast("list[object]", theirs), cast("list[object]", ours), strict=True)
        return next((_differing(one, other) for one, other in pairs if one != other), (theirs, ours))
    if isinstance(theirs, dict) and isinstance(ours, dict):
        one, other = cast("Info", theirs), cast("Info", ours)
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        return {key: one.get(key) for key in keys}, {key: other.get(key) for key in keys}
    return theirs, ours


def random_call(dice: random.Random) -> Call:
    """Return a call as clients make it, or as they should not."""
    name, group = dice.choice(NAMES), dice.choice(GROUPS)
    wait = dice.choice([True, True, True, False])
    offset, length = dice.choice([0, 1, 3, 7, 1000, -1, -5]), dice.choice([0, 0, 2, 5, 1000, -1])
    calls: list[tuple[int, Call]] = [
        (10, ("supervisor.startProcess", (name, wait))),
        (2, ("supervisor.startProcess", (name,))),
        (10, ("supervisor.stopProcess", (name, wait))),
        (3, ("supervisor.startProcessGroup", (group, wait))),
        (3, ("supervisor.stopProcessGroup", (group, wait))),
        (1, ("supervisor.startAllProcesses", (wait,))),
        (1, ("supervisor.stopAllProcesses", (wait,))),
        (4, ("supervisor.signalProcess", (name, dice.choice(SIGNALS)))),
        (2, ("supervisor.signalProcessGroup", (group, dice.choice(SIGNALS)))),
        (1, ("supervisor.signalAllProcesses", (dice.choice(SIGNALS),))),
        (5, ("supervisor.getProcessInfo", (name,))),
        (3, ("supervisor.getAllProcessInfo", ())),
        (2, ("supervisor.getAllConfigInfo", ())),
        (5, ("supervisor.readProcessStdoutLog", (name, offset, length))),
        (3, ("supervisor.readProcessStderrLog", (name, offset, length))),
        (5, ("supervisor.tailProcessStdoutLog", (name, abs(offset), abs(length)))),
        (2, ("supervisor.tailProcessStderrLog", (name, abs(offset), abs(length)))),
        (3, ("supervisor.clearProcessLogs", (name,))),
        (1, ("supervisor.clearAllProcessLogs", ())),
        (2, ("supervisor.addProcessGroup", (group,))),
        (2, ("supervisor.removeProcessGroup", (group,))),
        (1, ("supervisor.reloadConfig", ())),
        (1, ("supervisor.sendRemoteCommEvent", ("type", "data"))),
        (2, ("supervisor.sendProcessStdin", (name, dice.choice(["a line\n", "", "ü"])))),
        (1, (f"supervisor.get{dice.choice(['State', 'Version', 'APIVersion', 'SupervisorVersion'])}", ())),
        (1, ("supervisor.getIdentification", ())),
        (1, ("system.listMethods", ())),
        (2, ("system.methodSignature", (dice.choice(METHODS),))),
        (1, ("system.methodHelp", ("nothing",))),
        (
            1,
            (
                dice.choice(
                    ["nothing", "supervisor.nothing", "supervisor._update", "a.b.c", "supervisor.a.b", "."]
                ),
                (),
            ),
        ),
        (1, (dice.choice(METHODS), ("1", "2", "3", "4", "5"))),
        (1, ("supervisor.startProcess", ())),
    ]
    return dice.choices([call for _, call in calls], [weight for weight, _ in calls])[0]


METHODS = [
    *("system.listMethods", "system.methodHelp", "system.methodSignature", "system.multicall"),
    *(f"supervisor.get{what}" for what in ("APIVersion", "Version", "SupervisorVersion", "Identification")),
    *(f"supervisor.get{what}" for what in ("State", "PID", "AllConfigInfo", "ProcessInfo", "AllProcessInfo")),
    *(f"supervisor.{verb}" for verb in ("readLog", "readMainLog", "clearLog", "shutdown", "restart")),
    *(f"supervisor.{verb}" for verb in ("reloadConfig", "addProcessGroup", "removeProcessGroup")),
    *(f"supervisor.{verb}Process" for verb in ("start", "stop", "signal")),
    *(f"supervisor.{verb}ProcessGroup" for verb in ("start", "stop", "signal")),
    *(f"supervisor.{verb}AllProcesses" for verb in ("start", "stop", "signal")),
    *(f"supervisor.{verb}Process{log}Log" for verb in ("read", "tail") for log in ("Stdout", "Stderr", "")),
    *("supervisor.clearProcessLogs", "supervisor.clearProcessLog", "supervisor.clearAllProcessLogs"),
    *("supervisor.sendProcessStdin", "supervisor.sendRemoteCommEvent"),
]


class Play:
    """One play from a seed."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self._pair = pair
        self._dice = random.Random(seed)
        self.story: list[str] = []

    def begin(self) -> None:
        """Start both."""
        self._pair.write(PROGRAMS)
        self._pair.up()
        self._pair.settle(*BRIEF)

    def run(self, calls: int = CALLS) -> None:
        """Make the calls, and compare what comes of each."""
        for _ in range(calls):
            if self._dice.random() < 0.1:
                some = [random_call(self._dice) for _ in range(self._dice.randint(0, 4))]
                some = [call for call in some if "clear" not in call[0]]  # see `_clear_too`
                structs: list[object] = [
                    {"methodName": name, "params": list(params)} for name, params in some
                ]
                structs += self._dice.choice([[], [{"methodName": "system.multicall", "params": [[]]}], [{}]])
                self._make(("system.multicall", (structs,)))
            else:
                self._make(random_call(self._dice))

    def _make(self, call: Call) -> None:
        method, params = call
        self.story.append(f"{method}{params}")
        if "Log" in repr(call):
            self._wait_logs()
        theirs, ours = (
            _in_folder(answer, str(side.folder))
            for side, answer in zip(self._pair.sides, self._pair.call(method, *params), strict=True)
        )
        wanted, got = self._norm(call, theirs), self._norm(call, ours)
        if "clear" in method:
            self._clear_too(method, params)
        assert got == wanted, self._told("supervisord: {}\norchestra:   {}".format(*_differing(wanted, got)))
        try:
            self._pair.settle(*BRIEF)
        except AssertionError as error:
            raise AssertionError(self._told(str(error))) from None

    def _clear_too(self, method: str, params: tuple[object, ...]) -> None:
        """Clear the logs of processes that do not run: supervisord says that it has, and does not."""
        side = self._pair.supervisord
        for program in PROGRAMS:
            info = side.infos().get(f"{program.group or program.name}:{program.name}")
            is_meant = "All" in method or params[:1] == (program.namespec,)
            if info is None or info["pid"] or not is_meant:
                continue
            for suffix in ("out", "err"):
                log = side.folder / f"{program.name}.{suffix}"
                if log.exists():
                    log.write_bytes(b"")

    def _norm(self, call: Call, answer: object) -> object:
        method, params = call
        if method == "system.multicall" and isinstance(answer, list):
            structs = cast("list[Info]", params[0])
            return [
                self._norm((str(struct.get("methodName")), tuple(struct.get("params", ()))), self._one(value))
                for struct, value in zip(structs, cast("list[Any]", answer), strict=True)
            ]
        for known in KNOWN:
            if re.fullmatch(known.methods, method.rpartition(".")[2]):
                answer = known.norm(answer)
        return answer

    @staticmethod
    def _one(value: object) -> object:
        if isinstance(value, dict) and "faultCode" in value:
            fault = cast("Info", value)
            return ("fault", fault["faultCode"], fault["faultString"])
        return value

    def _wait_logs(self) -> None:
        """Wait until both have read what their processes wrote."""
        last: list[object] = []

        def alike() -> bool:
            last[:] = [
                {
                    (name, stream): _in_folder(
                        side.call(f"supervisor.readProcess{stream}Log", name, 0, 0), str(side.folder)
                    )
                    for name in sorted(side.infos())
                    for stream in ("Stdout", "Stderr")
                }
                for side in self._pair.sides
            ]
            return last[0] == last[1]

        try:
            until(alike, "both have the same logs", 10)
        except AssertionError:
            raise AssertionError(
                self._told(f"logs differ:\nsupervisord: {last[0]}\norchestra:   {last[1]}")
            ) from None

    def _told(self, what: str) -> str:
        return "\n".join([*self.story, what])


def main(seeds: range) -> None:
    """Play from some seeds, and say what comes of each."""
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="orchestra-rpc-") as folder:
            pair = Pair(Path(folder))
            try:
                play = Play(pair, seed)
                play.begin()
                play.run()
                print(f"seed {seed}: {len(play.story)} calls alike")
            except AssertionError as error:
                print(f"seed {seed}:\n{error}")
                raise SystemExit(1) from None
            finally:
                pair.end()


if __name__ == "__main__":
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    main(range(first, int(sys.argv[2]) if len(sys.argv) > 2 else first + 1))
