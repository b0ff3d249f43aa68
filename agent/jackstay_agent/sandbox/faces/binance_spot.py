"""The Binance spot shape: REST routes over the engine (adapters.md §2 lists what unmodified clients need)."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ..engine.book import Order, Trade
from ..engine.exchange import MARKET, Exchange, Reject, Symbol

Params = dict[str, str]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key of an account; several may share one owner."""

    key: str
    secret: str
    alias: str
    owner: str = "account"
    permissions: frozenset[str] = frozenset({"read", "trade"})


@dataclass(frozen=True, slots=True)
class Route:
    handler: Callable[[BinanceSpot, Params, ApiKey | None], Any]
    weight: int = 1
    signed: bool = False
    orders: int = 0
    changes: bool = False
    needs: str = "read"


def plain(number: Decimal, places: int = 8) -> str:
    return f"{number:.{places}f}"


def decimal_of(params: Params, name: str) -> Decimal | None:
    text = params.get(name)
    if not text:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        raise Reject(-1100, f"Illegal characters found in parameter '{name}'.") from None


class BinanceSpot:
    """Answers in Binance's words. ``keys`` by API key text."""

    def __init__(self, exchange: Exchange, keys: dict[str, ApiKey], *, clock_offset_ms: int = 0) -> None:
        self.exchange = exchange
        self.keys = keys
        self.clock_offset_ms = clock_offset_ms

    def now_ms(self) -> int:
        return int(time.time() * 1000) + self.clock_offset_ms

    # ------------------------------------------------------------ who asks

    def authenticate(self, api_key: str, payload: str, signature: str | None, params: Params, needs: str) -> ApiKey:
        """The key, or Reject. ``payload`` is query and body as sent, without the signature."""
        key = self.keys.get(api_key)
        if key is None or needs not in key.permissions:
            raise Reject(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if signature is None:
            raise Reject(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
        expected = hmac.new(key.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, signature):
            raise Reject(-1022, "Signature for this request is not valid.")
        try:
            timestamp, window = int(params["timestamp"]), int(params.get("recvWindow", 5000))
        except (KeyError, ValueError):
            raise Reject(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.") from None
        now = self.now_ms()
        if window > 60000:
            raise Reject(-1131, "recvWindow must be less than 60000")
        if not (timestamp < now + 1000 and now - timestamp <= window):
            raise Reject(-1021, "Timestamp for this request is outside of the recvWindow.")
        return key

    # ------------------------------------------------------------ market data

    def exchange_info(self, _params: Params, _key: ApiKey | None) -> Any:
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
        ]
        symbols = [_symbol_json(symbol) for symbol in self.exchange.symbols.values()]
        return {
            "timezone": "UTC",
            "serverTime": self.now_ms(),
            "rateLimits": limits,
            "exchangeFilters": [],
            "symbols": symbols,
        }

    def server_time(self, _params: Params, _key: ApiKey | None) -> Any:
        return {"serverTime": self.now_ms()}

    def ping(self, _params: Params, _key: ApiKey | None) -> Any:
        return {}

    def depth(self, params: Params, _key: ApiKey | None) -> Any:
        book = self.exchange.books[self._symbol(params).name]
        limit = min(int(params.get("limit", 100)), 5000)
        return {
            "lastUpdateId": self.exchange.depth_update_id(self._symbol(params).name),
            "bids": [[plain(price), plain(quantity)] for price, quantity in book.depth("BUY", limit)],
            "asks": [[plain(price), plain(quantity)] for price, quantity in book.depth("SELL", limit)],
        }

    def trades(self, params: Params, _key: ApiKey | None) -> Any:
        limit = min(int(params.get("limit", 500)), 1000)
        name = self._symbol(params).name
        found = [trade for trade in self.exchange.trades if trade.symbol == name and not trade.maker][-limit:]
        return [
            {
                "id": trade.id,
                "price": plain(trade.price),
                "qty": plain(trade.quantity),
                "quoteQty": plain(trade.price * trade.quantity),
                "time": trade.at_ms,
                "isBuyerMaker": trade.side == "SELL",
                "isBestMatch": True,
            }
            for trade in found
        ]

    def agg_trades(self, params: Params, key: ApiKey | None) -> Any:
        return [
            {
                "a": row["id"],
                "p": row["price"],
                "q": row["qty"],
                "f": row["id"],
                "l": row["id"],
                "T": row["time"],
                "m": row["isBuyerMaker"],
                "M": True,
            }
            for row in self.trades(params, key)
        ]

    def klines(self, params: Params, _key: ApiKey | None) -> Any:
        price = plain(self.exchange.last_price[self._symbol(params).name])
        now = self.now_ms() // 60000 * 60000
        return [[now, price, price, price, price, "10", now + 59999, "15", 3, "5", "7", "0"]]

    def ticker_24h(self, params: Params, _key: ApiKey | None) -> Any:
        if not params.get("symbol"):
            return [self._ticker(name) for name in self.exchange.symbols]
        return self._ticker(self._symbol(params).name)

    def _ticker(self, name: str) -> dict[str, Any]:
        book, last = self.exchange.books[name], self.exchange.last_price[name]
        bid, ask = book.best("BUY") or last, book.best("SELL") or last
        now = self.now_ms()
        return {
            "symbol": name,
            "priceChange": "0",
            "priceChangePercent": "0",
            "weightedAvgPrice": plain(last),
            "lastPrice": plain(last),
            "lastQty": "1",
            "bidPrice": plain(bid),
            "askPrice": plain(ask),
            "openPrice": plain(last),
            "highPrice": plain(last),
            "lowPrice": plain(last),
            "volume": "1000",
            "quoteVolume": "1000",
            "openTime": now - 86_400_000,
            "closeTime": now,
        }

    def ticker_price(self, params: Params, _key: ApiKey | None) -> Any:
        name = self._symbol(params).name
        return {"symbol": name, "price": plain(self.exchange.last_price[name])}

    def book_ticker(self, params: Params, _key: ApiKey | None) -> Any:
        name = self._symbol(params).name
        book = self.exchange.books[name]
        (bid, bid_size), (ask, ask_size) = (book.depth(side, 1)[0] for side in ("BUY", "SELL"))
        return {
            "symbol": name,
            "bidPrice": plain(bid),
            "bidQty": plain(bid_size),
            "askPrice": plain(ask),
            "askQty": plain(ask_size),
        }

    # ------------------------------------------------------------ account and orders

    def account(self, _params: Params, key: ApiKey | None) -> Any:
        account = self.exchange.account(_owner(key))
        assets = sorted(set(account.free) | set(account.locked))
        return {
            "makerCommission": 10,
            "takerCommission": 10,
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": True,
            "accountType": "SPOT",
            "updateTime": self.now_ms(),
            "balances": [
                {
                    "asset": asset,
                    "free": plain(account.free.get(asset, Decimal(0))),
                    "locked": plain(account.locked.get(asset, Decimal(0))),
                }
                for asset in assets
            ],
            "permissions": ["SPOT"],
        }

    def place(self, params: Params, key: ApiKey | None) -> Any:
        for name in ("symbol", "side", "type"):
            if not params.get(name):
                raise Reject(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        if params["type"] == "LIMIT" and not params.get("timeInForce"):
            raise Reject(-1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed.")
        order = self.exchange.place(
            _owner(key),
            params["symbol"],
            params["side"],
            params["type"],
            quantity=decimal_of(params, "quantity"),
            price=decimal_of(params, "price"),
            tif=params.get("timeInForce", "GTC"),
            client_id=params.get("newClientOrderId", ""),
            quote_quantity=decimal_of(params, "quoteOrderQty"),
        )
        return order_json(order, full=True)

    def place_test(self, _params: Params, _key: ApiKey | None) -> Any:
        return {}

    def query(self, params: Params, key: ApiKey | None) -> Any:
        return order_json(self._find(params, key, Reject(-2013, "Order does not exist.")))

    def cancel(self, params: Params, key: ApiKey | None) -> Any:
        order = self._find(params, key, Reject(-2011, "Unknown order sent."))
        answer = order_json(self.exchange.cancel(order))
        return answer | {"origClientOrderId": order.client_id, "transactTime": self.now_ms()}

    def cancel_replace(self, params: Params, key: ApiKey | None) -> Any:
        lookup = {"symbol": params.get("symbol", ""), "orderId": params.get("cancelOrderId", "")}
        if params.get("cancelOrigClientOrderId"):
            lookup = {"symbol": params.get("symbol", ""), "origClientOrderId": params["cancelOrigClientOrderId"]}
        try:
            cancelled = self.cancel(lookup, key)
        except Reject as reject:
            if params.get("cancelReplaceMode") != "ALLOW_FAILURE":
                raise Reject(-2022, f"Order cancel-replace failed: {reject.message}") from reject
            cancelled = {"code": reject.code, "msg": reject.message}
        placed = self.place(params, key)
        return {
            "cancelResult": "SUCCESS",
            "newOrderResult": "SUCCESS",
            "cancelResponse": cancelled,
            "newOrderResponse": placed,
        }

    def open_orders(self, params: Params, key: ApiKey | None) -> Any:
        return [order_json(order) for order in self.exchange.open_orders(_owner(key), params.get("symbol"))]

    def cancel_all(self, params: Params, key: ApiKey | None) -> Any:
        found = list(self.exchange.open_orders(_owner(key), self._symbol(params).name))
        if not found:
            raise Reject(-2011, "Unknown order sent.")
        return [order_json(self.exchange.cancel(order)) | {"origClientOrderId": order.client_id} for order in found]

    def all_orders(self, params: Params, key: ApiKey | None) -> Any:
        return [order_json(order) for order in self.exchange.orders_of(_owner(key), self._symbol(params).name)][-1000:]

    def my_trades(self, params: Params, key: ApiKey | None) -> Any:
        owner, name = _owner(key), self._symbol(params).name
        since = int(params.get("fromId", 0))
        wanted = params.get("orderId")
        return [
            trade_json(trade)
            for trade in self.exchange.trades
            if trade.owner == owner
            and trade.symbol == name
            and trade.id >= since
            and (not wanted or trade.order_id == int(wanted))
        ][-1000:]

    def _find(self, params: Params, key: ApiKey | None, missing: Reject) -> Order:
        if not params.get("orderId") and not params.get("origClientOrderId"):
            raise Reject(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        try:
            order_id = int(params["orderId"]) if params.get("orderId") else None
        except ValueError:
            raise Reject(-1100, "Illegal characters found in parameter 'orderId'.") from None
        order = self.exchange.find(
            _owner(key),
            self._symbol(params).name,
            order_id=order_id,
            client_id=params.get("origClientOrderId"),
        )
        if order is None:
            raise missing
        return order

    def _symbol(self, params: Params) -> Symbol:
        symbol = self.exchange.symbols.get(params.get("symbol", ""))
        if symbol is None:
            raise Reject(-1121, "Invalid symbol.")
        return symbol

    def nothing_list(self, _params: Params, _key: ApiKey | None) -> Any:
        return []

    def nothing_symbols(self, _params: Params, _key: ApiKey | None) -> Any:
        return {"symbols": []}

    def coins(self, _params: Params, _key: ApiKey | None) -> Any:
        assets = sorted({asset for each in self.exchange.symbols.values() for asset in (each.base, each.quote)})
        return [{"coin": asset, "name": asset, "networkList": []} for asset in assets]


def _owner(key: ApiKey | None) -> str:
    return key.owner if key is not None else MARKET


def _symbol_json(symbol: Symbol) -> dict[str, Any]:
    return {
        "symbol": symbol.name,
        "status": "TRADING",
        "baseAsset": symbol.base,
        "baseAssetPrecision": 8,
        "quoteAsset": symbol.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": str(symbol.tick),
                "maxPrice": "1000000.00",
                "tickSize": str(symbol.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": str(symbol.min_quantity),
                "maxQty": str(symbol.max_quantity),
                "stepSize": str(symbol.step),
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": str(symbol.min_notional),
                "applyMinToMarket": True,
                "maxNotional": "9000000.0",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
        ],
    }


def order_json(order: Order, *, full: bool = False) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": plain(order.price),
        "origQty": plain(order.quantity),
        "executedQty": plain(order.filled),
        "cummulativeQuoteQty": plain(order.cost),
        "status": order.status,
        "timeInForce": order.tif,
        "type": order.type,
        "side": order.side,
        "stopPrice": plain(order.stop_price),
    }
    if full:
        fills = [
            {
                "price": plain(trade.price),
                "qty": plain(trade.quantity),
                "commission": plain(trade.fee),
                "commissionAsset": trade.fee_asset,
                "tradeId": trade.id,
            }
            for trade in order.trades
        ]
        return answer | {"transactTime": order.updated_ms, "workingTime": order.created_ms, "fills": fills}
    return answer | {"time": order.created_ms, "updateTime": order.updated_ms, "isWorking": True}


def trade_json(trade: Trade) -> dict[str, Any]:
    return {
        "symbol": trade.symbol,
        "id": trade.id,
        "orderId": trade.order_id,
        "orderListId": -1,
        "price": plain(trade.price),
        "qty": plain(trade.quantity),
        "quoteQty": plain(trade.price * trade.quantity),
        "commission": plain(trade.fee),
        "commissionAsset": trade.fee_asset,
        "time": trade.at_ms,
        "isBuyer": trade.side == "BUY",
        "isMaker": trade.maker,
        "isBestMatch": True,
    }


S = BinanceSpot
ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/api/v3/ping"): Route(S.ping),
    ("GET", "/api/v3/time"): Route(S.server_time),
    ("GET", "/api/v3/exchangeInfo"): Route(S.exchange_info, 20),
    ("GET", "/api/v3/depth"): Route(S.depth, 5),
    ("GET", "/api/v3/trades"): Route(S.trades, 25),
    ("GET", "/api/v3/aggTrades"): Route(S.agg_trades, 2),
    ("GET", "/api/v3/klines"): Route(S.klines, 2),
    ("GET", "/api/v3/ticker/24hr"): Route(S.ticker_24h, 2),
    ("GET", "/api/v3/ticker/price"): Route(S.ticker_price, 2),
    ("GET", "/api/v3/ticker/bookTicker"): Route(S.book_ticker, 2),
    ("GET", "/api/v3/account"): Route(S.account, 20, signed=True),
    ("POST", "/api/v3/order"): Route(S.place, 1, signed=True, orders=1, changes=True, needs="trade"),
    ("POST", "/api/v3/order/test"): Route(S.place_test, 1, signed=True, needs="trade"),
    ("GET", "/api/v3/order"): Route(S.query, 4, signed=True),
    ("DELETE", "/api/v3/order"): Route(S.cancel, 1, signed=True, changes=True, needs="trade"),
    ("POST", "/api/v3/order/cancelReplace"): Route(S.cancel_replace, 1, True, 1, changes=True, needs="trade"),
    ("GET", "/api/v3/openOrders"): Route(S.open_orders, 6, signed=True),
    ("DELETE", "/api/v3/openOrders"): Route(S.cancel_all, 1, signed=True, changes=True, needs="trade"),
    ("GET", "/api/v3/allOrders"): Route(S.all_orders, 20, signed=True),
    ("GET", "/api/v3/myTrades"): Route(S.my_trades, 20, signed=True),
    # what a keyed ccxt.load_markets asks besides (adapters.md 2.1)
    ("GET", "/sapi/v1/capital/config/getall"): Route(S.coins, 10, signed=True),
    ("GET", "/sapi/v1/margin/allPairs"): Route(S.nothing_list),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): Route(S.nothing_list),
    ("GET", "/fapi/v1/exchangeInfo"): Route(S.nothing_symbols),
    ("GET", "/dapi/v1/exchangeInfo"): Route(S.nothing_symbols),
}
