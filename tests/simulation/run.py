"""One seed, from the first boot to the last judgement.

Two phases (TigerBeetle's VOPR): while the weather rages nothing may ever be wrong; once it is over everything must come
to rest: every order known, every outcome delivered, and new orders and cancels go through.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from jackstay_agent import pulse
from jackstay_agent.config import Config
from jackstay_agent.core.pool import ConnState
from jackstay_agent.outbox.rows import read_payload
from jackstay_agent.sandbox.accounts import DEFAULT_KEY, DEFAULT_SECRET
from jackstay_protocols.codec import encode
from jackstay_protocols.messages import Command

from .bots import Bot
from .doors import Line
from .host import Host
from .judge import judge
from .loop import NothingScheduled, Process, Time
from .network import Network
from .observer import Observer
from .venue import House
from .weather import MOMENTS, SILENCE_STORM_S, Weather

STORMS_S = (20.0, 20.0, 20.0, 60.0)
CALM_MAX_S = 400.0
CANARY_S = 200.0
#: what happens only while the machine is awake
OF_THE_MACHINE = frozenset(
    {kind for kind in MOMENTS if kind.startswith(("agent_", "bot_", "disk_"))}
    | {"operator", "suspended", "wall_stepped"}
)


@dataclass
class Result:
    """What one seed came to."""

    seed: str
    violations: list[str]
    seen: Counter[str]
    virtual_s: float
    steps: int
    trace: list[tuple[float, str, str, str]] = field(repr=False, default_factory=list)
    weather: str = ""

    @property
    def ok(self) -> bool:
        return not self.violations


@cache
def base_folder() -> Path:
    """In memory where the system has such a place: nothing here measures a disk."""
    there = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="jackstay-sim-", dir=there))
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_text(f"key = {DEFAULT_KEY}\nsecret = {DEFAULT_SECRET}\n")
    return folder


@cache
def config_of(durability: str, audit: bool) -> Config:
    return Config.from_toml(
        f"""
        [agent]
        log_level = "error"
        [venues.sandbox]
        live = false
        user_stream = false
        [venues.sandbox.keys]
        file = "{base_folder() / "key"}"
        [audit]
        enabled = {str(audit).lower()}
        [queue]
        durability = "{durability}"
        """
    )


class Simulation:
    """The whole world of one seed."""

    def __init__(
        self,
        seed: str,
        *,
        without: frozenset[str] = frozenset(),
        only: frozenset[str] | None = None,
        mutant: Callable[[Any, Any], None] = lambda agent, simulation: None,
    ) -> None:
        self.seed = seed
        self.world = Time(seed)
        self.weather = Weather(seed, without, only)
        self.chance = Random(f"{seed}-run")
        self.observer = Observer()
        outside = Process(self.world, "venue", 1)
        self.house = House(self.world, self.weather, outside, seed)
        self.network = Network(self.world, self.weather, seed, outside)
        self.network.accept = self.house.accept
        self.network.on_written = lambda process, data: self.observer.wrote(self.world, process, data)
        self.durability = "disk" if self.chance.random() < 0.3 or "power_lost" in self.weather.rates else "process"
        self.folder = Path(tempfile.mkdtemp(dir=base_folder()))
        self.host = Host(
            self.world,
            self.weather,
            self.network,
            self.folder,
            config_of(self.durability, self.chance.random() < 0.25),
            seed,
            self.observer,
        )
        self.host.change_agent = lambda agent: mutant(agent, self)
        self.host.disk.on_journaled = self._journaled
        self.observer.is_aside = self.host.disk.is_aside
        self.observer.folder = str(self.folder)
        self.observer.boot_s = self.host.boot_s
        self.observer.world = self.world
        self.outside = outside
        self.bots = [
            Bot(self.host, name, number, seed, self.chance.randint(2, 8)) for number, name in ((1, "ann"), (2, "bob"))
        ]
        self.humans = 0
        self.storm_s = self.chance.choice(STORMS_S)
        if self.weather.scene == "silence":
            self.storm_s = SILENCE_STORM_S

    def _journaled(self, seq: int, payload: bytes) -> None:
        intent = read_payload(payload).intent
        self.observer.journaled[intent.client_order_id] = (str(seq), intent.bot_id)

    def run(self) -> Result:
        observer = self.observer
        # The agent's own 20 ms would be a third of all work; outcomes wait longer for the disk with the others.
        quick_s, pulse.QUICK_S = pulse.QUICK_S, self.chance.choice((0.02, 0.1, 0.25, 0.25))
        collects = gc.isenabled()
        gc.disable()  # dead processes' leftovers are inert, and looking for them costs a third of the time
        try:
            self._run()
        except NothingScheduled as error:
            observer.violation(self.world, str(error))
        finally:
            pulse.QUICK_S = quick_s
            shutil.rmtree(self.folder, ignore_errors=True)
            if collects:
                gc.enable()
        observer.seen.update({f"fault {kind}": count for kind, count in self.weather.seen.items()})
        return Result(
            self.seed,
            observer.violations,
            observer.seen,
            self.world.now,
            self.world.steps,
            self.world.trace,
            f"{self.weather.view()}; durability {self.durability}",
        )

    def _run(self) -> None:
        self.host.start_agent()
        for bot in self.bots:
            bot.start()
        for at, kind in self.weather.moments(self.storm_s):
            self.world.at(self.host.init if kind in OF_THE_MACHINE else self.outside, at, self._befall, (kind,))
        self.world.run(self.storm_s, self._overslept)
        self._calm()
        self.world.run(self.world.now + 1.0)
        if not self.world.run(self.world.now + CALM_MAX_S, self._at_rest):
            self.observer.violation(self.world, f"not at rest {CALM_MAX_S:g} s after the storm: {self._unrest()}")
        self._canaries()
        self.world.run(self.world.now + CALM_MAX_S, self._at_rest)
        judge(self)

    # ---- trouble at drawn instants

    def _befall(self, kind: str) -> None:
        if self.weather.over:
            return
        self.weather.seen[kind] += 1
        self.world.note("weather", kind)
        getattr(self, f"_{kind}")(self.weather.dice(kind))

    def _partition_out(self, dice: Random) -> None:
        self.network.blocked["out"] = self.world.now + dice.uniform(0.3, 0.6 * self.storm_s)

    def _partition_in(self, dice: Random) -> None:
        least_s = 0.5 * self.storm_s if self.weather.scene == "silence" else 0.3
        self.network.blocked["in"] = self.world.now + dice.uniform(least_s, 0.6 * self.storm_s)

    def _maintenance(self, dice: Random) -> None:
        self.network.heal()
        self.house.maintenance_until = self.world.now + dice.uniform(1.0, 0.5 * self.storm_s)

    def _disk_full(self, dice: Random) -> None:
        self.host.disk.full_until = self.world.now + dice.uniform(0.3, 6.0)

    def _agent_killed(self, _dice: Random) -> None:
        if self.host.agent_process is not None:
            self.host.agent_process.kill("kill -9")

    def _agent_killed_midway(self, dice: Random) -> None:
        if self.host.agent_process is not None:
            self.host.agent_process.crash_in = dice.randint(1, 40)

    def _agent_frozen(self, dice: Random) -> None:
        self._freeze(self.host.agent_process, dice.uniform(0.05, 7.0))

    def _freeze(self, process: Process | None, seconds: float) -> None:
        if process is not None:
            process.frozen_until = max(process.frozen_until, self.world.now + seconds)

    def _agent_restarted(self, _dice: Random) -> None:
        agent, process = self.host.agent, self.host.agent_process
        if agent is not None and process is not None and not process.dead:
            self.world.at(process, self.world.now, agent.request_stop)

    def _power_lost(self, _dice: Random) -> None:
        self.host.lose_power()

    def _bot_killed(self, dice: Random) -> None:
        bot = dice.choice(self.bots)
        if bot.process is not None:
            bot.process.kill("kill -9")

    def _bot_frozen(self, dice: Random) -> None:
        self._freeze(dice.choice(self.bots).process, dice.uniform(0.05, 9.0))

    def _bot_deployed(self, dice: Random) -> None:
        dice.choice(self.bots).deploy()

    def _suspended(self, dice: Random) -> None:
        self.host.suspend(dice.uniform(0.5, 15.0))

    def _wall_stepped(self, dice: Random) -> None:
        self.host.wall_offset_s = dice.choice((-1, 1)) * dice.choice((0.3, 2.0, 60.0, 3600.0))

    def _early_timers(self, _dice: Random) -> None:
        """On for the whole run where it is drawn."""

    def _human(self, _dice: Random) -> None:
        self.humans += 1
        self.house.human(Decimal(50_000 + self.humans) / 100_000)

    def _operator(self, dice: Random) -> None:
        word = dice.choice(("status", "ping", "queue", "unknown", "reset"))
        line = Line(self.host.switchboard, self.outside, lambda frame: None)
        if line.connect("control.sock"):
            line.send(encode(Command(word), id=1))

    # ---- after the storm

    def _calm(self) -> None:
        self.weather.over = True
        self.world.note("weather", "over")
        self.network.blocked = {"out": 0.0, "in": 0.0}
        self.network.heal()  # what a partition still held back of their ends arrives now
        self.house.maintenance_until = self.house.limited_until = 0.0
        self.host.disk.full_until = 0.0
        self.host.wall_offset_s = 0.0
        if self.host.agent_process is not None:
            self.host.agent_process.crash_in = None

    def _unrest(self) -> str:
        agent, process = self.host.agent, self.host.agent_process
        if agent is None or process is None or process.dead or agent._pulse is None:
            return "the agent is not up"
        if process.frozen_until > self.world.now:
            return "the agent is frozen"
        for bot in self.bots:
            if bot.process is None or bot.process.dead or bot.client is None:
                return f"{bot.name} is down"
            if bot.process.frozen_until > self.world.now:
                return f"{bot.name} is frozen"
            if not bot.idle or bot.placing:
                return f"{bot.name} still trades"
            if bot.client is None or not bot.client.greeted:
                return f"{bot.name} has no session"
        outbox = agent.intents.outbox
        if outbox.open_intents():
            return f"open intents: {[(each.seq, each.state.value) for each in outbox.open_intents()]}"
        if agent.bots.in_flight():
            return f"{agent.bots.in_flight()} calls in flight"
        for bot in self.bots:
            if bot.reads and (left := outbox.uncollected(bot.name)):
                return f"{bot.name} has not collected {[each.seq for each in left]}"
        return ""

    def _at_rest(self) -> bool:
        return self._overslept() or not self._unrest()

    def _overslept(self) -> bool:
        """Somebody waits for a connection while one rests: a wake-up was lost, though the next answer may heal it."""
        agent, process = self.host.agent, self.host.agent_process
        if agent is None or process is None or process.dead or process.frozen_until > self.world.now:
            return False
        for upstream in agent.upstreams:
            pool = upstream.pool
            waits = [each for each in pool._waiting if each.done is not None and each.deadline_at > pool.clock()]
            rests = [each for each in pool._ready if each.state is ConnState.READY and not each.is_closing()]
            if waits and rests:
                self.observer.violation(self.world, f"liveness: {len(waits)} wait for a connection, {len(rests)} rest")
                return True
        return False

    def _canaries(self) -> None:
        done: dict[str, bool] = {}

        async def sing(bot: Bot) -> None:
            done[bot.name] = await bot.canary()

        for bot in self.bots:
            if bot.process is None or bot.process.dead or bot.client is None:
                self.observer.violation(self.world, f"{bot.name} is not there for its canary")
                continue
            bot.process.loop.create_task(sing(bot))
        self.world.run(self.world.now + CANARY_S, lambda: len(done) == len(self.bots))
        for bot in self.bots:
            if not done.get(bot.name):
                self.observer.violation(
                    self.world, f"liveness: {bot.name}'s order and cancel did not go through afterwards"
                )


def run(seed: str, **options: Any) -> Result:
    """One seed. Options as `Simulation`."""
    return Simulation(seed, **options).run()
