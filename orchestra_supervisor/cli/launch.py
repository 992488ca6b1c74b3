"""Starting a keeper: configuration files, home, lock, boot document, process.

The lock is a flock on `<home>/lock`, taken here and inherited by the keeper, so it is held for
exactly as long as the keeper lives, however it ends. Nobody else decides who owns a home.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.holder import keeper_pid_of, write_holder
from orchestra_supervisor.cli.words import UsageError
from orchestra_supervisor.model.errors import ConflictError

__all__ = [
    "DEFAULT_FILES",
    "LOG_NAME",
    "Plan",
    "acquire_lock",
    "choose_home",
    "find_config_files",
    "open_log",
    "prepare_home",
    "replace_by_keeper",
    "spawn_keeper",
    "write_pid",
]

DEFAULT_FILES = (
    "orchestra.json",
    "orchestra_supervisor_config.json",
    "orchestra_autostart.json",
    "claude_mcp_config.json",
)
"""Files that are read where none is named, those that exist."""
LOG_NAME = "supervisor.log"
_LOG_LIMIT = 10 * 1024 * 1024  # bytes after which an `up` begins a new supervisor.log
_LOCK_PATIENCE = 0.3  # seconds; a command that looks whether the lock is held holds it for an instant
_PACKAGE = Path(__file__).resolve().parents[1]


class Plan:
    """What is to be started where.

    Args:
        home: State directory, absolute.
        files: Configuration files, absolute.
        only: Names of the services to start, or empty: all.
        console: Form of what goes to the keeper's output, or `auto`; empty: it is no console.
    """

    def __init__(self, home: Path, files: list[Path], only: list[str], console: str = "") -> None:
        self.home = home
        self.files = files
        self.only = only
        self.console = console

    def boot(self, lock_fd: int) -> str:
        """Return the keeper's argument."""
        # -P: a json.py in the directory of the user must not become ours
        daemon = [sys.executable, "-P", "-m", "orchestra_supervisor.daemon", "--home", str(self.home)]
        for file in self.files:
            daemon += ["-c", str(file)]
        if self.only:
            daemon += ["--only", ",".join(self.only)]
        if self.console:
            daemon += ["--console", self.console]
        logger = [sys.executable, "-I", "-S", str(_PACKAGE / "logger" / "__main__.py")]
        return json.dumps(
            {
                "home": str(self.home),
                "lock_fd": lock_fd,
                "daemon": daemon,
                "logger": logger,
                "cgroups": _named_groups(os.environ.get("ORCHESTRA_CGROUP")),
                "mark": hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12],
            }
        )

    def argv(self, lock_fd: int) -> list[str]:
        """Return the keeper's command."""
        return [sys.executable, "-I", "-S", str(_PACKAGE / "keeper" / "__main__.py"), self.boot(lock_fd)]

    def environment(self) -> dict[str, str]:
        """Return the keeper's environment: ours, the home, and a way to this package for what it starts."""
        env = {**os.environ, "ORCHESTRA_HOME": str(self.home)}
        root = str(_PACKAGE.parent)
        # `python -m` puts the current directory first; the daemon, started with -P, would not have it.
        found = sys.path if sys.flags.safe_path else sys.path[1:]
        if root not in {os.path.realpath(entry) for entry in found if entry}:
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH", "")]))
        return env


def _named_groups(given: str | None) -> list[str] | None:
    """Return the control groups that ORCHESTRA_CGROUP names; None: look whether our own is delegated."""
    if given is None:
        return None
    return [] if given == "none" else [path for path in given.split(":") if path]


def find_config_files(named: list[str], directory: Path) -> list[Path]:
    """Return the files to read: those named, else the default ones of a directory.

    Raises:
        UsageError: None is there, or a named one is not.
    """
    if named:
        files = [Path(os.path.abspath(directory / name)) for name in named]  # noqa: PTH100 - keeps symbolic links
        for file in files:
            if not file.exists():
                raise UsageError(
                    f"configuration file {file} does not exist", hint="name another with -c FILE"
                )
        return list(dict.fromkeys(files))
    files = [directory / name for name in DEFAULT_FILES if (directory / name).is_file()]
    if not files:
        raise UsageError(
            f"no configuration in {directory}: looked for {', '.join(DEFAULT_FILES)}",
            hint="name one with -c FILE, or change to the directory that has it",
        )
    return files


def choose_home(option: str | None, env: Mapping[str, str], files: list[Path]) -> Path:
    """Return the state directory of a new fleet, absolute: --home, the environment, beside the first file."""
    named = option or env.get("ORCHESTRA_HOME") or env.get("STATE_DIRECTORY", "").split(":")[0]
    if named:
        return Path(os.path.abspath(named))  # noqa: PTH100 - keeps symbolic links
    return files[0].parent / ".orchestra"


def prepare_home(home: Path) -> None:
    """Create the state directory, for its owner alone.

    Raises:
        ActionFailed: It cannot be made or written.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ActionFailed(
            f"cannot create the state directory {home}: {error.strerror}",
            hint="name another with --home DIR",
        ) from error


def acquire_lock(home: Path) -> int:
    """Take the lock of a home and write our pid into it.

    Returns:
        The descriptor that holds the lock.

    Raises:
        ConflictError: A keeper holds it; says which.
        ActionFailed: The file cannot be written.
    """
    try:
        descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ActionFailed(
            f"cannot write to the state directory {home}: {error.strerror}",
            hint="name another with --home DIR",
        ) from error
    until = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.01)
                continue
            os.close(descriptor)
            raise _held(home) from None
        write_pid(home, descriptor, os.getpid())
        return descriptor


def write_pid(home: Path, descriptor: int, pid: int) -> None:
    """Write who holds the lock into its file."""
    try:
        write_holder(descriptor, pid)
    except OSError as error:
        raise ActionFailed(
            f"cannot write {home / 'lock'}: {error.strerror}", hint="is the disk full?"
        ) from error


def _held(home: Path) -> ConflictError:
    pid = keeper_pid_of(home)
    return ConflictError(
        f"a fleet already runs on {home}: its keeper is pid {pid or 'not known yet'}",
        hint="`orchestra status` shows it, `orchestra down` ends it; another --home runs beside it",
        pid=pid,
        home=str(home),
    )


def replace_by_keeper(plan: Plan, lock_fd: int) -> None:
    """Become the keeper: same pid, same descriptors 0 to 2. Does not return."""
    os.set_inheritable(lock_fd, True)  # noqa: FBT003 - positional only
    argv = plan.argv(lock_fd)
    os.execve(argv[0], argv, plan.environment())  # noqa: S606 - the keeper takes our place


def spawn_keeper(plan: Plan, lock_fd: int) -> subprocess.Popen[bytes]:
    """Start the keeper in a session of its own, its messages going to `<home>/supervisor.log`.

    Our copy of the lock is closed: from here on the keeper alone holds it.
    """
    (plan.home / "exit.json").unlink(missing_ok=True)  # how an earlier fleet has ended
    log = open_log(plan.home)
    try:
        keeper = subprocess.Popen(
            plan.argv(lock_fd),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=plan.environment(),
            pass_fds=(lock_fd,),
            start_new_session=True,
        )
        write_pid(plan.home, lock_fd, keeper.pid)
    finally:
        os.close(log)
        os.close(lock_fd)
    return keeper


def open_log(home: Path) -> int:
    """Open the log of keeper, logger and daemon for appending; a large one is set aside first."""
    path = home / LOG_NAME
    try:
        if path.exists() and path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_name(f"{LOG_NAME}.1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ActionFailed(f"cannot write {path}: {error.strerror}", hint="is the disk full?") from error
