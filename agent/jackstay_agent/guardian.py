"""Acts on a bot's orders in its stead, within what the operator armed: the watchdog's hands (DESIGN §5 Protection).

Holds queued entries in the outbox; cancels open orders one by one, nearest the market first, through the de-risking
lane. What is open is asked of the venue; where it does not answer, what the evidence shows as open is cancelled all the
same, because a cancel by id harms nothing. It goes on until the venue shows none of these classes any more, looks again
while the bot stays as it is (an order under way may arrive late), and stops when the watchdog says so.

Touches only what is proved to be the bot's own (`OwnOrders`), and nothing of the classes that protection never reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from jackstay_protocols.errors import Lane, ValidationError
from jackstay_protocols.types import OrderClass

from .core.event_sink import EventSink
from .core.intent import State
from .core.modes import ADMITS, Mode
from .core.protection import NEVER_CANCELLED, HoldScope, OpenOrder, choose
from .flight import Flight, Reply
from .outbox import Intent, OpenIntent, Outbox

WAYS_OUT = ADMITS[Mode.CONSERVATIVE]
AT_ONCE_MAX = 8  # cancels under way at once: a storm is paced by the venue's limits, not by a burst of ours
CONFIRM_AFTER_S = 0.1  # lists lag behind cancels
RETRY_FIRST_S = 0.25
RETRY_MAX_S = 5.0
LOOK_AGAIN_S = 10.0
NAMES_MAX = 200  # in one event


@dataclass(frozen=True, slots=True)
class Found:
    """A bot's open orders; ``silent``: venues that did not answer, with the reason. Theirs are from the evidence.

    ``powerless``: venues where nothing can be cancelled, with the reason; ``out_of_reach``: its orders there, as far
    as the evidence shows.
    """

    orders: list[OpenOrder]
    silent: dict[str, str] = field(default_factory=dict)
    powerless: dict[str, str] = field(default_factory=dict)
    out_of_reach: list[OpenOrder] = field(default_factory=list)


class OwnOrders(Protocol):
    """Which open orders are proved to be a bot's, and the way to cancel one (own_orders.py)."""

    async def find(self, bot_id: str) -> Found:
        """Asked of every venue where the agent can."""

    async def cancel(self, order: OpenOrder) -> str:
        """Why not; "" when the venue took it, or has nothing open under that id."""

    def known(self, bot_id: str) -> list[OpenOrder]:
        """Open as far as the evidence shows, without asking."""


@dataclass(slots=True)
class Job:
    """The cancelling for one bot; ``rung`` is what it waits for between two looks."""

    bot_id: str
    classes: frozenset[OrderClass]
    why: str
    began_at: float
    stopped: bool = False
    rung: Reply[None] | None = None
    cancelled: dict[tuple[str, str, str, str], OpenOrder] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    told: bool = False
    said_powerless: bool = False
    shown: tuple[Found, tuple[OpenOrder, ...]] | None = None  # the latest look: what there is, what of it goes

    def stop(self) -> None:
        """It is no longer wanted: what is not cancelled yet stays."""
        self.stopped = True
        if self.rung is not None:
            self.rung.set(None)


class Guardian:
    """`watchdog.Guard` over the outbox and the bots' own orders. ``wake(seconds, callback)`` gives a timer."""

    def __init__(
        self,
        outbox: Callable[[], Outbox],
        own: OwnOrders,
        *,
        clock: Callable[[], float],
        wake: Callable[[float, Callable[[], None]], Any],
        on_event: EventSink,
    ) -> None:
        self._outbox = outbox
        self._own = own
        self._clock = clock
        self._wake = wake
        self._on_event = on_event
        self._held: dict[str, set[int]] = {}
        self._jobs: dict[str, Job] = {}

    # ---- holding

    def hold(self, bot_id: str, scope: HoldScope, why: str) -> None:
        """Its queued entries stay where they are; exits, hedges and what reduces risk go on."""
        held = self._hold(bot_id, lambda each: each.is_entry and each.order_class not in WAYS_OUT)
        self._on_event("protect.held", {"bot": bot_id, "entries": held, "scope": str(scope), "why": why})

    def _hold(self, bot_id: str, which: Callable[[Intent], bool]) -> int:
        held = self._held.setdefault(bot_id, set())
        for each in self._queued(bot_id):
            if not each.held and which(each.intent) and self._outbox().hold(each.seq, True):
                held.add(each.seq)
        return len(held)

    def release(self, bot_id: str) -> None:
        """Only what was held here: an operator's hold stays."""
        held = self._held.pop(bot_id, set())
        released = [seq for seq in held if self._outbox().hold(seq, False)]
        self._on_event("protect.released", {"bot": bot_id, "entries": len(released)})

    def drop(self, bot_id: str, classes: frozenset[OrderClass], why: str) -> None:
        """What the bot wants cancelled does not leave any more; the outcome waits for the bot like any other."""
        going = [each for each in self._queued(bot_id) if each.intent.order_class in classes - NEVER_CANCELLED]
        done = [each for each in going if self._outbox().drop(each.seq, who=bot_id, why=why) is not None]
        if done:
            names = [each.intent.client_order_id or str(each.seq) for each in done][:NAMES_MAX]
            self._on_event("protect.dropped", {"bot": bot_id, "ids": names, "why": why})

    def _queued(self, bot_id: str) -> list[OpenIntent]:
        """Its orders that have not left, in order."""
        return [
            each
            for each in self._outbox().open_intents()
            if each.state is State.RECORDED and each.intent.lane is Lane.ORDER and each.intent.bot_id == bot_id
        ]

    def holds(self, bot_id: str) -> bool:
        return bool(self._held.get(bot_id))

    def snapshot(self) -> dict[str, list[int]]:
        """What is held here: the queue's own mark does not say by whom."""
        return {bot_id: sorted(held) for bot_id, held in self._held.items() if held}

    def restore(self, kept: Any) -> None:
        """Raises ValidationError if it is damaged, and holds nothing of it then."""
        try:
            self._held = {str(bot_id): {int(seq) for seq in held} for bot_id, held in dict(kept).items()}
        except (TypeError, ValueError) as error:
            raise ValidationError(f"the list of held entries is damaged ({type(error).__name__})") from error

    def open_orders(self, bot_id: str) -> dict[OrderClass, int]:
        counts: dict[OrderClass, int] = {}
        for each in self._own.known(bot_id):
            counts[each.order_class] = counts.get(each.order_class, 0) + 1
        return counts

    # ---- cancelling

    def cancel(self, bot_id: str, classes: frozenset[OrderClass], why: str, *, act: bool) -> None:
        """Begin, or go on with other classes; ``act`` False: look once and tell what it would be."""
        self.stop_cancelling(bot_id)
        job = Job(bot_id, classes, why, self._clock())
        if act:
            self._hold(bot_id, lambda each: each.order_class in classes)  # not sent, to be cancelled a moment later
            self._jobs[bot_id] = job
            self._fly(self._cancelling(job), job)
        else:
            self._fly(self._would_cancel(job), job)

    def stop_cancelling(self, bot_id: str) -> None:
        job = self._jobs.pop(bot_id, None)
        if job is not None:
            job.stop()

    def look_now(self) -> list[str]:
        """The venue may be back: every bot's orders are looked at anew, at once. Which bots these are."""
        for job in self._jobs.values():
            job.shown = None
            if job.rung is not None:
                job.rung.set(None)
        return list(self._jobs)

    def is_clear(self, bot_id: str, venue: str) -> bool:
        """A look since `look_now` showed that nothing is left to cancel there, or nothing is wanted any more."""
        job = self._jobs.get(bot_id)
        if job is None:
            return True
        if job.shown is None:
            return False
        found, going = job.shown
        return venue not in found.silent and not any(each.venue == venue for each in going)

    def status(self) -> dict[str, Any]:
        """What is under way, by bot."""
        return {
            bot_id: {
                "classes": sorted(map(str, job.classes)),
                "cancelled": len(job.cancelled),
                "refused": dict(job.refused),
                "for_s": round(self._clock() - job.began_at, 3),
            }
            for bot_id, job in self._jobs.items()
        }

    async def _would_cancel(self, job: Job) -> None:
        found = await self._own.find(job.bot_id)
        chosen = choose(found.orders, job.classes)
        self._on_event(
            "would.cancel",
            {
                "bot": job.bot_id,
                "why": job.why,
                "ids": _names(chosen.cancel),
                "listed": _names(chosen.listed),
                "silent": found.silent,
                **_powerless(found),
            },
        )

    async def _cancelling(self, job: Job) -> None:
        pause_s = RETRY_FIRST_S
        while not job.stopped:
            found = await self._own.find(job.bot_id)
            chosen = choose(found.orders, job.classes)
            if job.stopped:
                break
            if found.powerless and not job.said_powerless:
                job.said_powerless = True
                self._on_event("protect.powerless", {"bot": job.bot_id, "why": job.why, **_powerless(found)})
            job.shown = (found, chosen.cancel)
            going = _not_again(chosen.cancel, found, job)
            if going:
                job.told = False
                self._tell_plan(job, going, chosen.listed, found)
                await self._cancel_each(job, going)
            elif not found.silent and not found.powerless and not job.told:
                self._tell_done(job, chosen.listed)
            if found.silent or job.refused:
                await self._pause(job, pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)
            else:
                pause_s = RETRY_FIRST_S
                await self._pause(job, CONFIRM_AFTER_S if going else LOOK_AGAIN_S)
        if job.cancelled and not job.told:  # the bot is back before it was done: what it no longer has
            self._on_event("protect.stopped", {"bot": job.bot_id, "cancelled": _names(job.cancelled.values())})

    async def _cancel_each(self, job: Job, orders: tuple[OpenOrder, ...]) -> None:
        """A few at a time, in order; ends when each has its answer or the job is stopped."""
        waiting, under_way, all_done = list(reversed(orders)), [0], Reply[None]()
        job.refused.clear()

        async def one(order: OpenOrder) -> None:
            no = await self._own.cancel(order)
            under_way[0] -= 1
            if no:
                job.refused[order.name] = no
            else:
                job.cancelled[order.key] = order
            fill()

        def fill() -> None:
            while waiting and under_way[0] < AT_ONCE_MAX and not job.stopped:
                under_way[0] += 1
                self._fly(one(waiting.pop()), job)
            if not under_way[0] and (not waiting or job.stopped):
                all_done.set(None)

        fill()
        await all_done
        if job.refused and not job.stopped:
            self._on_event("protect.refused", {"bot": job.bot_id, "orders": dict(list(job.refused.items())[:20])})

    def _tell_plan(self, job: Job, going: tuple[OpenOrder, ...], listed: tuple[OpenOrder, ...], found: Found) -> None:
        new = [each for each in going if each.key not in job.cancelled]
        if not new:
            return  # asked again because the list still shows them
        self._on_event(
            "protect.cancelling",
            {
                "bot": job.bot_id,
                "why": job.why,
                "ids": _names(new),
                "listed": _names(listed),
                "silent": found.silent,
            },
        )

    def _tell_done(self, job: Job, listed: tuple[OpenOrder, ...]) -> None:
        """The venue itself shows none of these classes any more."""
        job.told = True
        self._on_event(
            "protect.done",
            {
                "bot": job.bot_id,
                "cancelled": _names(job.cancelled.values()),
                "count": len(job.cancelled),
                "listed": _names(listed),
                "took_s": round(self._clock() - job.began_at, 3),
            },
        )

    # ---- inside

    async def _pause(self, job: Job, seconds: float) -> None:
        """So long, or until the job is stopped."""
        if job.stopped:
            return
        rung = job.rung = Reply()
        timer = self._wake(seconds, lambda: rung.set(None))
        await rung
        job.rung = None
        timer.cancel()

    def _fly(self, work: Coroutine[Any, Any, None], job: Job) -> None:
        Flight(work, lambda error: self._broken(job, error)).step()

    def _broken(self, job: Job, error: BaseException) -> None:
        """A fault of ours: told, and tried again: the bot's orders are still there."""
        self._on_event("protect.broken", {"bot": job.bot_id, "error": f"{type(error).__name__}: {error}"})
        if self._jobs.get(job.bot_id) is job:
            job.stop()
            again = Job(job.bot_id, job.classes, job.why, self._clock())
            self._jobs[job.bot_id] = again
            self._wake(RETRY_MAX_S, lambda: None if again.stopped else self._fly(self._cancelling(again), again))


def _not_again(orders: tuple[OpenOrder, ...], found: Found, job: Job) -> tuple[OpenOrder, ...]:
    """A venue that took a cancel is asked for it again only if its own list still shows the order: evidence alone does
    not learn of the end, and wave after wave of cancels would spend the reserved share and earn a ban.
    """
    return tuple(each for each in orders if each.venue not in found.silent or each.key not in job.cancelled)


def _powerless(found: Found) -> dict[str, Any]:
    """Why nothing can be cancelled at some venue, and what is known to be open there; nothing: it can everywhere."""
    if not found.powerless:
        return {}
    return {"powerless": found.powerless, "out_of_reach": _names(found.out_of_reach)}


def _names(orders: Any) -> list[str]:
    return [each.name for each in orders][:NAMES_MAX]
