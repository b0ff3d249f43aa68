"""Everything that decides whether requests leave, put together: judgements per upstream, breakers before stream dials,
modes over venues, budgets shared with the host's other agents, operators' verbs, and what of it survives a restart.

Knows the parts and their life; the deciding is theirs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from jackstay_protocols.errors import ValidationError

from .analytics_settings import loop_settings
from .config import Config, profiles_of
from .core.breaker import BreakerState
from .core.event_sink import EventSink
from .decision_desk import BreakerPlace, DecisionDesk
from .decision_memory import DecisionMemory
from .dial_breakers import STREAM_DIALS, DialBreakers
from .error_settings import DEFAULT_BREAKERS
from .error_settings import STREAM_DIALS as DIAL_SETTINGS
from .host_budgets import HostBudgets
from .judgement import Judgement
from .kept import Keeper
from .order_desk import Verb
from .ports import Ports
from .prober import Ask, Prober
from .upstreams import Upstreams
from .venue_modes import VenueModes
from .venues.operations import Operations
from .venues.profile import Profile

T = TypeVar("T")
TOLD = ("breaker.", "limit.", "mode.", "operator.")  # events after which the file is written at once
SPENT_S = 1.0  # what was spent of budgets is written this often
MODES, DIALS = "modes", "dials"  # places in the memory beside the upstreams' origins


class Decisions:
    """One agent's. `open` before the first request, `tick` now and then, `close` at the end."""

    def __init__(self, config: Config, ports: Ports, *, agent: str, on_event: EventSink) -> None:
        self._config = config
        self._ports = ports
        self._on_event = on_event
        self._memory: DecisionMemory | None = None
        self._keeper: Keeper | None = None
        self._written_at = 0.0
        self.modes = VenueModes(clock=ports.clock, on_event=self._heard)
        self._profiles = profiles_of(config)
        self._dials = DialBreakers(
            config.errors.breakers.get("stream_dials", DIAL_SETTINGS),
            clock=ports.clock,
            random=ports.random.random,
            on_event=self._heard,
        )
        self.budgets = HostBudgets(
            config.budgets, agent=f"{agent} {ports.pid}", clock=ports.clock, loop=ports.loop, on_event=on_event
        )
        self._upstreams: Upstreams | None = None
        self._prober: Prober | None = None

    def of(self, upstreams: Upstreams, operations: Callable[[str], Operations | None], ask: Ask) -> None:
        """The upstreams whose judgements these are, and how open breakers are probed."""
        self._upstreams = upstreams
        self._prober = Prober(
            upstreams, operations=operations, ask=ask, clock=self._ports.clock, on_event=self._on_event
        )

    def judgement(self, origin: str, host: str, profile: Profile) -> Judgement:
        """For an upstream that is met for the first time, with what is remembered of it."""
        made = Judgement(
            host,
            profile,
            self._config.errors.breakers.get("api_calls", DEFAULT_BREAKERS["api_calls"]),
            self._config.errors.retry,
            clock=self._ports.clock,
            random=self._ports.random,
            on_event=self._heard,
            modes=self.modes,
            shared=self.budgets.for_upstream(origin),
            loops=loop_settings(self._config.analytics),
        )
        if self._memory is not None:
            self._memory.take(origin, made.restore)
        return made

    async def guarded(self, host: str, dial: Callable[[], Awaitable[T]]) -> T:
        """A stream's dial, if the breaker of its host lets it."""
        return await self._dials.guarded(host, dial)

    def breakers(self) -> Iterator[BreakerPlace]:
        """Every breaker there is: one per upstream and class of endpoints, one per stream host."""
        for each in self._met():
            for name, breaker in each.breakers.items():
                yield BreakerPlace(each.name, each.venue, name, breaker)
        for host, breaker in self._dials.breakers.items():
            yield BreakerPlace(host, self._upstreams.venue_of(host) if self._upstreams else host, STREAM_DIALS, breaker)

    def verbs(self) -> dict[str, Verb]:
        return DecisionDesk(
            breakers=self.breakers,
            judgements=self._met,
            modes=self.modes,
            venues=lambda: sorted({*self._profiles, *(each.venue for each in self._met())}),
            clock=self._ports.clock,
            on_event=self._heard,
            on_change=self._tell,
            book=self.budgets.status,
        ).verbs()

    # ---- life

    def open(self, folder: Path, shared_folder: Path) -> None:
        """Take up what the last life left in the state folder; upstreams that were in trouble are met at once.

        ``shared_folder``: where all agents of this user have their folders.
        """
        ports = self._ports
        self._memory = memory = DecisionMemory(
            folder, clock=ports.clock, wall=ports.wall, boot_id=ports.boot_id, on_event=self._on_event
        )
        memory.read()
        memory.take(MODES, lambda kept, elapsed_s: self.modes.restore(kept, elapsed_s=elapsed_s))
        memory.take(DIALS, self._dials.restore)
        self._keeper = Keeper(
            memory.kept, snapshot=self._snapshot, run_blocking=ports.run_blocking, on_event=self._on_event
        )
        for origin, kept in memory.places().items():
            if self._upstreams is not None and Judgement.in_trouble(kept):
                try:
                    self._upstreams.meet(origin)
                except ValidationError as error:  # it may not be asked any more: nothing to hold back
                    self._on_event("decisions.left_out", {"upstream": origin, "why": str(error)})
        self.budgets.open(shared_folder)
        held = [{"venue": each["venue"], "mode": each["mode"]} for each in self.modes.status()]
        shut = [
            f"{each.upstream} {each.name}" for each in self.breakers() if each.breaker.state is not BreakerState.CLOSED
        ]
        if held or shut:
            self._on_event("decisions.restored", {"modes": held, "breakers": shut})

    def tick(self) -> None:
        self.modes.tell()
        self._tell()
        if self._prober is not None:
            self._prober.tick()
        due = self._keeper is not None and self._ports.clock() - self._written_at >= SPENT_S
        if due and any([each.take_dirty() for each in self._met()]):  # noqa: C419 - each is asked, not only the first
            self._write()

    async def close(self) -> None:
        self.budgets.close()
        if self._keeper is not None:
            self._write()
            await self._keeper.close()

    # ---- inside

    def _met(self) -> Iterator[Judgement]:
        if self._upstreams is not None:
            for each in self._upstreams:
                yield each.judgement

    def _tell(self) -> None:
        for each in self._met():
            each.tell()
        self._dials.tell()

    def _heard(self, name: str, facts: dict[str, Any]) -> None:
        self._on_event(name, facts)
        if name.startswith(TOLD):
            self._write()

    def _write(self) -> None:
        if self._keeper is not None:
            self._written_at = self._ports.clock()
            self._ports.loop.call_soon(self._keeper.write)  # the change it tells of is complete by then

    def _snapshot(self) -> dict[str, Any]:
        assert self._memory is not None
        alive: dict[str, Any] = {MODES: self.modes.snapshot(), DIALS: self._dials.snapshot()}
        if self._upstreams is not None:
            alive |= {each.origin: each.judgement.snapshot() for each in self._upstreams}
        return self._memory.merged(alive)
