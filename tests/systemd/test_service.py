"""The units under a real systemd: started, seen, reloaded, drained, hung, killed, and never given up."""

from __future__ import annotations

import json
import os
import re
import time

import pytest

from systemd.box import JACKSTAY, Box
from systemd.conftest import ROUTED

pytestmark = [pytest.mark.serial, pytest.mark.timeout(180)]

A, B, BOT = "jackstay@a", "jackstay@b", "bot"
ASKING = """
import sys, jackstay
from jackstay_protocols.errors import TradingBotError
try:
    with jackstay.Client("a", bot_id="asker") as client:
        print(client.request("GET", "https://api.binance.com/api/v3/time", deadline_s=8).status)
except TradingBotError as error:
    print(type(error).__name__, error)
"""


def as_user(box: Box, user: str, *command: str) -> str:
    return box.run("setpriv", "--reuid", user, "--regid", user, "--init-groups", *command, check=False)


@pytest.fixture(scope="module")
def started(box: Box) -> Box:
    """The agent a, started while its venue is down; the venue comes afterwards."""
    box.systemctl("start", A)
    assert box.status("a")["state"] == "running"
    box.systemctl("start", "venue")
    box.until(lambda: "ready" in box.journal("venue"), "the venue listens")
    return box


def bot_ended(box: Box) -> dict[str, object]:
    """Stop the bot, which tells what became of its calls."""
    box.systemctl("stop", BOT)
    return dict(json.loads((box.shared / "bot.json").read_text()))


def bot_running(box: Box, calls: int = 20) -> int:
    """Its pid, once it trades."""
    (box.shared / "bot.json.n").unlink(missing_ok=True)
    box.systemctl("start", BOT)
    progressed(box, calls)
    return box.main_pid(BOT)


def calls_of_bot(box: Box) -> int:
    path = box.shared / "bot.json.n"
    return int(path.read_text() or 0) if path.exists() else 0


def progressed(box: Box, more: int) -> None:
    """The bot has had so many answers more than now."""
    since = calls_of_bot(box)
    box.until(lambda: calls_of_bot(box) >= since + more, f"{more} more answers for the bot")


def test_it_starts_with_its_venue_down_and_says_how_it_is(started: Box) -> None:
    """`systemctl start` returned when the sockets took calls, with no venue behind them; STATUS says how it is."""
    shown = started.show(A, "ActiveState", "StatusText", "NRestarts", "Type", "WatchdogUSec")
    assert (shown["ActiveState"], shown["NRestarts"], shown["Type"]) == ("active", "0", "notify")
    assert shown["WatchdogUSec"] == "10s"
    assert re.match(r"\d+ bots, \d+ in flight", shown["StatusText"])


def test_the_agent_has_a_uid_of_its_own_and_opens_its_sockets_to_its_group(started: Box) -> None:
    """Folder and sockets belong to jackstay; a bot in its group whose uid is allowed gets in, another does not."""
    folder = started.inside("/run/jackstay/a")
    uid = int(started.run("id", "-u", "jackstay"))
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (uid, 0o750)
    assert (folder / "bot.sock").stat().st_mode & 0o777 == 0o660
    assert started.inside("/var/lib/jackstay/a").stat().st_mode & 0o777 == 0o700
    assert as_user(started, "trader", "/opt/jackstay/bin/python", "-c", ASKING).strip() == "200"
    refused = as_user(started, "nosy", "/opt/jackstay/bin/python", "-c", ASKING)
    assert "uid 4002 may not use this agent" in refused
    steered = as_user(started, "nosy", JACKSTAY, "status", "a")
    assert "uid 4002 may not steer this agent" in steered
    asked = as_user(started, "trader", JACKSTAY, "handover", "a", "--to", "/bin/true")
    assert "uid 4001 may not choose the program" in asked


def test_two_instances_live_their_own_lives(started: Box) -> None:
    """The same template for two names: stopping one leaves the other's process alone."""
    pid = started.main_pid(A)
    started.systemctl("start", B)  # its state is not the first's: systemd sorts a unit's StateDirectory= by name
    assert started.status("b")["runtime_dir"] == "/run/jackstay/b"
    started.systemctl("stop", B)
    assert started.show(B, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert not started.inside("/run/jackstay/b").exists()
    assert started.main_pid(A) == pid


def test_a_key_comes_as_a_credential(started: Box) -> None:
    """`keys.credential` of the configuration becomes LoadCredential= by `systemd install`; the grade rises with it."""
    started.write("/etc/jackstay/keys/c-venue-key.key", "key = sandbox-key\nsecret = sandbox-secret\n", 0o600)
    started.config("c", ROUTED + '[venues.binance.keys]\ncredential = "venue-key"\n')
    started.install("c")
    started.systemctl("start", "jackstay@c")
    try:
        assert started.status("c")["grade"] != "carry"
        environ = started.inside(f"/proc/{started.main_pid('jackstay@c')}/environ").read_bytes()
        assert b"sandbox-secret" not in environ
        checked = json.loads(started.run(JACKSTAY, "upgrade", "c", "--check", "--json"))
        assert checked["ok"], "root has no credentials of the unit's: the next version can be looked at all the same"
    finally:
        started.systemctl("stop", "jackstay@c")


def test_a_bad_configuration_is_refused_and_the_old_one_goes_on(started: Box) -> None:
    """`systemctl reload` fails and names the key; the process goes on; a good file is taken, also by SIGHUP."""
    pid = started.main_pid(A)
    started.config("a", ROUTED.replace("allow_uids", "allow_uid"))
    done = started.call("systemctl", "reload", A)
    assert done.returncode != 0
    assert "did you mean 'allow_uids'" in started.journal(A)
    assert started.prop(A, "ActiveState") == "active"
    started.until(lambda: "reload refused" in started.prop(A, "StatusText"), "the status line says so")
    started.config("a", ROUTED.replace("[agent]", '[agent]\nlog_level = "warning"\nupstreams_max = 50'))
    told = started.run(JACKSTAY, "reload", "a", "--json")
    assert json.loads(told)["changed"] == ["agent.log_level"]
    assert json.loads(told)["needs_restart"] == ["agent.upstreams_max"]
    started.config("a", ROUTED)
    started.systemctl("kill", "-s", "HUP", "--kill-who=main", A)
    started.until(lambda: "restart is needed" not in started.prop(A, "StatusText"), "SIGHUP was heard")
    assert started.main_pid(A) == pid
    assert as_user(started, "trader", "/opt/jackstay/bin/python", "-c", ASKING).strip() == "200"


def test_reloads_and_restarts_cost_a_trading_bot_nothing(started: Box) -> None:
    """A ccxt bot at 50 calls/s, five reloads, three restarts: no call fails, none is sent twice, its pid stays."""
    pid = bot_running(started)
    for number in range(5):
        started.config("a", ROUTED.replace("[agent]", f"[agent]\ndrain_timeout_s = {5 + number}.0"))
        started.systemctl("reload", A)
        progressed(started, 5)
    for _ in range(3):
        started.systemctl("restart", A)
        progressed(started, 5)
    assert started.main_pid(BOT) == pid
    told = bot_ended(started)
    print({name: value for name, value in told.items() if name not in ("placed", "cancelled")})
    assert told["errors"] == 0, told["first_errors"]
    assert told["ok"] == told["sent"]
    accepted = ledger(started)
    assert sorted(accepted) == sorted(told["placed"])  # type: ignore[call-overload]


def ledger(box: Box, python: str = "/opt/jackstay/bin/python") -> list[str]:
    """Client ids of the orders that the venue accepted, each as often as it did."""
    code = (
        "import json\nfrom jackstay_agent.sandbox import SandboxAdmin\n"
        "rows = SandboxAdmin('http://127.0.0.1:8787').ledger(method='POST', path='/api/v3/order')\n"
        "print(json.dumps([row['client_order_id'] for row in rows if row['status'] == 200]))"
    )
    return list(json.loads(box.run(python, "-c", code)))


def test_kill_9_is_followed_by_a_new_agent_and_the_same_bot(started: Box) -> None:
    """The agent is back by itself, the bot's process has never changed and gets its answers again."""
    pid = bot_running(started)
    for _ in range(2):
        agent = started.main_pid(A)
        started.systemctl("kill", "-s", "KILL", "--kill-who=main", A)
        started.until(lambda: started.main_pid(A) not in (0, agent), "another agent")
        progressed(started, 5)
    assert started.main_pid(BOT) == pid
    started.systemctl("stop", BOT)


def test_a_stop_sees_requests_through_for_longer_than_its_time(started: Box) -> None:
    """An answer that takes 4 s is waited for although TimeoutStopSec= is 2 s: the drain asks for more time."""
    started.unit(f"{A}.service.d/stop.conf", "[Service]\nTimeoutStopSec=2\n")
    started.config("a", ROUTED.replace("[agent]", "[agent]\ndrain_timeout_s = 20.0"))
    started.systemctl("daemon-reload")
    started.systemctl("restart", A)
    fault = "from jackstay_agent.sandbox import SandboxAdmin as S;"
    fault += "S('http://127.0.0.1:8787').fault('latency', route='GET /api/v3/time', count=1, ms=4000)"
    started.run("/opt/jackstay/bin/python", "-c", fault)
    started.unit(
        "asker.service", f"[Service]\nType=exec\nUser=trader\nExecStart=/opt/jackstay/bin/python -c '{ASKING}'\n"
    )
    started.write("/shared/ask.py", ASKING)
    started.unit(
        "asker.service", "[Service]\nType=exec\nUser=trader\nExecStart=/opt/jackstay/bin/python /shared/ask.py\n"
    )
    started.systemctl("daemon-reload")
    started.systemctl("start", "asker")
    started.until(lambda: started.status("a")["in_flight"] == 1, "the request is under way")
    began = time.monotonic()
    started.systemctl("stop", A)
    took_s = time.monotonic() - began
    assert started.prop(A, "Result") == "success", started.journal(A)[-2000:]
    assert took_s > 2
    started.until(lambda: "200" in started.journal("asker"), "the caller has its answer")
    started.inside(f"/etc/systemd/system/{A}.service.d/stop.conf").unlink()
    started.systemctl("daemon-reload")


HANGING = "[Service]\nWatchdogSec=1500ms\nExecStart=\n"
HANGING += (
    "ExecStart=/opt/jackstay/bin/python /opt/src/tests/systemd/wedging_agent.py run %i --runtime-dir /run/jackstay\n"
)
#: signal of wedging_agent.py -> what the journal says of it
HANGS = {"USR1": "wedging_agent.py", "USR2": "bot.sock", "WINCH": "outbox thread"}


def test_what_hangs_is_ended_and_started_again(started: Box) -> None:
    """A hung loop, a deaf door, a stuck outbox thread: the pings stop, systemd ends it, the journal says what hung."""
    units = {signal: f"jackstay@hang{signal.lower()}" for signal in HANGS}
    for unit in units.values():
        started.unit(f"{unit}.service.d/hang.conf", HANGING)
    started.systemctl("daemon-reload")
    started.systemctl("start", *units.values())
    time.sleep(2)  # longer than the watchdog's time: they live by their pings
    for signal, unit in units.items():
        assert started.prop(unit, "NRestarts") == "0", started.journal(unit)
        started.systemctl("kill", "-s", signal, "--kill-who=main", unit)
    for signal, unit in units.items():
        started.until(lambda unit=unit: started.prop(unit, "NRestarts") != "0", f"{unit} was started again", 40)
        told = started.journal(unit)
        assert "Watchdog timeout" in told
        assert HANGS[signal] in told
        started.until(lambda unit=unit: started.prop(unit, "ActiveState") == "active", f"{unit} is back")
    started.systemctl("stop", *units.values())


def test_thirty_crashes_in_a_row_are_no_reason_to_stop_trying(started: Box) -> None:
    """systemd's default limit would leave it dead after five; only the pause between them is shortened here."""
    unit = "jackstay@crash"
    started.unit(f"{unit}.service.d/crash.conf", "[Service]\nRestartSec=50ms\nExecStart=\nExecStart=/bin/false\n")
    started.systemctl("daemon-reload")
    started.systemctl("start", unit, check=False)
    started.until(lambda: int(started.prop(unit, "NRestarts")) >= 30, "thirty crashes", 60)
    assert started.prop(unit, "ActiveState") == "activating"
    started.inside(f"/etc/systemd/system/{unit}.service.d/crash.conf").unlink()
    started.systemctl("daemon-reload")
    started.until(
        lambda: started.prop(unit, "ActiveState") == "active", "the program works again, and so does the agent"
    )
    started.systemctl("stop", unit)


def test_a_quiet_night_is_no_reason_to_be_killed(box: Box) -> None:
    """No bot, no venue, no request, for many times the watchdog's time: never killed, no ping withheld."""
    unit = "jackstay@quiet"
    seconds = float(os.environ.get("QUIET_S", "6"))
    box.unit(f"{unit}.service.d/quick.conf", "[Service]\nWatchdogSec=1\n")
    box.systemctl("daemon-reload")
    box.systemctl("start", unit)
    pid = box.main_pid(unit)
    time.sleep(seconds)
    assert (box.prop(unit, "NRestarts"), box.main_pid(unit)) == ("0", pid), box.journal(unit)
    box.systemctl("stop", unit)
