"""Logs are facts: a stable dotted event name and fields, rendered as JSON lines or for a terminal (structlog).

`Log` is the one sink for events of the agent: it writes the line and hands the fact on to whoever listens
(`Event`s for readers, counters). Secrets never enter: events are built from facts, not from requests.
"""

from __future__ import annotations

import sys
from typing import Any

from .lean_structlog import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# Facts that ask for attention; all others are information.
WARNINGS = frozenset(
    {
        "frame.refused",
        "reply.dropped",
        "feed.lost",
        "feed.stale",
        "feed.subscribe_failed",
        "feed.dial_failed",
        "feed.gap",
        "feed.snapshot_failed",
        "user_stream.lost",
        "user_stream.failed",
        "user_stream.keep_failed",
        "user_stream.notice",
        "bot.gone",
        "pool.dial_failed",
        "loop.lagged",
        "bot.error",
        "breaker.open",
        "limit.gate_closed",
        "loop.stopped",
        "bot.late",
        "outbox.contradiction",
        "outbox.degraded",
        "outbox.row_damaged",
        "outbox.set_aside",
        "outbox.unwritten",
        "queue.held",
        "queue.no_way",
        "queue.unknown",
        "resolver.cannot_ask",
        "state.discrepancy",
        "state.file_failed",
        "state.halted",
        "state.rows_damaged",
        "state.set_aside",
        "state.stream_unreadable",
        "state.unbound",
        "state.would_cancel",
        "venue.clock_stepped",
        "bot.stalled",
        "audit.degraded",
        "pattern.found",
        "pattern.grew",
        "audit.other_key",
        "alert.given_up",
        "alert.command_failed",
        "telling.broken",
        "bot.dead",
        "would.cancel",
        "watchdog.forgot",
        "protect.cancelling",
        "barrier.up",
        "barrier.timed_out",
        "recovery.not_recovered",
        "maintenance.window",
        "recovery.refused",
        "recovery.forgot",
        "recovery.too_many",
        "directive.unacknowledged",
        "directive.given_up",
        "protect.refused",
        "protect.powerless",
        "protection.powerless",
        "deadman.will_fire",
        "deadman.lapsed",
        "deadman.renewal_failed",
        "deadman.forgot",
        "state.unwritten",
    }
)
LOUD_ERRORS = frozenset({"error.loud", "error.escalated"})
ERRORS = frozenset(
    {
        "recovery.broken",
        "maintenance.broken",
        "protect.broken",
        "deadman.broken",
        "request.broken",
        "resolver.broken",
        "queue.broken",
        "state.broken",
        "agent.stop_timeout",
    }
)


def make_logger(level: str, form: str) -> Any:
    """A structlog logger on stderr. ``form``: auto, console or json."""
    if form == "auto":
        form = "console" if sys.stderr.isatty() else "json"
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if form == "console"
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger()


def write_event(logger: Any, name: str, fields: dict[str, Any]) -> None:
    getattr(logger, level_of(name, fields))(name, **fields)


def level_of(name: str, fields: dict[str, Any]) -> str:
    """An event's level is its name's; a loud error's, and each of its steps up, is what its severity says."""
    if name in ERRORS:
        return "error"
    if name in LOUD_ERRORS:
        return "error" if fields.get("severity") in ("critical", "high") else "warning"
    return "warning" if name in WARNINGS else "info"
