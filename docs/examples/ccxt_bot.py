"""An ordinary ccxt bot with one jackstay line in it.

    jackstay run demo --config agent.toml          # in one terminal
    JACKSTAY_AGENT=demo python ccxt_bot.py         # in another

It asks the order book, places a limit order far below the market, looks at it and cancels it. URLs, keys, signing and
error handling are plain ccxt; what the agent adds is below. Keys come from the environment (SANDBOX_KEY and
SANDBOX_SECRET; the sandbox's are the defaults): never point an example at a real account.
"""

from __future__ import annotations

import os
import sys
import time
from decimal import Decimal

import ccxt

import jackstay

SYMBOL = "BTC/USDT"
QUANTITY = Decimal("0.001")


def make_exchange() -> ccxt.binance:
    exchange = ccxt.binance(
        {
            "apiKey": os.environ.get("SANDBOX_KEY", "sandbox-key"),
            "secret": os.environ.get("SANDBOX_SECRET", "sandbox-secret"),
            "timeout": 5000,  # also the deadline that travels with every request
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False},
        }
    )
    jackstay.attach(exchange)  # the one line
    return exchange


def find_or_none(exchange: ccxt.binance, client_id: str) -> str | None:
    """What the venue says of an order whose outcome is not known: its id, or None."""
    try:
        return str(exchange.fetch_order(None, SYMBOL, {"origClientOrderId": client_id})["id"])
    except ccxt.OrderNotFound:
        return None


def place(exchange: ccxt.binance, price: Decimal) -> str | None:
    """One order, once. A time-out is neither success nor failure: ask the venue, never send it again blind."""
    client_id = f"example-{int(time.time() * 1000)}"
    try:
        order = exchange.create_order(
            SYMBOL, "limit", "buy", float(QUANTITY), float(price), {"newClientOrderId": client_id}
        )
        return str(order["id"])
    except ccxt.RequestTimeout:
        print("no trustworthy answer in time, asking the venue", file=sys.stderr)
        return find_or_none(exchange, client_id)
    except ccxt.NetworkError as error:
        print(f"not now: {error}", file=sys.stderr)
        return find_or_none(exchange, client_id)


def main() -> int:
    exchange = make_exchange()
    exchange.load_markets()
    best_bid = Decimal(str(exchange.fetch_order_book(SYMBOL)["bids"][0][0]))
    order_id = place(exchange, (best_bid / 2).quantize(Decimal("0.01")))
    if order_id is None:
        return 1
    print("placed", order_id, exchange.fetch_order(order_id, SYMBOL)["status"])
    print("cancelled", exchange.cancel_order(order_id, SYMBOL)["status"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
