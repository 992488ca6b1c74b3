"""Real processes of all sorts for the tests, each ended by its pidfd whatever happens."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Generator
from contextlib import contextmanager, suppress

from orchestra_supervisor.process.identity import ProcessIdentity, is_running, read_identity

RUN = "web-0123456789ab"


class Crowd:
    """Starts processes and remembers them."""

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[str]] = []
        self._identities: list[ProcessIdentity] = []

    def start(
        self, program: str, *arguments: str, env: dict[str, str] | None = None, lines: int = 1
    ) -> list[int]:
        """Run a Python program in its own session; return the numbers of its first lines of output."""
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", textwrap.dedent(program), *arguments],
            env=env or {},
            stdout=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        self._children.append(child)
        self.note(child.pid)
        assert child.stdout is not None
        numbers = [int(child.stdout.readline()) for _ in range(lines)]
        for number in numbers:
            self.note(number)
        return numbers

    def sleeper(self, *arguments: str, **env: str) -> int:
        """Start one process that does nothing, and return its pid."""
        return self.start(SLEEPER, *arguments, env=env)[0]

    def note(self, pid: int) -> ProcessIdentity:
        """Remember a process for the end of the test."""
        identity = read_identity(pid)
        assert identity is not None
        self._identities.append(identity)
        return identity

    def end(self) -> None:
        """Kill and reap everything."""
        for identity in self._identities:
            if is_running(identity):
                with suppress(ProcessLookupError):
                    os.kill(identity.pid, signal.SIGKILL)
        for child in self._children:
            child.wait(5)
            assert child.stdout is not None
            child.stdout.close()


@contextmanager
def crowd() -> Generator[Crowd]:
    """Give a crowd that is gone when the block ends."""
    people = Crowd()
    try:
        yield people
    finally:
        people.end()


SLEEPER = """
    import os, signal
    print(os.getpid(), flush=True)
    while True:
        signal.pause()
"""

STUBBORN = """
    import os, signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(os.getpid(), flush=True)
    while True:
        signal.pause()
"""

PARENT_OF_CLEARED_CHILD = """
    import os, signal, sys
    child = os.fork()
    if child == 0:
        # Another program with an empty environment, in a session of its own.
        os.setsid()
        code = "import os, signal, sys; print(os.getpid(), flush=True); signal.pause()"
        os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code], {})
    print(os.getpid(), flush=True)
    while True:
        signal.pause()
"""

LEADER_WITH_ORPHAN = """
    import os, signal, sys
    ready, done = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.read(ready, 1)
            code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
            os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code], {})
        os._exit(0)
    os.wait()
    os.write(done, b"x")
    print(os.getpid(), flush=True)
    while True:
        signal.pause()
"""
"""The orphan has neither our environment nor our parentage any more, but is in the leader's session."""

PARENT_OF_FOREIGN_FLEET = """
    import os, signal, sys
    child = os.fork()
    if child == 0:
        code = (
            "import os, signal, sys\\n"
            "if os.fork() == 0:\\n"
            "    os.execve(sys.executable, [sys.executable, '-I', '-S', '-c', "
            "'import os, signal; print(os.getpid(), flush=True); signal.pause()'], {})\\n"
            "print(os.getpid(), flush=True)\\n"
            "signal.pause()\\n"
        )
        environment = {"ORCHESTRA_HOME": sys.argv[1], "ORCHESTRA_RUN_ID": "other-0123456789ab"}
        os.setsid()
        os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code], environment)
    print(os.getpid(), flush=True)
    while True:
        signal.pause()
"""

FORKS_WHEN_ASKED_TO_STOP = """
    import os, signal
    def successor(*_):
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.setsid()
            while True:
                signal.pause()
        os._exit(0)
    signal.signal(signal.SIGTERM, successor)
    print(os.getpid(), flush=True)
    while True:
        signal.pause()
"""
