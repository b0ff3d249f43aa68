"""What one feed socket goes by: its clocks, its way of redialling, its pace of asking. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from .heartbeat import HeartbeatRules
from .redial import RedialRules


@dataclass(frozen=True, slots=True)
class SocketRules:
    heartbeat: HeartbeatRules
    redial: RedialRules
    first_message_s: float
    subscribes_per_s: float
    heartbeat_text: str
    closed_dial_s: float = 60.0  # between dials outside trading hours, about
    ping_interval_s: float = 0.0
    topics_in_url: bool = False  # asked for with the dial; others need another dial
