"""Unmodified ccxt, once directly and once through the agent: the same results, the same exceptions.

Both ways ccxt sees its own URLs: only the way below them is led to a scripted venue. The one intended difference, an
order answered by a 2xx or 3xx that is not the promised JSON, is listed as `INTENDED` and becomes RequestTimeout.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import ccxt
import ccxt.async_support
import pytest
import requests
from requests.adapters import HTTPAdapter

import jackstay
from client.scripted_venue import ScriptedVenue, Seen, http
from e2e_bot import release
from harness import AgentProcess
from jackstay_agent import control
from jackstay_protocols.endpoints import CONTROL_SOCKET

SPOT_MARKET = {
    "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "baseAssetPrecision": 8,
    "quotePrecision": 8, "orderTypes": ["LIMIT", "MARKET"],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
        {"filterType": "NOTIONAL", "minNotional": "5"},
    ],
}  # fmt: skip
USDM_MARKET = SPOT_MARKET | {"contractType": "PERPETUAL", "marginAsset": "USDT", "pair": "BTCUSDT"}
ORDER_JSON = json.dumps(
    {
        "symbol": "BTCUSDT", "orderId": 28, "clientOrderId": "c1", "price": "20000.00", "origQty": "0.001",
        "executedQty": "0.00000", "cummulativeQuoteQty": "0.0", "status": "NEW", "type": "LIMIT", "side": "BUY",
        "timeInForce": "GTC", "transactTime": 1700000000000, "fills": [],
    }
)  # fmt: skip
TRADE = {
    "id": 5, "orderId": 28, "price": "20000.00", "qty": "0.001", "commission": "0", "commissionAsset": "USDT",
    "time": 1700000000000, "isBuyer": True, "isMaker": True, "maker": True, "buyer": True, "symbol": "BTCUSDT",
    "quoteQty": "20", "side": "BUY",
}  # fmt: skip
USUAL: dict[tuple[str, str], Any] = {
    ("GET", "exchangeInfo"): {"symbols": [SPOT_MARKET]},
    ("GET", "time"): {"serverTime": 1700000000000},
    ("POST", "order"): json.loads(ORDER_JSON),
    ("GET", "order"): json.loads(ORDER_JSON),
    ("DELETE", "order"): json.loads(ORDER_JSON) | {"status": "CANCELED"},
    ("GET", "openOrders"): [json.loads(ORDER_JSON)],
    ("GET", "account"): {
        "balances": [{"asset": "USDT", "free": "100.5", "locked": "1.0"}],
        "updateTime": 1700000000000,
    },
    ("GET", "myTrades"): [TRADE],
    ("GET", "depth"): {"lastUpdateId": 1, "bids": [["19999.0", "1"]], "asks": [["20001.0", "2"]]},
}
HTML = "<html><body>We will be back soon</body></html>"


def code(number: int, message: str = "x") -> str:
    return json.dumps({"code": number, "msg": message})


# Binance's answers to an order, as documented; with ccxt the body decides, so the messages are exact.
ROWS: dict[str, bytes | str] = {
    "429 -1003": http(429, code(-1003, "Too many requests")),
    "418 -1003 banned": http(418, code(-1003, "Way too many requests; IP banned until 1.")),
    "400 -1003": http(400, code(-1003, "Too much request weight used")),
    "429 HTML": http(429, HTML, "text/html"),
    "400 -1015 order rate": http(400, code(-1015, "Too many new orders")),
    "429 -1015 order rate": http(429, code(-1015, "Too many new orders")),
    "400 -1013 LOT_SIZE": http(400, code(-1013, "Filter failure: LOT_SIZE")),
    "400 -1013 PRICE_FILTER": http(400, code(-1013, "Filter failure: PRICE_FILTER")),
    "400 -1013 NOTIONAL": http(400, code(-1013, "Filter failure: NOTIONAL")),
    "400 -1013 MARKET_LOT_SIZE": http(400, code(-1013, "Filter failure: MARKET_LOT_SIZE")),
    "400 -1013 MAX_POSITION": http(400, code(-1013, "Filter failure: MAX_POSITION")),
    "400 -1013 PERCENT_PRICE_BY_SIDE": http(400, code(-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")),
    "400 -1021": http(400, code(-1021, "Timestamp for this request is outside of the recvWindow.")),
    "400 -1022": http(400, code(-1022, "Signature for this request is not valid.")),
    "400 -2010 funds": http(400, code(-2010, "Account has insufficient balance for requested action.")),
    "400 -2010 post-only": http(400, code(-2010, "Order would immediately match and take.")),
    "400 -2010 duplicate": http(400, code(-2010, "Duplicate order sent.")),
    "400 -2010 market closed": http(400, code(-2010, "Market is closed.")),
    "400 -2011": http(400, code(-2011, "Unknown order sent.")),
    "400 -2013": http(400, code(-2013, "Order does not exist.")),
    "400 -2014": http(400, code(-2014, "API-key format invalid.")),
    "401 -2015": http(401, code(-2015, "Invalid API-key, IP, or permissions for action.")),
    "400 -2018": http(400, code(-2018, "Balance is insufficient.")),
    "400 -2019": http(400, code(-2019, "Margin is insufficient.")),
    "400 -2021": http(400, code(-2021, "Order would immediately trigger.")),
    "400 -2022": http(400, code(-2022, "ReduceOnly Order is rejected.")),
    "400 -4116": http(400, code(-4116, "ClientOrderId is duplicated.")),
    "400 -4164": http(400, code(-4164, "Order's notional must be no smaller than 5.0")),
    "400 -5022": http(400, code(-5022, "Post Only order will be rejected.")),
    "400 -1100": http(400, code(-1100, "Illegal characters found in parameter 'price'.")),
    "400 -1102": http(400, code(-1102, "Mandatory parameter 'price' was not sent.")),
    "400 -1111": http(400, code(-1111, "Precision is over the maximum defined for this asset.")),
    "400 -1121": http(400, code(-1121, "Invalid symbol.")),
    "400 -1131": http(400, code(-1131, "recvWindow must be less than 60000")),
    "400 -1000": http(400, code(-1000, "An unknown error occurred while processing the request.")),
    "500 -1001": http(500, code(-1001, "Internal error; unable to process your request.")),
    "500 -1006": http(500, code(-1006, "An unexpected response was received from the message bus.")),
    "408 -1007": http(408, code(-1007, "Timeout waiting for response from backend server.")),
    "504 -1007": http(504, code(-1007, "Timeout waiting for response from backend server.")),
    "503 -1008": http(503, code(-1008, "Request throttled by system-level protection.")),
    "503 Service Unavailable msg": http(503, json.dumps({"msg": "Service Unavailable."})),
    "503 Unknown error msg": http(
        503, json.dumps({"msg": "Unknown error, please check your request or try again later."})
    ),
    "400 -9999 unlisted": http(400, code(-9999, "New in town.")),
    "200 -2010 (code in 200)": http(200, code(-2010, "Account has insufficient balance for requested action.")),
    "503 HTML": http(503, HTML, "text/html"),
    "502 HTML": http(502, HTML, "text/html"),
    "504 HTML": http(504, HTML, "text/html"),
    "403 WAF HTML": http(403, HTML, "text/html"),
    "451 HTML": http(451, HTML, "text/html"),
    "451 JSON code 0": http(451, json.dumps({"code": 0, "msg": "Service unavailable from a restricted location."})),
    "200 HTML maintenance": http(200, HTML, "text/html"),
    "200 empty": http(200, ""),
    "200 truncated JSON": http(200, ORDER_JSON[:40]),
    "500 empty": http(500, ""),
    "200 HTML, lower-case content-type": http(200, HTML, "text/html", name="content-type"),
    "302 redirect": http(302, "", "text/html", extra="Location: https://{host}/maintenance\r\n"),
    "no answer: timeout": "silence",
    "no answer: reset": "reset",
}
INTENDED = {
    "200 HTML maintenance",
    "200 empty",
    "200 truncated JSON",
    "200 HTML, lower-case content-type",
    "302 redirect",
}
KINDS = {"spot": ("binance", "api.binance.com"), "usdm": ("binanceusdm", "fapi.binance.com")}


# ---------------------------------------------------------------- the two ways below ccxt


class LedAdapter(HTTPAdapter):
    """Direct, sync: requests dials the scripted venue; every URL that ccxt or requests sees stays the exchange's."""

    def __init__(self, venue: ScriptedVenue) -> None:
        super().__init__()
        self.venue = venue

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        true_url = request.url or ""
        parts = urlsplit(true_url)
        request.url = self.venue.url + parts.path + (f"?{parts.query}" if parts.query else "")
        request.headers["Host"] = parts.netloc
        try:
            response = super().send(request, *args, **options)
        finally:
            request.url = true_url
            del request.headers["Host"]
        response.url = true_url
        return response


class Ways:
    """Makes exchange objects of both flavours, led directly or through the agent to one venue."""

    def __init__(self, folder: Path) -> None:
        self.answer: bytes | str = b""
        self.host = ""
        self.venue = ScriptedVenue(folder, self._answer)
        # rows are one failure after the other: without a breaker and its patience each is judged alone
        routes = "\n".join(f'"{host}" = "{self.venue.url}"' for _, host in KINDS.values())
        self.agent = AgentProcess(
            f"[upstreams]\n{routes}\n[errors.breakers.api_calls]\nfailure_threshold = 100000\n"
            # a quick machine plays the rows faster than the venue's own allowances and the dial budget let orders pass
            "[connections]\ndials_per_window_max = 10000\n"
            "[venues.binance.limits]\norders_10s = 0\nweight_1m = 0\n"
            "[venues.binance-usdm.limits]\norders_10s = 0\nweight_1m = 0\n"
        )
        self.agent.start()

    def forget(self) -> None:
        """The operator's word after a 429 and on unknown orders, when the agent rightly holds the next one back."""
        control.ask(self.agent.runtime_dir / self.agent.name / CONTROL_SOCKET, "reset")
        release(self.agent)

    def close(self) -> None:
        self.agent.__exit__(None, None, None)
        self.venue.close()

    def _answer(self, seen: Seen) -> bytes | str:
        path = urlsplit(seen.target).path
        last = path.rsplit("/", 1)[-1]
        if last == "maintenance":
            return http(200, HTML, "text/html")
        if self.answer and last in ("order", "depth", "account"):
            answer = self.answer
            return answer.replace(b"{host}", self.host.encode()) if isinstance(answer, bytes) else answer
        usual = USUAL.get((seen.method, last))
        if last == "exchangeInfo" and path.startswith("/fapi"):
            usual = {"symbols": [USDM_MARKET]}
        return http(404, "{}") if usual is None else http(200, json.dumps(usual), "application/json;charset=UTF-8")

    def settings(self, kind: str) -> dict[str, Any]:
        types = [{"spot": "spot", "usdm": "linear"}[kind]]
        wanted = types if ccxt.__version__.startswith("4.4.") else {"types": types}
        options = {"fetchMarkets": wanted, "fetchCurrencies": False, "fetchMargins": False}
        timeout_ms = 700 if self.answer == "silence" else 5_000
        return {"apiKey": "k", "secret": "s", "timeout": timeout_ms, "enableRateLimit": False, "options": options}

    def sync(self, kind: str, verb: str, args: tuple[Any, ...], *, through: bool, markets: Any = None) -> Any:
        self.host = KINDS[kind][1]
        exchange = getattr(ccxt, KINDS[kind][0])(self.settings(kind))
        client = None
        if through:
            client = jackstay.Client(self.agent.name, runtime_dir=self.agent.runtime_dir, bot_id="parity")
            jackstay.attach(exchange, client)
        else:
            exchange.session.mount("https://", LedAdapter(self.venue))
        try:
            _markets(exchange, markets)
            return getattr(exchange, verb)(*args)
        finally:
            if client is not None:
                client.close()
            exchange.session.close()

    def asyncio(self, kind: str, verb: str, args: tuple[Any, ...], *, through: bool, markets: Any = None) -> Any:
        self.host = KINDS[kind][1]

        async def run() -> Any:
            settings = self.settings(kind)
            client = session = None
            if not through:
                # an https URL over a unix socket: aiohttp speaks plain HTTP there and keeps the URL
                session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(self.venue.unix_path)))
                settings["session"] = session
            exchange = getattr(ccxt.async_support, KINDS[kind][0])(settings)
            exchange.timeout_on_exit = 0
            if through:
                client = jackstay.AsyncClient(self.agent.name, runtime_dir=self.agent.runtime_dir, bot_id="parity")
                jackstay.attach(exchange, client)
            try:
                _markets(exchange, markets)
                return await getattr(exchange, verb)(*args)
            finally:
                await exchange.close()
                for each in (client, session):
                    if each is not None:
                        await each.close()

        return asyncio.run(run())


def _markets(exchange: Any, markets: Any) -> None:
    if markets is not None:
        exchange.set_markets(markets)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    made = Ways(tmp_path_factory.mktemp("v"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def markets(ways: Ways) -> dict[str, Any]:
    ways.answer = b""
    return {kind: list(ways.sync(kind, "load_markets", (), through=False).values()) for kind in KINDS}


def told(call: Any, *args: Any, **options: Any) -> Any:
    """The result's telling parts, or the exception's type."""
    try:
        result = call(*args, **options)
    except Exception as error:
        return type(error)
    if isinstance(result, dict) and "info" in result:
        return {key: value for key, value in result.items() if key != "info"}
    return result


ORDER = ("BTC/USDT", "limit", "buy", 0.001, 20000)


@pytest.mark.parametrize("flavour", ["sync", "asyncio"])
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("row", list(ROWS))
def test_an_answer_to_an_order_means_the_same_both_ways(
    ways: Ways, markets: dict[str, Any], row: str, kind: str, flavour: str
) -> None:
    """The same exception or result; where directly nothing is raised for an answer that proves nothing, a time-out."""
    ways.answer = ROWS[row]
    order = ("BTC/USDT:USDT", *ORDER[1:]) if kind == "usdm" else ORDER
    call = getattr(ways, flavour)
    ways.forget()
    directly = told(call, kind, "create_order", order, through=False, markets=markets[kind])
    through = told(call, kind, "create_order", order, through=True, markets=markets[kind])
    if row in INTENDED:
        assert directly is TypeError or directly["id"] is None
        assert through is ccxt.RequestTimeout
    elif row == "no answer: reset":
        # the bytes had left: nobody knows, and ccxt's own words for it (try again) would make a second order
        assert (directly, through) == (
            {"sync": ccxt.NetworkError}.get(flavour, ccxt.ExchangeNotAvailable),
            ccxt.RequestTimeout,
        )
    else:
        assert isinstance(directly, type), "every other row is an exception"
        assert through is directly


VERBS: list[tuple[str, tuple[Any, ...]]] = [
    ("load_markets", ()),
    ("fetch_time", ()),
    (
        "create_order",
        (*ORDER, {"newClientOrderId": "c1"}),
    ),  # the id that the answer names: another order's proves nothing
    ("fetch_order", ("28", "BTC/USDT")),
    ("cancel_order", ("28", "BTC/USDT")),
    ("fetch_open_orders", ("BTC/USDT",)),
    ("fetch_balance", ()),
    ("fetch_my_trades", ("BTC/USDT",)),
    ("fetch_order_book", ("BTC/USDT",)),
]
VARYING = re.compile(rb"(timestamp|signature|newClientOrderId)=[^&]*")


@pytest.mark.parametrize("flavour", ["sync", "asyncio"])
@pytest.mark.parametrize(("verb", "args"), VERBS, ids=[verb for verb, _ in VERBS])
def test_a_verb_gives_the_same_result_and_sends_the_same_request(
    ways: Ways, markets: dict[str, Any], verb: str, args: tuple[Any, ...], flavour: str
) -> None:
    """Every field of the result; every request's method, target, headers and body but for times and signatures."""
    ways.answer = b""
    known = None if verb == "load_markets" else markets["spot"]
    results, requests_seen = [], []
    for through in (False, True):
        del ways.venue.seen[:]
        results.append(getattr(ways, flavour)("spot", verb, args, through=through, markets=known))
        requests_seen.append([comparable(each) for each in ways.venue.seen])
    assert results[0] == results[1]
    assert results[0]
    assert requests_seen[0] == requests_seen[1]


def comparable(seen: Seen) -> tuple[Any, ...]:
    """Without what differs from call to call, and without the headers that belong to one hop."""
    hop = {"connection", "content-length", "host"}
    headers = sorted((name, value) for name, value in seen.headers if name.lower() not in hop)
    return seen.method, VARYING.sub(b"", seen.target.encode()), headers, VARYING.sub(b"", seen.body)


@pytest.mark.parametrize("flavour", ["sync", "asyncio"])
@pytest.mark.parametrize(
    "row",
    [
        "200 HTML maintenance",
        "200 HTML, lower-case content-type",
        "302 redirect",
        "200 empty",
        "200 truncated JSON",
        "503 HTML",
    ],
)
@pytest.mark.parametrize(
    ("verb", "args"), [("fetch_order_book", ("BTC/USDT",)), ("fetch_balance", ())], ids=["book", "balance"]
)
def test_an_odd_answer_to_a_question_means_the_same_both_ways(
    ways: Ways, markets: dict[str, Any], verb: str, args: tuple[Any, ...], row: str, flavour: str
) -> None:
    """Questions change nothing, so here nothing is intended to differ: redirects are followed as directly."""
    ways.answer = ROWS[row]
    call = getattr(ways, flavour)
    ways.forget()
    directly = told(call, "spot", verb, args, through=False, markets=markets["spot"])
    through = told(call, "spot", verb, args, through=True, markets=markets["spot"])
    assert through == directly
