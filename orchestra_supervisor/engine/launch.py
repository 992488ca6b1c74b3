"""From a service's spec to the order that the keeper carries out."""

from collections.abc import Mapping
from pathlib import Path

from orchestra_supervisor.model.log import LogSpec, SinkSpec
from orchestra_supervisor.model.spec import CommandCheck, FleetSettings, ServiceSpec, StopSpec, StopStep
from orchestra_supervisor.process.local_files import LocalFiles
from orchestra_supervisor.process.orders import PROBE_SLOT_PREFIX, LogTarget, SpawnOrder

__all__ = ["Launcher"]

_OWN = (
    "ORCHESTRA_KEEPER_FD",
    "ORCHESTRA_RUN_ID",
    "ORCHESTRA_SERVICE",
    "ORCHESTRA_REPLICA",
    "ORCHESTRA_REPLICAS",
    "ORCHESTRA_CGROUP",
    "ORCHESTRA_STDIO_FD",
)
"""Variables that no service inherits: they are somebody else's."""
_PROBE_LOG = LogSpec(max_bytes=1024 * 1024, backups=1, compress=False)
_PROBE_STOP = StopSpec(steps=(StopStep(signal="SIGTERM", wait=0.5),))


class Launcher:
    """Makes spawn orders for one home.

    Args:
        home: The state directory; told to every service as ORCHESTRA_HOME.
        log_directory: Where logs go.
        environ: What services inherit.
        console: Form of what goes to the keeper's output; `auto`: as the settings say; None: nothing does,
            for it is no console.
        local: Knows which programs the keeper may wait for; None: none.
    """

    def __init__(
        self,
        *,
        home: Path,
        log_directory: Path,
        environ: Mapping[str, str],
        console: str | None = None,
        local: LocalFiles | None = None,
    ) -> None:
        self._local = local or LocalFiles(environ)
        self._home = home
        self._log_directory = log_directory
        self.log_keep_bytes = 0
        """What all logs together may take; 0: no limit."""
        self._console = console
        self._layout = "off"
        self._environ = dict(environ)
        for name in _OWN:
            self._environ.pop(name, None)

    def settle(self, settings: FleetSettings) -> None:
        """Go by the settings of a fleet from here on."""
        self.log_keep_bytes = settings.log_keep_bytes
        self._layout = settings.console if self._console == "auto" else self._console or "off"

    def log_path(self, service: str) -> Path:
        """Return the path of a service's log."""
        return self._log_directory / f"{service}.log"

    def log_target(self, spec: ServiceSpec) -> LogTarget:
        """Return where a service's output goes."""
        return LogTarget(str(self.log_path(spec.name)), self._with_console(spec.log), self.log_keep_bytes)

    def _with_console(self, log: LogSpec) -> LogSpec:
        """Return a log with the console as one more sink, or without any where there is no console."""
        shown = tuple(sink for sink in log.sinks if sink.protocol == "console")
        if self._console is None and shown:
            return log.model_copy(update={"sinks": tuple(one for one in log.sinks if one not in shown)})
        if self._layout == "off" or shown:
            return log
        layout = {"layout": self._layout, "transport": "stream", "address": "/dev/stdout"}
        sink = SinkSpec.model_validate({"protocol": "console", **layout})
        return log.model_copy(update={"sinks": (*log.sinks, sink)})

    def _probe_log(self, spec: ServiceSpec) -> LogTarget:
        """Return where a probe's output goes: its command knows the secrets of its service."""
        redaction = {"redact": spec.log.redact, "redact_secrets": spec.log.redact_secrets}
        path = str(self._log_directory / f"{spec.name}.probe.log")
        return LogTarget(path, _PROBE_LOG.model_copy(update=redaction), self.log_keep_bytes)

    def order(self, spec: ServiceSpec, run: str, *, stop_order: int) -> SpawnOrder:
        """Return the order for a run of a service; secret references are still references."""
        return SpawnOrder(
            run=run,
            slot=spec.name,
            argv=spec.argv,
            cwd=spec.cwd,
            env=self._env(spec),
            stop=spec.stop,
            log=self.log_target(spec),
            stop_order=stop_order,
            umask=spec.umask,
            user=spec.user,
            group=spec.group,
            groups=spec.groups,
            rlimits=spec.rlimits,
            nice=spec.nice,
            oom_score_adj=spec.oom_score_adj,
            before=spec.pre_start,
            after=spec.post_stop,
            sockets=spec.sockets,
            notify=spec.notify,
            watchdog=spec.watchdog,
            limits=spec.limits,
            stdio=spec.stdio,
            stdin=spec.supervisor is not None and not spec.stdio,  # open, as supervisord has it
            channel=spec.channel,
            direct=self._local.has(spec, spec.argv),
        )

    def probe_order(self, spec: ServiceSpec, check: CommandCheck, slot: str, run: str) -> SpawnOrder:
        """Return the order for a probe's command, which runs as its service does."""
        assert slot.startswith(PROBE_SLOT_PREFIX), "a probe never takes a service's slot"
        return SpawnOrder(
            run=run,
            slot=slot,
            argv=check.argv,
            cwd=spec.cwd,
            env=self._env(spec),
            stop=_PROBE_STOP,
            log=self._probe_log(spec),
            umask=spec.umask,
            user=spec.user,
            group=spec.group,
            groups=spec.groups,
            direct=self._local.has(spec, check.argv),
        )

    def _env(self, spec: ServiceSpec) -> dict[str, str]:
        env = dict(self._environ) if spec.inherit_env else {}
        env.update(spec.env)
        env["ORCHESTRA_HOME"] = str(self._home)
        env["ORCHESTRA_SERVICE"] = spec.name
        if spec.replica is not None:
            env["ORCHESTRA_REPLICAS"] = str(spec.replica.count)
        if spec.port is not None:
            env.setdefault("PORT", str(spec.port))
        return env
