"""Everything that goes wrong in one seed: which kinds of trouble, how often, until when.

Each kind throws its own dice, seeded by its own name, so that leaving one kind out (shrinking a failing seed) changes
as little as possible for the others. Half of the seeds see few kinds of trouble and half of them many: many at once
hide each other.
"""

from __future__ import annotations

from collections import Counter
from random import Random

#: kind of trouble -> (least, most) probability per occasion, or occasions per run for the kinds of ``MOMENTS``
RATES: dict[str, tuple[float, float]] = {
    # the network between agent and venue
    "dns_failed": (0.02, 0.4),
    "dial_refused": (0.02, 0.5),
    "dial_hangs": (0.02, 0.3),
    "reset_before": (0.01, 0.3),
    "reset_after": (0.01, 0.3),
    "blackhole": (0.01, 0.2),
    "delay_out": (0.01, 0.4),
    "delay_in": (0.01, 0.4),
    "abort_delivers": (0.2, 1.0),
    "pieces": (0.05, 1.0),
    "idle_close": (0.05, 0.6),
    # the venue
    "error_5xx": (0.01, 0.3),
    "error_unknown": (0.01, 0.3),
    "rate_limited": (0.005, 0.1),
    "banned": (0.002, 0.03),
    "drop_reply": (0.01, 0.4),
    "stall": (0.01, 0.3),
    "late": (0.01, 0.3),
    "truncated": (0.01, 0.2),
    "html_200": (0.01, 0.2),
    "twice": (0.01, 0.2),
    "reply_twice": (0.01, 0.2),
    "close_after": (0.05, 0.6),
    "hidden": (0.2, 1.0),
    "venue_clock": (1.0, 1.0),
    # the disk
    "disk_error": (0.002, 0.05),
    "disk_slow": (0.05, 1.0),
    # moments: how many in a run
    "partition_out": (1, 3),
    "partition_in": (1, 3),
    "maintenance": (1, 2),
    "disk_full": (1, 2),
    "agent_killed": (1, 4),
    "agent_killed_midway": (1, 5),
    "agent_frozen": (1, 4),
    "agent_restarted": (1, 2),
    "power_lost": (1, 2),
    "bot_killed": (1, 3),
    "bot_frozen": (1, 4),
    "bot_deployed": (1, 2),
    "suspended": (1, 2),
    "wall_stepped": (1, 3),
    "early_timers": (1, 1),
    "human": (1, 6),
    "operator": (1, 12),
    # habits, no troubles: unmodified libraries' orders wait for an unknown equal one; callers leave early
    "patient": (0.3, 1.0),
    "leaving": (0.05, 0.6),
}

#: Troubles that have to meet for a mistake to show, and seldom do by chance: one seed in six plays one of these.
SCENES: dict[str, dict[str, float]] = {
    # an order that exists is not shown for longer than its request could have been under way
    "hidden": {"drop_reply": 0.3, "reset_after": 0.2, "hidden": 1.0},
    # no question is answered until long after the venue's "no such order" would be believed
    "silence": {"partition_in": 1},
    "clocks": {"wall_stepped": 3, "drop_reply": 0.3},
    "copies": {"reply_twice": 0.5},
}
SILENCE_STORM_S = 120.0

#: kinds that strike at drawn instants
MOMENTS = frozenset(list(RATES)[list(RATES).index("partition_out") :]) - {"patient", "leaving"}


class Weather:
    """The trouble of one seed. ``without``: kinds that are left out; ``only``: the kinds that may happen at all."""

    def __init__(self, seed: str, without: frozenset[str] = frozenset(), only: frozenset[str] | None = None) -> None:
        chance = Random(f"{seed}-weather")
        self.over = False
        self.seen: Counter[str] = Counter()
        share = chance.choice((0.06, 0.15, 0.3, 0.6))
        self.rates: dict[str, float] = {}
        for kind, (least, most) in RATES.items():
            drawn, rate = chance.random() < share, least * (most / least) ** chance.random()
            if (drawn if only is None else kind in only) and kind not in without:
                self.rates[kind] = rate
        stage = Random(f"{seed}-play")
        self.scene = stage.choice(list(SCENES)) if only is None and stage.random() < 1 / 6 else ""
        self.rates |= {kind: rate for kind, rate in SCENES.get(self.scene, {}).items() if kind not in without}
        self._dice = {kind: Random(f"{seed}-{kind}") for kind in RATES}

    def hits(self, kind: str) -> bool:
        """Does it strike now? Always thrown, so that others' dice do not shift."""
        rate = self.rates.get(kind)
        if rate is None or self.over:
            return False
        if self._dice[kind].random() >= rate:
            return False
        self.seen[kind] += 1
        return True

    def dice(self, kind: str) -> Random:
        return self._dice[kind]

    def moments(self, span_s: float) -> list[tuple[float, str]]:
        """(when, kind) for the kinds that strike at instants, within ``span_s``."""
        found = []
        for kind in sorted(MOMENTS & self.rates.keys()):
            dice = self._dice[kind]
            count = max(1, round(self.rates[kind]))
            found += [(dice.uniform(0.2, span_s), kind) for _ in range(count)]
        return sorted(found)

    def view(self) -> str:
        kinds = ", ".join(f"{kind} {rate:.3g}" for kind, rate in self.rates.items()) or "fair weather"
        return f"scene {self.scene}: {kinds}" if self.scene else kinds
