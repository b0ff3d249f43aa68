"""The venues whose orders an unmodified ccxt bot places in the proofs of the outbox, and an agent for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jackstay_agent.sandbox import SandboxProcess


@dataclass(frozen=True)
class Shape:
    """How a venue's orders look: route, ccxt options, the agent's budgets that are switched off, orders at once."""

    name: str
    host: str
    route: str
    symbol: str
    limits: str
    options: dict[str, Any]
    at_once: int
    full: int
    market: str = "spot"
    has_ids: bool = True
    timeout_ms: int = 3_000  # of the bot's calls while it places: one at a time must not wait long for each lost reply


LOGIN = {"apiKey": "sandbox-key", "secret": "sandbox-secret", "enableRateLimit": False, "timeout": 3000}
SPOT_ONLY = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
SHAPES = [
    Shape(
        "binance", "api.binance.com", "POST /api/v3/order", "BTC/USDT", "orders_10s = 0, weight_1m = 0",
        {"options": {"recvWindow": 500, **SPOT_ONLY}},
        32, 5_000,
    ),
    Shape(
        "okx", "www.okx.com", "POST /api/v5/trade/batch-orders", "BTC/USDT", "orders_2s = 0",
        {"password": "sandbox-passphrase"}, 32, 5_000,
    ),
    Shape(
        "bybit", "api.bybit.com", "POST /v5/order/create", "BTC/USDT", "orders_1s = 0, ip_5s = 0",
        {"options": {"recvWindow": 500}}, 32, 5_000, has_ids=False,
    ),
    Shape(
        "kraken", "api.kraken.com", "POST /0/private/AddOrder", "BTC/USD", "calls = 0",
        {"secret": "c2FuZGJveC1zZWNyZXQ="}, 1, 5_000, market="kraken", has_ids=False, timeout_ms=1_200,
    ),
]  # fmt: skip

AGENTS_KEY = ("--account", "sandbox-key:sandbox-secret:main", "--account", "agent-key:c2FuZGJveC1zZWNyZXQ=:main")
# the agent has a key of its own on Kraken, whose nonces rise per key

#: The sandbox shows an order at once and its lists are whole.
QUICK = """
name = "{name}"
extends = "{name}"
[signing]
recv_window_ms = 500
[families.plain]
visibility_delay_s = 0.2
not_founds = 2
spacing_s = 0.1
lists_prove_absence = true
{ttl}
"""


def config_of(shape: Shape, venue: SandboxProcess, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    ttl = "" if shape.name == "kraken" else "ttl_s = 0.5"
    text = QUICK.format(name=shape.name, ttl=ttl)
    if shape.name == "okx":
        text += (
            text[text.index("[families.plain]") :].replace("plain", "algo").replace("lists_prove_absence = true", "")
        )
    (folder / f"{shape.name}.toml").write_text(text, encoding="utf-8")
    secret = "KRAKEN" if shape.name == "kraken" else "SANDBOX"
    return (
        f'[agent]\nprofiles_dir = "{folder}"\n[upstreams]\n"{shape.host}" = "{venue.url}"\n'
        f"[venues.{shape.name}]\nlive = false\nlimits = {{ {shape.limits} }}\n"
        f'[venues.{shape.name}.keys]\nenv = "{secret}"\n[errors.breakers.api_calls]\nfailure_threshold = 1000000\n'
    )
