"""The audit log for whoever verifies, exports or reports: files in, facts out. Needs no running agent.

Verification reads a log that may still be written: what comes after the last newline is left unjudged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from jackstay_protocols.errors import ValidationError

from ..core.audit_chain import Anchor, taken
from ..core.audit_verify import Report, Verifier
from .shelf import files_of, first_of, lines_of


def verify(folder: Path, key: bytes | None, anchors: Sequence[Anchor] = ()) -> Report:
    """Raises ValidationError where there is no log at all."""
    files = files_of(folder)
    if not files:
        raise ValidationError(f"{folder} holds no audit log (audit-*.jsonl); is this the agent's folder?")
    verifier = Verifier(key)
    verifier.expect(anchors)
    open_end = b""
    for path in files:
        for line, number, whole in lines_of(path):
            if not whole and path is files[-1]:
                open_end = line
            else:
                verifier.line(line, f"{path.name}:{number}")
    return verifier.finish(anchors, open_end=open_end)


def records_of(folder: Path, since_us: int = 0, until_us: int | None = None) -> Iterator[dict[str, Any]]:
    """Every readable line's values in their order, without hash and seal; damaged lines are passed over."""
    files = files_of(folder)
    for at, path in enumerate(files):
        if at + 1 < len(files) and since_us and (following := first_of(files[at + 1])) and following[2] <= since_us:
            continue  # all of it is older
        for line, _number, whole in lines_of(path):
            parts = taken(line) if whole else None
            if parts is None:
                continue
            try:
                record = msgspec.json.decode(parts.body)
            except msgspec.DecodeError:
                continue
            at_us = record.get("at_us", 0)
            if at_us >= since_us and (until_us is None or at_us < until_us):
                yield record
