"""A recorded session: a client finds a crash loop, finds its cause, and restarts the service with care."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from orchestra_supervisor.gateway.endpoint import Caller, Era, Role
from orchestra_supervisor.gateway.messages import Json
from tests.e2e.fleet_driver import Fleet, python
from tests.e2e.gateway.control.agent import Agent, serving

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SESSION: dict[str, Any] = json.loads((Path(__file__).parent / "session.json").read_text(encoding="utf-8"))


def prepare(fleet: Fleet) -> Path:
    """Start the fleet of the session; return the file that its service misses."""
    settings = fleet.path / "settings.json"
    api = (
        "import json, signal, sys; json.load(open(sys.argv[1])); print('serving', flush=True); signal.pause()"
    )
    restart = {"policy": "always", "max_restarts": 3, "window": 60, "backoff": {"initial": 0.05}}
    fleet.write(
        {
            "db": {"command": python("import signal; signal.pause()")},
            "api": {
                "command": python(api, settings),
                "depends_on": ["db"],
                "restart": restart,
                # The whole line: Python 3.13 quotes a program given by -c in tracebacks, and so the word.
                "probes": {"readiness": {"log": {"pattern": "^serving$"}}},
            },
            "web": {"command": python("import signal; signal.pause()"), "depends_on": ["api"]},
        }
    )
    fleet.run("up", "--detach")
    fleet.until_state("api", "failed")
    return settings


def at(document: object, pointer: str) -> object:
    """Return what stands at a JSON pointer."""
    found: Any = document
    for word in pointer.split("/")[1:]:
        key = word.replace("~1", "/").replace("~0", "~")
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


async def answer_to(agent: Agent, message: dict[str, Any]) -> Json:
    """Answer as a front would: it greets itself, and hands on what is left."""
    method, params = str(message["method"]), cast("Json", message.get("params", {}))
    if method == "initialize":
        agent.caller = Caller(
            agent.caller.principal,
            Role.OPERATOR,
            Era.HANDSHAKE,
            str(params["protocolVersion"]),
            cast("Json", params["clientInfo"]),
            cast("Json", params["capabilities"]),
        )
        said = await agent.endpoint.greet(agent.caller)
        result: Json = {
            "serverInfo": said.server_info,
            "capabilities": said.capabilities,
            "instructions": said.instructions,
        }
        return {"result": result}
    meta = cast("Json", params.get("_meta", {}))
    plain = {key: value for key, value in params.items() if key != "_meta"}
    if method == "tools/call":
        answer = await agent.send(str(plain["name"]), cast("Json", plain["arguments"]), None, **meta)
        return {"result": answer.result}
    return {"result": await agent.request(method, plain, **meta)}


async def test_a_crash_loop_is_found_understood_and_ended(fleet: Fleet) -> None:
    settings = prepare(fleet)
    async with serving(fleet.home) as agent:
        for step in SESSION["steps"]:
            if "person" in step:
                settings.write_text("{}", encoding="utf-8")
                continue
            message = step["send"]
            if "id" not in message:
                await agent.endpoint.notified(message["method"], {}, agent.caller)
                continue
            answer = await answer_to(agent, message)
            for pointer, wanted in step["expect"].items():
                found = at(answer, pointer)
                if isinstance(wanted, dict):
                    assert wanted["has"] in str(found), (message, pointer, found)
                else:
                    assert found == wanted, (message, pointer, found)
    states = {row["state"] for row in fleet.status().values()}
    assert states == {"ready"}
    (restart,) = fleet.events("control.restart")
    assert restart["data"]["reason"] == "settings.json is there again"
    assert restart["data"]["who"].startswith("scripted 1 by token laptop by ")
