"""``jackstay`` that dies by kill -9 in the middle of named steps of recovery plans, once each, as a file's lines say.

A line is ``SCENARIO STEP WHEN``: *before* its work began, *during* its first pause, or *after* it was done and before
the journal has it. A line is taken out on the disk before the process dies, so that the next agent gets past it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from jackstay_agent.cli import main
from jackstay_agent.recovery_scenarios import base
from jackstay_agent.recovery_scenarios.plan import Run, Step

KILLS = Path(os.environ["KILL_AT_STEPS"])
carry_out = base.carry_out
sleep = base._sleep
STEP: ContextVar[tuple[str, str]] = ContextVar("STEP")


def strike(scenario: str, step: str, when: str) -> None:
    """Die here, if the file says so."""
    line = f"{scenario} {step} {when}"
    lines = KILLS.read_text(encoding="utf-8").splitlines()
    if line not in lines:
        return
    lines.remove(line)
    fresh = KILLS.with_suffix(".new")
    fresh.write_text("\n".join(lines), encoding="utf-8")
    fresh.replace(KILLS)
    os.kill(os.getpid(), signal.SIGKILL)


def mortal(scenario: str, step: Step) -> Step:
    name, work = step

    async def worked(run: Run) -> bool | None:
        strike(scenario, name, "before")
        STEP.set((scenario, name))
        done = await work(run)
        strike(scenario, name, "after")
        return done

    return name, worked


async def mortal_sleep(seconds: float) -> None:
    strike(*STEP.get(), "during")
    await sleep(seconds)


async def mortal_plan(run: Run, steps: Sequence[Step], **more: Any) -> bool:
    return await carry_out(run, [mortal(run.scenario, each) for each in steps], **more)


base.carry_out = mortal_plan  # type: ignore[assignment]
base._sleep = mortal_sleep
main()
