"""One small client for every face of the sandbox, so that one test can ask the same of each venue."""

from __future__ import annotations

from typing import Any, Protocol

from jackstay_agent.sandbox import SandboxProcess
from kraken_client import KrakenPlain
from kraken_client import limit_order as kraken_order
from sandbox_client import Plain, limit_order
from v5_client import BybitClient, OkxClient, bybit_order, okx_order


class FaceClient(Protocol):
    """Limit orders of 0.01 BTC at 40000, by client id. A refusal is returned in the venue's words, a yes as ""."""

    route: str

    def place(self, name: str, price: str = "40000", *, post_only: bool = False) -> str: ...

    def cancel(self, name: str) -> str: ...

    def query(self, name: str) -> dict[str, str]:
        """state (open, filled, gone) and filled; empty for an order the venue does not find."""

    def open(self) -> list[str]: ...

    def status(self) -> str: ...


OPEN = {"NEW", "PARTIALLY_FILLED", "live", "partially_filled", "New", "PartiallyFilled", "open"}
FILLED = {"FILLED", "filled", "Filled", "closed"}


def view(status: str, filled: str) -> dict[str, str]:
    state = "open" if status in OPEN else "filled" if status in FILLED else "gone"
    return {"state": state, "filled": f"{float(filled):g}"}


class BinanceFace:
    path, route = "/api/v3/order", "POST /api/v3/order"
    listed = "/api/v3/openOrders"

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.plain = Plain(sandbox)

    def place(self, name: str, price: str = "40000", *, post_only: bool = False) -> str:
        order = limit_order(name, price=price)
        if post_only:
            order = {k: v for k, v in order.items() if k != "timeInForce"} | {"type": "LIMIT_MAKER"}
        return _words(self.plain.call("POST", self.path, order))

    def cancel(self, name: str) -> str:
        return _words(self.plain.call("DELETE", self.path, {"symbol": "BTCUSDT", "origClientOrderId": name}))

    def query(self, name: str) -> dict[str, str]:
        status, told, _ = self.plain.call("GET", self.path, {"symbol": "BTCUSDT", "origClientOrderId": name})
        return view(told["status"], told["executedQty"]) if status == 200 else {}

    def open(self) -> list[str]:
        return [order["clientOrderId"] for order in self.plain.call("GET", self.listed)[1]]

    def status(self) -> str:
        return {0: "online", 1: "maintenance"}[self.plain.public("/sapi/v1/system/status")["status"]]


class UsdmFace(BinanceFace):
    path, route = "/fapi/v1/order", "POST /fapi/v1/order"
    listed = "/fapi/v1/openOrders"

    def place(self, name: str, price: str = "40000", *, post_only: bool = False) -> str:
        order = limit_order(name, price=price, timeInForce="GTX" if post_only else "GTC")
        return _words(self.plain.call("POST", self.path, order))


def _words(answer: tuple[int, Any, dict[str, str]]) -> str:
    status, told, _ = answer
    return "" if status == 200 else f"{status} {told['code']} {told['msg']}"


class OkxFace:
    route = "POST /api/v5/trade/order"

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.client = OkxClient(sandbox)

    def _told(self, told: tuple[int, Any]) -> str:
        status, body = told
        if body["code"] in ("0", "1") and body["data"]:
            (item,) = body["data"]
            return "" if item["sCode"] == "0" else f"{status} {item['sCode']} {item['sMsg']}"
        return f"{status} {body['code']} {body['msg']}"

    def place(self, name: str, price: str = "40000", *, post_only: bool = False) -> str:
        order = okx_order(name, px=price, ordType="post_only" if post_only else "limit")
        return self._told(self.client.call("POST", "trade/order", order))

    def cancel(self, name: str) -> str:
        return self._told(self.client.call("POST", "trade/cancel-order", {"instId": "BTC-USDT", "clOrdId": name}))

    def query(self, name: str) -> dict[str, str]:
        told = self.client.order(name)
        return view(told["data"][0]["state"], told["data"][0]["accFillSz"]) if told["data"] else {}

    def open(self) -> list[str]:
        return [order["clOrdId"] for order in self.client.call("GET", "trade/orders-pending")[1]["data"]]

    def status(self) -> str:
        ongoing = [row for row in self.client.public("system/status")["data"] if row["state"] == "ongoing"]
        return "maintenance" if ongoing else "online"


class BybitFace:
    route = "POST /v5/order/create"

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.client = BybitClient(sandbox)

    def _told(self, told: Any) -> str:
        return "" if told["retCode"] == 0 else f"200 {told['retCode']} {told['retMsg']}"

    def place(self, name: str, price: str = "40000", *, post_only: bool = False) -> str:
        order = bybit_order(name, price=price, timeInForce="PostOnly" if post_only else "GTC")
        return self._told(self.client.call("POST", "order/create", order))

    def cancel(self, name: str) -> str:
        asked = {"category": "spot", "symbol": "BTCUSDT", "orderLinkId": name}
        return self._told(self.client.call("POST", "order/cancel", asked))

    def query(self, name: str) -> dict[str, str]:
        rows = self.client.orders(orderLinkId=name)
        return view(rows[0]["orderStatus"], rows[0]["cumExecQty"]) if rows else {}

    def open(self) -> list[str]:
        return [order["orderLinkId"] for order in self.client.orders()]

    def status(self) -> str:
        ongoing = [row for row in self.client.public("system/status")["result"]["list"] if row["state"] == "ongoing"]
        return "maintenance" if ongoing else "online"


class KrakenFace:
    route = "POST /0/private/AddOrder"

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.plain = KrakenPlain(sandbox)

    def place(self, name: str, price: str = "40000", *, post_only: bool = False) -> str:
        order = kraken_order(name, price=price) | ({"oflags": "post"} if post_only else {})
        return "".join(self.plain.call("AddOrder", order)[0])

    def cancel(self, name: str) -> str:
        return "".join(self.plain.call("CancelOrder", {"cl_ord_id": name})[0])

    def _listed(self) -> dict[str, dict[str, Any]]:
        found = self.plain.call("OpenOrders")[1]["open"] | self.plain.call("ClosedOrders")[1]["closed"]
        return {order["cl_ord_id"]: order for order in found.values()}

    def query(self, name: str) -> dict[str, str]:
        order = self._listed().get(name)
        return view(order["status"], order["vol_exec"]) if order else {}

    def open(self) -> list[str]:
        return [order["cl_ord_id"] for order in self.plain.call("OpenOrders")[1]["open"].values()]

    def status(self) -> str:
        return str(self.plain.public("SystemStatus")["result"]["status"])


FACES: dict[str, type[FaceClient]] = {
    "binance": BinanceFace,
    "binance-usdm": UsdmFace,
    "okx": OkxFace,
    "bybit": BybitFace,
    "kraken": KrakenFace,
}
