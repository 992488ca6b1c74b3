"""The peers of the comparison, each configured as its documentation shows, and without a limit on logs.

What a peer leaves open is set to the quickest that it can do without polling more often; everything else is
its default. supervisord and circus look at their children by a clock, s6 waits a second before a restart.
"""

import json
import os
import re
import shlex
import shutil
import signal
from pathlib import Path
from typing import ClassVar

from compare_peers import Kit, Peer
from gateway_world import NotTried, install_debian, install_node, install_python, version_in

__all__ = ["S6", "Circus", "Pm2", "Runit", "Supervisord"]


class Supervisord(Peer):
    """supervisor, of PyPI."""

    name = "supervisord"

    @classmethod
    def install(cls, cache: Path) -> Kit:
        folder = install_python(cache / "supervisor-4.3", "supervisor==4.3.*")
        return Kit(version_in(folder, "supervisor"), str(folder))

    def configure(self) -> None:
        at = self.folder
        (at / "logs").mkdir()
        # Three descriptors for each service, and some.
        lines = [
            f"[unix_http_server]\nfile={at}/ctl",
            f"[supervisord]\nnodaemon=true\nlogfile={at}/supervisord.log\npidfile={at}/pid\nchildlogdir={at}/logs",
            f"minfds={max(1024, 200 + 4 * self.work.services)}",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            f"[supervisorctl]\nserverurl=unix://{at}/ctl",
        ]
        for number in range(self.work.services):
            lines += [
                f"[program:{self.work.name(number)}]\ncommand={shlex.join(self.work.argv(number))}",
                "autorestart=true\nstartretries=1000000\nredirect_stderr=true",
                f"stdout_logfile={self.log(number)}\nstdout_logfile_maxbytes=0",
            ]
        (at / "supervisord.conf").write_text("\n".join(lines), encoding="utf-8")

    def up(self) -> None:
        self.start("supervisord", "-n", "-s", "-c", "supervisord.conf")

    def status(self) -> list[str]:
        return ["supervisorctl", "-c", "supervisord.conf", "status"]

    def stop(self) -> None:
        self.run("supervisorctl", "-c", "supervisord.conf", "stop", "all")

    def leave(self) -> None:
        self.run("supervisorctl", "-c", "supervisord.conf", "shutdown")

    def log(self, number: int) -> Path:
        return self.folder / "logs" / f"{number}.log"


class Circus(Peer):
    """circus, of PyPI."""

    name = "circus"

    @classmethod
    def install(cls, cache: Path) -> Kit:
        folder = install_python(cache / "circus-0.19", "circus==0.19.*")
        return Kit(version_in(folder, "circus"), str(folder))

    def configure(self) -> None:
        at = self.folder
        (at / "logs").mkdir()
        lines = [f"[circus]\nendpoint=ipc://{at}/ctl\npubsub_endpoint=ipc://{at}/pub"]
        for number in range(self.work.services):
            command, *words = self.work.argv(number)
            lines += [
                f"[watcher:{self.work.name(number)}]\ncmd={command}\nargs={shlex.join(words)}",
                f"stdout_stream.class=FileStream\nstdout_stream.filename={self.log(number)}",
                f"stderr_stream.class=FileStream\nstderr_stream.filename={at}/logs/{number}.err",
            ]
        (at / "circus.ini").write_text("\n".join(lines), encoding="utf-8")

    def up(self) -> None:
        self.start("circusd", "circus.ini")

    def status(self) -> list[str]:
        return self._ctl("status")

    def stop(self) -> None:
        self.run(*self._ctl("stop"))

    def leave(self) -> None:
        self.run(*self._ctl("quit"))

    def log(self, number: int) -> Path:
        return self.folder / "logs" / f"{number}.log"

    def _ctl(self, word: str) -> list[str]:
        wait = str(int(self.work.patience))
        return ["circusctl", "--endpoint", f"ipc://{self.folder}/ctl", "--timeout", wait, word]


class Pm2(Peer):
    """pm2, of npm."""

    name = "pm2"

    @classmethod
    def install(cls, cache: Path) -> Kit:
        if shutil.which("node") is None:
            raise NotTried("there is no node")
        modules = install_node(cache / "pm2-7", "pm2@7")
        text = (modules / "pm2" / "package.json").read_text(encoding="utf-8")
        return Kit(json.loads(text)["version"], str(modules / ".bin"))

    def configure(self) -> None:
        (self.folder / "logs").mkdir()
        self.env |= {"PM2_HOME": str(self.folder / ".pm2"), "PM2_DISCRETE_MODE": "true"}
        apps: list[dict[str, object]] = []
        for number in range(self.work.services):
            script, *words = self.work.argv(number)
            apps.append(
                {
                    "name": self.work.name(number),
                    "script": script,
                    "args": words,
                    "interpreter": "none",
                    "vizion": False,  # it would look for the revision of each program's repository
                    "out_file": str(self.log(number)),
                    "error_file": str(self.folder / "logs" / f"{number}.err"),
                    "merge_logs": True,
                }
            )
        (self.folder / "ecosystem.json").write_text(json.dumps({"apps": apps}), encoding="utf-8")

    def up(self) -> None:
        self.run("pm2", "start", "ecosystem.json")

    def status(self) -> list[str]:
        return ["pm2", "ls"]

    def stop(self) -> None:
        self.run("pm2", "stop", "all")

    def leave(self) -> None:
        self.run("pm2", "kill")

    def log(self, number: int) -> Path:
        return self.folder / "logs" / f"{number}.log"


class _Scanned(Peer):
    """A folder of service folders, each with a script, and a logger beside it."""

    logger: ClassVar[str]
    """The command of the logger, which writes into `main`."""

    def configure(self) -> None:
        for number in range(self.work.services):
            at = self._place(number)
            (at / "log" / "main").mkdir(parents=True)
            # The libraries that its supervisor was pointed to are none of the service's.
            lead = "unset LD_LIBRARY_PATH\nexec 2>&1"
            _write_script(at / "run", f"{lead}\nexec {shlex.join(self.work.argv(number))}")
            _write_script(at / "log" / "run", f"exec {self.logger}")

    def log(self, number: int) -> Path:
        return self._place(number) / "log" / "main" / "current"

    def _place(self, number: int) -> Path:
        return self.folder / "scan" / self.work.name(number)

    def _places(self) -> list[str]:
        return [str(self._place(number)) for number in range(self.work.services)]


def _write_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


class S6(_Scanned):
    """s6, of Debian; `status` and stopping are one command for each service, as it has none for all."""

    name = "s6"
    logger = "s6-log n20 s268435455 ./main"

    @classmethod
    def install(cls, cache: Path) -> Kit:
        needs = re.compile(r"s6|execline|lib(s6|execline|skarnet).*")
        kit = _debian(cache, "s6", "s6-svscan", needs)
        # It starts its own programs by their place in /usr/bin, where they are not; a bare name is sought.
        program = cache / "s6" / "root" / "usr" / "bin" / "s6-svscan"
        place = b"/usr/bin/s6-supervise\0"
        program.write_bytes(program.read_bytes().replace(place, b"s6-supervise".ljust(len(place), b"\0")))
        return kit

    def up(self) -> None:
        self.start("s6-svscan", "-c", str(2 * self.work.services + 500), "scan")

    def status(self) -> list[str]:
        return ["sh", "-c", 'for one in scan/*; do s6-svstat "$one" || exit; done']

    def stop(self) -> None:
        self.run("sh", "-c", 'for one in scan/*; do s6-svc -d "$one" || exit; done')

    def leave(self) -> None:
        self.run("s6-svscanctl", "-t", "scan")


class Runit(_Scanned):
    """runit, of Debian."""

    name = "runit"
    logger = "svlogd ./main"

    @classmethod
    def install(cls, cache: Path) -> Kit:
        return _debian(cache, "runit", "runsvdir", re.compile("runit"))

    def configure(self) -> None:
        super().configure()
        for number in range(self.work.services):
            # Its default turns a log over at a megabyte, and keeps ten.
            self.log(number).with_name("config").write_text("s0\nn0\n", encoding="utf-8")

    def up(self) -> None:
        self.start("runsvdir", "scan")

    def status(self) -> list[str]:
        return ["sv", "status", *self._places()]

    def stop(self) -> None:
        self.run("sv", "down", *self._places())

    def leave(self) -> None:
        self.signal(signal.SIGHUP)


def _debian(cache: Path, package: str, command: str, needs: re.Pattern[str]) -> Kit:
    """Have a package of Debian without installing it."""
    folder, version = install_debian(cache / package, package, needs)
    path = os.pathsep.join(str(folder / place) for place in ("usr/bin", "usr/sbin", "bin", "sbin"))
    if shutil.which(command, path=path) is None:
        raise NotTried(f"there is no {command} in {package} {version}")
    places = [*folder.glob("usr/lib/*-linux-*"), *folder.glob("lib/*-linux-*")]
    libraries = [str(place) for place in places if any(place.glob("*.so*"))]
    env = {"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {}
    return Kit(version, path, env)
