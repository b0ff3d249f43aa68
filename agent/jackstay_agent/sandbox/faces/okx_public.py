"""OKX's public endpoints and those about the account: markets, prices, candles, balances, positions, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..answers import Call
from ..engine.candles import INTERVALS
from ..engine.model import ZERO
from . import okx_views as views
from .instruments import Instrument
from .okx_errors import Refusal, missing
from .okx_trade import instrument
from .whole_numbers import bounded, whole

if TYPE_CHECKING:
    from .okx import OkxFace

BARS = {"1H": "1h", "2H": "2h", "4H": "4h", "6H": "6h", "12H": "12h", "1D": "1d", "3D": "3d", "1W": "1w",
        "6Hutc": "6h", "12Hutc": "12h", "1Dutc": "1d", "3Dutc": "3d", "1Wutc": "1w"}  # fmt: skip
KINDS = ("SPOT", "SWAP", "MARGIN", "FUTURES", "OPTION")


def server_time(face: OkxFace, call: Call) -> list[Any]:
    return [{"ts": str(call.now)}]


def status(face: OkxFace, call: Call) -> list[Any]:
    """What is going on; nothing is ever planned ahead here."""
    return [status_json(face)] if face.spot.exchange.trading.in_maintenance else []


def status_json(face: OkxFace) -> dict[str, Any]:
    """The one maintenance that is going on, as system/status and the status channel show it."""
    return {"title": "Sandbox maintenance", "state": "ongoing", "begin": str(face.clock()), "end": "", "href": "",
            "preOpenBegin": "", "scheDesc": "", "serviceType": "5", "system": "unified", "env": "1",
            "maintType": "2"}  # fmt: skip


def instruments(face: OkxFace, call: Call) -> list[Any]:
    kind, asked = call.params.get("instType", ""), call.params.get("instId", "")
    if not kind:
        raise missing("instType")
    if kind not in KINDS:
        raise Refusal("51000", "Parameter instType error", 400)
    return [views.instrument_json(each) for each in face.instruments.all(kind) if asked in ("", each.id)]


def _of_kind(face: OkxFace, call: Call) -> list[Instrument]:
    return face.instruments.all(call.params.get("instType") or "SPOT")


def ticker(face: OkxFace, call: Call) -> list[Any]:
    return [views.ticker_json(instrument(face, call.params), call.now)]


def tickers(face: OkxFace, call: Call) -> list[Any]:
    return [views.ticker_json(each, call.now) for each in _of_kind(face, call)]


def books(face: OkxFace, call: Call) -> list[Any]:
    each = instrument(face, call.params)
    count = bounded(call.params.get("sz"), 1, 400)
    book = each.market.book
    return [{"asks": views.levels(each, book.asks.depth(count)), "bids": views.levels(each, book.bids.depth(count)),
             "ts": str(call.now), "seqId": each.market.update_id}]  # fmt: skip


def trades(face: OkxFace, call: Call) -> list[Any]:
    each = instrument(face, call.params)
    count = bounded(call.params.get("limit"), 100, 500)
    return [views.trade_json(each, trade) for trade in list(each.market.trades)[-count:][::-1]]


def candle_rows(each: Instrument, bar: str, limit: int) -> list[list[str]]:
    """[opened, o, h, l, c, volume, base volume, quote volume, confirmed], newest first. KeyError: unknown bar."""
    interval = BARS.get(bar, bar)
    bars = each.venue.candles[each.name].bars(interval, limit) if interval in INTERVALS else None
    if bars is None:
        raise KeyError(bar)
    plain = views.plain
    return [
        [str(b.opened_at), plain(b.open), plain(b.high), plain(b.low), plain(b.close), plain(each.size(b.volume)),
         plain(b.volume), plain(b.quote_volume), "0" if n == 0 else "1"]
        for n, b in enumerate(reversed(bars))
    ]  # fmt: skip


def candles(face: OkxFace, call: Call) -> list[Any]:
    each = instrument(face, call.params)
    try:
        rows = candle_rows(each, call.params.get("bar") or "1m", bounded(call.params.get("limit"), 100, 300))
    except KeyError:
        raise Refusal("51000", "Parameter bar error", 400) from None
    older, newer = whole(call.params.get("after")), whole(call.params.get("before"))
    rows = [row for row in rows if older is None or int(row[0]) < older]
    return [row for row in rows if newer is None or int(row[0]) > newer]


def mark_price(face: OkxFace, call: Call) -> list[Any]:
    return [{"instType": each.kind, "instId": each.id, "markPx": views.plain(each.market.last_price),
             "ts": str(call.now)} for each in face.instruments.all(call.params.get("instType", "SWAP"))
            if call.params.get("instId") in (None, "", each.id)]  # fmt: skip


# the account -----------------------------------------------------------------------------------------------------


def currencies(face: OkxFace, call: Call) -> list[Any]:
    assets = sorted(face.spot.exchange.wallets.assets(call.account))
    return [
        {"ccy": asset, "name": asset, "chain": f"{asset}-Sandbox", "canDep": False, "canWd": False,
         "canInternal": False, "minWd": "0.001", "maxWd": "1000", "minFee": "0", "maxFee": "0", "fee": "0",
         "wdTickSz": "8", "mainNet": True, "minDep": "0", "logoLink": "", "ctAddr": ""}
        for asset in assets
    ]  # fmt: skip


def nothing(face: OkxFace, call: Call) -> list[Any]:
    return []


def balance_json(face: OkxFace, account: str, now: int) -> dict[str, Any]:
    """The trading account. Contracts are margined from a wallet of their own, which is not shown as money here."""
    details, total = [], ZERO
    for asset, balance in sorted(face.spot.exchange.wallets.assets(account).items()):
        price = face.price_of(asset)
        total += balance.total * price
        worth = views.plain(balance.total)
        details.append(
            {"ccy": asset, "eq": worth, "cashBal": worth, "availBal": views.plain(balance.free),
             "availEq": views.plain(balance.free), "frozenBal": views.plain(balance.locked),
             "ordFrozen": views.plain(balance.locked), "eqUsd": views.plain(balance.total * price), "disEq": "0",
             "upl": "0", "liab": "0", "interest": "0", "isoEq": "0", "mgnRatio": "", "spotBal": worth,
             "uTime": str(now)}
        )  # fmt: skip
    return {"uTime": str(now), "totalEq": views.plain(total), "adjEq": "", "isoEq": "0", "ordFroz": "", "imr": "",
            "mmr": "", "mgnRatio": "", "notionalUsd": "", "upl": "", "details": details}  # fmt: skip


def balance(face: OkxFace, call: Call) -> list[Any]:
    shown = balance_json(face, call.account, call.now)
    if asked := call.params.get("ccy"):
        shown["details"] = [row for row in shown["details"] if row["ccy"] in asked.split(",")]
    return [shown]


def positions(face: OkxFace, call: Call) -> list[Any]:
    futures = face.linear.futures.positions
    rows = []
    for held in futures.positions(call.account):
        each = face.instruments.of(face.linear, held.symbol)
        if call.params.get("instId") in (None, "", each.id) and call.params.get("instType") in (None, "", each.kind):
            rows.append(views.position_json(each, held))
    return rows


def config(face: OkxFace, call: Call) -> list[Any]:
    key = face.keys.get(call.key)
    granted = key.permissions if key else frozenset[str]()
    names = {"read": "read_only", "trade": "trade", "withdraw": "withdraw"}
    hedged = call.account in face.linear.futures.positions.hedged
    return [
        {"uid": uid_of(call.account), "mainUid": uid_of(call.account), "acctLv": "2", "autoLoan": False,
         "posMode": "long_short_mode" if hedged else "net_mode", "level": "Lv1", "levelTmp": "", "greeksType": "PA",
         "ctIsoMode": "automatic", "mgnIsoMode": "automatic", "spotOffsetType": "", "label": "sandbox", "ip": "",
         "acctStpMode": "cancel_maker", "perm": ",".join(names[name] for name in names if name in granted),
         "kycLv": "3", "roleType": "0", "traderInsts": [], "opAuth": "0", "enableSpotBorrow": False, "type": "0"}
    ]  # fmt: skip


def uid_of(account: str) -> str:
    """A number that an account keeps."""
    return str(10**17 + int.from_bytes(account.encode()[:6], "big"))


def set_position_mode(face: OkxFace, call: Call) -> list[Any]:
    mode = (call.items[0] if call.items else call).params.get("posMode", "")
    if mode not in ("net_mode", "long_short_mode"):
        raise Refusal("51000", "Parameter posMode error", 400)
    futures = face.linear.futures.positions
    if futures.positions(call.account) or face.linear.exchange.orders.open_of(call.account):
        raise Refusal("59000", "Setting failed. Cancel any open orders, close positions, and stop trading bots first.")
    futures.set_hedged(call.account, hedged=mode == "long_short_mode")
    return [{"posMode": mode}]


def set_leverage(face: OkxFace, call: Call) -> list[Any]:
    params = (call.items[0] if call.items else call).params
    each, wanted = instrument(face, params), whole(params.get("lever"))
    if each.is_spot or wanted is None or not 1 <= wanted <= 100:
        raise Refusal("51000", "Parameter lever error", 400)
    face.linear.futures.positions.set_leverage(call.account, each.name, wanted)
    return [{"lever": str(wanted), "mgnMode": params.get("mgnMode", "cross"), "instId": each.id,
             "posSide": params.get("posSide", "")}]  # fmt: skip


def leverage_info(face: OkxFace, call: Call) -> list[Any]:
    each = instrument(face, call.params)
    if each.is_spot:
        raise Refusal("51000", "Parameter instId error", 400)
    lever = face.linear.futures.positions.leverage(call.account, each.name)
    return [{"instId": each.id, "mgnMode": "cross", "posSide": "net", "lever": str(lever), "ccy": ""}]


def trade_fee(face: OkxFace, call: Call) -> list[Any]:
    rate = views.plain(-face.spot.exchange.settlement.fee_rate)
    linear = views.plain(-face.linear.exchange.settlement.fee_rate)
    return [{"level": "Lv1", "instType": call.params.get("instType", "SPOT"), "maker": rate, "taker": rate,
             "makerU": linear, "takerU": linear, "makerUSDC": "", "takerUSDC": "", "delivery": "", "exercise": "",
             "ts": str(call.now)}]  # fmt: skip
