"""`ErrorPatternAnalytics`: errors come in shapes, and this names them before anybody asks (CONTRACT pattern_analytics).

It counts into rings of fixed size, looks at each kind of errors when a bin is full, and keeps what it finds: bursts,
levels above the usual, trends, crossings that are coming, loops, incidents with their root. Each finding carries its
evidence and its confidence. The number of false findings a day is a setting, and every test's significance follows from
it. Works alone, given only a Config; in the agent it is fed by the one hook (pattern_watch.py).

Times are wall-clock seconds: an event's own timestamp, else ``clock``. Safe to share between threads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import RLock
from typing import Any

from jackstay_protocols.errors import ErrorSeverity, ValidationError
from jackstay_protocols.types import ErrorPattern

from .analytics_settings import AnalyticsSettings
from .core.findings import ENDED, Finding, Findings
from .core.loop_watch import LoopWatch
from .core.trend_buckets import COARSE_S, FINE_S, Gauge, Series
from .core.trend_bursts import Excess, burst, elevated
from .core.trend_roots import Correlation, Group, Incidents, Onset, Ranked
from .core.trends import BINS, Crossing, Trend, crossing_of, is_seasonal, trend_of

Key = tuple[str, str]
OTHER: Key = ("(other)", "(other)")
GAUGES_MAX = 256
IDLE_S = 4 * 3600.0  # a kind that was quiet for so long has no trend
DAY_S = 86_400.0
#: ring, bins of the ring per bin of the trend, seconds per bin, name
SPANS = (("fine", 3, 30, "15m"), ("coarse", 2, 120, "1h"), ("coarse", 8, 480, "4h"))
GAUGE_SPANS = ((3, 30, "15m"), (12, 120, "1h"), (48, 480, "4h"))
TESTS_PER_DAY = {"burst": 8640, "elevated": 1440, "trend": 2880 + 720 + 180}

ACTIONS = {
    "burst": "look at what this component talks to; `jackstay patterns show` lists what broke with it",
    "elevated": "errors stay above their usual level: compare with the last change of bot, venue or network",
    "trend": "watch it: `jackstay trends` shows when it would cross",
    "prediction": "act before the crossing: less load, fewer symbols, or another venue",
    "precursor": "slow down before the venue says so: fewer questions, larger pauses",
    "root_cause": "begin with the first of these; the others followed it",
    "reject_loop": "the bot repeats an order that the venue refuses: change a field of it, or stop the bot",
    "cancel_loop": "the bot cancels an order that is gone: let it look at its open orders",
}

OnFinding = Callable[[str, Finding], None]


@dataclass
class ErrorTrend:
    """How a kind of errors develops. ``trend_strength`` 0 to 1; ``data_points`` are (begin of a bin, errors in it)."""

    component: str
    error_type: str
    time_period: str
    trend_direction: str
    trend_strength: float
    start_time: datetime
    end_time: datetime
    data_points: list[tuple[datetime, int]]


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


class ErrorPatternAnalytics:
    """Keywords: ``clock`` (UTC seconds), ``on_finding(what, finding)`` with "found", "grew", "ended"."""

    def __init__(
        self, config: Any, *, clock: Callable[[], float] = time.time, on_finding: OnFinding | None = None
    ) -> None:
        self.settings: AnalyticsSettings = getattr(config, "analytics", None) or AnalyticsSettings()
        settings = self.settings
        self._clock = clock
        self._on_finding = on_finding
        self._lock = RLock()  # a finding may be told to somebody who counts an error for it
        self._series: dict[Key, Series] = {}
        self._severities: dict[Key, ErrorSeverity] = {}
        self._traffic: dict[str, Series] = {}
        self._gauges: dict[Key, tuple[Gauge, float | None]] = {}
        self._trends: dict[tuple[Key, str], tuple[Trend, float, float]] = {}
        self._since = clock()
        self._due_at = 0.0
        self._jobs: deque[Callable[[], None]] = deque()
        self.jobs_at_once: int | None = None  # None: whatever is due is done at once
        self.findings = Findings(
            quiet_s=settings.quiet_s, retention_s=settings.retention_days * DAY_S, findings_max=settings.findings_max
        )
        self.incidents = Incidents(settings.dependencies)
        self._loops = LoopWatch(settings.loop_repeats)
        self.events_total = 0

    # ---- in

    def add_error_event(self, error_context: dict[str, Any]) -> None:
        """Count one error. Keys: ``component`` and ``error_type`` (or ``error``, the exception), optionally
        ``timestamp`` (aware datetime or UTC seconds) and ``severity``; others are welcome and not needed.

        Raises ValidationError naming a key that is missing or wrong.
        """
        component, error_type = error_context.get("component"), error_context.get("error_type")
        if error_type is None and "error" in error_context:
            error_type = type(error_context["error"]).__name__
        at = error_context.get("timestamp")
        if type(at) is not float:
            at = self._clock() if at is None else _seconds(at)
        with self._lock:
            series = self._series.get((component, error_type))  # type: ignore[arg-type]
            if series is None:
                series = self._new_series(component, error_type, error_context.get("severity"), at)
            self.events_total += 1
            second = int(at)
            if second == series.second:
                series.pending += 1
            else:
                series.hit(second)
            if at >= self._due_at:
                self._plan(at)

    def add_traffic(self, component: str, count: int = 1, at: float | None = None) -> None:
        """Requests, failed or not: where they are known, errors are judged per request."""
        now = self._clock() if at is None else at
        with self._lock:
            series = self._traffic.get(component)
            if series is None:
                if len(self._traffic) >= self.settings.series_max:
                    return
                series = self._traffic[component] = Series()
            series.hit(int(now), count)
            if now >= self._due_at:
                self._plan(now)

    def measure(
        self, component: str, gauge: str, value: float, *, limit: float | None = None, at: float | None = None
    ) -> None:
        """A measured value (latency, used share of a budget). ``limit``: the value that should not be reached."""
        now = self._clock() if at is None else at
        with self._lock:
            key = (component, gauge)
            found = self._gauges.get(key)
            if found is None:
                if len(self._gauges) >= GAUGES_MAX:
                    return
                found = self._gauges[key] = (Gauge(), limit)
            found[0].measure(now, value)
            if now >= self._due_at:
                self._plan(now)

    def order_answered(
        self,
        owner: str,
        component: str,
        order: Any,
        reason: str | None,
        *,
        cancel: bool = False,
        at: float | None = None,
    ) -> None:
        """An order's or a cancel's answer: ``reason`` None if it was taken. Equal refusals in a row are a loop.

        ``order`` is hashable and equal for equal orders; its text is the evidence.
        """
        with self._lock:
            if reason is None:
                self._loops.accepted(owner)
                return
            count = self._loops.refused(owner, (cancel, order), reason)
            if not count:
                return
            now = self._clock() if at is None else at
            kind = "cancel_loop" if cancel else "reject_loop"
            evidence = {"owner": owner, "order": str(order)[:300], "reason": reason, "in_a_row": count}
            name = f"{reason}:{abs(hash((owner, order))) % 0xFFFFFF:06x}"
            self._note(kind, component, reason, now, count, 1.0, evidence, ErrorSeverity.HIGH, name=name)

    # ---- looking, when a bin is full

    def advance(self, now: float | None = None) -> None:
        """Look at what is due, also while no error comes; the agent calls it with its own beat."""
        at = self._clock() if now is None else now
        with self._lock:
            if at >= self._due_at:
                self._plan(at)
            elif self._jobs:
                self._work()

    def _plan(self, at: float) -> None:
        fine = int(at // FINE_S)
        first, before = self._due_at == 0.0, int(self._due_at // FINE_S) - 1
        self._due_at = float((fine + 1) * FINE_S)
        if first:
            self._since = min(self._since, at)
            return
        while self._jobs:  # what was due before is not left undone
            self._jobs.popleft()()
        for series in self._traffic.values():
            series.settle()
        for key, series in list(self._series.items()):
            series.settle()
            self._jobs.append(partial(self._look, key, series, fine, before))
        if fine // 3 != before // 3:
            for key, (gauge, limit) in self._gauges.items():
                self._jobs.append(partial(self._look_at_gauge, key, gauge, limit, fine, before))
        self._jobs.append(partial(self._sweep, at))
        self._work()

    def _work(self) -> None:
        left = self.jobs_at_once if self.jobs_at_once is not None else len(self._jobs)
        while self._jobs and left > 0:
            left -= 1
            self._jobs.popleft()()

    def _alpha(self, kind: str) -> float:
        share = self.settings.false_findings_per_day / (len(TESTS_PER_DAY) + 1)
        return share / (TESTS_PER_DAY[kind] * max(4, len(self._series) + len(self._gauges)))

    def _look(self, key: Key, series: Series, fine: int, before: int) -> None:
        """Up to fine bin ``fine``; ``before`` is where the last look ended, for a loaded agent may skip bins."""
        now = float(fine * FINE_S)
        if now - series.last_at > IDLE_S:
            for *_ring, name in SPANS:
                self._trends.pop((key, name), None)
            if len(self._series) >= self.settings.series_max and key != OTHER:
                del self._series[key]  # its place is wanted
            return
        traffic = self._traffic.get(key[0])
        watched = int(now - self._since)
        excess = burst(series, traffic, fine, watched // FINE_S, self._alpha("burst"))
        if excess is not None:
            self._found_burst(key, excess, now)
        if fine * FINE_S // COARSE_S != before * FINE_S // COARSE_S:
            level = elevated(series, traffic, fine * FINE_S // COARSE_S, watched // COARSE_S, self._alpha("elevated"))
            if level is not None:
                self._note("elevated", *key, now, level.errors, 1 - level.p, _of_excess(level), self._severity(key))
        for ring, per, width_s, name in SPANS:
            ended = fine * FINE_S // width_s
            if ended != before * FINE_S // width_s and watched >= BINS * width_s:
                self._look_for_trend(key, series, traffic, (ring, per, width_s, name), float(ended * width_s))

    def _found_burst(self, key: Key, excess: Excess, now: float) -> None:
        grouped = self.incidents.add(Onset(key, excess.began_at, excess.errors))
        part_of = ""
        if grouped is not None:
            part_of = self._found_group(*grouped, now)
        self._note(
            "burst", *key, now, excess.errors, 1 - excess.p, _of_excess(excess), self._severity(key), part_of=part_of
        )

    def _found_group(self, group: Group, ranked: list[Ranked], now: float) -> str:
        """An incident of several kinds: its root first. Told again when the root changes or the group has doubled."""
        root = ranked[0]
        name = f"incident-{int(group.first_at)}"
        finding_id = f"root_cause:{group.number}"
        before = self.findings.get(finding_id)
        changed = before is not None and not before.ended and (before.component, before.error_type) != root.key
        margin = root.score - ranked[1].score
        evidence = {
            "incident": name,
            "order": [
                {"component": each.key[0], "error_type": each.key[1], "after_s": round(each.at - root.at, 1),
                 "score": round(each.score, 3)}
                for each in ranked
            ],
        }  # fmt: skip
        confidence = min(0.99, 0.5 + margin)
        self._note(
            "root_cause", *root.key, now, len(ranked), confidence, evidence, self._severity(root.key),
            name=str(group.number), changed=changed, whole_id=finding_id,
        )  # fmt: skip
        return finding_id

    def _look_for_trend(
        self, key: Key, series: Series, traffic: Series | None, span: tuple[str, int, int, str], now: float
    ) -> None:
        ring_name, per, width_s, name = span
        ring = getattr(series, ring_name)
        until = int(now // ring.width_s)
        counts = _summed(ring.last(BINS * per, until), per)
        if sum(1 for each in counts if each) < BINS // 3:
            self._trends.pop((key, name), None)
            return
        judged = counts
        if traffic is not None:
            judged = _per_request(counts, _summed(getattr(traffic, ring_name).last(BINS * per, until), per))
        trend = trend_of(judged, self._alpha("trend"))
        if trend is None:
            self._trends.pop((key, name), None)
            return
        day = int(DAY_S // COARSE_S)
        if traffic is None and now - self._since >= DAY_S + BINS * width_s:
            per_minute = max(1, width_s // COARSE_S)
            before = series.coarse.last(BINS * per_minute, int(now // COARSE_S) - day)
            if is_seasonal(counts, _summed(before, per_minute)):
                self._trends.pop((key, name), None)
                return
        threshold = self.settings.thresholds.get(f"{key[0]}:{key[1]}", self.settings.threshold_per_min) * width_s / 60
        crossing = crossing_of(counts, threshold, counts=True) if trend.direction == "rising" else None
        self._trends[key, name] = (trend, now, float(width_s))
        evidence = _of_trend(trend, name, width_s, 60.0 / width_s)
        self._note(
            "trend", *key, now, int(sum(counts)), 1 - trend.p, evidence, self._severity(key), name=f"{key[1]}:{name}"
        )
        if crossing is not None:
            self._predict(
                "prediction", key, crossing, width_s, name, now, threshold * 60 / width_s, self._severity(key)
            )

    def _look_at_gauge(self, key: Key, gauge: Gauge, limit: float | None, fine: int, before: int) -> None:
        now = float(fine * FINE_S)
        if now - gauge.last_at > IDLE_S:
            del self._gauges[key]
            return
        for per, width_s, name in GAUGE_SPANS:
            ended = fine * FINE_S // width_s
            if ended == before * FINE_S // width_s or now - self._since < BINS * width_s:
                continue
            values = gauge.means(BINS, per, ended * width_s // FINE_S)
            trend = trend_of(values, self._alpha("trend")) if values is not None else None
            if values is None or trend is None or trend.direction != "rising":
                continue
            crossing = crossing_of(values, limit, counts=False) if limit is not None else None
            evidence = _of_trend(trend, name, width_s, 1.0)
            self._note("precursor", *key, now, BINS, 1 - trend.p, evidence, ErrorSeverity.MEDIUM)
            if crossing is not None and limit is not None:
                self._predict("prediction", key, crossing, width_s, name, now, limit, ErrorSeverity.HIGH)

    def _predict(
        self, kind: str, key: Key, crossing: Crossing, width_s: int, name: str, now: float, limit: float,
        severity: ErrorSeverity,
    ) -> None:  # fmt: skip
        if crossing.bins * width_s > self.settings.horizon_s:
            return
        high_s = min(crossing.high * width_s, 10 * self.settings.horizon_s)
        evidence = {
            "threshold": round(limit, 6),
            "in_s": round(crossing.bins * width_s),
            "low_s": round(crossing.low * width_s),
            "high_s": round(high_s),
            "interval": 0.9,
            "crosses_at": _utc(now + crossing.bins * width_s).isoformat(timespec="seconds"),
            "over": name,
        }
        sharpness = 1.0 / (1.0 + (high_s - crossing.low * width_s) / max(1.0, crossing.bins * width_s))
        self._note(kind, *key, now, 1, round(sharpness, 3), evidence, severity)

    def _sweep(self, now: float) -> None:
        for finding in self.findings.sweep(now):
            self._tell(ENDED, finding)

    def _note(
        self, kind: str, component: str, error_type: str, now: float, frequency: int, confidence: float,
        evidence: dict[str, Any], severity: ErrorSeverity, *, name: str = "", part_of: str = "", changed: bool = False,
        whole_id: str = "",
    ) -> None:  # fmt: skip
        finding = Finding(
            id=whole_id or f"{kind}:{component}:{name or error_type}",
            kind=kind,
            component=component,
            error_type=error_type,
            first_at=now,
            last_at=now,
            frequency=frequency,
            severity=severity,
            confidence=round(min(1.0, max(0.0, confidence)), 6),
            action=ACTIONS[kind],
            evidence=evidence,
            part_of=part_of,
        )
        what = self.findings.note(finding, changed=changed)
        if what and part_of:
            self.findings.suppressed += 1  # it follows from an incident that is told
        elif what:
            kept = self.findings.get(finding.id)
            self._tell(what, kept or finding)

    def _tell(self, what: str, finding: Finding) -> None:
        if self._on_finding is not None:
            self._on_finding(what, finding)

    # ---- out

    def get_pattern_summary(self) -> dict[str, Any]:
        """``patterns``: `ErrorPattern`s by id, those that last first; ``open``, ``events``, ``series``,
        ``suppressed``.
        """
        self.advance()
        found = sorted(self.findings.all(), key=lambda each: (each.ended, -each.last_at))
        return {
            "patterns": {each.id: pattern_of(each) for each in found},
            "open": [each.id for each in found if not each.ended],
            "events": self.events_total,
            "series": len(self._series),
            "suppressed": self.findings.suppressed,
        }

    def get_correlation_summary(self) -> dict[str, Any]:
        """``correlations``: pairs that keep coming together, with their lag; ``incidents``: roots."""
        self.advance()
        with self._lock:
            pairs = self.incidents.correlations(self._due_at)
        return {
            "correlations": [_shown(each) for each in pairs],
            "incidents": [
                {
                    "id": each.id,
                    "root": [each.component, each.error_type],
                    "confidence": each.confidence,
                    **each.evidence,
                }
                for each in self.findings.all()
                if each.kind == "root_cause"
            ],
        }

    def get_trend_summary(self) -> dict[str, Any]:
        """``trends``: `ErrorTrend`s that hold now; ``predictions``: crossings that are coming."""
        self.advance()
        with self._lock:
            trends = [
                self._trend_shown(key, name, trend, at, width_s)
                for (key, name), (trend, at, width_s) in self._trends.items()
            ]
        coming = [each for each in self.findings.all() if each.kind == "prediction" and not each.ended]
        return {
            "trends": trends,
            "predictions": [
                {
                    "component": each.component,
                    "error_type": each.error_type,
                    "told_at": _utc(each.first_at),
                    **each.evidence,
                }
                for each in coming
            ],
        }

    def _trend_shown(self, key: Key, name: str, trend: Trend, at: float, width_s: float) -> ErrorTrend:
        ring_name, per = next((ring, per) for ring, per, _width, span in SPANS if span == name)
        ring = getattr(self._series[key], ring_name)
        counts = _summed(ring.last(BINS * per, int(at // ring.width_s)), per)
        begin = at - BINS * width_s
        points = [(_utc(begin + place * width_s), int(count)) for place, count in enumerate(counts)]
        return ErrorTrend(*key, name, trend.direction, round(trend.strength, 3), _utc(begin), _utc(at), points)

    # ---- parts

    def _severity(self, key: Key) -> ErrorSeverity:
        return self._severities.get(key, ErrorSeverity.MEDIUM)

    def _new_series(self, component: Any, error_type: Any, severity: Any, at: float) -> Series:
        for name, value in (("component", component), ("error_type", error_type)):
            if not isinstance(value, str) or not value:
                raise ValidationError(f"error_context[{name!r}] is {value!r}; a name is expected")
        key = (component, error_type)
        if len(self._series) >= self.settings.series_max and OTHER in self._series:
            return self._series[OTHER]
        if len(self._series) >= self.settings.series_max:
            key = OTHER
        self._series[key] = series = Series()
        try:
            self._severities[key] = ErrorSeverity(getattr(severity, "value", severity or "medium"))
        except ValueError:
            self._severities[key] = ErrorSeverity.MEDIUM
        return series


def pattern_of(finding: Finding) -> ErrorPattern:
    return ErrorPattern(
        pattern_id=finding.id,
        kind=finding.kind,
        component=finding.component,
        error_type=finding.error_type,
        frequency=finding.frequency,
        severity=finding.severity,
        first_seen=_utc(finding.first_at),
        last_seen=_utc(finding.last_at),
        confidence=finding.confidence,
        evidence={
            **finding.evidence,
            "ended": finding.ended,
            **({"part_of": finding.part_of} if finding.part_of else {}),
        },
        suggested_action=finding.action,
    )


def _seconds(at: Any) -> float:
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValidationError("error_context['timestamp'] is a naive datetime; an aware one is expected")
        return at.timestamp()
    if isinstance(at, int | float) and not isinstance(at, bool):
        return float(at)
    raise ValidationError(
        f"error_context['timestamp'] is a {type(at).__name__}; a datetime or UTC seconds are expected"
    )


def _summed(values: list[float], per: int) -> list[float]:
    return values if per == 1 else [sum(values[at : at + per]) for at in range(0, len(values), per)]


def _per_request(counts: list[float], requests: list[float]) -> list[float]:
    """Errors at the row's mean traffic; a bin without requests keeps its count."""
    mean = sum(requests) / max(1, len(requests))
    return [count * mean / each if each else count for count, each in zip(counts, requests, strict=True)]


def _of_excess(excess: Excess) -> dict[str, Any]:
    return {"errors": excess.errors, "usual": round(excess.usual, 2), "p": float(f"{excess.p:.2e}"),
            "began_at": _utc(excess.began_at).isoformat()}  # fmt: skip


def _of_trend(trend: Trend, name: str, width_s: int, per_minute: float) -> dict[str, Any]:
    return {
        "direction": trend.direction,
        "strength": round(trend.strength, 3),
        "level_per_min": round(trend.level * per_minute, 3),
        "change_per_hour": round(trend.slope * per_minute * 3600 / width_s, 3),
        "p": float(f"{trend.p:.2e}"),
        "over": name,
    }


def _shown(each: Correlation) -> Mapping[str, Any]:
    return {
        "leader": list(each.leader),
        "follower": list(each.follower),
        "lag_s": round(each.lag_s, 1),
        "together": each.hits,
        "of": each.of,
        "p": float(f"{each.p:.2e}"),
        "q": float(f"{each.q:.2e}"),
    }
