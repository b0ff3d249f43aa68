"""Runs recovery scenarios in the agent: detected, or asked for by an operator; journaled, resumed after a crash.

What starts one: the verdict on an answer (maintenance, a rejection), a lost account stream, a venue that cannot be
dialled, a gate of the venue, a silent feed that has fallbacks configured. One run per scenario and venue (or feed) at a
time; what comes meanwhile is the same case. A run survives the agent: it goes on after its last finished step
(recovery_scenarios/plan.py).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jackstay_protocols.errors import ValidationError

from .config import Config
from .core.event_sink import EventSink
from .gateway.control_door import Verb
from .gateway.door import PeerCredentials
from .kept import Keeper, Kept, plain
from .order_desk import name_of
from .ports import Ports
from .recovery_scenarios import SCENARIOS, PlannedRecovery
from .recovery_scenarios.base import what_of
from .recovery_scenarios.plan import Run, RunState
from .telling import Asked, Attempt, Listener
from .venue_modes import VenueModes

HOLDER = "recovery "
RUNS_MAX = 32
WAITING_MAX = 32  # rejected orders of one venue that wait for their explanation
HISTORY_MAX = 100
EACH_ITS_OWN = frozenset({"partial_fill", "order_rejection"})  # one order's end says nothing about another's
AGAIN_AFTER_S = 10.0  # the same case right after it ended is the same case

#: Scenarios that one answer is enough for. One reset is no disconnection, and a limit is told as a closed gate.
BY_VERDICT = frozenset({"exchange_maintenance", "order_rejection"})
#: Event -> scenario. The event's own fields make the context.
EVENTS = {
    "user_stream.lost": "network_disconnection",
    "pool.dial_failed": "network_disconnection",
    "feed.lost": "data_feed_interruption",
    "feed.stale": "data_feed_interruption",
    "limit.gate_closed": "api_rate_limit",
}


class RecoveryRoom(Listener):
    """``actions(scenario, what, within_s)`` binds a run; ``venue_of(fields)`` says which venue an event is about."""

    def __init__(
        self,
        config: Config,
        ports: Ports,
        *,
        actions: Callable[[str, str, float], object],
        venue_of: Callable[[dict[str, Any]], str],
        can_ask: Callable[[str], bool],
        modes: VenueModes,
        on_event: EventSink,
    ) -> None:
        self._config = config
        self._ports = ports
        self._actions = actions
        self._venue_of = venue_of
        self._can_ask = can_ask
        self._modes = modes
        self._on_event = on_event
        self._keeper: Keeper | None = None
        self._found: dict[str, Any] | None = None
        self._runs: dict[tuple[str, str], Run] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[bool]] = {}
        self._rejects: OrderedDict[tuple[str, str], tuple[tuple[Any, ...], int]] = (
            OrderedDict()
        )  # the latest, how often
        self._waiting: dict[tuple[str, str], deque[dict[str, Any]]] = {}
        self._ended: OrderedDict[tuple[str, str], tuple[float, dict[str, Any]]] = OrderedDict()

    # ---- what is heard

    def attempted(self, asked: Asked, attempt: Attempt) -> None:
        """The verdict names a scenario: maintenance, a limit, a lost connection, a rejection."""
        name = attempt.verdict.scenario
        if name not in BY_VERDICT or not asked.venue:
            return  # the agent's own questions tell of maintenance too: the bot may be asleep
        context: dict[str, Any] = {"venue": asked.venue}
        if name == "order_rejection" and not self._rejected(asked, attempt, context):
            return
        self.detected(name, context)

    def _rejected(self, asked: Asked, attempt: Attempt, context: dict[str, Any]) -> bool:
        """What of the order and the venue's words the scenario needs; False: no order to speak of, or nothing new."""
        if not asked.orders:
            return False
        order = asked.orders[0]
        given = {"price": order.price, "quantity": order.quantity, "stop_price": order.stop_price}
        context |= {
            "symbol": order.symbol,
            "reason": f"{attempt.verdict.code} {attempt.verdict.detail}".strip() or attempt.verdict.cause,
            "order": {"side": order.side, **{key: value for key, value in given.items() if value is not None}},
            "market": dict(order.context),
        }
        equal = (order.symbol, order.side, order.type, *given.values(), context["reason"])
        before, count = self._rejects.get((asked.bot, asked.venue), ((), 0))
        count = count + 1 if equal == before else 1
        self._rejects[asked.bot, asked.venue] = (equal, count)
        self._rejects.move_to_end((asked.bot, asked.venue))
        if len(self._rejects) > HISTORY_MAX:
            self._rejects.popitem(last=False)
        if count == self._config.recovery.order_rejection.repeats_max:
            context["repeats"] = count  # now the bot is told to stop
            return True
        return count == 1  # the same again has its answer

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        scenario = EVENTS.get(name)
        if scenario is None:
            return
        if scenario == "data_feed_interruption":
            feed = str(fields.get("feed", ""))
            if feed in self._config.recovery.data_feed_interruption.fallbacks:  # said by whom its silence matters to
                self.detected(scenario, {"feed": feed})
            return
        venue = self._venue_of(fields)
        if not venue or (scenario == "api_rate_limit" and fields.get("scope") not in ("ip", "key")):
            return
        context: dict[str, Any] = {"venue": venue}
        if scenario == "api_rate_limit" and fields.get("for_s") is not None:
            context["retry_after_s"] = float(fields["for_s"])
        self.detected(scenario, context)

    def detected(self, name: str, context: dict[str, Any]) -> bool:
        """Start it, if it is enabled, the agent can ask there, and it is not under way or just over. True: begun, or
        this very case is under way already (after a restart it goes on by itself).
        """
        what = what_of(context)
        if not getattr(self._config.recovery, name).enabled or not what:
            return False
        under_way = self._runs.get((name, what))
        if under_way is not None:
            if name == "order_rejection":
                return self._after_this_one((name, what), context)
            return under_way.context == context
        if "feed" not in context and not self._can_ask(what):
            return False  # without a key there is no evidence to be had: the pool and the limiter do what they do
        ended = self._ended.get((name, what))
        if name not in EACH_ITS_OWN and ended is not None and self._ports.clock() - ended[0] < AGAIN_AFTER_S:
            return False
        if len(self._runs) >= RUNS_MAX:
            self._on_event("recovery.too_many", {"scenario": name, "what": what})
            return False
        self._ports.loop.call_soon(self._begin_quietly, name, context)
        return True

    def _after_this_one(self, key: tuple[str, str], context: dict[str, Any]) -> bool:
        """Another order was rejected while the first is being explained: it has its turn, within a bound."""
        waiting = self._waiting.setdefault(key, deque())
        if len(waiting) >= WAITING_MAX:
            self._on_event("recovery.too_many", {"scenario": key[0], "what": key[1]})
            return False
        waiting.append(context)
        return True

    def _begin_quietly(self, name: str, context: dict[str, Any]) -> None:
        try:
            self.begin(name, context, by="the agent")
        except ValidationError as error:
            self._on_event("recovery.refused", {"scenario": name, "why": str(error)})

    # ---- runs

    def begin(self, name: str, context: dict[str, Any], *, by: str, snapshot: dict[str, Any] | None = None) -> Run:
        """Raises ValidationError: no such scenario, a context it cannot use, or one that is under way already."""
        kind = SCENARIOS.get(name)
        if kind is None:
            raise ValidationError(f"no scenario {name!r}; {', '.join(sorted(SCENARIOS))} are known")
        what = what_of(context)
        if (name, what) in self._runs:
            raise ValidationError(f"{name} of {what or 'everything'} is under way; `jackstay recover` shows it")
        planned_s = max(0.0, float(context.get("ends_at") or 0.0) - self._ports.wall())
        within_s = float(getattr(self._config.recovery, name).within_s) + planned_s
        scenario = kind(
            self._config,
            actions=self._actions(name, what, within_s),
            clock=self._ports.clock,
            wall=self._ports.wall,
            keep=self._kept,
            on_event=lambda event, fields: self._on_event(event, {"what": what, **fields}),
        )
        scenario.validate(context)
        run = self._runs[name, what] = scenario.begin(context, snapshot)
        self._on_event("recovery.begun", {"scenario": name, "what": what, "by": by, "resumed": snapshot is not None})
        task = self._tasks[name, what] = self._ports.loop.create_task(self._carry(scenario, run))
        task.add_done_callback(lambda task: self._over((name, what), task))
        return run

    async def _carry(self, scenario: PlannedRecovery, run: Run) -> bool:
        await self._kept(run)
        return await scenario.carry(run)

    def _over(self, key: tuple[str, str], task: asyncio.Task[bool]) -> None:
        run = self._runs.pop(key)
        self._tasks.pop(key, None)
        if task.cancelled():
            return  # the agent stops: the journal has it, the next one goes on
        error = task.exception()
        if error is not None:
            self._on_event("recovery.broken", {"scenario": key[0], "error": f"{type(error).__name__}: {error}"[:300]})
        if run.state is not RunState.RECOVERED:
            # What is not over is detected again, by the venue's next word; a hold nobody looks after is not kept.
            if key[0] == "data_feed_interruption":
                self._modes.release_all(holder_of(key[0]))  # its hold is over the feed's venue
            else:
                self._modes.release(key[1], holder_of(key[0]))
        if waiting := self._waiting.get(key):
            self._ports.loop.call_soon(self._begin_quietly, key[0], waiting.popleft())
        self._ended[key] = (self._ports.clock(), run.snapshot())
        self._ended.move_to_end(key)
        while len(self._ended) > HISTORY_MAX:
            self._ended.popitem(last=False)
        if self._keeper is not None:
            self._keeper.write()

    async def _kept(self, _run: Run) -> None:
        if self._keeper is not None:
            await self._keeper.on_disk()

    def _snapshot(self) -> dict[str, Any]:
        return {"runs": [plain(run.snapshot()) for run in self._runs.values() if run.state == "running"]}

    # ---- start and stop

    def open(self, folder: Path) -> None:
        """Read what was under way; `resume` begins it, once the agent is up."""
        kept = Kept(folder, "recovery")
        self._found, wrong = kept.read()
        if wrong:
            self._on_event("recovery.forgot", {"file": str(kept.path), "why": wrong})
        self._keeper = Keeper(
            kept, snapshot=self._snapshot, run_blocking=self._ports.run_blocking, on_event=self._on_event
        )

    def resume(self) -> None:
        """Go on with what an earlier agent had begun; holds of what nobody goes on with are taken back."""
        going = {holder_of(str(row.get("scenario", ""))) for row in (self._found or {}).get("runs", [])}
        self._modes.release_all(HOLDER, keep=going)
        for row in (self._found or {}).get("runs", []):
            try:
                self.begin(str(row["scenario"]), dict(row["context"]), by="the agent", snapshot=row)
            except (ValidationError, KeyError, TypeError, ValueError) as error:
                self._on_event("recovery.refused", {"scenario": str(row)[:80], "why": f"cannot be resumed: {error}"})

    async def close(self) -> None:
        """What is under way stays in the journal; the next agent goes on with it."""
        if self._keeper is None:
            return
        await self._keeper.close()
        keeper, self._keeper = self._keeper, None
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await keeper.close()

    # ---- operators

    def verbs(self) -> dict[str, Verb]:
        return {
            "recover.list": lambda _args, _who: self.status(),
            "recover.run": self._run_verb,
            "recover.cancel": self._cancel_verb,
        }

    def _run_verb(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        context = args.get("context")
        if not isinstance(context, dict):
            raise ValidationError(f"context = {context!r:.80}; an object of the scenario's keys is expected")
        run = self.begin(str(args.get("scenario", "")), context, by=name_of(who))
        self._on_event("operator.recover", {"scenario": run.scenario, "what": what_of(context), "by": name_of(who)})
        return run.snapshot()

    def _cancel_verb(self, args: dict[str, Any], who: PeerCredentials | None) -> dict[str, Any]:
        key = (str(args.get("scenario", "")), str(args.get("what", "")))
        run = self._runs.get(key)
        if run is None:
            what = f"{key[0]} of {key[1] or 'everything'}"
            raise ValidationError(f"{what} is not under way; `jackstay recover` shows what is")
        run.cancel(name_of(who))
        self._on_event("operator.recover_cancelled", {"scenario": key[0], "what": key[1], "by": name_of(who)})
        return run.snapshot()

    def status(self) -> dict[str, Any]:
        """What is under way, with its step; and the latest that ended."""
        now = self._ports.clock()
        return {
            "running": [
                {"what": what, **plain(run.snapshot()), "left_s": round(run.deadline_at - now, 1)}
                for (_name, what), run in self._runs.items()
            ],
            "ended": [
                {"what": what, "ago_s": round(now - at, 1), **plain(shown)}
                for (_name, what), (at, shown) in reversed(self._ended.items())
            ][:20],
        }


def holder_of(scenario: str) -> str:
    """In whose name a scenario holds modes."""
    return HOLDER + scenario
