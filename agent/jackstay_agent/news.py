"""Step 12 for what no reply tells: outcomes reach their bot until its code has them (DESIGN §3 rule 2).

A socket that took a message is no proof that anybody read it (a ROUTER accepts replies for a stopped bot and loses
them: measured). So every outcome stays in the file until the bot acknowledges it, and is told again: at its next hello,
and now and then while it is there. In pages, so that ten thousand of them do not flood a bot that comes back; the
client takes repetitions out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jackstay_protocols.errors import Outcome
from jackstay_protocols.messages import OutcomeNews

from .core.intent import State
from .outbox import Outbox, Uncollected

PAGE = 100  # outcomes told and not acknowledged, at most
REPEAT_S = 5.0  # after that much silence of its acknowledgements they are told again; doubled up to the next line
REPEAT_S_MAX = 120.0

#: How a settled intent is told to a bot.
OUTCOMES = {
    State.DONE: Outcome.OK,
    State.REJECTED: Outcome.REJECTED,
    State.FAILED: Outcome.FAILED,
    State.UNKNOWN: Outcome.UNKNOWN,
    State.ABSENT: Outcome.FAILED,
    State.EXPIRED: Outcome.FAILED,
    State.DROPPED: Outcome.FAILED,
}


@dataclass(slots=True)
class Reader:
    """What one bot was told in this session and has not acknowledged."""

    told: dict[int, None] = field(default_factory=dict)
    more: bool = False  # there were more than a page
    repeat_at: float = 0.0
    pause_s: float = REPEAT_S


class News:
    """``deliver(bot_id, news)`` is False while no such bot is here."""

    def __init__(
        self, outbox: Callable[[], Outbox], *, deliver: Callable[[str, OutcomeNews], bool], clock: Callable[[], float]
    ) -> None:
        self._outbox = outbox
        self._deliver = deliver
        self._clock = clock
        self._readers: dict[str, Reader] = {}
        self.repeated = 0

    def begin(self, bot_id: str) -> int:
        """A bot said hello: it hears from the beginning. How many outcomes wait for it."""
        self._readers[bot_id] = Reader(repeat_at=self._clock() + REPEAT_S)
        return self._tell_more(bot_id)

    def tell(self, bot_id: str, seq: int) -> None:
        """One outcome, now, if its bot is here; later if not, or while it has a page full of unread ones."""
        reader = self._readers.get(bot_id)
        if reader is None:
            return
        if len(reader.told) >= PAGE and seq not in reader.told:
            reader.more = True
            return
        self._send(bot_id, reader, seq)

    def acknowledged(self, bot_id: str) -> None:
        """Its code has some: the next ones follow."""
        reader = self._readers.get(bot_id)
        if reader is None or not (reader.told or reader.more):  # an answered call's own acknowledgement: nearly always
            return
        waiting = self._outbox().is_uncollected
        reader.told = {seq: None for seq in reader.told if waiting(bot_id, seq)}
        reader.pause_s, reader.repeat_at = REPEAT_S, self._clock() + REPEAT_S
        if reader.more and len(reader.told) <= PAGE // 2:
            self._tell_more(bot_id)

    def tick(self) -> None:
        """Now and then: what was told long ago and not acknowledged is told again."""
        now = self._clock()
        for bot_id, reader in list(self._readers.items()):
            if now < reader.repeat_at or not (reader.told or reader.more):
                continue
            reader.pause_s = min(reader.pause_s * 2, REPEAT_S_MAX)
            reader.repeat_at = now + reader.pause_s
            told, reader.told = list(reader.told), {}
            for seq in told:
                if not self._send(bot_id, reader, seq):
                    break
            self.repeated += len(told)
            if reader.more and bot_id in self._readers:
                self._tell_more(bot_id)

    def _tell_more(self, bot_id: str) -> int:
        reader = self._readers[bot_id]
        waiting = self._outbox().uncollected_numbers(bot_id)
        reader.more = False
        for seq in waiting:
            if seq in reader.told:
                continue
            if len(reader.told) >= PAGE:
                reader.more = True
                break
            if not self._send(bot_id, reader, seq):
                break
        return len(waiting)

    def _send(self, bot_id: str, reader: Reader, seq: int) -> bool:
        found = self._outbox().one_uncollected(seq)
        if found is None:
            return True
        if not self._deliver(bot_id, news_of(found)):
            self._readers.pop(bot_id, None)  # it is not here: its next hello begins anew
            return False
        if self._outbox().is_uncollected(bot_id, seq):
            reader.told[seq] = None
        return True


def news_of(one: Uncollected) -> OutcomeNews:
    ending = one.ending
    return OutcomeNews(
        intent=str(one.seq),
        idempotency_key=one.key,
        outcome=OUTCOMES[State(ending.state)],
        status=ending.status or 0,
        body=ending.reply,
        cause=ending.cause or ending.state,
        detail=ending.why,
    )
