"""What supervisord's HTTP server has besides calls: tails of logs without an end, and a page for the eye."""

import html
from collections.abc import Mapping
from urllib.parse import unquote

from orchestra_supervisor.surfaces.xmlrpc.exchange import Answer
from orchestra_supervisor.surfaces.xmlrpc.faults import RpcFault
from orchestra_supervisor.surfaces.xmlrpc.log_source import LogSource, source_of
from orchestra_supervisor.surfaces.xmlrpc.names import Group
from orchestra_supervisor.surfaces.xmlrpc.reading import Reading
from orchestra_supervisor.surfaces.xmlrpc.surroundings import Surroundings

__all__ = ["NOT_FOUND", "Pages"]

NOT_FOUND = Answer(404, b"Not Found\n")
_TAIL_HEADERS = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
_PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
_STYLE = "body{font:14px sans-serif}table{border-collapse:collapse}td,th{padding:.2em 1em;text-align:left}"


class Pages:
    """Pages and tails of one fleet."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._reading = Reading(around)

    def log_tail(self, path: str) -> Answer:
        """Return the tail of a process's log: `/logtail/NAME` or `/logtail/NAME/stderr`."""
        _, _, rest = path.lstrip("/").partition("/")
        name, _, stream = unquote(rest).partition("/")
        stream = stream or "stdout"
        if stream not in {"stdout", "stderr"}:
            return NOT_FOUND
        try:
            found = self._around.directory.find(name)
            if isinstance(found, Group):
                return NOT_FOUND
            spec = self._around.service(found).spec
        except RpcFault:
            return NOT_FOUND
        source = source_of(spec, stream, self._around.log_path)
        return self._tail(source)

    def main_tail(self) -> Answer:
        """Return the tail of the main log."""
        return self._tail(LogSource(str(self._around.main_log)))

    def _tail(self, source: LogSource) -> Answer:
        if not source.path or not source.exists:
            return NOT_FOUND
        return Answer(200, self._around.logs.tail(source), headers=_TAIL_HEADERS)

    async def status(self) -> Answer:
        """Return the page: a table of all processes."""
        infos = await self._reading.all_process_info()
        rows = "".join(_row(info) for info in infos)
        title = html.escape(f"{self._around.spec.identifier}: {len(infos)} processes")
        page = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{title}</h1><table><thead><tr><th>Name</th>"
            f"<th>State</th><th>Description</th></tr></thead><tbody>{rows}</tbody></table></body></html>\n"
        )
        body = page.encode("utf-8", "backslashreplace")
        return Answer(200, body, "text/html;charset=utf-8", _PAGE_HEADERS)


def _row(info: Mapping[str, object]) -> str:
    group, name = str(info["group"]), str(info["name"])
    cells = (name if group == name else f"{group}:{name}", info["statename"], info["description"])
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"
