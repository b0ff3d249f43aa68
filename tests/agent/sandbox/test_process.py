"""The process from outside: its ready line, its end, and what survives a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jackstay_agent.sandbox import SandboxProcess, SandboxRefused
from raw_websocket import RawWebSocket
from sandbox_client import Plain, limit_order, signed_request


def test_ready_line_and_clean_end() -> None:
    """It says one JSON line when it listens, and ends with code 0 on SIGTERM."""
    command = [sys.executable, "-m", "jackstay_agent.sandbox", "--port", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready == {
            "ready": True,
            "port": ready["port"],
            "url": f"http://127.0.0.1:{ready['port']}",
            "ws_url": f"ws://127.0.0.1:{ready['port']}/ws",
            "pid": process.pid,
        }
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(10) == 0


def test_state_survives_a_kill(tmp_path: Path) -> None:
    """With a state file orders, balances, trades and the ledger are there again after kill -9, on the same port."""
    with SandboxProcess(quiet=True, state=tmp_path / "state") as sandbox:
        plain, port = Plain(sandbox), sandbox.port
        plain.place("kept")
        gone = plain.place("gone")
        plain.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": gone["orderId"]})
        plain.call("POST", "/api/v3/order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"})
        before = (sandbox.admin.orders(), sandbox.admin.balances(), sandbox.admin.ledger())
        trades = plain.call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT"})[1]
        sandbox.restart()
        assert sandbox.port == port
        after = (sandbox.admin.orders(), sandbox.admin.balances(), sandbox.admin.ledger()[: len(before[2])])
        assert after == before
        assert plain.call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT"})[1] == trades
        assert plain.place("kept")["code"] == -2010
        named = {"symbol": "BTCUSDT", "origClientOrderId": "kept"}
        assert plain.call("DELETE", "/api/v3/order", named)[1]["status"] == "CANCELED"
        assert sandbox.admin.balances()["main"]["USDT"]["locked"] == "0.00000000"
        assert plain.place("next")["orderId"] > gone["orderId"]


@pytest.mark.parametrize(("path", "kind", "status"), [
    ("/ws-api/v3", "reset_after", "reset"), ("/ws-api/v3", "drop_reply", "none"), ("/ws-api/v3", "venue_error", 504),
])  # fmt: skip
def test_what_a_fault_made_of_a_socket_request_survives_a_kill(
    tmp_path: Path, path: str, kind: str, status: int | str
) -> None:
    """The ledger of the state file says what the client saw of it, not what it would have seen."""
    with SandboxProcess(quiet=True, state=tmp_path / "state") as sandbox:
        more = {"name": "-1007", "execute_probability": 1.0} if kind == "venue_error" else {}
        sandbox.admin.fault(kind, route="WS order.place", count=1, **more)
        with RawWebSocket(sandbox.port, path) as line:
            line.send(signed_request("1", "order.place", limit_order("told")))
            while not (rows := sandbox.admin.ledger(client_order_id="told")) or not rows[0]["executed"]:
                pass
        sandbox.restart()
        (row,) = sandbox.admin.ledger(client_order_id="told")
        assert (row["fault"], row["status"], row["executed"]) == (kind, status, True)


def test_futures_outlive_a_kill(tmp_path: Path) -> None:
    """Positions, margin, leverage, algo orders and the armed switch of the futures market are there again; the switch
    fires when its time is over, and without the state nothing is left."""
    with SandboxProcess(quiet=True, state=tmp_path / "state") as sandbox:
        plain = Plain(sandbox)
        limit = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01",
                 "price": "40000", "newClientOrderId": "kept"}  # fmt: skip
        stop = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET",
                "triggerPrice": "45000", "closePosition": "true", "clientAlgoId": "guard"}  # fmt: skip
        plain.call("POST", "/fapi/v1/leverage", {"symbol": "BTCUSDT", "leverage": 7})
        plain.call("POST", "/fapi/v1/order", limit)
        plain.call("POST", "/fapi/v1/order", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"})
        plain.call("POST", "/fapi/v1/algoOrder", stop)

        def seen() -> list[object]:
            account = plain.call("GET", "/fapi/v3/account")[1]
            return [
                [row | {"updateTime": 0} for row in account.pop("assets")],
                account,
                plain.call("GET", "/fapi/v3/positionRisk")[1],
                plain.call("GET", "/fapi/v1/openOrders")[1],
                plain.call("GET", "/fapi/v1/openAlgoOrders")[1],
            ]

        before = seen()
        plain.call("POST", "/fapi/v1/countdownCancelAll", {"symbol": "BTCUSDT", "countdownTime": 1_500})
        sandbox.restart()
        assert plain.call("GET", "/fapi/v1/openAlgoOrders")[1][0]["clientAlgoId"] == "guard"
        while plain.call("GET", "/fapi/v1/openOrders")[1]:
            pass
        plain.call("POST", "/fapi/v1/order", limit)
        after = seen()
        assert after[:3] == before[:3]
        assert after[4] == before[4]
        sandbox.admin.price("BTCUSDT", "44000")
        plain.call("POST", "/fapi/v1/order", {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.1",
                                              "reduceOnly": "true"})  # fmt: skip
        assert plain.call("GET", "/fapi/v3/positionRisk")[1] == []
        sandbox.restart(keep_state=False)
        assert seen()[2:] == [[], [], []]


def test_restart_without_state(tmp_path: Path) -> None:
    """Without its state it comes back as on the first day."""
    with SandboxProcess(quiet=True, state=tmp_path / "state") as sandbox:
        Plain(sandbox).place("forgotten")
        sandbox.restart(keep_state=False)
        assert sandbox.admin.orders() == []
        assert sandbox.admin.ledger() == []


def test_a_cut_off_line_is_ignored(tmp_path: Path) -> None:
    """A state file whose last line was cut off by a crash still loads."""
    with SandboxProcess(quiet=True, state=tmp_path / "state") as sandbox:
        Plain(sandbox).place("kept")
        sandbox.kill()
        with (tmp_path / "state").open("ab") as file:
            file.write(b'["order",{"id":99')
        sandbox.start()
        assert [order["clientOrderId"] for order in sandbox.admin.orders()] == ["kept"]


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """A port somebody else has is one clear line and a failed start."""
    with SandboxProcess(quiet=True) as first, pytest.raises(SandboxRefused, match="before it listened"):
        SandboxProcess(port=first.port, quiet=True).start()


def test_tls(tmp_path: Path) -> None:
    """With --tls it serves under a certificate authority whose file it names."""
    with SandboxProcess(quiet=True, extra_args=("--tls",)) as sandbox:
        assert sandbox.url.startswith("https://")
        assert Path(sandbox.ca_file).exists()
        assert sandbox.admin.orders() == []
    assert not Path(sandbox.ca_file).exists()


def test_several_keys(tmp_path: Path) -> None:
    """Two keys of one account see the same orders; a read-only key cannot place any."""
    keys = ("--account", "one:s1:shared", "--account", "two:s2:shared:read", "--account", "three:s3:other")
    with SandboxProcess(quiet=True, extra_args=keys) as sandbox:
        one, two, three = (
            Plain(sandbox, name, secret) for name, secret in (("one", "s1"), ("two", "s2"), ("three", "s3"))
        )
        one.place("mine")
        assert [len(each.call("GET", "/api/v3/openOrders")[1]) for each in (one, two, three)] == [1, 1, 0]
        assert two.place("no")["code"] == -2015


def test_the_command_line(tmp_path: Path) -> None:
    """Faults, ledger, checks and reset can be worked from a terminal."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jackstay_agent.sandbox", *arguments, "--url", sandbox.url]
        return subprocess.run(command, capture_output=True, text=True, timeout=20)

    with SandboxProcess(quiet=True) as sandbox:
        plain = Plain(sandbox)
        assert (
            run("fault", "answer", "status=503", "body=<html>", "--route", "/api/v3/time", "--count", "1").returncode
            == 0
        )
        assert plain.send("GET", "/api/v3/time")[:2] == (503, "<html>")
        assert json.loads(run("ledger", "--path", "/api/v3/time").stdout)["fault"] == "answer"
        plain.place("twice")
        plain.place("twice")
        checks = run("checks")
        assert (checks.returncode, json.loads(checks.stdout)["sent_twice"][0]["client_order_id"]) == (1, "twice")
        assert run("reset").returncode == 0
        assert run("checks").returncode == 0
        wrong = run("fault", "nonsense")
        assert (wrong.returncode, "expected one of" in wrong.stderr) == (1, True)
