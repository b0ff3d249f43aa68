"""The shipped kraken profile, each of its operations asked of the Kraken face, from placing to the switch."""

from __future__ import annotations

import http.client
import json
import time
from decimal import Decimal
from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.venues.answers import Answer, Denied, Done, NotFound, NotOpen, OrderStatus, ServerTime, VenueStatus
from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import FORM, OutgoingRequest
from jackstay_agent.venues.profile import shipped_profiles
from kraken_client import KEY, SECRET, next_nonce

PROFILES = shipped_profiles()
pytestmark = pytest.mark.skipif("kraken" not in PROFILES, reason="no kraken profile is shipped with this version")


class Asker:
    """Sends what the operations build, and gives their reading of the answer."""

    def __init__(self, sandbox: SandboxProcess, secret: str = SECRET) -> None:
        self.operations = Operations(
            PROFILES["kraken"],
            Credentials(KEY, secret, origin="a test"),
            wall_ms=lambda: int(time.time() * 1000),
            nonce=lambda _now_ms: next_nonce(),
        )
        self._port = sandbox.port

    def send(self, request: OutgoingRequest) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            headers = {name.decode(): value.decode() for name, value in request.headers}
            connection.request(request.method, request.target, request.body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, name: str, family: str = "", **given: str | int) -> Answer:
        status, body = self.send(self.operations.request(name, family=family, **given))
        return self.operations.read(name, status, body, family=family, asked=given)

    def place(self, client_id: str, **more: str) -> str:
        order = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "30000"} | more
        body = "&".join(f"{name}={value}" for name, value in order.items()).encode()
        request = OutgoingRequest("POST", "/0/private/AddOrder", [(b"Content-Type", FORM)], body)
        named = self.operations.with_client_ids(request, [client_id])
        status, answer = self.send(self.operations.sign(named))
        assert status == 200, answer
        told = json.loads(answer)
        assert told["error"] == []
        return str(told["result"]["txid"][0])


@pytest.fixture
def kraken(sandbox: SandboxProcess) -> Asker:
    return Asker(sandbox)


def test_from_placing_to_cancelled(sandbox: SandboxProcess, kraken: Asker) -> None:
    """The bot's unsigned order with a minted id is found by that id, in the lists, cancelled, and found closed."""
    txid = kraken.place("js-1")
    found: Any = kraken.ask("query_order", "plain", client_id="js-1")
    assert (found.venue_id, found.client_id, found.status) == (txid, "js-1", OrderStatus.OPEN)
    assert (found.quantity, found.price, found.side) == (Decimal("0.01"), Decimal(30000), "buy")
    assert kraken.ask("open_orders", "plain") == [found]
    assert isinstance(kraken.ask("query_closed_order", "plain", client_id="js-1"), NotFound)
    assert isinstance(kraken.ask("cancel", "plain", client_id="js-1"), Done)
    assert isinstance(kraken.ask("query_order", "plain", client_id="js-1"), NotFound)
    closed: Any = kraken.ask("query_closed_order", "plain", client_id="js-1")
    assert (closed.venue_id, closed.status) == (txid, OrderStatus.CANCELLED)
    assert closed in kraken.ask("order_history", "plain")  # type: ignore[operator]
    gone = kraken.ask("cancel", "plain", client_id="js-1")
    assert isinstance(gone, NotOpen | NotFound)
    assert isinstance(kraken.ask("query_order", "plain", client_id="never"), NotFound)
    assert sandbox.admin.ledger(client_order_id="js-1")[0]["executed"]


def test_by_the_venues_id(kraken: Asker) -> None:
    """An order is found and cancelled by its txid too; one nobody knows is absent."""
    txid = kraken.place("js-1")
    found: Any = kraken.ask("query_order_by_venue_id", "plain", venue_id=txid)
    assert (found.client_id, found.status) == ("js-1", OrderStatus.OPEN)
    assert isinstance(kraken.ask("cancel", "plain", venue_id=txid), Done)
    assert isinstance(kraken.ask("query_order_by_venue_id", "plain", venue_id="OAAAAA-AAAAA-AAAAAA"), NotFound)


def test_fills_balances_time_and_status(kraken: Asker) -> None:
    """What was traded comes back as fills, and money as Decimal; the probes are answered."""
    txid = kraken.place("js-1", ordertype="market", price="")
    fills: Any = kraken.ask("fills_since")
    assert sum(fill.quantity for fill in fills) == Decimal("0.01")
    assert {(fill.venue_id, fill.side, fill.maker) for fill in fills} == {(txid, "buy", False)}
    balances: Any = kraken.ask("balances")
    assert {each.asset for each in balances} == {"XXBT", "XETH", "ZUSD", "USDT"}
    told: Any = kraken.ask("server_time")
    assert isinstance(told, ServerTime)
    assert abs(told.time_ms - time.time() * 1000) < 5000
    assert kraken.ask("status") == VenueStatus("online", "online")
    for probe in ("probe.orders", "probe.account", "probe.market_data"):
        assert isinstance(kraken.ask(probe), Done)


def test_cancel_all_and_the_switch(kraken: Asker) -> None:
    """Cancel all ends every order; the switch is armed and disarmed."""
    kraken.place("js-1")
    kraken.place("js-2", pair="ETHUSD", price="2000")
    assert isinstance(kraken.ask("cancel_all", "plain"), Done)
    assert kraken.ask("open_orders", "plain") == []
    for window_s in (60, 0):
        assert isinstance(kraken.ask("deadman", window_s=window_s), Done)


def test_a_wrong_secret_is_denied(sandbox: SandboxProcess) -> None:
    """Kraken's words for it are read as a denial, in an answer of status 200."""
    denied: Any = Asker(sandbox, "d3Jvbmc=").ask("balances")
    assert isinstance(denied, Denied)
    assert denied.code == "EAPI:Invalid signature"
