"""The journal's bad days, end to end: whatever is wrong with it, orders are refused with a reason and cancels pass."""

from __future__ import annotations

import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

import jackstay
from disks import small_disk
from e2e_bot import HOST, RESOLVING, client_for, order_params, order_request, place, quick_profiles, routed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Outcome, Refused

ORDER = "/api/v3/order"
FORM = [("Content-Type", "application/x-www-form-urlencoded")]


def cancel(client: jackstay.Client, client_id: str) -> jackstay.Response:
    query = urlencode({"symbol": "BTCUSDT", "origClientOrderId": client_id})
    return client.request("DELETE", f"{HOST}{ORDER}?{query}", sign=True, deadline_s=5)


def until_healed(agent: AgentProcess) -> None:
    until = time.monotonic() + 10
    while agent.status()["queue"]["degraded"] is not None:
        assert time.monotonic() < until
        time.sleep(0.05)  # the disk is tried again every two seconds


def journal_of(agent: AgentProcess) -> Path:
    found = list(agent.runtime_dir.rglob("outbox.sqlite"))
    assert len(found) == 1
    return found[0]


@pytest.fixture
def small(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    """An agent whose journal lives on a disk of 768 kB."""
    limits = RESOLVING.replace("live = false", "live = false\nlimits = { orders_10s = 0, weight_1m = 0 }")
    with tempfile.TemporaryDirectory(prefix="js-") as folder:
        journal_first = '[audit]\non_full = "continue"\n'  # here it is the journal that must refuse
        agent = AgentProcess(routed(sandbox.url, limits + journal_first), runtime_dir=Path(folder))
        (Path(folder) / agent.name).mkdir(mode=0o700)
        with small_disk(Path(folder) / agent.name / "state", "768k"), agent:
            yield agent


def assert_only_cancels_pass(client: jackstay.Client, sandbox: SandboxProcess) -> None:
    with pytest.raises(Refused) as refused:
        place(client, sandbox, "while")
    # the audit log may be the first that cannot be written: it holds entries too
    assert refused.value.reason in ("disk", "mode"), refused.value
    assert refused.value.outcome is Outcome.FAILED
    method, url, headers, body = order_request("posted")
    with pytest.raises(Refused, match="cannot write"):
        client.post(method, url, headers=headers, body=body, ttl_s=5)
    assert cancel(client, "before").status == 200


def test_a_full_disk_refuses_orders_and_passes_cancels(sandbox: SandboxProcess, small: AgentProcess) -> None:
    """Direct and posted orders are refused with `disk`, none reaches the venue, cancels do; then it heals by itself."""
    with client_for(small) as client:
        assert place(client, sandbox, "before").status == 200
        ballast = journal_of(small).with_name("ballast")
        ballast.write_bytes(b"x" * 600_000)
        with pytest.raises(Refused, match="cannot write"):  # noqa: PT012  (which of them is the first does not matter)
            for n in range(3_000):
                place(client, sandbox, f"fill-{n}")
        assert_only_cancels_pass(client, sandbox)
        ballast.unlink()
        until_healed(small)
        assert place(client, sandbox, "after").status == 200
    assert small.events("outbox.degraded")
    sent = {row["client_order_id"] for row in sandbox.admin.ledger(path=ORDER, method="POST")}
    assert {"before", "after"} <= sent
    assert sent.isdisjoint({"while", "posted"})


def test_a_read_only_disk_refuses_orders_and_passes_cancels(sandbox: SandboxProcess, small: AgentProcess) -> None:
    """The agent starts on it, degraded and saying so; it heals when the disk can be written again."""
    disk = str(small.runtime_dir / small.name / "state")
    with client_for(small) as client:
        assert place(client, sandbox, "before").status == 200
        small.stop()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        small.start()
        assert_only_cancels_pass(client, sandbox)
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        until_healed(small)
        assert place(client, sandbox, "after").status == 200
    sent = [row["client_order_id"] for row in sandbox.admin.ledger(path=ORDER, method="POST")]
    assert sent == ["before", "after"]


@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty"])
def test_a_journal_that_cannot_be_read_is_set_aside(sandbox: SandboxProcess, damage: str) -> None:
    """The agent starts, says so, keeps the file beside the new one, and trades."""
    agent = AgentProcess(routed(sandbox.url, RESOLVING))
    with agent, client_for(agent) as client:
        for n in range(20):
            assert place(client, sandbox, f"n{n}").status == 200
        path = journal_of(agent)
        agent.stop()
        whole = path.read_bytes()
        changed = {
            "garbage": b"\x00not a database\xff" * 500,
            "truncated": whole[: len(whole) // 2 - 100],
            "empty": b"",
        }
        path.write_bytes(changed[damage])
        agent.start()
        assert place(client, sandbox, "after").status == 200
        assert cancel(client, "after").status == 200
        if damage != "empty":  # an empty file is a new outbox
            (said,) = agent.events("outbox.set_aside")
            assert Path(said["moved_to"]).exists()


def test_a_journal_of_a_later_version_is_left_alone(sandbox: SandboxProcess) -> None:
    """The agent does not start, names both versions, and has not touched the file."""
    agent = AgentProcess(routed(sandbox.url, RESOLVING))
    with agent, client_for(agent) as client:
        assert place(client, sandbox, "before").status == 200
        path = journal_of(agent)
        agent.stop()
        with sqlite3.connect(path) as conn:
            conn.execute("PRAGMA user_version=99")
        conn.close()
        before = path.read_bytes()
        with pytest.raises(RuntimeError, match="has schema 99; this version knows up to"):
            agent.start()
        assert path.read_bytes() == before


def test_a_journal_of_an_earlier_version_is_brought_up_to_date(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """An order that was unknown before the update is still guarded after it, and found."""
    agent = AgentProcess(quick_profiles(tmp_path / "p") + routed(sandbox.url))
    with agent, client_for(agent) as client:
        sandbox.admin.fault("reset_after", route=f"POST {ORDER}", count=1)
        with pytest.raises(jackstay.OutcomeUnknown):
            place(client, sandbox, "old")
        path = journal_of(agent)
        agent.stop()
        with sqlite3.connect(path) as conn:  # as version 1 wrote it
            conn.execute("ALTER TABLE intents DROP COLUMN attempts")
            conn.execute("PRAGMA user_version=1")
        conn.close()
        agent.start()
        with pytest.raises(Refused) as refused:
            client.request(*_again("old", "new"), deadline_s=2)
        assert refused.value.reason == "equal_pending"
        agent.stop()
        agent.config_path.write_text(quick_profiles(tmp_path / "p") + routed(sandbox.url, RESOLVING))
        agent.start()
        late = next(client.outcomes(10.0))
        assert (late.outcome, late.json()["clientOrderId"]) == (Outcome.OK, "old")
    assert len(sandbox.admin.ledger(path=ORDER, method="POST")) == 1


def _again(client_id: str, new_id: str) -> tuple[str, str]:
    """method and url of an order equal to that of ``client_id`` under another id."""
    from e2e_bot import signed

    params = order_params(client_id) | {"newClientOrderId": new_id}
    return "POST", f"{HOST}{ORDER}?{signed(params)}"


def test_an_id_is_free_again_after_its_order_is_filled(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Filled, then the same id for another order whose reply is lost: the second is found, not the first."""
    config = quick_profiles(tmp_path / "p") + routed(sandbox.url, RESOLVING)
    with AgentProcess(config) as agent, client_for(agent) as client:

        def market(quantity: str) -> jackstay.Response:
            params = {
                "symbol": "BTCUSDT",
                "side": "BUY",
                "type": "MARKET",
                "quantity": quantity,
                "newClientOrderId": "again",
            }
            body = urlencode(params).encode()
            return client.request("POST", f"{HOST}{ORDER}", headers=FORM, body=body, sign=True, deadline_s=5)

        first = market("0.001")
        assert first.json()["status"] == "FILLED"
        sandbox.admin.fault("reset_after", route=f"POST {ORDER}", count=1)
        second = market("0.002")
        assert second.header("x-jackstay-outcome") == "resolved"
        assert second.json()["orderId"] != first.json()["orderId"]
        assert second.json()["origQty"].rstrip("0") == "0.002"


def test_an_id_of_an_open_question_is_refused(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """The same client order id while its order is unknown, with the same fields and with others: neither is sent."""
    with AgentProcess(quick_profiles(tmp_path / "p") + routed(sandbox.url)) as agent, client_for(agent) as client:
        sandbox.admin.fault("reset_before", route=f"POST {ORDER}", count=1)
        with pytest.raises(jackstay.OutcomeUnknown):
            place(client, sandbox, "twice")
        with pytest.raises(Refused) as same:
            place(client, sandbox, "twice")
        assert same.value.reason == "equal_pending"
        method, url, headers, body = order_request("twice", 20_500.0)
        other = body.replace(b"side=BUY", b"side=SELL")
        with pytest.raises(Refused) as changed:
            client.request(method, url, headers=headers, body=other, deadline_s=2)
        assert changed.value.reason == "duplicate"
        assert changed.value.details["pending_id"] == "twice"
    assert len(sandbox.admin.ledger(path=ORDER, method="POST")) == 1
