"""The durable outbox (journey step 5): nothing twice, nothing lost, nothing stale (DESIGN §3 rules 1-3, §5 Outbox).

    box.py        the face: begin, enqueue, finish, resolve, ack, tick
    admission.py  its own reasons to refuse         recovery.py  what a restart makes of the file
    shelf.py      open intents by what one knows    waiting.py   the queue; lanes.py its order
    store.py      the one SQLite connection         schema.py    the file: made, checked, migrated, set aside
    sidelog.py    rows during a checkpoint          runner.py    the worker thread of an asyncio program
    rows.py       bytes and checksums               keys.py      the idempotency window
    records.py    the nouns                         settings.py  the bounds

Intents signed by the bot keep their signature in memory only; after a restart what was still queued of them is EXPIRED.
Intents the agent signs are kept without signature and signed anew when they leave.
"""

from .box import Outbox
from .records import (
    Accepted,
    Admitted,
    Due,
    Duplicate,
    Ending,
    Intent,
    OpenIntent,
    Refusal,
    Settled,
    Signed,
    Uncollected,
    Unknown,
    Wait,
)
from .schema import OutboxTaken, OutboxTooNew, StoreFault
from .settings import OutboxSettings
from .store import run_inline

__all__ = [
    "Accepted",
    "Admitted",
    "Due",
    "Duplicate",
    "Ending",
    "Intent",
    "OpenIntent",
    "Outbox",
    "OutboxSettings",
    "OutboxTaken",
    "OutboxTooNew",
    "Refusal",
    "Settled",
    "Signed",
    "StoreFault",
    "Uncollected",
    "Unknown",
    "Wait",
    "run_inline",
]
