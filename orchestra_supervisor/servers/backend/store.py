"""Agents and tasks in SQLite: create, read, page, change under a version, delete."""

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from orchestra_supervisor.servers.backend.models import (
    TASK_STEPS,
    Agent,
    AgentPatch,
    AgentQuery,
    NewAgent,
    NewTask,
    Task,
    TaskPatch,
    TaskQuery,
    TaskState,
)
from orchestra_supervisor.servers.database import Database
from orchestra_supervisor.servers.rest import ApiError, decode_cursor, encode_cursor
from orchestra_supervisor.servers.settings import now

__all__ = ["MIGRATIONS", "Store"]

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE agents (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            digest TEXT NOT NULL,  -- of the request that created it: the same one again is no conflict
            name TEXT NOT NULL,
            model TEXT NOT NULL,
            instructions TEXT NOT NULL,
            tags TEXT NOT NULL,
            enabled INTEGER NOT NULL,
            version INTEGER NOT NULL DEFAULT 1,
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE tasks (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            agent TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
            id TEXT NOT NULL,
            digest TEXT NOT NULL,
            title TEXT NOT NULL,
            input TEXT NOT NULL,
            priority INTEGER NOT NULL,
            state TEXT NOT NULL,
            output TEXT NOT NULL DEFAULT '',
            error TEXT NOT NULL DEFAULT '',
            version INTEGER NOT NULL DEFAULT 1,
            created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL,
            started_at TEXT,
            ended_at TEXT,
            UNIQUE (agent, id)
        ) STRICT""",
        "CREATE INDEX tasks_by_state ON tasks (agent, state, seq)",
    ),
)
"""The schema, version by version."""

Value = str | int | None


class Store:
    """The backend's data; every method is one transaction and may be called from any thread.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path, MIGRATIONS)

    def create_agent(self, new: NewAgent) -> tuple[Agent, bool]:
        """Create an agent, or find it where this very request has created it before.

        Returns:
            The agent, and whether it is new.

        Raises:
            ApiError: Another one has the id (409).
        """
        values = new.model_dump(exclude={"id"})
        row: dict[str, Value] = {**values, "tags": _tags(new.tags), "enabled": int(new.enabled)}
        row |= {"id": new.id or secrets.token_hex(8), "digest": _digest(values)}
        with self.database.write() as connection:
            found = connection.execute("SELECT * FROM agents WHERE id = ?", (row["id"],)).fetchone()
            created = _insert(connection, "agents", row, found)
        return self.agent(str(row["id"])), created

    def agent(self, agent_id: str) -> Agent:
        """Return one agent.

        Raises:
            ApiError: There is none of that id (404).
        """
        rows = self.database.read("SELECT * FROM agents WHERE id = ?", (agent_id,))
        return _agent(_one(rows, f"no agent {agent_id!r}", "GET /api/agents lists them"))

    def agents(self, query: AgentQuery) -> tuple[list[Agent], str | None]:
        """Return a page of agents, oldest first, and the cursor of the next one."""
        conditions, values = list[str](), list[Value]()
        if query.enabled is not None:
            conditions.append("enabled = ?")
            values.append(int(query.enabled))
        if query.tag is not None:
            conditions.append("EXISTS (SELECT 1 FROM json_each(agents.tags) WHERE value = ?)")
            values.append(query.tag)
        if query.q:
            conditions.append("(instr(lower(name), lower(?)) OR instr(lower(id), lower(?)))")
            values += [query.q, query.q]
        rows, cursor = self._page("agents", conditions, values, query.limit, query.cursor)
        return [_agent(row) for row in rows], cursor

    def change_agent(self, agent_id: str, patch: AgentPatch, version: int | None) -> Agent:
        """Change fields of an agent.

        Args:
            agent_id: Which.
            patch: The fields that were given.
            version: The version that the caller has seen; None: whichever.

        Raises:
            ApiError: There is none (404), or it is of another version (412).
        """
        changes = patch.model_dump(exclude_unset=True)
        if "tags" in changes:
            changes["tags"] = _tags(patch.tags)
        with self.database.write() as connection:
            rows = connection.execute("SELECT * FROM agents WHERE id = ?", (agent_id,)).fetchall()
            row = _one(rows, f"no agent {agent_id!r}", "GET /api/agents lists them")
            _check_version(row, version)
            _update(connection, "agents", int(row["seq"]), changes)
        return self.agent(agent_id)

    def delete_agent(self, agent_id: str, version: int | None, *, with_tasks: bool) -> None:
        """Delete an agent.

        Raises:
            ApiError: There is none (404), it is of another version (412), or it has tasks (409).
        """
        with self.database.write() as connection:
            rows = connection.execute("SELECT * FROM agents WHERE id = ?", (agent_id,)).fetchall()
            _check_version(_one(rows, f"no agent {agent_id!r}", "it may be deleted already"), version)
            count = connection.execute("SELECT count(*) FROM tasks WHERE agent = ?", (agent_id,)).fetchone()[
                0
            ]
            if count and not with_tasks:
                hint = "delete them too with ?tasks=delete"
                raise ApiError(409, "conflict", f"agent {agent_id!r} has {count} tasks", hint)
            connection.execute("DELETE FROM agents WHERE id = ?", (agent_id,))

    def create_task(self, agent_id: str, new: NewTask) -> tuple[Task, bool]:
        """Set an agent a task, or find it where this very request has set it before.

        Returns:
            The task, and whether it is new.

        Raises:
            ApiError: There is no such agent (404), or another task has the id (409).
        """
        values = new.model_dump(exclude={"id"})
        row: dict[str, Value] = {**values, "id": new.id or secrets.token_hex(8), "digest": _digest(values)}
        row |= {"agent": agent_id, "state": TaskState.QUEUED.value}
        with self.database.write() as connection:
            agents = connection.execute("SELECT 1 FROM agents WHERE id = ?", (agent_id,)).fetchall()
            _one(agents, f"no agent {agent_id!r}", "GET /api/agents lists them")
            key = (agent_id, row["id"])
            found = connection.execute("SELECT * FROM tasks WHERE agent = ? AND id = ?", key).fetchone()
            created = _insert(connection, "tasks", row, found)
        return self.task(agent_id, str(row["id"])), created

    def task(self, agent_id: str, task_id: str) -> Task:
        """Return one task.

        Raises:
            ApiError: There is none of that id (404).
        """
        rows = self.database.read("SELECT * FROM tasks WHERE agent = ? AND id = ?", (agent_id, task_id))
        hint = f"GET /api/agents/{agent_id}/tasks lists them"
        return _task(_one(rows, f"no task {task_id!r} of agent {agent_id!r}", hint))

    def tasks(self, agent_id: str, query: TaskQuery) -> tuple[list[Task], str | None]:
        """Return a page of an agent's tasks, oldest first, and the cursor of the next one."""
        self.agent(agent_id)
        conditions, values = ["agent = ?"], list[Value]([agent_id])
        if query.state is not None:
            conditions.append("state = ?")
            values.append(query.state.value)
        rows, cursor = self._page("tasks", conditions, values, query.limit, query.cursor)
        return [_task(row) for row in rows], cursor

    def change_task(self, agent_id: str, task_id: str, patch: TaskPatch, version: int | None) -> Task:
        """Change fields of a task, or take it to its next state.

        Raises:
            ApiError: There is none (404), it is of another version (412), or the state may not follow (409).
        """
        changes = patch.model_dump(exclude_unset=True, mode="json")
        with self.database.write() as connection:
            row = self._task_row(connection, agent_id, task_id, version)
            before = TaskState(row["state"])
            if "state" in changes and patch.state is not before:
                if patch.state not in TASK_STEPS[before]:
                    steps = ", ".join(sorted(TASK_STEPS[before])) or "nothing"
                    message = f"task {task_id!r} is {before}: it cannot become {patch.state}"
                    raise ApiError(409, "illegal_state", message, f"what may follow: {steps}")
                changes["started_at" if patch.state is TaskState.RUNNING else "ended_at"] = now()
            _update(connection, "tasks", int(row["seq"]), changes)
        return self.task(agent_id, task_id)

    def delete_task(self, agent_id: str, task_id: str, version: int | None) -> None:
        """Delete a task.

        Raises:
            ApiError: There is none (404), or it is of another version (412).
        """
        with self.database.write() as connection:
            row = self._task_row(connection, agent_id, task_id, version)
            connection.execute("DELETE FROM tasks WHERE seq = ?", (row["seq"],))

    def _task_row(
        self, connection: sqlite3.Connection, agent_id: str, task_id: str, version: int | None
    ) -> sqlite3.Row:
        key = (agent_id, task_id)
        rows = connection.execute("SELECT * FROM tasks WHERE agent = ? AND id = ?", key).fetchall()
        row = _one(rows, f"no task {task_id!r} of agent {agent_id!r}", "")
        _check_version(row, version)
        return row

    def _page(
        self,
        table: Literal["agents", "tasks"],
        conditions: list[str],
        values: list[Value],
        limit: int,
        cursor: str | None,
    ) -> tuple[list[sqlite3.Row], str | None]:
        after = decode_cursor(cursor) if cursor else "0"
        if not after.isascii() or not after.isdigit() or len(after) > 18:
            raise ApiError(400, "invalid", f"cursor {cursor!r} is none of ours", "use next_cursor as it came")
        where = " AND ".join(["seq > ?", *conditions])
        sql = f"SELECT * FROM {table} WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - texts of this module
        rows = self.database.read(sql, [int(after), *values, limit + 1])
        more = encode_cursor(str(rows[limit - 1]["seq"])) if len(rows) > limit else None
        return rows[:limit], more


def _insert(
    connection: sqlite3.Connection, table: str, row: dict[str, Value], found: sqlite3.Row | None
) -> bool:
    if found is not None:
        if found["digest"] == row["digest"]:
            return False
        message = f"{table[:-1]} {row['id']!r} exists, created by another request"
        raise ApiError(409, "conflict", message, "change it with PATCH, or choose another id")
    row |= {"created_at": now(), "updated_at": now()}
    names = ", ".join(row)
    marks = ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)  # noqa: S608 - model fields
    return True


def _update(connection: sqlite3.Connection, table: str, seq: int, changes: dict[str, Value]) -> None:
    if not changes:
        return
    values: dict[str, Value] = {**changes, "updated_at": now()}
    fields = ", ".join(f"{name} = :{name}" for name in values)
    sql = f"UPDATE {table} SET {fields}, version = version + 1 WHERE seq = :seq"  # noqa: S608 - model fields
    connection.execute(sql, {**values, "seq": seq})


def _one(rows: Sequence[sqlite3.Row], message: str, hint: str) -> sqlite3.Row:
    if not rows:
        raise ApiError(404, "not_found", message, hint)
    return rows[0]


def _check_version(row: sqlite3.Row, version: int | None) -> None:
    if version is not None and version != row["version"]:
        message = f"{row['id']!r} is at version {row['version']} by now, not {version}"
        raise ApiError(412, "stale", message, "read it again, and repeat the change if it still fits")


def _digest(values: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _tags(tags: Sequence[str]) -> str:
    return json.dumps(sorted(set(tags)))


def _agent(row: sqlite3.Row) -> Agent:
    fields = {name: row[name] for name in Agent.model_fields}
    return Agent(**{**fields, "tags": json.loads(row["tags"])})


def _task(row: sqlite3.Row) -> Task:
    return Task(**{name: row[name] for name in Task.model_fields})
