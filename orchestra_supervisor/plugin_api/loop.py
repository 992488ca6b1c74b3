"""Where a plugin's code runs: a thread of its own with an event loop of its own.

Nothing that a plugin does, sync or async, blocks the supervisor's loop. A call that is late is cancelled;
what cannot be cancelled (a thread that hangs) is given nothing more until it comes back. The thread is
a daemon thread, so that it never keeps the process from ending.

This is the one place with asyncio and a thread, where anyio does not serve: its calls into another loop
wait for that loop to take them, and a plugin's may never do so.
"""

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar, cast

import anyio
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token

from orchestra_supervisor.model.errors import PluginError

__all__ = ["Call", "PluginLoop", "answer_from"]

OPEN_CALLS = 64
"""Calls of one plugin at a time; a further one is refused."""

T = TypeVar("T")


@dataclass(eq=False)
class Call(Generic[T]):
    """One call on its way.

    Attributes:
        what: What is called, for messages.
        future: Its result, once it has one.
        abandoned: Whether its caller has given it up.
        task: What carries it out, once that has begun.
    """

    what: str
    future: "concurrent.futures.Future[T]" = field(
        default_factory=lambda: cast("concurrent.futures.Future[T]", concurrent.futures.Future[object]())
    )
    abandoned: bool = False
    task: "asyncio.Task[T] | None" = None

    async def wait(self) -> None:
        """Wait for its end, in the loop of the caller."""
        ended, token, here = anyio.Event(), current_token(), threading.get_ident()

        def tell(_: object) -> None:
            if threading.get_ident() == here:
                ended.set()
                return
            with suppress(anyio.RunFinishedError, RuntimeError):  # the caller's loop has ended
                from_thread.run_sync(ended.set, token=token)

        self.future.add_done_callback(tell)
        await ended.wait()


class PluginLoop:
    """Runs the calls of one plugin. Its methods never wait for the plugin.

    Args:
        name: The plugin, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._open: set[Call[object]] = set()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None

    @property
    def stuck_in(self) -> str:
        """What was given up and has not come back, or empty."""
        return next((call.what for call in tuple(self._open) if call.abandoned), "")

    def submit(self, what: str, function: Callable[..., T | Awaitable[T]], *args: object) -> Call[T]:
        """Begin a call in the plugin's thread.

        Args:
            what: What is called, for messages.
            function: Sync or async.
            args: Its arguments.

        Raises:
            PluginError: An earlier call hangs, or too many are open.
        """
        if stuck := self.stuck_in:
            raise PluginError(
                f"plugin {self._name} hangs in {stuck}, which was given up",
                hint="nothing is asked of it before that returns",
            )
        if len(self._open) >= OPEN_CALLS:
            raise PluginError(f"plugin {self._name} has {OPEN_CALLS} calls open", hint="it is too slow")
        call: Call[T] = Call(what)
        loop = self._running()
        self._open.add(cast("Call[object]", call))
        try:
            loop.call_soon_threadsafe(self._begin, call, function, args)
        except RuntimeError as error:  # its loop has ended
            self._open.discard(cast("Call[object]", call))
            raise PluginError(f"plugin {self._name} has been unloaded") from error
        return call

    def abandon(self, call: Call[T]) -> None:
        """Cancel a call; its end is awaited by nobody, and until then nothing more is asked of the plugin."""
        call.abandoned = True
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._cancel, call)

    # In the plugin's thread.

    def _begin(
        self, call: Call[T], function: Callable[..., T | Awaitable[T]], args: tuple[object, ...]
    ) -> None:
        if call.abandoned:
            self._open.discard(cast("Call[object]", call))
            return
        if self._end is None or self._end.is_set():  # a task that is made now would never run
            self._open.discard(cast("Call[object]", call))
            call.future.set_exception(PluginError(f"plugin {self._name} has been unloaded"))
            return
        call.task = asyncio.get_running_loop().create_task(_carry_out(function, args))
        call.task.add_done_callback(partial(self._finish, call))

    def _cancel(self, call: Call[T]) -> None:
        if call.task is not None:
            call.task.cancel()

    def _finish(self, call: Call[T], task: "asyncio.Task[T]") -> None:
        self._open.discard(cast("Call[object]", call))
        if task.cancelled():
            call.future.set_exception(RuntimeError("it was cancelled"))
        elif (error := task.exception()) is not None:
            call.future.set_exception(error)
        else:
            call.future.set_result(task.result())

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            name = f"plugin {self._name}"
            threading.Thread(target=self._main, name=name, daemon=True).start()  # noqa: TID251  # see the module
            self._ready.wait()  # our own code alone runs until then
        assert self._loop is not None
        return self._loop

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        await self._end.wait()

    def close(self) -> None:
        """Cancel what is open and end the thread, as soon as the plugin lets it."""
        if self._loop is not None and self._end is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._end.set)


async def _carry_out(function: Callable[..., T | Awaitable[T]], args: tuple[object, ...]) -> T:
    try:
        result = function(*args)
        return await cast("Awaitable[T]", result) if inspect.isawaitable(result) else cast("T", result)
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit and its like would end the plugin's loop
        raise RuntimeError(f"it tried to end the process ({type(error).__name__})") from None


async def answer_from(token: EventLoopToken, begin: "Callable[[concurrent.futures.Future[T]], None]") -> T:
    """Ask something of the supervisor's loop, in a plugin's.

    Args:
        token: Of the supervisor's loop.
        begin: Runs there at once, and sees to it that the future gets its answer.
    """
    future = cast("concurrent.futures.Future[T]", concurrent.futures.Future[object]())
    from_thread.run_sync(begin, future, token=token)
    return await asyncio.wrap_future(future)
