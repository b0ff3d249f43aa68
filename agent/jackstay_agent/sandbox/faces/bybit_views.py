"""Engine nouns as Bybit v5 JSON: plain functions from a noun to a dict. All amounts are strings."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..engine.model import ZERO, Fill, Order, Trade
from ..engine.positions import Position
from ..engine.triggers import fires_rising
from .instruments import Instrument

STATUSES = {"NEW": "New", "PARTIALLY_FILLED": "PartiallyFilled", "FILLED": "Filled", "REJECTED": "Rejected"}
SMP = {"EXPIRE_MAKER": "CancelMaker", "EXPIRE_TAKER": "CancelTaker", "EXPIRE_BOTH": "CancelBoth"}
POSITION_INDEX = {"BOTH": 0, "LONG": 1, "SHORT": 2}


def plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def plain_or_empty(value: Decimal) -> str:
    return plain(value) if value else ""


def plain_or_zero(value: Decimal) -> str:
    return plain(value) if value else "0"


def instrument_json(each: Instrument) -> dict[str, Any]:
    symbol = each.symbol
    status = "Trading" if each.takes_orders else "Closed"
    row = {"symbol": each.id, "baseCoin": symbol.base, "quoteCoin": symbol.quote, "status": status}
    lot = {"minOrderQty": plain(symbol.quantity_min), "maxOrderQty": plain(symbol.quantity_max)}
    if each.is_spot:
        lot |= {"basePrecision": plain(symbol.step), "quotePrecision": "0.00000001",
                "minOrderAmt": plain(symbol.notional_min),
                "maxOrderAmt": plain(symbol.notional_max), "maxLimitOrderQty": plain(symbol.quantity_max),
                "maxMarketOrderQty": plain(symbol.market_quantity_max)}  # fmt: skip
        return row | {"innovation": "0", "marginTrading": "none", "stTag": "0", "lotSizeFilter": lot,
                      "priceFilter": {"tickSize": plain(symbol.tick)},
                      "riskParameters": {"priceLimitRatioX": "0.8", "priceLimitRatioY": "4"}}  # fmt: skip
    lot |= {"qtyStep": plain(symbol.step),
            "postOnlyMaxOrderQty": plain(symbol.quantity_max),
            "maxMktOrderQty": plain(symbol.market_quantity_max),
            "minNotionalValue": plain(symbol.notional_min)}  # fmt: skip
    price = {"minPrice": plain(symbol.price_min), "maxPrice": plain(symbol.price_max), "tickSize": plain(symbol.tick)}
    return row | {
        "contractType": "LinearPerpetual", "launchTime": "1600000000000", "deliveryTime": "0", "deliveryFeeRate": "",
        "priceScale": str(-int(symbol.tick.as_tuple().exponent)), "settleCoin": symbol.quote, "copyTrading": "none",
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"}, "priceFilter": price,
        "lotSizeFilter": lot, "unifiedMarginTrade": True, "fundingInterval": 480, "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375", "isPreListing": False, "preListingInfo": None,
    }  # fmt: skip


def levels(rows: list[tuple[Decimal, Decimal]]) -> list[list[str]]:
    return [[plain(price), plain_or_zero(quantity)] for price, quantity in rows]


def ticker_json(each: Instrument, now: int) -> dict[str, Any]:
    market = each.market
    day = each.venue.candles[each.name].day(now, market.last_price)
    bid, ask, last = market.book.bids.depth(1), market.book.asks.depth(1), plain(market.last_price)
    change = (market.last_price - day.open) / day.open if day.open else ZERO
    row = {
        "symbol": each.id, "lastPrice": last, "prevPrice24h": plain(day.open), "price24hPcnt": f"{change:.4f}",
        "highPrice24h": plain(day.high), "lowPrice24h": plain(day.low), "turnover24h": plain_or_zero(day.quote_volume),
        "volume24h": plain_or_zero(day.volume), "bid1Price": plain(bid[0][0]) if bid else "",
        "bid1Size": plain(bid[0][1]) if bid else "", "ask1Price": plain(ask[0][0]) if ask else "",
        "ask1Size": plain(ask[0][1]) if ask else "",
    }  # fmt: skip
    if each.is_spot:
        return row | {"usdIndexPrice": last}
    return row | {"indexPrice": last, "markPrice": last, "prevPrice1h": last, "openInterest": "0",
                  "openInterestValue": "0", "fundingRate": "0.0001",
                  "nextFundingTime": str(now - now % 28_800_000 + 28_800_000), "deliveryTime": "0",
                  "tickDirection": "PlusTick", "basis": "", "basisRate": "", "deliveryFeeRate": "",
                  "predictedDeliveryPrice": ""}  # fmt: skip


def trade_json(each: Instrument, trade: Trade) -> dict[str, Any]:
    """A public trade (REST); `side` is the taker's."""
    return {"execId": str(trade.id), "symbol": each.id, "price": plain(trade.price), "size": plain(trade.quantity),
            "side": "Sell" if trade.buyer_is_maker else "Buy", "time": str(trade.at), "isBlockTrade": False,
            "isRPITrade": False, "seq": str(trade.id)}  # fmt: skip


def stream_trade_json(each: Instrument, trade: Trade) -> dict[str, Any]:
    return {"T": trade.at, "s": each.id, "S": "Sell" if trade.buyer_is_maker else "Buy", "v": plain(trade.quantity),
            "p": plain(trade.price), "L": "PlusTick", "i": str(trade.id), "BT": False, "RPI": False,
            "seq": trade.id}  # fmt: skip


def is_waiting(order: Order) -> bool:
    """A conditional order whose price was never reached."""
    return bool(order.stop_price) and not order.working_at


def status_of(each: Instrument, order: Order, status: str, filled: Decimal) -> str:
    if is_waiting(order):
        return "Untriggered" if status == "NEW" else "Deactivated"
    if status in STATUSES:
        return STATUSES[status]
    return "PartiallyFilledCanceled" if filled and each.is_spot else "Cancelled"


def _reject_reason(order: Order, shown: str) -> str:
    if order.type == "LIMIT_MAKER" and shown == "Cancelled" and order.updated_at == order.created_at:
        return "EC_PostOnlyWillTakeLiquidity"
    return "EC_PerCancelRequest" if shown in ("Cancelled", "PartiallyFilledCanceled", "Deactivated") else "EC_NoError"


def shown_name(order: Order) -> str:
    """The engine gives every order a name; what the client did not give is empty on Bybit."""
    return "" if order.client_id.startswith("auto") else order.client_id


def order_json(
    each: Instrument,
    order: Order,
    fees: Decimal,
    *,
    status: str = "",
    filled: Decimal | None = None,
    cost: Decimal | None = None,
) -> dict[str, Any]:
    """An order as it stands, or as an event found it."""
    filled, cost = order.filled if filled is None else filled, order.cost if cost is None else cost
    shown = status_of(each, order, status or order.status, filled)
    over = (status or order.status) not in ("NEW", "PARTIALLY_FILLED")
    left = ZERO if over else order.quantity - filled
    direction = (1 if fires_rising(order.side, order.type) else 2) if order.stop_price else 0
    row = {
        "orderId": each.shown_id(order.id), "orderLinkId": shown_name(order), "blockTradeId": "", "symbol": each.id,
        "price": plain_or_zero(order.price), "qty": plain(order.quote_quantity or order.quantity),
        "side": order.side.capitalize(), "isLeverage": "0" if each.is_spot else "",
        "positionIdx": POSITION_INDEX[order.position_side], "orderStatus": shown, "createType": "CreateByUser",
        "cancelType": "CancelByUser" if shown in ("Cancelled", "Deactivated") else "UNKNOWN",
        "rejectReason": _reject_reason(order, shown), "avgPrice": plain(cost / filled) if filled else "",
        "leavesQty": plain_or_zero(left), "leavesValue": plain_or_zero(left * order.price),
        "cumExecQty": plain_or_zero(filled), "cumExecValue": plain_or_zero(cost), "cumExecFee": plain_or_zero(fees),
        "cumFeeDetail": {fee_coin(each, order): plain(fees)} if fees else {},
        "timeInForce": _time_in_force(order), "orderType": "Market" if order.is_market else "Limit",
        "stopOrderType": _stop_type(order), "orderIv": "", "triggerPrice": plain_or_empty(order.stop_price),
        "takeProfit": "", "stopLoss": "", "tpTriggerBy": "", "slTriggerBy": "", "triggerDirection": direction,
        "triggerBy": "LastPrice" if order.stop_price else "", "lastPriceOnCreated": "", "placeType": "",
        "reduceOnly": order.reduce_only, "closeOnTrigger": False, "smpType": SMP.get(order.stp, "None"), "smpGroup": 0,
        "smpOrderId": "", "tpLimitPrice": "", "slLimitPrice": "", "createdTime": str(order.created_at),
        "updatedTime": str(order.updated_at),
    }  # fmt: skip
    if each.is_spot:
        unit = "quoteCoin" if order.quote_quantity else "baseCoin"
        return row | {"marketUnit": unit if order.is_market else ""}
    return row | {"tpslMode": "UNKNOWN", "marketUnit": ""}


def fee_coin(each: Instrument, order: Order) -> str:
    """Spot pays with what it receives, contracts in the settle coin."""
    return each.symbol.base if each.is_spot and order.side == "BUY" else each.symbol.quote


def _time_in_force(order: Order) -> str:
    return "IOC" if order.is_market else "PostOnly" if order.type == "LIMIT_MAKER" else order.tif


def _stop_type(order: Order) -> str:
    return "Stop" if order.stop_price else ""


def fill_json(each: Instrument, fill: Fill, order: Order | None) -> dict[str, Any]:
    row = {
        "symbol": each.id, "orderId": each.shown_id(fill.order_id), "orderLinkId": shown_name(order) if order else "",
        "side": fill.side.capitalize(), "orderPrice": plain_or_zero(order.price) if order else "0",
        "orderQty": plain(order.quantity) if order else "0",
        "leavesQty": plain_or_zero(order.remaining) if order else "0",
        "orderType": "Market" if order and order.is_market else "Limit",
        "stopOrderType": _stop_type(order) if order else "",
        "execFee": plain_or_zero(fill.fee), "execFeeV2": "", "execId": f"{fill.trade_id}-{fill.side[0]}",
        "execPrice": plain(fill.price), "execQty": plain(fill.quantity), "execType": "Trade",
        "execValue": plain(fill.price * fill.quantity), "execTime": str(fill.at), "feeCurrency": fill.fee_asset,
        "isMaker": fill.is_maker, "feeRate": "", "tradeIv": "", "markIv": "", "markPrice": plain(fill.price),
        "indexPrice": "", "underlyingPrice": "", "blockTradeId": "", "closedSize": "0", "seq": fill.trade_id,
    }  # fmt: skip
    return row if each.is_spot else row | {"createType": "CreateByUser"}


def position_json(each: Instrument, position: Position) -> dict[str, Any]:
    futures, price = each.venue.futures, each.market.last_price
    leverage = futures.positions.leverage(position.account, each.name)
    value = abs(position.quantity) * position.entry
    side = "Buy" if position.quantity > 0 else "Sell" if position.quantity < 0 else ""
    return {
        "positionIdx": POSITION_INDEX[position.side], "riskId": 1, "riskLimitValue": "2000000", "symbol": each.id,
        "side": side, "size": plain_or_zero(abs(position.quantity)), "avgPrice": plain_or_zero(position.entry),
        "positionValue": plain_or_zero(value), "tradeMode": 0, "positionStatus": "Normal", "autoAddMargin": 0,
        "adlRankIndicator": 1, "leverage": str(leverage), "positionBalance": "0", "markPrice": plain(price),
        "liqPrice": "", "bustPrice": "", "positionMM": plain_or_zero(value / 250),
        "positionIM": plain_or_zero(value / leverage), "tpslMode": "Full", "takeProfit": "", "stopLoss": "",
        "trailingStop": "0", "unrealisedPnl": plain_or_zero(position.profit(price)), "curRealisedPnl": "0",
        "cumRealisedPnl": "0", "sessionAvgPrice": "", "seq": position.updated_at, "isReduceOnly": False,
        "mmrSysUpdatedTime": "", "leverageSysUpdatedTime": "", "createdTime": str(position.updated_at),
        "updatedTime": str(position.updated_at),
    }  # fmt: skip
