"""Who may talk to the gateway, and as what: by the kernel on the Unix socket, by bearer tokens over HTTP."""

import grp
import logging
import os
import pwd
from pathlib import Path

from orchestra_supervisor.gateway.endpoint import Role
from orchestra_supervisor.gateway.front.identity import Identity, NotAllowed
from orchestra_supervisor.mcp_tokens import TokenError, TokenFile
from orchestra_supervisor.unix_peer import Peer

__all__ = ["Access"]

_ROLES = {"viewer": Role.VIEWER, "operator": Role.OPERATOR, "admin": Role.ADMIN}
_ANYBODY = Identity("anybody on this host", Role.OPERATOR)

_log = logging.getLogger("orchestra.gateway")


class Access:
    """Tells who a caller is.

    Args:
        home: The state directory, with the tokens.
        is_open: HTTP asks for no token: whoever reaches the address is an operator.
        group: Name of the group whose members operate the fleet, or None.
    """

    def __init__(self, home: Path, *, is_open: bool = False, group: str | None = None) -> None:
        self.is_open = is_open
        self.group = group
        self._tokens = TokenFile(home)

    def by_header(self, authorization: str | None) -> Identity:
        """Return who sent an HTTP request.

        Args:
            authorization: The header, where there is one.

        Raises:
            NotAllowed: It carries no token of ours.
        """
        if self.is_open:
            return _ANYBODY
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise NotAllowed("a bearer token is needed: `orchestra mcp token` makes one")
        try:
            token = self._tokens.match(text.strip())
        except TokenError as error:
            _log.error("%s; hint: %s", error.message, error.hint)
            raise NotAllowed("the tokens cannot be read: the gateway's log says why") from error
        if token is None:
            raise NotAllowed("this token is not known here: `orchestra mcp token` makes one")
        return Identity(f"token {token.name}", _ROLES[token.role])

    def by_peer(self, peer: Peer | None) -> Identity:
        """Return who connected to the Unix socket.

        Args:
            peer: What the kernel says; None where it says nothing.

        Raises:
            NotAllowed: Neither the owner of the fleet, nor root, nor of the group.
        """
        if peer is None:
            raise NotAllowed("the system does not say who calls")
        identity = f"uid {peer.uid}"
        if peer.uid in {0, os.geteuid()}:
            return Identity(identity, Role.ADMIN)
        if self._is_member(peer):
            return Identity(identity, Role.OPERATOR)
        hint = "be its owner, or a member of settings.control_group"
        raise NotAllowed(f"user {_name_of(peer.uid)} may not talk to this fleet: {hint}")

    def _is_member(self, peer: Peer) -> bool:
        if self.group is None:
            return False
        try:
            return grp.getgrnam(self.group).gr_gid in {peer.gid, *peer.groups}
        except KeyError:
            return False


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
