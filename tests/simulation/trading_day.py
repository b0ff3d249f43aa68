"""A quiet stretch of busy trading in virtual time: is anything called a discrepancy that is none?

The real agent with its state monitor, a bot that trades fifty times a second and keeps its own picture from replies
and a stream of its own, somebody else who trades against its orders. Nothing is lost and nothing is wrong; but every
request and every event of a stream takes its own time, so events overtake each other and the replies they belong to,
and some come twice. The same seed gives the same half hour.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import orjson

from jackstay_agent.config import Config
from jackstay_agent.ports import Ports
from jackstay_agent.sandbox.accounts import DEFAULT_ACCOUNT
from jackstay_agent.sandbox.engine.model import MARKET_ACCOUNT, Event, OrderChange, OrderRequest
from jackstay_agent.sandbox.faces import binance_ws_api as api
from jackstay_agent.sandbox.faces.binance_user import UserStreams
from jackstay_agent.sandbox.faults import FaultBox
from jackstay_agent.sandbox.streams import Listener, StreamHub
from jackstay_agent.transport.websocket_connection import WsClosed
from jackstay_protocols.errors import Outcome
from jackstay_protocols.messages import ReportState, Request
from state_world import quick_profile

from .bots import BASE, HEADERS, signed
from .client import SimClient, Told
from .host import Host
from .loop import Process, Time
from .network import Network
from .observer import Observer
from .run import base_folder
from .venue import House
from .weather import Weather

INSIDE = Decimal(49_500)  # between the best bid and the best ask there are: whoever sells meets the bot first
LIVE_MAX = 150
DEADLINE_S = 5.0
REPORT_EVERY = 25
#: Looked at far more often, and waited for far less, than anybody would: whatever is called wrong too soon is seen.
CONFIG = """
[agent]
log_level = "error"
profiles_dir = "{profiles}"
[venues.sandbox]
live = false
limits = {{ weight_1m = 0, orders_10s = 0 }}
[venues.sandbox.keys]
file = "{key}"
[account]
exclusive = true
client_id_prefixes = ["t-"]
[state]
settle_s = 0.6
check_every_s = 0.4
check_every_streamed_s = 0.4
fills_every_s = 0.5
fills_every_streamed_s = 0.5
[audit]
enabled = false
[analytics]
enabled = false
"""


class Ear(Listener):
    """Somebody who hears the venue's user stream; each event takes its own time, and some come twice."""

    shares_frames = False

    def __init__(self, day: TradingDay, process: Process, hear: Callable[[bytes], None]) -> None:
        super().__init__(None, 0, combined=False, is_api=True)  # type: ignore[arg-type]
        self._day, self._process, self._hear = day, process, hear
        self.open = True

    def frame(self, stream: str, data: bytes) -> bytes:
        number = self.subscriptions.get(stream)
        return data if number is None else b'{"subscriptionId":%d,"event":%s}' % (number, data)

    def send(self, frame: bytes) -> None:
        day = self._day
        for _ in range(2 if day.chance.random() < 0.1 else 1):
            day.world.later(self._process, day.event_delay_s(), self._arrive, frame)

    def answer(self, frame: bytes) -> None:
        """In its order and once: it is what a request waits for."""
        self._day.world.later(self._process, self._day.network.delay_s(), self._arrive, frame)

    def _arrive(self, frame: bytes) -> None:
        if self.open:
            self._hear(frame)


class Socket:
    """The agent's WebSocket to the venue (`feed_socket.WsLike`)."""

    latency_s = None

    def __init__(self, day: TradingDay, process: Process, on_messages: Any, on_close: Any) -> None:
        self._day, self._on_close = day, on_close
        self.heard_at = day.host.boot_s()
        self.ear = Ear(day, process, lambda frame: self._heard(on_messages, frame))
        self._closed: asyncio.Future[WsClosed] = process.loop.create_future()

    def _heard(self, on_messages: Any, frame: bytes) -> None:
        self.heard_at = self._day.host.boot_s()
        on_messages([frame])

    @property
    def is_open(self) -> bool:
        return self.ear.open

    def send(self, payload: bytes | str, kind: int = 1) -> bool:
        day = self._day
        day.world.later(day.outside, day.network.delay_s(), day.asked_on_socket, self.ear, payload)
        return True

    def close(self, code: int = 1000, detail: str = "", *, reason: str = "") -> None:
        if self.ear.open:
            self.ear.open = False
            self._day.users.unsubscribe(self.ear)
            closed = WsClosed("us", code, reason, detail)
            self._closed.set_result(closed)
            self._on_close(closed)

    abort = close

    async def wait_closed(self) -> WsClosed:
        return await asyncio.shield(self._closed)


class BusyHost(Host):
    """A machine whose agent has a user stream."""

    day: TradingDay

    def ports(self, process: Process) -> Ports:
        async def ws_dial(_url: str, *, on_messages: Any, on_close: Any, **_options: Any) -> Socket:
            await asyncio.sleep(2 * self.day.network.delay_s())
            return Socket(self.day, process, on_messages, on_close)

        return replace(super().ports(process), ws_dial=ws_dial)


class SlowNetwork(Network):
    """Each piece of each connection takes its own time."""

    def delay_s(self) -> float:
        return self._chance.uniform(0.005, 0.06)


class Ledger(Observer):
    """Keeps what the state monitor says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, list[tuple[float, dict[str, Any]]]] = {}

    def event(self, world: Time, who: str, name: str, fields: dict[str, Any]) -> None:
        if name.startswith("state.") and name != "state.checked":
            self.said.setdefault(name, []).append((world.now, dict(fields)))
        super().event(world, who, name, fields)

    def wrote(self, world: Time, process: Process, data: bytes) -> None:
        """The bot's wishes are not this run's subject."""


class Trader:
    """A bot that knows its orders from replies and from a stream of its own, and reports what it knows."""

    def __init__(self, day: TradingDay) -> None:
        self.day = day
        self.process = day.host.spawn("bot")
        self.client: SimClient | None = None
        self.live: dict[str, None] = {}
        self.over: set[str] = set()
        self.count = 0
        self.told: Counter[str] = Counter()
        self.idle = False
        self.ear = Ear(day, self.process, self._heard)

    def start(self) -> None:
        day = self.day
        day.users.subscribe(day.account, self.ear)
        self.client = SimClient(day.host, self.process, "bot", reads=True)
        self.process.loop.create_task(self._trade())

    async def _trade(self) -> None:
        day, chance = self.day, self.day.chance
        assert self.client is not None
        while not self.client.greeted or not day.is_told():
            await asyncio.sleep(0.05)
        day.began_at = day.world.now
        tasks: set[asyncio.Task[None]] = set()
        while (at := day.began_at + self.count / day.per_s) < day.began_at + day.seconds:
            await asyncio.sleep(max(0.0, at - day.world.now))
            self.count += 1
            draw = chance.random()
            if draw < 0.15:
                work = self._place("MARKET", chance.choice(("BUY", "SELL")))
            elif draw < 0.25:
                work = self._place("LIMIT", "BUY", INSIDE)
            elif draw < 0.26:
                work = self._look()
            elif self.live and (draw < 0.56 or len(self.live) >= LIVE_MAX):
                work = self._cancel(chance.choice(list(self.live)))
            else:
                work = self._place("LIMIT", "BUY", Decimal(20_000) + Decimal(self.count % 1_000_000) / 100)
            tasks.add(task := self.process.loop.create_task(work))
            task.add_done_callback(tasks.discard)
            if self.count % REPORT_EVERY == 0:
                tasks.add(task := self.process.loop.create_task(self._report()))
                task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        self.idle = True

    async def _place(self, kind: str, side: str, price: Decimal | None = None) -> None:
        name = f"t-{self.count}"
        quantity = Decimal(100 + self.count % 5_000) / 100_000
        text = f"symbol=BTCUSDT&side={side}&type={kind}&quantity={quantity:f}&newClientOrderId={name}"
        if price is not None:
            text += f"&timeInForce=GTC&price={price:f}"
        told = await self._ask("POST", text)
        if told.kind != "response" or told.outcome is not Outcome.OK:
            return
        self._learn(name, orjson.loads(told.message.body)["status"])
        if price == INSIDE and self.day.chance.random() < 0.8:
            self.day.eat(quantity)

    async def _cancel(self, name: str) -> None:
        self.live.pop(name, None)
        told = await self._ask("DELETE", f"symbol=BTCUSDT&origClientOrderId={name}")
        if told.outcome is Outcome.OK:
            self._learn(name, "CANCELED")

    async def _look(self) -> None:
        await self._ask("GET", "symbol=BTCUSDT", "/api/v3/openOrders")

    async def _ask(self, method: str, text: str, path: str = "/api/v3/order") -> Told:
        assert self.client is not None
        query = signed(self.day.host, text)
        url, body = (f"{BASE}{path}", query.encode()) if method == "POST" else (f"{BASE}{path}?{query}", b"")
        told = await self.client.ask(Request(method, url, HEADERS, body), DEADLINE_S)
        self.told[f"{method} {told.kind} {told.outcome}"] += 1
        return told

    async def _report(self) -> None:
        assert self.client is not None
        orders = [{"client_order_id": each, "symbol": "BTCUSDT"} for each in self.live]
        as_of_ms = int(self.day.host.wall_s() * 1000)
        state = {"venue": "sandbox", "orders": orders, "as_of_ms": as_of_ms}
        told = await self.client.ask(ReportState("orders", state), DEADLINE_S)
        self.told[f"report {told.kind}"] += 1

    def _heard(self, frame: bytes) -> None:
        event = orjson.loads(frame)["event"]
        if event["e"] == "executionReport":
            self._learn(event["C"] or event["c"], event["X"])

    def _learn(self, name: str, status: str) -> None:
        """A picture that came late does not bring an order back to life."""
        if status not in ("NEW", "PARTIALLY_FILLED"):
            self.over.add(name)
            self.live.pop(name, None)
        elif name not in self.over:
            self.live[name] = None


class TradingDay:
    """``seconds`` of it, ``per_s`` actions a second. ``run`` gives the figures."""

    def __init__(self, seed: str, seconds: float, per_s: float = 50.0) -> None:
        self.seed, self.seconds, self.per_s = seed, seconds, per_s
        self.world = Time(seed)
        self.chance = Random(f"{seed}-day")
        self.observer = Ledger()
        self.outside = Process(self.world, "venue", 1)
        weather = Weather(seed, only=frozenset())
        self.house = House(self.world, weather, self.outside, seed)
        self.account = DEFAULT_ACCOUNT
        self._open_streams()
        self.network = SlowNetwork(self.world, weather, seed, self.outside)
        self.network.accept = self.house.accept
        self.folder = Path(tempfile.mkdtemp(dir=base_folder()))
        (self.folder / "profiles").mkdir()
        (self.folder / "profiles" / "sandbox.toml").write_text(quick_profile("sandbox"), encoding="utf-8")
        config = Config.from_toml(CONFIG.format(profiles=self.folder / "profiles", key=base_folder() / "key"))
        self.host = BusyHost(self.world, weather, self.network, self.folder, config, seed, self.observer)
        self.host.day = self
        self.bot = Trader(self)
        self.began_at = 0.0

    def _open_streams(self) -> None:
        """The venue's own user streams, and somebody who buys what the bot sells."""
        venue = self.house.venue
        venue.limits.enforced = False
        self.users = venue.users = UserStreams(venue, StreamHub(FaultBox(1)))
        venue.on_event.append(self._tell_owner)
        publish = venue.publish

        def published() -> None:
            publish()
            self.users.balances_changed(venue.exchange.wallets.touched)

        venue.publish = published  # type: ignore[method-assign]
        bid = OrderRequest(MARKET_ACCOUNT, "BTCUSDT", "BUY", "LIMIT", Decimal(9_000), Decimal(49_000))
        venue.exchange.place(bid)
        published()

    def _tell_owner(self, event: Event) -> None:
        if isinstance(event, OrderChange) and event.kind != "TRIGGERED":
            self.users.order_changed(event)

    def event_delay_s(self) -> float:
        """Three in ten are late by up to 150 ms more, so that events overtake each other."""
        late_s = self.chance.uniform(0.0, 0.15) if self.chance.random() < 0.3 else 0.0
        return self.network.delay_s() + late_s

    def asked_on_socket(self, ear: Ear, payload: bytes | str) -> None:
        """The only request of the WebSocket API that is made here."""
        parsed = api.parse(payload, self.house.now_ms())
        assert parsed is not None, payload
        number, call = parsed
        assert call.path == "userDataStream.subscribe.signature", call.path
        api.authenticate(self.house.venue, call, "read")
        subscription = self.users.subscribe(call.account, ear)
        ear.answer(orjson.dumps({"id": number, "status": 200, "result": {"subscriptionId": subscription}}))

    def eat(self, quantity: Decimal) -> None:
        """Somebody sells to the bot a little later, in one piece or in three."""
        pieces = self.chance.choice((1, 1, 3))
        for number in range(pieces):
            piece = (quantity / pieces).quantize(Decimal("0.00001"))
            self.world.later(self.outside, self.chance.uniform(0.0, 3.0) + number * 0.05, self._sell, piece)

    def _sell(self, quantity: Decimal) -> None:
        venue = self.house.venue
        venue.exchange.place(OrderRequest(MARKET_ACCOUNT, "BTCUSDT", "SELL", "LIMIT", quantity, INSIDE, "IOC"))
        venue.publish()
        venue.forget_changes()

    def is_told(self) -> bool:
        agent = self.host.agent
        return agent is not None and agent.state.intake.told("sandbox")

    def run(self, progress: Callable[[str], None] = lambda _line: None) -> dict[str, Any]:
        """Raises AssertionError where the run itself did not go as it should."""
        try:
            self.host.start_agent()
            self.world.at(self.bot.process, 0.5, self.bot.start)
            step_s = max(1.0, self.seconds / 30)
            until = 0.0
            while not self.bot.idle:
                until += step_s
                assert until < 20 * self.seconds + 60, self.observer.violations
                self.world.run(until, lambda: self.bot.idle)
                self.world.trace.clear()  # half an hour of it would fill the memory
                progress(f"{self.world.now:.0f} s: {self.bot.count} actions, {self.figures()}")
            self.world.run(self.world.now + 5.0)
            return self.figures()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def faults(self) -> list[str]:
        """Everything that should not have been said, or should not have happened."""
        said = [f"{at:.3f} s {name} {fields}" for name in ("state.discrepancy", "state.broken")
                for at, fields in self.observer.said.get(name, [])]  # fmt: skip
        figures = self.figures()
        said += [f"{name}: {figures[name]}" for name in ("dropped",) if figures[name]]
        said += [f"{name}: {figures['fills'][name]}" for name in ("delivered", "missed") if figures["fills"][name]]
        return [*said, *self.observer.violations, *self.bot.process.trouble]

    def figures(self) -> dict[str, Any]:
        agent = self.host.agent
        assert agent is not None
        room = agent.state
        return {
            "actions": self.bot.count,
            "checks": room.monitor.checks,
            "events": room.intake.streams["sandbox"].messages,
            "fills": dict(room.fills.counters),
            "books": room.books.facts(),
            "dropped": room.intake.dropped,
            "told": dict(self.bot.told),
            "discrepancies": len(self.observer.said.get("state.discrepancy", [])),
            "broken": len(self.observer.said.get("state.broken", [])),
        }


def main() -> int:
    """`python -m simulation.trading_day [SECONDS] [SEED]`, with tests/ on the path."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1800.0
    seed = sys.argv[2] if len(sys.argv) > 2 else "day"
    day, began = TradingDay(seed, seconds), time.monotonic()
    figures = day.run(lambda line: print(line, flush=True))
    print(f"seed {seed}: {seconds:g} s of trading in {time.monotonic() - began:.0f} s: {figures}")
    for each in day.faults()[:20]:
        print(f"  {each}")
    return 1 if day.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
