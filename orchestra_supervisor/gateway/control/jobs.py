"""Actions that take longer than a client waits: a handle to come back with.

A job belongs to whoever started it. It lives in this gateway: one that is replaced forgets its jobs, while
the daemon goes on with what it was told. A finished one is kept for an hour, or until 200 newer ones have
ended.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import anyio.abc

from orchestra_supervisor.gateway.control.clock import wall_now
from orchestra_supervisor.gateway.control.tool import Answer
from orchestra_supervisor.gateway.control.trouble import ToolTrouble
from orchestra_supervisor.gateway.endpoint import Caller, Role

__all__ = ["KEPT_FOR", "Job", "Jobs"]

KEPT_FOR = 3_600.0
"""Seconds for which a finished job is told of."""
_KEPT = 200
_AT_ONCE = 32


@dataclass
class Job:
    """One action that goes on, or has ended.

    Attributes:
        id: Its handle.
        owner: Principal who started it.
        tool: By which tool.
        names: The services it was asked for.
        started: Wall seconds.
        state: `running`, `done`, `failed` or `cancelled`.
        answer: What came of it.
        trouble: Why it failed.
        ended: Set when it is no longer running.
    """

    id: str
    owner: str
    tool: str
    names: list[str]
    started: float
    state: str = "running"
    answer: Answer | None = None
    trouble: ToolTrouble | None = None
    ended: anyio.Event = field(default_factory=anyio.Event)
    ended_mono: float = 0.0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Jobs:
    """All jobs of this gateway. They run in the task group that `serve` is given."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._tasks: anyio.abc.TaskGroup | None = None

    def serve(self, tasks: anyio.abc.TaskGroup) -> None:
        """Run jobs in a task group from now on."""
        self._tasks = tasks

    def start(self, owner: str, tool: str, names: list[str], work: Callable[[], Awaitable[Answer]]) -> Job:
        """Begin a job.

        Raises:
            ToolTrouble: Too many go on.
        """
        assert self._tasks is not None, "the endpoint is not served"
        self._forget()
        if sum(job.state == "running" for job in self._jobs.values()) >= _AT_ONCE:
            raise ToolTrouble(
                f"{_AT_ONCE} actions go on already", "wait for one to end: job with action=list"
            )
        job = Job(str(uuid.uuid4()), owner, tool, names, wall_now())
        self._jobs[job.id] = job
        self._tasks.start_soon(self._run, job, work)
        return job

    async def _run(self, job: Job, work: Callable[[], Awaitable[Answer]]) -> None:
        try:
            with job.scope:
                job.answer = await work()
                job.state = "failed" if job.answer.is_error else "done"
            if job.scope.cancelled_caught:
                job.state = "cancelled"
        except ToolTrouble as trouble:
            job.trouble, job.state = trouble, "failed"
        except Exception as error:  # noqa: BLE001 - a job's edge: its fault must not end the others
            job.trouble = ToolTrouble(
                f"a fault of ours: {type(error).__name__}", "please report it", code="internal"
            )
            job.state = "failed"
        finally:
            if job.state == "running":
                job.state = "cancelled"
            job.ended_mono = anyio.current_time()
            job.ended.set()

    def get(self, caller: Caller, job_id: str) -> Job:
        """Return a job of this caller; an admin sees all.

        Raises:
            ToolTrouble: There is none.
        """
        self._forget()
        job = self._jobs.get(job_id)
        if job is None or not _may_see(caller, job):
            hint = "finished jobs are kept for an hour; fleet_status says how the services stand"
            raise ToolTrouble(f"no job {job_id[:60]!r} of yours", hint)
        return job

    def all(self, caller: Caller) -> list[Job]:
        """Return the jobs of this caller, the newest first."""
        self._forget()
        return [job for job in reversed(self._jobs.values()) if _may_see(caller, job)]

    def _forget(self) -> None:
        over = [job for job in self._jobs.values() if job.state != "running"]
        over.sort(key=lambda job: job.ended_mono)
        old = anyio.current_time() - KEPT_FOR
        for position, job in enumerate(over):
            if job.ended_mono < old or position < len(over) - _KEPT:
                del self._jobs[job.id]


def _may_see(caller: Caller, job: Job) -> bool:
    return job.owner == caller.principal or caller.role >= Role.ADMIN
