"""`import jackstay.auto` in a bot that hides its exchange objects, shaped as freqtrade; and a backtest left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.http_clients import routed_all
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess

STRATEGY = """
import jackstay.auto  # the one line

class Strategy:
    timeframe = "5m"
"""

# freqtrade loads the strategy, then makes three objects of ccxt: sync, async and pro
BOT = """
import asyncio, importlib, json, sys
import ccxt, ccxt.async_support, ccxt.pro

SETTINGS = {"apiKey": "sandbox-key", "secret": "sandbox-secret", "enableRateLimit": True,
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}}

class Exchange:
    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._api = getattr(ccxt, "binance")(dict(SETTINGS))
        self._api_async = getattr(ccxt.async_support, "binance")(dict(SETTINGS))
        self._ws_async = getattr(ccxt.pro, "binance")(dict(SETTINGS))

    def run(self):
        self._loop.run_until_complete(self._api_async.load_markets())
        self._api.set_markets(self._api_async.markets, self._api_async.currencies)
        order = self._api.create_order("BTC/USDT", "limit", "buy", 0.001, 21000)
        gone = self._api.cancel_order(order["id"], "BTC/USDT")
        candles = self._loop.run_until_complete(self._api_async.fetch_ohlcv("BTC/USDT", "1m"))
        trades = self._loop.run_until_complete(asyncio.wait_for(self._ws_async.watch_trades("BTC/USDT"), 15))
        for api in (self._api_async, self._ws_async):
            self._loop.run_until_complete(api.close())
        self._loop.close()
        return [gone["status"], len(candles) > 0, len(trades) > 0]

strategy = importlib.import_module("strategy").Strategy()  # before the exchange, as in freqtradebot.py
print(json.dumps(Exchange().run()))
"""

BACKTEST = """
import importlib, json, sys
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
import ccxt
from ccxt.base.exchange import Exchange

def made():
    return [each.__init__ for each in Exchange.__mro__]

before = made()
importlib.import_module("strategy").Strategy()

def epoch(n):
    exchange = ccxt.binance({"enableRateLimit": True})
    seams = [name for name in exchange.__dict__ if "jackstay" in name or name == "fetch"]
    adapter = type(exchange.session.get_adapter("https://api.binance.com")).__module__
    return n, seams, adapter

with ProcessPoolExecutor(32, mp_context=multiprocessing.get_context("fork")) as workers:
    told = list(workers.map(epoch, range(64)))
print(json.dumps([
    made() == before,
    sorted(n for n, _seams, _adapter in told) == list(range(64)),
    sorted({(tuple(seams), adapter) for _n, seams, adapter in told}),
    [name for name in ("zmq", "msgpack", "jackstay.client") if name in sys.modules],
]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "strategy.py").write_text(STRATEGY)
    (tmp_path / "bot.py").write_text(BOT)
    (tmp_path / "backtest.py").write_text(BACKTEST)
    return tmp_path


@pytest.fixture(scope="module")
def agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed_all(sandbox.url)) as running:
        yield running


def run(folder: Path, script: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(folder / script)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_bot_that_hides_its_exchange_trades_through_the_agent(
    sandbox: SandboxProcess, agent: AgentProcess, folder: Path
) -> None:
    """Sync orders, async candles, pro trades: all of them by the agent, as its own counters say."""
    done = run(folder, "bot.py", agent.env | {"JACKSTAY": "on", "JACKSTAY_BOT": "freqtrade"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == '["canceled", true, true]'
    assert len(sandbox.admin.ledger(method="POST", path="/api/v3/order")) == 1
    events = {event["bot"] for event in agent.events("bot.hello")}
    assert "freqtrade" in events
    assert [event["bot"] for event in agent.events("http.upgrade")] == ["freqtrade"]


def test_a_backtest_with_32_workers_is_left_alone(folder: Path, agent: AgentProcess) -> None:
    """JACKSTAY=off: one line on stderr, ccxt as it was in every worker, no socket library loaded."""
    done = run(folder, "backtest.py", agent.env | {"JACKSTAY": "off"})
    assert done.returncode == 0, done.stderr
    assert done.stderr == "jackstay: off (JACKSTAY=off), traffic goes directly to the exchange\n"
    assert done.stdout.strip() == '[true, true, [[[], "requests.adapters"]], []]'


def test_another_word_is_a_mistake_that_is_told(folder: Path, agent: AgentProcess) -> None:
    """JACKSTAY=of must not send orders the wrong way."""
    done = run(folder, "bot.py", agent.env | {"JACKSTAY": "of"})
    assert done.returncode != 0
    assert "on or off is expected" in done.stderr
