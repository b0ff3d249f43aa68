"""Every shipped venue: its lists, its questions and its user stream tell the same story to the state monitor."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import jackstay
from jackstay_agent.app import Agent, build
from jackstay_agent.config import Config
from jackstay_agent.core.account import Order, Stage
from jackstay_agent.ports import real_ports
from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.venues.profile import shipped_profiles
from jackstay_protocols.endpoints import AgentPaths
from kraken_client import SECRET as KRAKEN_SECRET
from state_world import kinds
from v5_client import KEY, PASSPHRASE, SECRET

JSON = [("Content-Type", "application/json")]
FORM = [("Content-Type", "application/x-www-form-urlencoded")]


def okx(client_id: str, price: str) -> tuple[str, Any, bytes]:
    import json

    order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.01", "px": price}
    return "/api/v5/trade/order", JSON, json.dumps(order | {"clOrdId": client_id}).encode()


def bybit(client_id: str, price: str) -> tuple[str, Any, bytes]:
    import json

    order = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01"}
    return "/v5/order/create", JSON, json.dumps(order | {"price": price, "orderLinkId": client_id}).encode()


def kraken(client_id: str, price: str) -> tuple[str, Any, bytes]:
    order = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": price}
    return "/0/private/AddOrder", FORM, urlencode(order | {"cl_ord_id": client_id}).encode()


def usdm(client_id: str, price: str) -> tuple[str, Any, bytes]:
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    return "/fapi/v1/order", FORM, urlencode(order | {"price": price, "newClientOrderId": client_id}).encode()


PLACES: dict[str, tuple[Callable[[str, str], tuple[str, Any, bytes]], str, str]] = {
    "okx": (okx, "BTC-USDT", "c{}"),
    "bybit": (bybit, "BTCUSDT", "c-{}"),
    "kraken": (kraken, "XBTUSD", "c-{}"),
    "binance-usdm": (usdm, "BTCUSDT", "c-{}"),
}


@asynccontextmanager
async def running(venue: str, sandbox: SandboxProcess) -> AsyncIterator[tuple[Agent, jackstay.AsyncClient]]:
    profile = shipped_profiles()[venue]
    url = profile.data.user_stream.url if profile.data.user_stream is not None else ""
    hosts = {profile.base_url.partition("//")[2], url.partition("//")[2].partition("/")[0]}
    routes = "".join(f'"{host}" = "{sandbox.url}"\n' for host in sorted(hosts))
    os.environ |= {"T_KEY": KEY, "T_SECRET": KRAKEN_SECRET if venue == "kraken" else SECRET, "T_PASSPHRASE": PASSPHRASE}
    with tempfile.TemporaryDirectory(prefix="js-") as folder:
        quick = "visibility_delay_s = 0.2\nnot_founds = 2\nspacing_s = 0.05\n"
        families = "".join(f"[families.{name}]\n{quick}" for name in profile.data.families)
        Path(folder, f"{venue}.toml").write_text(f'name = "{venue}"\nextends = "{venue}"\n{families}')
        limits = "{" + ", ".join(f"{name} = 0" for name in profile.data.budgets) + "}"
        config = Config.from_toml(
            f'[agent]\nlog_level = "error"\nprofiles_dir = "{folder}"\n[upstreams]\n{routes}'
            f'[venues.{venue}]\nlive = false\nlimits = {limits}\n[venues.{venue}.keys]\nenv = "T"\n'
            "[account]\nexclusive = true\n[state]\nsettle_s = 0.3\nenabled = false\n"
        )
        ports = real_ports(asyncio.get_running_loop())
        agent = build(config, ports, name="t", paths=AgentPaths("t", Path(folder) / "t"))
        agent.take_lock()
        await agent.start()
        bot = jackstay.AsyncClient("t", runtime_dir=folder, bot_id="bot")
        try:
            yield agent, bot
        finally:
            await bot.close()
            await agent.stop()
            ports.close()


async def until(true: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, f"waited for {what}"
        await asyncio.sleep(0.02)


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", PLACES)
async def test_a_venues_lists_questions_and_stream_agree(venue: str, sandbox: SandboxProcess) -> None:
    """Placed through the agent, told by the stream, listed, cancelled by hand, heard of, clean throughout."""
    place, symbol, name = PLACES[venue]
    base = shipped_profiles()[venue].base_url
    async with running(venue, sandbox) as (agent, bot):
        room = agent.state

        async def check() -> list[dict[str, Any]]:
            return (await room.monitor.validate_state_consistency()).discrepancies

        await until(lambda: agent.user_streams.connected(venue) and room._file is not None, "stream and file")
        assert await check() == []
        assert room.intake.told(venue)
        path, headers, body = place(name.format(1), "30000")
        answer = await bot.request("POST", base + path, headers=headers, body=body, sign=True)
        assert answer.verdict.outcome == "ok", answer.text

        def known() -> Any:
            return room.books.find(Order(venue, symbol, name.format(1)))

        await until(lambda: known() is not None and known().venue_id, "the order's evidence")
        assert await check() == []
        assert known().stage is Stage.OPEN
        operations = agent.access.asking(venue)
        assert operations is not None
        refused = await room.pulling.cancel(operations, known())
        assert refused is None
        await until(lambda: known().stage is Stage.CANCELLED, "the stream's word on the cancel")
        await asyncio.sleep(0.4)
        assert await check() == []
        # a trade at the market, told by the stream and by the list of fills
        path, headers, body = place(name.format(2), "60000")
        await bot.request("POST", base + path, headers=headers, body=body, sign=True)
        entry = None

        def traded() -> bool:
            nonlocal entry
            entry = room.books.entry(Order(venue, symbol, name.format(2)))
            return entry is not None and entry.order.stage is Stage.FILLED and entry.filled > 0

        await until(traded, "the fill")
        await asyncio.sleep(0.4)
        found = await check()
        assert kinds(found) == [], found
        assert entry is not None
        assert entry.filled == Decimal("0.01")
        assert room.fills.counters["missed"] == 0
        assert room.intake.streams[venue].unreadable == 0
        # and what it does not tell is found
        sandbox.admin.fault("stream_drop")
        path, headers, body = place(name.format(3), "60100")
        await bot.request("POST", base + path, headers=headers, body=body, sign=True)
        await asyncio.sleep(0.6)
        assert "fill_missing" in kinds(await check())
