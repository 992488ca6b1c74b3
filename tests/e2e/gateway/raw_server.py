"""Servers that misbehave, in plain Python: `raw_server.py KIND`. All speak by handshake."""

import json
import os
import sys
import time

KIND = sys.argv[1]
ANNOTATED = {"read": {"readOnlyHint": True}, "again": {"idempotentHint": True}}
STATE: dict[str, object] = {"initialized": 0, "calls": 0, "cancelled": [], "roots": 0}


def say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tools() -> list[object]:
    if KIND == "many":
        return [{"name": f"tool_{n:05}", "inputSchema": {"type": "object"}} for n in range(10_000)]
    if KIND == "empty":
        return []
    found: list[object] = [
        {"name": f"good_{n}", "description": "Good.", "inputSchema": {"type": "object"}} for n in range(9)
    ]
    if KIND == "broken":
        found.insert(4, {"name": "bad", "inputSchema": "nonsense"})
    found += [{"name": n, "inputSchema": {"type": "object"}, "annotations": a} for n, a in ANNOTATED.items()]
    found += [{"name": n, "inputSchema": {"type": "object"}} for n in ("ask", "die", "state", "hang", "big")]
    return found


def call(request: dict[str, object], name: str, arguments: dict[str, object]) -> None:
    STATE["calls"] = int(str(STATE["calls"])) + 1
    if name == "die":
        os._exit(3)
    if name == "hang" or KIND == "deaf":
        return
    words = str(STATE["calls"])
    if name == "ask":
        say(
            {"id": "q1", "method": "elicitation/create", "params": {"message": "Yes?", "requestedSchema": {}}}
        )
        answer = json.loads(sys.stdin.readline())
        words = json.dumps(answer.get("result", answer.get("error")))
    if name == "state":
        words = json.dumps(STATE)
    if name == "big":
        words = "x" * int(str(arguments["size"]))
    message = {"id": request["id"], "result": {"content": [{"type": "text", "text": words}]}}
    if KIND == "wrong_id":
        message["id"] = "nobody"
    say(message)


def answer(request: dict[str, object]) -> None:
    method, params = request.get("method"), request.get("params") or {}
    assert isinstance(params, dict)
    if method == "notifications/cancelled":
        cancelled = STATE["cancelled"]
        assert isinstance(cancelled, list)
        cancelled.append(params["requestId"])
    if method == "notifications/roots/list_changed":
        STATE["roots"] = int(str(STATE["roots"])) + 1
    if "id" not in request:
        return
    if method == "initialize":
        STATE["initialized"] = int(str(STATE["initialized"])) + 1
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}}}
        say({"id": request["id"], "result": {**result, "serverInfo": {"name": KIND, "version": "1"}}})
    elif method == "tools/list":
        say({"id": request["id"], "result": {"tools": tools()}})
    elif method == "tools/call":
        call(request, str(params["name"]), params.get("arguments") or {})
    elif method == "ping":
        say({"id": request["id"], "result": {}})
    elif KIND != "silent_to_discover":
        say({"id": request["id"], "error": {"code": -32601, "message": "Method not found"}})


def main() -> None:
    if KIND == "exits":
        sys.exit(7)
    if KIND == "mute":
        time.sleep(3600)
    if KIND == "banner":
        print("Welcome!\n\nnot json {\n[1, 2]\n\x00\xff")
        sys.stdout.flush()
    for line in sys.stdin:
        if line.strip():
            answer(json.loads(line))
        if KIND == "flood":
            sys.stdout.write("noise " * 2000 + "\n")
            sys.stdout.flush()
    if KIND == "flood":
        return


if __name__ == "__main__":
    main()
