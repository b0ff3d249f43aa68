"""control.sock: an operator's verbs. It keeps working when the data plane is overloaded, because every door's drain
is bounded per loop turn and this one has few callers.

No hello: each command stands alone, and the kernel's word on the caller's uid decides (``allow_uids``). A verb answers
at once, or is a coroutine and answers later, while other commands go on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from jackstay_protocols.codec import decode, encode
from jackstay_protocols.errors import Outcome, ProtocolError, Reason, TradingBotError
from jackstay_protocols.limits import TO_AGENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_AGENT, Command, Done, Message, Refusal

from ..flight import Flight
from .door import DoorLike, PeerCredentials

Verb = Callable[[dict[str, Any], PeerCredentials | None], "dict[str, Any] | Coroutine[Any, Any, dict[str, Any]]"]
UNDER_WAY_MAX = 64  # commands that wait for something; more are refused, so that `status` never waits behind them


class ControlDoor:
    """Verbs by name; each gets its arguments and who asks, and answers with a dict or raises TradingBotError."""

    def __init__(self, verbs: Mapping[str, Verb], *, allow_uids: frozenset[int], own_uid: int) -> None:
        self._verbs = dict(verbs)
        self._own_uid = own_uid
        self._allowed = allow_uids | {own_uid, 0}
        self._door: DoorLike | None = None
        self._under_way = 0

    def attach(self, door: DoorLike) -> None:
        self._door = door

    def add(self, verbs: Mapping[str, Verb]) -> None:
        """Verbs of the process around the agent (its supervisor's, its configuration file's)."""
        self._verbs |= verbs

    def permit(self, allow_uids: frozenset[int]) -> None:
        self._allowed = allow_uids | {self._own_uid, 0}

    def on_frame(self, identity: bytes, frame: bytes) -> None:
        request_id = 0
        try:
            header, message = decode(frame, TO_AGENT, bytes_max=TO_AGENT_FRAME_BYTES_MAX)
            request_id = header.id
            answer = self._answer(identity, request_id, message)
        except ProtocolError as error:
            request_id = int(error.details.get("id", request_id))
            answer = Refusal(str(error.reason), str(error), None, Outcome.FAILED, error.details)
        if answer is not None:
            self._send(identity, request_id, answer)

    def _answer(self, identity: bytes, request_id: int, message: Message) -> Message | None:
        """None: the answer comes later."""
        who = self._door.credentials(identity) if self._door else None
        if who is not None and who.uid not in self._allowed:
            return Refusal(
                Reason.NOT_PERMITTED, f"uid {who.uid} may not steer this agent: add it to [agent] allow_uids"
            )
        if not isinstance(message, Command):
            return Refusal(Reason.UNKNOWN_KIND, f"{type(message).__name__} has no place on control.sock")
        verb = self._verbs.get(message.verb)
        if verb is None:
            known = ", ".join(sorted(self._verbs))
            return Refusal(Reason.BAD_REQUEST, f"unknown command {message.verb!r}; known: {known}")
        try:
            found = verb(message.args, who)
        except TradingBotError as error:
            return _refusal(error)
        if not inspect.iscoroutine(found):
            return Done(found)  # type: ignore[arg-type]
        if self._under_way >= UNDER_WAY_MAX:
            found.close()
            return Refusal(Reason.QUEUE_FULL, f"{UNDER_WAY_MAX} commands are under way, that is the bound", 1.0)
        self._under_way += 1
        flight = Flight(
            self._later(identity, request_id, found), lambda error: self._broken(identity, request_id, error)
        )
        flight.step()
        return None

    async def _later(self, identity: bytes, request_id: int, work: Coroutine[Any, Any, dict[str, Any]]) -> None:
        try:
            answer: Message = Done(await work)
        except TradingBotError as error:
            answer = _refusal(error)
        finally:
            self._under_way -= 1
        self._send(identity, request_id, answer)

    def _broken(self, identity: bytes, request_id: int, error: BaseException) -> None:
        self._send(identity, request_id, Refusal(Reason.INTERNAL, f"a fault of the agent: {type(error).__name__}"))

    def _send(self, identity: bytes, request_id: int, answer: Message) -> None:
        if self._door is not None:
            self._door.send(identity, encode(answer, id=request_id))


def _refusal(error: TradingBotError) -> Refusal:
    return Refusal(
        str(error.reason or Reason.BAD_REQUEST), str(error), error.retry_after_s, Outcome.FAILED, error.details
    )
