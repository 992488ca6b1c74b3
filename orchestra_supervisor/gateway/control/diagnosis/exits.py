"""What the end of a process means: signals, and exit codes by convention.

Source: signal(7); POSIX.1-2024, Shell Command Language, 2.8.2 (126, 127, over 128); sysexits(3head).
"""

import signal

__all__ = ["exit_meaning", "signal_meaning"]

_SIGNALS = {
    "SIGSEGV": (
        "it touched memory that is not its own: a bug in native code",
        "look for a core dump or a new library",
    ),
    "SIGBUS": (
        "it touched memory that could not be had: a file cut short, or a full disk behind it",
        "look at the disk and at mapped files",
    ),
    "SIGILL": ("it ran an instruction that this processor does not have", "use a build for this machine"),
    "SIGFPE": ("it divided by zero, or the like", "its log has where"),
    "SIGABRT": (
        "it gave up by itself: a failed assertion, or memory corruption that was noticed",
        "read its last lines",
    ),
    "SIGKILL": (
        "somebody killed it, who cannot be asked: a person, a script, the kernel for want of memory",
        "look at the use of memory and at dmesg; events say whether the fleet did it",
    ),
    "SIGTERM": (
        "somebody outside asked it to end",
        "events say whether the fleet did; else find who sent it",
    ),
    "SIGINT": ("somebody outside interrupted it", "find who sent it"),
    "SIGHUP": (
        "it was told that its terminal is gone, and does not take that as a request to reload",
        "see who sent it",
    ),
    "SIGPIPE": (
        "it wrote to somebody who was gone, and does not take that as an error",
        "see what it talks to",
    ),
    "SIGXCPU": ("it used up the processor time of its rlimit", "raise rlimits.cpu, or find the loop"),
    "SIGXFSZ": ("it wrote a file over its rlimit", "raise rlimits.fsize"),
    "SIGSYS": (
        "it made a system call that is forbidden to it",
        "look at seccomp or the hardening of the unit",
    ),
    "SIGTRAP": ("it met a breakpoint: a failed check in native code", "read its last lines"),
}
_CODES = {
    1: ("a general error", "read its last lines"),
    2: (
        "wrong usage: an option or argument that it does not know, or a script that is not there",
        "check its command",
    ),
    64: ("wrong usage (EX_USAGE)", "check its command"),
    65: ("wrong input (EX_DATAERR)", "check the data that it reads"),
    66: ("an input file is not there or cannot be read (EX_NOINPUT)", "check its files"),
    69: ("something that it needs is not available (EX_UNAVAILABLE)", "check what it depends on"),
    70: ("a fault of the program (EX_SOFTWARE)", "read its last lines"),
    71: ("a fault of the system (EX_OSERR)", "check memory, processes and descriptors"),
    72: ("a system file is missing (EX_OSFILE)", "check its files"),
    73: ("an output file cannot be made (EX_CANTCREAT)", "check rights and the disk"),
    74: ("reading or writing failed (EX_IOERR)", "check the disk"),
    77: ("it may not do what it wants (EX_NOPERM)", "check user and rights"),
    78: ("its configuration is wrong (EX_CONFIG)", "check its configuration"),
    125: (
        "the tool that should have run it failed itself (as container tools and env say)",
        "check the command",
    ),
    126: (
        "the command was found and cannot be executed: no right to, or no program",
        "chmod +x, or check its first line",
    ),
    127: (
        "the shell did not find the command, or a library is missing",
        "install it, correct the path, or set PATH",
    ),
}


def signal_meaning(name: str) -> tuple[str, str]:
    """Return what death by a signal means, and what to do."""
    return _SIGNALS.get(name, (f"it was ended by {name}", "find who sent it"))


def exit_meaning(code: int) -> tuple[str, str]:
    """Return what an exit code means by convention, and what to do."""
    if code in _CODES:
        return _CODES[code]
    if 128 < code < 128 + signal.NSIG:
        try:
            name = signal.Signals(code - 128).name
        except ValueError:
            name = f"signal {code - 128}"
        meaning, action = signal_meaning(name)
        return f"a program below it was ended by {name} ({meaning})", action
    if code == 0:
        return (
            "it ended by itself, without an error",
            "a daemon should stay: check that it does not go to the background",
        )
    return "a code of its own", "its documentation says what it means; read its last lines"
