"""The machine: its clocks, its processes, its disk, and the agent that is started again whenever it ends."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from jackstay_agent.app import Agent, build
from jackstay_agent.config import Config
from jackstay_agent.ports import Ports
from jackstay_protocols.endpoints import AgentPaths
from jackstay_protocols.errors import ExchangeError, Reason

from .disk import Disk
from .doors import FakeDoor, Switchboard
from .loop import Process, Time
from .network import Network
from .observer import Observer
from .venue import EPOCH_S
from .weather import Weather

BOOTED_S = 1_000.0  # boot-time clock at the start of a run


class Log:
    """What the agent says goes to the observer."""

    def __init__(self, host: Host, process: Process) -> None:
        self._host = host
        self._process = process

    def info(self, name: str, **fields: Any) -> None:
        fields.pop("hash", None)
        fields.pop("log", None)  # the audit's seal has a key of its own in each run
        if not self._process.dead:  # what a dying process thinks of its death is no finding
            self._host.observer.event(self._host.world, self._process.name, name, fields)

    debug = warning = error = info


class Host:
    """One machine with one agent and its bots."""

    def __init__(
        self,
        world: Time,
        weather: Weather,
        network: Network,
        folder: Path,
        config: Config,
        seed: str,
        observer: Observer,
    ) -> None:
        self.world = world
        self.weather = weather
        self.network = network
        self.config = config
        self.observer = observer
        self.switchboard = Switchboard(world)
        self.folder = folder
        self.chance = Random(f"{seed}-host")
        self.boots = 1
        self.boot_offset_s = BOOTED_S
        self.wall_offset_s = 0.0
        self.paths = AgentPaths("sim", folder)
        self.disk = Disk(world, weather, folder / "state", keeps_synced="power_lost" in weather.rates)
        self.agent: Agent | None = None
        self.agent_process: Process | None = None
        self.lives = 0
        self._pid = 100
        self._alive: dict[int, Process] = {}
        self.init = Process(world, "init", 2)  # starts again what ended; sleeps with its machine
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.change_agent: Callable[[Agent], None] = lambda agent: None  # planted bugs
        self.no_restart = False

    # ---- clocks

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def boot_s(self) -> float:
        return self.world.now + self.boot_offset_s

    def wall_s(self) -> float:
        return EPOCH_S + self.world.now + self.wall_offset_s

    # ---- processes

    def spawn(self, name: str) -> Process:
        self._pid += 1
        process = Process(self.world, name, self._pid)
        self._alive[process.pid] = process
        process.on_death.append(lambda: self._alive.pop(process.pid, None))
        if "early_timers" in self.weather.rates:
            process.early_s = 0.001
        return process

    def gone(self, pid: int) -> bool:
        return pid not in self._alive

    # ---- the agent

    def ports(self, process: Process) -> Ports:
        network, tokens = self.network, Random(f"{process.pid}-token")

        def open_door(path: Path, *, on_frame: Any, **_options: Any) -> FakeDoor:
            return FakeDoor(self.switchboard, process, path, on_frame)

        async def no_feeds(*_args: Any, **_options: Any) -> Any:
            raise ExchangeError("the simulated venue has no streams", reason=Reason.REFUSED)

        return Ports(
            loop=process.loop,
            clock=self.boot_s,
            wall=self.wall_s,
            boot_id=self.boot_id,
            random=Random(f"{process.pid}-agent"),
            dial=lambda factory, addresses, **options: network.dial(process, factory, addresses, **options),
            resolve=lambda host, port: network.resolve(process, host, port),
            ws_dial=no_feeds,
            open_door=open_door,
            store=lambda path, **options: self.disk.connect(process, path, **options),
            run_blocking=lambda function, *args: self.disk.run_blocking(process, function, *args),
            open_executor=lambda name: self.disk.executor(process),
            make_token=lambda: f"{tokens.getrandbits(64):016x}",
            process_gone=self.gone,
            pid=process.pid,
            make_logger=lambda level, form: Log(self, process),
        )

    def start_agent(self) -> None:
        """A new process of the agent; it is started again a moment after it ends."""
        if self.agent_process is not None and not self.agent_process.dead:
            return
        self.lives += 1
        process = self.agent_process = self.spawn(f"agent{self.lives}")
        process.on_death.append(self._agent_died)
        self.world.note(process.name, "starts")
        self.world.at(process, self.world.now, self._run_agent, (process,))

    def _run_agent(self, process: Process) -> None:
        agent = build(self.config, self.ports(process), name="sim", paths=self.paths)
        self.agent = agent
        self.change_agent(agent)
        process.loop.create_task(self._whole_life(agent, process))

    async def _whole_life(self, agent: Agent, process: Process) -> None:
        try:
            await agent.start()
            await agent.run_until_stopped()
        except Exception as error:
            if not process.dead:
                self.world.note(process.name, "traceback", traceback.format_exc())
                self.observer.violation(self.world, f"the agent's start or stop broke: {type(error).__name__}: {error}")
        process.kill("ended by itself")

    def _agent_died(self) -> None:
        process = self.agent_process
        assert process is not None
        self.network.drop(process)
        self.disk.crash()
        if not self.no_restart:
            pause_s = self.chance.uniform(0.02, 2.0)
            self.world.later(self.init, pause_s, self.start_agent)

    # ---- what befalls the machine

    def lose_power(self) -> None:
        """All processes end, the disk keeps what was synced, and the machine boots again."""
        self.no_restart = True
        for process in list(self._alive.values()):
            process.kill("power lost")
        self.no_restart = False
        self.disk.lose_power()
        self.world.note("host", "power lost")
        self.boots += 1
        off_s = self.chance.uniform(1.0, 8.0)
        self.boot_offset_s = -self.world.now - off_s + 5.0
        self.world.later(self.init, off_s, self.start_agent)

    def suspend(self, seconds: float) -> None:
        self.world.note("host", "suspended", f"{seconds:.2f} s")
        self.world.suspend({self.init, *self._alive.values()}, seconds)
