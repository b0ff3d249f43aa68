"""An agent in this process, a sandbox in another, a bot and other people: the world of the state monitor's tests."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jackstay
from jackstay_agent.app import Agent, build
from jackstay_agent.config import Config
from jackstay_agent.core.discrepancy import Discrepancy
from jackstay_agent.ports import real_ports
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.endpoints import AgentPaths
from sandbox_client import KEY, SECRET, Plain, limit_order

QUICK = (
    *("settle_s = 0.3", "gap_s = 0.05", "check_every_s = 3600", "check_every_streamed_s = 3600"),
    *("fills_every_s = 3600", "fills_every_streamed_s = 3600"),
)
USDM = """
[venues.binance-usdm]
live = false
user_stream = false
[venues.binance-usdm.keys]
env = "SANDBOX"
"""
HOST = "https://api.binance.com"
PRICE = 20_000


def quick_profile(name: str) -> str:
    """Quick eyes for a venue that shows everything at once."""
    return f"""
name = "{name}"
extends = "{name}"
[families.plain]
visibility_delay_s = 0.2
not_founds = 2
spacing_s = 0.05
[families.list]
visibility_delay_s = 0.2
not_founds = 2
spacing_s = 0.05
"""


def config_text(sandbox: SandboxProcess, folder: Path, *, stream: bool, state: str, account: str, usdm: bool) -> str:
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / "binance.toml").write_text(quick_profile("binance"), encoding="utf-8")
    given = {line.partition(" =")[0] for line in state.splitlines()}
    own_state = "\n".join(line for line in QUICK if line.partition(" =")[0] not in given) + "\n" + state
    return f"""
[agent]
log_level = "error"
profiles_dir = "{folder / "profiles"}"
[upstreams]
"api.binance.com" = "{sandbox.url}"
"stream.binance.com:9443" = "{sandbox.url}"
"stream.binance.com" = "{sandbox.url}"
"ws-api.binance.com" = "{sandbox.url}"
"ws-api.binance.com:443" = "{sandbox.url}"
"fapi.binance.com" = "{sandbox.url}"
"fstream.binance.com" = "{sandbox.url}"
[venues.binance]
live = false
limits = {{ weight_1m = 0, orders_10s = 0 }}
user_stream = {str(stream).lower()}
[venues.binance.keys]
env = "SANDBOX"
{USDM if usdm else ""}
[account]
{account}
[state]
{own_state}
"""


class StateWorld:
    """``async with StateWorld(sandbox) as world``. ``events`` are the agent's, by name."""

    def __init__(
        self,
        sandbox: SandboxProcess,
        *,
        stream: bool = False,
        state: str = "",
        account: str = "",
        folder: Path | None = None,
        bot_id: str = "bot",
        usdm: bool = False,
    ) -> None:
        self.sandbox = sandbox
        self._own = tempfile.TemporaryDirectory(prefix="js-") if folder is None else None
        self.folder = folder or Path(self._own.name)  # type: ignore[union-attr]
        os.environ |= {"SANDBOX_KEY": KEY, "SANDBOX_SECRET": SECRET, "XDG_STATE_HOME": str(self.folder / "kept")}
        self.stream = stream
        text = config_text(sandbox, self.folder, stream=stream, state=state, account=account, usdm=usdm)
        self.config = Config.from_toml(text)
        self.bot_id = bot_id
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.others: list[jackstay.AsyncClient] = []
        self.person = Plain(sandbox)
        self.agent: Agent = None  # type: ignore[assignment]
        self.bot: jackstay.AsyncClient = None  # type: ignore[assignment]

    async def __aenter__(self) -> StateWorld:
        await self.start()
        return self

    async def __aexit__(self, *_rest: object) -> None:
        await self.stop()
        if self._own is not None:
            self._own.cleanup()

    async def start_anyway(self) -> None:
        """Start, whatever a first look would say."""
        await self.start(anyway=True)

    async def start(self, *, anyway: bool = False) -> None:
        os.environ["XDG_STATE_HOME"] = str(self.folder / "kept")
        self.ports = real_ports(asyncio.get_running_loop())
        paths = AgentPaths("t", self.folder / "t")
        self.agent = build(self.config, self.ports, name="t", paths=paths)
        sink = self.agent.event

        def hear(name: str, fields: dict[str, Any]) -> None:
            self.events.append((name, fields))
            sink(name, fields)

        self.agent.state._on_event = hear
        self.agent.state.monitor._sink = hear
        self.agent.state.mending._on_event = hear
        self.agent.state.fills._on_event = hear
        self.agent.take_lock()
        await self.agent.start()
        self.bot = jackstay.AsyncClient("t", runtime_dir=self.folder, bot_id=self.bot_id, connect_timeout_s=20.0)
        await self.bot.status(timeout_s=20.0)
        await self.until(lambda: self.agent.state._file is not None, "the account's file")
        if anyway:
            return
        if not self.config.state.enabled:
            streams = self.agent.state.intake.streams
            await self.until(lambda: len(streams) >= self.stream, "a stream")
            assert await self.check() == []
        elif self.stream:
            await self.until(lambda: self.agent.state.intake.told("binance"), "a stream and a first look")
        else:
            await self.until(lambda: self.agent.state.monitor.checks > 0, "a first look")

    async def stop(self) -> None:
        for each in (self.bot, *self.others):
            await each.close()
        await self.agent.stop()
        self.ports.close()

    # ---- the bot

    async def place(self, client_id: str, **changes: Any) -> jackstay.Response:
        """An order of the bot, through the agent, at a price of its own far below the market."""
        order = limit_order(client_id, price=str(own_price(client_id)), **changes) if "type" not in changes else changes
        order = {**order, "newClientOrderId": client_id} | {k: v for k, v in changes.items() if k in order}
        return await self.call("POST", "/api/v3/order", order)

    async def cancel(self, client_id: str) -> jackstay.Response:
        return await self.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": client_id})

    async def call(
        self, method: str, path: str, params: dict[str, Any], client: jackstay.AsyncClient | None = None
    ) -> jackstay.Response:
        bot = client or self.bot
        text = signed(params)
        headers = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]
        if method == "POST":
            return await bot.request(method, HOST + path, headers=headers, body=text.encode())
        return await bot.request(method, f"{HOST}{path}?{text}", headers=headers)

    async def report(self, *client_ids: str, **changes: Any) -> dict[str, Any]:
        """The bot says which orders it has open."""
        orders = [{"client_order_id": each, "symbol": "BTCUSDT"} for each in client_ids]
        return await self.bot.report_state("orders", {"venue": "binance", "orders": orders, **changes})

    async def fills(self, timeout_s: float = 0.5) -> list[jackstay.LateFill]:
        return [each async for each in self.bot.fills(timeout_s)]

    def client(self, bot_id: str) -> jackstay.AsyncClient:
        """Another bot of the same agent."""
        self.others.append(jackstay.AsyncClient("t", runtime_dir=self.folder, bot_id=bot_id))
        return self.others[-1]

    # ---- a person at the venue's own web page

    async def by_hand(self, method: str, path: str, params: dict[str, Any]) -> Any:
        return (await asyncio.to_thread(self.person.call, method, path, params))[1]

    async def hand_order(self, client_id: str, **changes: Any) -> Any:
        order = limit_order(client_id, price=str(own_price(client_id)), **changes)
        return await self.by_hand("POST", "/api/v3/order", order)

    async def hand_cancel(self, client_id: str) -> Any:
        return await self.by_hand("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": client_id})

    # ---- the monitor

    async def check(self, component: str = "all") -> list[dict[str, Any]]:
        result = await self.agent.state.monitor.validate_state_consistency(component)
        assert result.is_consistent is (not result.discrepancies)
        return result.discrepancies

    async def reconcile(self, found: list[dict[str, Any]], component: str = "all", **more: Any) -> bool:
        return await self.agent.state.monitor.reconcile_state(component, found, **more)

    def said(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == name]

    def books(self, client_id: str) -> Any:
        from jackstay_agent.core.account import Order

        return self.agent.state.books.find(Order("binance", "BTCUSDT", client_id))

    async def settled(self) -> None:
        """Until the evidence that has come is read, and is old enough to be compared."""
        intake = self.agent.state.intake
        await self.until(lambda: not intake._line, "the line of evidence")
        await asyncio.sleep(max(self.config.state.settle_s, 0.2) + 0.1)

    async def until(self, true: Callable[[], Any], what: str, limit_s: float = 10.0) -> None:
        end = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < end, f"waited {limit_s} s for {what}; events {self.events[-8:]}"
            await asyncio.sleep(0.01)

    def venue_orders(self) -> dict[str, dict[str, Any]]:
        return {each["clientOrderId"]: each for each in self.sandbox.admin.orders()}


def signed(params: dict[str, Any], secret: str = SECRET) -> str:
    query = urlencode(params | {"timestamp": int(time.time() * 1000), "recvWindow": 10000})
    return f"{query}&signature={hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()}"


def own_price(client_id: str) -> Decimal:
    """A price of its own for each id: two orders of one price are the same order (rule 1)."""
    return (
        Decimal(PRICE)
        + Decimal(int(hashlib.blake2b(client_id.encode(), digest_size=3).hexdigest(), 16) % 100_000) / 100
    )


def kinds(found: list[dict[str, Any]] | list[Discrepancy]) -> list[str]:
    return sorted(each["kind"] if isinstance(each, dict) else each.kind.value for each in found)


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
