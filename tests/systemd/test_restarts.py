"""`make restarts`: a ccxt bot at 500 calls a second through a hundred restarts of its agent, then twenty kill -9.

A restart (`systemctl restart`) may cost the bot a pause and nothing else: no call fails, none is sent twice. After
kill -9 calls that were under way end as *unknown* and those meanwhile as *not sent*: what is asserted is that no order
is at the venue twice, that each the bot was told of is there, and that the bot's process is the same to the end.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from systemd.box import Box, missing
from systemd.conftest import prepared

RATE = int(os.environ.get("RATE", "500"))
RESTARTS = int(os.environ.get("RESTARTS", "100"))
KILLS = int(os.environ.get("KILLS", "20"))
AGENT, BOT = "jackstay@a", "bot"
LEDGER = (
    "import json\nfrom jackstay_agent.sandbox import SandboxAdmin\n"
    "rows = SandboxAdmin('http://127.0.0.1:8787').ledger(method='POST', path='/api/v3/order')\n"
    "print(json.dumps([row['client_order_id'] for row in rows if row['status'] == 200]))"
)

pytestmark = [pytest.mark.soak, pytest.mark.serial, pytest.mark.timeout(1800)]


@pytest.fixture
def box() -> Iterator[Box]:
    if why := missing():
        pytest.skip(why)
    with Box() as booted:
        prepared(booted)
        booted.unit(f"{BOT}.service.d/rate.conf", f"[Service]\nEnvironment=RATE={RATE}\n")
        booted.systemctl("daemon-reload")
        booted.systemctl("start", "venue")
        booted.until(lambda: "ready" in booted.journal("venue"), "the venue listens")
        booted.systemctl("start", BOT)
        booted.until(lambda: answers(booted) > RATE, "the bot trades", 60)
        yield booted


def answers(box: Box, what: str = "n") -> int:
    path = box.shared / f"bot.json.{what}"
    return int(path.read_text()) if path.exists() else 0


def more(box: Box, count: int) -> None:
    since = answers(box)
    box.until(lambda: answers(box) >= since + count, f"{count} more answers", 60)


def worked_off(box: Box) -> None:
    """What piled up meanwhile: a restart every few seconds is asked for, not more calls than the machine can carry."""
    box.until(lambda: answers(box, "open") <= RATE // 5, f"this machine carries {RATE} calls/s", 120)


def ended(box: Box) -> tuple[dict[str, object], list[str], Counter[str]]:
    """What the bot says of its calls, the orders it was told of, and how often the venue accepted each order."""
    box.systemctl("stop", BOT)
    told = json.loads((box.shared / "bot.json").read_text())
    placed = told.pop("placed")
    told["cancelled"] = len(told["cancelled"])
    accepted = Counter(json.loads(box.run("/opt/jackstay/bin/python", "-c", LEDGER, timeout_s=120)))
    return told, placed, accepted


def test_a_hundred_restarts_lose_nothing_and_double_nothing(box: Box) -> None:
    """Every call is answered, every order is at the venue once, the bot's MainPID stays; the pause is printed."""
    pid, took = box.main_pid(BOT), []
    for _ in range(RESTARTS):
        began = time.monotonic()
        box.systemctl("restart", AGENT)
        took.append(time.monotonic() - began)
        more(box, RATE // 5)
        worked_off(box)
    assert box.main_pid(BOT) == pid
    told, placed, accepted = ended(box)
    print(
        f"\n{RESTARTS} restarts under {RATE} calls/s offered ({told['ok'] / told['seconds']:.0f}/s answered): "  # type: ignore[operator]
        f"{told['sent']} calls, {len(placed)} orders, lost {told['errors']},"
        f" doubled {sum(count > 1 for count in accepted.values())}; longest pause {told['longest_pause_ms']} ms,"
        f" longest call {told['longest_call_ms']} ms; systemctl restart median {statistics.median(took) * 1000:.0f} ms,"
        f" worst {max(took) * 1000:.0f} ms"
    )
    assert told["errors"] == 0, (told["first_errors"], told["kinds"])
    assert told["ok"] == told["sent"]
    assert accepted == Counter(placed)


def test_twenty_kills_double_nothing_and_leave_the_bot_alone(box: Box) -> None:
    """kill -9: the agent is back by itself each time, the bot's process is the same, no order is at the venue twice."""
    pid = box.main_pid(BOT)
    for _ in range(KILLS):
        agent = box.main_pid(AGENT)
        box.systemctl("kill", "-s", "KILL", "--kill-who=main", AGENT)
        box.until(lambda agent=agent: box.main_pid(AGENT) not in (0, agent), "another agent")  # type: ignore[misc]
        more(box, RATE // 5)
    assert box.main_pid(BOT) == pid
    told, placed, accepted = ended(box)
    print(f"\n{KILLS} x kill -9 under {RATE} calls/s: {told}")
    assert not [name for name, count in accepted.items() if count > 1]
    assert set(placed) <= set(accepted)
