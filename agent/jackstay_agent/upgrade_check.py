"""Could this version take over from the agent that runs? Asked before anything is stopped (`jackstay upgrade --check`).

Run by the *new* program: it reads the live configuration with its own rules, opens a copy of the live journal with its
own schema, and looks whether the bots that are connected speak a wire it speaks. Nothing of the running agent is
touched: the copy is the agent's own making and is removed afterwards.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jackstay_protocols.clock import boot_id, boot_s
from jackstay_protocols.errors import TradingBotError
from jackstay_protocols.limits import WIRE_VERSION, WIRE_VERSION_MIN

from .config import Config, ConfigError
from .core.intent import OPEN
from .outbox import Outbox
from .outbox.schema import SCHEMA_VERSION, StoreFault


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; ``what`` says how it is, or what to do."""

    name: str
    ok: bool
    what: str


def check_config(load: Callable[[], tuple[Config, Path | None]], build: Callable[[Config], None]) -> list[Check]:
    """The live configuration under this version's rules, and whether an agent can be put together from it."""
    try:
        config, origin = load()
    except ConfigError as error:
        return [Check("configuration", False, f"configuration: {problem}") for problem in error.problems]
    try:
        build(config)
    except Exception as error:
        return [Check("configuration", False, f"no agent can be built from {origin or 'the defaults'}: {error}")]
    return [Check("configuration", True, f"{origin or 'defaults'}: understood")]


def check_wire(running: int, bots: list[dict[str, Any]]) -> Check:
    """Whether those who talk to the running agent can talk to this version."""
    here = f"this version speaks wire {WIRE_VERSION_MIN} to {WIRE_VERSION}"
    clients = ", ".join(sorted({f"{bot['bot']} (client {bot.get('client_version') or '?'})" for bot in bots})) or "none"
    if WIRE_VERSION_MIN <= running <= WIRE_VERSION:
        return Check("wire", True, f"the running agent speaks wire {running}, {here}; bots: {clients}")
    return Check("wire", False, f"the running agent speaks wire {running}, {here}: upgrade in smaller steps")


def check_journal(copy: Path, config: Config) -> Check:
    """Opens the copy as a start would: schema step, checksums, recovery."""
    try:
        with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as conn:
            schema: int = conn.execute("PRAGMA user_version").fetchone()[0]
            rows: int = conn.execute("SELECT count(*) FROM intents").fetchone()[0]
        if schema > SCHEMA_VERSION:
            return Check(
                "journal", False, f"the journal has schema {schema}, this version knows {SCHEMA_VERSION}: see rollback"
            )
        events: list[str] = []
        box = Outbox.open(
            copy, config.queue, clock=boot_s, boot_id=boot_id(), on_event=lambda name, _fields: events.append(name)
        )
        found = {state.value: box.count(state) for state in OPEN if box.count(state)}
        box.close()
    except (sqlite3.Error, OSError, StoreFault, TradingBotError) as error:
        return Check("journal", False, f"the copy of the journal cannot be opened: {error}")
    if wrong := [name for name in events if name in ("outbox.set_aside", "outbox.row_damaged", "outbox.degraded")]:
        return Check("journal", False, f"the copy of the journal is not sound: {', '.join(sorted(set(wrong)))}")
    step = (
        f"schema {schema}"
        if schema == SCHEMA_VERSION
        else f"schema {schema}, becomes {SCHEMA_VERSION} (a copy is kept)"
    )
    still = ", ".join(f"{count} {state}" for state, count in found.items()) or "nothing open"
    return Check("journal", True, f"{rows} rows read, {step}; after a start: {still}")
