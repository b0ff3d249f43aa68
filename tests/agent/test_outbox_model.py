"""The outbox against a naive model of itself, through any sequence of calls, restarts and kills.

The model is a dict of intents with a state each and a set of uncollected outcomes, written for being obviously right.
Answers are written at once here (flush after every step), so that a kill loses no settled outcome; what a kill does to
unflushed ones is the crash test's matter.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from jackstay_agent.core.evidence import Evidence, Finding, Patience, Source
from jackstay_agent.core.intent import State
from jackstay_agent.outbox import Accepted, Admitted, Refusal, Signed, Wait
from jackstay_protocols.errors import Lane, Outcome, Reason
from jackstay_protocols.types import OrderClass
from outbox_world import FIELDS, World, cancel, order

PATIENCE = Patience(visibility_delay_s=5.0, not_found_needed=2, spacing_s=1.0)
OPEN = ("recorded", "in_flight", "unknown")
RANK = {Lane.DERISK: 0, Lane.ORDER: 1}


@dataclass
class Known:
    """One intent as the model knows it."""

    seq: int
    price: int  # 0: a cancel
    side: str
    bot: str
    key: str
    client_id: str
    queued: bool
    by_bot: bool
    ttl_s: float | None
    recorded_at: float
    state: str
    way_out: bool = False
    unknown_at: float = 0.0
    not_found: int = 0
    counted_at: float = -1e9
    held: bool = False


class Model(RuleBasedStateMachine):
    seqs = Bundle("seqs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="outbox-model-")
        self.world = World(Path(self.folder.name), idempotency_window_s=50.0, queue_connection_max=4)
        self.world.open()
        self.known: dict[int, Known] = {}
        self.kept: dict[int, str] = {}  # uncollected: seq -> state
        self.told = 0

    def teardown(self) -> None:
        self.world.box.close()
        self.folder.cleanup()

    # -- what the model thinks -------------------------------------------------------------------------------------

    def _of(self, *states: str) -> list[Known]:
        return [k for k in self.known.values() if k.state in states]

    def _why_not(self, price: int, side: str, bot: str, key: str, client_id: str) -> str | None:
        now = self.world.now
        if any(k.bot == bot and k.key == key and now - k.recorded_at < 50.0 for k in self.known.values()):
            return "duplicate"
        if client_id and any(k.client_id == client_id for k in self._of(*OPEN)):
            return "duplicate"
        pending = [k for k in self._of("unknown") if k.price and k.side == side] if price else []
        if any(k.price == price for k in pending):
            return "equal_pending"
        return "wait" if pending else None

    def _settle(self, known: Known, state: str) -> None:
        known.state = state
        self.kept[known.seq] = state

    def _is_due(self, known: Known) -> bool:
        if known.held:
            return False
        if not known.price:
            return True
        own = [k for k in self._of("recorded") if k.price and k.seq < known.seq and k.bot == known.bot]
        flying = [k for k in self._of("in_flight") if k.queued and k.price and k.bot == known.bot]
        return not self._in_the_way(known, own) and not flying and not self._pending(known)

    def _pending(self, known: Known) -> bool:
        return any(k.price and k.side == known.side for k in self._of("unknown"))

    def _in_the_way(self, known: Known, earlier: list[Known]) -> bool:
        """A way out passes the oldest entry where that is held or waits for an unknown order; nothing else passes."""
        entries = sorted((k for k in earlier if not k.way_out), key=lambda k: k.seq)
        if not known.way_out or len(entries) < len(earlier):
            return bool(earlier)
        return bool(entries) and not (entries[0].held or self._pending(entries[0]))

    def _expire(self) -> None:
        for k in self._of("recorded"):
            if k.ttl_s is not None and self.world.now - k.recorded_at >= k.ttl_s:
                self._settle(k, "expired")

    # -- what is done ----------------------------------------------------------------------------------------------

    @rule(
        target=seqs,
        price=st.integers(0, 2),
        side=st.sampled_from(["BUY", "SELL"]),
        bot=st.sampled_from(["a", "b"]),
        key=st.integers(0, 30),
        client=st.integers(0, 8),
        queued=st.booleans(),
        by_bot=st.booleans(),
        way_out=st.booleans(),
        ttl_s=st.sampled_from([None, 3.0, 20.0]),
    )
    def hand_in(
        self,
        price: int,
        side: str,
        bot: str,
        key: int,
        client: int,
        queued: bool,
        by_bot: bool,
        way_out: bool,
        ttl_s: float | None,
    ) -> int:
        """begin or enqueue an order or (price 0) a cancel."""
        changes: dict[str, Any] = {
            "bot_id": bot,
            "key": f"k{key}",
            "ttl_s": ttl_s if queued else None,
            "signed": Signed.BOT if by_bot else Signed.AGENT,
        }
        client_id = f"c{client}" if price else ""
        if price:
            fields = {**FIELDS, "price": str(price), "side": side}
            kind = OrderClass.EXIT if way_out else OrderClass.ENTRY
            intent = order(price, side=side, client_order_id=client_id, fields=fields, order_class=kind, **changes)
        else:
            intent = cancel(key, side=side, **changes)
        why = self._why_not(price, side, bot, f"k{key}", client_id)
        if queued and why is None or why == "wait" and queued:
            in_queue = self._of("recorded")
            why = "queue_full" if price and len(in_queue) >= 4 else None
        box = self.world.box
        result = box.enqueue(intent) if queued else box.begin(intent)
        if why is not None:
            assert isinstance(result, Wait) if why == "wait" else isinstance(result, Refusal), (why, result)
            if isinstance(result, Refusal):
                assert result.reason == Reason(why)
            return 0
        assert isinstance(result, Accepted if queued else Admitted), (result, self.known)
        self.known[result.seq] = Known(
            result.seq, price, side, bot, f"k{key}", client_id, queued, by_bot, changes["ttl_s"], self.world.now,
            "recorded" if queued else "in_flight", way_out,
        )  # fmt: skip
        return result.seq

    @rule(seq=seqs, outcome=st.sampled_from(list(Outcome)))
    def answer(self, seq: int, outcome: Outcome) -> None:
        """The reply, or its absence."""
        known = self.known.get(seq)
        if known is None or known.state not in ("in_flight", "unknown"):
            return
        settled = self.world.box.finish(seq, outcome)
        assert settled is not None
        if outcome is Outcome.UNKNOWN:
            if known.state == "in_flight":
                known.state, known.unknown_at, known.not_found, known.counted_at = "unknown", self.world.now, 0, -1e9
        else:
            self._settle(known, {"ok": "done", "rejected": "rejected", "failed": "failed"}[outcome.value])
        assert settled.state == known.state

    @rule(back=st.booleans())
    def send_next(self, back: bool) -> None:
        """Take the next that is due; perhaps put it back, as nothing left."""
        self._expire()
        due = self.world.box.next_due()
        candidates = [k for k in self._of("recorded") if self._is_due(k)]
        candidates.sort(key=lambda k: (0 if not k.price else 1, k.seq))
        assert (None if due is None else due.seq) == (candidates[0].seq if candidates else None)
        if due is not None:
            assert isinstance(self.world.box.mark_in_flight(due.seq), Admitted)
            self.known[due.seq].state = "in_flight"
            if back:
                assert self.world.box.put_back(due.seq)
                self.known[due.seq].state = "recorded"

    @rule(seq=seqs, finding=st.sampled_from(list(Finding)), family=st.sampled_from(["order", "algo"]))
    def ask(self, seq: int, finding: Finding, family: str) -> None:
        """Evidence from a query by id."""
        known = self.known.get(seq)
        if known is None or known.state != "unknown":
            return
        now = self.world.now
        settled = self.world.box.resolve(seq, Evidence(Source.QUERY, finding, now, family), PATIENCE)
        if finding is Finding.EXISTS:
            self._settle(known, "done")
        elif finding is Finding.NOT_FOUND and family == "order":
            if now >= known.unknown_at + 5.0 and now >= known.counted_at + 1.0:
                known.not_found, known.counted_at = known.not_found + 1, now
                if known.not_found == 2:
                    self._settle(known, "absent")
        assert settled is not None
        assert settled.state == known.state

    @rule(bot=st.sampled_from(["a", "b"]), count=st.integers(1, 5))
    def collect(self, bot: str, count: int) -> None:
        """The bot takes some outcomes and acknowledges them."""
        kept = self.world.box.uncollected(bot, count)
        for one in kept:
            assert self.kept.pop(one.seq) == one.ending.state
        assert self.world.box.ack(bot, [one.seq for one in kept]) == len(kept)

    @rule(seq=seqs)
    def drop(self, seq: int) -> None:
        """An operator takes a queued one out."""
        known = self.known.get(seq)
        dropped = self.world.box.drop(seq, who="me", why="test")
        assert (dropped is not None) == (known is not None and known.state == "recorded")
        if known is not None and dropped is not None:
            self._settle(known, "dropped")

    @rule(seq=seqs, held=st.booleans())
    def hold(self, seq: int, held: bool) -> None:
        """An operator holds or releases one."""
        known = self.known.get(seq)
        if self.world.box.hold(seq, held):
            assert known is not None
            assert known.state == "recorded"
            known.held = held

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)
        self.world.box.tick()
        self._expire()

    @rule()
    def checkpoint(self) -> None:
        self.world.box.checkpoint()

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        """Stopped or killed, and started again."""
        if kill:
            self.world.kill()
        else:
            self.world.box.close()
        for known in self._of("in_flight"):
            known.state, known.unknown_at = "unknown", self.world.now
        for known in self._of("unknown"):
            known.unknown_at, known.not_found, known.counted_at = self.world.now, 0, -1e9
        self._expire()
        for known in self._of("recorded"):
            if known.by_bot:
                self._settle(known, "expired")
        self.world.open()

    # -- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def same(self) -> None:
        """The same open intents in the same states, the same uncollected outcomes, and nothing contradicts."""
        box = self.world.box
        box.flush()
        assert {o.seq: o.state.value for o in box.open_intents()} == {k.seq: k.state for k in self._of(*OPEN)}
        assert {u.seq for u in box.unknowns()} == {k.seq for k in self._of("unknown")}
        kept = [u for bot in ("a", "b") for u in box.uncollected(bot, 10_000)]
        assert {u.seq: u.ending.state for u in kept} == self.kept
        assert box.stats()["totals"]["contradictions"] == 0
        assert box.stats()["degraded"] is None

    @precondition(lambda self: self.known)
    @invariant()
    def duplicates(self) -> None:
        """Within the window a key tells its intent's state."""
        newest = max(self.known.values(), key=lambda k: k.seq)
        if self.world.now - newest.recorded_at < 50.0:
            found = self.world.box.find_duplicate(newest.bot, newest.key)
            assert found is not None
            assert (found.seq, found.state) == (newest.seq, State(newest.state))


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOutboxAgainstModel = Model.TestCase
