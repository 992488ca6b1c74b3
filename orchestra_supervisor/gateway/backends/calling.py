"""The calls that are made to one backend.

A call finds an instance, waits until that can be called, speaks to it in the way that it speaks, and
comes back with a result, or with an error that says whether to try again.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

from orchestra_supervisor.gateway.backends.choice import Chooser, Seat, owner_of
from orchestra_supervisor.gateway.backends.conversation import Conversation, Deadline
from orchestra_supervisor.gateway.backends.link import Call, LinkError, Trouble
from orchestra_supervisor.gateway.backends.params import plain_params, stamped, untokened
from orchestra_supervisor.gateway.backends.parking import Parked, Parking, answer_of, fingerprint
from orchestra_supervisor.gateway.backends.refusals import too_late, unavailable
from orchestra_supervisor.gateway.backends.rounds import is_question, run_rounds
from orchestra_supervisor.gateway.backends.runner import Runner
from orchestra_supervisor.gateway.backends.spec import BackendSpec, Sharing
from orchestra_supervisor.gateway.backends.visit import Visit
from orchestra_supervisor.gateway.endpoint import Caller, Era, Exchange
from orchestra_supervisor.gateway.messages import Json, RpcError
from orchestra_supervisor.gateway.presence import who_is_present

__all__ = ["Calling"]

_STATES = 1024  # of stateless calls that are to come again, each bound to its instance


class Calling:
    """See the module.

    Args:
        spec: Of the backend; may be replaced at any time.
        chooser: Finds instances.
        runner: Has them ready.
        left: Told of a caller whose connection is over.
    """

    def __init__(
        self, spec: BackendSpec, chooser: Chooser, runner: Runner, left: Callable[[Caller], None]
    ) -> None:
        self.spec = spec
        self.count = 0
        self.failures = 0
        self._chooser = chooser
        self._runner = runner
        self._left = left
        self._parking = Parking()
        self._states: OrderedDict[bytes, Seat] = OrderedDict()

    @property
    def parked(self) -> int:
        """Return how many calls wait for their clients."""
        return len(self._parking)

    def expire(self) -> None:
        """Give up the calls whose clients did not come again. Called now and then."""
        self._parking.expire()

    def clear(self) -> None:
        """Give up all calls that wait for their clients."""
        self._parking.clear()

    async def make(
        self,
        method: str,
        params: Json,
        exchange: Exchange,
        *,
        is_safe: bool = False,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Json:
        """Make a client's call.

        Args:
            method: `tools/call`, ...
            params: As the server is to get them; `_meta` as the client sent it.
            exchange: Who asks, and the way back to them.
            is_safe: It may be made twice.
            headers: `Mcp-Param-*`.

        Raises:
            RpcError: The server's own, or ours where it cannot be called.
        """
        self.count += 1
        deadline = Deadline(self.spec.timeout)
        with deadline.scope:
            try:
                parked = self._taken_up(method, params, exchange)
                if parked is not None:
                    return await self._go_on(parked, method, params, exchange, deadline)
                try:
                    return await self._attempt(method, params, exchange, deadline, headers)
                except LinkError as error:
                    if error.was_sent and not (is_safe and self.spec.is_retry_safe):
                        raise
                return await self._attempt(method, params, exchange, deadline, headers)
            except LinkError as error:
                self.failures += 1
                raise unavailable(self.spec.name, error) from error
        self.failures += 1
        raise too_late(self.spec.name, self.spec.timeout)

    async def _seat_for(self, params: Json, exchange: Exchange) -> Seat:
        state = params.get("requestState")
        key = _state_key(exchange.caller, state) if isinstance(state, str) else b""
        bound = self._states.pop(key, None)
        if self.spec.sharing is Sharing.PER_SESSION and (presence := who_is_present()) is not None:
            presence.at_end(self, partial(self._left, exchange.caller))
        is_theirs = bound is not None and bound.owner == owner_of(self.spec.sharing, exchange.caller)
        if bound is not None and is_theirs and bound in self._chooser.seats:
            return bound
        return await self._chooser.choose(exchange.caller)

    async def _attempt(
        self,
        method: str,
        params: Json,
        exchange: Exchange,
        deadline: Deadline,
        headers: Sequence[tuple[str, str]],
    ) -> Json:
        seat = await self._seat_for(params, exchange)
        instance = seat.instance
        is_met = instance.introduction is not None
        visit = Visit(instance)
        try:
            try:
                introduction = await self._runner.ready(instance, seat.service)
                if not (is_met or self.spec.is_stdio) and await self._seat_for(params, exchange) is not seat:
                    # Now that it is known how the server speaks, another session is the client's.
                    return await self._attempt(method, params, exchange, deadline, headers)
            except LinkError as error:
                if error.trouble is Trouble.NOT_MCP and self._chooser.refused_handshake(seat):
                    return await self._attempt(method, params, exchange, deadline, headers)
                self.failures += 1
                raise unavailable(self.spec.name, error) from error
            has_progress = "progressToken" in exchange.meta
            if introduction.era is Era.HANDSHAKE:
                call = await instance.begin(method, plain_params(params), has_progress=has_progress)
                return await self._converse(call, visit, method, params, exchange, deadline)

            async def send(asked: Json) -> Json:
                sent = stamped(untokened(asked), introduction.version, exchange.caller)
                call = await instance.begin(method, sent, has_progress=has_progress, headers=headers)
                return await Conversation(call, exchange, deadline, None).result()

            result = await run_rounds(send, params, exchange, deadline)
            instance.answered()
            return self._bound(result, seat, exchange)
        except LinkError as error:
            instance.report(error)
            raise
        finally:
            visit.leave()

    async def _converse(
        self, call: Call, visit: Visit, method: str, params: Json, exchange: Exchange, deadline: Deadline
    ) -> Json:
        def park(call: Call, question: Json) -> Json | None:
            about = fingerprint(method, params)
            parked = self._parking.park(call, question, exchange.caller, about, visit)
            visit.is_kept = parked is not None
            return parked

        is_stateless = exchange.caller.era is Era.STATELESS
        try:
            result = await Conversation(call, exchange, deadline, park if is_stateless else None).result()
        except RpcError:
            visit.instance.answered()
            raise
        visit.instance.answered()
        return result

    def _taken_up(self, method: str, params: Json, exchange: Exchange) -> Parked | None:
        if "requestState" not in params:
            return None
        return self._parking.take(params, exchange.caller, fingerprint(method, params))

    async def _go_on(
        self, parked: Parked, method: str, params: Json, exchange: Exchange, deadline: Deadline
    ) -> Json:
        visit = parked.visit
        visit.is_kept = False
        try:
            await parked.call.answer(answer_of(parked, params))
            return await self._converse(parked.call, visit, method, params, exchange, deadline)
        finally:
            if not visit.is_kept:  # else it has been parked again
                parked.call.drop()
            visit.leave()

    def _bound(self, result: Json, seat: Seat, exchange: Exchange) -> Json:
        """Return the result as the client's era has it; one that asks is bound to its instance."""
        if exchange.caller.era is Era.HANDSHAKE:
            result.pop("resultType", None)
        elif is_question(result) and isinstance(state := result.get("requestState"), str):
            self._states[_state_key(exchange.caller, state)] = seat
            while len(self._states) > _STATES:
                self._states.popitem(last=False)
        return result


def _state_key(caller: Caller, state: str) -> bytes:
    """Return what a state of a server's is known by: servers may give one to many clients, and long ones."""
    text = json.dumps([caller.principal, caller.session, state])
    return hashlib.sha256(text.encode("ascii")).digest()
