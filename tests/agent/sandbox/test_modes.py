"""Maintenance, cancel-only, post-only and trading hours, in every venue's words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jackstay_agent.sandbox import SandboxProcess, SandboxRefused
from jackstay_agent.sandbox.engine.trading import hours_of
from kraken_client import KrakenPlain, KrakenWs
from sandbox_client import Plain
from sandbox_faces import FACES, FaceClient

REFUSED = {
    "binance": ("400 -2010 Market is closed.", "400 -1014 Unsupported order combination.", "503 1 System is under"),
    "binance-usdm": ("400 -4140 Invalid symbol", "400 -1014 Unsupported order combination.", "503 1 System is under"),
    "okx": ("200 51022 ", "200 51022 ", "503 50001 "),
    "bybit": ("200 170210 ", "200 170217 Only LIMIT-MAKER", "200 10019 "),
    "kraken": ("EService:Market in cancel_only mode", "EService:Market in post_only mode", "EService:Unavailable"),
}


@pytest.fixture(params=FACES)
def face(request: pytest.FixtureRequest, sandbox: SandboxProcess) -> tuple[str, FaceClient]:
    name = str(request.param)
    return name, FACES[name](sandbox)  # type: ignore[call-arg]


def test_cancel_only(sandbox: SandboxProcess, face: tuple[str, FaceClient]) -> None:
    """No order is taken in the venue's own words, a cancel is; online again, orders are taken."""
    name, client = face
    assert client.place("before") == ""
    sandbox.admin.mode("cancel_only")
    assert client.place("during").startswith(REFUSED[name][0])
    assert client.cancel("before") == ""
    sandbox.admin.mode("online")
    assert client.place("after") == ""
    assert client.open() == ["after"]


def test_post_only(sandbox: SandboxProcess, face: tuple[str, FaceClient]) -> None:
    """Only orders that promise to rest are taken."""
    name, client = face
    sandbox.admin.mode("post_only")
    assert client.place("plain").startswith(REFUSED[name][1])
    assert client.place("maker", post_only=True) == ""
    assert client.open() == ["maker"]


def test_maintenance(sandbox: SandboxProcess, face: tuple[str, FaceClient]) -> None:
    """Neither order nor cancel is taken, the status says so, and afterwards everything is as it was."""
    name, client = face
    assert (client.place("before"), client.status()) == ("", "online")
    sandbox.admin.mode("maintenance")
    assert client.status() == "maintenance"
    assert client.place("during").startswith(REFUSED[name][2])
    assert client.cancel("before").startswith(REFUSED[name][2])
    sandbox.admin.mode("online")
    assert (client.status(), client.open()) == ("online", ["before"])
    marks = [row["path"] for row in sandbox.admin.ledger(method="FAULT")]
    assert marks == ["mode:maintenance", "mode:online"]


def test_a_mode_ends_by_itself(sandbox: SandboxProcess) -> None:
    """A mode for so many seconds is over after them."""
    face = FACES["binance"](sandbox)  # type: ignore[call-arg]
    sandbox.admin.mode("cancel_only", for_s=0.3)
    assert face.place("early") != ""
    while face.place("late") != "":
        pass
    assert face.open() == ["late"]


def test_one_symbol_alone(sandbox: SandboxProcess) -> None:
    """A symbol's own mode shows in exchangeInfo and stops that symbol only."""
    plain = Plain(sandbox)
    sandbox.admin.mode("cancel_only", market="spot", symbol="BTCUSDT")
    info = plain.public("/api/v3/exchangeInfo")["symbols"]
    assert {each["symbol"]: each["status"] for each in info} == {"BTCUSDT": "HALT", "ETHUSDT": "TRADING"}
    assert plain.place("btc")["msg"] == "Market is closed."
    assert plain.place("eth", symbol="ETHUSDT", price="2500")["status"] == "NEW"
    assert plain.call("POST", "/fapi/v1/order", {**plain_order(), "newClientOrderId": "f"})[0] == 200


def plain_order() -> dict[str, str]:
    return {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01",
            "price": "40000"}  # fmt: skip


def window(first: timedelta, last: timedelta) -> str:
    """Trading hours from and to so long after now, in UTC."""
    now = datetime.now(UTC)
    return f"{now + first:%H:%M}-{now + last:%H:%M}"


def test_trading_hours(sandbox: SandboxProcess, face: tuple[str, FaceClient]) -> None:
    """Outside a symbol's hours no order is taken and cancels are; inside them all is as usual."""
    name, client = face
    symbol = "BTCUSD" if name == "kraken" else "BTCUSDT"
    assert client.place("before") == ""
    assert not sandbox.admin.hours(symbol, window(timedelta(hours=2), timedelta(hours=4)))
    assert client.place("closed").startswith(REFUSED[name][0])
    assert client.cancel("before") == ""
    assert sandbox.admin.hours(symbol, window(timedelta(hours=-2), timedelta(hours=2)))
    assert client.place("open") == ""
    sandbox.admin.hours(symbol)


def test_closed_markets_say_so(sandbox: SandboxProcess) -> None:
    """Outside its hours a symbol is in a BREAK."""
    sandbox.admin.hours("ETHUSDT", window(timedelta(hours=2), timedelta(hours=3)))
    info = Plain(sandbox).public("/api/v3/exchangeInfo", symbol="ETHUSDT")
    assert info["symbols"][0]["status"] == "BREAK"
    sandbox.admin.hours("ETHUSDT")


def test_hours_are_read_as_meant() -> None:
    """Weekdays, a night that crosses midnight, and the minutes at which a market opens and closes."""

    def at(text: str) -> int:
        return int(datetime.fromisoformat(text + "+00:00").timestamp() * 1000)

    day = hours_of("09:30-16:00", "mon-fri")
    wanted = {"2026-11-27T09:29:59": False, "2026-11-27T09:30:00": True, "2026-11-27T15:59:59": True,
              "2026-11-27T16:00:00": False, "2026-11-28T12:00:00": False}  # fmt: skip
    assert {text: day.is_open(at(text)) for text in wanted} == wanted
    night = hours_of("22:00-05:00", "fri")
    wanted = {"2026-11-27T21:59:59": False, "2026-11-27T22:00:00": True, "2026-11-28T04:59:59": True,
              "2026-11-28T05:00:00": False, "2026-11-28T22:00:00": False}  # fmt: skip
    assert {text: night.is_open(at(text)) for text in wanted} == wanted
    assert hours_of("00:00-24:00", "sat-mon").days == frozenset({5, 6, 0})


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/admin/mode", {"mode": "asleep"}),
        ("/admin/mode", {"mode": "cancel_only", "market": "nowhere"}),
        ("/admin/mode", {"mode": "cancel_only", "symbol": "NOPE"}),
        ("/admin/hours", {"symbol": "NOPE", "hours": "09:00-10:00"}),
        ("/admin/hours", {"symbol": "BTCUSDT", "hours": "9-10"}),
        ("/admin/hours", {"symbol": "BTCUSDT", "hours": "09:00-10:00", "days": "caturday"}),
        ("/admin/hours", {"symbol": "BTCUSDT", "hours": "09:00-09:00"}),
    ],
)
def test_nonsense_is_refused(sandbox: SandboxProcess, path: str, asked: dict[str, str]) -> None:
    """An unknown mode, market, symbol or time is refused and named."""
    with pytest.raises(SandboxRefused, match="expected|unknown"):
        sandbox.admin.request("POST", path, asked)


def test_the_switch_waits_for_the_end_of_maintenance(sandbox: SandboxProcess) -> None:
    """Kraken's switch runs out under maintenance and fires when the venue is back, as its documentation warns."""
    plain = KrakenPlain(sandbox)
    plain.place("doomed")
    assert plain.call("CancelAllOrdersAfter", {"timeout": "600"})[0] == []
    with KrakenWs(sandbox) as line:
        assert line.next(channel="status")["data"][0]["system"] == "online"
        sandbox.admin.mode("maintenance", market="kraken")
        assert line.next(channel="status")["data"][0]["system"] == "maintenance"
        assert sandbox.admin.strike("switches_fire") == 1
        assert [order["status"] for order in sandbox.admin.orders("kraken")] == ["open"]
        sandbox.admin.mode("online", market="kraken")
        assert line.next(channel="status")["data"][0]["system"] == "online"
    while plain.call("OpenOrders")[1]["open"]:
        pass
    (order,) = sandbox.admin.orders("kraken")
    assert (order["status"], order["reason"]) == ("canceled", "Cancel all orders after")
