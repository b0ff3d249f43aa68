"""How a room tells what happened there: an event's name, like ``breaker.opened``, and its fields in plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

EventSink = Callable[[str, dict[str, Any]], None]
