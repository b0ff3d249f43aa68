"""[audit]: what is written, how durably, how long it is kept, and where anchors go. Checked where it is born."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jackstay_protocols.errors import ValidationError

from .core.bounds import check_choice, check_number, check_whole

REFUSE_ENTRIES, GO_ON = "refuse_entries", "continue"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Units are in the names. ``requests``: "all", or only what can change something ("changes")."""

    enabled: bool = True
    folder: str = ""  # default: audit/ in the state folder
    key_file: str = ""  # default: audit.key in the state folder; made at the first start
    requests: str = "all"
    # writing: lines wait at most this long for their write, which goes on beside the loop
    flush_after_s: float = 0.05
    fsync: str = "interval"  # never | interval | always (each write)
    fsync_every_s: float = 1.0
    on_full: str = REFUSE_ENTRIES  # or "continue": trade on unrecorded, and say so
    waiting_lines_max: int = 20_000  # kept in memory while the disk takes nothing; then lines are lost, and counted
    # keeping
    rotate_bytes: int = 64 * MIB
    rotate_s: float = 86_400.0
    retention_days: float = 365.0
    retention_bytes: int = 10 * 1024 * MIB
    # anchors
    anchor_every_s: float = 60.0
    anchor_journal: bool = True
    anchor_webhook: str = ""  # an https URL that gets each anchor as JSON

    def __post_init__(self) -> None:
        owner = "AuditSettings"
        check_choice(owner, "requests", self.requests, ("all", "changes"))
        check_choice(owner, "fsync", self.fsync, ("never", "interval", "always"))
        check_choice(owner, "on_full", self.on_full, (REFUSE_ENTRIES, GO_ON))
        check_number(owner, "flush_after_s", self.flush_after_s, 0.0, 10.0)
        check_number(owner, "fsync_every_s", self.fsync_every_s, 0.0, 3600.0, above_low=True)
        check_number(owner, "rotate_s", self.rotate_s, 1.0, 366 * 86_400.0)
        check_number(owner, "retention_days", self.retention_days, 0.0, 36_600.0, above_low=True)
        check_number(owner, "anchor_every_s", self.anchor_every_s, 1.0, 86_400.0)
        check_whole(owner, "waiting_lines_max", self.waiting_lines_max, 100, 10_000_000)
        check_whole(owner, "rotate_bytes", self.rotate_bytes, 4096, 1 << 40)
        check_whole(owner, "retention_bytes", self.retention_bytes, 4096, 1 << 50)
        if self.anchor_webhook and not self.anchor_webhook.startswith(("https://", "http://")):
            raise ValidationError(
                f"AuditSettings.anchor_webhook is {self.anchor_webhook!r}; an http(s) URL is expected"
            )

    def places(self, state_folder: Path) -> tuple[Path, Path]:
        """The log's folder and the key's file of an agent that keeps its state there."""
        return (
            Path(self.folder) if self.folder else state_folder / "audit",
            Path(self.key_file) if self.key_file else state_folder / "audit.key",
        )
