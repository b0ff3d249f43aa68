"""The USDⓈ-M user data stream: ORDER_TRADE_UPDATE, ACCOUNT_UPDATE and ALGO_UPDATE on a listen key's stream."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ..engine.model import ZERO, OrderChange
from .binance_user import UserStreams
from .binance_views import amount, plain
from .usdm_algo import update_event
from .usdm_views import GTX, plain_or_zero


class UsdmUserStreams(UserStreams):
    """Listen keys as on spot; other events."""

    def order_changed(self, change: OrderChange) -> None:
        if self._heard(change.order.account):
            self._tell(change.order.account, order_update(change))

    def after_batch(self) -> None:
        """Positions and algo orders the last batch changed."""
        futures = self._venue.futures
        for change in futures.algos.changes:
            self._tell(change.algo.request.account, update_event(change))
        futures.algos.changes.clear()
        touched: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for account, symbol, side in sorted(futures.positions.touched):
            if not account.startswith("@"):
                touched[account].append((symbol, side))
        futures.positions.touched.clear()
        for account, positions in touched.items():
            if self._heard(account):
                self._tell(account, self._account_update(account, positions))

    def _account_update(self, account: str, positions: list[tuple[str, str]]) -> dict[str, Any]:
        now, futures = self._venue.clock(), self._venue.futures
        wallet = amount(futures.wallets.of(account, "USDT").free)
        rows = []
        for symbol, side in positions:
            held = futures.positions.position(account, symbol, side)
            profit = held.profit(futures.positions.prices[symbol])
            rows.append(
                {"s": symbol, "pa": plain_or_zero(held.quantity), "ep": plain_or_zero(held.entry), "cr": "0",
                 "up": amount(profit), "mt": "cross", "iw": "0", "ps": side}
            )  # fmt: skip
        balances = [{"a": "USDT", "wb": wallet, "cw": wallet, "bc": "0"}]
        return {"e": "ACCOUNT_UPDATE", "E": now, "T": now, "a": {"m": "ORDER", "B": balances, "P": rows}}


def order_update(change: OrderChange) -> dict[str, Any]:
    """ORDER_TRADE_UPDATE (USDⓈ-M user data streams)."""
    order, fill = change.order, change.fill
    last, price = (fill.quantity, fill.price) if fill else (ZERO, ZERO)
    mean = change.cost / change.filled if change.filled else ZERO
    kind = "LIMIT" if order.type == "LIMIT_MAKER" else order.type
    report = {
        "s": order.symbol, "c": order.client_id, "S": order.side, "o": kind, "f": GTX.get(order.type, order.tif),
        "q": plain_or_zero(order.quantity), "p": plain_or_zero(order.price), "ap": plain_or_zero(mean), "sp": "0",
        "x": change.kind, "X": change.status, "i": order.id, "l": plain_or_zero(last),
        "z": plain_or_zero(change.filled), "L": plain_or_zero(price), "T": change.at, "t": fill.trade_id if fill else 0,
        "b": "0", "a": "0", "m": bool(fill and fill.is_maker), "R": order.reduce_only, "wt": "CONTRACT_PRICE",
        "ot": kind,
        "ps": order.position_side, "cp": False, "rp": "0", "pP": False, "si": 0, "ss": 0, "V": order.stp, "pm": "NONE",
        "gtd": 0,
    }  # fmt: skip
    if fill:
        report |= {"n": plain(fill.fee) if fill.fee else "0", "N": fill.fee_asset}
    return {"e": "ORDER_TRADE_UPDATE", "E": change.at, "T": change.at, "o": report}
