"""Asking a server whether it is there, and whether it does its work."""

import anyio

from orchestra_supervisor.gateway.backends.introduction import Introduction, request
from orchestra_supervisor.gateway.backends.link import Link
from orchestra_supervisor.gateway.backends.params import stamped
from orchestra_supervisor.gateway.backends.spec import Canary
from orchestra_supervisor.gateway.endpoint import Era
from orchestra_supervisor.gateway.messages import Json, RpcError

__all__ = ["is_answering", "try_canary"]


async def is_answering(link: Link, introduction: Introduction, limit: float) -> bool:
    """Ask whether a server is there; any answer at all, an error as well, says that it is.

    Args:
        link: To it.
        introduction: What it said of itself.
        limit: Seconds for the answer.

    Raises:
        LinkError: It is gone.
    """
    is_stateless = introduction.era is Era.STATELESS
    method = "server/discover" if is_stateless else "ping"
    params = stamped({}, introduction.version, None) if is_stateless else {}
    try:
        with anyio.fail_after(limit):
            await request(link, method, params)
    except TimeoutError:
        return False
    except RpcError:
        pass
    return True


async def try_canary(link: Link, introduction: Introduction, canary: Canary, limit: float) -> str:
    """Make the call that the operator named, and return what is wrong; empty: nothing.

    Raises:
        LinkError: It is gone.
    """
    params: Json = {"name": canary.tool, "arguments": dict(canary.arguments)}
    if introduction.era is Era.STATELESS:
        params = stamped(params, introduction.version, None)
    try:
        with anyio.fail_after(limit):
            result = await request(link, "tools/call", params)
    except TimeoutError:
        return f"{canary.tool} did not answer within {limit:g} s"
    except RpcError as error:
        return f"{canary.tool}: {error.message[:300]}"
    return f"{canary.tool} answers with an error" if result.get("isError") else ""
