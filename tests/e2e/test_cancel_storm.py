"""A cancel storm: 200 entries go although the budget is nearly spent, nearest the market first, without a ban."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e_bot import RESOLVING, routed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from sandbox_client import Plain

ORDERS = 200
MINUTE_S, NEEDS_S = 60.0, 20.0
UNDER_WAY = 8  # cancels at once: so far may two change places on the way

BOT = """
import json, os, sys
sys.path[:0] = json.loads(os.environ["TEST_PATH"])
import jackstay
from concurrent.futures import ThreadPoolExecutor
from e2e_bot import HOST, KEY, order_request, signed

client = jackstay.Client(bot_id="b")
def place(number):
    method, url, headers, body = order_request(f"e{number}", 20000 + 10 * number)
    answer = client.request(method, url, headers=headers, body=body, deadline_s=10.0)
    assert answer.status == 200, answer.body
for number in range(int(sys.argv[1])):
    place(number)
print("placed", flush=True)
sys.stdin.readline()
refused = 0
while refused < 3:  # it asks as long as it may
    try:
        client.request("GET", HOST + "/api/v3/allOrders?" + signed({"symbol": "BTCUSDT"}),
                       headers=[("X-MBX-APIKEY", KEY)], deadline_s=0.2)
    except jackstay.TradingBotError:
        refused += 1
print("spent", flush=True)
while True:
    client.beat()
    sys.stdin.readline()
"""


def used(plain: Plain) -> int:
    """What the venue counted for this address in its minute, this question included."""
    _status, _time, headers = plain.send("GET", "/api/v3/time")
    return int(next(value for name, value in headers.items() if name.lower() == "x-mbx-used-weight-1m"))


@pytest.mark.serial
def test_two_hundred_cancels_use_the_reserved_share_and_nobody_is_banned(tmp_path: Path) -> None:
    """The bot spent what questions may spend, others of its address most of the rest; the venue's ledger judges."""
    kept = tmp_path / "venue"
    generous = SandboxProcess(seed=1, quiet=True, state=kept).start()
    config = RESOLVING + "[venues.binance.limits]\norders_10s = 0\n"
    bot = None
    with AgentProcess(routed(generous.url, config)) as agent:
        strict = SandboxProcess(seed=1, quiet=True, state=kept, port=generous.port, weights=True)
        try:
            bot = subprocess.Popen(
                [sys.executable, "-c", BOT, str(ORDERS)],
                env=agent.env | {"TEST_PATH": json.dumps(sys.path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert bot.stdin is not None
            assert bot.stdout is not None
            assert bot.stdout.readline() == b"placed\n", agent.log()[-4000:]
            generous.admin.save()
            generous.stop()
            left_s = MINUTE_S - time.time() % MINUTE_S
            if left_s < NEEDS_S:
                time.sleep(left_s)  # the venue counts by the minute of its clock
            strict.start()
            plain = Plain(strict)
            while used(plain) < 5000:
                assert plain.send("GET", "/api/v3/depth?symbol=BTCUSDT&limit=5000")[0] == 200
            bot.stdin.write(b"\n")
            bot.stdin.flush()
            assert bot.stdout.readline() == b"spent\n", agent.log()[-4000:]
            spent = used(plain)
            armed = cli("arm", "--preset", "directional", "--silence", "1s", "--anyway", runtime_dir=agent.runtime_dir)
            assert armed.returncode == 0, armed.stderr
            os.kill(bot.pid, signal.SIGSTOP)
            began = time.monotonic()
            while any(each["status"] == "NEW" for each in strict.admin.orders()):  # asked beside the venue's limits
                assert time.monotonic() < began + 10.0, agent.log()[-6000:]
                time.sleep(0.02)
            took_s = time.monotonic() - began
            while time.monotonic() < began + took_s + 2.5:
                time.sleep(0.1)  # that no second wave comes can only be watched
            rows = strict.admin.ledger(method="DELETE", path="/api/v3/order")
            after = used(plain)
            print(f"weight spent {spent}, after the storm {after} of 6000; {len(rows)} cancels in {took_s:.2f} s")
            assert 5000 <= spent < after < 6000, "all in one of the venue's minutes, by the reserved share"
            assert {row["status"] for row in rows} == {200}
            assert len(rows) == ORDERS
            assert not [row for row in strict.admin.ledger() if row["status"] in (418, 429)]
            order = [int(row["client_order_id"][1:]) for row in rows]
            assert all(abs(at - (ORDERS - 1 - number)) <= UNDER_WAY for at, number in enumerate(order)), order
        finally:
            if bot is not None:
                bot.kill()
                bot.communicate()
            for each in (generous, strict):
                each.stop()
