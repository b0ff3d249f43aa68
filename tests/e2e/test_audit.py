"""The audit log of a real agent: what is in it, what a death leaves, what a full disk does, what verifying tells."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import jackstay
from e2e_bot import HOST, KEY, SECRET, client_for, place, routed, signed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import DeadlineExceeded, Refused, TradingBotError

HEADERS = [("X-MBX-APIKEY", KEY)]


def exported(agent: AgentProcess, *more: str) -> list[dict[str, Any]]:
    done = cli("audit", "export", agent.name, "-c", str(agent.config_path), *more, runtime_dir=agent.runtime_dir)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def verified(agent: AgentProcess, *more: str) -> dict[str, Any]:
    asked = ("audit", "verify", agent.name, "-c", str(agent.config_path), "--json", "--no-journal")
    done = cli(*asked, *more, runtime_dir=agent.runtime_dir)
    facts = json.loads(done.stdout)
    assert done.returncode == (0 if facts["ok"] else 1), done.stderr
    return dict(facts)


def written(agent: AgentProcess) -> int:
    folder = agent.runtime_dir / "t" / "state" / "audit"
    return sum(path.stat().st_size for path in folder.glob("audit-*.jsonl"))


def cancel(client: jackstay.Client, client_id: str) -> jackstay.Response:
    query = signed({"symbol": "BTCUSDT", "origClientOrderId": client_id})
    return client.request("DELETE", f"{HOST}/api/v3/order?{query}", headers=HEADERS)


def test_an_order_can_be_followed_and_no_secret_is_there(sandbox: SandboxProcess) -> None:
    """Decision, outcome, cancel with the venue's id, a refusal with its reason, an operator's action with the uid."""
    with AgentProcess(routed(sandbox.url, '[agent]\nallow_hosts = ["*.binance.com"]\n')) as agent:
        with client_for(agent) as client:
            place(client, sandbox, "aud-1")
            cancel(client, "aud-1")
            with pytest.raises(Refused):
                client.request("GET", "https://elsewhere.test/")
        assert cli("stop", agent.name, runtime_dir=agent.runtime_dir).returncode == 0
        agent.process.wait(20)  # type: ignore[union-attr]
        decided, answered, *rest = exported(agent, "--order", "aud-1")
        assert (decided["kind"], decided["decision"], decided["client_id"]) == ("decision", "admitted", "aud-1")
        assert (decided["symbol"], decided["side"], decided["type"], decided["quantity"]) == (
            "BTCUSDT", "buy", "limit", "0.001",
        )  # fmt: skip
        assert decided["time_in_force"] == "GTC"
        assert (answered["outcome"], answered["status"], answered["intent"]) == ("ok", 200, decided["intent"])
        assert answered["venue_id"]
        assert [(each["kind"], each["route"]) for each in rest] == [("decision", "cancel"), ("outcome", "cancel")]
        (refused,) = [each for each in exported(agent, "--kind", "decision") if each["decision"] == "refused"]
        assert refused["reason"] == "upstream_not_allowed"
        (stop,) = [each for each in exported(agent) if each.get("event") == "operator.stop"]
        assert stop["uid"] == os.getuid()
        folder = agent.runtime_dir / "t" / "state" / "audit"
        text = "".join(path.read_text() for path in folder.iterdir())
        assert KEY not in text
        assert SECRET not in text
        assert "signature=" not in text.replace("signature=&", "").replace('signature="', "")
        table = cli("audit", "export", "t", "--csv", "--since", "1h", runtime_dir=agent.runtime_dir).stdout.splitlines()
        assert table[0].startswith("seq,at,kind")
        assert len(table) > 5
        facts = verified(agent, "--anchors", str(agent.log_path))
        assert facts["ok"]
        assert facts["anchored_to"]["seq"] == facts["last"]
        assert facts["unanchored"] == 0


@pytest.mark.slow
def test_kill_9_in_mid_write_leaves_a_verifiable_log(sandbox: SandboxProcess) -> None:
    """Four deaths under load: no fault is found, each life is in it, and the end is anchored."""
    config = routed(
        sandbox.url, "[audit]\nflush_after_s = 0.0\n[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n"
    )
    with AgentProcess(config) as agent:
        for life in range(4):
            if life:
                agent.start()
            stop = threading.Event()

            def trade(name: str, stop: threading.Event = stop) -> None:
                try:
                    with client_for(agent, bot_id=name) as client:
                        for number in range(10_000):
                            if stop.is_set():
                                return
                            try:
                                place(client, sandbox, f"{name}-{number}", deadline_s=0.05)
                            except (Refused, DeadlineExceeded):
                                pass  # by the venue's order count, too: a line like any other
                except TradingBotError:
                    pass  # the agent died under it: that is the test

            threads = [threading.Thread(target=trade, args=(f"k{life}{n}",)) for n in range(3)]
            for thread in threads:
                thread.start()
            grown = written(agent) + 40_000 + 7_001 * life
            while written(agent) < grown:
                assert agent.process is not None
                assert agent.process.poll() is None
                stop.wait(0.002)
            agent.kill()
            stop.set()
            for thread in threads:
                thread.join(20)
            facts = verified(agent)
            assert facts["ok"], facts
        agent.start()
        agent.stop()
        facts = verified(agent, "--anchors", str(agent.log_path))
        assert facts["ok"], facts
        assert facts["lines"] > 200
        assert len(exported(agent, "--kind", "audit.started")) == 5


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 1024)
        except OSError:
            return


def test_a_full_audit_disk_refuses_entries_and_lets_cancels_pass(sandbox: SandboxProcess, small_disk: Path) -> None:
    """Judged by the venue's ledger; with room again, entries go and every line is there."""
    config = routed(sandbox.url, f'[audit]\nfolder = "{small_disk}"\nflush_after_s = 0.0\n')
    with AgentProcess(config) as agent, client_for(agent) as client:
        assert place(client, sandbox, "before").status == 200
        ballast = small_disk / "ballast"
        fill(ballast)
        refused = ""
        for number in range(50):
            try:
                place(client, sandbox, f"during-{number}")
            except Refused as error:
                refused = f"{error.reason}: {error}"
                break
        assert refused.startswith("mode: "), agent.log()
        assert "audit log cannot be written" in refused
        assert cancel(client, "before").status == 200
        assert not sandbox.admin.ledger(client_order_id=f"during-{number}")
        assert sandbox.admin.ledger(client_order_id="before")
        ballast.unlink()
        for _ in range(200):
            if agent.events("audit.healed"):
                break
            threading.Event().wait(0.05)
        assert place(client, sandbox, "after").status == 200
        agent.stop()
        kinds = [each for each in exported(agent, "--kind", "decision") if each.get("client_id") == "after"]
        assert len(kinds) == 1
        assert len([each for each in exported(agent) if each.get("reason") == "mode"]) == 1
        assert verified(agent)["ok"]


def test_verify_says_what_is_wrong_with_a_touched_log(sandbox: SandboxProcess) -> None:
    """In words for a person, with exit code 1: a flipped byte is located, a cut tail shows against the anchors."""
    with AgentProcess(routed(sandbox.url)) as agent:
        with client_for(agent) as client:
            for n in range(3):
                place(client, sandbox, f"t-{n}")
        agent.stop()
        (path,) = (agent.runtime_dir / "t" / "state" / "audit").glob("audit-*.jsonl")
        lines = path.read_bytes().splitlines(keepends=True)

        def say(*changed: bytes, anchors: bool = True) -> tuple[int, str]:
            path.write_bytes(b"".join(changed))
            more = ["--anchors", str(agent.log_path)] if anchors else []
            done = cli("audit", "verify", "t", "--no-journal", *more, runtime_dir=agent.runtime_dir)
            return done.returncode, done.stdout

        code, words = say(*lines)
        assert code == 0
        assert words.startswith("intact up to anchor 20")
        assert "0 lines after it unanchored" in words
        at = next(n for n, line in enumerate(lines) if b'"client_id":"t-1"' in line)
        flipped = lines[at].replace(b'"BTCUSDT"', b'"ETHUSDT"')
        code, words = say(*lines[:at], flipped, *lines[at + 1 :])
        assert code == 1
        assert f"altered: {path.name}:{at + 1}: line {at + 1}" in words
        code, words = say(*lines[:-4])
        assert code == 1
        assert "tail_cut" in words
        code, words = say(*lines[:-4], anchors=False)
        assert code == 0
        assert "could not be seen" in words
