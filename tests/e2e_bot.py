"""What end-to-end tests use as a bot: signed Binance-shaped requests through a plain jackstay client."""

from __future__ import annotations

import hashlib
import hmac
import time
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jackstay
from harness import AgentProcess
from jackstay_agent.control import ask

KEY, SECRET = "sandbox-key", "sandbox-secret"
HOST = "https://api.binance.com"


def routed(url: str, extra: str = "") -> str:
    """Agent configuration: the exchange's true name, led to the sandbox."""
    return f'[upstreams]\n"api.binance.com" = "{url}"\n{extra}'


#: The agent's own key, so that it asks about unknown orders itself (grade resolve).
RESOLVING = '[venues.binance]\nlive = false\n[venues.binance.keys]\nenv = "SANDBOX"\n'

#: The sandbox shows an order at once, so "no such order" needs less patience than at the real venue.
QUICK_PROFILE = """
name = "binance"
extends = "binance"
[signing]
recv_window_ms = 500
[families.plain]
visibility_delay_s = 0.2
not_founds = 2
spacing_s = 0.1
"""


def quick_profiles(folder: Path) -> str:
    """Configuration: a profiles folder with a binance that is asked with little patience."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "binance.toml").write_text(QUICK_PROFILE, encoding="utf-8")
    return f'[agent]\nprofiles_dir = "{folder}"\n'


def client_for(agent: AgentProcess, **options: Any) -> jackstay.Client:
    return jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id=options.pop("bot_id", "e2e"), **options)


def signed(params: dict[str, Any], recv_window_ms: int = 10000) -> str:
    query = urlencode(params | {"timestamp": int(time.time() * 1000), "recvWindow": recv_window_ms})
    return f"{query}&signature={hmac.new(SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()}"


def own_price(client_id: str) -> float:
    """A price of its own for each id, far below the market: two orders of one price are the same order (rule 1)."""
    return 20000 + zlib.crc32(client_id.encode()) % 100_000 / 100


def order_params(client_id: str, price: float | None = None) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.001",
        "price": f"{own_price(client_id) if price is None else price:.2f}",
        "newClientOrderId": client_id,
    }


def order_request(client_id: str, price: float | None = None) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """method, url, headers, body of a signed limit order far below the market."""
    headers = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]
    return "POST", f"{HOST}/api/v3/order", headers, signed(order_params(client_id, price)).encode()


def release(agent: AgentProcess) -> list[str]:
    """An operator's word for every unknown order: absent. The client order ids of those there were.

    An order whose caller left stands in its equals' way while it is still under way: it is unknown a moment later.
    """
    door = agent.runtime_dir / agent.name / "control.sock"
    until = time.monotonic() + 10.0
    while ask(door, "status")["queue"]["open"]["in_flight"]:
        assert time.monotonic() < until, "orders are under way, and do not end"
        time.sleep(0.01)
    found = ask(door, "orders.unknown")["unknown"]
    for each in found:
        ask(door, "orders.resolve", {"id": each["id"], "finding": "absent", "why": "the next test begins"})
    return [each["client_order_id"] for each in found]


def place(client: jackstay.Client, _sandbox: object, client_id: str, *, deadline_s: float = 5.0) -> jackstay.Response:
    method, url, headers, body = order_request(client_id)
    return client.request(method, url, headers=headers, body=body, deadline_s=deadline_s)
