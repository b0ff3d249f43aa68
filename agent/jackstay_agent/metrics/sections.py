"""The agent's own facts (`jackstay status`) and the tally, as rows of metrics. Runs at a scrape, never on a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .picture import BOTS_MAX, Picture
from .tally import Tally

BREAKER_STATES = ("closed", "half_open", "open", "forced_open", "disabled", "metrics_only")
BREAKER_RESULTS = ("ok", "failed", "ignored", "refused", "bypassed")
BOT_STATES = ("well", "late", "stalled", "dead", "left", "held")
ENDS = ("done", "absent", "expired")
EVERYWHERE = "*"
INTENTS = ("begun", "queued", "refused", "expired", "contradictions", "damaged_rows")


def tallied(picture: Picture, tally: Tally) -> None:
    for answer, count in tally.answers.items():
        picture.put("jackstay_requests", count, *answer)
    for refusal, count in tally.refusals.items():
        picture.put("jackstay_refusals", count, *refusal)
    for place, histogram in tally.waits.items():
        picture.put("jackstay_request_duration_seconds", histogram.copy(), *place)
    for place, histogram in tally.exchanges.items():
        picture.put("jackstay_venue_duration_seconds", histogram.copy(), *place)
    for state, count in (dict.fromkeys(ENDS, 0) | tally.settled_late).items():
        picture.put("jackstay_settled_late", count, state)
    for name, count in tally.events.items():
        picture.put("jackstay_events", count, name)


def of_status(picture: Picture, status: Mapping[str, Any], readers: Mapping[str, Any], tally: Tally) -> None:
    """``status`` is Agent.status(), ``readers`` FeedDoor.snapshot()."""
    _agent(picture, status)
    for origin, upstream in status["upstreams"].items():
        _upstream(picture, origin.partition("://")[2] or origin, upstream)
    _venues(picture, status)
    _outbox(picture, status)
    _bots(picture, status)
    _feeds(picture, status["feeds"], readers, tally)
    _records(picture, status)


def _agent(picture: Picture, status: Mapping[str, Any]) -> None:
    names = ("agent", "version", "wire_version", "grade", "preset")
    picture.put("jackstay_build", 1.0, *(status[name] for name in names))
    picture.put("jackstay_uptime_seconds", status["uptime_s"])
    picture.put("jackstay_loop_lag_worst_seconds", status["loop_lag_worst_s"])
    requests, gateway = status["requests"], status["gateway"]
    picture.put("jackstay_requests_in_flight", status["in_flight"] + status["http"].get("in_flight", 0))
    picture.put("jackstay_request_retries", requests["retries"])
    picture.put("jackstay_request_waits", requests["waited"])
    picture.put("jackstay_request_faults", requests["broken"])
    picture.put("jackstay_refused_frames", gateway["refused_frames"])
    picture.put("jackstay_expired_frames", gateway["refused_expired"])
    load = status["overload"]
    picture.put("jackstay_loop_lag_seconds", load["lag_s"])
    picture.put("jackstay_overload_level", load["level"])
    for measure, ratio in load["pressure"].items():
        picture.put("jackstay_overload_pressure_ratio", ratio, measure)
    for lane, count in load["shed"].items():
        picture.put("jackstay_shed", count, lane)


def _upstream(picture: Picture, host: str, upstream: Mapping[str, Any]) -> None:
    pool = upstream["pool"]
    for state in ("ready", "busy", "connecting"):
        picture.put("jackstay_connections", pool[state], host, state)
    picture.put("jackstay_connection_waiters", pool["waiting"], host)
    picture.put("jackstay_connection_dials", pool["dials"], host)
    picture.put("jackstay_connection_dial_failures", pool["dial_failures"], host)
    picture.put("jackstay_connection_timeouts", pool["timeouts"], host)
    picture.put("jackstay_connection_quality_ratio", pool["quality"], host)
    for name, breaker in upstream["breakers"].items():
        picture.states("jackstay_breaker_state", breaker["state"], BREAKER_STATES, host, name)
        for result in BREAKER_RESULTS:
            picture.put("jackstay_breaker_results", breaker[result], host, name, result)
    limits = upstream["limits"]
    picture.put("jackstay_budget_waiters", limits["waiting"], host)
    used: dict[str, float] = {}
    for budget in limits["budgets"]:  # one per key: the fullest counts
        if budget["limit"]:
            used[budget["budget"]] = max(used.get(budget["budget"], 0.0), budget["used"] / budget["limit"])
    for name, share in used.items():
        picture.put("jackstay_budget_used_ratio", share, host, name)
    closed: dict[str, int] = {}
    for gate in limits["gates"]:
        closed[gate["scope"]] = closed.get(gate["scope"], 0) + 1
    for scope in ("ip", "key", "endpoint", "order_count"):
        picture.put("jackstay_gates_closed", closed.get(scope, 0), host, scope)


def _venues(picture: Picture, status: Mapping[str, Any]) -> None:
    for venue, facts in status["venues"].items():
        offset_ms = facts.get("clock_offset_ms")
        picture.put("jackstay_clock_offset_seconds", None if offset_ms is None else offset_ms / 1000, venue)
    held = {(each["venue"], each["mode"]) for each in status["modes"]}
    for venue in {EVERYWHERE, *status["venues"]} - {venue for venue, _mode in held}:
        picture.put("jackstay_mode", 1.0, venue, "normal")
    for venue, mode in sorted(held):
        picture.put("jackstay_mode", 1.0, venue, mode)
    for venue, stream in status["user_streams"].items():
        picture.put("jackstay_user_stream_up", 1.0 if stream["state"] == "live" else 0.0, venue)
        picture.put("jackstay_user_stream_connects", stream["connects"], venue)
    soonest: dict[str, float] = {}
    for switch in status["deadman"]:  # one per symbol at some venues
        soonest[switch["venue"]] = min(soonest.get(switch["venue"], float("inf")), switch["fires_in_s"])
    for venue, left_s in soonest.items():
        picture.put("jackstay_deadman_fires_seconds", left_s, venue)


def _outbox(picture: Picture, status: Mapping[str, Any]) -> None:
    queue = status["queue"]
    picture.put("jackstay_outbox_degraded", 1.0 if queue["degraded"] else 0.0)
    for state, count in queue["open"].items():
        picture.put("jackstay_intents_open", count, state)
    picture.put("jackstay_unknown_oldest_seconds", queue["oldest_unknown_s"])
    for origin, count in (dict.fromkeys(status["upstreams"], 0) | queue["queued"]).items():
        picture.put("jackstay_queue_entries", count, origin.partition("://")[2] or origin)
    picture.put("jackstay_queue_bytes", queue["queued_bytes"])
    bots = dict.fromkeys((each["bot"] for each in status["bots"]), 0) | queue["uncollected"]
    for bot, count in picture.at_most(BOTS_MAX, bots.items()):
        picture.put("jackstay_outcomes_uncollected", count, bot)
    for what in INTENTS:
        picture.put("jackstay_intents", queue["totals"][what], what)
    picture.put("jackstay_outbox_commits", queue["commits"])
    picture.put("jackstay_outbox_wal_bytes", queue["wal_bytes"])


def _bots(picture: Picture, status: Mapping[str, Any]) -> None:
    watched = status["watchdog"]["bots"]
    for bot in picture.at_most(BOTS_MAX, status["bots"]):
        name = bot["bot"]
        picture.put("jackstay_bot_silent_seconds", bot["silent_s"], name)
        picture.put("jackstay_bot_lease_seconds", bot["lease_s"], name)
    for name, facts in picture.at_most(BOTS_MAX, watched.items()):
        picture.states("jackstay_bot_state", facts["state"], BOT_STATES, name)


def _feeds(picture: Picture, feeds: Mapping[str, Any], readers: Mapping[str, Any], tally: Tally) -> None:
    for name, feed in feeds.items():
        sockets = feed["sockets"]
        live = sum(each["state"] == "live" for each in sockets)
        picture.put("jackstay_feed_sockets", live, name, "live")
        picture.put("jackstay_feed_sockets", len(sockets) - live, name, "down")
        ages = [each["data_age_s"] for each in sockets if each["data_age_s"] is not None]
        picture.put("jackstay_feed_data_age_seconds", min(ages, default=None), name)
        picture.put("jackstay_feed_messages", feed["messages"], name)
        picture.put("jackstay_feed_connects", tally.feeds.get(("feed.connected", name), 0), name)
        picture.put("jackstay_feed_gaps", tally.feeds.get(("feed.gap", name), 0), name)
    picture.put("jackstay_feed_readers", len(readers["readers"]))
    picture.put("jackstay_feed_reader_queued_bytes", sum(each["queued_bytes"] for each in readers["readers"]))
    picture.put("jackstay_feed_dropped", readers["dropped"])


def _records(picture: Picture, status: Mapping[str, Any]) -> None:
    monitor, patterns, audit = status["state_monitor"], status["patterns"], status["audit"]
    picture.put("jackstay_state_discrepancies", monitor.get("standing"))
    picture.put("jackstay_state_checks", monitor.get("checks"))
    picture.put("jackstay_error_patterns_open", patterns.get("open"))
    picture.put("jackstay_errors", patterns.get("errors"))
    if audit["state"] != "off":
        picture.put("jackstay_audit_degraded", 0.0 if audit["state"] == "writing" else 1.0)
        picture.put("jackstay_audit_lines", audit["lines"])
        picture.put("jackstay_audit_lost", audit["lost"])
