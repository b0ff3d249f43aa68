"""Messages that a `ConnectionManager` queued, kept over the death of its process (DESIGN §3 rules 1 to 3).

On the outbox's file and rules: a message that may have left is never sent again, one whose time to live ended is not
sent at all, and after a clock step or a reboot it is expired in doubt. A message with headers of its own is kept in
memory only: headers hold secrets, which are never written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from jackstay_protocols.clock import boot_id
from jackstay_protocols.errors import Lane, Outcome

from .connection_link import Fate
from .core.evidence import Evidence, Finding, Source
from .core.intent import State
from .outbox import Accepted, Admitted, Intent, Outbox, OutboxSettings

OWNER = "connection-manager"


class MessageJournal:
    """One file for all connections of a manager. Raises OutboxTaken and OutboxTooNew, which a person has to solve."""

    def __init__(
        self,
        path: str | Path,
        *,
        queue_max: int,
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        settings = OutboxSettings(queue_connection_max=queue_max, queue_max=64 * queue_max, ttl_max_s=86_400.0)
        self._box = Outbox.open(path, settings, clock=clock, wall=wall, boot_id=boot_id(), on_event=on_event)
        for unknown in self._box.unknowns():  # on their way when the last process died
            on_event("connection.message_unknown", {"connection": unknown.intent.connection_id, "restart": True})
            self._settle_unknown(unknown.seq)
        self._forget_told()

    def keep(self, connection: str, message: Mapping[str, Any], ttl_s: float) -> int | None:
        """Its number; 0 for one that is kept in memory only, None if the file does not take it."""
        if "headers" in message or isinstance(message.get("body"), bytes | bytearray | memoryview):
            return 0
        body = msgspec.json.encode(dict(message))
        intent = Intent(OWNER, connection, Lane.OTHER, "MESSAGE", "", body, ttl_s=ttl_s if ttl_s > 0 else None)
        self._box.tick()
        accepted = self._box.enqueue(intent)
        return accepted.seq if isinstance(accepted, Accepted) else None

    def left_over(self, connection: str) -> list[tuple[int, float, dict[str, Any]]]:
        """What an earlier process queued for it and nobody sent: number, age in seconds, message; oldest first."""
        self._box.tick()
        found = self._box.open_intents()
        return [
            (each.seq, each.age_s, msgspec.json.decode(each.intent.body))
            for each in found
            if each.state is State.RECORDED and each.intent.connection_id == connection
        ]

    def leaving(self, seq: int) -> bool:
        """Written down that it is about to leave; False: it must not (expired, or the file takes nothing)."""
        return not seq or isinstance(self._box.mark_in_flight(seq), Admitted)

    def ended(self, seq: int, fate: Fate) -> None:
        if not seq or self._box.state(seq) is not State.IN_FLIGHT:
            return
        if fate is Fate.KEPT:
            self._box.put_back(seq)
        elif fate is Fate.SENT:
            self._box.finish(seq, Outcome.OK)
        else:
            self._box.finish(seq, Outcome.UNKNOWN)
            self._settle_unknown(seq)
        self._forget_told()

    def forget(self, seq: int, why: str) -> None:
        """It expired, or its connection was closed for good."""
        if seq:
            self._box.drop(seq, who=OWNER, why=why)
            self._forget_told()

    def close(self) -> None:
        self._box.close()

    def _settle_unknown(self, seq: int) -> None:
        """Its fate was told as unknown; nobody can be asked, so the matter ends with that."""
        told = Evidence(Source.OPERATOR, Finding.EXISTS, who=OWNER, why="told as unknown; never sent again")
        self._box.resolve(seq, told)

    def _forget_told(self) -> None:
        """The caller has the fate of each from the call itself."""
        self._box.ack(OWNER, self._box.uncollected_numbers(OWNER))
        self._box.flush()
