"""`get_logger`: structured logs for bot code and for the rooms that serve it (CONTRACT Shared words).

Importing this costs nothing: structlog is loaded when the first line is written. Where the process has configured
structlog, that is obeyed; otherwise lines go to stderr as JSON, never to stdout, which belongs to the bot.
"""

from __future__ import annotations

import sys
from typing import Any


class LazyLogger:
    """A structlog logger that comes to life with its first line; `bind` gives a new one with more fields."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def bind(self, **fields: Any) -> LazyLogger:
        return LazyLogger({**self._fields, **fields})

    def debug(self, event: str, **fields: Any) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        self._write("critical", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        self._write("error", event, {"exc_info": True, **fields})

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        getattr(_backend(), level)(event, **{**self._fields, **fields})


def get_logger(name: str) -> LazyLogger:
    """A logger whose lines carry ``logger=name``. Events are stable dotted words, facts are fields."""
    return LazyLogger({"logger": name})


def _backend() -> Any:
    import structlog

    if structlog.is_configured():
        return structlog.get_logger()
    return structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
    )
