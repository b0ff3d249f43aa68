"""Carries out a scenario's plan: named steps in order, journaled one by one, bounded in time, cancellable.

A step returns True (its evidence was seen), False (it was not: the plan ends, not recovered) or None (done, nothing to
prove). What a step learned stands in ``run.facts`` (plain values), so a run that was cut off goes on after its last
finished step; each step may therefore happen twice and must do no more then. The plan's word is its last step's.

Refuses to know what the steps do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..core.event_sink import EventSink


class RunState(StrEnum):
    RUNNING = "running"
    RECOVERED = "recovered"
    NOT_RECOVERED = "not_recovered"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Run:
    """One execution of a plan. ``done``: names of finished steps. ``facts``: what they learned, JSON's own types."""

    scenario: str
    context: dict[str, Any]
    deadline_at: float
    done: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    state: RunState = RunState.RUNNING
    step: str = ""
    why: str = ""
    cancelled_by: str = ""

    def cancel(self, by: str) -> None:
        """An operator's word: it ends before its next step."""
        self.cancelled_by = by

    def snapshot(self) -> dict[str, Any]:
        """For the journal and for status."""
        return {
            "scenario": self.scenario,
            "context": self.context,
            "done": list(self.done),
            "facts": dict(self.facts),
            "state": self.state.value,
            "step": self.step,
            "why": self.why,
        }


Step = tuple[str, Callable[[Run], Awaitable["bool | None"]]]


async def carry_out(
    run: Run,
    steps: Sequence[Step],
    *,
    clock: Callable[[], float],
    keep: Callable[[Run], Awaitable[None]],
    on_event: EventSink,
) -> bool:
    """True only if the last step saw its evidence. A step's error ends the plan as not recovered, and is told."""
    import asyncio  # only who carries out a plan pays for it: bot modules import this package at their top

    proved: bool | None = None
    for name, work in steps:
        if name in run.done:
            proved = bool(run.facts.get(f"proved.{name}"))
            continue
        if run.cancelled_by:
            return await _end(run, RunState.CANCELLED, f"cancelled by {run.cancelled_by}", keep, on_event)
        left_s = run.deadline_at - clock()
        if left_s <= 0:
            return await _end(run, RunState.NOT_RECOVERED, f"out of time before {name}", keep, on_event)
        run.step = name
        on_event("recovery.step", {"scenario": run.scenario, "step": name})
        try:
            async with asyncio.timeout(left_s):
                proved = await work(run)
        except TimeoutError:
            return await _end(run, RunState.NOT_RECOVERED, f"out of time in {name}", keep, on_event)
        except Exception as error:
            why = f"{name}: {type(error).__name__}: {error}"[:300]
            return await _end(run, RunState.NOT_RECOVERED, why, keep, on_event)
        if proved is False:
            why = run.why or f"{name} found no evidence"
            return await _end(run, RunState.NOT_RECOVERED, why, keep, on_event)
        run.done.append(name)
        run.facts[f"proved.{name}"] = proved is True
        await keep(run)
    if proved is not True:
        return await _end(run, RunState.NOT_RECOVERED, "its last step could prove nothing", keep, on_event)
    return await _end(run, RunState.RECOVERED, run.why, keep, on_event)


async def _end(
    run: Run, state: RunState, why: str, keep: Callable[[Run], Awaitable[None]], on_event: EventSink
) -> bool:
    run.state, run.why = state, why
    await keep(run)
    on_event(
        f"recovery.{state.value}",
        {"scenario": run.scenario, "step": run.step, "why": why, "done": list(run.done)},
    )
    return state is RunState.RECOVERED
