"""What of a measured machine is slow, and what to do about it: the table behind `jackstay bench`.

Limits are what a small virtual machine with a core to spare stays well within; past one of them the agent's own speed
is not what a bot waits for. A figure without a limit is told and judged by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """One row: ``limit`` in the unit of the value, None: only told."""

    name: str
    unit: str
    limit: float | None
    mend: str = ""


BUSY = "other work takes this machine's cores: give agent and bot cores of their own (CPUAffinity=, CPUWeight=)"
SWITCHES = "handing over between two processes is slow here: a power-saving CPU governor, or a crowded virtual machine"
DISK = "the disk of the state folder is slow to sync, and durability = 'disk' waits for it: another disk, or 'process'"
START = "look at what the state folder holds (jackstay doctor), and whether Python's byte code is compiled"

MEASURES = (
    Measure("a sleep of 2 ms is late by, p99", "ms", 5.0, BUSY),
    Measure("a byte to another process and back, p50", "us", 150.0, SWITCHES),
    Measure("4 KB written and synced in the state folder, p50", "ms", None),
    Measure("start to ready", "ms", 2000.0, START),
    Measure("memory of the agent", "MB", 80.0, "look at what it holds: jackstay status, jackstay watch"),
    Measure("a beat to the agent and back, p50", "us", 500.0, SWITCHES),
    Measure("a beat to the agent and back, p99", "us", 10_000.0, BUSY),
    Measure("a question: added by the agent, p50", "us", 1_000.0, SWITCHES),
    Measure("an order: added by the agent, p50", "us", 1_500.0, SWITCHES),
    Measure("an order: added by the agent, p99", "us", 20_000.0, BUSY),
    Measure("a cancel: added by the agent, p50", "us", 1_500.0, SWITCHES),
    Measure("the agent's processor time per call", "us", 2_000.0, "a slow core: look at its clock rate under load"),
)
SYNC = "4 KB written and synced in the state folder, p50"
SYNC_MS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Judged:
    """A measured row; ``mend`` is only there where it is slow."""

    name: str
    value: float
    unit: str
    limit: float | None
    slow: bool
    mend: str


def judge(values: Mapping[str, float], *, synced: bool, tolerance: float = 1.0) -> list[Judged]:
    """Rows in the table's order; what was not measured is left out. ``synced``: the configuration waits for the disk.
    ``tolerance`` multiplies every limit.
    """
    found = []
    for each in MEASURES:
        if each.name not in values:
            continue
        limit, mend = each.limit, each.mend
        if each.name == SYNC and synced:
            limit, mend = SYNC_MS_MAX, DISK
        if limit is not None:
            limit *= tolerance
        value = values[each.name]
        slow = limit is not None and value > limit
        found.append(Judged(each.name, value, each.unit, limit, slow, mend if slow else ""))
    return found
