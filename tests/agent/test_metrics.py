"""Rows of metrics from facts, and reasons for /ready: the cases that a running agent rarely meets."""

from __future__ import annotations

from typing import Any

from jackstay_agent.metrics.picture import ROWS_MAX, Picture
from jackstay_agent.metrics.readiness import reasons
from jackstay_agent.metrics.sections import of_status, tallied
from jackstay_agent.metrics.tally import BOUNDS_S, EVENT_NAMES_MAX, Histogram, Tally

READERS: dict[str, Any] = {"readers": [], "dropped": 0}


def status(**changes: Any) -> dict[str, Any]:
    """An agent that has met one venue."""
    breaker = {"state": "closed", "ok": 1, "failed": 0, "ignored": 0, "refused": 0, "bypassed": 0}
    upstream = {
        "profile": "binance",
        "pool": {"live": 1, "ready": 1, "busy": 0, "connecting": 0, "waiting": 0, "dials": 1, "dial_failures": 0,
                 "timeouts": 0, "quality": 1.0, "last_error": ""},
        "breakers": {"orders": dict(breaker), "account": dict(breaker)},
        "limits": {"budgets": [], "gates": [], "waiting": 0},
    }  # fmt: skip
    totals = dict.fromkeys(("begun", "queued", "refused", "expired", "contradictions", "damaged_rows"), 0)
    return {
        "agent": "t", "version": "1", "wire_version": 1, "grade": "carry", "preset": "observe", "state": "running",
        "uptime_s": 1.0, "loop_lag_worst_s": 0.0, "in_flight": 0, "http": {},
        "requests": {"retries": 0, "waited": 0, "broken": 0}, "gateway": {"refused_frames": 0, "refused_expired": 0},
        "overload": {"lag_s": 0.0, "level": 0, "pressure": {}, "shed": {}},
        "upstreams": {"https://api.binance.com": upstream},
        "venues": {"binance": {"clock_offset_ms": 250.0}}, "modes": [], "user_streams": {}, "deadman": [],
        "queue": {"degraded": None, "open": {}, "oldest_unknown_s": 0.0, "queued": {}, "queued_bytes": 0,
                  "uncollected": {}, "totals": totals, "commits": 0, "wal_bytes": 0},
        "bots": [], "watchdog": {"bots": {}}, "feeds": {}, "state_monitor": {}, "patterns": {},
        "audit": {"state": "off"},
    } | changes  # fmt: skip


def rows(**changes: Any) -> dict[str, dict[tuple[str, ...], float | Histogram]]:
    picture = Picture()
    of_status(picture, status(**changes), READERS, Tally())
    return {name: dict(found) for name, found in picture.rows.items()}


def test_the_switch_that_fires_first_counts() -> None:
    """A venue with a switch per symbol shows the one that is next."""
    armed = [{"venue": "kraken", "fires_in_s": 40.0}, {"venue": "kraken", "fires_in_s": 12.5}]
    assert rows(deadman=armed)["jackstay_deadman_fires_seconds"] == {("kraken",): 12.5}


def test_a_state_is_one_of_several_rows() -> None:
    """1 for the state a breaker is in and 0 for the others, so that a rule can name any of them."""
    state = status()
    state["upstreams"]["https://api.binance.com"]["breakers"]["orders"]["state"] = "open"
    picture = Picture()
    of_status(picture, state, READERS, Tally())
    told = {labels[1:]: on for labels, on in picture.rows["jackstay_breaker_state"] if on}
    assert told == {("orders", "open"): 1.0, ("account", "closed"): 1.0}


def test_the_fullest_key_stands_for_a_budget() -> None:
    """Keys are no labels: of several budgets of one name the most used one is shown; milliseconds become seconds."""
    state = status()
    state["upstreams"]["https://api.binance.com"]["limits"]["budgets"] = [
        {"budget": "orders", "whose": "key-1", "used": 10.0, "limit": 100.0},
        {"budget": "orders", "whose": "key-2", "used": 90.0, "limit": 100.0},
        {"budget": "off", "whose": "ip", "used": 0.0, "limit": 0.0},
    ]
    picture = Picture()
    of_status(picture, state, READERS, Tally())
    assert picture.rows["jackstay_budget_used_ratio"] == [(("api.binance.com", "orders"), 0.9)]
    assert picture.rows["jackstay_clock_offset_seconds"] == [(("binance",), 0.25)]


def test_a_picture_is_of_one_moment() -> None:
    """A page is written over several turns of the loop; what is counted meanwhile is the next page's."""
    tally, picture = Tally(), Picture()
    tally.waits["binance", "orders"] = counted = Histogram()
    tallied(picture, tally)
    counted.add(0.001)
    ((_labels, shown),) = picture.rows["jackstay_request_duration_seconds"]
    assert isinstance(shown, Histogram)
    assert sum(shown.counts) == 0


def test_a_metric_has_a_bound_of_rows() -> None:
    """What is past it is counted, not shown."""
    picture = Picture()
    for number in range(ROWS_MAX + 5):
        picture.put("jackstay_events", 1, f"event {number}")
    assert (len(picture.rows["jackstay_events"]), picture.dropped) == (ROWS_MAX, 5)


def test_the_tally_is_bounded_and_its_buckets_end_where_they_say() -> None:
    """A duration at a bound is in its bucket; names of events past the bound are not kept."""
    histogram, tally = Histogram(), Tally()
    for seconds in (*BOUNDS_S, 31.0):
        histogram.add(seconds)
    assert histogram.counts == [1] * (len(BOUNDS_S) + 1)
    for number in range(EVENT_NAMES_MAX + 10):
        tally.happened(f"name.{number}", {}, 0)
    tally.happened("name.0", {}, 0)
    assert (len(tally.events), tally.events["name.0"]) == (EVENT_NAMES_MAX, 2)


def test_reasons_for_not_being_ready() -> None:
    """Each in words; a host the configuration does not name is nobody's promise."""
    state = status(state="draining")
    state["queue"]["degraded"] = "disk full"
    state["overload"]["level"] = 3
    upstream = state["upstreams"]["https://api.binance.com"]
    upstream["breakers"]["orders"]["state"] = "open"
    upstream["limits"]["gates"] = [{"scope": "ip", "left_s": 12.0, "why": "418"}, {"scope": "key", "left_s": 1.0}]
    told = reasons(state, counted={"binance"}, missing=["feed.sock"])
    assert [each.partition(":")[0] for each in told] == ["door", "agent", "outbox", "agent", "venue", "venue"]
    assert told[-1] == "venue: api.binance.com: the venue refuses this address for 12 s: 418"
    assert reasons(status(), counted={"binance"}, missing=[]) == []
    assert [each for each in reasons(state, counted=set(), missing=[]) if each.startswith("venue")] == []
