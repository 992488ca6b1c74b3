"""The same programs under a real supervisord and under Orchestra, and both asked the same.

Both read the same supervisord.conf, each in a folder of its own; within it everything is called the same, so
that answers can be held against each other.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import SupervisorTransport

from tests.e2e.fleet_driver import DEADLINE, Fleet, until

__all__ = ["SIDES", "Info", "Pair", "Program", "Ran", "Side", "free_port"]

Info = dict[str, Any]
"""A struct of the interface: a test that asks for what is not there fails."""

BIN = Path(sys.executable).parent
SIDES = ("supervisord", "orchestra")
PASSWORD = "pass word:1"


@dataclass(frozen=True)
class Program:
    """One program of a supervisord.conf."""

    name: str
    command: str
    group: str = ""
    priority: int = 999
    startsecs: int = 0
    startretries: int = 0
    autostart: bool = True
    autorestart: str = "false"
    stopsignal: str = "TERM"
    stopwaitsecs: int = 5
    redirect_stderr: bool = False
    env: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def shell(cls, name: str, script: str, **options: Any) -> "Program":
        """Return a program that is a line of shell without single quotes."""
        return cls(name, f"/bin/sh -c '{script}'", **options)

    @classmethod
    def sleeping(cls, name: str, text: str = "up", **options: Any) -> "Program":
        """Return a program that says something on both streams and stays."""
        return cls.shell(name, f"echo {text}; echo {text} badly >&2; exec sleep 1000", **options)

    @property
    def namespec(self) -> str:
        """Return the name that clients show and take."""
        return f"{self.group}:{self.name}" if self.group else self.name

    def section(self, folder: Path) -> str:
        """Return it as a section of a supervisord.conf."""
        lines = [
            f"[program:{self.name}]",
            f"command={self.command}",
            f"directory={folder}",
            f"priority={self.priority}",
            f"startsecs={self.startsecs}",
            f"startretries={self.startretries}",
            f"autostart={str(self.autostart).lower()}",
            f"autorestart={self.autorestart}",
            f"stopsignal={self.stopsignal}",
            f"stopwaitsecs={self.stopwaitsecs}",
            f"redirect_stderr={str(self.redirect_stderr).lower()}",
            f"stdout_logfile={folder}/{self.name}.out",
        ]
        if not self.redirect_stderr:
            lines.append(f"stderr_logfile={folder}/{self.name}.err")
        if self.env:
            lines.append("environment=" + ",".join(f'{key}="{value}"' for key, value in self.env.items()))
        return "\n".join(lines)


@dataclass(frozen=True)
class Ran:
    """How a command ended: what it said, paths and pids apart, and its status."""

    status: int
    said: str


class Side:
    """One of the two, in a folder of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        folder.mkdir()
        (folder / "ctl.conf").write_text("[supervisorctl]\n", encoding="utf-8")

    def write(self, programs: list[Program]) -> None:
        """Write the configuration."""
        groups: dict[str, list[str]] = {}
        for program in programs:
            if program.group:
                groups.setdefault(program.group, []).append(program.name)
        factory = "supervisor.rpcinterface:make_main_rpcinterface"
        own = {"logfile": f"{self.folder}/main.log", "pidfile": f"{self.folder}/pid", "nodaemon": "true"}
        parts = [
            "[supervisord]\n" + "\n".join(f"{key}={value}" for key, value in own.items()),
            f"[unix_http_server]\nfile={self.folder}/s.sock",
            f"[inet_http_server]\nport=127.0.0.1:{self.port}\nusername=joe\npassword={PASSWORD}",
            f"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory={factory}",
            *(program.section(self.folder) for program in programs),
            *(f"[group:{name}]\nprograms={','.join(members)}" for name, members in groups.items()),
        ]
        (self.folder / "supervisord.conf").write_text("\n\n".join(parts) + "\n", encoding="utf-8")

    def up(self) -> None:
        """Start, and return when clients are answered."""
        raise NotImplementedError

    def end(self) -> None:
        """Kill what is left."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Return the address of the Unix socket."""
        return f"unix://{self.folder}/s.sock"

    def call(self, method: str, *params: object, inet: bool = False) -> object:
        """Make a call; return its value, or the fault as `("fault", code, text)`."""
        url = f"http://127.0.0.1:{self.port}" if inet else self.url
        user, password = ("joe", PASSWORD) if inet else (None, None)
        transport = cast("Any", SupervisorTransport)(user, password, url)
        target: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport)
        for part in method.split("."):
            target = getattr(target, part)
        try:
            return target(*params)
        except xmlrpc.client.Fault as fault:
            return ("fault", fault.faultCode, fault.faultString)
        except xmlrpc.client.ProtocolError as error:
            return ("http", error.errcode)
        finally:
            transport.close()

    def infos(self) -> dict[str, Info]:
        """Return how all processes stand, by `group:name`."""
        found = cast("list[Info]", self.call("supervisor.getAllProcessInfo"))
        return {f"{info['group']}:{info['name']}": info for info in found}

    def ctl(self, *words: str, inet: bool = False, stdin: str | None = None, wait: float = 40) -> Ran:
        """Run the stock supervisorctl to its end."""
        done = subprocess.run(
            self.ctl_argv(*words, inet=inet),
            cwd=self.folder,
            env=self.ctl_env(),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=wait,
            check=False,
        )
        return Ran(done.returncode, self.plain(done.stdout))

    def ctl_argv(self, *words: str, inet: bool = False) -> list[str]:
        """Return the command line of supervisorctl."""
        where = ["-s", self.url]
        if inet:
            where = ["-s", f"http://127.0.0.1:{self.port}", "-u", "joe", "-p", PASSWORD]
        return [str(BIN / "supervisorctl"), "-c", str(self.folder / "ctl.conf"), *where, *words]

    def ctl_env(self) -> dict[str, str]:
        """Return the environment of supervisorctl."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONIOENCODING": "utf-8",
            "TEST_FOLDER": f"{self.folder}/",
        }

    def plain(self, text: str) -> str:
        """Return a text without what cannot be the same on both sides."""
        text = text.replace(str(self.folder), "FOLDER").replace(f":{self.port}", ":PORT")
        text = re.sub(r"\bpid \d+, uptime \d+:\d\d:\d\d", "pid N, uptime T", text)
        text = re.sub(r"\b[A-Z][a-z]{2} \d\d \d\d:\d\d [AP]M", "DATE", text)
        return re.sub(r"(?m)^\d+$", "N", text)


class Supervisord(Side):
    """A real supervisord."""

    process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        with (self.folder / "console").open("wb") as console:
            self.process = subprocess.Popen(
                [str(BIN / "supervisord"), "-n", "-c", str(self.folder / "supervisord.conf")],
                cwd=self.folder,
                env=self.ctl_env(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        until(self._answers, f"supervisord answers: {(self.folder / 'console').read_text(encoding='utf-8')}")

    def _answers(self) -> bool:
        with suppress(OSError):
            return isinstance(self.call("supervisor.getState"), dict)
        return False

    def end(self) -> None:
        process = self.process
        if process is None:
            return
        children = _children(process.pid) if process.poll() is None else []
        if process.poll() is None:
            process.kill()  # it would stop one group a second
        process.wait(10)
        for pid in children:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def wait_over(self) -> int:
        """Wait until it has ended; return its status."""
        assert self.process is not None
        return self.process.wait(DEADLINE)


class Orchestra(Side):
    """Our own."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, port)
        self.fleet = Fleet(folder)

    def up(self) -> None:
        done = self.fleet.run("up", "--detach", "-c", "supervisord.conf", TZ="UTC")
        assert done.returncode in {0, 1}, done.stderr  # 1: some of the programs are made to fail
        assert isinstance(self.call("supervisor.getState"), dict), self.fleet.said()

    def end(self) -> None:
        self.fleet.end()

    def wait_over(self) -> None:
        """Wait until nothing of it is left."""
        until(lambda: not self.fleet.processes(), f"it has ended: {self.fleet.processes()}")


class Pair:
    """supervisord and Orchestra with the same programs."""

    def __init__(self, folder: Path) -> None:
        self.supervisord = Supervisord(folder / "supervisord", free_port())
        self.orchestra = Orchestra(folder / "orchestra", free_port())
        self.sides: tuple[Supervisord, Orchestra] = (self.supervisord, self.orchestra)

    def write(self, programs: list[Program]) -> None:
        """Write both configurations."""
        for side in self.sides:
            side.write(programs)

    def up(self) -> None:
        """Start both."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda side: side.up(), self.sides))

    def ctl(self, *words: str, inet: bool = False, stdin: str | None = None) -> tuple[Ran, Ran]:
        """Run a command on both at once."""
        with ThreadPoolExecutor(2) as pool:
            theirs, ours = pool.map(lambda side: side.ctl(*words, inet=inet, stdin=stdin), self.sides)
        return theirs, ours

    def call(self, method: str, *params: object) -> tuple[object, object]:
        """Make a call on both at once."""
        with ThreadPoolExecutor(2) as pool:
            theirs, ours = pool.map(lambda side: side.call(method, *params), self.sides)
        return theirs, ours

    def settle(self, *brief: str) -> None:
        """Wait until every process stands alike on both sides, and nothing is on its way.

        Args:
            brief: Processes that end by themselves, as `group:name`.
        """
        last: list[object] = []

        def alike() -> bool:
            theirs, ours = (
                {name: info["statename"] for name, info in side.infos().items()} for side in self.sides
            )
            last[:] = [theirs, ours]
            on_its_way = {"STARTING", "STOPPING", "BACKOFF"} & set(theirs.values())
            is_running = any(theirs.get(name) == "RUNNING" for name in brief)
            return theirs == ours and not on_its_way and not is_running

        try:
            until(alike, "both stand alike")
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from None

    def end(self) -> None:
        """Kill what is left of both."""
        for side in self.sides:
            side.end()


def _children(pid: int) -> list[int]:
    try:
        return [
            int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        ]
    except OSError:
        return []


def free_port() -> int:
    """Return a port of loopback that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
