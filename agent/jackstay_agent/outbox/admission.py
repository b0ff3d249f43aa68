"""May this be recorded? The outbox's own questions, in order: duplicate, too late, the same again, disk, room.

Asks, and changes nothing. Mode, breaker and rate were asked before (journey step 4).
"""

from __future__ import annotations

from collections.abc import Callable

from jackstay_agent.core.equality import Canon, check_fields, fingerprint, stand
from jackstay_agent.core.intent import State
from jackstay_agent.core.ttl import Stamp, ttl_refusal
from jackstay_protocols.errors import Lane, Reason, ValidationError

from .keys import KeyRecord, KeyWindow
from .records import Intent, Refusal, Wait
from .schema import StoreFault
from .settings import OutboxSettings
from .shelf import Shelf
from .waiting import Waiting

#: What goes on without a journal: what reduces risk, and what only asks.
UNJOURNALED_LANES = (Lane.DERISK, Lane.QUERY)


class Admission:
    def __init__(
        self,
        settings: OutboxSettings,
        shelf: Shelf,
        keys: KeyWindow,
        waiting: Waiting,
        same_body: Callable[[KeyRecord, Intent], bool],
    ) -> None:
        self._settings = settings
        self._shelf = shelf
        self._keys = keys
        self._waiting = waiting
        self._same_body = same_body

    def duplicate(self, intent: Intent, now: float) -> Refusal | None:
        """The same key, or a client order id whose order is still open here."""
        if intent.key and (record := self._keys.find(intent.bot_id, intent.key, now)) is not None:
            same = self._same_body(record, intent)
            told = "ask for its outcome" if same else "with another body: one key belongs to one request, use a new key"
            return Refusal(
                Reason.DUPLICATE, f"key {intent.key!r} was used {told}; it is intent {record.seq}", None, record.seq
            )
        if intent.client_order_id:
            for entry in self._shelf.by_client_id(intent.venue, intent.client_order_id):
                if entry.state in (State.RECORDED, State.IN_FLIGHT, State.UNKNOWN):
                    return Refusal(
                        Reason.DUPLICATE,
                        f"client order id {intent.client_order_id!r} belongs to intent {entry.seq}, which is"
                        f" {entry.state.value}; a new id is expected until that one is settled",
                        None,
                        entry.seq,
                        intent.client_order_id,
                    )
        return None

    def refuse(self, intent: Intent, now: Stamp, fault: StoreFault | None) -> Refusal | None:
        """What holds for direct and queued ones alike."""
        s = self._settings
        if len(intent.body) + len(intent.target) > s.request_bytes_max:
            return Refusal(
                Reason.TOO_LARGE,
                f"the request has {len(intent.body) + len(intent.target)} bytes; at most {s.request_bytes_max} are"
                " expected: make it smaller",
            )
        try:
            check_fields(intent.fields)
        except ValidationError as error:
            return Refusal(Reason.BAD_REQUEST, str(error))
        if (refusal := self.duplicate(intent, now.boot_s)) is not None:
            return refusal
        if intent.deadline_at is not None and intent.deadline_at <= now.boot_s:
            return Refusal(
                Reason.EXPIRED,
                f"its deadline ended {now.boot_s - intent.deadline_at:.3f} s ago; nothing was sent: call again if it is"
                " still wanted",
            )
        if fault is not None and intent.lane not in UNJOURNALED_LANES:
            return Refusal(
                Reason.DISK,
                f"the outbox cannot write ({fault.fault.value}); cancels still pass, orders do not: free or repair"
                " the disk",
                s.disk_retry_s,
            )
        return None

    def stand(self, venue: str, symbol: str, side: str, order: Canon, *, is_entry: bool) -> Refusal | Wait | None:
        """Rule 1 for an order, given its fingerprint."""
        verdict = stand(order, self._shelf.unknown_of(venue, symbol, side), is_entry=is_entry)
        if (equal := verdict.equal_to) is not None:
            return Refusal(
                Reason.EQUAL_PENDING,
                f"an equal order is unknown: intent {equal.seq} ({equal.name or 'without id'}); wait for its outcome or"
                f" look at the venue (`jackstay why {equal.seq}`), do not place it again",
                None,
                equal.seq,
                equal.name,
            )
        return Wait(verdict.behind) if verdict.behind else None

    def rule_one(self, intent: Intent) -> Refusal | Wait | None:
        if not intent.fields or not self._shelf.is_side_unknown(intent.venue, intent.symbol, intent.side):
            return None
        return self.stand(
            intent.venue, intent.symbol, intent.side, fingerprint(intent.fields), is_entry=intent.is_entry
        )

    def room_direct(self, intent: Intent, count: int = 1) -> Refusal | None:
        """Places for what is under way or unknown. De-risking has its own; what may be repeated needs none."""
        s = self._settings
        if intent.lane is Lane.DERISK:
            full = self._shelf.derisk_load + count > max(s.derisk_reserve, 1) and not intent.repeatable
            places = s.derisk_reserve
        else:
            full = self._shelf.load + count > s.in_flight_max
            places = s.in_flight_max
        if not full:
            return None
        return Refusal(
            Reason.QUEUE_FULL,
            f"all {places} places for requests under way or unknown are taken: wait for some to settle",
            1.0,
        )

    def room_queued(self, intent: Intent, uncollected: int, size: int) -> Refusal | None:
        """Places in the queue: per connection, in all, in bytes, and per bot with what it has not collected."""
        s = self._settings
        if (told := ttl_refusal(intent.ttl_s, s.ttl_max_s)) is not None:
            return Refusal(told[0], told[1])
        derisk = intent.lane is Lane.DERISK
        others = len(self._waiting) - self._waiting.derisk
        checks = (
            (
                derisk and self._waiting.derisk >= s.derisk_reserve,
                f"the {s.derisk_reserve} de-risking places are taken",
            ),
            (not derisk and others >= s.queue_max, f"the queue holds its {s.queue_max}"),
            (
                not derisk and self._waiting.depth(intent.connection_id) >= s.queue_connection_max,
                f"connection {intent.connection_id!r} holds its {s.queue_connection_max}",
            ),
            (
                not derisk and self._waiting.bytes + size > s.queue_bytes_max,
                f"the queue holds {self._waiting.bytes} bytes",
            ),
            (
                not derisk and uncollected >= s.uncollected_bot_max,
                f"bot {intent.bot_id!r} has {uncollected} outcomes it has not collected: collect them first",
            ),
        )
        for full, why in checks:
            if full:
                return Refusal(Reason.QUEUE_FULL, f"{why}; nothing was queued: come back later", 1.0)
        return None
