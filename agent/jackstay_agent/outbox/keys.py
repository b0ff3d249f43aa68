"""Have we had this request before? The idempotency window: same key and same body has one outcome.

Bounded twice, by age and by number. If more keys come within the window than may be kept, the oldest leave early and
`shortened_to_s` says how long the window really is now: visible, not silent (DESIGN §3 rule 14).
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

import msgspec

from .records import Intent


class KeyRecord(msgspec.Struct, frozen=True, gc=False):
    """Invisible to the collector: a busy day keeps a hundred thousand, and a full collection walks whatever it sees."""

    seq: int
    digest: bytes
    recorded_at: float  # boot clock


def body_digest(bare: Intent) -> bytes:
    """What makes a body the same: method, target and body of an `unsigned` intent, so that it survives a restart."""
    text = b"\0".join((bare.method.encode(), bare.target.encode(), bare.body))
    return blake2b(text, digest_size=16).digest()


class KeyWindow:
    __slots__ = ("_keys", "_keys_max", "_window_s", "early")

    def __init__(self, window_s: float, keys_max: int) -> None:
        self._window_s = window_s
        self._keys_max = keys_max
        self._keys: OrderedDict[tuple[str, str], KeyRecord] = OrderedDict()
        self.early = 0  # keys that had to leave before their time

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, bot_id: str, key: str, now: float) -> KeyRecord | None:
        record = self._keys.get((bot_id, key))
        return None if record is None or now - record.recorded_at >= self._window_s else record

    def add(self, bot_id: str, key: str, record: KeyRecord) -> None:
        name = (bot_id, key)
        self._keys[name] = record
        self._keys.move_to_end(name)
        self._shrink(record.recorded_at)

    def floor(self) -> int:
        """Below this number no intent's key is remembered."""
        oldest = next(iter(self._keys.values()), None)
        return 0 if oldest is None else oldest.seq

    def forget(self, bot_id: str, key: str, seq: int) -> None:
        """What was refused after all was never here."""
        record = self._keys.get((bot_id, key))
        if record is not None and record.seq == seq:
            del self._keys[bot_id, key]

    def _shrink(self, now: float) -> None:
        # at most two leave per one that comes: no long turn after an idle night
        for _ in range(2):
            oldest = next(iter(self._keys.values()), None)
            if oldest is None:
                return
            if now - oldest.recorded_at >= self._window_s:
                self._keys.popitem(last=False)
            elif len(self._keys) > self._keys_max:
                self._keys.popitem(last=False)
                self.early += 1
            else:
                return

    def shortened_to_s(self, now: float) -> float:
        """How far back the window really reaches."""
        if len(self._keys) < self._keys_max:
            return self._window_s
        oldest = next(iter(self._keys.values()))
        return min(self._window_s, max(0.0, now - oldest.recorded_at))
