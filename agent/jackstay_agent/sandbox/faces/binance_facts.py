"""How a Binance request reads in the ledger: who sent it, in which lane, for which order, and how old it is."""

from __future__ import annotations

from ..answers import Call
from .face import Facts, Told

CLIENT_IDS = ("newClientOrderId", "clientAlgoId", "listClientOrderId", "origClientOrderId")
INTENT = ("side", "positionSide", "type", "quantity", "quoteOrderQty", "price", "stopPrice", "triggerPrice",
          "reduceOnly", "closePosition")  # fmt: skip
# WebSocket API methods by lane; the others with a signature are queries
TRADING = frozenset({"order.place", "order.cancelReplace", "order.modify", "algoOrder.place"})
CANCELLING = frozenset({"order.cancel", "openOrders.cancelAll", "algoOrder.cancel"})


def facts(call: Call) -> Facts:
    params = call.params
    named = next((params[name] for name in CLIENT_IDS if params.get(name)), "")
    window = params.get("recvWindow", "")
    return Facts(
        api_key=call.headers.get("X-MBX-APIKEY") or params.get("apiKey", ""),
        lane=_lane(call),
        told=(Told(named, params.get("symbol", ""), _intent(params)),),
        age_ms=_age_ms(params, call.now),
        ttl_ms=int(window) if window.isdigit() else None,
    )


def _intent(params: dict[str, str]) -> str:
    return " ".join(params[name] for name in INTENT if name in params) if "side" in params else ""


def _age_ms(params: dict[str, str], now: int) -> int | None:
    sent = params.get("timestamp", "")
    return now - int(sent) if sent.isdigit() else None


def _lane(call: Call) -> str:
    """What a client would call the request's lane: trade, cancel, query or public."""
    method = call.path.removeprefix("usdm/")
    if method in TRADING:
        return "trade"
    if call.method == "DELETE" or method in CANCELLING or call.path.endswith("/countdownCancelAll"):
        return "cancel"
    if call.method in ("POST", "PUT") and "order" in call.path.lower() and not call.path.endswith("/test"):
        return "trade"
    return "query" if "signature" in call.params else "public"
