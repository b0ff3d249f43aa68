"""The protection's room in the agent: it joins watchdog, guardian and dead-man switches, and keeps what restarts need.

Started before the first bot is let in, so that switches which an earlier agent armed are adopted before anything else.
What a bot's state makes of its orders is core/protection's table; whose orders are whose is the state room's evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jackstay_protocols.errors import ValidationError
from jackstay_protocols.messages import Directive, Message
from jackstay_protocols.session import BotSession

from .account_lock import AccountLock
from .barrier import Barrier
from .bot_news import CAME_OR_WENT, BotNews
from .cancel_desk import CancelDesk
from .config import Config, class_rules_of, profiles_of, venue_of
from .core.event_sink import EventSink
from .core.modes import Mode
from .core.protection import Preset
from .deadman import Deadman, limits_of
from .deadman_desk import DeadmanDesk
from .directives import Directives
from .flight import Flight, landing
from .gateway.bot_door import BotDoor
from .gateway.control_door import Verb
from .groups import Groups
from .guardian import Guardian
from .kept import Keeper, Kept
from .key_powers import KeyPowers
from .maintenance import MaintenanceWatch
from .outbox import Outbox
from .own_orders import AccountOrders
from .partial_fills import PartialFills
from .ports import Ports
from .pulse import TICK_S
from .recovery_room import RecoveryRoom, holder_of
from .reopening import Reopening
from .state_room import Ask, StateRoom
from .telling import Telling
from .upstreams import Upstreams
from .venue_access import VenueAccess
from .venue_actions import VenueActions, VenueQuestions
from .venue_modes import VenueModes
from .watch_desk import WatchDesk
from .watchdog import Watchdog

KEEP_EVERY_S = 60.0  # the history of silences; what an operator or a bot changed is written at once
LEAVE_WITHIN_S = 5.0
#: In which mode a scenario holds its venue; the others hold nothing, the pool and the limiter do.
HELD_IN = {"exchange_maintenance": Mode.MAINTENANCE, "data_feed_interruption": Mode.CONSERVATIVE}
HOLD_MARGIN_S = 60.0  # a recovery's hold ends by itself if the recovery never does


class ProtectionRoom:
    """``sessions()``: the bots of all doors; ``bots``: the door where they say hello. ``ask`` carries a signed question
    (run by callbacks, flight.py).
    """

    def __init__(
        self,
        config: Config,
        ports: Ports,
        *,
        bots: BotDoor,
        sessions: Callable[[], list[BotSession]],
        state: StateRoom,
        access: VenueAccess,
        upstreams: Upstreams,
        outbox: Callable[[], Outbox],
        ask: Ask,
        modes: VenueModes,
        telling: Telling,
        streams: Callable[[], dict[str, Any]],
        feeds: Callable[[], dict[str, Any]],
        direct: Callable[[str, Message], bool],
        on_event: EventSink,
    ) -> None:
        self._ports = ports
        self._bots = bots
        self._sessions = sessions
        self._on_event = on_event
        self._watch_keeper: Keeper | None = None
        self._deadman_keeper: Keeper | None = None
        self._directive_keeper: Keeper | None = None
        self._kept_at = self._ticked_at = ports.clock()
        self.own_orders = AccountOrders(
            state.books,
            state.pulling,
            loop=ports.loop,
            venues=access.askable,
            sort_out=state.checks.sort_out,
            class_rules=class_rules_of(config),
            only_bot=self._only_bot,
            on_cancelled=lambda venue: self.powers.took_cancel(venue),  # noqa: PLW0108 - built below
        )
        self.guardian = Guardian(
            outbox, self.own_orders, clock=ports.clock, wake=ports.loop.call_later, on_event=on_event
        )
        self.watchdog = Watchdog(
            config.watching(),
            sessions=sessions,
            probe=ports.watch_process,
            guard=self.guardian,
            clock=ports.clock,
            wall=ports.wall,
            on_event=on_event,
        )
        self.deadman = Deadman(
            operations=access.asking,
            carry=ask,
            listed=self.own_orders.listed,
            limits=lambda origin, request: limits_of(upstreams, origin, request, ports.clock()),
            fresh=self.watchdog.is_fresh,
            exclusive=config.account.exclusive,
            clock=ports.clock,
            wall=ports.wall,
            keep=self._keep_switches,
            on_event=on_event,
        )
        self._build_powers(config, state, access, ask)
        self._build_listeners(config, modes, outbox, direct)
        self.reopening = Reopening(self.guardian, self.barrier, upstreams, sessions, ports.clock, on_event)
        self._build_recovery(config, state, access, ask, modes, streams, feeds, direct)
        self._build_maintenance(config, access, ask, modes)
        self._build_partial_fills(config, state, access)
        self._listen(telling, config)

    def _listen(self, telling: Telling, config: Config) -> None:
        self._look_is_due = False
        telling.listen(BotNews(self._bot_came_or_went, CAME_OR_WENT))
        if config.groups:
            telling.listen(self.groups)
        telling.listen(self.recovery)
        telling.listen(self.barrier)

    def _build_powers(self, config: Config, state: StateRoom, access: VenueAccess, ask: Ask) -> None:
        sections = {section.profile or name: section for name, section in config.venues.items()}
        self.powers = KeyPowers(
            access,
            traded=state.books.venues,
            live=lambda venue: sections[venue].live,
            ask=ask,
            clock=self._ports.clock,
        )
        self._said_powerless: list[str] = []
        self.directives = Directives(
            deliver=self._bots.tell, clock=self._ports.clock, wall=self._ports.wall, on_event=self._on_event
        )

    def _build_listeners(
        self,
        config: Config,
        modes: VenueModes,
        outbox: Callable[[], Outbox],
        direct: Callable[[str, Message], bool],
    ) -> None:
        self.groups = Groups(
            config.groups, modes, venue_of=venue_of(config, profiles_of(config)), soon=self._ports.loop.call_soon
        )
        self.barrier = Barrier(
            outbox,
            modes,
            within_s=config.watchdog.barrier_s,
            known=self.own_orders.known,
            direct=lambda bot_id, name, fields: direct(bot_id, Directive(name, fields)),
            soon=self._ports.loop.call_soon,
            clock=self._ports.clock,
            on_event=self._on_event,
        )
        account = config.account
        self._account = account.id if account.exclusive else ""
        self._account_lock: AccountLock | None = None

    def _build_recovery(
        self,
        config: Config,
        state: StateRoom,
        access: VenueAccess,
        ask: Ask,
        modes: VenueModes,
        streams: Callable[[], dict[str, Any]],
        feeds: Callable[[], dict[str, Any]],
        direct: Callable[[str, Message], bool],
    ) -> None:
        ports = self._ports

        async def disarm(venue: str) -> bool:
            if not any(each["venue"] == venue for each in self.deadman.status()):
                return False
            await landing(self.deadman.disarm(venue, by="recovery", why="maintenance"), ports.loop)
            return True

        async def to_bots(name: str, fields: dict[str, Any]) -> bool:
            """On the disk before the step that says it is in the recoveries' journal."""
            heard = [direct(session.bot_id, Directive(name, fields)) for session in self._sessions()]
            if self._directive_keeper is not None:
                await self._directive_keeper.on_disk()
            return any(heard)

        place = venue_of(config, profiles_of(config))

        def actions(scenario: str, what: str, within_s: float) -> VenueQuestions:
            asked: dict[str, Any] = {
                "operations": access.asking,
                "what": what,
                "books": state.books,
                "pulling": state.pulling,
                "carry": lambda *question: landing(ask(*question), ports.loop),
                "streams": streams,
                "feeds": feeds,
                "disarm": disarm,
                "direct": to_bots,
                "clock": ports.clock,
                "wall": ports.wall,
                "on_event": self._on_event,
            }
            mode = HELD_IN.get(scenario)
            if mode is None:
                return VenueQuestions(**asked)
            at = place({"feed": what}) if scenario == "data_feed_interruption" else what
            return VenueActions(
                holder_of(scenario),
                mode,
                modes=modes,
                holds_at=at,
                hold_for_s=within_s + HOLD_MARGIN_S,
                reopening=self.reopening if scenario == "exchange_maintenance" else None,
                **asked,
            )

        self.recovery = RecoveryRoom(
            config,
            ports,
            actions=actions,
            venue_of=place,
            can_ask=lambda venue: access.asking(venue) is not None,
            modes=modes,
            on_event=self._on_event,
        )

    def _build_maintenance(self, config: Config, access: VenueAccess, ask: Ask, modes: VenueModes) -> None:
        enabled = config.recovery.exchange_maintenance.enabled
        self.maintenance = MaintenanceWatch(
            {section.profile or name: section.maintenance for name, section in config.venues.items()},
            reading=access.reading,
            can_recover=lambda venue: enabled and access.asking(venue) is not None,
            ask=ask,
            modes=modes,
            detected=self.recovery.detected,
            clock=self._ports.clock,
            wall=self._ports.wall,
            on_event=self._on_event,
        )

    def _build_partial_fills(self, config: Config, state: StateRoom, access: VenueAccess) -> None:
        self.partial_fills = PartialFills(
            config.recovery.partial_fill,
            live=lambda: [each for found in access.askable() for each in state.books.live(found.profile.name)],
            class_rules=class_rules_of(config),
            detected=self.recovery.detected,
            clock=self._ports.clock,
        )

    def verbs(self) -> dict[str, Verb]:
        watch = WatchDesk(
            self.watchdog,
            sessions=self._sessions,
            wall=self._ports.wall,
            on_event=self._on_event,
            powers=self._powers,
            directives=self.directives.status,
        )
        return {
            **watch.verbs(),
            **DeadmanDesk(self.deadman, only_bot=self._only_bot).verbs(),
            **self.recovery.verbs(),
            **self.barrier.verbs(),
            **CancelDesk(self.own_orders, bots=self._sessions, on_event=self._on_event).verbs(),
        }

    def _only_bot(self) -> str:
        bots = self._sessions()
        return bots[0].bot_id if len(bots) == 1 else ""

    # ---- start and stop

    def open(self, folder: Path, host: Path, agent: str) -> None:
        """What was armed stays armed, switches are adopted, and bots that were here are expected again. ``host``: a
        folder that all agents of this user share. Raises ValidationError where another agent has the account.
        """
        if self._account:
            self._account_lock = AccountLock(host, self._account)
            self._account_lock.take(agent)
        self._deadman_keeper = self._resume(folder, "deadman", self._adopt_switches, self.deadman.snapshot)
        self._directive_keeper = self._resume(folder, "directives", self.directives.restore, self.directives.snapshot)
        self.groups.start()
        self.recovery.open(folder)
        self._watch_keeper = self._resume(folder, "watchdog", self._expect_bots, self._watch_snapshot)

    def begin(self) -> None:
        """The agent is up: barriers before bots with unknown orders, and recoveries that were under way go on."""
        self.barrier.start()
        self.maintenance.start()
        self.recovery.resume()
        self._ticked_at = self._ports.clock()  # from here on it is called

    def _resume(
        self,
        folder: Path,
        name: str,
        take_up: Callable[[dict[str, Any]], None],
        snapshot: Callable[[], dict[str, Any]],
    ) -> Keeper:
        kept = Kept(folder, name)
        found, wrong = kept.read()
        if found is not None:
            try:
                take_up(found)
            except ValidationError as error:
                wrong = kept.set_aside(str(error))
        if wrong:
            self._on_event(f"{name}.forgot", {"file": str(kept.path), "why": wrong})
        return Keeper(kept, snapshot=snapshot, run_blocking=self._ports.run_blocking, on_event=self._on_event)

    def _adopt_switches(self, found: dict[str, Any]) -> None:
        self.deadman.restore(found)

    def _expect_bots(self, found: dict[str, Any]) -> None:
        self.guardian.restore(found.get("held", {}))
        self._bots.adopt(self.watchdog.restore(found, same_boot=found.get("boot") == self._ports.boot_id))

    def _watch_snapshot(self) -> dict[str, Any]:
        return self.watchdog.snapshot() | {"boot": self._ports.boot_id, "held": self.guardian.snapshot()}

    async def _keep_switches(self) -> None:
        if self._deadman_keeper is not None:
            await self._deadman_keeper.on_disk()

    async def leave(self) -> None:
        """The agent stops: each switch gets its full window and stays armed, so that the account is covered."""
        left: asyncio.Future[None] = self._ports.loop.create_future()

        async def renew() -> None:
            await self.deadman.at_stop()
            if not left.done():
                left.set_result(None)

        if self.deadman.status():
            Flight(renew(), self._leaving_failed).step()
            await asyncio.wait([left], timeout=LEAVE_WITHIN_S)

    def _leaving_failed(self, error: BaseException) -> None:
        self._on_event("deadman.broken", {"error": f"{type(error).__name__}: {error}"})

    async def close(self) -> None:
        """What a restart needs is on the disk."""
        await self.recovery.close()
        if self._watch_keeper is not None:
            self._watch_keeper.write()
        if self._directive_keeper is not None and self.directives.changed:
            self._directive_keeper.write()
        for keeper in (self._watch_keeper, self._deadman_keeper, self._directive_keeper):
            if keeper is not None:
                await keeper.close()
        if self._account_lock is not None:
            self._account_lock.release()

    # ---- the pulse, facts

    def _bot_came_or_went(self) -> None:
        if not self._look_is_due:
            self._look_is_due = True
            self._ports.loop.call_soon(self._look_at_bots)

    def _look_at_bots(self) -> None:
        """What a goodbye asks for is done in this turn of the loop, and who asks next is told that the bot left. Not
        when the tick itself is due: it comes now, and first excuses what the agent slept through.
        """
        self._look_is_due = False
        if self._ports.clock() - self._ticked_at < TICK_S:
            self.watchdog.tick()

    def tick(self) -> None:
        """Look at the bots and the switches; write down what a restart has to know. Call it every TICK_S."""
        self._ticked_at = self._ports.clock()
        self.watchdog.tick()
        self.deadman.tick()
        self.barrier.tick()
        self.powers.tick()
        self.maintenance.tick()
        self.partial_fills.tick()
        self._tell_powerless()
        self.directives.tick()
        if self._directive_keeper is not None and self.directives.changed:
            self.directives.changed = False
            self._directive_keeper.write()
        now = self._ports.clock()
        if self._watch_keeper is not None and (self.watchdog.changed or now - self._kept_at >= KEEP_EVERY_S):
            self.watchdog.changed, self._kept_at = False, now
            self._watch_keeper.write()

    def excuse(self, seconds: float) -> None:
        """The agent itself did not run for so long."""
        self.watchdog.excuse(seconds)

    def _tell_powerless(self) -> None:
        """Armed and without the power to do it: said when it is armed, at each start, and when it changes."""
        armed = self.watchdog.armed.preset is not Preset.OBSERVE
        problems = self.powers.problems() if armed and self.powers.settled else []
        if problems and problems != self._said_powerless:
            self._on_event("protection.powerless", self._powers() | {"preset": self.preset})
        self._said_powerless = problems if armed else []

    def _powers(self) -> dict[str, Any]:
        return {"grade": self.powers.grade, "venues": self.powers.status(), "problems": self.powers.problems()}

    @property
    def preset(self) -> str:
        return str(self.watchdog.armed.preset)

    def status(self) -> dict[str, Any]:
        powers = self._powers()
        return {
            "grade": powers["grade"],
            "preset": self.preset,
            "powers": powers,
            "directives": self.directives.status(),
            "watchdog": self.watchdog.status() | {"cancelling": self.guardian.status()},
            "deadman": self.deadman.status(),
            "groups": self.groups.status(),
            "recovery": self.recovery.status(),
            "maintenance": self.maintenance.status(),
            "barriers": self.barrier.status(),
        }
