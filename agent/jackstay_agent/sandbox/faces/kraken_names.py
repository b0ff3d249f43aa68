"""What Kraken calls things: pairs under their many spellings, assets, and the letters of order and trade ids.

A pair is `XXBTZUSD` in answers, `XBTUSD` by its altname, `XBT/USD` to the first WebSocket API and `BTC/USD` to the
second, and requests may use any of them. An order is `OXXXXX-XXXXX-XXXXXX`; here those letters are the engine's own
number, scrambled so that nobody takes them for one (docs.kraken.com, "Get Tradable Asset Pairs", "Spot Client Order
Identifiers").
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..engine.model import Symbol
from .kraken_errors import Refusal

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MODULUS = 36**16
# any two numbers prime to 6 will do: orders and trades with near numbers look unlike
_ORDER_FACTOR = 5_236_871_904_377_124_203_961_277
_TRADE_FACTOR = 3_914_662_750_918_406_551_873_081


@dataclass(slots=True, frozen=True)
class Asset:
    """`id` in answers, `alt` in the altnames of pairs, `name` to the second WebSocket API and to the engine."""

    id: str
    alt: str
    name: str
    decimals: int
    display_decimals: int


@dataclass(slots=True, frozen=True)
class Pair:
    """One market: the engine's symbol with Kraken's names for it."""

    symbol: Symbol
    id: str
    base: Asset
    quote: Asset
    price_decimals: int
    lot_decimals: int = 8
    cost_decimals: int = 5

    @property
    def altname(self) -> str:
        return self.base.alt + self.quote.alt

    @property
    def wsname(self) -> str:
        return f"{self.base.alt}/{self.quote.alt}"

    @property
    def name(self) -> str:
        return f"{self.base.name}/{self.quote.name}"

    def price(self, value: Decimal) -> str:
        return f"{value:.{self.price_decimals}f}"

    def volume(self, value: Decimal) -> str:
        return f"{value:.{self.lot_decimals}f}"

    def cost(self, value: Decimal) -> str:
        return f"{value:.{self.cost_decimals}f}"


ASSETS = {
    asset.name: asset
    for asset in (
        Asset("XXBT", "XBT", "BTC", 10, 5),
        Asset("XETH", "ETH", "ETH", 10, 5),
        Asset("ZUSD", "USD", "USD", 4, 2),
        Asset("USDT", "USDT", "USDT", 8, 4),
    )
}


def _pair(base: str, quote: str, pair_id: str, decimals: int, start: int, smallest: str) -> Pair:
    tick = Decimal(1).scaleb(-decimals)
    # Kraken bounds a price by nothing but its ticks; orders and their cost have minima, no maxima worth a name
    symbol = Symbol(
        base + quote, base, quote, tick, Decimal("1E-8"), Decimal(start), price_min=tick, price_max=Decimal(10_000_000),
        quantity_min=Decimal(smallest), quantity_max=Decimal(100_000), market_quantity_max=Decimal(100_000),
        notional_min=Decimal("0.5"), notional_max=Decimal(0), percent_up=Decimal(10**9), percent_down=Decimal(0),
        orders_max=80,
    )  # fmt: skip
    return Pair(symbol, pair_id, ASSETS[base], ASSETS[quote], decimals)


PAIRS = {
    pair.symbol.name: pair
    for pair in (
        _pair("BTC", "USD", "XXBTZUSD", 1, 50_000, "0.00005"),
        _pair("ETH", "USD", "XETHZUSD", 2, 3_000, "0.001"),
        _pair("BTC", "USDT", "XBTUSDT", 1, 50_000, "0.00005"),
        _pair("ETH", "USDT", "ETHUSDT", 2, 3_000, "0.001"),
    )
}
_SPELLED = {
    spelling: pair
    for pair in PAIRS.values()
    for spelling in (pair.id, pair.altname, pair.wsname, pair.name, pair.symbol.name)
}


def known_pair(text: str) -> Pair | None:
    return _SPELLED.get(text.upper())


def pair_of(text: str) -> Pair:
    pair = known_pair(text)
    if pair is None:
        raise Refusal("EQuery:Unknown asset pair")
    return pair


def asset_of(text: str) -> Asset:
    for asset in ASSETS.values():
        if text.upper() in (asset.id, asset.alt, asset.name):
            return asset
    raise Refusal("EQuery:Unknown asset")


def order_txid(number: int) -> str:
    return _spell("O", number * _ORDER_FACTOR % _MODULUS)


def trade_txid(number: int) -> str:
    return _spell("T", number * _TRADE_FACTOR % _MODULUS)


def order_number(txid: str) -> int | None:
    """The engine's number of an order id; None when it cannot be one."""
    return _number("O", txid, _ORDER_FACTOR)


def trade_number(txid: str) -> int | None:
    return _number("T", txid, _TRADE_FACTOR)


def _spell(first: str, value: int) -> str:
    letters = ""
    for _ in range(16):
        value, digit = divmod(value, 36)
        letters = _LETTERS[digit] + letters
    return f"{first}{letters[:5]}-{letters[5:10]}-{letters[10:]}"


def _number(first: str, txid: str, factor: int) -> int | None:
    parts = txid.split("-")
    if [len(part) for part in parts] != [6, 5, 6] or not txid.startswith(first):
        return None
    letters = txid.replace("-", "")[1:]
    if not letters.isascii() or not letters.isalnum() or letters != letters.upper():
        return None
    return int(letters, 36) * pow(factor, -1, _MODULUS) % _MODULUS
