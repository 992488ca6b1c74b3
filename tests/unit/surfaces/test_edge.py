"""Who asks: by the kernel's word, and by groups as they are now."""

from types import SimpleNamespace
from typing import Any, cast

from starlette.requests import Request

from orchestra_supervisor.control import Role
from orchestra_supervisor.surfaces.edge import socket_user
from orchestra_supervisor.unix_peer import Peer


def test_a_group_that_is_gone_has_no_members() -> None:
    settings = SimpleNamespace(control_group="no-such-group-here")
    control = SimpleNamespace(supervisor=SimpleNamespace(fleet=SimpleNamespace(settings=settings)))
    peer = Peer(pid=1, uid=2**31 - 7, gid=2**31 - 7, groups=())
    request = Request({"type": "http", "headers": [], "state": {"peer": peer}})
    assert socket_user(request, cast("Any", control)).role is Role.VIEWER
