"""The composition root: the one place that builds the parts and joins them; ordered start, drain and stop.

`build(config, ports)` takes its whole world as arguments (DESIGN §9). Order of start: instance lock, parts, doors,
feeds, ready. Order of stop is the reverse, each step with a limit: refuse new work, wait for what is in flight, close
feeds, pools, doors, give the lock back.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Any

from jackstay_protocols.endpoints import AgentPaths, state_folder
from jackstay_protocols.limits import TO_AGENT_FRAME_BYTES_MAX, WIRE_VERSION
from jackstay_protocols.messages import Directive, Event, Message
from jackstay_protocols.session import BotSession

from .account_feed import AccountFeed
from .account_lock import lock_folder, shared_folder
from .agent_desk import AgentDesk
from .config import Config, class_rules_of, profiles_of
from .connection_desk import ConnectionDesk
from .core.modes import Mode
from .decisions import Decisions
from .dispatch import Dispatch
from .error_desk import ErrorDesk
from .feeds import FeedManager
from .flight import landing
from .gateway.bot_door import BotDoor, BotDoorSettings
from .gateway.control_door import ControlDoor
from .gateway.door import DoorLike
from .gateway.feed_door import FeedDoor, FeedDoorSettings
from .gateway.leaving import CONFIRM_WITHIN_S
from .http_service import HttpService
from .instance_lock import InstanceLock
from .intents import Intents
from .load_guard import LoadGuard
from .logs import write_event
from .order_desk import OrderDesk
from .outbox import Outbox, Settled
from .outbox.runner import loop_runner
from .outward import Outward
from .pipeline import Pipeline
from .ports import Ports
from .protection_room import ProtectionRoom
from .pulse import TICK_S, Pulse
from .recording import Recording
from .resolver import Resolver
from .state_desk import StateDesk
from .state_room import StateRoom
from .supervised import Supervised
from .telling import Telling
from .trading_hours import TradingHours
from .transport.http import HttpAnswer, HttpFailure
from .upstreams import Upstreams
from .user_streams import UserStreams
from .venue_access import VenueAccess
from .venue_modes import EVERYWHERE
from .venues.outgoing import OutgoingRequest
from .version import version as version
from .witness import Witness

LAG_EXCUSED_S = 0.1  # a tick later than this means that the agent itself did not run
SWEEP_EVERY_TICKS = 40
SNAPSHOT_WITHIN_S = 5.0


class Agent(Supervised):
    """One running agent. `start`, then `run_until_stopped`, or `stop` from anywhere on its loop."""

    def __init__(self, name: str, config: Config, paths: AgentPaths, ports: Ports) -> None:
        self.name = name
        self.config = config
        self.paths = paths
        self._ports = ports
        self._lock = InstanceLock(paths)
        self._logger: Any = None
        self._started_at = ports.clock()
        self._stopping = asyncio.Event()
        self.stops_asked = 0
        self._stopped = False
        self._doors: list[DoorLike] = []
        self._ticker: asyncio.TimerHandle | None = None
        self._next_tick_at = 0.0
        self._ticks = 0
        self.lag_worst_s = 0.0
        self.events_total = 0
        self.telling = Telling(ports.clock)
        self.telling.on_broken = self.event
        self._build()

    # ------------------------------------------------------------ parts

    def _build(self) -> None:
        config, ports = self.config, self._ports
        own_uid = os.getuid()
        allow_uids = frozenset(config.agent.allow_uids)
        self.errors = ErrorDesk(config, clock=ports.clock, wall=ports.wall, on_event=self.event)
        self.hours = TradingHours(config.hours, ports.wall)
        self.decisions = Decisions(config, ports, agent=self.name, on_event=self.event)
        self.outward = Outward(config, ports, hours=self.hours, guarded=self.decisions.guarded, on_event=self.event)
        self.upstreams = Upstreams(
            profiles=profiles_of(config),
            allow_hosts=config.agent.allow_hosts,
            upstreams_max=config.agent.upstreams_max,
            make_endpoint=config.endpoint_for,
            make_pool=self.outward.pool,
            make_judgement=self.decisions.judgement,
        )
        self.access = VenueAccess(
            profiles_of(config),
            config.venues,
            clock=ports.clock,
            wall=ports.wall,
            ask=self._ask_venue,
            on_event=self.event,
            environ=os.environ,
        )
        self.load = LoadGuard(
            config.overload,
            clock=ports.clock,
            process=ports.own_process,
            in_flight=lambda: self.bots.in_flight() + self.http.in_flight(),
            on_event=self.event,
        )
        self._build_orders()
        self.pipeline = Pipeline(
            self.upstreams,
            clock=ports.clock,
            wall=ports.wall,
            random=ports.random,
            call_later=ports.loop.call_later,
            retry=config.errors.retry.policy("reads"),
            intents=self.intents,
            resolver=self.resolver,
            witness=self.witness,
            access=self.access,
            accept=self.dispatch.accept,
            on_event=self.event,
            telling=self.telling,
            load=self.load,
        )
        self.decisions.of(self.upstreams, self.access.reading, self.pipeline.ask)
        self._build_state()
        self.http = HttpService(
            config,
            ports,
            own_uid=own_uid,
            allow_uids=allow_uids,
            pipeline=self.pipeline,
            intents=self.intents,
            telling=self.telling,
            ssl_context=self.outward.ssl_context,
            on_event=self.event,
        )
        self._build_user_streams()
        self._build_feeds(own_uid, allow_uids)
        self._build_doors(own_uid, allow_uids)

    def _build_orders(self) -> None:
        """What is written down of orders, asked about and queued."""
        config, ports = self.config, self._ports
        self._executor: Executor | None = None
        self._pulse: Pulse | None = None
        self.recording = Recording(
            config,
            ports,
            agent=self.name,
            version=version(),
            telling=self.telling,
            event=self.event,
            modes=self.decisions.modes,
            access=self.access,
            make_pool=self.outward.pool,
            upstreams=self.upstreams,
        )
        self.intents = Intents(
            deliver=self._tell_bot,
            clock=ports.clock,
            equal_window_s=config.queue.idempotency_window_s,
            venue_at=self.access.venue_at,
            present=lambda: [each["bot"] for each in self.bots.bots()],
            class_rules=class_rules_of(config),
            telling=self.telling,
        )
        self.witness = Witness(lambda: self.intents.outbox, self.access.reading)
        self.resolver = Resolver(
            lambda: self.intents.outbox,
            operations=self.access.asking,
            ask=self._ask_venue,
            clock=ports.clock,
            wall=ports.wall,
            on_answer=self.access.answered,
            on_event=self.event,
            look_back=self.witness.look_back,
        )
        self.dispatch = Dispatch(
            self.intents,
            self.upstreams,
            self.access,
            carry=lambda *way: self.pipeline.carry(*way),  # noqa: PLW0108 - built later
            ask=self._ask_venue,
            clock=ports.clock,
            random=ports.random,
            call_soon=ports.loop.call_soon,
            on_event=self.event,
            flush_per_s=config.queue.flush_per_s,
            header_bytes_max=config.queue.queue_bytes_max,
        )

    def _build_state(self) -> None:
        self.state = StateRoom(
            self.config,
            self._ports,
            self.access,
            outbox=lambda: self.intents.outbox,
            ask=self._ask_venue,
            tell=self._tell_bot,
            bots=lambda: [each.bot_id for each in self.bots.primaries()],
            halt=self._halt,
            distrust=lambda *words: self.user_streams.replace(*words),  # noqa: PLW0108 - built later; another may hear more
            on_event=self.event,
        )
        self.telling.listen(self.errors)
        self.telling.listen(self.state.intake)
        self.telling.listen(self.resolver)

    def _halt(self, venue: str, why: str) -> None:
        """The state monitor's policy: stop orders there until an operator releases it."""
        self.decisions.modes.hold(venue or EVERYWHERE, Mode.HALTED, holder="state monitor", why=why[:200])

    def _build_doors(self, own_uid: int, allow_uids: frozenset[int]) -> None:
        config, ports = self.config, self._ports
        self.bots = BotDoor(
            BotDoorSettings(
                agent=self.name,
                agent_version=version(),
                pid=ports.pid,
                boot_id=ports.boot_id,
                beat_within_s=config.bot.beat_within_s,
                allow_uids=allow_uids,
                own_uid=own_uid,
                grade=lambda: self.protection.powers.grade,
                preset=lambda: self.protection.preset,
            ),
            clock=ports.clock,
            call_later=ports.loop.call_later,
            process_gone=ports.process_gone,
            make_token=ports.make_token,
            take=self.pipeline.take,
            urgent=self.upstreams.is_derisk,
            report_error=self.errors.reported,
            status=self.status,
            on_event=self.event,
            replay=self._replay,
            ack=self._ack,
            report_state=self.state.report,
            unheard=self.intents.unheard,
            telling=self.telling,
        )
        self.protection = ProtectionRoom(
            config,
            ports,
            bots=self.bots,
            sessions=self._sessions,
            state=self.state,
            access=self.access,
            upstreams=self.upstreams,
            outbox=lambda: self.intents.outbox,
            ask=self._ask_venue,
            modes=self.decisions.modes,
            telling=self.telling,
            streams=lambda: self.user_streams.status(),  # noqa: PLW0108 - built later
            feeds=lambda: self.feeds.status(),  # noqa: PLW0108
            direct=self._tell_bot,
            on_event=self.event,
        )
        self._build_control(own_uid, allow_uids)

    def _build_control(self, own_uid: int, allow_uids: frozenset[int]) -> None:
        ports = self._ports
        self.control = ControlDoor(
            {
                **self.protection.verbs(),
                **AgentDesk(
                    self.name,
                    ports,
                    status=self.status,
                    upstreams=self.upstreams,
                    in_flight=self.bots.in_flight,
                    request_stop=self.request_stop,
                    on_event=self.event,
                ).verbs(),
                **StateDesk(self.state.monitor, loop=ports.loop, on_event=self.event).verbs(),
                **self.decisions.verbs(),
                **self.recording.verbs(),
                **ConnectionDesk(
                    self.upstreams, self.feeds, self.user_streams, readers=self.feed_door.snapshot, on_event=self.event
                ).verbs(),
                **self.errors.verbs(),
                **OrderDesk(
                    lambda: self.intents.outbox, clock=ports.clock, on_event=self.event, on_release=self.dispatch.kick
                ).verbs(),
            },
            allow_uids=allow_uids,
            own_uid=own_uid,
        )

    def _build_feeds(self, own_uid: int, allow_uids: frozenset[int]) -> None:
        ports = self._ports
        self.feeds = FeedManager(
            self.config.feeds,
            loop=ports.loop,
            clock=ports.clock,
            random=ports.random.random,
            ws_dial=self.outward.ws_dial,
            publish=lambda batches: self.feed_door.publish(batches),  # noqa: PLW0108 - built later
            on_event=self.event,
            hours=self.hours,
            fetch=self._fetch_snapshot,
        )
        self.account = AccountFeed(self.feeds, venues=self.user_streams.venues, readers=lambda: self.feed_door)
        self.feed_door = FeedDoor(
            FeedDoorSettings(self.name, version(), allow_uids=allow_uids | {own_uid, 0}, agent_pid=ports.pid),
            feeds=self.account,
            clock=ports.clock,
            wall=ports.wall,
            call_later=ports.loop.call_later,
            status=self.status,
            process_gone=ports.process_gone,
        )

    def _build_user_streams(self) -> None:
        ports, profiles = self._ports, profiles_of(self.config)
        wanted = {section.profile or name for name, section in self.config.venues.items() if section.user_stream}
        venues = {name: data for name in wanted if (data := profiles[name].data.user_stream) is not None}
        self.user_streams = UserStreams(
            venues,
            operations=self.access.asking,
            loop=ports.loop,
            clock=ports.clock,
            random=ports.random.random,
            ws_dial=self.outward.ws_dial,
            ask=lambda *question: landing(self._ask_venue(*question), ports.loop),
            on_event=self.event,
        )

    async def _fetch_snapshot(self, url: str) -> bytes | None:
        """A whole book, through the pipeline: its weight counts, a closed gate holds. None: there was no 200."""
        asked = OutgoingRequest("GET", url[url.index("/", url.index("://") + 3) :])
        origin = url.removesuffix(asked.target)
        answer = await self._ask_venue(origin, asked, self._ports.clock() + SNAPSHOT_WITHIN_S)
        return answer.body if isinstance(answer, HttpAnswer) and answer.status == 200 else None

    # ------------------------------------------------------------ orders and what is known of them

    def _tell_bot(self, bot_id: str, news: Message) -> bool:
        if isinstance(news, Directive):
            return self.protection.directives.tell(bot_id, news)
        return self.bots.tell(bot_id, news)

    def _replay(self, bot_id: str) -> int:
        """A bot said hello: what it has not acknowledged, outcomes, fills and directives."""
        self.state.replay(bot_id)
        self.protection.directives.replay(bot_id)
        return self.intents.replay(bot_id)

    def _ack(self, bot_id: str, names: list[str]) -> int:
        self.state.ack(bot_id, names)
        self.protection.directives.ack(bot_id, names)
        return self.intents.ack(bot_id, names)

    async def _ask_venue(
        self, origin: str, question: OutgoingRequest, deadline_at: float
    ) -> HttpAnswer | HttpFailure | None:
        return await self.pipeline.ask(origin, question, deadline_at)

    def _open_outbox(self) -> None:
        folder = state_folder(self.paths, os.environ)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shared = shared_folder(self.paths, os.environ)
        self.protection.open(folder, lock_folder(self.paths, os.environ), self.name)
        self.access.open(folder)
        self.recording.open(folder)
        self.decisions.open(folder, shared)
        ports = self._ports
        self._executor = ports.open_executor("outbox")
        self.intents.attach(
            Outbox.open(
                folder / "outbox.sqlite",
                self.config.queue,
                clock=ports.clock,
                wall=ports.wall,
                boot_id=ports.boot_id,
                run_blocking=loop_runner(ports.loop, self._executor),
                on_event=self.event,
                on_settled=self._settled,
                on_free=self.dispatch.kick,
                store=ports.store,
            )
        )
        self.state.open(folder, str(int(ports.wall())))
        outbox = self.intents.outbox
        looks = (outbox.tick, self.resolver.tick, self.dispatch.pump, self.intents.news.tick)
        self._pulse = Pulse(ports.loop.call_later, looks, at_rest=outbox.at_rest)
        outbox.on_stir = self._pulse.stir
        self._pulse.beat()

    def _settled(self, settled: Settled) -> None:
        self.intents.settled(settled)
        if settled.final:
            self.dispatch.ended(settled.seq)
            self.dispatch.kick()

    def _sessions(self) -> list[BotSession]:
        """The bots of all doors."""
        return self.http.watched(self.bots.primaries())

    # ------------------------------------------------------------ start, stop

    def take_lock(self) -> None:
        """Raises ValidationError when another agent of this name lives or the folder cannot be used."""
        group = self.config.agent.socket_group
        group_id = None
        if group:
            import grp

            group_id = grp.getgrnam(group).gr_gid
        self._lock.take(group_id=group_id)

    async def start(self) -> None:
        self._logger = self._ports.make_logger(self.config.agent.log_level, self.config.agent.log_format)
        mode = 0o660 if self.config.agent.socket_group else 0o600
        try:
            self._open_outbox()
            self.bots.attach(self._open(self.paths.bot, self.bots.on_frame, mode, sndhwm=1000))
            self.feed_door.attach(self._open(self.paths.feed, self.feed_door.on_frame, mode, sndhwm=64))
            self.control.attach(self._open(self.paths.control, self.control.on_frame, mode, sndhwm=100))
            await self.http.open(self.paths.http, mode)
            await self.feeds.start()
            self.protection.begin()
            for listener in (self.witness, self.state.intake, self.account):
                self.user_streams.listen(listener)
            await self.user_streams.start()
            self.outward.warm(self.upstreams)
            await self.recording.serve(self.paths, mode, self.status, self.feed_door.snapshot)
        except BaseException:
            await self.stop()
            raise
        self._next_tick_at = self._ports.clock() + TICK_S
        self._ticker = self._ports.loop.call_later(TICK_S, self._tick)
        self.event("agent.started", {"agent": self.name, "version": version(), "pid": self._ports.pid})

    def _open(self, path: Path, on_frame: Any, mode: int, *, sndhwm: int) -> DoorLike:
        door = self._ports.open_door(
            path, on_frame=on_frame, recv_bytes_max=TO_AGENT_FRAME_BYTES_MAX, sndhwm=sndhwm, rcvhwm=1000, mode=mode
        )
        door.open()
        self._doors.append(door)
        return door

    def request_stop(self) -> None:
        """Begin an ordered stop; safe to call more than once."""
        self.stops_asked += 1
        self._stopping.set()

    async def asked_to_stop(self) -> None:
        await self._stopping.wait()

    async def run_until_stopped(self) -> None:
        await self._stopping.wait()
        await self.stop()

    async def stop(self) -> None:
        """Ordered stop: refuse, drain, close. Waits at most drain_timeout_s for requests in flight."""
        if self._stopped:
            return
        self._stopped = True
        self.bots.leave()
        self.pipeline.leave()
        await self._drain()
        await self.protection.leave()
        if self._ticker is not None:
            self._ticker.cancel()
        self.feed_door.close()
        await self.feeds.stop()
        await self.user_streams.stop()
        await self.state.close()
        await asyncio.gather(*(each.pool.close(1.0) for each in self.upstreams), return_exceptions=True)
        self.event("agent.stopped", {"agent": self.name, "in_flight": self.bots.in_flight()})
        self.http.close()
        for door in reversed(self._doors):
            door.close()
        await self.decisions.close()
        await self.protection.close()
        if self._pulse is not None:
            self._pulse.stop()
            self.intents.outbox.close()
        if self._executor is not None:
            self._executor.shutdown()
        await self.recording.close()
        self._lock.release()

    async def _drain(self) -> None:
        idle, queue_idle = asyncio.Event(), asyncio.Event()
        self.bots.when_idle(idle.set)
        if self._pulse is not None:
            self.dispatch.drain(queue_idle.set)
        else:
            queue_idle.set()
        try:
            await asyncio.wait_for(
                asyncio.gather(idle.wait(), queue_idle.wait(), self.http.drained()), self.config.agent.drain_timeout_s
            )
        except TimeoutError:
            self.event("agent.stop_timeout", {"in_flight": self.bots.in_flight()})
        read = asyncio.Event()
        self.bots.farewell(read.set)
        with suppress(TimeoutError):
            await asyncio.wait_for(read.wait(), CONFIRM_WITHIN_S)

    # ------------------------------------------------------------ the pulse

    def _tick(self) -> None:
        """Notices when the agent itself did not run: such time is excused to every bot (DESIGN §3 rule 13)."""
        now = self._ports.clock()
        late_s = now - self._next_tick_at
        if late_s > LAG_EXCUSED_S:
            self.lag_worst_s = max(self.lag_worst_s, late_s)
            self.bots.excuse(late_s)
            self.http.excuse(late_s)
            self.protection.excuse(late_s)
            self.event("loop.lagged", {"late_s": round(late_s, 3)})
        self.load.tick(late_s)
        self.protection.tick()
        self.access.tick()
        self.recording.tick()
        self.decisions.tick()
        self._ticks += 1
        if self._ticks % SWEEP_EVERY_TICKS == 0:
            self.bots.sweep()
            self.http.sweep()
        self._next_tick_at = now + TICK_S
        self._ticker = self._ports.loop.call_later(TICK_S, self._tick)

    # ------------------------------------------------------------ facts

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """The one sink of events: log line, and feed.sock readers that asked for events."""
        self.events_total += 1
        if self._logger is not None:
            write_event(self._logger, name, fields)
        wall_us = int(self._ports.wall() * 1e6)
        self.telling.happened(name, fields, wall_us)
        self.feed_door.publish_event(Event(name, wall_us, fields))

    def status(self) -> dict[str, Any]:
        """Everything an operator sees at a glance; plain values only."""
        return {
            "agent": self.name,
            "version": version(),
            "wire_version": WIRE_VERSION,
            "pid": self._ports.pid,
            "uptime_s": round(self._ports.clock() - self._started_at, 3),
            "state": "draining" if self.bots.draining else "running",
            **self.protection.status(),
            "runtime_dir": str(self.paths.runtime),
            "bots": self.bots.bots(),
            "requests": dict(self.pipeline.counters),
            "in_flight": self.bots.in_flight(),
            "upstreams": self.upstreams.status(),
            "feeds": self.feeds.status(),
            "http": self.http.status(),
            "user_streams": self.user_streams.status(),
            "queue": self.intents.status() | self.dispatch.status(),
            "venues": self.access.status(),
            **self.recording.status(),
            "state_monitor": self.state.status(),
            "modes": self.decisions.modes.status(),
            "overload": self.load.status(),
            "gateway": dict(self.bots.counters) | {"bad_parts": sum(door.bad_parts for door in self._doors)},
            "loop_lag_worst_s": round(self.lag_worst_s, 3),
            "events_total": self.events_total,
            "at_us": int(self._ports.wall() * 1e6),
        }


def build(config: Config, ports: Ports, *, name: str, paths: AgentPaths) -> Agent:
    """An agent of these parts, not yet started; the caller takes the lock first (`take_lock`)."""
    return Agent(name, config, paths, ports)
