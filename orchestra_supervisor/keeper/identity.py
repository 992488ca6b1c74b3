"""As whom a run executes: names turned into ids before the fork, where looking up is safe."""

import errno
import grp
import os
import pwd
from dataclasses import dataclass

from orchestra_supervisor.keeper.request import SpawnRequest

__all__ = ["Identity", "SpawnFailure", "group_number", "resolve_identity", "user_number"]


class SpawnFailure(Exception):
    """A process could not be started, found out before it was forked.

    Attributes:
        stage: One of `spawn.STAGES`.
        errno: Why, as the kernel numbers it.
    """

    def __init__(self, stage: str, number: int, message: str = "") -> None:
        super().__init__(message or os.strerror(number))
        self.stage = stage
        self.errno = number


@dataclass(frozen=True, slots=True)
class Identity:
    """Ids to change to; None where nothing changes."""

    uid: int | None
    gid: int | None
    groups: list[int] | None


def resolve_identity(request: SpawnRequest) -> Identity:
    """Turn names into ids; what the keeper is already needs no change and no right to change.

    Raises:
        SpawnFailure: At stage user or group: there is no such name.
    """
    uid, gid = None, None
    entry: pwd.struct_passwd | None = None
    if request.user is not None:
        entry = _passwd(request.user)
        uid = entry.pw_uid if entry else int(request.user)
        gid = entry.pw_gid if entry else None
    if request.group is not None:
        gid = group_number(request.group)
    elif uid is not None and gid is None:
        raise SpawnFailure(
            "group", errno.ENOENT, f"user {uid} has no entry that names a group: give the group"
        )
    groups: list[int] | None = None
    if request.groups is not None:
        groups = [group_number(group) for group in request.groups]
    elif entry is not None and gid is not None:
        groups = os.getgrouplist(entry.pw_name, gid)
    elif uid is not None and gid is not None:
        groups = [gid]
    if (
        os.geteuid()
        and groups is not None
        and set(groups) <= {*os.getgroups(), os.getegid()}
        and uid in (None, os.geteuid())
    ):
        groups = None  # not ours to set without privilege, and nothing would be added
    return Identity(
        None if uid in (os.geteuid(), None) else uid,
        None if gid in (os.getegid(), None) else gid,
        groups,
    )


def _passwd(user: str | int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError as error:
        if isinstance(user, int):
            return None
        raise SpawnFailure("user", errno.ENOENT, f"there is no user {user!r}") from error


def user_number(user: str | int) -> int:
    """Return the id of a user.

    Raises:
        SpawnFailure: At stage user: there is no such name.
    """
    entry = _passwd(user)
    return entry.pw_uid if entry else int(user)


def group_number(group: str | int) -> int:
    """Return the id of a group.

    Raises:
        SpawnFailure: At stage group: there is no such name.
    """
    try:
        return group if isinstance(group, int) else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise SpawnFailure("group", errno.ENOENT, f"there is no group {group!r}") from error
