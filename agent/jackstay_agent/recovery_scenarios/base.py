"""What every recovery scenario is: something that turns an error's facts into a restored state, or says it did not.

`RecoveryScenario` is the contract. `PlannedRecovery` is how the six shipped ones are made: they check the context
first, name a plan, and are carried out through `actions` (actions.py). Unbound they validate, say so, and return False.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Any, ClassVar

from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import ValidationError

from ..log import get_logger
from .actions import Bound
from .plan import Run, Step, carry_out


class RecoveryScenario(ABC):
    """Base of all scenarios. One instance may serve many errors; it keeps nothing of a single one."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    async def execute_recovery(self, context: dict[str, Any]) -> bool:
        """Recover from the error whose facts are given; True only with evidence that it worked.

        A missing or wrong key raises ValidationError naming it, before anything is done.
        """


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a context: what it may be, in words, and whether it has to be there."""

    kinds: tuple[type, ...]
    what: str
    required: bool = False


async def _sleep(seconds: float) -> None:
    import asyncio  # not at the top: bot modules import these names without a loop

    await asyncio.sleep(seconds)


async def _keep_nothing(_run: Run) -> None:
    """A library's scenario has no journal; the agent gives one."""


class PlannedRecovery(RecoveryScenario):
    """``actions`` binds it. ``keep`` journals a run after each step; ``on_event`` hears facts (default: the log).

    ``resume``: a run that was cut off, as its snapshot had it; executed again it goes on after its last finished step.
    """

    NAME: ClassVar[str]
    KEYS: ClassVar[Mapping[str, Key]]

    def __init__(
        self,
        config: Any,
        *,
        actions: object | None = None,
        clock: Callable[[], float] = boot_s,
        wall: Callable[[], float] = time,
        sleep: Callable[[float], Awaitable[Any]] | None = None,
        keep: Callable[[Run], Awaitable[None]] = _keep_nothing,
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
    ) -> None:
        super().__init__(config)
        self.actions = None if actions is None else Bound(actions)
        self.clock = clock
        self.wall = wall
        self.sleep = sleep or _sleep
        self._keep = keep
        self._on_event = on_event
        self.settings = getattr(config.recovery, self.NAME)

    # ---- to be given by each scenario

    @abstractmethod
    def plan(self, bound: Bound, context: dict[str, Any]) -> Sequence[Step]:
        """The steps for this context, in order; the last one names the evidence."""

    def check(self, context: dict[str, Any]) -> None:
        """What `KEYS` cannot say. Raises ValidationError naming the key."""

    # ---- carrying out

    async def execute_recovery(self, context: dict[str, Any]) -> bool:
        self.validate(context)
        if self.actions is None:
            self.event("recovery.unbound", {"scenario": self.NAME})
            return False
        return await self.carry(self.begin(context))

    def begin(self, context: dict[str, Any], snapshot: dict[str, Any] | None = None) -> Run:
        """A run of this context, or the one of a snapshot, with the time it has."""
        run = Run(self.NAME, context, self.clock() + self.settings.within_s)
        if snapshot is not None:
            run.done, run.facts = list(snapshot.get("done", [])), dict(snapshot.get("facts", {}))
        return run

    async def carry(self, run: Run) -> bool:
        """Carry out a run; its state says how it ended."""
        assert self.actions is not None, "bind it first"
        steps = self.plan(self.actions, run.context)
        return await carry_out(run, steps, clock=self.clock, keep=self._keep, on_event=self.event)

    def validate(self, context: dict[str, Any]) -> None:
        """Raises ValidationError naming the missing or wrong key, before anything is done."""
        if not isinstance(context, dict):
            raise ValidationError(f"{self.NAME}: context is a {type(context).__name__}; a dict is expected")
        for name, key in self.KEYS.items():
            value = context.get(name)
            if value is None:
                if key.required:
                    raise ValidationError(f"{self.NAME}: context has no {name!r}; {key.what} is expected")
                continue
            if isinstance(value, bool) and bool not in key.kinds:
                raise ValidationError(f"{self.NAME}: context[{name!r}] is a bool; {key.what} is expected")
            if not isinstance(value, key.kinds) or value == "":
                raise ValidationError(f"{self.NAME}: context[{name!r}] is {value!r:.80}; {key.what} is expected")
        self.check(context)

    def event(self, name: str, fields: dict[str, Any]) -> None:
        if self._on_event is not None:
            self._on_event(name, fields)
        else:
            get_logger("jackstay.recovery").info(name, **fields)

    async def until(self, run: Run, ready: Callable[[], Awaitable[bool]], every_s: float) -> bool:
        """Look again and again until it is so; False when the run's time is over or it was cancelled."""
        while not run.cancelled_by:
            if await ready():
                return True
            if self.clock() + every_s >= run.deadline_at:
                return False
            await self.sleep(every_s)
        return False


def what_of(context: dict[str, Any]) -> str:
    """What is to be recovered: a venue, a feed, a resource; by its component's name otherwise."""
    for name in ("venue", "feed", "component"):
        if context.get(name):
            return str(context[name])
    return ""
