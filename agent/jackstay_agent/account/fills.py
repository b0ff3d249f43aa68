"""A fill's way: written down first, judged after a pause, delivered to its bot until acknowledged, once.

A fill that a pull finds may be on its way on the user stream too, so it is judged only when the stream had time to
bring it. What the bot's own traffic showed (its stream, its orders' replies, its own questions) is not told again; what
it missed is, as a late outcome on bot.sock with the fill's own id, so that neither side can tell it twice. A fill of
somebody else's order is nobody's business here.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote

from jackstay_protocols.errors import Outcome
from jackstay_protocols.messages import FILL_CAUSE, OutcomeNews

from ..core.account import ZERO, Fill
from ..core.discrepancy import Discrepancy, Kind
from .books import Books
from .file import AccountFile, Told

Key = tuple[str, str, str, str]
SEEN_MAX = 20_000
WAITING_MAX = 20_000
RESEND_MAX = 100
PREFIX = "fill/"


class Fills:
    """``wait(future, otherwise)`` awaits what the file's thread answers. ``deliver(bot, news)``: False: away."""

    def __init__(
        self,
        books: Books,
        file: Callable[[], AccountFile | None],
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        settle_s: float,
        deliver_which: str,
        deliver: Callable[[str, OutcomeNews], bool],
        wait: Callable[..., Any],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._books = books
        self._file = file
        self._clock = clock
        self._wall = wall
        self._settle_s = settle_s
        self._which = deliver_which
        self._deliver = deliver
        self._wait = wait
        self._on_event = on_event
        self._streamed: OrderedDict[Key, None] = OrderedDict()
        self._shown: OrderedDict[Key, None] = OrderedDict()
        self._known: OrderedDict[Key, None] = OrderedDict()
        self._to_judge: OrderedDict[Key, tuple[float, Fill, bool]] = OrderedDict()
        self._sums: OrderedDict[tuple[str, str, str], list[Decimal]] = OrderedDict()  # order -> judged, shown
        self.counters = dict.fromkeys(("seen", "pulled", "delivered", "missed", "aliens"), 0)

    # ---- in

    async def pulled(self, fills: Sequence[Fill], told: bool) -> int:
        """What the venue listed; ``told``: a stream was up that should have brought them. How many were new."""
        fresh = [each for each in fills if each.key not in self._known]  # of a list asked for again most are known
        own = [named for each in fresh if (named := self._owned(each)) is not None]
        self.counters["aliens"] += len(fresh) - len(own)
        if not own:
            return 0
        new = await self._write(own, Told.JUDGE)
        judge_at = self._clock() + self._settle_s
        for each in new:
            self._books.traded(each)
            self._to_judge[each.key] = (judge_at, each, told)
        self.counters["pulled"] += len(new)
        while len(self._to_judge) > WAITING_MAX:  # they stay in the file, to be judged at the next start
            self._to_judge.popitem(last=False)
        return len(new)

    async def streamed(self, fill: Fill, *, bot_hears: bool = True) -> None:
        """A user stream told of it."""
        self.counters["seen"] += 1
        _note(self._streamed, fill.key)
        if bot_hears:
            _note(self._shown, fill.key)
        named = self._owned(fill)
        if named is None:
            return
        self._sum(named)[0] += named.quantity
        for each in await self._write([named], Told.TELL if self._which == "all" else Told.NO):
            self._books.traded(each)
            if self._which == "all":
                self._tell(each)

    def shown(self, fills: Sequence[Fill]) -> None:
        """The bot's own question was answered with these."""
        for each in fills:
            _note(self._shown, each.key)

    def shown_filled(self, venue: str, symbol: str, venue_id: str, filled: Decimal | None) -> None:
        """The bot was told how much of this order is filled."""
        if filled and venue_id:  # nothing filled is what an order without a sum has
            sums = self._sums.setdefault((venue, symbol, venue_id), [ZERO, ZERO])
            sums[1] = max(sums[1], filled)
            if len(self._sums) > SEEN_MAX:
                self._sums.popitem(last=False)

    def resume(self, to_judge: Sequence[Fill]) -> None:
        """At start: what an earlier life had written down and not judged. Its stream is unknown now."""
        for each in to_judge:
            self._to_judge[each.key] = (self._clock() + self._settle_s, each, False)

    # ---- judging

    async def judge(self) -> list[Discrepancy]:
        """What has had its time: told to the bot where it missed it; and what the stream should have brought."""
        now = self._clock()
        due = [entry for entry in self._to_judge.values() if entry[0] <= now]
        found: list[Discrepancy] = []
        decided: list[tuple[Fill, Told]] = []
        for _at, fill, told in sorted(due, key=lambda each: (each[1].at_ms or 0, each[1].trade_id)):
            self._to_judge.pop(fill.key, None)
            named = self._owned(fill) or fill
            verdict = self._verdict(named)
            decided.append((named, verdict))
            if told and fill.key not in self._streamed:
                self.counters["missed"] += 1
                found.append(missing(named))
        file = self._file()
        if decided and file is not None:
            await self._wait(file.judged(decided))
        for fill, verdict in decided:
            if verdict is Told.TELL:
                self._tell(fill)
        return found

    def _verdict(self, fill: Fill) -> Told:
        sums = self._sum(fill)
        if fill.key in self._shown:
            return Told.NO
        sums[0] += fill.quantity
        if self._which == "none" or not fill.bot_id:
            return Told.NO
        if self._which == "missed" and sums[0] <= sums[1]:
            return Told.NO  # its amount was in a reply to the bot
        return Told.TELL

    # ---- out

    async def replay(self, bot_id: str) -> int:
        """Tell a bot all it has not acknowledged; how many."""
        file = self._file()
        if file is None:
            return 0
        found = await self._wait(file.uncollected(bot_id, RESEND_MAX), [])
        for each in found:
            self._deliver(bot_id, news_of(each))
        return len(found)

    async def ack(self, bot_id: str, names: Sequence[str]) -> int:
        keys = [key for name in names if (key := key_of(name)) is not None]
        file = self._file()
        if keys and file is not None:
            await self._wait(file.ack(bot_id, keys))
        return len(keys)

    @property
    def waiting(self) -> int:
        return len(self._to_judge)

    # ---- inside

    def _owned(self, fill: Fill) -> Fill | None:
        """With its order's names, if it is one of ours."""
        entry = self._books.of_trade(fill)
        if entry is None:
            return None
        return replace(fill, bot_id=entry.order.bot_id, client_id=fill.client_id or entry.order.client_id)

    async def _write(self, fills: Sequence[Fill], told: Told) -> list[Fill]:
        """Safe before anything is done with them; without a file their newness is only this process's word."""
        fresh = [each for each in fills if each.key not in self._known]
        file = self._file()
        if fresh and file is not None:
            fresh = await self._wait(file.add_fills(fresh, told, self._wall()), fresh)
        for each in fills:
            _note(self._known, each.key)
        return fresh

    def _sum(self, fill: Fill) -> list[Decimal]:
        key = (fill.venue, fill.symbol, fill.venue_id)
        found = self._sums.setdefault(key, [ZERO, ZERO])
        if len(self._sums) > SEEN_MAX:
            self._sums.popitem(last=False)
        return found

    def _tell(self, fill: Fill) -> None:
        self.counters["delivered"] += 1
        heard = self._deliver(fill.bot_id, news_of(fill))
        self._on_event("state.fill_delivered", {**shown_fill(fill), "bot": fill.bot_id, "bot_here": heard})


def _note(kept: OrderedDict[Key, None], key: Key) -> None:
    kept[key] = None
    if len(kept) > SEEN_MAX:
        kept.popitem(last=False)


def missing(fill: Fill) -> Discrepancy:
    """A trade that the stream should have told of."""
    why = "the venue lists a trade that the user stream did not tell"
    views = {"venue": shown_fill(fill)}
    return Discrepancy(
        Kind.FILL_MISSING, "orders", fill.venue, fill.trade_id, why, "agent", fill.symbol, fill.bot_id, 0.0, views
    )


def shown_fill(fill: Fill) -> dict[str, Any]:
    """A fill as plain values; amounts as text."""
    found = {
        "venue": fill.venue,
        "symbol": fill.symbol,
        "trade_id": fill.trade_id,
        "order_id": fill.venue_id,
        "client_order_id": fill.client_id,
        "side": fill.side,
        "price": str(fill.price),
        "quantity": str(fill.quantity),
        "fee": None if fill.fee is None else str(fill.fee),
        "fee_asset": fill.fee_asset,
        "time_ms": fill.at_ms,
        "maker": fill.maker,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def news_of(fill: Fill) -> OutcomeNews:
    name = PREFIX + "/".join(quote(part, safe="") for part in fill.key)
    return OutcomeNews(
        name, fill.client_id, Outcome.OK, body=json.dumps(shown_fill(fill)).encode(), cause=FILL_CAUSE,
        detail="the venue lists this trade",
    )  # fmt: skip


def key_of(name: str) -> Key | None:
    """The fill that an acknowledgement names; None: it names something else."""
    parts = name.removeprefix(PREFIX).split("/")
    if not name.startswith(PREFIX) or len(parts) != 4:
        return None
    venue, symbol, trade_id, venue_id = map(unquote, parts)
    return venue, symbol, trade_id, venue_id
