"""`jackstay init`, `keys` and `rehearse`: from nothing to a rehearsed bot, with keys that nobody else reads."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness import child_env
from jackstay_agent.cli.rehearse import rehearsal_config
from jackstay_agent.config import Config
from jackstay_agent.sandbox import SandboxProcess

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def jackstay(*args: str, home: Path, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """The command line with a home of its own, and no system folder."""
    return subprocess.run(
        [sys.executable, "-m", "jackstay_agent.cli", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=child_env() | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "cfg")} | env,
    )


# ---------------------------------------------------------------- init


def test_init_writes_six_lines_that_load(tmp_path: Path) -> None:
    """One venue, six lines; nothing but the venue's hosts is reached; what is there already is not replaced."""
    done = jackstay("init", "mybot", "--venue", "binance", "--config-dir", str(tmp_path), home=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "mybot.toml").read_text()
    assert len(text.splitlines()) == 6
    config = Config.from_toml(text)
    assert config.agent.allow_hosts == ["*.binance.com", "*.binance.vision"]
    assert config.venues["binance"].live
    again = jackstay("init", "mybot", "--venue", "bybit", "--config-dir", str(tmp_path), home=tmp_path)
    assert (again.returncode, "already" in again.stderr) == (1, True)
    assert (tmp_path / "mybot.toml").read_text() == text


def test_init_leads_a_bots_unit_to_its_agent(tmp_path: Path) -> None:
    """Wants and After only: an agent's restart never takes the bot with it."""
    units = tmp_path / "units"
    args = ["init", "mybot", "--venue", "bybit-testnet", "--bot-unit", "mybot.service", "--unit-dir", str(units)]
    done = jackstay(*args, "--config-dir", str(tmp_path), home=tmp_path)
    assert done.returncode == 0, done.stderr
    drop_in = (units / "mybot.service.d" / "jackstay.conf").read_text()
    assert "Wants=jackstay@mybot.service" in drop_in
    assert "After=jackstay@mybot.service" in drop_in
    assert "JACKSTAY_AGENT=mybot" in drop_in
    assert "BindsTo" not in drop_in
    assert not Config.load(tmp_path / "mybot.toml").venues["bybit-testnet"].live


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--venue", "binanse"], "known: binance"),
        (["--venue", "binance", "--bot-unit", "../x"], "unit's name"),
        ([], "Missing option '--venue'"),
    ],
)
def test_init_refuses_what_it_does_not_know(tmp_path: Path, args: list[str], words: str) -> None:
    """Usage errors, exit code 2, nothing written."""
    done = jackstay("init", "mybot", *args, "--config-dir", str(tmp_path / "c"), home=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "c").exists()


# ---------------------------------------------------------------- keys


def config_of(url: str, file: Path, venue: str = "bybit") -> str:
    host = {"bybit": "api.bybit.com", "okx": "www.okx.com", "kraken": "api.kraken.com"}[venue]
    return f'[upstreams]\n"{host}" = "{url}"\n[venues.{venue}]\nlive = false\n[venues.{venue}.keys]\nfile = "{file}"\n'


def test_keys_are_written_for_their_owner_alone_and_never_shown(tmp_path: Path) -> None:
    """Mode 0600 from the first byte; `list` says where and whether; the secret is in no output."""
    file = tmp_path / "keys" / "mine.key"
    args = ["keys", "add", "mybot", "--venue", "bybit", "--file", str(file)]
    done = jackstay(*args, home=tmp_path, stdin="key = planted-key\nsecret = planted-secret\n")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = jackstay(*args, home=tmp_path, stdin="key = a\nsecret = b\n")
    assert (again.returncode, "already" in again.stderr) == (1, True)
    config = tmp_path / "mybot.toml"
    config.write_text(config_of("http://127.0.0.1:9", file))
    listed = jackstay("keys", "list", "mybot", "--config", str(config), home=tmp_path)
    assert (listed.returncode, str(file) in listed.stdout) == (0, True)
    file.chmod(0o644)
    leaky = jackstay("keys", "list", "mybot", "--config", str(config), "--json", home=tmp_path)
    assert (leaky.returncode, "chmod 600" in leaky.stdout) == (1, True)
    for each in (done, again, listed, leaky):
        assert "planted" not in each.stdout + each.stderr


def test_nonsense_is_no_key(tmp_path: Path) -> None:
    """Refused before anything is written, without repeating it."""
    file = tmp_path / "x.key"
    done = jackstay(
        "keys", "add", "b", "--venue", "bybit", "--file", str(file), home=tmp_path, stdin="planted-nonsense\n"
    )
    assert done.returncode == 1
    assert "planted" not in done.stderr
    assert not file.exists()


@pytest.mark.parametrize("venue", ["bybit", "okx", "kraken"])
def test_a_key_that_can_withdraw_is_refused(tmp_path: Path, venue: str) -> None:
    """The venue is asked what each key may do."""
    secret = "c2FuZGJveC1zZWNyZXQ=" if venue == "kraken" else "sandbox-secret"
    accounts = (
        "--account",
        f"safe:{secret}:main:read+cancel+trade",
        "--account",
        f"rich:{secret}:main:read+cancel+trade+withdraw",
    )
    with SandboxProcess(seed=1, extra_args=accounts) as exchange:
        told = {}
        for key in ("safe", "rich"):
            file = tmp_path / f"{key}.key"
            file.write_text(f"key = {key}\nsecret = {secret}\npassphrase = sandbox-passphrase\n")
            file.chmod(0o600)
            config = tmp_path / f"{key}.toml"
            config.write_text(config_of(exchange.url, file, venue))
            done = jackstay("keys", "check", "b", "--config", str(config), "--json", home=tmp_path)
            (row,) = json.loads(done.stdout)["keys"]
            told[key] = (done.returncode, row["trade"], row["withdraw"])
            assert secret not in done.stdout + done.stderr
    assert told == {"safe": (0, True, False), "rich": (1, True, True)}


def test_one_key_for_bot_and_agent_is_refused_where_nonces_count(tmp_path: Path) -> None:
    """Kraken: the agent's questions would spoil the bot's nonces."""
    file = tmp_path / "k.key"
    file.write_text("key = shared\nsecret = c2FuZGJveC1zZWNyZXQ=\n")
    file.chmod(0o600)
    config = tmp_path / "k.toml"
    config.write_text(config_of("http://127.0.0.1:9", file, "kraken"))
    args = ["keys", "check", "b", "--config", str(config), "--bot-key-env", "MYBOT"]
    done = jackstay(*args, home=tmp_path, MYBOT_KEY="shared")
    assert (done.returncode, "nonces per key" in done.stdout) == (1, True)
    other = jackstay(*args, home=tmp_path, MYBOT_KEY="another")
    assert (other.returncode, "refused" in other.stdout) == (1, True), "nobody answered: said, not passed"


def test_a_venue_that_does_not_answer_proves_nothing(tmp_path: Path) -> None:
    """Exit code 1 and the reason, never 'fine'."""
    file = tmp_path / "k.key"
    file.write_text("key = a\nsecret = b\n")
    file.chmod(0o600)
    config = tmp_path / "k.toml"
    config.write_text(config_of("http://127.0.0.1:9", file))
    done = jackstay("keys", "check", "b", "--config", str(config), home=tmp_path)
    assert (done.returncode, "refused" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    "answer",
    [
        '{"error":[],"result":{}}',
        '{"error":[],"result":{"permissions":{"withdraw":false}}}',
        '{"error":["EAPI:Invalid key"]}',
    ],
)
def test_an_answer_that_does_not_show_it_proves_nothing(tmp_path: Path, answer: str) -> None:
    """A key of which Kraken's answer shows no list of permissions is refused, whatever else it says."""
    file = tmp_path / "k.key"
    file.write_text("key = sandbox-key\nsecret = c2FuZGJveC1zZWNyZXQ=\n")
    file.chmod(0o600)
    config = tmp_path / "k.toml"
    with SandboxProcess(quiet=True) as exchange:
        exchange.admin.fault("answer", route="POST /0/private/GetApiKeyInfo", status=200, body=answer)
        config.write_text(config_of(exchange.url, file, "kraken"))
        done = jackstay("keys", "check", "b", "--config", str(config), "--json", home=tmp_path)
    (row,) = json.loads(done.stdout)["keys"]
    assert (done.returncode, row["ok"], row["withdraw"]) == (1, False, None)
    assert row["problem"]


# ---------------------------------------------------------------- rehearse


def test_rehearse_runs_the_bot_as_it_is_against_the_sandbox() -> None:
    """Its exit code and output are the bot's own; the verdict is by the exchange's ledger."""
    command = [sys.executable, str(EXAMPLES / "ccxt_bot.py")]
    done = jackstay("rehearse", "mybot", "--json", "--", *command, home=Path(os.environ.get("HOME", "/")))
    assert done.returncode == 0, done.stderr
    assert "cancelled canceled" in done.stdout
    verdict = json.loads([line for line in done.stderr.splitlines() if line.startswith('{"bot_exit_code"')][0])
    assert verdict == {"bot_exit_code": 0, "orders": 1, "found": []}


def test_a_rehearsal_with_a_lost_answer_and_a_failing_bot(tmp_path: Path) -> None:
    """The order's answer dies, the agent finds it, the bot goes on; a bot's own exit code is kept."""
    command = [sys.executable, str(EXAMPLES / "ccxt_bot.py")]
    fault = ["--fault", "reset_after@POST /api/v3/order"]
    done = jackstay("rehearse", "mybot", *fault, "--", *command, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nothing wrong by the exchange's ledger" in done.stderr
    failing = jackstay("rehearse", "mybot", "--", sys.executable, "-c", "raise SystemExit(7)", home=tmp_path)
    assert failing.returncode == 7


def test_a_rehearsal_reaches_nothing_real() -> None:
    """Every host that may be reached is led to the sandbox."""
    config = Config.from_toml(rehearsal_config("http://127.0.0.1:1"))
    assert "*" not in "".join(config.agent.allow_hosts)
    assert set(config.agent.allow_hosts) == set(config.upstreams)
    assert {"api.binance.com", "dapi.binance.com", "api.kraken.com", "ws.okx.com"} <= set(config.upstreams)
