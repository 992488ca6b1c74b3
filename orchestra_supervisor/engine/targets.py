"""Where a run is started: the order for the keeper, as the service's target wants it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from orchestra_supervisor.config.targets import request_of
from orchestra_supervisor.model.equipment import HookSpec
from orchestra_supervisor.model.errors import OrchestraError, SpawnFailed
from orchestra_supervisor.model.spec import ServiceSpec
from orchestra_supervisor.plugin_api.events import GiveUp, TryLater
from orchestra_supervisor.plugin_api.host import PluginHost
from orchestra_supervisor.plugin_api.target import LocalRun, TargetRequest
from orchestra_supervisor.process.orders import SpawnOrder

__all__ = ["TargetDesk"]


class TargetDesk:
    """Asks targets for the local process that stands for a run.

    Args:
        host: Returns who offers targets.
    """

    def __init__(self, host: Callable[[], PluginHost]) -> None:
        self._host = host

    async def prepare(self, spec: ServiceSpec, order: SpawnOrder) -> SpawnOrder:
        """Return the order as the target of its service wants it.

        Args:
            spec: The service.
            order: For a run here, secrets filled in.

        Raises:
            SpawnFailed: There is no such target, or it refuses.
        """
        request = request_of(spec, order.env, home=order.env["ORCHESTRA_HOME"], run=order.run)
        try:
            local = await self._ask(spec.target.name, request)
            return _as_wanted(order, local)
        except (OrchestraError, TryLater, GiveUp, ValueError) as error:
            message = error.message if isinstance(error, OrchestraError) else str(error)
            raise SpawnFailed(f"target {spec.target.name}: {message}", stage="target") from error

    async def _ask(self, name: str, request: TargetRequest) -> LocalRun:
        host = self._host()
        target = host.builtin.targets.get(name)
        if target is not None:
            _refuse(target.faults(request))
            return await target.prepare(request)
        await host.loaded.wait()
        for plugin in host.working:
            target = plugin.offers.targets.get(name)
            if target is not None:
                _refuse(
                    await plugin.call(f"faults of target {name}", target.faults, request, wanted=Sequence)
                )
                return await plugin.call(f"target {name}", target.prepare, request, wanted=LocalRun)
        raise SpawnFailed("no plugin has it; orchestra plugins shows what is loaded")


def _refuse(faults: Sequence[object]) -> None:
    if faults:
        raise ValueError("; ".join(" ".join(str(fault).split()) for fault in faults)[:500])


def _as_wanted(order: SpawnOrder, local: LocalRun) -> SpawnOrder:
    """Return the order with a target's commands; everything else of it holds for the local process."""
    return replace(
        order,
        argv=_command(local.argv),
        env=order.env | {str(key): str(value) for key, value in local.env.items()},
        before=(*_hooks(local.before), *order.before),
        after=(*_hooks(local.after), *order.after),
        direct=False,  # nobody has looked at this command
    )


def _hooks(commands: Sequence[Sequence[str]]) -> tuple[HookSpec, ...]:
    return tuple(HookSpec(argv=_command(command)) for command in commands)


def _command(words: Sequence[str]) -> tuple[str, ...]:
    """Hold a command of a plugin to what the keeper takes."""
    command = tuple(cast("Sequence[object]", words)) if not isinstance(words, str) else ()
    if not command or not all(isinstance(word, str) and "\x00" not in word for word in command):
        raise ValueError("it gave a command that is no list of words")
    return cast("tuple[str, ...]", command)
