"""Each shipped profile from end to end: an unmodified ccxt bot through the agent, against its venue's sandbox face."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import ccxt
import pytest

import jackstay
from e2e.http_clients import routed_all
from e2e_bot import KEY, SECRET, client_for, release
from harness import AgentProcess
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Outcome
from kraken_client import SECRET as KRAKEN_SECRET
from venue_shapes import AGENTS_KEY

#: Where the agent's key of each profile is, and the venue's own allowances, which quick tests would use up.
PROFILES = {
    "binance": ("SANDBOX", "orders_10s = 0, weight_1m = 0"),
    "binance-usdm": ("SANDBOX", "orders_10s = 0, weight_1m = 0"),
    "bybit": ("SANDBOX", "orders_1s = 0, ip_5s = 0"),
    "okx": ("SANDBOX", "orders_2s = 0"),
    "kraken": ("KRAKEN", "calls = 0"),
}
SPOT_ONLY = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
LOGIN = {"apiKey": KEY, "secret": SECRET, "enableRateLimit": False, "timeout": 5000}
BOTS: dict[str, tuple[str, dict[str, Any]]] = {
    "binance": ("BTC/USDT", {"options": SPOT_ONLY}),
    "binanceusdm": ("BTC/USDT:USDT", {"options": {"fetchCurrencies": False, "fetchMargins": False}}),
    "bybit": ("BTC/USDT", {}),
    "okx": ("BTC/USDT", {"password": "sandbox-passphrase"}),
    "kraken": ("BTC/USD", {"secret": KRAKEN_SECRET}),
}
#: The sandbox shows an order at once, so an agent may ask after it with little patience.
QUICK = """
name = "{name}"
extends = "{name}"
[families.plain]
visibility_delay_s = 0.2
not_founds = 2
spacing_s = 0.1
"""
QUICK_ALGO = QUICK[QUICK.index("[families") :].replace("plain", "algo")


def config_of(url: str, folder: Path) -> str:
    """Every profile with a key of the agent's own (on Kraken another one: nonces rise per key)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROFILES:
        text = QUICK.format(name=name) + (QUICK_ALGO if name in ("binance-usdm", "okx") else "")
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    keys = "".join(
        f'[venues.{name}]\nlive = false\nlimits = {{ {limits} }}\n[venues.{name}.keys]\nenv = "{env}"\n'
        for name, (env, limits) in PROFILES.items()
    )
    return f'[agent]\nprofiles_dir = "{folder}"\n' + routed_all(url, keys)


@pytest.fixture(scope="module")
def venue() -> Iterator[SandboxProcess]:
    with SandboxProcess(quiet=True, extra_args=AGENTS_KEY) as running:
        yield running


@pytest.fixture(scope="module")
def agent(venue: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    with AgentProcess(config_of(venue.url, tmp_path_factory.mktemp("p") / "profiles")) as running:
        yield running


@pytest.fixture(autouse=True)
def _clean(venue: SandboxProcess, agent: AgentProcess) -> None:
    venue.admin.reset()
    release(agent)


@pytest.fixture
def client(agent: AgentProcess, request: pytest.FixtureRequest) -> Iterator[jackstay.Client]:
    with client_for(agent, bot_id=f"venues-{abs(hash(request.node.name))}") as made:
        yield made


def bot(name: str, client: jackstay.Client) -> tuple[Any, str]:
    """An attached exchange object with its markets loaded, and the symbol it trades."""
    symbol, settings = BOTS[name]
    exchange = jackstay.attach(getattr(ccxt, name)(LOGIN | settings), client)
    exchange.load_markets()
    return exchange, symbol


def orders_sent(venue: SandboxProcess) -> list[dict[str, Any]]:
    return [row for row in venue.admin.ledger() if row["lane"] == "trade"]


def settled(agent: AgentProcess, seconds: float = 15.0) -> None:
    """Until nothing is open in the journal."""
    until = time.monotonic() + seconds
    while any(agent.status()["queue"]["open"].values()):
        assert time.monotonic() < until, agent.status()["queue"]
        time.sleep(0.02)


def placed_or_unknown(exchange: Any, *order: Any) -> str | None:
    """The id of the order the bot was given; None when it was told that nobody knows. Evidence from elsewhere, such as
    a list the agent had asked for anyway, settles an order without an answer that could be passed on."""
    try:
        return str(exchange.create_order(*order)["id"])
    except ccxt.NetworkError:
        return None


@pytest.mark.parametrize("name", BOTS)
def test_an_order_lives_and_dies(
    venue: SandboxProcess, agent: AgentProcess, client: jackstay.Client, name: str
) -> None:
    """Placed, found, listed, cancelled; another one is filled; each was sent once, and the journal is closed."""
    exchange, symbol = bot(name, client)
    placed = exchange.create_order(symbol, "limit", "buy", 0.01, 40000)
    assert [order["id"] for order in exchange.fetch_open_orders(symbol)] == [placed["id"]]
    acknowledged = {"acknowledged": True} if name == "bybit" else {}
    assert exchange.fetch_order(placed["id"], symbol, acknowledged)["status"] == "open"
    exchange.cancel_order(placed["id"], symbol)
    assert exchange.fetch_open_orders(symbol) == []
    with pytest.raises(ccxt.OrderNotFound):
        exchange.cancel_order(placed["id"], symbol)
    # bybit's spot market orders are bought by cost unless they are limits that meet the book
    filled = exchange.create_order(symbol, "limit", "buy", 0.01, 51000)
    (trade,) = exchange.fetch_my_trades(symbol)
    assert (trade["order"], trade["amount"]) == (filled["id"], 0.01)
    with pytest.raises(ccxt.InsufficientFunds):
        exchange.create_order(symbol, "limit", "buy", 100, 40000)
    assert len(orders_sent(venue)) == 3
    assert not any(venue.admin.checks().values())
    settled(agent)


@pytest.mark.parametrize("name", BOTS)
def test_a_lost_reply_is_settled_by_the_venue(
    venue: SandboxProcess, agent: AgentProcess, client: jackstay.Client, name: str
) -> None:
    """The order was executed and its answer lost: the agent asks, the bot is given the true order, or hears that nobody
    knows yet; it was sent once, and the journal says what became of it."""
    exchange, symbol = bot(name, client)
    named = {"clientOrderId": "lost-1"} if name in ("bybit", "kraken") else {}
    route = {"binance": "POST /api/v3/order", "binanceusdm": "POST /fapi/v1/order", "bybit": "POST /v5/order/create",
             "okx": "POST /api/v5/trade/batch-orders", "kraken": "POST /0/private/AddOrder"}[name]  # fmt: skip
    venue.admin.fault("reset_after", route=route, count=1)
    given = placed_or_unknown(exchange, symbol, "limit", "buy", 0.01, 40000, named)
    settled(agent)
    (there,) = exchange.fetch_open_orders(symbol)
    assert given in (there["id"], None)
    assert [(row["status"], row["executed"]) for row in orders_sent(venue)] == [("reset", True)]
    assert not any(venue.admin.checks().values())


def test_usdm_stops_are_of_the_algo_family(venue: SandboxProcess, agent: AgentProcess, client: jackstay.Client) -> None:
    """A stop goes to the algo path, is found, listed, cancelled there; one whose reply is lost is not called absent."""
    exchange, symbol = bot("binanceusdm", client)
    exchange.create_order(symbol, "market", "buy", 0.02)
    of_stops = {"trigger": True}
    stop = exchange.create_order(symbol, "market", "sell", 0.01, None, {"stopLossPrice": 45000, "reduceOnly": True})
    assert exchange.fetch_open_orders(symbol) == []
    assert [each["id"] for each in exchange.fetch_open_orders(symbol, params=of_stops)] == [stop["id"]]
    exchange.cancel_order(stop["id"], symbol, of_stops)
    venue.admin.fault("reset_after", route="POST /fapi/v1/algoOrder", count=1)
    of_loss = {"stopLossPrice": 44000, "reduceOnly": True}
    given = placed_or_unknown(exchange, symbol, "market", "sell", 0.01, None, of_loss)
    settled(agent)
    (there,) = exchange.fetch_open_orders(symbol, params=of_stops)
    assert given in (there["id"], None)
    assert [row["path"] for row in orders_sent(venue)] == ["/fapi/v1/order", *["/fapi/v1/algoOrder"] * 2]
    assert venue.admin.checks()["sent_twice"] == []


def test_okx_batches_have_an_intent_per_order(
    venue: SandboxProcess, agent: AgentProcess, client: jackstay.Client
) -> None:
    """Three orders in one request: one of them is refused, two stand, each has its own outcome and its own row."""
    exchange, symbol = bot("okx", client)
    orders = [
        {"symbol": symbol, "type": "limit", "side": "buy", "amount": amount, "price": 40_000 + n}
        for n, amount in enumerate((0.01, 100, 0.02))
    ]
    told = exchange.create_orders(orders)
    assert [bool(each["id"]) for each in told] == [True, False, True]
    assert sorted(each["amount"] for each in exchange.fetch_open_orders(symbol)) == [0.01, 0.02]
    assert [row["executed"] for row in orders_sent(venue)] == [True, False, True]
    assert len({row["client_order_id"] for row in orders_sent(venue)}) == 3
    settled(agent)
    venue.admin.fault("reset_after", route="POST /api/v5/trade/batch-orders", count=1)
    # a batch has no answer of its own that the agent could give: the bot hears that it does not know, news come later
    with pytest.raises(ccxt.NetworkError):
        exchange.create_orders([each | {"price": each["price"] + 500} for each in orders[::2]])
    settled(agent)
    assert len(exchange.fetch_open_orders(symbol)) == 4
    assert venue.admin.checks()["sent_twice"] == []


@pytest.mark.parametrize("name", ["bybit", "kraken"])
def test_every_order_of_a_batch_has_a_name(
    venue: SandboxProcess, agent: AgentProcess, client: jackstay.Client, name: str
) -> None:
    """Where ccxt makes no client order ids each order of a batch gets one too, but for the one that the bot named; a
    batch whose answer is lost is settled by them."""
    exchange, symbol = bot(name, client)
    orders = [{"symbol": symbol, "type": "limit", "side": "buy", "amount": 0.01, "price": 40_000 + n} for n in (0, 1)]
    mine: list[dict[str, Any]] = [orders[0], orders[1] | {"params": {"clientOrderId": "mine"}}]
    told = exchange.create_orders(mine)
    assert all(each["id"] for each in told)
    assert "params" not in mine[0]
    made, given = (row["client_order_id"] for row in orders_sent(venue))
    assert (made[:2], len(made), given) == ("js", 18, "mine")
    route = {"bybit": "POST /v5/order/create-batch", "kraken": "POST /0/private/AddOrderBatch"}[name]
    venue.admin.fault("reset_after", route=route, count=1)
    with pytest.raises(ccxt.NetworkError):
        exchange.create_orders([each | {"price": each["price"] + 500} for each in orders])
    settled(agent)
    assert len(exchange.fetch_open_orders(symbol)) == 4
    assert len({row["client_order_id"] for row in orders_sent(venue)}) == 4
    assert not any(venue.admin.checks().values())


QUEUED = 50


def test_krakens_nonces_rise_however_requests_overtake(
    venue: SandboxProcess, agent: AgentProcess, client: jackstay.Client
) -> None:
    """Fifty orders wait in the queue and a cancel overtakes them, all signed by the agent: no nonce is invalid."""
    form = [("Content-Type", "application/x-www-form-urlencoded")]

    def ask(path: str, **params: str) -> dict[str, Any]:
        return {
            "method": "POST",
            "url": f"https://api.kraken.com/0/private/{path}",
            "headers": form,
            "body": urlencode(params).encode(),
            "sign": True,
        }

    def order(number: int) -> dict[str, str]:
        return {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.001",
                "price": str(30_000 + number), "cl_ord_id": f"queued-{number:02d}"}  # fmt: skip

    first = client.request(**ask("AddOrder", **order(99)), deadline_s=5)
    txid = first.json()["result"]["txid"][0]
    # the first answers crawl, so that the queue stays full; the venue has looked at their nonces on receipt
    venue.admin.fault("drip", route="POST /0/private/AddOrder", delay_ms=1, count=6)
    posted = [client.post(**ask("AddOrder", **order(n)), ttl_s=60) for n in range(QUEUED)]
    cancelled = client.request(**ask("CancelOrder", txid=txid), deadline_s=5)
    assert cancelled.json() == {"error": [], "result": {"count": 1}}
    told = [client.outcome(each, 30) for each in posted]
    assert [each.outcome for each in told] == [Outcome.OK] * QUEUED
    rows = [row for row in venue.admin.ledger() if row["path"].startswith("/0/private/")]
    assert [(row["path"], row["connection"]) for row in rows if "refused" in row["notes"]] == []
    overtaken = [row["path"] for row in rows].index("/0/private/CancelOrder")
    assert overtaken < QUEUED, "the cancel waited for the queue"
    names = [row["client_order_id"] for row in rows if row["path"].endswith("AddOrder")]
    assert names == ["queued-99", *(f"queued-{n:02d}" for n in range(QUEUED))]
    settled(agent)


def test_krakens_overtaken_requests_of_a_bots_own_key_are_dropped(
    venue: SandboxProcess, agent: AgentProcess, client: jackstay.Client
) -> None:
    """The bot signed fifty orders that wait, and a cancel that leaves before them with a later nonce: what it overtook
    is never sent, and reported as dropped, since the venue would take it for a replay."""
    kraken = ccxt.kraken({"apiKey": KEY, "secret": KRAKEN_SECRET})

    def signed(path: str, **params: str) -> dict[str, Any]:
        made = kraken.sign(path, ["private"], "POST", params)
        return {"method": "POST", "url": made["url"], "headers": made["headers"], "body": made["body"]}

    def order(number: int) -> dict[str, str]:
        return {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.001",
                "price": str(30_000 + number), "cl_ord_id": f"own-{number:02d}"}  # fmt: skip

    first = client.request(**signed("AddOrder", **order(99)), deadline_s=5)
    txid = first.json()["result"]["txid"][0]
    venue.admin.fault("drip", route="POST /0/private/AddOrder", delay_ms=1, count=6)  # so that the queue stays full
    posted = [client.post(**signed("AddOrder", **order(n)), ttl_s=60) for n in range(QUEUED)]
    cancelled = client.request(**signed("CancelOrder", txid=txid), deadline_s=5)
    assert cancelled.json() == {"error": [], "result": {"count": 1}}
    told = [client.outcome(each, 30) for each in posted]
    rows = [row for row in venue.admin.ledger() if row["path"].startswith("/0/private/")]
    assert not any("refused" in row["notes"] for row in rows), "a nonce was invalid"
    sent = {row["client_order_id"] for row in rows if row["path"].endswith("AddOrder")}
    expected = {f"own-{n:02d}": Outcome.OK if f"own-{n:02d}" in sent else Outcome.FAILED for n in range(QUEUED)}
    assert [each.outcome for each in told] == list(expected.values())
    dropped = [each for each in told if each.outcome is Outcome.FAILED]
    assert len(dropped) > QUEUED / 2, "the cancel overtook nothing"
    assert {(each.cause, each.detail.partition(": ")[2][:10]) for each in dropped} == {("overtaken", "never sent")}
    assert [row["path"] for row in rows][-1] == "/0/private/CancelOrder", "something left after it was overtaken"
    story = ask(agent.runtime_dir / agent.name / "control.sock", "why", {"id": dropped[-1].id})["intents"][0]
    assert story["state"] == "dropped"
    settled(agent)
    # the bot goes on: what it signs from now on is later than the cancel
    again = client.outcome(client.post(**signed("AddOrder", **order(98)), ttl_s=60), 30)
    assert again.outcome is Outcome.OK
