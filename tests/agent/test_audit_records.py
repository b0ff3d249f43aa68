"""What of a request stands in an audit line: each order of a batch, its time in force, the ids it has at both ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from ccxt_requests import exchange, operations, sent
from jackstay_agent.audit import records
from jackstay_agent.core.verdict import Verdict
from jackstay_agent.report import gathered, spans
from jackstay_agent.telling import Answered, Asked, Attempt
from jackstay_agent.venues.outgoing import OutgoingRequest
from jackstay_protocols.errors import ErrorSeverity, Outcome
from jackstay_protocols.messages import Request

FINE = Verdict(Outcome.OK, "ok", ErrorSeverity.LOW, False)
SYMBOL, SWAP = "BTC/USDT", "BTC/USDT:USDT"
BOTS = [
    ("binance", exchange("binance", "BTCUSDT"), SYMBOL, "GTC"),
    ("binance-usdm", exchange("binanceusdm", "BTCUSDT", swap=True), SWAP, "GTC"),
    ("bybit", exchange("bybit", "BTCUSDT"), SYMBOL, "IOC"),
    ("kraken", exchange("kraken", "XXBTZUSD"), SYMBOL, "IOC"),
]


def asked_of(profile: str, request: OutgoingRequest, body: bytes = b"") -> Asked:
    """A request as the hook tells it; ``body``: the venue's answer."""
    ours = operations(profile)
    upstream = SimpleNamespace(profile=ours.profile, host="host")
    path = "/" + request.target.partition("://")[2].partition("/")[2] if "://" in request.target else request.target
    bare = path.partition("?")[0]
    way: Any = SimpleNamespace(
        upstream=upstream, target=path.encode(), path=bare, route=ours.profile.route(request.method, bare)
    )
    wire = Request(request.method, f"https://host{path}", [], request.body)
    asked = Asked(wire, way, bot="b", request_id=1, arrived_at=0.0, operations=ours)
    asked.attempt = Attempt(FINE, 200, body, True, 0.0, 0.01)
    return asked


def batch(*orders: dict[str, str]) -> OutgoingRequest:
    text = quote(msgspec.json.encode(list(orders)).decode())
    return OutgoingRequest("POST", "/fapi/v1/batchOrders", [], f"timestamp=1&batchOrders={text}".encode())


def order(client_id: str, in_force: str) -> dict[str, str]:
    found = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "2"}
    return found | {"newClientOrderId": client_id, "timeInForce": in_force}


@pytest.mark.parametrize(("profile", "bot", "symbol", "in_force"), BOTS, ids=[each[0] for each in BOTS])
def test_an_orders_time_in_force_is_recorded(profile: str, bot: Any, symbol: str, in_force: str) -> None:
    """By the name the venue has for it; a market order has none."""
    request = sent(lambda: bot.create_order(symbol, "limit", "buy", 1, 25000, {"timeInForce": in_force}))
    assert records.decision(asked_of(profile, request), None)["time_in_force"].upper() == in_force
    market = sent(lambda: bot.create_order(symbol, "market", "sell", 1))
    assert records.decision(asked_of(profile, market), None).get("time_in_force") in (None, "IOC")  # bybit says it


def test_each_order_of_a_batch_is_recorded_with_what_it_says() -> None:
    """Time in force, ids; the outcome's ids are a list, and the venue's beside them."""
    body = msgspec.json.encode([{"orderId": 71, "clientOrderId": "a,1"}, {"orderId": 72, "clientOrderId": "a2"}])
    asked = asked_of("binance-usdm", batch(order("a,1", "GTC"), order("a2", "IOC")), body)
    decided = records.decision(asked, None)
    assert [(each["client_id"], each["time_in_force"]) for each in decided["orders"]] == [("a,1", "GTC"), ("a2", "IOC")]
    told = records.outcome(asked, Answered("ok", "", "low", 200, True, 1, 0.01, "", ""))
    assert told["client_id"] == ["a,1", "a2"]
    assert told["venue_id"] == ["71", "72"]
    single = asked_of("binance-usdm", batch(order("a,1", "GTC")), b"[]")
    assert records.outcome(single, Answered("ok", "", "low", 200, True, 1, 0.01, "", ""))["client_id"] == "a,1"


def test_the_report_tells_each_order_of_a_batch_its_own_story(tmp_path: Any) -> None:
    """Decision and outcome of an order are one row, by its own id."""
    from jackstay_agent.core.audit_chain import GENESIS, sealed

    asked = asked_of("binance-usdm", batch(order("a1", "GTC"), order("a2", "IOC")), b'[{"orderId":71},{"orderId":72}]')
    answered = Answered("ok", "fine", "low", 200, True, 1, 0.01, "", "")
    previous, lines = GENESIS, b""
    for seq, record in enumerate([records.decision(asked, None), records.outcome(asked, answered)], 1):
        line, previous = sealed({"seq": seq, "at_us": 1_000_000 * seq, **record}, previous, b"k" * 32)
        lines += line + b"\n"
    (tmp_path / "audit-000000000001-x.jsonl").write_bytes(lines)
    found = gathered(tmp_path, "t", 0, 10_000_000)["orders"]
    assert [(each["order"], each["venue_id"], each["story"]) for each in found] == [
        ("a1", "71", ["place admitted", "ok fine"]),
        ("a2", "72", ["place admitted", "ok fine"]),
    ]


def test_a_state_is_over_only_when_its_event_says_so() -> None:
    """Words that end alike are no ends: a gate that closed, a barrier that went up, and a pool that is up again."""

    def event(at_us: int, name: str, **fields: str) -> dict[str, Any]:
        return {"at_us": at_us, "name": name, "fields": fields}

    shown = spans(
        [
            event(0, "limit.gate_closed", venue="v"),
            event(0, "barrier.up", bot="b"),
            event(0, "pool.dial_failed", host="h"),
            event(5, "pool.up", host="h"),
            event(7, "limit.gate_opened", venue="v"),
            event(8, "breaker.open", upstream="u"),
            event(9, "breaker.closed", upstream="u"),
        ],
        10,
    )
    assert shown == {
        "h": [(0, 5, "dial_failed"), (5, 5, "up")],
        "v": [(0, 7, "gate_closed"), (7, 7, "gate_opened")],
        "u": [(8, 9, "open"), (9, 9, "closed")],
        "b": [(0, 10, "up")],
    }
