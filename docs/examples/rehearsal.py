"""A rehearsal: what does my bot do when the answer to its order is lost?

    python docs/examples/rehearsal.py careless     # buys again without asking: found out, exit code 1
    python docs/examples/rehearsal.py careful      # asks first: nothing to complain about, exit code 0

Needs `jackstay[sandbox]` and ccxt; no agent and no account. The sandbox is a process of its own, so a bot in another
language, or another process, is rehearsed the same way: `jackstay sandbox --help`.
"""

from __future__ import annotations

import re
import sys

import ccxt

from jackstay_agent.sandbox import SandboxProcess

SYMBOL = "BTC/USDT"
SETTINGS = {"apiKey": "sandbox-key", "secret": "sandbox-secret", "timeout": 2000}


def make_exchange(url: str) -> ccxt.binance:
    """An ordinary ccxt exchange whose addresses are the sandbox's."""
    exchange = ccxt.binance(SETTINGS)
    exchange.urls["api"] = {name: re.sub("^https://[^/]+", url, each) for name, each in exchange.urls["api"].items()}
    return exchange


def careless(exchange: ccxt.binance) -> None:
    """Takes an answer it did not hear for a no."""
    try:
        exchange.create_order(SYMBOL, "limit", "buy", 0.01, 40000)
    except ccxt.NetworkError:
        exchange.create_order(SYMBOL, "limit", "buy", 0.01, 40000)


def careful(exchange: ccxt.binance) -> None:
    """Names its order, and asks after it before anything else."""
    name = {"newClientOrderId": "rehearsal-1"}
    try:
        exchange.create_order(SYMBOL, "limit", "buy", 0.01, 40000, name)
    except ccxt.NetworkError:
        found = exchange.fetch_order(None, SYMBOL, {"origClientOrderId": name["newClientOrderId"]})
        print("the order is there after all:", found["status"])


def main(bot: str) -> int:
    with SandboxProcess(quiet=True) as sandbox:
        exchange = make_exchange(sandbox.url)
        exchange.load_markets()
        # the order is executed, and its answer never arrives
        sandbox.admin.fault("reset_after", route="POST /api/v3/order", count=1)
        {"careless": careless, "careful": careful}[bot](exchange)

        print("orders at the venue:", len(sandbox.admin.orders()))
        complaints = {name: rows for name, rows in sandbox.admin.checks().items() if rows}
        for name, rows in complaints.items():
            print(f"{name}: {rows}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
