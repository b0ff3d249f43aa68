"""Who began? Onsets that come together are one incident; its root leads, and what depends on it follows.

Each burst leaves an onset, to the second. Onsets of different kinds within a minute are grouped. Within a group every
member is scored by how much earlier it was than each other (in units of the timing's own uncertainty) and by what is
known to depend on what. Over many incidents, pairs that keep coming together in the same order are correlations, with
their lag, tested against chance and corrected for the number of pairs (Benjamini, Hochberg).
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .trend_stats import adjusted, binomial_tail, median, normal_tail

Key = tuple[str, str]  # component, error type

GROUP_S = 60.0
TIMING_S = 1.5  # onsets are known to about this
DEPENDENCY_ODDS = 4.0  # that what others depend on began; the times outweigh it once they are clear
ONSETS_KEPT = 64  # per kind
KINDS_MAX = 512
PAIR_MIN = 3
FALSE_DISCOVERY = 0.01

#: What breaks first when several break: a component's failure shows in those that stand after it.
DEPENDENCY_ORDER = (
    *("host", "clock", "network", "dns", "tls", "connection", "transport", "pool", "venue", "rate_limit", "breaker"),
    *("feed", "user_stream", "resolver", "outbox", "queue", "state", "order", "orders", "account", "bot", "strategy"),
)


class Onset(NamedTuple):
    key: Key
    at: float
    errors: int


class Ranked(NamedTuple):
    key: Key
    score: float
    at: float


class Correlation(NamedTuple):
    """``leader`` is followed by ``follower`` after ``lag_s``: ``hits`` of ``of`` times; ``q``: false discovery."""

    leader: Key
    follower: Key
    lag_s: float
    hits: int
    of: int
    p: float
    q: float


@dataclass(slots=True)
class Group:
    """Onsets of one incident, in the order they were found."""

    number: int
    onsets: dict[Key, Onset] = field(default_factory=dict)

    @property
    def first_at(self) -> float:
        return min(each.at for each in self.onsets.values())


def rank(onsets: Sequence[Onset], order: Mapping[str, int]) -> list[Ranked]:
    """Root first. Each is compared with each: how sure is it that this one began before that one?"""
    found = []
    for mine in onsets:
        score = 0.0
        for other in onsets:
            if other.key == mine.key:
                continue
            earlier = 1.0 - normal_tail((other.at - mine.at) / (TIMING_S * math.sqrt(2.0)))
            mine_at, other_at = order.get(mine.key[0]), order.get(other.key[0])
            odds = 1.0
            if mine_at is not None and other_at is not None and mine_at != other_at:
                odds = DEPENDENCY_ODDS if mine_at < other_at else 1.0 / DEPENDENCY_ODDS
            score += earlier * odds / (earlier * odds + 1.0 - earlier)
        found.append(Ranked(mine.key, score / max(1, len(onsets) - 1), mine.at))
    return sorted(found, key=lambda each: (-each.score, each.at))


class Incidents:
    """Groups onsets as they come, and remembers them for correlations. Bounded in kinds and in onsets of each."""

    def __init__(self, dependencies: Sequence[str] = DEPENDENCY_ORDER) -> None:
        self._order = {name: place for place, name in enumerate(dependencies)}
        self._onsets: OrderedDict[Key, deque[float]] = OrderedDict()
        self._group: Group | None = None
        self._groups = 0
        self._since: float | None = None

    def add(self, onset: Onset) -> tuple[Group, list[Ranked]] | None:
        """The group it belongs to, ranked anew, once there are two; None while it stands alone or is known in it."""
        if self._since is None:
            self._since = onset.at
        kept = self._onsets.get(onset.key)
        if kept is None:
            if len(self._onsets) >= KINDS_MAX:
                self._onsets.popitem(last=False)
            kept = self._onsets[onset.key] = deque(maxlen=ONSETS_KEPT)
        if kept and onset.at - kept[-1] < GROUP_S:
            return None  # the same burst goes on
        kept.append(onset.at)
        self._onsets.move_to_end(onset.key)
        group = self._group
        if group is None or abs(onset.at - group.first_at) > GROUP_S:
            self._groups += 1
            group = self._group = Group(self._groups)
        group.onsets[onset.key] = onset
        if len(group.onsets) < 2:
            return None
        return group, rank(list(group.onsets.values()), self._order)

    def correlations(self, now: float) -> list[Correlation]:
        """Pairs in which one keeps following the other, best first."""
        keys = [key for key, onsets in self._onsets.items() if len(onsets) >= PAIR_MIN]
        found = [(one, two, *self._followed(one, two, now)) for one in keys for two in keys if one != two]
        q_values = adjusted([each[5] for each in found])
        chosen = [
            Correlation(*each, q)
            for each, q in zip(found, q_values, strict=True)
            if each[3] >= PAIR_MIN and q < FALSE_DISCOVERY
        ]
        return sorted(chosen, key=lambda each: each.p)

    def _followed(self, leader: Key, follower: Key, now: float) -> tuple[float, int, int, float]:
        """(median lag, hits, leader's onsets, p): the follower within a minute after, or with, the leader."""
        theirs = list(self._onsets[follower])
        lags = []
        for at in self._onsets[leader]:
            near = [other - at for other in theirs if -TIMING_S <= other - at <= GROUP_S]
            if near:
                lags.append(min(near, key=abs))
        mine = self._onsets[leader]
        if len(lags) < PAIR_MIN or median(lags) < 0:
            return 0.0, len(lags), len(mine), 1.0
        since = min(mine[0], theirs[0], self._since or now)
        share = 1.0 - math.exp(-len(theirs) * (GROUP_S + TIMING_S) / max(now - since, GROUP_S))
        return median(lags), len(lags), len(mine), binomial_tail(len(lags), len(mine), share)
