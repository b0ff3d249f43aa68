"""Every metric there is: name, kind, help, labels. The one list; pages, documentation, dashboard and alerts go by it.

Conventions are Prometheus' own: base units, ``_total`` for counters (added when it is written), one meaning per label.
No label holds a client order id, a symbol or anything else a bot can make up without end.
"""

from __future__ import annotations

from typing import NamedTuple

GAUGE, COUNTER, HISTOGRAM, INFO = "gauge", "counter", "histogram", "info"


class Metric(NamedTuple):
    kind: str
    help: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    # the agent itself
    "jackstay_build": Metric(INFO, "Which agent this is.", ("agent", "version", "wire_version", "grade", "preset")),
    "jackstay_ready": Metric(GAUGE, "1 while /ready says 200: doors, outbox and venues are there."),
    "jackstay_uptime_seconds": Metric(GAUGE, "Since this process was started."),
    "jackstay_resident_memory_bytes": Metric(GAUGE, "Resident memory of the agent."),
    "jackstay_cpu_seconds": Metric(COUNTER, "CPU time of the agent, user and system."),
    "jackstay_open_fds": Metric(GAUGE, "Open file descriptors of the agent."),
    "jackstay_loop_lag_seconds": Metric(GAUGE, "How late the event loop is, smoothed over a second."),
    "jackstay_loop_lag_worst_seconds": Metric(GAUGE, "The latest its tick has ever been since the start."),
    "jackstay_overload_level": Metric(GAUGE, "0 none, 1 sheds other, 2 and queries, 3 and orders; never de-risking."),
    "jackstay_overload_pressure_ratio": Metric(GAUGE, "A measure over its limit in [overload].", ("measure",)),
    "jackstay_shed": Metric(COUNTER, "Requests refused because of overload.", ("lane",)),
    "jackstay_events": Metric(COUNTER, "Events of the agent by name (docs/OPERATIONS.md).", ("event",)),
    "jackstay_metrics_rows_dropped": Metric(COUNTER, "Rows left out: a metric is at its bound."),
    # requests
    "jackstay_requests": Metric(
        COUNTER, "Answered requests of bots; refusals are counted apart.", ("venue", "operation", "outcome")
    ),
    "jackstay_refusals": Metric(
        COUNTER, "Requests the agent refused; nothing was sent.", ("venue", "lane", "reason")
    ),
    "jackstay_request_duration_seconds": Metric(
        HISTOGRAM, "From a bot's frame to its answer, waits included.", ("venue", "operation")
    ),
    "jackstay_venue_duration_seconds": Metric(
        HISTOGRAM, "What one exchange with the venue took.", ("venue", "operation")
    ),
    "jackstay_requests_in_flight": Metric(GAUGE, "Requests of bots without an answer yet."),
    "jackstay_request_retries": Metric(COUNTER, "Questions that were asked again; orders never are."),
    "jackstay_request_waits": Metric(COUNTER, "Times a request had to wait for room, a venue or an unknown order."),
    "jackstay_request_faults": Metric(COUNTER, "Requests that ended in a fault of the agent's own."),
    "jackstay_refused_frames": Metric(COUNTER, "Frames on bot.sock that were no message."),
    "jackstay_expired_frames": Metric(COUNTER, "Requests read after their deadline, refused before the journal."),
    # venues
    "jackstay_connections": Metric(GAUGE, "Pooled connections.", ("upstream", "state")),
    "jackstay_connection_waiters": Metric(GAUGE, "Requests waiting for a connection.", ("upstream",)),
    "jackstay_connection_dials": Metric(COUNTER, "Connections dialled.", ("upstream",)),
    "jackstay_connection_dial_failures": Metric(COUNTER, "Dials that failed.", ("upstream",)),
    "jackstay_connection_timeouts": Metric(COUNTER, "Requests without an answer in time.", ("upstream",)),
    "jackstay_connection_quality_ratio": Metric(GAUGE, "0 to 1, of latency and loss.", ("upstream",)),
    "jackstay_breaker_state": Metric(GAUGE, "1 for the state it is in.", ("upstream", "breaker", "state")),
    "jackstay_breaker_results": Metric(COUNTER, "What breakers were told.", ("upstream", "breaker", "result")),
    "jackstay_budget_used_ratio": Metric(GAUGE, "Used share of a rate budget.", ("upstream", "budget")),
    "jackstay_gates_closed": Metric(GAUGE, "Gates a venue closed (429, ban).", ("upstream", "scope")),
    "jackstay_budget_waiters": Metric(GAUGE, "Requests waiting for room in a budget.", ("upstream",)),
    "jackstay_mode": Metric(GAUGE, "1 for each mode held, or normal; venue * is all of them.", ("venue", "mode")),
    "jackstay_clock_offset_seconds": Metric(GAUGE, "The venue's clock minus ours.", ("venue",)),
    "jackstay_user_stream_up": Metric(GAUGE, "1 while the account's own events are heard.", ("venue",)),
    "jackstay_user_stream_connects": Metric(COUNTER, "Connections of the user stream.", ("venue",)),
    "jackstay_deadman_fires_seconds": Metric(GAUGE, "Until an armed dead-man switch fires.", ("venue",)),
    # orders and the outbox
    "jackstay_outbox_degraded": Metric(GAUGE, "1 while the outbox cannot write: entries are refused."),
    "jackstay_intents_open": Metric(GAUGE, "Requests in the outbox without an end.", ("state",)),
    "jackstay_unknown_oldest_seconds": Metric(GAUGE, "Age of the oldest order of unknown outcome; 0 without one."),
    "jackstay_queue_entries": Metric(GAUGE, "Posted requests that wait for their venue.", ("upstream",)),
    "jackstay_queue_bytes": Metric(GAUGE, "What they hold."),
    "jackstay_outcomes_uncollected": Metric(GAUGE, "Outcomes a bot has not acknowledged.", ("bot",)),
    "jackstay_intents": Metric(COUNTER, "Intents the outbox began, queued, refused, expired.", ("what",)),
    "jackstay_settled_late": Metric(COUNTER, "Orders settled after their answer, by what they turned out.", ("state",)),
    "jackstay_outbox_commits": Metric(COUNTER, "Commits of the outbox."),
    "jackstay_outbox_wal_bytes": Metric(GAUGE, "Size of its write-ahead log."),
    # bots
    "jackstay_bot_state": Metric(GAUGE, "1 for the state it is in.", ("bot", "state")),
    "jackstay_bot_silent_seconds": Metric(GAUGE, "Since its last frame.", ("bot",)),
    "jackstay_bot_lease_seconds": Metric(GAUGE, "The silence it announced.", ("bot",)),
    # market data
    "jackstay_feed_sockets": Metric(GAUGE, "Sockets of a feed.", ("feed", "state")),
    "jackstay_feed_messages": Metric(COUNTER, "Messages of a feed, all topics.", ("feed",)),
    "jackstay_feed_gaps": Metric(COUNTER, "Gaps in a feed's sequence.", ("feed",)),
    "jackstay_feed_connects": Metric(COUNTER, "Connections a feed made.", ("feed",)),
    "jackstay_feed_data_age_seconds": Metric(GAUGE, "Since the youngest message of a feed.", ("feed",)),
    "jackstay_feed_readers": Metric(GAUGE, "Readers of feed.sock."),
    "jackstay_feed_reader_queued_bytes": Metric(GAUGE, "What is held for slow readers, in all."),
    "jackstay_feed_dropped": Metric(COUNTER, "Messages that slow readers did not get; each was told so."),
    # checks and records
    "jackstay_state_discrepancies": Metric(GAUGE, "Differences between the pictures of the account that stand."),
    "jackstay_state_checks": Metric(COUNTER, "Comparisons of bot, agent and venue."),
    "jackstay_error_patterns_open": Metric(GAUGE, "Patterns of errors that are going on."),
    "jackstay_errors": Metric(COUNTER, "Errors the analytics counted."),
    "jackstay_audit_degraded": Metric(GAUGE, "1 while the audit log cannot be written."),
    "jackstay_audit_lines": Metric(COUNTER, "Lines of the audit log."),
    "jackstay_audit_lost": Metric(COUNTER, "Lines that could not be written and were lost."),
}  # fmt: skip
