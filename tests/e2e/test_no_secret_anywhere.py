"""A secret planted as API key appears in nothing that the agent, the command line or a bot's exceptions show or keep.

The agent signs with it, bots sign with it on every door, things go wrong with it, and then all there is gets searched:
log, journal with its write-ahead log, audit, state files, every read command in both forms, exceptions. A later output
joins by being in the folder, or in the list of commands.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ccxt
import ccxt.pro
import pytest

import jackstay
from e2e.http_clients import http_sock, routed_all
from harness import AgentProcess, cli
from jackstay_agent.cli.root import main as root
from jackstay_agent.config import Config
from jackstay_agent.sandbox import SandboxProcess

KEY, SECRET = "PLANTEDkey7f3a9c2e5b", "PLANTEDsecretd41d8cd98f00b204"
NEEDLES = [
    word
    for secret in (KEY, SECRET)
    for word in (secret, secret[:12], secret.lower(), base64.b64encode(secret.encode()).decode()[:16], quote(secret))
]
SPOT = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
#: Every command that only reads, with what it needs.
READING = [
    *(["status"], ["queue", "list"], ["orders", "unknown"], ["why", "planted1"], ["bot", "list"], ["watchdog"]),
    *(["breakers"], ["connections"], ["feeds"], ["limits"], ["errors"], ["patterns"], ["trends"], ["state"], ["mode"]),
    *(["audit", "show"], ["audit", "verify"], ["deadman"]),
]


@pytest.fixture(autouse=True)
def _clean_exchange() -> None:
    """No exchange of the folder's own here."""


def everything_goes_wrong(agent: AgentProcess, exchange: SandboxProcess) -> str:
    """Bots on every door, with orders, rejects, lost answers, a wrong key; what their exceptions say."""
    shown: list[str] = []
    settings: dict[str, Any] = {"apiKey": KEY, "secret": SECRET, "options": SPOT}
    with jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="ccxt") as client:
        bot = jackstay.attach(ccxt.binance(dict(settings)), client)
        bot.load_markets()
        bot.create_order("BTC/USDT", "limit", "buy", 0.001, 21000, {"newClientOrderId": "planted1"})
        exchange.admin.fault("reset_after", route="POST /api/v3/order", count=1)
        wrong = jackstay.attach(ccxt.binance(settings | {"secret": SECRET + "x"}), client)
        wrong.markets, wrong.markets_by_id = bot.markets, bot.markets_by_id
        wrong.symbols, wrong.currencies = bot.symbols, bot.currencies
        for attempt in (
            lambda: bot.create_order("BTC/USDT", "limit", "buy", 0.001, 22000),
            lambda: bot.create_order("BTC/USDT", "limit", "buy", 0.001, 22000),
            lambda: bot.create_order("BTC/USDT", "limit", "buy", 9999, 22000),
            lambda: wrong.fetch_balance(),
        ):
            try:
                attempt()
            except ccxt.BaseError as error:
                shown += [repr(cause) for cause in _causes(error) if isinstance(cause, jackstay.TradingBotError)]
        client.report_error(RuntimeError(f"refused: apiKey={KEY}&signature=abc"), component="orders", operation="place")
        for path in ("/api/v3/order", "/api/v3/openOrders"):
            client.request("GET", venue="binance", path=f"{path}?symbol=BTCUSDT&orderId=1", sign=True)

    async def stream() -> None:
        async with jackstay.AsyncClient(agent.name, runtime_dir=agent.runtime_dir, bot_id="pro") as client:
            bot = jackstay.attach(ccxt.pro.binance(dict(settings)), client)
            await bot.load_markets()
            await bot.create_order_ws("BTC/USDT", "limit", "buy", 0.001, 23000)
            await bot.close()

    asyncio.run(stream())
    for url in (
        f"http://api.binance.com/api/v3/order?signature=1&apiKey={KEY}",
        f"http://example.com/?apiKey={KEY}",
        f"http://jackstay/fwd/https://u:{SECRET}@api.binance.com/",
    ):
        done = subprocess.run(
            ["curl", "-sS", "-i", "--unix-socket", str(http_sock(agent)), "-H", f"X-MBX-APIKEY: {KEY}", url],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        shown.append(done.stdout.partition("\r\n\r\n")[0])
    return "\n".join(shown)


def fetched(agent: AgentProcess, page: str, accept: str) -> str:
    """A page for machines, with the key in a header."""
    door = ["--unix-socket", str(agent.runtime_dir / agent.name / "metrics.sock"), "-H", f"X-MBX-APIKEY: {KEY}"]
    done = subprocess.run(
        ["curl", "-sS", "-i", *door, "-H", f"Accept: {accept}", f"http://localhost{page}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.startswith("HTTP/1.1 "), done.stderr
    return done.stdout


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return found


def found_in(name: str, data: bytes) -> list[str]:
    return [f"{needle} in {name}" for needle in NEEDLES if needle.encode() in data]


def test_a_planted_secret_appears_nowhere(tmp_path: Path) -> None:
    """Not in a file the agent wrote, not in a command's output, not in an exception or a dump of the configuration."""
    env = {"PLANTED_KEY": KEY, "PLANTED_SECRET": SECRET}
    config = '[agent]\nlog_level = "debug"\n[venues.binance]\nlive = false\n[venues.binance.keys]\nenv = "PLANTED"\n'
    config += '[metrics]\nlisten = "unix"\n'
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        with (
            SandboxProcess(seed=1, extra_args=("--account", f"{KEY}:{SECRET}")) as exchange,
            AgentProcess(routed_all(exchange.url) + config) as agent,
        ):
            shown = everything_goes_wrong(agent, exchange)
            outputs = {"exceptions and answers": shown, "config": repr(Config.load(agent.config_path))}
            for words in READING:
                for form in ([], ["--json"]):
                    done = cli(*words, *form, runtime_dir=agent.runtime_dir)
                    outputs[" ".join([*words, *form])] = done.stdout + done.stderr
                    assert "Traceback" not in done.stderr, (words, done.stderr)
            for page in ("/metrics", "/ready", "/live", f"/metrics?apiKey={KEY}", f"/{KEY}"):
                for accept in ("text/plain", "application/openmetrics-text"):
                    outputs[f"{page[:9]} as {accept}"] = fetched(agent, page, accept)
            assert agent.stop() == 0
            outputs["log"] = agent.log()
            files = [path for path in agent.runtime_dir.rglob("*") if path.is_file()]
            assert any(path.suffix == ".sqlite" for path in files), "the journal was searched"
            leaks = [leak for path in files for leak in found_in(str(path), path.read_bytes())]
            leaks += [leak for name, text in outputs.items() for leak in found_in(name, text.encode())]
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    assert leaks == []
    assert "planted1" in outputs["why planted1"], "the order is there, its secrets are not"


def test_the_list_of_commands_is_whole() -> None:
    """A new command is either searched above, or known to show nothing of an agent's requests."""
    elsewhere = {
        *(
            "arm",
            "cancel",
            "completion",
            "config",
            "demo",
            "exec",
            "init",
            "keys",
            "rehearse",
            "run",
            "sandbox",
            "stop",
            "version",
        ),
        *(
            "recover",
            "barrier",
            "report",
            "metrics",
            "doctor",
            "logs",
            "handover",
            "reload",
            "rollback",
            "upgrade",
            "systemd",
            "watch",
            "reset",
            "bench",  # has an agent and keys of its own
        ),
    }
    searched = {words[0] for words in READING}
    unknown = set(root.list_commands(None)) - searched - elsewhere  # type: ignore[arg-type]
    assert not unknown, f"add {sorted(unknown)} to READING, so that their output is searched"
