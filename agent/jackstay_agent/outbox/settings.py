"""Every bound of the outbox in one place, each with its reason. Checked where it is born; the config room fills it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from jackstay_protocols.errors import ValidationError

PROCESS, DISK = "process", "disk"


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """``durability``: "process" survives the death of the agent, "disk" also the loss of power (group commit).

    Units are in the names. Counts are entries, per agent unless the name says otherwise.
    """

    durability: str = PROCESS
    # batching: an outcome waits at most this long for its row; a crash in between makes it UNKNOWN, never lost
    flush_after_s: float = 0.01
    flush_rows_max: int = 64
    # a checkpoint holds orders up for some ms: small and frequent ones hold shorter (measured: about 1 ms per MB)
    checkpoint_commits: int = 1_000
    checkpoint_idle_s: float = 30.0
    compact_rows: int = 2_000  # rows looked at per checkpoint
    # the queue
    queue_max: int = 10_000
    queue_connection_max: int = 1_000
    queue_bytes_max: int = 32 * 1024 * 1024
    derisk_reserve: int = 1_000  # places no other lane can take, per agent
    in_flight_max: int = 4_096  # what is under way or unknown; de-risking has its reserve beyond it
    ttl_max_s: float = 3_600.0
    flush_per_s: float = 20.0  # orders that waited for a venue's return follow at this rate; its own limits hold too
    clock_jump_max_s: float = 2.0
    # what is kept
    idempotency_window_s: float = 600.0
    keys_max: int = 100_000  # about 20 MB; at a higher rate the window gets shorter and the status says so
    uncollected_bot_max: int = 10_000
    retention_s: float = 7 * 86_400.0  # outcomes nobody collects
    late_max: int = 1_024  # settled by evidence, kept in memory for late news
    # sizes
    request_bytes_max: int = 256 * 1024
    reply_bytes_max: int = 64 * 1024  # of a stored reply; a longer one is stored cut and says so
    # degraded: how often the disk is tried again
    disk_retry_s: float = 2.0
    check_bytes_max: int = 64 * 1024 * 1024  # a larger file is not checked page by page at start (start time)

    def __post_init__(self) -> None:
        if self.durability not in (PROCESS, DISK):
            raise ValidationError(f"OutboxSettings.durability is {self.durability!r}; process or disk is expected")
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name == "durability":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
                raise ValidationError(f"OutboxSettings.{name} is {value!r}; a finite number from 0 up is expected")
            if value == 0 and not name.startswith(("flush_after", "derisk")):
                raise ValidationError(f"OutboxSettings.{name} is 0; a number above 0 is expected")
