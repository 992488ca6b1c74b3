"""`job`: what became of an action that took longer than a client waits."""

import anyio

from orchestra_supervisor.gateway.control.fields import number, text, texts
from orchestra_supervisor.gateway.control.jobs import Job, Jobs
from orchestra_supervisor.gateway.control.tool import Answer, Call, Tool, object_of
from orchestra_supervisor.gateway.control.trouble import ToolTrouble
from orchestra_supervisor.gateway.control.words import instant_text
from orchestra_supervisor.gateway.endpoint import Role
from orchestra_supervisor.gateway.messages import Json

__all__ = ["job_tool"]

_LONGEST = 50
_DESCRIPTION = """\
What became of an action that answered with a job_id: get waits for it up to wait_s; list shows yours; \
cancel stops \
waiting for it, while the daemon goes on with what it was told. Jobs live in this gateway, and finished \
ones for an \
hour; when one is forgotten, fleet_status still says how the services stand."""
_INPUT = object_of(
    {
        "action": {
            "type": "string",
            "enum": ["get", "list", "cancel"],
            "default": "get",
            "description": "what to do",
        },
        "id": {"type": "string", "maxLength": 64, "description": "job_id; not for list"},
        "wait_s": {
            "type": "number",
            "minimum": 0,
            "maximum": _LONGEST,
            "default": 0,
            "description": "seconds to wait for its end",
        },
    },
    required=(),
)
_JOB: Json = object_of(
    {
        "id": {"type": "string"},
        "tool": {"type": "string"},
        "names": {"type": "array", "items": {"type": "string"}},
        "started": {"type": ["string", "null"]},
        "state": {"type": "string", "enum": ["running", "done", "failed", "cancelled"]},
        "result": {"type": ["object", "null"], "description": "as the tool answers it"},
        "error": {"type": "string"},
    }
)
_OUTPUT = object_of({"jobs": {"type": "array", "items": _JOB}})
_LISTED = 50


def job_tool(jobs: Jobs) -> Tool:
    """Return the tool."""

    async def run(call: Call) -> Answer:
        arguments, caller = call.arguments, call.exchange.caller
        action = text(arguments, "action")
        if action == "list":
            chosen = jobs.all(caller)[:_LISTED]
        elif not text(arguments, "id"):
            raise ToolTrouble("job needs the argument 'id'", "the job_id of an answer, or action='list'")
        else:
            job = jobs.get(caller, text(arguments, "id"))
            if action == "cancel" and job.state == "running":
                job.scope.cancel()
                await job.ended.wait()
            with anyio.move_on_after(number(arguments, "wait_s") or 0.0):
                await job.ended.wait()
            chosen = [job]
        told = [_told(job) for job in chosen]
        words = [
            f"{one['id']} {one['tool']} {', '.join(texts(one, 'names')[:5])}: {one['state']}"
            f" {one['error']}".rstrip()
            for one in told
        ]
        if len(chosen) == 1 and chosen[0].answer is not None:
            words.append(chosen[0].answer.text)
        return Answer({"jobs": told}, "\n".join(words) or "no jobs")

    return Tool("job", "Long actions", _DESCRIPTION, Role.OPERATOR, _INPUT, _OUTPUT, run, reads=False)


def _told(job: Job) -> Json:
    return {
        "id": job.id,
        "tool": job.tool,
        "names": job.names[:50],
        "started": instant_text(job.started),
        "state": job.state,
        "result": job.answer.structured if job.answer is not None else None,
        "error": job.trouble.text if job.trouble is not None else "",
    }
