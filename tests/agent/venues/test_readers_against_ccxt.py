"""The readers against ccxt's parsers: the same answer through both says the same, for every shipped venue."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import ccxt
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstay_agent.venues.answers import OrderState
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.profile import shipped_profiles

ENCODER = msgspec.json.Encoder()
STATUSES = {"open": "open", "filled": "closed", "cancelled": "canceled", "rejected": "rejected", "expired": "expired"}
NUMBERS = st.decimals("0.0001", "99999", places=4).map(lambda number: format(number, "f"))
ZERO_OR = st.one_of(st.just("0"), st.just("0.0000"), NUMBERS)
TIMES = st.integers(1_500_000_000_000, 1_900_000_000_000)
IDS = st.text("abcdefXYZ0123456789-_", min_size=1, max_size=20)
FLAGS = st.booleans()
SHARES = st.sampled_from(["0", "0.25", "1"])


def exchange(kind: Any) -> Any:
    made = kind()
    made.number = str  # no float touches money, not even the oracle's
    return made


def operations(profile: str) -> Operations:
    return Operations(shipped_profiles()[profile], None, wall_ms=lambda: 0)


OURS = {name: operations(name) for name in ("binance", "binance-usdm", "bybit", "okx", "kraken")}
THEIRS = {
    "binance": exchange(ccxt.binance),
    "binance-usdm": exchange(ccxt.binanceusdm),
    "bybit": exchange(ccxt.bybit),
    "okx": exchange(ccxt.okx),
    "kraken": exchange(ccxt.kraken),
}


def same_number(ours: Decimal | None, theirs: Any) -> bool:
    """Nothing is zero here: venues write both for "none". ccxt divides to 18 places."""
    return abs((ours or Decimal(0)) - Decimal(theirs or 0)) <= abs(ours or 0) * Decimal("1e-9") + Decimal("1e-15")


def same_order(ours: Any, theirs: dict[str, Any], *, status: bool = True) -> None:
    """ccxt gives a market order its average as a price and invents what was filled where it can: that is not asked."""
    assert isinstance(ours, OrderState), ours
    assert ours.venue_id == theirs["id"]
    assert (ours.client_id or None) == theirs["clientOrderId"]
    assert ours.side == theirs["side"]
    assert same_number(ours.quantity, theirs["amount"])
    assert ours.price is None or same_number(ours.price, theirs["price"])
    assert ours.filled is None or same_number(ours.filled, theirs["filled"])
    assert same_number(ours.average_price, theirs["average"])
    assert ours.time_ms == theirs["timestamp"]
    assert ours.stop_price is None or same_number(ours.stop_price, theirs["triggerPrice"])
    assert ours.reduce_only is None or ours.reduce_only == theirs["reduceOnly"]
    if status:
        assert STATUSES[ours.status] == theirs["status"]


def filled(quantity: str, share: str) -> str:
    return format(Decimal(quantity) * Decimal(share), "f")


SPOT_WORDS = st.sampled_from(
    ["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"]
)


@given(IDS, NUMBERS, NUMBERS, SHARES, ZERO_OR, SPOT_WORDS, TIMES, st.sampled_from(["BUY", "SELL"]))
def test_binance(
    client_id: str, price: str, quantity: str, share: str, stop: str, word: str, at_ms: int, side: str
) -> None:
    """Spot: the average comes from what was paid."""
    done = filled(quantity, share)
    raw = {
        "symbol": "BTCUSDT", "orderId": 28, "orderListId": -1, "clientOrderId": client_id, "price": price,
        "origQty": quantity, "executedQty": done, "cummulativeQuoteQty": format(Decimal(done) * Decimal(price), "f"),
        "status": word, "timeInForce": "GTC", "type": "LIMIT", "side": side, "stopPrice": stop, "icebergQty": "0",
        "time": at_ms, "updateTime": at_ms, "isWorking": True, "workingTime": at_ms,
    }  # fmt: skip
    answer = OURS["binance"].read("query_order", 200, ENCODER.encode(raw), asked={"client_id": client_id})
    same_order(answer, THEIRS["binance"].parse_order(raw))


@given(IDS, ZERO_OR, NUMBERS, SHARES, NUMBERS, ZERO_OR, SPOT_WORDS, TIMES, FLAGS)
def test_binance_usdm(
    client_id: str, price: str, quantity: str, share: str, mean: str, stop: str, word: str, at_ms: int, reduce: bool
) -> None:
    """Futures orders carry their own average."""
    done = filled(quantity, share)
    mean = mean if Decimal(done) else "0.00000"
    raw = {
        "orderId": 8886774, "symbol": "BTCUSDT", "status": word, "clientOrderId": client_id, "price": price,
        "avgPrice": mean, "origQty": quantity, "executedQty": done, "cumQty": done,
        "cumQuote": format(Decimal(done) * Decimal(mean), "f"), "timeInForce": "GTC",
        "type": "LIMIT" if Decimal(price) else "MARKET", "reduceOnly": reduce, "closePosition": False, "side": "SELL",
        "positionSide": "BOTH", "stopPrice": stop, "time": at_ms, "updateTime": at_ms,
    }  # fmt: skip
    (answer,) = OURS["binance-usdm"].read("open_orders", 200, ENCODER.encode([raw]))  # type: ignore[misc]
    same_order(answer, THEIRS["binance-usdm"].parse_order(raw))


@given(IDS, ZERO_OR, NUMBERS, NUMBERS, st.sampled_from(["NEW", "TRIGGERING", "CANCELED", "REJECTED", "EXPIRED"]), TIMES)
def test_binance_usdm_algo(client_id: str, price: str, quantity: str, trigger: str, word: str, at_ms: int) -> None:
    """Conditional orders, whose fields have names of their own."""
    raw = {
        "algoId": 3358, "clientAlgoId": client_id, "algoType": "CONDITIONAL", "orderType": "STOP_MARKET",
        "symbol": "BTCUSDT", "side": "BUY", "positionSide": "BOTH", "timeInForce": "GTC", "quantity": quantity,
        "algoStatus": word, "triggerPrice": trigger, "price": price, "icebergQuantity": None, "closePosition": False,
        "reduceOnly": True, "createTime": at_ms, "updateTime": at_ms, "triggerTime": 0, "goodTillDate": 0,
    }  # fmt: skip
    answer = OURS["binance-usdm"].read("query_order", 200, ENCODER.encode(raw), family="algo")
    same_order(answer, THEIRS["binance-usdm"].parse_order(raw))


BYBIT_WORDS = st.sampled_from(
    ["New", "PartiallyFilled", "Untriggered", "Filled", "Cancelled", "PartiallyFilledCanceled", "Rejected"]
)


@given(IDS, NUMBERS, NUMBERS, SHARES, NUMBERS, st.one_of(st.just(""), NUMBERS), BYBIT_WORDS, TIMES, FLAGS)
def test_bybit(
    client_id: str, price: str, quantity: str, share: str, mean: str, trigger: str, word: str, at_ms: int, reduce: bool
) -> None:
    """A list of one inside the envelope, absent values as empty texts."""
    done = filled(quantity, share)
    raw = {
        "orderId": "14bad3a1-6454", "orderLinkId": client_id, "symbol": "XRPUSDT", "price": price, "qty": quantity,
        "side": "Sell", "orderStatus": word, "avgPrice": mean if Decimal(done) else "", "cumExecQty": done,
        "cumExecValue": format(Decimal(done) * Decimal(mean), "f"), "cumExecFee": "0", "orderType": "Limit",
        "timeInForce": "GTC", "stopOrderType": "UNKNOWN", "triggerPrice": trigger, "reduceOnly": reduce,
        "createdTime": str(at_ms), "updatedTime": str(at_ms), "leavesQty": "0", "leavesValue": "0",
    }  # fmt: skip
    body = {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "nextPageCursor": "", "list": [raw]}}
    answer: Any = OURS["bybit"].read("query_order", 200, ENCODER.encode(body), asked={"client_id": client_id})
    same_order(answer, THEIRS["bybit"].parse_order(raw), status=word != "PartiallyFilledCanceled")
    assert answer.context == {"category": "linear"}


@given(
    IDS, NUMBERS, NUMBERS, SHARES, NUMBERS, TIMES, FLAGS,
    st.sampled_from(["live", "partially_filled", "filled", "canceled", "mmp_canceled"]),
)  # fmt: skip
def test_okx(
    client_id: str, price: str, quantity: str, share: str, mean: str, at_ms: int, reduce: bool, word: str
) -> None:
    """Flags and times as texts."""
    done = filled(quantity, share)
    raw = {
        "ordId": "312269865356374016", "clOrdId": client_id, "instId": "BTC-USDT-SWAP", "instType": "SWAP",
        "side": "buy", "ordType": "limit", "px": price, "sz": quantity, "accFillSz": done,
        "avgPx": mean if Decimal(done) else "", "state": word, "cTime": str(at_ms), "uTime": str(at_ms),
        "reduceOnly": "true" if reduce else "false", "fee": "-0.1", "feeCcy": "USDT", "tgtCcy": "", "tag": "",
        "posSide": "net", "tdMode": "cross", "lever": "1", "category": "normal", "algoId": "", "fillPx": "",
    }  # fmt: skip
    body = {"code": "0", "msg": "", "data": [raw]}
    answer: Any = OURS["okx"].read("query_order", 200, ENCODER.encode(body), family="plain")
    same_order(answer, THEIRS["okx"].parse_order(raw))
    assert answer.context == {"inst_type": "SWAP"}


@given(
    st.one_of(st.none(), IDS), NUMBERS, NUMBERS, SHARES, NUMBERS, TIMES,
    st.sampled_from(["pending", "open", "closed", "canceled", "expired"]),
    st.sampled_from(["limit", "stop-loss-limit"]),
)  # fmt: skip
def test_kraken(
    client_id: str | None, price: str, quantity: str, share: str, mean: str, at_ms: int, word: str, kind: str
) -> None:
    """An object of orders under their ids, times as fractions of seconds."""
    done = filled(quantity, share)
    raw = {
        "refid": None, "cl_ord_id": client_id, "status": word, "opentm": at_ms / 1000, "starttm": 0,
        "expiretm": 0, "vol": quantity, "vol_exec": done, "cost": format(Decimal(done) * Decimal(mean), "f"),
        "fee": "0.0", "price": mean if Decimal(done) else "0.00000", "stopprice": "0.00000", "limitprice": "0.00000",
        "misc": "", "oflags": "fciq", "descr": {
            "pair": "XBTUSDT", "type": "buy", "ordertype": kind, "price": price, "price2": "0", "leverage": "none",
            "order": f"buy {quantity} XBTUSDT @ {kind} {price}", "close": "",
        },
    }  # fmt: skip
    body = {"error": [], "result": {"open": {"OQCLML-BW3P3-BUCMWZ": raw}}}
    (answer,) = OURS["kraken"].read("open_orders", 200, ENCODER.encode(body))  # type: ignore[misc]
    theirs = THEIRS["kraken"].parse_order({**raw, "id": "OQCLML-BW3P3-BUCMWZ"})
    if kind != "limit":  # ccxt takes price2 for the price of a stop-limit; the venue lists both, and the bot sent both
        theirs["price"] = price
    same_order(answer, theirs, status=word != "pending")


FILLS: list[tuple[str, dict[str, Any], Any]] = [
    (
        "binance",
        {"symbol": "BNBBTC", "id": 28457, "orderId": 100234, "price": "4.00000100", "qty": "12.00000000",
         "quoteQty": "48.000012", "commission": "10.10000000", "commissionAsset": "BNB", "time": 1499865549590,
         "isBuyer": False, "isMaker": True, "isBestMatch": True},
        lambda row: [row],
    ),
    (
        "binance-usdm",
        {"symbol": "BTCUSDT", "id": 698759, "orderId": 25851813, "side": "SELL", "price": "7819.01", "qty": "0.002",
         "realizedPnl": "-0.9", "quoteQty": "15.6", "commission": "-0.07819010", "commissionAsset": "USDT",
         "time": 1569514978020, "positionSide": "SHORT", "buyer": False, "maker": False},
        lambda row: [row],
    ),
    (
        "bybit",
        {"symbol": "ETHUSDT", "orderType": "Market", "orderLinkId": "a", "side": "Buy", "orderId": "8c065341",
         "execId": "e0cbe81d", "execPrice": "1611.2", "execQty": "0.5", "execFee": "0.05", "feeCurrency": "USDT",
         "execTime": "1672282722429", "isMaker": True, "execType": "Trade"},
        lambda row: {"retCode": 0, "result": {"category": "linear", "list": [row]}},
    ),
    (
        "okx",
        {"instType": "SPOT", "instId": "BTC-USDT", "tradeId": "123", "ordId": "312", "clOrdId": "b16", "billId": "1",
         "tag": "", "fillPx": "8.9", "fillSz": "3", "side": "buy", "posSide": "net", "execType": "M", "feeCcy": "BTC",
         "fee": "-0.005", "ts": "1597026383085"},
        lambda row: {"code": "0", "msg": "", "data": [row]},
    ),
    (
        "kraken",
        {"ordertxid": "OQCLML", "postxid": "T", "pair": "XBTUSDT", "time": 1688667796.5, "type": "sell",
         "ordertype": "limit", "price": "30010.0", "cost": "6", "fee": "0.26", "vol": "0.0002", "margin": "0",
         "misc": "", "maker": True},
        lambda row: {"error": [], "result": {"trades": {"THVRQM-33VKH-UCI7BS": row}}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("venue", "row", "wrap"), FILLS, ids=[each[0] for each in FILLS])
def test_fills(venue: str, row: dict[str, Any], wrap: Any) -> None:
    """Who paid what for which order; a fee is what was paid, whatever its sign at the venue."""
    (ours,) = OURS[venue].read("fills_since", 200, ENCODER.encode(wrap(row)))  # type: ignore[misc]
    theirs = THEIRS[venue].parse_trade({**row, "id": "THVRQM-33VKH-UCI7BS"} if venue == "kraken" else row)
    assert (ours.trade_id, ours.venue_id, ours.side, ours.time_ms) == (
        theirs["id"], theirs["order"], theirs["side"], theirs["timestamp"],
    )  # fmt: skip
    assert (ours.price, ours.quantity) == (Decimal(str(theirs["price"])), Decimal(str(theirs["amount"])))
    assert ours.fee == Decimal(str(theirs["fee"]["cost"]))
    assert ours.maker is None or theirs["takerOrMaker"] in (None, "maker" if ours.maker else "taker")


BALANCES: list[tuple[str, dict[str, Any]]] = [
    ("binance", {"balances": [{"asset": "BTC", "free": "4.7", "locked": "0.3"}], "updateTime": 1}),
    (
        "bybit",
        {"retCode": 0, "result": {"list": [{"accountType": "UNIFIED", "coin": [
            {"coin": "BTC", "walletBalance": "5", "locked": "0.3", "equity": "5", "availableToWithdraw": ""}]}]},
         "time": 1},
    ),
    (
        "okx",
        {"code": "0", "msg": "", "data": [{"uTime": "1", "details": [
            {"ccy": "BTC", "eq": "5", "cashBal": "5", "availBal": "4.7", "availEq": "4.7", "frozenBal": "0.3"}]}]},
    ),
    ("kraken", {"error": [], "result": {"XXBT": {"balance": "5", "hold_trade": "0.3"}}}),
]  # fmt: skip


@pytest.mark.parametrize(("venue", "body"), BALANCES, ids=[each[0] for each in BALANCES])
def test_balances(venue: str, body: dict[str, Any]) -> None:
    """What there is and what is held; ccxt's own arithmetic agrees."""
    (ours,) = OURS[venue].read("balances", 200, ENCODER.encode(body))  # type: ignore[misc]
    exchange_ = THEIRS[venue]
    if venue == "binance":
        theirs = exchange_.parse_balance_custom(body, "spot")
    elif venue == "okx":
        theirs = exchange_.parse_trading_balance(body)
    else:
        theirs = exchange_.parse_balance(body)
    coin = next(name for name in theirs if name in ("BTC", "XXBT"))
    assert ours.total == Decimal(str(theirs[coin]["total"])) == 5
    assert ours.locked == Decimal(str(theirs[coin]["used"]))
    assert ours.free is None or ours.free == Decimal(str(theirs[coin]["free"]))


@settings(max_examples=200)
@given(st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["result", "data", "list", "open", "symbol", "code", "error", "retCode",
                                         "orderId", "status", "x"]), inner, max_size=4),
    ),
    max_leaves=12,
), st.sampled_from(sorted(OURS)), st.sampled_from([200, 400, 503]))  # fmt: skip
def test_no_document_whatsoever_breaks_a_reader(document: Any, venue: str, status: int) -> None:
    """Every JSON document is read, refused or unreadable; nothing is raised, and no order comes of nonsense."""
    ours = OURS[venue]
    for family in ours.families:
        for name in ours.names(family):
            answer = ours.read(name, status, ENCODER.encode(document), family=family, asked={"client_id": "a"})
            assert not isinstance(answer, OrderState)
