"""Each fault of streams and order events as a plain client sees it, and the trace it leaves in the ledgers."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess
from kraken_client import KrakenPlain, KrakenWs
from raw_websocket import PING, RawWebSocket
from sandbox_client import Plain
from v5_client import OkxClient, okx_order

TRADE = "btcusdt@trade"


@contextmanager
def listening(sandbox: SandboxProcess, path: str = f"/ws/{TRADE}") -> Iterator[RawWebSocket]:
    """A connection to a stream, known to be subscribed."""
    with RawWebSocket(sandbox.port, path) as line:
        line.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        assert line.message()["id"] == 1
        yield line


@contextmanager
def reports(sandbox: SandboxProcess) -> Iterator[RawWebSocket]:
    """The user data stream of the account."""
    key = Plain(sandbox).send("POST", "/api/v3/userDataStream")[1]["listenKey"]
    with listening(sandbox, f"/ws/{key}") as line:
        yield line


def trade(sandbox: SandboxProcess, quantity: str = "0.01") -> None:
    """One trade of this size."""
    told = Plain(sandbox).call(
        "POST", "/api/v3/order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": quantity}
    )[1]
    assert len(told["fills"]) == 1


def sizes(line: RawWebSocket, count: int) -> list[str]:
    return [line.message()["q"].rstrip("0") for _ in range(count)]


def noted(sandbox: SandboxProcess, stream: str = TRADE) -> list[tuple[str, int]]:
    """(fault, how many heard it) of a stream's messages, as the stream ledger has them."""
    return [(row["fault"], len(row["connections"])) for row in sandbox.admin.stream_ledger(stream=stream)]


def test_every_message_is_written_down(sandbox: SandboxProcess) -> None:
    """The stream ledger has what was sent, when, on which stream and to which connections."""
    with listening(sandbox) as one, listening(sandbox) as two:
        trade(sandbox, "0.01")
        trade(sandbox, "0.02")
        assert sizes(one, 2) == sizes(two, 2) == ["0.01", "0.02"]
    first, second = sandbox.admin.stream_ledger(stream=TRADE)
    assert (first["message"]["q"], second["message"]["q"]) == ("0.01000000", "0.02000000")
    assert (len(first["connections"]), first["fault"], second["seq"] - first["seq"]) == (2, "", 1)
    assert abs(first["wall"] - time.time()) < 60
    (only,) = sandbox.admin.stream_ledger(stream=TRADE, since=first["seq"], connection=first["connections"][0])
    assert only["seq"] == second["seq"]


def test_drop(sandbox: SandboxProcess) -> None:
    """A dropped message never comes, the next one does, and the ledger has what was dropped."""
    sandbox.admin.fault("stream_drop", stream=TRADE, count=1)
    with listening(sandbox) as line:
        trade(sandbox, "0.01")
        trade(sandbox, "0.02")
        assert sizes(line, 1) == ["0.02"]
    assert noted(sandbox) == [("stream_drop", 0), ("", 1)]


def test_gap(sandbox: SandboxProcess) -> None:
    """A dropped depth message is a gap in U/u on spot, and in pu on futures."""
    plain = Plain(sandbox)
    for path, order, gap in (
        ("/ws/btcusdt@depth@100ms", "/api/v3/order", lambda told, last: told["U"] > last["u"] + 1),
        ("/fstream/ws/btcusdt@depth@100ms", "/fapi/v1/order", lambda told, last: told["pu"] != last["u"]),
    ):
        with listening(sandbox, path) as line:
            seen = []
            for number in range(3):
                if number == 1:
                    fault = sandbox.admin.fault("stream_drop", stream="btcusdt@depth", count=1)
                asked = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
                         "quantity": "0.01", "price": str(40_000 + number)}  # fmt: skip
                assert plain.call("POST", order, asked)[0] == 200
                if number == 1:
                    while any(each["id"] == fault for each in sandbox.admin.faults()):
                        pass
                else:
                    seen.append(line.message())
            assert gap(seen[1], seen[0])


def test_duplicate_and_reorder(sandbox: SandboxProcess) -> None:
    """One message twice; two messages in the wrong order."""
    sandbox.admin.fault("stream_duplicate", stream=TRADE, count=1)
    with listening(sandbox) as line:
        trade(sandbox, "0.01")
        assert sizes(line, 2) == ["0.01", "0.01"]
        sandbox.admin.fault("stream_reorder", stream=TRADE, count=1)
        trade(sandbox, "0.02")
        trade(sandbox, "0.03")
        assert sizes(line, 2) == ["0.03", "0.02"]
    assert noted(sandbox) == [("", 1), ("stream_duplicate", 1), ("", 1), ("stream_reorder", 1)]


def test_delay(sandbox: SandboxProcess) -> None:
    """A delayed message comes later than one sent after it."""
    sandbox.admin.fault("stream_delay", stream=TRADE, count=1, ms=300)
    with listening(sandbox) as line:
        began = time.monotonic()
        trade(sandbox, "0.01")
        trade(sandbox, "0.02")
        assert sizes(line, 2) == ["0.02", "0.01"]
        assert time.monotonic() - began >= 0.295  # a loop's clock counts whole milliseconds
    assert noted(sandbox) == [("", 1), ("stream_delay", 1)]


def test_one_connection_alone(sandbox: SandboxProcess) -> None:
    """A fault for one connection leaves the others alone."""
    with listening(sandbox) as struck, listening(sandbox) as other:
        number = min(each["connection"] for each in sandbox.admin.request("GET", "/admin/status")["streams"])
        sandbox.admin.fault("stream_drop", stream=TRADE, connection=number, count=1)
        trade(sandbox, "0.01")
        trade(sandbox, "0.02")
        assert (sizes(struck, 1), sizes(other, 2)) == (["0.02"], ["0.01", "0.02"])


def numbers(sandbox: SandboxProcess) -> list[int]:
    return sorted(each["connection"] for each in sandbox.admin.request("GET", "/admin/status")["streams"])


def test_reorder_for_one_connection_alone(sandbox: SandboxProcess) -> None:
    """The struck connection hears two messages in the wrong order, each of the others every message once, in order."""
    with listening(sandbox) as struck, listening(sandbox) as other:
        sandbox.admin.fault("stream_reorder", stream=TRADE, connection=numbers(sandbox)[0], count=1)
        for quantity in ("0.01", "0.02", "0.03"):
            trade(sandbox, quantity)
        assert sizes(struck, 3) == ["0.02", "0.01", "0.03"]
        assert sizes(other, 3) == ["0.01", "0.02", "0.03"]
    assert noted(sandbox) == [("", 1), ("", 2), ("stream_reorder", 1), ("", 2)]


def test_two_connections_out_of_order_at_once(sandbox: SandboxProcess) -> None:
    """What is held back for one connection is told after its next message, whatever another fault does elsewhere."""
    with listening(sandbox) as one, listening(sandbox) as two:
        first, second = numbers(sandbox)
        for each in (first, second):
            sandbox.admin.fault("stream_reorder", stream=TRADE, connection=each, count=1)
        for quantity in ("0.01", "0.02", "0.03"):
            trade(sandbox, quantity)
        assert sizes(one, 3) == ["0.02", "0.01", "0.03"]
        assert sizes(two, 3) == ["0.01", "0.03", "0.02"]


@pytest.mark.parametrize("kind", ["stream_reorder", "stream_delay"])
def test_messages_kept_back_do_not_outlive_a_reset(sandbox: SandboxProcess, kind: str) -> None:
    """A reset of the venue forgets what was still to be told."""
    with listening(sandbox) as line:
        sandbox.admin.fault(kind, stream=TRADE, count=1, **({"ms": 200} if kind == "stream_delay" else {}))
        trade(sandbox, "0.01")
        sandbox.admin.reset()
        trade(sandbox, "0.02")
        # heard long after anything that was due before
        sandbox.admin.fault("stream_delay", stream=TRADE, count=1, ms=500)
        trade(sandbox, "0.03")
        assert sizes(line, 2) == ["0.02", "0.03"]


def test_late_fills_do_not_outlive_a_reset(sandbox: SandboxProcess) -> None:
    """A fill of an order that a reset has forgotten is told to nobody."""
    plain = Plain(sandbox)
    sandbox.admin.fault("late_fills", count=1, ms=200)
    sandbox.admin.fill(plain.place("before")["orderId"])
    sandbox.admin.reset()
    with reports(sandbox) as line:
        sandbox.admin.fault("late_fills", count=1, ms=500)
        sandbox.admin.fill(plain.place("after")["orderId"])
        told: list[tuple[str, str]] = []
        while ("after", "TRADE") not in told:
            message = line.message()
            told += [(message["c"], message["x"])] if message["e"] == "executionReport" else []
    assert told == [("after", "NEW"), ("after", "TRADE")]


def test_one_symbol_alone(sandbox: SandboxProcess) -> None:
    """A fault for one symbol leaves the others alone, however the venue spells it."""
    sandbox.admin.fault("stream_silence", symbol="BTC/USDT")
    with listening(sandbox, "/stream?streams=btcusdt@trade/ethusdt@trade") as line:
        trade(sandbox)
        Plain(sandbox).call(
            "POST", "/api/v3/order", {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
        )
        assert line.message()["stream"] == "ethusdt@trade"


def test_silence_with_pongs(sandbox: SandboxProcess) -> None:
    """Nothing is said although pings are answered, and the ledger has what was kept back."""
    sandbox.admin.fault("stream_silence")
    with listening(sandbox) as line:
        trade(sandbox)
        line.send(b"x", PING)
        assert line.frame() == (10, b"x")
    assert noted(sandbox) == [("stream_silence", 0)]


def test_acknowledged_and_mute(sandbox: SandboxProcess) -> None:
    """A subscription is acknowledged and never delivers; the same one on a fresh connection does."""
    sandbox.admin.fault("stream_mute", stream=TRADE, count=1)
    with listening(sandbox, "/ws") as mute, listening(sandbox, "/ws") as fresh:
        for line in (mute, fresh):
            line.send({"method": "SUBSCRIBE", "params": [TRADE], "id": 7})
            assert line.message() == {"result": None, "id": 7}
        mute.send({"method": "LIST_SUBSCRIPTIONS", "id": 8})
        assert mute.message()["result"] == [TRADE]
        trade(sandbox)
        assert sizes(fresh, 1) == ["0.01"]
        mute.send(b"x", PING)
        assert mute.frame() == (10, b"x")
    assert noted(sandbox) == [("stream_mute", 0), ("", 1)]


def test_kraken_acknowledges_and_is_mute(sandbox: SandboxProcess) -> None:
    """On Kraken too: a subscription is acknowledged, and not even its snapshot comes."""
    sandbox.admin.fault("stream_mute", stream="ticker:", count=1)
    sandbox.admin.fault("stream_drop", stream="ticker:", count=1)
    with KrakenWs(sandbox) as line:
        assert line.ask("subscribe", channel="ticker", symbol=["BTC/USD"])["success"] is True
        sandbox.admin.price("BTCUSD", "51000")
        assert line.next(channel="heartbeat")
    assert all(fault for fault, _ in noted(sandbox, "ticker:"))


def test_half_open_streams(sandbox: SandboxProcess) -> None:
    """The connection stands and carries nothing, not even pongs; a reset of the venue ends it."""
    with listening(sandbox) as line:
        assert sandbox.admin.strike("stream_half_open") == 1
        trade(sandbox)
        line.send(b"x", PING)
        line.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            line.frame()
        assert [row["path"] for row in sandbox.admin.ledger(method="FAULT")] == ["stream_half_open"]
        sandbox.admin.reset()
        line.socket.settimeout(5)
        with pytest.raises(ConnectionError):
            line.frame()


def test_stream_reset_leaves_a_trace(sandbox: SandboxProcess) -> None:
    """Every stream connection is reset, or the one that is named."""
    with listening(sandbox) as one, listening(sandbox) as two:
        numbers = sorted(each["connection"] for each in sandbox.admin.request("GET", "/admin/status")["streams"])
        assert sandbox.admin.strike("stream_reset", connection=numbers[0]) == 1
        with pytest.raises(ConnectionError):
            one.frame()
        trade(sandbox)
        assert sizes(two, 1) == ["0.01"]
    assert [row["path"] for row in sandbox.admin.ledger(method="FAULT")] == ["stream_reset"]


def test_late_fills(sandbox: SandboxProcess) -> None:
    """An order's cancel is heard before the fill that came first; the ledger names the order whose fill was late."""
    plain = Plain(sandbox)
    sandbox.admin.fault("late_fills", count=1, ms=300)
    with reports(sandbox) as line:
        number = plain.place("late")["orderId"]
        sandbox.admin.fill(number, "0.004")
        plain.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": number})
        told: list[str] = []
        while len(told) < 3:
            message = line.message()
            told += [message["x"]] if message["e"] == "executionReport" else []
    assert told == ["NEW", "CANCELED", "TRADE"]
    (row,) = sandbox.admin.ledger(method="FAULT")
    assert (row["path"], row["client_order_id"]) == ("late_fills", "late")


def test_missing_end(sandbox: SandboxProcess) -> None:
    """A filled order's last event never comes, on Binance's and Kraken's face alike; queries know better."""
    sandbox.admin.fault("missing_end")
    plain = Plain(sandbox)
    with reports(sandbox) as line:
        number = plain.place("filled")["orderId"]
        sandbox.admin.fill(number, "0.004")
        sandbox.admin.fill(number)
        plain.place("next")
        told = []
        while "next" not in told:
            message = line.message()
            told += [message["c"] + message["X"]] if message["e"] == "executionReport" else []
            told = told[:-1] + ["next"] if told and told[-1] == "nextNEW" else told
    assert told == ["filledNEW", "filledPARTIALLY_FILLED", "next"]
    asked = {"symbol": "BTCUSDT", "orderId": number}
    assert plain.call("GET", "/api/v3/order", asked)[1]["status"] == "FILLED"
    kraken = KrakenPlain(sandbox)
    with KrakenWs(sandbox) as executions:
        executions.ask("subscribe", channel="executions", token=kraken.token(), snap_orders=False)
        kraken.call("CancelOrder", {"txid": kraken.place("a")})
        kraken.place("b")
        while True:
            (report, *_) = executions.next(channel="executions", type="update")["data"]
            assert report["exec_type"] != "canceled"
            if report.get("cl_ord_id") == "b":
                break
    struck = [(row["path"], row["client_order_id"]) for row in sandbox.admin.ledger(method="FAULT")]
    assert struck == [("missing_end", "filled"), ("missing_end", "a")]


def test_switches_fire(sandbox: SandboxProcess) -> None:
    """Dead-man switches fire although they were renewed: Binance's futures, OKX's and Kraken's."""
    plain, okx, kraken = Plain(sandbox), OkxClient(sandbox), KrakenPlain(sandbox)
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01",
             "price": "40000"}  # fmt: skip
    plain.call("POST", "/fapi/v1/order", order)
    plain.call("POST", "/fapi/v1/countdownCancelAll", {"symbol": "BTCUSDT", "countdownTime": 120_000})
    okx.call("POST", "trade/order", okx_order("x"))
    okx.call("POST", "trade/cancel-all-after", {"timeOut": "60"})
    kraken.place("y")
    kraken.call("CancelAllOrdersAfter", {"timeout": "60"})
    assert sandbox.admin.strike("switches_fire") == 3
    assert plain.call("GET", "/fapi/v1/openOrders")[1] == []
    assert okx.call("GET", "trade/orders-pending")[1]["data"] == []
    assert kraken.call("OpenOrders")[1]["open"] == {}
    assert [row["path"] for row in sandbox.admin.ledger(method="FAULT")] == ["switches_fire"]


def test_lines_without_end(sandbox: SandboxProcess) -> None:
    """The HTTP stream is one chunked response: a heartbeat, then each trade a line, under the same faults."""
    sandbox.admin.fault("stream_drop", stream=TRADE, count=1)
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=5)
    connection.request("GET", f"/stream/lines?streams={TRADE}")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Transfer-Encoding")) == (200, "chunked")
    assert line_of(answer)["type"] == "heartbeat"
    trade(sandbox, "0.01")
    trade(sandbox, "0.02")
    told = line_of(answer)
    assert (told["stream"], told["data"]["q"]) == (TRADE, "0.02000000")
    sandbox.admin.strike("server_shutdown", after_s=0.0)
    assert answer.read() == b""  # the last chunk, and the end
    connection.close()
    assert sandbox.admin.ledger(path="/stream/lines")[0]["status"] == 200
    assert noted(sandbox) == [("stream_drop", 0), ("", 1)]


def line_of(answer: http.client.HTTPResponse) -> dict[str, Any]:
    return dict(json.loads(answer.readline()))


def test_streams_outlive_a_reset_of_the_venue(sandbox: SandboxProcess) -> None:
    """Connections from before and after a reset are all known: both are reset by one fault."""
    with listening(sandbox) as before:
        sandbox.admin.reset()
        with listening(sandbox) as after:
            assert sandbox.admin.strike("stream_reset") == 2
            for line in (before, after):
                with pytest.raises(ConnectionError):
                    line.frame()
