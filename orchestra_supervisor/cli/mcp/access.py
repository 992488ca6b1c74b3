"""`orchestra mcp url` and `token`: where clients reach the gateway by HTTP, and with which tokens."""

import json
import os
import sys
import time
from pathlib import Path

from orchestra_supervisor.cli.connection import ask
from orchestra_supervisor.cli.errors import ActionFailed
from orchestra_supervisor.cli.mcp.entry import Endpoint
from orchestra_supervisor.cli.parser import Options
from orchestra_supervisor.cli.shim.messages import object_of
from orchestra_supervisor.cli.table import Cell, table_lines
from orchestra_supervisor.cli.terminal import Terminal
from orchestra_supervisor.cli.text import format_instant, make_visible
from orchestra_supervisor.cli.words import UsageError, nearest
from orchestra_supervisor.mcp_tokens import TokenError, list_tokens, make_token, revoke_token
from orchestra_supervisor.model.errors import ConflictError
from orchestra_supervisor.unix_http import quote

__all__ = ["manage_tokens", "print_url"]

_KINDS = ("control", "gateway")


def print_url(options: Options, home: Path, endpoint: Endpoint) -> int:
    """Print the URL of an endpoint, for a client's file."""
    kind = options.words[0] if options.words else ("gateway" if endpoint.is_gateway else "control")
    if kind not in _KINDS:
        close = nearest(kind, _KINDS)
        raise UsageError(
            f"there is no endpoint {kind!r}", f"did you mean {close}?" if close else "control or gateway"
        )
    answer = ask(home, lambda client: client.request("GET", "/v1/mcp"))
    address = object_of(answer.get("settings")).get("http")
    if not address:
        raise ConflictError(
            f"the gateway of {home} is not reached by HTTP",
            hint='settings.mcp.http: "127.0.0.1:8765" makes it so; `orchestra mcp install` needs none',
        )
    path = "/mcp" if kind == "control" else "/gw/mcp"
    if endpoint.server:
        path = f"/s/{quote(endpoint.server)}/mcp"
    elif endpoint.profile:
        path = f"/gw/{quote(endpoint.profile)}/mcp"
    sys.stdout.write(f"http://{address}{path}\n")
    return 0


def manage_tokens(options: Options, home: Path) -> int:
    """Make a token, list those that there are, or revoke one."""
    if options.is_list and (options.revoke or options.words):
        raise UsageError("--list stands alone", "orchestra mcp token --list")
    if options.revoke and options.words:
        raise UsageError("--revoke names the token itself", f"orchestra mcp token --revoke {options.revoke}")
    if not home.is_dir():
        raise ActionFailed(f"{home} is not there", hint="name the fleet's with --home")
    try:
        if options.revoke:
            revoke_token(home, options.revoke)
            sys.stderr.write(f"{options.revoke}: revoked; it is refused from now on\n")
            return 0
        if options.words:
            role = options.role or "operator"
            text = make_token(home, options.words[0], role, time.time())
            sys.stdout.write(f"{text}\n")
            sys.stderr.write(f"{options.words[0]}: {role}; the text is shown this once, keep it\n")
            return 0
        found = list_tokens(home)
    except TokenError as error:
        raise ActionFailed(error.message, hint=error.hint) from error
    if options.is_json:
        rows = [{"name": one.name, "role": one.role, "created": one.created} for one in found]
        sys.stdout.write(json.dumps({"tokens": rows}, indent=2, ensure_ascii=False) + "\n")
        return 0
    if not found:
        sys.stdout.write("no tokens: `orchestra mcp token NAME` makes one\n")
        return 0
    body: list[list[Cell]] = [
        [("", ()), (make_visible(one.name), ()), (one.role, ()), (format_instant(one.created)[:19], ())]
        for one in found
    ]
    terminal = Terminal(sys.stdout, os.environ)
    sys.stdout.write("\n".join(table_lines(["", "NAME", "ROLE", "MADE"], body, terminal)) + "\n")
    return 0
