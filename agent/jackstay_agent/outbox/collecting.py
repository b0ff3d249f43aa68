"""Which outcomes has which bot not acknowledged yet? (DESIGN §3 rule 2: at least once, until the ACK)

Numbers only; the outcomes themselves are in the file. Outcomes of queued messages stay until the ACK; those of direct
requests travelled with the reply already, so over the bound the oldest of them fall out, counted.
"""

from __future__ import annotations

from collections.abc import Iterable


class Collecting:
    def __init__(self, bot_max: int) -> None:
        self._bot_max = bot_max
        self._queued: dict[str, dict[int, None]] = {}
        self._direct: dict[str, dict[int, None]] = {}

    def add(self, bot_id: str, seq: int, *, queued: bool) -> int | None:
        """One more; the number of a direct one that had to fall out for it, if any."""
        kept = (self._queued if queued else self._direct).setdefault(bot_id, {})
        kept[seq] = None
        if queued or len(kept) <= self._bot_max:
            return None
        oldest = next(iter(kept))
        del kept[oldest]
        return oldest

    def take(self, bot_id: str, seqs: Iterable[int]) -> list[int]:
        """Acknowledged: those of them that were there."""
        found = []
        for seq in seqs:
            for shelf in (self._queued, self._direct):
                kept = shelf.get(bot_id)
                if kept is not None and seq in kept:
                    del kept[seq]
                    found.append(seq)
                    if not kept:
                        del shelf[bot_id]
        return found

    def drop(self, seqs: Iterable[int]) -> None:
        """Their retention ended."""
        gone = set(seqs)
        for shelf in (self._queued, self._direct):
            for bot_id in list(shelf):
                shelf[bot_id] = {seq: None for seq in shelf[bot_id] if seq not in gone}
                if not shelf[bot_id]:
                    del shelf[bot_id]

    def has(self, bot_id: str, seq: int) -> bool:
        return seq in self._queued.get(bot_id, ()) or seq in self._direct.get(bot_id, ())

    def queued(self, bot_id: str) -> int:
        return len(self._queued.get(bot_id, ()))

    def of(self, bot_id: str) -> list[int]:
        """All of a bot, oldest first."""
        return sorted((*self._queued.get(bot_id, ()), *self._direct.get(bot_id, ())))

    def counts(self) -> dict[str, int]:
        names = {*self._queued, *self._direct}
        return {bot_id: len(self.of(bot_id)) for bot_id in sorted(names)}
