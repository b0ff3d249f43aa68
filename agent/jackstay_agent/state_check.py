"""One look at one part of one account: the venue is asked, the three pictures are compared, doubts are settled.

A look at orders takes the lists of all order families and the fills since the last look, compares, waits a moment if
anything is in doubt, asks about the doubtful orders one by one, and only then says what is wrong. A source that did not
answer makes the part `unverifiable`. What the agent could not know it learns; what it should have known is told.

Refuses to decide what is done about it (state_mend.py) and when to look (core/check_schedule).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from .account.books import Books
from .account.bot_doubts import BotDoubts
from .account.bot_views import BotViews, Report
from .account.file import AccountFile
from .account.fills import Fills
from .account.intake import Intake
from .account.pulling import Pulling, Silence
from .core.account import OVER, Holding, Order, Stage
from .core.discrepancy import Discrepancy, Kind
from .core.holdings import Held, described, differing
from .core.order_moves import Move, judge
from .core.reconcile import (
    BotView,
    Doubt,
    Look,
    compare_bot,
    doubts,
    lost_at_venue,
    orphan,
    settle,
)
from .state_settings import AccountSettings, StateSettings
from .venues.operations import Operations

LOOKS_AT_HOLDINGS = 3
STRANGERS_MAX = 4_096
BEHIND_MAX = 5  # pauses for a stream that lags; then what it has not told counts as not told


@dataclass(slots=True)
class Parts:
    """What a look works with. ``pause(s)`` waits; ``wait(future)`` awaits the file's thread.

    ``journal(venue, client id)`` is the bot that the outbox says placed it, "" for nobody.
    """

    books: Books
    views: BotViews
    fills: Fills
    doubts: BotDoubts
    intake: Intake
    pulling: Pulling
    file: Callable[[], AccountFile | None]
    settings: StateSettings
    account: AccountSettings
    prefixes: Callable[[Operations], tuple[str, ...]]
    clock: Callable[[], float]
    wall_ms: Callable[[], int]
    pause: Callable[[float], Awaitable[None]]
    wait: Callable[..., Any]
    journal: Callable[[str, str], str]


class Checks:
    """Looks at the parts of the accounts."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self.marks: dict[str, int] = {}
        self.foreign: dict[str, int] = {}
        self._strangers: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self.learned = 0
        self._named = False

    # ---- orders and fills

    async def orders(self, operations: Operations) -> list[Discrepancy]:
        """All families of one venue, and the fills since the last look."""
        p, venue = self._p, operations.profile.name
        stream = p.intake.streams.get(venue)
        up_since = stream.up_since if stream is not None else None
        look = Look(p.clock(), p.settings.settle_s, _lag_s(operations), p.intake.told(venue))
        listed = await p.pulling.open_orders(operations)
        if isinstance(listed, Silence):
            return [unverifiable("orders", venue, listed.why)]
        own, suspects = await self.sort_out(operations, listed)
        fills = await self.pull_fills(operations)
        known = {id(each): each for each in p.books.live(venue)}
        known |= {id(each): each for shown in own if (each := p.books.find(shown)) is not None}
        in_doubt = doubts(known.values(), own, look)
        if in_doubt or suspects or p.fills.waiting:
            await self.settled_down(venue)
        self._named = False
        found = await self._settled(operations, in_doubt, look)
        if self._named and not fills:  # trades of an order whose id was not known could not be called its own
            fills = await self.pull_fills(operations)
            await self.settled_down(venue)
        found += await self._orphans(operations, suspects)
        found += await p.fills.judge()
        found += fills
        found += self._fill_sums(operations, look) if not fills else []
        found += await self.bots(operations, look)
        found += [each for each in p.books.impossible.values() if each.venue == venue]
        if stream is not None and stream.up_since is not None and stream.up_since == up_since:
            stream.complete = True
        return found

    async def settled_down(self, venue: str) -> None:
        """The pause after which a difference means something: longer while the stream is behind, but bounded."""
        for _ in range(BEHIND_MAX):
            await self._p.pause(self._p.settings.settle_s)
            if not self._p.intake.behind(venue, self._p.settings.settle_s / 2):
                return

    async def sort_out(self, operations: Operations, listed: list[Order]) -> tuple[list[Order], list[Order]]:
        """The venue's open orders: those we know, and those that look like ours and that nobody knows."""
        p, venue = self._p, operations.profile.name
        own: list[Order] = []
        suspects: list[Order] = []
        foreign = 0
        prefixes = p.prefixes(operations)
        for order in listed:
            entry = p.books.entry(order)
            file = p.file()
            if entry is None and file is not None and order.client_id:
                kept = await p.wait(file.find_order(venue, order.client_id, order.venue_id))
                if kept is not None and kept.venue_id in ("", order.venue_id):
                    p.books.recall(kept)
                    entry = p.books.entry(order)
            if entry is None and (bot_id := self._journaled(order)):
                p.books.adopt(replace(order, bot_id=bot_id))  # its evidence was lost; the journal was not
                entry = p.books.entry(order)
            if entry is not None:
                if not entry.order.venue_id or entry.order.stage is Stage.REQUESTED:
                    p.books.hear(order)  # the list is the first to say its id
                own.append(order)
            elif prefixes and order.client_id.startswith(prefixes):
                suspects.append(order)
            else:
                foreign += 1
        self.foreign[venue] = foreign
        return own, suspects

    def _journaled(self, order: Order) -> str:
        """Whose it is by the outbox; looked for once, because that reads its file."""
        key = (order.venue, order.client_id, order.venue_id)
        if not order.client_id or key in self._strangers:
            return ""
        bot_id = self._p.journal(order.venue, order.client_id)
        if not bot_id:
            self._strangers[key] = None
            if len(self._strangers) > STRANGERS_MAX:
                self._strangers.popitem(last=False)
        return bot_id

    async def _settled(self, operations: Operations, in_doubt: list[Doubt], look: Look) -> list[Discrepancy]:
        p, found = self._p, list[Discrepancy]()
        questions = 0
        for doubt in in_doubt:
            now_known = p.books.find(doubt.known)
            if now_known is None or _cleared(doubt, now_known, look):
                continue
            if questions >= p.settings.questions_max:
                why = f"{len(in_doubt)} orders are in doubt, {questions} were asked about in this look"
                return [*found, unverifiable("orders", operations.profile.name, why)]
            questions += 1
            answer = await self.asked(operations, now_known)
            if isinstance(answer, Silence):
                found.append(unverifiable("orders", operations.profile.name, answer.why, subject=now_known.name))
                continue
            self._named = p.books.identify(answer) or self._named
            settled = settle(doubt, p.books.find(doubt.known), answer, look)
            if settled.learn is not None:
                self.learned += 1
                p.books.hear(settled.learn)
            if settled.found is not None:
                found.append(settled.found)
        return found

    async def asked(self, operations: Operations, order: Order) -> Order | Silence:
        """What the venue says of one order; "no such order" only when it said so often enough."""
        p = self._p
        family = order.family or next(iter(operations.families), "")
        patience = operations.lookup(family).patience
        answer = await p.pulling.order(operations, order)
        for _ in range(patience.not_found_needed - 1):
            if isinstance(answer, Silence) or answer.stage is not Stage.ABSENT:
                break
            await p.pause(patience.spacing_s)
            answer = await p.pulling.order(operations, order)
        return answer

    async def _orphans(self, operations: Operations, suspects: list[Order]) -> list[Discrepancy]:
        p, found = self._p, list[Discrepancy]()
        for order in suspects[: p.settings.questions_max]:
            if p.books.entry(order) is not None:
                continue  # its request was under way
            answer = await p.pulling.order(operations, order)
            if isinstance(answer, Silence):
                found.append(unverifiable("orders", order.venue, answer.why, subject=order.name))
            elif answer.stage is Stage.OPEN and p.books.entry(order) is None:
                found.append(orphan(answer))
        return found

    # ---- fills

    async def pull_fills(self, operations: Operations) -> list[Discrepancy]:
        """Trades since the last pull, written down; what is wrong with asking, if anything is."""
        p, venue = self._p, operations.profile.name
        if not operations.has("fills_since"):
            return []
        for scope, given in self._scopes(operations):
            mark = f"fills {venue} {scope}"
            asked_ms = p.wall_ms()
            since_ms = self.marks.get(mark, asked_ms - int(p.settings.fills_back_s * 1000))
            told = p.intake.told(venue)
            fills = await p.pulling.fills(operations, since_ms, **given)
            if isinstance(fills, Silence):
                return [unverifiable("orders", venue, fills.why, subject="fills")]
            await p.fills.pulled(fills, told)
            self.marks[mark] = max(since_ms, asked_ms - int(p.settings.fills_overlap_s * 1000))
            file = p.file()
            if file is not None:
                await p.wait(file.mark(mark, self.marks[mark]))
        return []

    def look_back(self, venue: str, symbol: str, to_ms: int) -> None:
        """The next pull of fills begins no later than this."""
        for mark in self.marks:
            if mark in (f"fills {venue} {symbol}", f"fills {venue} ") or mark.startswith(f"fills {venue} category="):
                self.marks[mark] = min(self.marks[mark], to_ms)

    def _scopes(self, operations: Operations) -> list[tuple[str, dict[str, str]]]:
        wanted = operations.wants("fills_since")
        if "symbol" in wanted:
            symbols = sorted(self._p.books.symbols(operations.profile.name))
            return [(symbol, {"symbol": symbol}) for symbol in symbols]
        found: dict[str, dict[str, str]] = {}
        for sweep in operations.sweeps:
            given = {name: value for name, value in sweep.items() if name in wanted}
            found[",".join(f"{name}={value}" for name, value in sorted(given.items()))] = given
        return list(found.items())

    def _fill_sums(self, operations: Operations, look: Look) -> list[Discrepancy]:
        """Orders whose filled amount is more than the trades the venue lists."""
        p, venue, found = self._p, operations.profile.name, list[Discrepancy]()
        if not operations.has("fills_since"):
            return []
        for entry in p.books.entries():
            order = entry.order
            if order.venue != venue or not entry.begun or not order.filled or entry.filled >= order.filled:
                continue
            if order.changed_at > look.asked_at - look.lag_s - p.settings.settle_s:
                continue
            why = f"{order.filled} is filled, the listed trades are {entry.filled}"
            found.append(
                Discrepancy(
                    Kind.FILL_MISSING,
                    "orders",
                    venue,
                    order.name,
                    why,
                    "venue",
                    order.symbol,
                    order.bot_id,
                    float((order.filled - entry.filled) / order.filled),
                )
            )
            self.look_back(venue, order.symbol, p.wall_ms() - int(p.settings.fills_back_s * 1000))
        return found

    # ---- bots

    async def bots(self, operations: Operations, look: Look) -> list[Discrepancy]:
        """What bots reported of their orders, against what is proven."""
        p, venue, found = self._p, operations.profile.name, list[Discrepancy]()
        differ, strangers_of = self._against_bots(venue, look)
        p.doubts.lasting(venue, differ)
        if p.doubts.fresh(venue):
            await self.settled_down(venue)
            differ, strangers_of = self._against_bots(venue, look)
        found += p.doubts.lasting(venue, differ)
        for view, strangers in strangers_of:
            if self._is_stale(view, p.books.of_bot(venue, view.bot_id)):
                found.append(stale(view.bot_id, "orders", venue))
                continue
            for claimed in strangers[: p.settings.questions_max]:
                if view.at > look.asked_at - look.lag_s:
                    break  # too fresh for the venue to have to know it
                answer = await self.asked(operations, claimed)
                if isinstance(answer, Silence):
                    found.append(unverifiable("orders", venue, answer.why, subject=claimed.name))
                elif answer.stage is Stage.ABSENT:
                    found.append(lost_at_venue(claimed, view))
        return found + [each for each in p.views.regressions.values() if each.venue == venue]

    def compare_now(self, venue: str) -> list[Discrepancy]:
        """Bots' pictures against the agent's, without a question to anybody (an incremental look)."""
        p = self._p
        look = Look(p.clock(), p.settings.settle_s, 0.0, p.intake.told(venue))
        found = p.doubts.lasting(venue, self._against_bots(venue, look)[0])
        return found + [each for each in p.views.regressions.values() if each.venue == venue]

    def _against_bots(self, venue: str, look: Look) -> tuple[list[Discrepancy], list[tuple[BotView, list[Order]]]]:
        """All that differs now from what bots reported, and each report with those of its orders nobody knows here."""
        p, differ, strangers = self._p, list[Discrepancy](), list[tuple[BotView, list[Order]]]()
        for view in p.views.orders(venue):
            proven = p.books.of_bot(venue, view.bot_id)
            wrong, unknown = ([], []) if self._is_stale(view, proven) else compare_bot(view, proven, look)
            differ += wrong
            strangers.append((view, unknown))
        return differ, strangers

    def _is_stale(self, view: BotView, proven: list[Order]) -> bool:
        age_max = self._p.settings.bot_view_max_age_s
        if not age_max or view.at > self._p.clock() - age_max:
            return False
        return any(each.changed_at > view.at for each in proven)

    # ---- holdings

    async def holdings(self, kind: str, operations: Operations) -> list[Discrepancy]:
        """Balances or positions: what the streams told, and what bots reported, against what the venue says."""
        p, venue = self._p, operations.profile.name
        component = "balances" if kind == "balance" else "positions"
        if not operations.has(component) or (kind == "balance" and not p.account.exclusive):
            return []
        gaps: dict[tuple[str, str, str], tuple[Decimal, Decimal]] = {}
        told = p.intake.told(venue)
        for number in range(LOOKS_AT_HOLDINGS):
            pulled = await (p.pulling.balances if kind == "balance" else p.pulling.positions)(operations)
            if isinstance(pulled, Silence):
                return [unverifiable(component, venue, pulled.why)]
            theirs = {each.key: each for each in pulled}
            sides = self._sides(kind, component, venue, told)
            now_apart = {
                (whose, *name): _gap(mine.get(name), theirs.get(name))
                for whose, (mine, whole) in sides.items()
                for name in differing(mine, theirs, p.settings.tolerance, complete=whole)
            }
            lasting = [key for key, gap in now_apart.items() if gaps.get(key) == gap]
            if lasting or not now_apart:
                if not any(whose == "agent" for whose, *_name in lasting):
                    p.books.hold(kind, venue, pulled, whole=True)
                return [
                    described(kind, (name, part), sides[whose][0], theirs, whose=whose.split()[0], bot_id=_bot(whose))
                    for whose, name, part in lasting
                ]
            gaps = now_apart
            if number < LOOKS_AT_HOLDINGS - 1:
                await p.pause(p.settings.settle_s)
        return []  # they move with the trading: no two looks showed the same difference

    def _sides(self, kind: str, component: str, venue: str, told: bool) -> dict[str, tuple[Held, bool]]:
        """The pictures that claim something now, by whose they are; whether each names all there is."""
        p = self._p
        sides: dict[str, tuple[Held, bool]] = {}
        if told:
            sides["agent"] = (dict(p.books.holdings.get((kind, venue), {})), False)
        if p.account.exclusive:
            for report in p.views.of(component, venue):
                if not self._is_old(report):
                    sides[f"bot {report.bot_id}"] = ({each.key: each for each in report.held}, report.complete)
        return sides

    def _is_old(self, report: Report) -> bool:
        """Holdings change with every trade: a report from before the last change says nothing about now."""
        changed = max((each.changed_at for each in self._p.books.of_bot(report.venue, report.bot_id)), default=0.0)
        return changed > report.at


def _cleared(doubt: Doubt, now_known: Order, look: Look) -> bool:
    """The agent's own picture caught up while it waited."""
    if doubt.listed is None:
        return now_known.stage in OVER
    return judge(now_known, doubt.listed, look.settle_s)[0] in (Move.SAME, Move.OLD)


def _lag_s(operations: Operations) -> float:
    return max((each.visibility_delay_s for each in operations.families.values()), default=0.0)


def _gap(mine: Holding | None, theirs: Holding | None) -> tuple[Decimal, Decimal]:
    """How far apart, and where we stand: trades of one size that are under way make equal gaps, but we move between."""
    here = mine.total if mine else Decimal(0)
    return here - (theirs.total if theirs else Decimal(0)), here


def _bot(whose: str) -> str:
    return whose.partition(" ")[2]


def unverifiable(component: str, venue: str, why: str, *, subject: str = "") -> Discrepancy:
    """It could not be looked at: never "consistent"."""
    return Discrepancy(Kind.UNVERIFIABLE, component, venue, subject or component, why, "venue")


def stale(bot_id: str, component: str, venue: str) -> Discrepancy:
    why = "the bot has not reported since its orders changed"
    return Discrepancy(Kind.STALE_VIEW, component, venue, f"report of {bot_id}", why, "bot", bot_id=bot_id)
