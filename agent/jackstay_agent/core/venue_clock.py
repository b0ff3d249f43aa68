"""What time is it at the venue? (signatures carry a timestamp, and a venue refuses one that is off)

Each sample is one question for the venue's time: when it left, when the answer came (seconds of the agent's boot-time
clock) and what the venue said (Unix ms). The venue's clock is kept as an offset to the *boot-time* clock, so a step of
our own wall clock changes nothing. Half the round trip is the uncertainty; of the samples in the window the most
certain one counts, older ones losing certainty by the drift a bad crystal may have (NTP's clock filter, RFC 5905 §10).

A sample that contradicts the present estimate beyond both uncertainties is kept aside; a second one that agrees with it
means that the venue's clock was stepped, and the estimate starts anew. Before the first sample our wall clock is
believed. Refuses to know who asks, and when.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from jackstay_protocols.errors import ValidationError

UNIX_MS_MIN, UNIX_MS_MAX = 1_262_304_000_000, 4_102_444_800_000  # 2010 to 2100: anything else is no time of a venue
RESOLUTION_S = 0.001  # venues tell milliseconds


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """``resync_s``: a sample is wanted at least that often. ``round_trip_max_s``: slower ones teach nothing.

    ``drift_max_ppm`` 100: what a cheap crystal may be off, both ends together (8.6 s a day). ``spacing_s``: samples
    wanted because of errors are at least that far apart. ``samples``: how many are remembered.
    """

    resync_s: float = 300.0
    round_trip_max_s: float = 2.0
    drift_max_ppm: float = 100.0
    spacing_s: float = 1.0
    samples: int = 8

    def __post_init__(self) -> None:
        for name in ("resync_s", "round_trip_max_s", "spacing_s"):
            value = getattr(self, name)
            if not (isfinite(value) and 0 < value <= 86_400):
                raise ValidationError(f"ClockSettings.{name} is {value}; seconds above 0 up to a day are expected")
        if not 0 <= self.drift_max_ppm <= 10_000:
            raise ValidationError(f"ClockSettings.drift_max_ppm is {self.drift_max_ppm}; 0 to 10000 is expected")
        if not 1 <= self.samples <= 64:
            raise ValidationError(f"ClockSettings.samples is {self.samples}; 1 to 64 are expected")


class Learned(StrEnum):
    TAKEN = "taken"
    CONTRADICTS = "contradicts"  # kept aside: a second one that agrees will replace the estimate
    STEPPED = "stepped"  # the second one came: the venue's clock (or the path to it) changed
    TOO_SLOW = "too_slow"
    NONSENSE = "nonsense"  # no time of this century, or an answer before its question


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float  # boot-time clock, the middle of the round trip
    offset_s: float  # venue's Unix seconds minus boot-time seconds
    error_s: float


class VenueClock:
    """The venue's clock as far as it is known. Instants ``now_s`` are boot-time seconds, ``wall_s`` our Unix time."""

    def __init__(self, settings: ClockSettings | None = None) -> None:
        self._settings = settings or ClockSettings()
        self._samples: deque[_Sample] = deque(maxlen=self._settings.samples)
        self._first: _Sample | None = None  # where drift is measured from
        self._aside: _Sample | None = None
        self._asked_at_s: float | None = None
        self._doubted = False
        self.steps = 0

    def learn(self, sent_s: float, received_s: float, server_ms: int) -> Learned:
        """One answer of the venue's time endpoint."""
        round_trip_s = received_s - sent_s
        if not UNIX_MS_MIN <= server_ms <= UNIX_MS_MAX or not isfinite(round_trip_s) or round_trip_s < 0:
            return Learned.NONSENSE
        if round_trip_s > self._settings.round_trip_max_s:
            return Learned.TOO_SLOW
        middle_s = sent_s + round_trip_s / 2
        sample = _Sample(middle_s, server_ms / 1000 - middle_s, round_trip_s / 2 + RESOLUTION_S)
        best = self._best(received_s)
        if best is not None and not self._agree(best, sample):
            return self._contradicted(sample)
        self._take(sample)
        return Learned.TAKEN

    def _contradicted(self, sample: _Sample) -> Learned:
        if self._aside is None or not self._agree(self._aside, sample):
            self._aside, self._doubted = sample, True
            return Learned.CONTRADICTS
        self._samples.clear()
        self._first = None
        self.steps += 1
        self._take(sample)
        return Learned.STEPPED

    def _take(self, sample: _Sample) -> None:
        self._samples.append(sample)
        self._first = self._first or sample
        self._aside, self._doubted = None, False

    def asked(self, now_s: float) -> None:
        """A question for the time leaves now."""
        self._asked_at_s = now_s

    def refused(self) -> None:
        """The venue refused a request for its timestamp: what we believe is off, or our requests travel too long."""
        self._doubted = True

    def due(self, now_s: float) -> bool:
        """Whether the venue should be asked for its time now."""
        if self._asked_at_s is not None and now_s - self._asked_at_s < self._settings.spacing_s:
            return False
        newest = self._samples[-1] if self._samples else None
        return self._doubted or newest is None or now_s - newest.at_s >= self._settings.resync_s

    def now_ms(self, now_s: float, wall_s: float) -> int:
        """The venue's Unix time in ms; our wall clock's as long as nothing was learned."""
        best = self._best(now_s)
        return int((wall_s if best is None else now_s + best.offset_s) * 1000)

    def known_s(self, now_s: float) -> float | None:
        """The venue's Unix time in seconds, now or at a past instant of this boot; None: not known.

        Our wall clock has no part in it.
        """
        best = self._best(now_s)
        return None if best is None else now_s + best.offset_s

    def offset_s(self, now_s: float, wall_s: float) -> float | None:
        """How far the venue is ahead of our wall clock; None: not known."""
        best = self._best(now_s)
        return None if best is None else now_s + best.offset_s - wall_s

    def uncertainty_s(self, now_s: float) -> float | None:
        """Half the round trip of the best sample, and the drift there may have been since; None: not known."""
        best = self._best(now_s)
        return None if best is None else self._error_s(best, now_s)

    def drift_ppm(self) -> float | None:
        """How fast the venue's clock runs away from ours since the first sample; None while noise outweighs it."""
        if self._first is None:
            return None
        last = self._samples[-1]
        span_s = last.at_s - self._first.at_s
        if span_s <= 0 or (self._first.error_s + last.error_s) / span_s > self._settings.drift_max_ppm / 1e6:
            return None
        return (last.offset_s - self._first.offset_s) / span_s * 1e6

    def _best(self, now_s: float) -> _Sample | None:
        return min(self._samples, key=lambda each: self._error_s(each, now_s), default=None)

    def _error_s(self, sample: _Sample, now_s: float) -> float:
        return sample.error_s + abs(now_s - sample.at_s) * self._settings.drift_max_ppm / 1e6

    def _agree(self, one: _Sample, other: _Sample) -> bool:
        return abs(one.offset_s - other.offset_s) <= self._error_s(one, other.at_s) + other.error_s
