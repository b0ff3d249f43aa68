"""Bybit's public endpoints and those about the account: markets, prices, candles, wallet, positions, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..answers import Call
from ..engine.candles import INTERVALS, MINUTE
from ..engine.model import ZERO
from . import bybit_views as views
from .bybit_errors import Refusal, wrong
from .bybit_params import number
from .bybit_trade import category_of, chosen, instrument
from .instruments import Instrument
from .whole_numbers import bounded, whole, within

if TYPE_CHECKING:
    from .bybit import BybitFace

BARS = {"1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h",
        "720": "12h", "D": "1d", "W": "1w"}  # fmt: skip


def count_of(call: Call, default: int, most: int) -> int:
    if call.params.get("limit") and not whole(call.params["limit"]):
        raise wrong("limit")
    return bounded(call.params.get("limit"), default, most)


def server_time(face: BybitFace, call: Call) -> dict[str, Any]:
    return {"timeSecond": str(call.now // 1000), "timeNano": str(call.now * 1_000_000)}


def status(face: BybitFace, call: Call) -> dict[str, Any]:
    """What is going on; nothing is ever planned ahead here."""
    if not face.spot.exchange.trading.in_maintenance:
        return {"list": []}
    return {"list": [{"id": "sandbox", "title": "Sandbox maintenance", "state": "ongoing", "begin": str(call.now),
                      "end": "", "href": "", "serviceTypes": [1, 2, 3, 4, 5], "product": [1, 2], "uidSuffix": [],
                      "maintainType": "2", "env": "1"}]}  # fmt: skip


def _of_category(face: BybitFace, call: Call) -> list[Instrument]:
    category, symbol = category_of(call.params), call.params.get("symbol", "")
    found = [each for each in face.instruments.all(category) if symbol in ("", each.id)]
    if symbol and not found:
        raise Refusal(10001, "params error: Symbol Invalid")
    return found


def instruments(face: BybitFace, call: Call) -> dict[str, Any]:
    wanted = call.params.get("status") in (None, "", "Trading")
    rows = [views.instrument_json(each) for each in _of_category(face, call)] if wanted else []
    return {"category": call.params["category"], "list": rows, "nextPageCursor": ""}


def tickers(face: BybitFace, call: Call) -> dict[str, Any]:
    rows = [views.ticker_json(each, call.now) for each in _of_category(face, call)]
    return {"category": call.params["category"], "list": rows}


def order_book(face: BybitFace, call: Call) -> dict[str, Any]:
    each = instrument(face, call.params)
    count = count_of(call, 1 if each.is_spot else 25, 200 if each.is_spot else 500)
    book, update = each.market.book, each.market.update_id
    return {"s": each.id, "b": views.levels(book.bids.depth(count)), "a": views.levels(book.asks.depth(count)),
            "ts": call.now, "u": update, "seq": update, "cts": call.now}  # fmt: skip


def trades(face: BybitFace, call: Call) -> dict[str, Any]:
    each = instrument(face, call.params)
    latest = list(each.market.trades)[-count_of(call, 60 if each.is_spot else 500, 1000) :]
    return {"category": each.kind, "list": [views.trade_json(each, trade) for trade in reversed(latest)]}


def bar_rows(each: Instrument, interval: str, limit: int) -> list[list[str]]:
    """[start, open, high, low, close, volume, turnover], newest first. KeyError: unknown interval."""
    plain = views.plain_or_zero
    return [
        [str(b.opened_at), plain(b.open), plain(b.high), plain(b.low), plain(b.close), plain(b.volume),
         plain(b.quote_volume)]
        for b in reversed(each.venue.candles[each.name].bars(BARS[interval], limit))
    ]  # fmt: skip


def bar_length_ms(interval: str) -> int:
    return INTERVALS[BARS[interval]] * MINUTE


def candles(face: BybitFace, call: Call) -> dict[str, Any]:
    each, interval = instrument(face, call.params), call.params.get("interval", "")
    if interval not in BARS:
        raise wrong("interval")
    rows = [
        row
        for row in bar_rows(each, interval, 1000)
        if within(call.params.get("start"), call.params.get("end"), int(row[0]))
    ]
    return {"category": each.kind, "symbol": each.id, "list": rows[: count_of(call, 200, 1000)]}


# the account -----------------------------------------------------------------------------------------------------


def coins(face: BybitFace, call: Call) -> dict[str, Any]:
    rows = [
        {"name": asset, "coin": asset, "remainAmount": "0",
         "chains": [{"chain": asset, "chainType": asset, "confirmation": "1", "withdrawFee": "0", "depositMin": "0",
                     "withdrawMin": "0", "minAccuracy": "8", "chainDeposit": "0", "chainWithdraw": "0",
                     "withdrawPercentageFee": "0", "contractAddress": ""}]}
        for asset in sorted(face.spot.exchange.wallets.assets(call.account))
    ]  # fmt: skip
    return {"rows": rows}


def key_info(face: BybitFace, call: Call) -> dict[str, Any]:
    key = face.keys.get(call.key)
    granted = key.permissions if key else frozenset[str]()
    trading = ["Order", "Position"] if "trade" in granted else []
    return {
        "id": "1", "note": "sandbox", "apiKey": call.key, "readOnly": 0 if granted & {"trade", "cancel"} else 1,
        "secret": "", "type": 1, "ips": ["*"], "userID": 1, "inviterID": 0, "vipLevel": "No VIP", "mktMakerLevel": "0",
        "affiliateID": 0, "rsaPublicKey": "", "isMaster": True, "parentUid": "0", "uta": 1, "unified": 0,
        "kycLevel": "LEVEL_DEFAULT", "kycRegion": "", "deadlineDay": -2, "expiredAt": "1970-01-01T00:00:00Z",
        "createdAt": "2020-01-01T00:00:00Z",
        "permissions": {"ContractTrade": trading, "Spot": ["SpotTrade"] if trading else [],
                        "Wallet": ["Withdraw"] if "withdraw" in granted else [], "Options": [], "Derivatives": [],
                        "Exchange": [], "Earn": [], "NFT": [], "BlockTrade": [], "Affiliate": [], "CopyTrading": []},
    }  # fmt: skip


def account_info(face: BybitFace, call: Call) -> dict[str, Any]:
    windows = [
        {"product": product, "dcpStatus": "ON", "timeWindow": str(face.protection.window_s(call.account, category))}
        for product, category in (("SPOT", "spot"), ("DERIVATIVES", "linear"))
    ]
    return {"unifiedMarginStatus": 6, "marginMode": "REGULAR_MARGIN", "dcpStatus": "ON", "timeWindow": 10,
            "smpGroup": 0, "isMasterTrader": False, "spotHedgingStatus": "OFF", "updatedTime": str(call.now),
            "dcpInfos": windows}  # fmt: skip


def wallet_json(face: BybitFace, account: str) -> dict[str, Any]:
    """The unified account. Contracts are margined from a wallet of their own, which is not shown as money here."""
    rows, total = [], ZERO
    plain = views.plain_or_zero
    for asset, balance in sorted(face.spot.exchange.wallets.assets(account).items()):
        worth = balance.total * face.price_of(asset)
        total += worth
        rows.append(
            {"coin": asset, "equity": plain(balance.total), "usdValue": plain(worth),
             "walletBalance": plain(balance.total), "locked": plain(balance.locked), "spotHedgingQty": "0",
             "borrowAmount": "0", "accruedInterest": "0", "totalOrderIM": "0", "totalPositionIM": "0",
             "totalPositionMM": "0", "unrealisedPnl": "0", "cumRealisedPnl": "0", "bonus": "0",
             "marginCollateral": True, "collateralSwitch": True, "availableToWithdraw": "", "availableToBorrow": ""}
        )  # fmt: skip
    return {"accountType": "UNIFIED", "accountIMRate": "0", "accountMMRate": "0", "accountLTV": "0",
            "totalEquity": plain(total), "totalWalletBalance": plain(total), "totalMarginBalance": plain(total),
            "totalAvailableBalance": plain(total), "totalPerpUPL": "0", "totalInitialMargin": "0",
            "totalMaintenanceMargin": "0", "coin": rows}  # fmt: skip


def wallet(face: BybitFace, call: Call) -> dict[str, Any]:
    if call.params.get("accountType") != "UNIFIED":
        raise Refusal(10001, "accountType only support UNIFIED.")
    shown = wallet_json(face, call.account)
    if asked := call.params.get("coin"):
        shown["coin"] = [row for row in shown["coin"] if row["coin"] in asked.split(",")]
    return {"list": [shown]}


def fund_balances(face: BybitFace, call: Call) -> dict[str, Any]:
    return {"memberId": "1", "accountType": call.params.get("accountType", "FUND"), "balance": []}


def positions(face: BybitFace, call: Call) -> dict[str, Any]:
    """Open positions; asked for one symbol, its empty position too."""
    rows = []
    futures = face.linear.futures.positions
    for each in chosen(face, call.params):
        if each.is_spot:
            raise Refusal(10001, "Illegal category")
        held = [found for found in futures.positions(call.account) if found.symbol == each.name]
        if not held and call.params.get("symbol"):
            held = [futures.position(call.account, each.name)]
        rows += [views.position_json(each, found) for found in held]
    return {"category": call.params["category"], "nextPageCursor": "", "list": rows}


def set_leverage(face: BybitFace, call: Call) -> dict[str, Any]:
    params = (call.items[0] if call.items else call).params
    each = instrument(face, params)
    buy, sell = params.get("buyLeverage", ""), params.get("sellLeverage", "")
    wanted = number(params, "buyLeverage", needed=True)
    if each.is_spot or buy != sell or not 1 <= wanted <= 100:
        raise wrong("buyLeverage")
    futures = face.linear.futures.positions
    if futures.leverage(call.account, each.name) == int(wanted):
        raise Refusal(110043, "Set leverage has not been modified.")
    futures.set_leverage(call.account, each.name, int(wanted))
    return {}


def switch_mode(face: BybitFace, call: Call) -> dict[str, Any]:
    """0: one position a symbol; 3: hedge mode. Here it is the account's, not the symbol's."""
    params = (call.items[0] if call.items else call).params
    mode, futures = params.get("mode", ""), face.linear.futures.positions
    if category_of(params) != "linear" or mode not in ("0", "3"):
        raise wrong("mode")
    if (mode == "3") == (call.account in futures.hedged):
        raise Refusal(110025, "Position mode is not modified")
    if futures.positions(call.account) or face.linear.exchange.orders.open_of(call.account):
        raise Refusal(110024, "You have an existing position, so position mode cannot be switched")
    futures.set_hedged(call.account, hedged=mode == "3")
    return {}


def fee_rate(face: BybitFace, call: Call) -> dict[str, Any]:
    rows = []
    for each in _of_category(face, call):
        rate = views.plain(each.venue.exchange.settlement.fee_rate)
        rows.append({"symbol": each.id, "baseCoin": each.symbol.base, "takerFeeRate": rate, "makerFeeRate": rate})
    return {"category": call.params["category"], "list": rows}
