"""Anchors leave the machine's reach of whoever could rewrite the log: to the system journal, and to a webhook.

The journal gets them over its native socket (systemd.journal-fields(7)), so that they can be asked for by field and
their sender is the kernel's word. Without a journal the agent's own log line ``audit.anchor`` on stderr is the
anchor; whatever collects stderr holds it. Anything that keeps lines can be read back: `anchors_in` takes them all.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from jackstay_protocols.errors import ValidationError

from ..core.audit_chain import Anchor
from ..core.event_sink import EventSink

JOURNAL = Path("/run/systemd/journal/socket")
ANCHOR_EVENT = "audit.anchor"


class Anchors:
    """Sends each anchor wherever it should go. ``webhook`` takes a document and sees to its delivery."""

    def __init__(
        self,
        agent: str,
        *,
        journal: Path | None,
        on_event: EventSink,
        webhook: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._agent = agent
        self._journal = journal
        self._on_event = on_event
        self._webhook = webhook

    def tell(self, anchor: Anchor) -> None:
        fields = {"log": anchor.log, "seq": anchor.seq, "hash": anchor.hash, "anchor_at_us": anchor.at_us}
        journal = self._journal is not None and _to_journal(self._journal, self._agent, anchor)
        self._on_event(ANCHOR_EVENT, {**fields, "journal": journal})
        if self._webhook is not None:
            self._webhook({"event": ANCHOR_EVENT, "agent": self._agent, **fields})


def _to_journal(path: Path, agent: str, anchor: Anchor) -> bool:
    fields = {
        "MESSAGE": f"jackstay audit anchor: agent {agent} line {anchor.seq} hash {anchor.hash}",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "jackstay",
        "JACKSTAY_AGENT": agent,
        "JACKSTAY_AUDIT_LOG": anchor.log,
        "JACKSTAY_AUDIT_SEQ": str(anchor.seq),
        "JACKSTAY_AUDIT_HASH": anchor.hash,
        "JACKSTAY_AUDIT_AT_US": str(anchor.at_us),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.setblocking(False)
        try:
            out.connect(str(path))
            out.send("".join(f"{name}={value}\n" for name, value in fields.items()).encode())
        except OSError:
            return False
    return True


def anchors_in(lines: Iterable[str], origin: str, agent: str = "") -> list[Anchor]:
    """Anchors out of JSON lines: the journal's (`journalctl -o json`), the agent's log, a webhook's bodies.

    Lines that are no anchors are passed over, so a whole log may be given. With ``agent`` only that one's.
    Raises ValidationError if one is an anchor by its fields and cannot be read.
    """
    found: list[Anchor] = []
    for number, line in enumerate(lines, 1):
        if "JACKSTAY_AUDIT_SEQ" not in line and ANCHOR_EVENT not in line:
            continue
        try:
            document = msgspec.json.decode(line[line.index("{") :])
            if "JACKSTAY_AUDIT_SEQ" in document:
                if agent and document.get("JACKSTAY_AGENT") not in (agent, None):
                    continue
                values = [document[f"JACKSTAY_AUDIT_{name}"] for name in ("LOG", "SEQ", "HASH", "AT_US")]
            elif document.get("event") == ANCHOR_EVENT:
                if agent and document.get("agent") not in (agent, None):
                    continue
                values = [document[name] for name in ("log", "seq", "hash", "anchor_at_us")]
            else:
                continue
            found.append(Anchor(str(values[0]), int(values[1]), str(values[2]), int(values[3])))
        except (ValueError, KeyError, AttributeError, msgspec.DecodeError) as error:
            raise ValidationError(f"{origin}, line {number}: an anchor that cannot be read ({error})") from None
    return found
