"""Step 5 of a request's journey and the end of step 11: what is written down, who waits for it, who is told.

Between the pipeline and the outbox. It makes intents of a bot's placing request (one per order of a batch), asks rule 1
before anything is spent on it, writes them down before the first byte and ends them with the answer. Whoever waits for
an unknown one is woken when it is settled, and the bot is told of what no reply told it (DESIGN §3 rules 1, 2).

Refuses to know how a venue is asked (resolver.py) and what an answer means (core/classify).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from jackstay_protocols.errors import Lane, Outcome, Reason
from jackstay_protocols.messages import OutcomeNews, Post
from jackstay_protocols.messages import Refusal as WireRefusal
from jackstay_protocols.types import OrderClass

from .core.classify import classify_items
from .core.intent import State
from .core.order_class import ClassRules, OrderFacts, classify_order, reduces
from .core.verdict import Verdict
from .flight import Reply
from .gateway.bot_door import Call
from .late_truth import LateTruths
from .news import News, news_of
from .outbox import Admitted, Due, Intent, Outbox, Refusal, Settled, Signed, Uncollected, Wait
from .telling import Telling
from .transport.http import HttpAnswer, HttpFailure
from .upstreams import Way
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest, json_document
from .venues.placing import PlacedOrder

JOURNALED = frozenset({"place", "amend", "replace", "unlisted"})
DERISK_TTL_S_MAX = 5.0


class Begun(NamedTuple):
    """The intents of one request under way, by number, and as they were written down."""

    seqs: tuple[int, ...]
    intents: tuple[Intent, ...]

    @property
    def name(self) -> str:
        """What a response calls it; news about one item of a batch carries that item's own number."""
        return str(self.seqs[0])


class Intents:
    """The outbox as the pipeline and the doors see it. ``deliver(bot_id, news)`` is False while no such bot is here."""

    def __init__(
        self,
        *,
        deliver: Callable[[str, OutcomeNews], bool],
        clock: Callable[[], float],
        equal_window_s: float,
        venue_at: Callable[[str, float], float | None] = lambda _venue, _boot_s: None,
        present: Callable[[], Iterable[str]] = lambda: (),
        class_rules: Callable[[str], ClassRules] = lambda _venue: ClassRules(),
        telling: Telling | None = None,
    ) -> None:
        """``class_rules``: what an operator said of a venue's orders. ``venue_at``: see `Outbox.venue_at`."""
        self._outbox: Outbox | None = None
        self._clock = clock
        self._equal_window_s = equal_window_s
        self._truths = LateTruths()
        self.news = News(lambda: self.outbox, deliver=deliver, clock=clock)
        self._venue_at = venue_at
        self._present = present
        self._class_rules = class_rules
        self._hook = telling or Telling()
        self._waiting: dict[int, list[Reply[Settled]]] = {}
        self._telling: set[int] = set()  # a call that still runs will tell these itself
        self._left: set[int] = set()  # of these: whose caller has left

    def attach(self, outbox: Outbox) -> None:
        """The outbox is opened at start, after the agent's lock is held; before that nothing is taken."""
        self._outbox = outbox
        outbox.on_late_file = self._file_came
        outbox.venue_at = self._venue_at
        self._note_found(outbox)

    def _note_found(self, outbox: Outbox) -> None:
        for seq, intent in outbox.found_late():
            self._truths.note(intent, seq, self._clock() + self._equal_window_s)

    def _file_came(self) -> None:
        """What a file that could not be read at the start holds: its bots said hello before anybody knew of it."""
        self._note_found(self.outbox)
        for bot_id in self._present():
            self.replay(bot_id)

    @property
    def outbox(self) -> Outbox:
        if self._outbox is None:
            raise RuntimeError("the outbox is not open: start the agent first")
        return self._outbox

    # ---- before the first byte

    def read(self, call: Call, way: Way, operations: Operations | None) -> tuple[Intent, ...]:
        """What is to be written down for this request; empty for what needs no journal. A posted one always does."""
        request = call.message
        if way.route.kind not in JOURNALED and not isinstance(request, Post):
            return ()
        outgoing = OutgoingRequest(request.method, way.target.decode("ascii"), request.headers, request.body)
        placed = _placed(operations, outgoing)
        if call.asked is not None:
            call.asked.orders = placed  # read once: whoever listens need not do it again
        late_s = placed[0].late_s if placed else None
        if request.sign and late_s is not None:
            late_s = way.upstream.profile.data.signing.recv_window_ms / 1000
        common: dict[str, Any] = {
            "bot_id": call.peer.session.bot_id,
            "connection_id": way.upstream.origin,
            "lane": way.route.lane,
            "method": request.method,
            "target": outgoing.target,
            "body": request.body,
            "request_id": str(call.id),
            "venue": way.upstream.profile.name,
            "operation": way.route.kind,
            "repeatable": way.route.kind == "cancel",
            "signed": Signed.AGENT if request.sign else Signed.BOT,
            "recv_window_s": late_s,
        }
        rules = self._class_rules(way.upstream.profile.name)
        facts = [_facts(order, request.tag) for order in placed]
        if placed and way.route.kind == "place" and all(reduces(each) for each in facts):
            common["lane"] = Lane.DERISK  # the venue itself keeps it from enlarging anything (DESIGN §3 rule 4)
        if isinstance(request, Post):
            # a sweep of later means other orders than the one that was meant, a close another position (rule 4)
            brief = common["lane"] is Lane.DERISK and way.route.kind != "cancel"
            common["ttl_s"] = min(request.ttl_s, DERISK_TTL_S_MAX) if brief else request.ttl_s
        told = classify_order(OrderFacts("", request.tag), rules)
        bare = Intent(key=request.idempotency_key, order_class=told, **common)
        return tuple(
            _item(bare, item, order, classify_order(facts[item], rules)) for item, order in enumerate(placed)
        ) or (bare,)

    def mint(self, operations: Operations, order: PlacedOrder) -> str:
        """A client order id nobody has had, in the venue's form; "" if the order has one or its family takes none."""
        rule = operations.families[order.family].client_id
        return "" if order.client_id or rule is None else self.outbox.mint(rule.prefix)

    def stand(self, intents: Sequence[Intent]) -> Refusal | Wait | None:
        """Rule 1 before a permit or a place in a budget is taken."""
        wait: Wait | None = None
        for each in intents:
            if not each.fields:
                continue
            no = self.outbox.equal_unknown(each.venue, each.symbol, each.side, each.fields, is_entry=each.is_entry)
            if isinstance(no, Refusal):
                return no
            wait = wait or no
        return wait

    def late_truth(self, intent: Intent) -> Uncollected | None:
        """The outcome of an equal order that this bot believes unknown and that exists; told once (late_truth.py)."""
        if not self._truths or not intent.fields:
            return None
        seq = self._truths.take(intent, self._clock())
        if seq is None or not self.outbox.is_uncollected(intent.bot_id, seq):
            return None
        return self.outbox.one_uncollected(seq)

    def has_late_truth(self, intents: Sequence[Intent]) -> bool:
        """Whether an equal of one of these is known to exist, and the bot has not been told."""
        return any(each.fields and self._truths.holds(each, self._clock()) for each in intents)

    def late_truths(self, intents: Sequence[Intent]) -> list[Uncollected]:
        """The same for each order of a batch."""
        return [found for each in intents if (found := self.late_truth(each)) is not None]

    async def mark(self, due: Due, operations: Operations | None) -> Begun | Refusal | Wait:
        """What was queued is about to leave: written down, with the other orders of its batch, if this is `Begun`."""
        first = due.intent
        placed = _placed(operations, OutgoingRequest(first.method, first.target, [], first.body))
        bare = msgspec.structs.replace(first, key="", ttl_s=None)
        rules = self._class_rules(first.venue)
        classes = [classify_order(_facts(order, ""), rules) for order in placed]
        others = tuple(
            _item(bare, item, order, first.order_class if classes[item] is OrderClass.UNKNOWN else classes[item])
            for item, order in enumerate(placed)
        )[1:]
        no = self.stand(others)
        if no is not None:
            return no
        durable: Reply[BaseException | None] = Reply()
        admitted = self.outbox.mark_in_flight(due.seq, durable.set)
        if isinstance(admitted, (Refusal, Wait)):
            return admitted
        fault = None if admitted.durable else await durable
        if fault is not None:  # it stands in the queue again
            return Refusal(Reason.DISK, f"the outbox cannot write ({fault})")
        if not others:
            return Begun((due.seq,), (first,))
        written = await self.begin(others)
        if not isinstance(written, Begun):
            self.outbox.put_back(due.seq)
            return written
        self._telling.difference_update(written.seqs)
        return Begun((due.seq, *written.seqs), (first, *others))

    async def begin(self, intents: tuple[Intent, ...]) -> Begun | Refusal | Wait:
        """In the journal, and on the disk where that was asked for, when this returns `Begun`."""
        if (venue_s := self._venue_at(intents[0].venue, self._clock())) is not None:
            intents = tuple(msgspec.structs.replace(each, venue_s=venue_s) for each in intents)
        durable: Reply[BaseException | None] = Reply()
        admitted = self.outbox.begin_batch(intents, durable.set)
        if isinstance(admitted, (Refusal, Wait)):
            return admitted
        if not all(each.durable for each in admitted):
            fault = await durable
            if fault is not None:
                return Refusal(Reason.DISK, f"the outbox cannot write ({fault}); nothing was sent", 2.0)
        return self._under_way(admitted, intents)

    def _under_way(self, admitted: Sequence[Admitted], intents: tuple[Intent, ...]) -> Begun:
        seqs = tuple(each.seq for each in admitted)
        self._telling.update(seqs)
        return Begun(seqs, intents)

    # ---- after the answer

    def finish(self, begun: Begun, verdict: Verdict, result: HttpAnswer | HttpFailure, table: str) -> bool:
        """What the answer says of each intent; a batch may be partly accepted. False if one of them is unknown."""
        return all(settled is None or settled.final for settled in self._finish(begun, verdict, result, table))

    def finish_queued(self, begun: Begun, verdict: Verdict, result: HttpAnswer | HttpFailure, table: str) -> None:
        """The same for what nobody waits for: its bot is told."""
        for intent, settled in zip(begun.intents, self._finish(begun, verdict, result, table), strict=True):
            if settled is not None and settled.final:
                self._hook.settled(intent, settled)
                self._tell(intent.bot_id, settled.seq)

    def _finish(
        self, begun: Begun, verdict: Verdict, result: HttpAnswer | HttpFailure, table: str
    ) -> list[Settled | None]:
        answered = isinstance(result, HttpAnswer)
        outcomes = [verdict.outcome] * len(begun.seqs)
        if len(begun.seqs) > 1 and isinstance(result, HttpAnswer):
            outcomes = _item_outcomes(result, table, len(begun.seqs), verdict)
        found = []
        for seq, intent, outcome in zip(begun.seqs, begun.intents, outcomes, strict=True):
            settled = self.outbox.finish(
                seq,
                outcome,
                status=result.status if isinstance(result, HttpAnswer) else None,
                reply=result.body if answered and isinstance(result, HttpAnswer) else b"",
                cause=str(verdict.cause),
            )
            if settled is not None and settled.final:
                if seq in self._left:
                    self._note_truth(intent, settled)
                self._wake(settled)
            found.append(settled)
        return found

    def give_up(self, seq: int, bot_id: str, cause: str, why: str) -> None:
        """A queued one that may not leave at all: provably nothing was sent."""
        if self.outbox.state(seq) is not State.RECORDED:
            return
        intent, settled = self.outbox.intent(seq), self.outbox.finish(seq, Outcome.FAILED, cause=cause, why=why)
        if settled is not None and settled.final:
            self._wake(settled)
            self._hook.settled(intent, settled)
            self._tell(bot_id, seq)

    def lost_sight(self, seq: int) -> None:
        """A fault of ours while it was under way: nobody knows what became of it, the venue will be asked."""
        if self.outbox.state(seq) is State.IN_FLIGHT:
            self.outbox.finish(seq, Outcome.UNKNOWN, cause=Reason.INTERNAL)

    def unsent(self, begun: Begun, why: str) -> None:
        """Written down, and then not sent after all."""
        for seq in begun.seqs:
            settled = self.outbox.finish(seq, Outcome.FAILED, cause=Reason.EXPIRED, why=why)
            if settled is not None and settled.final:
                self._wake(settled)
        self.told(begun, heard=False)

    def left(self, begun: Begun) -> None:
        """The caller left while these are under way: to its bot they are unknown, an equal order would be a twin."""
        self._left.update(begun.seqs)
        self.outbox.left(begun.seqs)

    def told(self, begun: Begun, *, heard: bool = True) -> None:
        """The call was answered: what comes later about these is late news. ``heard`` False: its caller had left, so
        the answer itself is.
        """
        self._telling.difference_update(begun.seqs)
        self._left.difference_update(begun.seqs)
        for seq, intent in zip(begun.seqs, begun.intents, strict=True):
            if not heard:
                self._never_heard(seq, intent)

    def unheard(self, bot_id: str, name: str) -> None:
        """The answer with this intent came when its caller had just left."""
        intent = self.outbox.written(int(name))
        if intent is not None and intent.bot_id == bot_id:
            self._never_heard(int(name), intent)

    def _never_heard(self, seq: int, intent: Intent) -> None:
        """The outcome is late news; should the order exist, its bot gets that instead of a twin (late_truth.py)."""
        found = self.outbox.one_uncollected(seq) if self.outbox.is_uncollected(intent.bot_id, seq) else None
        if found is None:
            return
        if intent.fields and found.ending.state == State.DONE.value:
            self._truths.note(intent, seq, self._clock() + self._equal_window_s)
        self._tell(intent.bot_id, seq)

    def settled(self, settled: Settled) -> None:
        """The outbox: evidence, time or a person ended it (its ``on_settled``)."""
        intent = self.outbox.intent(settled.seq)
        told_by_its_call = settled.seq in self._telling
        if not told_by_its_call or settled.seq in self._left:  # before anybody is woken: an equal order may wait for it
            self._note_truth(intent, settled)
        if settled.final:
            self._wake(settled)
        if told_by_its_call or settled.ending is None or not settled.final:
            return
        self._hook.settled(intent, settled)
        self._tell(settled.bot_id, settled.seq)

    def _note_truth(self, intent: Intent | None, settled: Settled) -> None:
        if settled.final and settled.state is State.DONE and intent is not None and intent.fields:
            self._truths.note(intent, settled.seq, self._clock() + self._equal_window_s)

    def when_settled(self, seqs: Sequence[int]) -> Reply[Settled]:
        """Comes when one of these is settled."""
        rung: Reply[Settled] = Reply()
        for seq in seqs:
            self._waiting.setdefault(seq, []).append(rung)
        return rung

    def stop_waiting(self, seqs: Sequence[int], rung: Reply[Settled]) -> None:
        for seq in seqs:
            left = [each for each in self._waiting.get(seq, ()) if each is not rung]
            if left:
                self._waiting[seq] = left
            else:
                self._waiting.pop(seq, None)

    def _wake(self, settled: Settled) -> None:
        for rung in self._waiting.pop(settled.seq, ()):
            rung.set(settled)

    def status(self) -> dict[str, Any]:
        return {} if self._outbox is None else self._outbox.stats()

    # ---- the bot's side

    def replay(self, bot_id: str) -> int:
        """A bot said hello: it is told all it has not acknowledged, page by page; how many there are."""
        return self.news.begin(bot_id)

    def untold(self, bot_id: str) -> list[dict[str, Any]]:
        """What a bot has not acknowledged, as plain values (http.sock's clients ask for it)."""
        return [
            {
                "intent": news.intent,
                "outcome": str(news.outcome),
                "cause": news.cause,
                "status": news.status,
                "body": news.body.decode("utf-8", "replace"),
                "detail": news.detail,
            }
            for news in map(news_of, self.outbox.uncollected(bot_id))
        ]

    def ack(self, bot_id: str, names: Sequence[str]) -> int:
        """Its code has these. What more there is follows."""
        taken = self.outbox.ack(bot_id, [int(name) for name in names if name.isdecimal() and len(name) < 20])
        self.news.acknowledged(bot_id)
        return taken

    def tell_again(self, bot_id: str, seq: int) -> None:
        """It asked for the outcome of this one anew."""
        self._tell(bot_id, seq)

    def _tell(self, bot_id: str, seq: int) -> None:
        self.news.tell(bot_id, seq)


def wire_refusal(no: Refusal, host: str) -> WireRefusal:
    details: dict[str, Any] = {}
    if no.pending is not None:
        details = {"pending": str(no.pending), "pending_id": no.pending_id}
    return WireRefusal(no.reason, f"{host}: {no.message}", no.retry_after_s, Outcome.FAILED, details)


def _placed(operations: Operations | None, request: OutgoingRequest) -> list[PlacedOrder]:
    found = None if operations is None else operations.read_place(request)
    return found if isinstance(found, list) else []


def _facts(order: PlacedOrder, tag: str) -> OrderFacts:
    return OrderFacts(order.side, tag, order.client_id, order.reduce_only, order.marks)


def _item(bare: Intent, item: int, order: PlacedOrder, order_class: OrderClass) -> Intent:
    """The intent of one order of a request; the request's key belongs to the first."""
    return msgspec.structs.replace(
        bare,
        key="" if item else bare.key,
        symbol=order.symbol,
        side=order.side,
        client_order_id=order.client_id,
        family=order.family,
        fields=_fields(order),
        order_class=order_class,
        is_entry=not order.reduce_only,
        post_only="post_only" in order.marks,
        item=item,
    )


def _fields(order: PlacedOrder) -> dict[str, Any]:
    """What makes an order equal to another (core/equality): all but its id."""
    found = {
        "symbol": order.symbol,
        "side": order.side,
        "type": order.type,
        "quantity": order.quantity,
        "quote_quantity": order.quote_quantity,
        "price": order.price,
        "stop_price": order.stop_price,
        "reduce_only": order.reduce_only,
        **order.context,
    }
    return {name: value for name, value in found.items() if value is not None}


def _item_outcomes(result: HttpAnswer, table: str, count: int, whole: Verdict) -> list[Outcome]:
    """Item by item. Where the answer does not tell as many as were sent, what it says as a whole holds for all, but
    for a yes: which of them it means nobody knows.
    """
    items = classify_items(result.status, result.headers, result.body, table=table, loads=json_document)
    if len(items) == count:
        return [each.outcome for each in items]
    return [Outcome.UNKNOWN if whole.outcome is Outcome.OK else whole.outcome] * count
