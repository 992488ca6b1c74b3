"""Where a tree's git stands: by the `git` command where there is one, else by reading `.git/HEAD`.

The command gets a deadline, takes no lock, and runs no program that the repository's own settings name.
"""

import os
from collections import Counter
from pathlib import Path
from subprocess import DEVNULL  # noqa: TID251 - a constant; anyio runs the command

from anyio import move_on_after, run_process, to_thread

__all__ = ["GitState", "git_state"]

_DEADLINE = 3.0  # seconds for `git status`; a larger tree is answered from .git/HEAD
_COMMAND = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "status")
_OPTIONS = ("--porcelain=v2", "--branch", "--untracked-files=normal", "--ignore-submodules=all")

GitState = dict[str, object]


async def git_state(root: str) -> GitState | None:
    """Return branch, head and counts of what is not committed; None outside a repository.

    Args:
        root: Absolute path of the tree.
    """
    top = await to_thread.run_sync(_top, root)
    if top is None:
        return None
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    with move_on_after(_DEADLINE):
        try:
            done = await run_process(
                [*_COMMAND, *_OPTIONS], cwd=root, env=environ, stdin=DEVNULL, stderr=DEVNULL, check=False
            )
        except OSError:  # no git here
            return await to_thread.run_sync(_from_head, top)
        if done.returncode == 0:
            return _parse(done.stdout.decode("utf-8", "replace"))
    return await to_thread.run_sync(_from_head, top)


def _top(root: str) -> Path | None:
    for directory in (Path(root), *Path(root).parents):
        if (directory / ".git").exists():
            return directory
    return None


def _parse(text: str) -> GitState:
    state: GitState = {"branch": None, "head": None, "ahead": 0, "behind": 0}
    counts = Counter(staged=0, modified=0, untracked=0, conflicted=0)
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "#":
            name, _, value = rest.partition(" ")
            if name == "branch.oid" and value != "(initial)":
                state["head"] = value
            elif name == "branch.head" and value != "(detached)":
                state["branch"] = value
            elif name == "branch.ab":
                ahead, _, behind = value.partition(" ")
                state |= {"ahead": int(ahead), "behind": -int(behind)}
        elif kind in {"1", "2"}:
            counts["staged"] += rest[0] != "."
            counts["modified"] += rest[1] != "."
        elif kind == "u":
            counts["conflicted"] += 1
        elif kind == "?":
            counts["untracked"] += 1
    return {**state, **counts, "dirty": any(counts.values()), "source": "git"}


def _from_head(top: Path) -> GitState:
    """Read branch and head without git; what is dirty stays unknown."""
    state: GitState = {"branch": None, "head": None, "dirty": None, "source": "HEAD"}
    try:
        git = top / ".git"
        if git.is_file():  # a worktree or submodule: the file says where the directory is
            git = top / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref:"):
            return {**state, "head": head}
        reference = head.removeprefix("ref:").strip()
        state["branch"] = reference.removeprefix("refs/heads/")
        common = git / "commondir"
        shared = git / common.read_text(encoding="utf-8").strip() if common.exists() else git
        if (shared / reference).is_file():
            state["head"] = (shared / reference).read_text(encoding="utf-8").strip()
        elif (shared / "packed-refs").is_file():
            for line in (shared / "packed-refs").read_text(encoding="utf-8").splitlines():
                if line.endswith(f" {reference}"):
                    state["head"] = line.partition(" ")[0]
    except (OSError, UnicodeDecodeError):
        pass  # a repository in the making, or one that is not for us to read
    return state
