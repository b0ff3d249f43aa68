"""`jackstay handover` under a real systemd: the unit's main process becomes another installation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from installations import NEW, OLD, wheels
from systemd.box import JACKSTAY, WRAPPER, Box, missing
from systemd.conftest import ROUTED, prepared
from systemd.test_service import calls_of_bot, ledger

pytestmark = [pytest.mark.serial, pytest.mark.timeout(180)]

A, BOT = "jackstay@a", "bot"
NEXT = "/opt/next/bin/jackstay"
PYTHON = "/opt/jackstay/bin/python"
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


SCHEMA_1 = """
import sqlite3
conn = sqlite3.connect("/var/lib/jackstay/a/outbox.sqlite", isolation_level=None)
conn.execute("PRAGMA journal_mode=DELETE")
conn.execute("ALTER TABLE intents DROP COLUMN attempts")
conn.execute("PRAGMA user_version=1")
"""


def test_root_rolls_the_journal_of_a_service_back(trading: Box) -> None:
    """A schema step, orders, `systemctl stop`, `jackstay rollback`, start: the agent's own user can use all of it."""
    agent = int(trading.run("id", "-u", "jackstay"))
    state = trading.inside("/var/lib/jackstay/a")
    trading.systemctl("stop", A)
    trading.run("setpriv", "--reuid=jackstay", "--regid=jackstay", "--clear-groups", PYTHON, "-c", SCHEMA_1)
    trading.systemctl("start", A)  # the step to today's schema
    since = calls_of_bot(trading)
    trading.until(lambda: calls_of_bot(trading) > since + 20, "the bot trades on")
    for way in ("stop", "kill"):  # of a stopped unit the runtime folder is gone, of a killed one it is there
        if way == "stop":
            trading.systemctl("stop", A)
        else:
            trading.unit(f"{A}.service.d/once.conf", "[Service]\nRestart=no\n")
            trading.systemctl("daemon-reload")
            trading.systemctl("kill", "-s", "KILL", "--kill-who=main", A)
            trading.until(lambda: trading.prop(A, "ActiveState") == "failed", "it is dead")
        told = json.loads(trading.run(JACKSTAY, "rollback", "a", "--yes", "--json"))
        assert (told["done"], told["to_schema"]) == (True, 1)
        assert told["rows"] > 0
        assert {path.name: path.stat().st_uid for path in state.iterdir() if path.stat().st_uid != agent} == {}
        trading.systemctl("start", A)
        assert trading.status("a")["queue"]["degraded"] is None
        since = calls_of_bot(trading)
        trading.until(lambda since=since: calls_of_bot(trading) > since + 20, "the bot trades on")  # type: ignore[misc]
    trading.inside(f"/etc/systemd/system/{A}.service.d/once.conf").unlink()
    trading.systemctl("daemon-reload")


# ---------------------------------------------------------------- as docs/OPERATIONS.md has it, with pip

LIBRARY = "[Service]\nEnvironment=LD_LIBRARY_PATH=/opt/py/lib\n"  # of the tests' Python, hidden by ProtectHome=
OWN_BOT = """[Service]
Type=exec
User=trader
Environment=LD_LIBRARY_PATH=/opt/py/lib PYTHONPATH=/opt/site JACKSTAY_AGENT=a
ExecStart=/opt/jackstay-{version}/bin/python /opt/src/tests/systemd/steady_bot.py /shared/bot.json 50
KillMode=mixed
TimeoutStopSec=60
"""


@pytest.fixture(scope="module")
def both_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if why := missing():
        pytest.skip(why)
    return wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def two_installations(both_wheels: Path) -> Iterator[Box]:
    """A systemd with an earlier and this version below /opt, by pip inside it; /opt/jackstay leads to the earlier."""
    with Box() as box:
        shutil.copytree(both_wheels, box.shared / "wheels")
        prepared(box)  # users, venue, the configurations; by the checkout
        for version in (OLD, NEW):
            box.run("/opt/jackstay/bin/python", "-m", "venv", f"/opt/jackstay-{version}")
            ways = ("--no-index", "--find-links", "/shared/wheels", f"jackstay[agent]=={version}")
            box.run(f"/opt/jackstay-{version}/bin/python", "-m", "pip", "install", "--quiet", *ways, timeout_s=120)
        box.unit(
            "venue.service.d/where.conf",
            "[Service]\nExecStart=\nExecStart=/opt/checkout/bin/jackstay sandbox --port 8787 --no-weights --quiet\n",
        )
        box.run("mv", "/opt/jackstay", "/opt/checkout")
        box.run("ln", "-sfn", f"/opt/jackstay-{OLD}", "/opt/jackstay")
        box.unit(f"{A}.service.d/library.conf", LIBRARY)
        yield box


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("client_is", [OLD, NEW])
def test_an_upgrade_as_the_page_has_it_and_back(two_installations: Box, client_is: str) -> None:
    """Look, lead the link on, hand over; back; then a restart: a bot of either version loses nothing on the way."""
    box = two_installations
    box.unit(f"{BOT}.service", OWN_BOT.format(version=client_is))
    box.install("a", bot_unit=f"{BOT}.service")  # by the earlier version, which is what /opt/jackstay leads to
    box.systemctl("start", "venue", A)
    box.until(lambda: "ready" in box.journal("venue"), "the venue listens")
    assert box.status("a")["version"] == OLD
    box.systemctl("start", BOT)
    box.until(lambda: calls_of_bot(box) > 50, "the bot trades", 60)
    pid, bot = box.main_pid(A), box.main_pid(BOT)
    checked = json.loads(box.run(f"/opt/jackstay-{NEW}/bin/jackstay", "upgrade", "a", "--check", "--json"))
    assert (checked["ok"], checked["version"]) == (True, NEW), checked
    for version in (NEW, OLD, NEW):
        box.run("ln", "-sfn", f"/opt/jackstay-{version}", "/opt/jackstay")
        told = json.loads(box.run(f"/opt/jackstay-{version}/bin/jackstay", "handover", "a", "--json"))
        status = box.status("a")
        assert (status["version"], status["pid"], box.main_pid(A)) == (version, pid, pid)
        since = calls_of_bot(box)
        box.until(lambda since=since: calls_of_bot(box) > since + 50, "the bot trades on", 60)  # type: ignore[misc]
        print(f"\nclient {client_is}: handed over to {version}, {told['gap_ms']} ms without an agent", end="")
    assert box.prop(A, "NRestarts") == "0"
    box.systemctl("restart", A)
    assert box.status("a")["version"] == NEW
    since = calls_of_bot(box)
    box.until(lambda: calls_of_bot(box) > since + 50, "the bot trades on", 60)
    assert box.main_pid(BOT) == bot
    box.systemctl("stop", BOT)
    found = json.loads((box.shared / "bot.json").read_text())
    assert (found["errors"], found["ok"]) == (0, found["sent"]), found["first_errors"]
    assert sorted(ledger(box, "/opt/checkout/bin/python")) == sorted(found["placed"])
    print(f"\n{found['sent']} calls, {len(found['placed'])} orders, longest pause {found['longest_pause_ms']} ms")
