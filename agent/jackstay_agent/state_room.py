"""The state monitor's room in the agent: it joins the evidence, the looks and the mending, and keeps their times.

Owns the account's file and its thread, the tasks of the room, and the schedule of looks. What happens between looks is
brought to it: the pipeline's tellings and user streams (`intake`), bots' reports (`report`), acknowledgements. Started
with the agent and stopped before the outbox; without a key of the agent's own it only listens.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from jackstay_protocols.messages import Message

from .account.books import Books
from .account.bot_doubts import BotDoubts
from .account.bot_views import BotViews
from .account.file import AccountFile, Loaded
from .account.fills import PREFIX, Fills
from .account.intake import Intake
from .account.pulling import Pulling
from .config import Config, profiles_of
from .core.account import Order
from .core.check_schedule import CheckSchedule
from .core.discrepancy import Discrepancy, Kind
from .core.event_sink import EventSink
from .flight import landing
from .outbox import Outbox
from .ports import Ports
from .state_check import Checks, Parts, unverifiable
from .state_mend import Mend, Mended
from .state_monitor import StateMonitor
from .transport.http import HttpAnswer, HttpFailure
from .venue_access import VenueAccess
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest

Ask = Callable[[str, OutgoingRequest, float], Coroutine[Any, Any, "HttpAnswer | HttpFailure | None"]]
FLUSH_S = 1.0
CANCEL_AGAIN_S = 0.2
LAG_S = 0.1  # later than this means that the agent itself did not run
PAUSES_MAX = 10
BOT_DIFFERS_S = 1.0  # two streams of one venue are apart by less; a bot's mistake is told within two seconds
RESEND_EVERY_S = 30.0
COMPACT_EVERY_S = 3_600.0
ROWS_PER_LOOK = 5_000
HISTORY_LOADED = 500
UNTOLD = (Kind.STATUS, Kind.QUANTITY, Kind.FILL_MISSING)  # what a stream that lives would have told
VENUE_PARTS = ("orders", "positions", "balances")


class StateRoom:
    """``ask`` carries a signed question (run by callbacks, flight.py); ``tell`` reaches a bot, if it is here."""

    def __init__(
        self,
        config: Config,
        ports: Ports,
        access: VenueAccess,
        *,
        outbox: Callable[[], Outbox],
        ask: Ask,
        tell: Callable[[str, Message], bool],
        bots: Callable[[], Sequence[str]],
        halt: Callable[[str, str], None],
        distrust: Callable[[str, str], object],
        on_event: EventSink,
    ) -> None:
        self._config, self._access, self._outbox, self._ask = config, access, outbox, ask
        clock, wall = ports.clock, ports.wall
        self._clock, self._wall, self._random, self._loop = clock, wall, ports.random.random, ports.loop
        self._store, self._on_event, self._bots = ports.store, on_event, bots
        self._distrust = distrust
        self._profiles = profiles_of(config)
        self._venues = list(dict.fromkeys(section.profile or name for name, section in config.venues.items()))
        self._executor: Executor | None = None
        self._open_executor = ports.open_executor
        self._file: AccountFile | None = None
        self._fault = ""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._comparing: set[str] = set()
        self._row_after = 0
        self._rows_damaged: list[str] = []
        self._queue_seen = {"damaged_rows": 0, "contradictions": 0}
        self.schedule = CheckSchedule(config.state.gap_s)
        self._wake = asyncio.Event()
        self._keep_evidence(tell)
        parts = Parts(
            self.books, self.views, self.fills, self.doubts, self.intake, self.pulling, lambda: self._file,
            config.state, config.account, self._prefixes, clock, lambda: int(wall() * 1000), self._pause, self.wait,
            self._journal,
        )  # fmt: skip
        self.checks = Checks(parts)
        self.mending = Mend(
            parts, self.checks, operations=access.asking, direct=tell, halt=halt, mend_queue=self._mend_queue,
            on_event=on_event,
        )  # fmt: skip
        self.monitor = StateMonitor(config, room=self, on_event=on_event, wall=wall)

    def _keep_evidence(self, tell: Callable[[str, Message], bool]) -> None:
        settings, clock, wall, access = self._config.state, self._clock, self._wall, self._access
        self.books = Books(
            clock=clock,
            live_max=settings.orders_live_max,
            over_max=settings.orders_over_max,
            settle_s=settings.settle_s,
        )
        self.views = BotViews(
            clock=clock, wall=wall, venues=lambda: self._venues, symbol=self._symbol, asset=self._asset
        )
        self.fills = Fills(
            self.books,
            lambda: self._file,
            clock=clock,
            wall=wall,
            settle_s=settings.settle_s,
            deliver_which=settings.deliver_fills,
            deliver=tell,
            wait=self.wait,
            on_event=self._on_event,
        )
        self.doubts = BotDoubts(clock=clock, settle_s=min(settings.settle_s, BOT_DIFFERS_S))
        self.intake = Intake(
            self.books,
            self.fills,
            self.doubts,
            reading=access.reading,
            clock=clock,
            wall=wall,
            soon=self._loop.call_soon,
            spawn=self._spawn,
            on_trigger=self.trigger,
            on_event=self._on_event,
        )
        self.pulling = Pulling(self._carry, clock=clock, within_s=settings.ask_within_s, on_answer=access.answered)

    # ---- start and stop

    def open(self, folder: Path, stamp: str) -> None:
        """Begin to read the file; looks begin when that is done. Nothing that comes meanwhile is lost."""
        self._executor = self._open_executor("state")
        file = AccountFile(folder / "state.sqlite", self._store, self._submit, stamp)
        self._spawn(self._run(file))

    async def close(self) -> None:
        """Stop looking, write what is left, close the file."""
        while self._tasks:
            # again and again: before Python 3.12 wait_for loses a cancellation that meets its own result
            for task in list(self._tasks):
                task.cancel()
            await asyncio.wait(list(self._tasks), timeout=CANCEL_AGAIN_S)
        await self._flush()
        file, self._file = self._file, None
        if file is not None:
            await self.wait(file.close())
        if self._executor is not None:
            self._executor.shutdown()

    async def _run(self, file: AccountFile) -> None:
        loaded = await self.wait(file.open())
        if isinstance(loaded, Loaded):
            self._file = file
            self._take_up(loaded)
            self.monitor.recall(await self.wait(file.results(self._wall() - 86_400.0, HISTORY_LOADED), []))
        self._take_up_journal()
        self.intake.go()
        self._plan()
        self._spawn(self._beat())
        if self._config.state.enabled:
            self._spawn(self.monitor.start_monitoring())

    def _take_up(self, loaded: Loaded) -> None:
        self.books.load(loaded.orders)
        self.checks.marks.update(loaded.marks)
        self.fills.resume(loaded.to_judge)
        if loaded.set_aside:
            self._rows_damaged.append("the whole file")
            self._on_event("state.set_aside", {"moved_to": loaded.set_aside})
        if loaded.damaged:
            self._rows_damaged.append(f"{loaded.damaged} rows")
            self._on_event("state.rows_damaged", {"rows": loaded.damaged})

    def _take_up_journal(self) -> None:
        """Orders that the outbox has open are expected, whatever the evidence's file remembers."""
        for each in self._outbox().open_intents():
            intent = each.intent
            if intent.client_order_id and intent.fields:
                order = Order(
                    intent.venue,
                    intent.symbol,
                    intent.client_order_id,
                    "",
                    intent.family,
                    intent.side,
                    order_class=str(intent.order_class),
                )
                if self.books.find(order) is None:
                    self.books.request(self.intake.expected(order, intent.bot_id))

    def _plan(self) -> None:
        settings, now = self._config.state, self._clock()
        for venue in self._venues:
            operations = self._access.asking(venue)
            if operations is None:
                continue
            for part in VENUE_PARTS:
                told = part != "balances" or self._config.account.exclusive
                if part in settings.components and told and (part == "orders" or operations.has(part)):
                    every = (settings.check_every_s, settings.check_every_streamed_s)
                    self.schedule.add((venue, part), now, *every, self._random())
            self.schedule.add((venue, "fills"), now, settings.fills_every_s, settings.fills_every_streamed_s, 0.5)
            self.schedule.trigger((venue, "orders"), now, "start")
        for part in ("connections", "queue"):
            if part in settings.components:
                self.schedule.add(("", part), now, settings.check_every_s, settings.check_every_s, self._random())

    async def _beat(self) -> None:
        """The room's pulse: dirty pictures to the file, uncollected fills again, compaction."""
        resend_at = compact_at = self._clock()
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()
            now = self._clock()
            if now >= resend_at:
                resend_at = now + RESEND_EVERY_S
                for bot in self._bots():
                    await self.fills.replay(bot)
            if now >= compact_at and self._file is not None:
                compact_at = now + COMPACT_EVERY_S
                settings = self._config.state
                await self.wait(self._file.compact(self._wall() - settings.retention_s, settings.rows_max))

    async def _flush(self) -> None:
        dirty = self.books.take_dirty()
        if dirty and self._file is not None:
            await self.wait(self._file.write_orders(dirty, self._wall()))

    # ---- looking (StateMonitor's Room)

    async def look(self, component: str) -> list[Discrepancy]:
        """``all``, a component, or ``VENUE component`` for one venue's part."""
        found: list[Discrepancy] = []
        for part in self._config.state.components if component == "all" else [component]:
            if part == "queue":
                found += await self._queue()
            elif part == "connections":
                found += self._connections()
            elif not self._venues:
                found.append(unverifiable(part, "", "no venue is configured with a key: nothing can be asked"))
            elif part == "balances" and not self._config.account.exclusive:
                if component != "all":
                    why = "[account] exclusive is not true: what others do to the balances cannot be told apart"
                    found.append(unverifiable(part, "", why))
            else:
                for venue in self._venues:
                    found += await self._venue_part(venue, part)
        return found

    async def _venue_part(self, venue: str, part: str) -> list[Discrepancy]:
        operations = self._access.asking(venue)
        if operations is None:
            return [unverifiable(part, venue, "the agent has no key of its own for this venue")]
        try:
            self.schedule.begun((venue, part), self._clock(), streamed=self.intake.told(venue))
        except KeyError:
            pass  # asked for by hand, not on the schedule
        if part == "orders":
            found = await self.checks.orders(operations)
            untold = [each for each in found if each.kind in UNTOLD and each.whose == "agent"]
            if untold and self.intake.told(venue):
                self._distrust(venue, f"{untold[0].kind} of {untold[0].subject} was not told")
            return found
        return await self.checks.holdings("balance" if part == "balances" else "position", operations)

    async def next_due(self) -> str:
        """Waits until a part is due; fills are pulled on the way."""
        while True:
            now = self._clock()
            for part, _why in self.schedule.due(now):
                venue, name = _named(part)
                streamed = self.intake.told(venue) if venue else False
                self.schedule.begun(part, now, streamed=streamed)
                if name != "fills":
                    return name
                await self._fills_only(venue)
            next_at = self.schedule.next_at()
            self._wake.clear()
            left_s = 60.0 if next_at is None else max(0.01, next_at - self._clock())
            try:
                await asyncio.wait_for(self._wake.wait(), left_s)
            except TimeoutError:
                pass

    async def _fills_only(self, venue: str) -> None:
        operations = self._access.asking(venue)
        if operations is None:
            return
        wrong = await self.checks.pull_fills(operations)
        if self.fills.waiting:
            await self.checks.settled_down(venue)
        found = await self.fills.judge()
        self.monitor.note([*wrong, *found])

    def _connections(self) -> list[Discrepancy]:
        found = []
        for venue, state in self.intake.streams.items():
            if state.up_since is None:
                why = f"the user stream is down ({state.why}): changes are only seen when the venue is asked"
                found.append(Discrepancy(Kind.STALE_VIEW, "connections", venue, "user stream", why))
            elif state.unreadable:
                why = f"{state.unreadable} messages of the user stream could not be read"
                found.append(unverifiable("connections", venue, why, subject="user stream"))
        return found

    async def _queue(self) -> list[Discrepancy]:
        """The journal's and the evidence's own integrity."""
        found = []
        stats = self._outbox().stats()
        totals = stats["totals"]
        for name, kind in (("damaged_rows", Kind.CHECKSUM), ("contradictions", Kind.IMPOSSIBLE_TRANSITION)):
            count = totals.get(name, 0) - self._queue_seen[name]
            if count > 0:
                found.append(Discrepancy(kind, "queue", "", f"outbox {name}", f"{count} in the outbox"))
        if stats.get("fault"):
            found.append(unverifiable("queue", "", f"the outbox cannot be written: {stats['fault']}", subject="outbox"))
        if self._file is None:
            why = self._fault or "it is not open yet"
            found.append(unverifiable("queue", "", f"the account's file cannot be used: {why}", subject="state file"))
        else:
            self._row_after, damaged = await self.wait(self._file.check_rows(self._row_after, ROWS_PER_LOOK), (0, []))
            self._rows_damaged += [each for each in damaged if each not in self._rows_damaged][:100]
        if self._rows_damaged:
            why = f"rows are not what was written: {', '.join(self._rows_damaged[:10])}"
            found.append(Discrepancy(Kind.CHECKSUM, "queue", "", "state file", why))
        return found

    async def mend(
        self, found: Sequence[Discrepancy], *, dry_run: bool = False, cancel_orphans: bool = False
    ) -> Mended:
        whole = Mended()
        for each in found:
            part = await self.mending.one(each, dry_run=dry_run, cancel_orphans=cancel_orphans)
            whole.done += part.done
            whole.failed += part.failed
            whole.planned += part.planned
        return whole

    async def by_policy(self, found: Sequence[Discrepancy]) -> Mended:
        return await self.mending.by_policy(found)

    def facts(self) -> dict[str, Any]:
        return {
            "venues": {
                venue: {
                    "asked": self._access.asking(venue) is not None,
                    "stream": (state := self.intake.streams.get(venue)) is not None and state.up_since is not None,
                    "complete": self.intake.told(venue),
                    "foreign_orders": self.checks.foreign.get(venue, 0),
                }
                for venue in self._venues
            },
            "books": self.books.facts() | {"learned": self.checks.learned, "dropped": self.intake.dropped},
            "fills": dict(self.fills.counters) | {"to_judge": self.fills.waiting},
            "questions": self.pulling.asked,
            "file": self._fault or ("open" if self._file is not None else "closed"),
        }

    def status(self) -> dict[str, Any]:
        """A line for the agent's own status."""
        standing = self.monitor.standing
        kinds: dict[str, int] = {}
        for each in standing:
            kinds[each.kind.value] = kinds.get(each.kind.value, 0) + 1
        return {"standing": len(standing), "kinds": kinds, "checks": self.monitor.checks, **self.facts()}

    def keep(self, result: dict[str, Any]) -> None:
        if self._file is not None:
            self._spawn(self.wait(self._file.add_result(result, self._wall())))

    # ---- between looks

    def report(self, bot_id: str, component: str, state: Mapping[str, Any]) -> dict[str, Any]:
        """A bot's picture; compared at once with what is known here. Raises ValidationError."""
        taken = self.views.report(bot_id, component, state)
        found: list[Discrepancy] = []
        if component == "orders":
            venue = taken.venue if taken is not None else str(state.get("venue") or self._venues[0])
            found = self._compare(venue)
            if any(each.live and self.books.find(each) is None for each in (taken.orders if taken else ())):
                self.trigger(venue, "a bot's report", None)
            if self.doubts.fresh(venue) and venue not in self._comparing:
                self._spawn(self._compare_until_settled(venue))
        elif taken is None:
            self.monitor.note(self.views.regressions.values())
        return {"taken": taken is not None, "discrepancies": len(found)}

    def _compare(self, venue: str) -> list[Discrepancy]:
        """What has differed long enough from what bots reported; what is new of it is told, and acted on."""
        found = self.checks.compare_now(venue)
        new = self.monitor.note(found)
        if new:
            self._spawn(self.by_policy(new))
            self.trigger(venue, "a bot's report", None)
        return found

    async def _compare_until_settled(self, venue: str) -> None:
        self._comparing.add(venue)
        try:
            while self.doubts.fresh(venue):
                await self._pause(self.doubts.settle_s)
                self._compare(venue)
        finally:
            self._comparing.discard(venue)

    def trigger(self, venue: str, why: str, order: Order | None) -> None:
        """Something asks for a look soon: a reconnect, a settled unknown, a barrier, an operator, a stream."""
        now = self._clock()
        if order is not None and order.at_ms is not None:
            self.checks.look_back(venue, order.symbol, order.at_ms - 1000)
        for part in ("orders", "fills"):
            self.schedule.trigger((venue, part), now, why)
        self._wake.set()

    def replay(self, bot_id: str) -> None:
        self._spawn(self.fills.replay(bot_id))

    def ack(self, bot_id: str, names: Sequence[str]) -> None:
        if any(name.startswith(PREFIX) for name in names):
            self._spawn(self.fills.ack(bot_id, names))

    # ---- inside

    def _symbol(self, venue: str, name: str) -> str:
        profile = self._profiles.get(venue)
        return name if profile is None else profile.symbol(name)

    def _asset(self, venue: str, name: str) -> str:
        profile = self._profiles.get(venue)
        return name if profile is None else profile.asset(name)

    def _prefixes(self, operations: Operations) -> tuple[str, ...]:
        """Client ids that are provably of this agent's bots; the minted prefix only where nobody else mints."""
        own = list(self._config.account.client_id_prefixes)
        if self._config.account.exclusive:
            own += [each.client_id.prefix for each in operations.families.values() if each.client_id is not None]
        return tuple(own)

    def _journal(self, venue: str, client_id: str) -> str:
        outbox = self._outbox()
        for seq in outbox.search(client_id, 3):
            story = outbox.story(seq)
            if story is not None and story["intent"]["venue"] == venue and story["intent"]["fields"]:
                return str(story["intent"]["bot_id"])
        return ""

    def _mend_queue(self, each: Discrepancy) -> bool:
        if each.subject == "state file" and each.kind is Kind.CHECKSUM and self._file is not None:
            self._spawn(self.wait(self._file.drop_damaged()))
            self._rows_damaged.clear()
            self._row_after = 0
            return True
        name = each.subject.removeprefix("outbox ")
        if name in self._queue_seen:  # an operator has seen it: the outbox put it aside itself
            self._queue_seen[name] = self._outbox().stats()["totals"].get(name, 0)
            return True
        return False

    async def _carry(
        self, origin: str, question: OutgoingRequest, deadline_at: float
    ) -> HttpAnswer | HttpFailure | None:
        return await landing(self._ask(origin, question, deadline_at), self._loop)

    async def wait(self, future: Future[Any], otherwise: Any = None) -> Any:
        """What the file's thread answers; ``otherwise`` where the disk refused, which is said once."""
        try:
            return await asyncio.wrap_future(future, loop=self._loop)
        except (sqlite3.Error, OSError) as error:
            if not self._fault:
                self._on_event("state.file_failed", {"error": f"{type(error).__name__}: {error}"})
            self._fault = str(error)
            return otherwise

    async def _pause(self, seconds: float) -> None:
        """A pause in which the agent ran: after a stall timers come before sockets, and what waits there counts."""
        for _ in range(PAUSES_MAX):
            began = self._clock()
            await asyncio.sleep(seconds + 0.002)  # uvloop's timers may fire a moment early
            if self._clock() - began < seconds + LAG_S:
                return

    def _submit(self, work: Callable[[], Any]) -> Future[Any]:
        assert self._executor is not None, "the room is opened before its file is used"
        return self._executor.submit(work)

    def _spawn(self, work: Awaitable[Any]) -> None:
        task = self._loop.create_task(_awaited(work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_event("state.broken", {"component": "", "error": f"{type(error).__name__}: {error}"[:300]})


def _named(part: Hashable) -> tuple[str, str]:
    """A part of the schedule: venue ("" for none) and component."""
    assert isinstance(part, tuple), "parts are pairs"
    return str(part[0]), str(part[1])


async def _awaited(work: Awaitable[Any]) -> None:
    await work
