"""`jackstay handover` under a real systemd: the unit's main process becomes another installation."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from systemd.box import JACKSTAY, WRAPPER, Box
from systemd.conftest import ROUTED
from systemd.test_service import calls_of_bot, ledger

pytestmark = [pytest.mark.serial, pytest.mark.timeout(180)]

A, BOT = "jackstay@a", "bot"
NEXT = "/opt/next/bin/jackstay"
WATCHDOG_S = 1.5
STARTS_S = 4  # the next version's start, well past the watchdog's time


def installed(box: Box, run: str) -> None:
    """Another installation that says version 9.9.9; ``run``: shell words before it becomes the agent."""
    box.write(
        "/opt/next/facts/jackstay-9.9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: jackstay\nVersion: 9.9.9\n"
    )
    text = WRAPPER.format(source="/opt/src").replace("PYTHONPATH=", "PYTHONPATH=/opt/next/facts:")
    box.write(NEXT, text.replace("exec ", f'[ "$1" = run ] && {run}\nexec '), 0o755)


@pytest.fixture
def trading(box: Box) -> Iterator[Box]:
    """The agent a with a short watchdog, and a bot that trades through it."""
    box.unit(f"{A}.service.d/quick.conf", f"[Service]\nWatchdogSec={WATCHDOG_S}\n")
    box.config("a", ROUTED)
    box.systemctl("daemon-reload")
    box.systemctl("start", "venue")
    box.until(lambda: "ready" in box.journal("venue"), "the venue listens")
    box.systemctl("restart", A)
    (box.shared / "bot.json.n").unlink(missing_ok=True)
    box.systemctl("start", BOT)
    box.until(lambda: calls_of_bot(box) > 20, "the bot trades")
    yield box
    box.systemctl("stop", BOT, A)


def handed_over(box: Box) -> dict[str, object]:
    done = box.call(JACKSTAY, "handover", "a", "--to", NEXT, "--json")
    assert done.returncode == 0, done.stdout + done.stderr + box.journal(A)[-2000:]
    return dict(json.loads(done.stdout))


def test_the_unit_goes_on_with_the_process_that_became_another_version(trading: Box) -> None:
    """Same MainPID, no restart counted, a start longer than the watchdog's time is no hang; the bot loses nothing."""
    pid, bot = trading.main_pid(A), trading.main_pid(BOT)
    installed(trading, f"sleep {STARTS_S}")
    told = handed_over(trading)
    assert told["version"] == "9.9.9"
    assert float(str(told["gap_ms"])) > STARTS_S * 1000
    status = trading.status("a")
    assert (status["version"], status["pid"]) == ("9.9.9", pid)
    shown = trading.show(A, "MainPID", "NRestarts", "ActiveState", "WatchdogUSec")
    assert shown == {"MainPID": str(pid), "NRestarts": "0", "ActiveState": "active", "WatchdogUSec": "1.500000s"}
    since = calls_of_bot(trading)
    trading.until(lambda: calls_of_bot(trading) > since + 20, "the bot trades on")
    assert trading.main_pid(BOT) == bot
    trading.systemctl("reload", A)
    trading.systemctl("stop", BOT)
    found = json.loads((trading.shared / "bot.json").read_text())
    assert (found["errors"], found["ok"]) == (0, found["sent"]), found["first_errors"]
    assert sorted(ledger(trading)) == sorted(found["placed"])
    trading.systemctl("stop", A)
    assert trading.prop(A, "Result") == "success"


def test_a_version_that_dies_at_its_start_leaves_the_unit_to_its_own_program(trading: Box) -> None:
    """It passed its check and cannot run: systemd starts what the unit names, the caller hears that it failed."""
    bot = trading.main_pid(BOT)
    installed(trading, "exit 9")
    done = trading.call(JACKSTAY, "handover", "a", "--to", NEXT)
    assert done.returncode != 0
    assert "ended before it became another version" in done.stderr
    trading.until(lambda: trading.prop(A, "ActiveState") == "active", "the unit's own program runs")
    assert trading.status("a")["version"] != "9.9.9"
    since = calls_of_bot(trading)
    trading.until(lambda: calls_of_bot(trading) > since + 20, "the bot trades on")
    assert trading.main_pid(BOT) == bot
