"""One plugin of the fleet: what it offers, how it stands, and the only way to call it."""

import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from orchestra_supervisor.model.errors import PluginError
from orchestra_supervisor.model.plugin import PluginReport, PluginSpec, PluginState
from orchestra_supervisor.plugin_api.events import GiveUp, TryLater
from orchestra_supervisor.plugin_api.loop import Call, PluginLoop
from orchestra_supervisor.plugin_api.offers import Offers
from orchestra_supervisor.plugin_api.standing import Standing

__all__ = ["Plugin", "Teller"]

_LONGEST_ERROR = 500  # characters

T = TypeVar("T")

Teller = Callable[["Plugin", str, str], None]
"""Takes (plugin, kind of event, message) of what a plugin's standing has come to."""


@dataclass(eq=False)
class Plugin:
    """A plugin that the settings name, loaded or not.

    Attributes:
        spec: What the settings say.
        name: Its name; its source while it has none.
        version: As it says itself.
        hooks: The hooks it implements.
        offers: What they returned.
        fault: Why it could not be loaded.
        tell: Told of failures, suspensions and their end.
        dropped: Events that it did not get.
    """

    spec: PluginSpec
    name: str
    loop: PluginLoop
    version: str = ""
    hooks: tuple[str, ...] = ()
    offers: Offers = field(default_factory=Offers)
    fault: PluginError | None = None
    tell: Teller | None = None
    dropped: int = 0
    standing: Standing = field(default_factory=Standing)

    @property
    def log(self) -> logging.Logger:
        """Its log."""
        return logging.getLogger(f"orchestra.plugin.{self.name}")

    def state(self, now: float) -> PluginState:
        """Return where it stands.

        Args:
            now: Monotonic seconds.
        """
        if not self.spec.enabled:
            return PluginState.DISABLED
        if self.fault is not None:
            return PluginState.FAILED
        if self.loop.stuck_in:
            return PluginState.STUCK
        return PluginState.SUSPENDED if self.standing.is_suspended(now) else PluginState.OK

    def report(self, now: float) -> PluginReport:
        """Return it for people."""
        return PluginReport(
            self.name,
            self.version,
            self.spec.source,
            self.state(now),
            self.hooks,
            self.standing.calls,
            self.standing.failures + (self.fault is not None),
            self.dropped,
            self.fault.message if self.fault is not None else self.standing.last_error,
        )

    async def call(
        self,
        what: str,
        function: Callable[..., T | Awaitable[T]],
        *args: object,
        wanted: type | tuple[type, ...] = object,
    ) -> T:
        """Call something that the plugin offers, within its time; a failure is counted.

        Args:
            what: What is called, for messages: `probe redis`.
            function: Sync or async; runs in the plugin's thread.
            args: Its arguments.
            wanted: What it must return.

        Raises:
            PluginError: It failed, was late, returned something else, or is left alone for now.
            TryLater: It says so.
            GiveUp: It says so; counted as a failure.
        """
        if self.standing.is_suspended(anyio.current_time()):
            raise PluginError(
                f"plugin {self.name} is suspended after {self.standing.in_a_row} failures: "
                f"{self.standing.last_error}",
                hint="orchestra plugins shows it; it is tried again by itself",
                plugin=self.name,
            )
        call = self.loop.submit(what, function, *args)
        try:
            with anyio.move_on_after(self.spec.timeout):
                await call.wait()
        finally:
            if not call.future.done():
                self.loop.abandon(call)
        if call.abandoned:
            raise self._failure(what, f"no answer within {self.spec.timeout:g} s")
        try:
            result = call.future.result()
        except TryLater as later:
            self.standing = self.standing.deferred(_one_line(f"{what}: {later}"))
            raise
        except GiveUp as refusal:
            self._failure(what, str(refusal))
            raise
        except Exception as error:
            raise self._failure(what, f"{type(error).__name__}: {error}") from error
        if not isinstance(result, wanted):
            raise self._failure(what, f"returned {type(result).__name__}, not what it promised")
        self._passed()
        return result

    async def attend(self, what: str, function: Callable[[], Awaitable[None]]) -> None:
        """Run something of the plugin that may go on for ever; its failure is counted.

        Raises:
            PluginError: It failed, or the plugin hangs.
        """
        call = self.loop.submit(what, function)
        try:
            await call.wait()
        finally:
            if not call.future.done():
                self.loop.abandon(call)
        try:
            call.future.result()
        except Exception as error:
            raise self._failure(what, f"{type(error).__name__}: {error}") from error

    def call_blocking(self, what: str, function: Callable[..., T | Awaitable[T]], *args: object) -> T:
        """Call it from a thread without an event loop, while it is loaded or a file is read; not counted.

        Raises:
            PluginError: It was late.
            Exception: Whatever it raises.
        """
        call: Call[T] = self.loop.submit(what, function, *args)
        try:
            return call.future.result(self.spec.timeout)
        except Late as error:
            if call.future.done():  # its own, raised by the plugin
                raise
            self.loop.abandon(call)
            late = f"{what}: no end within {self.spec.timeout:g} s"
            raise PluginError(
                late, hint="a longer `timeout` of the plugin, or look into what it waits for"
            ) from error

    def _passed(self) -> None:
        was_suspended = self.standing.suspended_until is not None
        self.standing = self.standing.passed()
        if was_suspended:
            self._say("plugin.resumed", "it works again")

    def _failure(self, what: str, why: str) -> PluginError:
        text = _one_line(f"{what}: {why}")
        before = self.standing
        self.standing = before.failed(text, anyio.current_time())
        if self.standing.suspended_until != before.suspended_until:
            self._say(
                "plugin.suspended", f"left alone for a while after {self.standing.in_a_row} failures: {text}"
            )
        elif before.in_a_row == 0:
            self._say("plugin.failed", text)
        return PluginError(f"plugin {self.name}: {text}", hint="orchestra plugins shows it", plugin=self.name)

    def _say(self, kind: str, message: str) -> None:
        """Log it under the plugin's name, and tell the host."""
        self.log.warning("%s", message, extra={"event": kind})
        if self.tell is not None:
            self.tell(self, kind, message)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_ERROR]
