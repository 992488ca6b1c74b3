"""Starting a fleet for a client: `orchestra up --detach`; its output is for the log, and tells the reason."""

import os
import sys
from contextlib import suppress

__all__ = ["Starting", "package_environment"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_TAIL = 2_000  # bytes of what was said last
_IMPORT_LIMIT = 20.0  # seconds


class Starting:
    """One run of `orchestra up --detach`.

    Args:
        words: Its options.
        directory: Where configuration files are looked for that no option names.
    """

    def __init__(self, words: list[str], directory: str) -> None:
        import subprocess  # 10 ms, of use to this case alone

        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "orchestra_supervisor", "up", "--detach", *words],
            cwd=directory,
            env=package_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the fleet is for all: it starts also when this client goes away
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._tail = b""

    @property
    def descriptor(self) -> int:
        """Return what to poll for its output."""
        return self._output.fileno()

    def read(self) -> None:
        """Hand its output on to stderr."""
        try:
            data = os.read(self.descriptor, 65_536)
        except OSError:
            return
        self._tail = (self._tail + data)[-_TAIL:]
        with suppress(OSError):  # nobody keeps what we say
            os.write(2, data)

    def ended(self) -> int | None:
        """Return its exit status, or None while it runs."""
        status = self._process.poll()
        if status is not None and not self._output.closed:
            self.read()
            self._output.close()
        return status

    def reason(self) -> str:
        """Return its last lines that say something, as one line."""
        lines = self._tail.decode("utf-8", "replace").splitlines()
        return "; ".join([line.strip() for line in lines if line.strip()][-4:])


def package_environment() -> dict[str, str]:
    """Return our environment, and with it a way to this package where the interpreter has none by itself."""
    import subprocess

    environ = dict(os.environ)
    found = subprocess.run(
        [sys.executable, "-P", "-c", "import orchestra_supervisor"],
        cwd="/",
        env=environ,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_IMPORT_LIMIT,
        check=False,
    )
    if found.returncode:
        environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, [os.path.dirname(_PACKAGE), environ.get("PYTHONPATH", "")])
        )
    return environ
