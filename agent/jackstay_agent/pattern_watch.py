"""Step 10 for the analytics: what the one hook tells becomes errors, traffic, latency and loops; findings become
events.

Acts only where a switch says so ([analytics.act]): a predicted use of a venue's whole allowance may hold new entries
back, a creeping latency may have connections replaced. Loops are stopped where orders are admitted (core/loop_stop);
here they get their names. Looking at the counts is spread over the agent's beats, a few kinds of errors at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from jackstay_protocols.errors import Outcome, ValidationError
from jackstay_protocols.messages import Refusal

from .config import Config
from .core.event_sink import EventSink
from .core.findings import FOUND, Finding
from .core.modes import Mode
from .gateway.control_door import Verb
from .gateway.door import PeerCredentials
from .judgement import CHANGES_WITH_EVERY_REQUEST, NOT_PART_OF_AN_ORDER
from .logs import ERRORS, WARNINGS
from .pattern_analytics import ErrorPatternAnalytics, ErrorTrend
from .telling import Asked, Attempt, Listener
from .upstreams import Upstreams
from .venue_modes import VenueModes

JOBS_PER_BEAT = 4  # about a millisecond
WEIGHTS_EVERY_S = 10.0
THROTTLE_S_MAX = 300.0
ROTATE_EVERY_S = 300.0
HOLDER = "analytics"
LATENCY, WEIGHT = "latency_ms", "used_share"
#: Events that are told as errors of their own already, or are nobody's errors.
NOT_ERRORS = frozenset({"bot.error", "pattern.found", "pattern.grew", "loop.stopped"})
NOT_ERRORS_OF = ("error.", "alert.", "audit.", "telling.", "operator.")


class PatternWatch(Listener):
    """Feeds one agent's `ErrorPatternAnalytics` and speaks for it on control.sock."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        modes: VenueModes,
        upstreams: Upstreams,
        on_event: EventSink,
    ) -> None:
        self._clock, self._wall = clock, wall
        self._modes, self._upstreams, self._on_event = modes, upstreams, on_event
        self._act = config.analytics.act
        self.analytics = ErrorPatternAnalytics(config, clock=wall, on_finding=self._found)
        self.analytics.jobs_at_once = JOBS_PER_BEAT
        self._weights_at = 0.0
        self._rotated_at: dict[str, float] = {}
        self.acted = dict.fromkeys(("throttled", "rotated"), 0)

    # ---- hearing

    def decided(self, asked: Asked, refusal: Refusal | None) -> None:
        if refusal is not None:
            self._error("admission", str(refusal.reason), "low")

    def attempted(self, asked: Asked, attempt: Attempt) -> None:
        at, verdict = self._wall(), attempt.verdict
        venue = asked.venue if asked.venue != "generic" else asked.host
        analytics = self.analytics
        analytics.add_traffic(venue, at=at)
        if attempt.status:
            latency_ms = (attempt.ended_at - attempt.started_at) * 1000.0
            analytics.measure(asked.host, LATENCY, latency_ms, at=at)
        if verdict.outcome is not Outcome.OK:
            self._error(venue, str(verdict.cause), str(verdict.severity), at)
        if asked.own or asked.kind in ("query", "order_query", "other") or verdict.outcome not in _ANSWERS:
            return
        reason = None if verdict.outcome is Outcome.OK else f"{verdict.code or verdict.cause}"
        owner = f"{asked.bot}@{venue}"
        order = () if reason is None else _order_of(asked)
        cancel = asked.kind in ("cancel", "cancel_all")
        if reason is not None or not cancel:  # a cancel that worked does not end a loop of refused orders
            analytics.order_answered(owner, venue, order, reason, cancel=cancel, at=at)

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        if name == "bot.error":
            component = str(fields.get("component") or "bot")[:100]
            self._error(
                component, str(fields.get("error_type") or "Error")[:100], str(fields.get("severity") or "medium")
            )
        elif (name in WARNINGS or name in ERRORS) and name not in NOT_ERRORS and not name.startswith(NOT_ERRORS_OF):
            component, _, what = name.partition(".")
            self._error(component, what, "high" if name in ERRORS else "medium")

    def _error(self, component: str, error_type: str, severity: str, at: float | None = None) -> None:
        self.analytics.add_error_event(
            {
                "component": component or "agent",
                "error_type": error_type or "error",
                "severity": severity,
                "timestamp": self._wall() if at is None else at,
            }
        )

    def tick(self) -> None:
        """Every beat of the agent: a few looks; now and then what each venue's allowances are used by."""
        now = self._clock()
        if now - self._weights_at >= WEIGHTS_EVERY_S:
            self._weights_at = now
            at = self._wall()
            for upstream in self._upstreams:
                for budget in upstream.judgement.limiter.status(now)["budgets"]:
                    if budget["limit"]:
                        name = f"{WEIGHT}:{budget['budget']}"
                        self.analytics.measure(upstream.host, name, budget["used"] / budget["limit"], limit=1.0, at=at)
        self.analytics.advance(self._wall())

    # ---- findings

    def _found(self, what: str, finding: Finding) -> None:
        self._on_event(f"pattern.{what}", told(finding))
        if what == FOUND:
            self._maybe_act(finding)

    def _maybe_act(self, finding: Finding) -> None:
        if finding.kind == "prediction" and finding.error_type.startswith(WEIGHT) and self._act.throttle_ahead:
            venue = self._upstreams.venue_of(finding.component)
            for_s = min(THROTTLE_S_MAX, max(10.0, float(finding.evidence["in_s"])))
            why = f"{finding.error_type} of {finding.component} would reach its limit in {finding.evidence['in_s']} s"
            self._modes.hold(venue, Mode.CONSERVATIVE, holder=HOLDER, why=why, for_s=for_s)
            self.acted["throttled"] += 1
            self._on_event("pattern.acted", {"id": finding.id, "act": "throttle_ahead", "venue": venue, "for_s": for_s})
        elif finding.kind == "precursor" and finding.error_type == LATENCY and self._act.rotate_connections:
            now = self._clock()
            if now - self._rotated_at.get(finding.component, -ROTATE_EVERY_S) < ROTATE_EVERY_S:
                return
            self._rotated_at[finding.component] = now
            drained = sum(each.pool.drain() for each in self._upstreams if each.host == finding.component)
            self.acted["rotated"] += drained
            facts = {"id": finding.id, "act": "rotate_connections", "host": finding.component, "connections": drained}
            self._on_event("pattern.acted", facts)

    # ---- control.sock

    def verbs(self) -> dict[str, Verb]:
        return {
            "patterns.list": self._list,
            "patterns.ack": self._acknowledge,
            "trends.list": self._trends,
        }

    def _list(self, args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        found = sorted(self.analytics.findings.all(), key=lambda each: (each.ended, -each.last_at))
        everything = bool(args.get("all"))
        return {
            "patterns": [told(each) for each in found if everything or not each.ended][:500],
            "total": len(found),
            "events": self.analytics.events_total,
            "suppressed": self.analytics.findings.suppressed,
            "acted": dict(self.acted),
            **self.analytics.get_correlation_summary(),
        }

    def _acknowledge(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        name = str(args.get("id", ""))
        if not self.analytics.findings.acknowledge(name):
            raise ValidationError(f"no pattern {name[:200]!r} is kept; `jackstay patterns list --all` shows their ids")
        self._on_event("operator.pattern_acknowledged", {"uid": who.uid if who else None, "id": name})
        return {"acknowledged": name}

    def _trends(self, _args: dict[str, Any], _who: PeerCredentials | None) -> dict[str, Any]:
        found = self.analytics.get_trend_summary()
        gauges = [told(each) for each in self.analytics.findings.all() if each.kind == "precursor" and not each.ended]
        return {
            "trends": [_trend(each) for each in found["trends"]],
            "predictions": [{**each, "told_at": each["told_at"].isoformat()} for each in found["predictions"]],
            "precursors": gauges,
        }

    def status(self) -> dict[str, Any]:
        found = self.analytics.findings.all()
        return {
            "open": sum(1 for each in found if not each.ended),
            "kept": len(found),
            "errors": self.analytics.events_total,
            "suppressed": self.analytics.findings.suppressed,
            **self.acted,
        }


_ANSWERS = frozenset({Outcome.OK, Outcome.REJECTED})


def told(finding: Finding) -> dict[str, Any]:
    """A finding as an event's fields: plain values."""
    return {
        "id": finding.id,
        "kind": finding.kind,
        "component": finding.component,
        "error_type": finding.error_type,
        "frequency": finding.frequency,
        "severity": str(finding.severity),
        "confidence": finding.confidence,
        "first_at": datetime.fromtimestamp(finding.first_at, UTC).isoformat(timespec="seconds"),
        "last_at": datetime.fromtimestamp(finding.last_at, UTC).isoformat(timespec="seconds"),
        "ended": finding.ended,
        "part_of": finding.part_of,
        "acknowledged": finding.acknowledged,
        "evidence": finding.evidence,
        "action": finding.action,
    }


def _trend(trend: ErrorTrend) -> dict[str, Any]:
    return {
        "component": trend.component,
        "error_type": trend.error_type,
        "time_period": trend.time_period,
        "trend_direction": trend.trend_direction,
        "trend_strength": trend.trend_strength,
        "start_time": trend.start_time.isoformat(),
        "end_time": trend.end_time.isoformat(),
        "counts": [count for _at, count in trend.data_points],
    }


def _order_of(asked: Asked) -> tuple[str, ...]:
    """Equal for equal orders: the fields without ids, clocks and signatures; of anything else, what it names too."""
    if asked.orders:
        return tuple(
            f"{each.symbol} {each.side} {each.type} {each.quantity or each.quote_quantity} @ {each.price or 'market'}"
            for each in asked.orders
        )
    hidden = NOT_PART_OF_AN_ORDER if asked.kind == "place" else CHANGES_WITH_EVERY_REQUEST
    return (asked.path, *sorted(f"{k}={v}" for k, v in asked.given.items() if k.lower() not in hidden))
