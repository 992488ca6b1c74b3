"""The programs of the comparison: the service that says that it runs, and the floor, fork and exec alone.

A service is started as `service SOCKET NUMBER BYTES`. The moment it runs it sends a datagram to the Unix
socket: `run NUMBER PID NANOSECONDS`, by CLOCK_MONOTONIC, read before anything else. SIGUSR1 makes it write so
many bytes of lines to its stdout and say `wrote NUMBER PID BEGAN ENDED`. SIGTERM ends it, as any program.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["Programs", "build", "compiled"]

_BUILD_TIME = 60.0  # seconds for the compiler

C_SERVICE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int tell(const char *path, const char *text, size_t size) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int out = socket(AF_UNIX, SOCK_DGRAM, 0), failed;
    if (out < 0 || strlen(path) >= sizeof to.sun_path) return 1;
    strcpy(to.sun_path, path);
    failed = sendto(out, text, size, 0, (struct sockaddr *)&to, sizeof to) != (ssize_t)size;
    close(out);
    return failed;
}

static char block[8192];

static int write_lines(long long left) {
    while (left > 0) {
        size_t size = left < (long long)sizeof block ? (size_t)left : sizeof block, done = 0;
        while (done < size) {
            ssize_t part = write(1, block + done, size - done);
            if (part < 0 && errno == EINTR) continue;
            if (part < 0) return 1;
            done += (size_t)part;
        }
        left -= (long long)size;
    }
    return 0;
}

int main(int count, char **words) {
    long long began = now();
    char text[128];
    sigset_t wanted;
    int size, number;
    if (count != 4) return 2;
    signal(SIGTERM, SIG_DFL);
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    sigprocmask(SIG_SETMASK, &wanted, 0);
    size = snprintf(text, sizeof text, "run %s %d %lld", words[2], (int)getpid(), began);
    if (tell(words[1], text, (size_t)size)) return 1;
    for (;;) {
        if (sigwait(&wanted, &number)) return 1;
        memset(block, 'x', sizeof block);
        for (size_t at = 127; at < sizeof block; at += 128) block[at] = '\n';
        began = now();
        if (write_lines(atoll(words[3]))) return 1;
        size = snprintf(text, sizeof text, "wrote %s %d %lld %lld", words[2], (int)getpid(), began, now());
        if (tell(words[1], text, (size_t)size)) return 1;
    }
}
"""
PYTHON_SERVICE = r"""
import time
began = time.monotonic_ns()
import os, signal, socket, sys
path, number, size = sys.argv[1:]
def tell(*words):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(" ".join(map(str, words)).encode(), path)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1})
tell("run", number, os.getpid(), began)
block = (b"x" * 127 + b"\n") * 64
while signal.sigwait({signal.SIGUSR1}):
    began, left = time.monotonic_ns(), int(size)
    while left:
        left -= os.write(1, block[:left])
    tell("wrote", number, os.getpid(), began, time.monotonic_ns())
"""
C_FLOOR = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t is_over;
static void end(int number) { (void)number; is_over = 1; }

static pid_t start(char **words, const char *logs, int number) {
    pid_t pid = fork();
    if (!pid) {
        char path[4096], text[16];
        char *argv[] = {words[0], words[1], text, words[2], 0};
        int out;
        snprintf(text, sizeof text, "%d", number);
        snprintf(path, sizeof path, "%s/%d.log", logs, number);
        out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) _exit(1);
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

/* floor COUNT LOGS PROGRAM SOCKET BYTES */
int main(int count, char **words) {
    struct sigaction act = {.sa_handler = end};
    int services = count == 6 ? atoi(words[1]) : 0, status;
    pid_t *pids = calloc((size_t)services, sizeof *pids), pid;
    if (!services || !pids) return 2;
    sigaction(SIGTERM, &act, 0);
    for (int at = 0; at < services; at++) pids[at] = start(words + 3, words[2], at);
    while (!is_over && ((pid = wait(&status)) > 0 || errno == EINTR))
        for (int at = 0; !is_over && at < services; at++)
            if (pid > 0 && pids[at] == pid) pids[at] = start(words + 3, words[2], at);
    for (int at = 0; at < services; at++) kill(pids[at], SIGTERM);
    while (wait(&status) > 0 || errno == EINTR);
    return 0;
}
"""
PYTHON_FLOOR = r"""
import os, signal, sys
count, logs, *words = sys.argv[1:]
*program, socket, size = words
over = []
def end(*_):
    over.append(1)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
def start(number):
    out = [(os.POSIX_SPAWN_OPEN, 1, f"{logs}/{number}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)]
    argv = [*program, socket, str(number), size]
    return os.posix_spawn(argv[0], argv, os.environ, file_actions=out, setsigmask=())
pids = {start(number): number for number in range(int(count))}
signal.signal(signal.SIGTERM, end)
while pids:
    pid, _ = os.wait()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    number = pids.pop(pid)
    if not over:
        pids[start(number)] = number
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
"""


class Programs:
    """What is started in the comparison.

    Args:
        service: The command of the service, without its arguments.
        floor: The command of the floor, without its arguments.
        language: Both are written in it: `C`, or `Python` where there is no compiler.
    """

    def __init__(self, service: list[str], floor: list[str], language: str) -> None:
        self.service = service
        self.floor = floor
        self.language = language


def build(folder: Path) -> Programs:
    """Compile both programs into a folder; without a compiler they are Python, as every figure then shows."""
    commands = [compiled(folder, "service", C_SERVICE), compiled(folder, "floor", C_FLOOR)]
    if commands[0] is not None and commands[1] is not None:
        return Programs([commands[0]], [commands[1]], "C")
    for name, text in (("service", PYTHON_SERVICE), ("floor", PYTHON_FLOOR)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    bare = [sys.executable, "-I", "-S"]
    return Programs([*bare, str(folder / "service.py")], [*bare, str(folder / "floor.py")], "Python")


def compiled(folder: Path, name: str, text: str) -> str | None:
    """Compile a C program into a folder; return its path, or None where that is not possible."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    source, program = folder / f"{name}.c", folder / name
    source.write_text(text, encoding="utf-8")
    try:
        done = subprocess.run(
            [compiler, "-O2", "-o", str(program), str(source)],
            capture_output=True,
            timeout=_BUILD_TIME,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return str(program) if done.returncode == 0 else None
