"""Runs stdio servers as the keeper does: real processes, whose far pipe ends it hands over in frames."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from orchestra_supervisor.wire.channel import Channel


class StandIn:
    """The keeper and the daemon, as far as stdio servers see them: start, stop, restart when one dies."""

    def __init__(
        self, directory: Path, commands: Mapping[str, Sequence[str]], *, restarts: bool = True
    ) -> None:
        self._directory = directory
        self.commands = dict(commands)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ends: dict[str, tuple[str, int, int]] = {}
        self._channels: list[Channel] = []
        self._wanted: set[str] = set()
        self._count = 0
        self.log: list[str] = []
        self._changed = anyio.Event()

    def connect(self) -> socket.socket:
        """Give a gateway its socket, with the runs that there are."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        channel = Channel(ours)
        self._channels.append(channel)
        for slot, (run, stdin, stdout) in self._ends.items():
            channel.send({"type": "stdio", "slot": slot, "run": run}, [stdin, stdout])
        channel.send({"type": "held"})
        return theirs

    def disconnect(self) -> None:
        """Let the gateway go: the pipes stay here."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()

    def add(self, service: str, command: Sequence[str]) -> None:
        self.commands[service] = command

    async def start(self, service: str) -> None:
        self.log.append(f"start {service}")
        self._wanted.add(service)
        if service not in self._ends:
            self._spawn(service)

    async def stop(self, service: str) -> None:
        self.log.append(f"stop {service}")
        self._wanted.discard(service)
        process = self.processes.get(service)
        if process is not None:
            self._end(service)
            with anyio.move_on_after(2) as scope:
                await anyio.to_thread.run_sync(process.wait)
            if scope.cancelled_caught:
                os.kill(process.pid, signal.SIGKILL)

    async def run(self) -> None:
        """See processes that end, and bring back what is wanted. For a task."""
        while True:
            for service, process in list(self.processes.items()):
                if process.poll() is not None and service in self._ends:
                    self._end(service)
                    if service in self._wanted:
                        self._spawn(service)
            await anyio.sleep(0.005)

    def kill(self, service: str) -> None:
        os.kill(self.processes[service].pid, signal.SIGKILL)

    def pid(self, service: str) -> int:
        return self.processes[service].pid

    def close(self) -> None:
        for service in list(self._ends):
            self._end(service)
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.disconnect()

    def _spawn(self, service: str) -> None:
        self._count += 1
        run = f"{service}-{self._count:012x}"
        with (self._directory / f"{service}.err").open("ab") as errors:
            process = subprocess.Popen(
                self.commands[service],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
            )
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
        process.stdin.close()
        process.stdout.close()
        self.processes[service] = process
        self._ends[service] = (run, stdin, stdout)
        for channel in self._channels:
            channel.send({"type": "stdio", "slot": service, "run": run}, [stdin, stdout])

    def _end(self, service: str) -> None:
        run, stdin, stdout = self._ends.pop(service)
        os.close(stdin)
        os.close(stdout)
        for channel in self._channels:
            channel.send({"type": "stdio_end", "slot": service, "run": run})
