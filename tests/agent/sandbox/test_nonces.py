"""Nonces per key: what Kraken always wants, and any other face where the key's owner asked for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.sandbox.accounts import ApiKey, KeyRing, parse_account
from kraken_client import KrakenPlain, limit_order, next_nonce
from sandbox_client import Plain

INVALID = ["EAPI:Invalid nonce"]


def test_nonces_rise_strictly() -> None:
    """Without a window a nonce must be above every earlier one of its key; keys do not know each other."""
    ring, one, other = KeyRing([]), ApiKey("one", "s"), ApiKey("other", "s")
    assert [ring.take_nonce(one, nonce) for nonce in (5, 5, 4, 6, 6)] == [True, False, False, True, False]
    assert ring.take_nonce(other, 1)


def test_a_window_forgives_overtaking() -> None:
    """Inside the window an unused lower nonce passes once; at its edge and below none does."""
    ring, key = KeyRing([]), ApiKey("one", "s", nonce_window=10)
    taken = [ring.take_nonce(key, nonce) for nonce in (100, 95, 95, 91, 90, 89, 111, 101, 102)]
    assert taken == [True, True, False, True, False, False, True, False, True]


def test_account_options() -> None:
    """The command line's words for it, and what is said of wrong ones."""
    key = parse_account("k:s:bots:read+trade:nonce=50")
    assert (key.account, key.wants_nonces, key.nonce_window) == ("bots", True, 50)
    assert parse_account("k:s:bots:read:nonce").nonce_window == 0
    assert not parse_account("k:s:bots:read").wants_nonces
    for wrong in ("k:s:bots:read:once", "k:s:bots:read:nonce=x"):
        with pytest.raises(ValueError, match="expected nonce"):
            parse_account(wrong)


def test_kraken_wants_them(sandbox: SandboxProcess) -> None:
    """A nonce used twice or overtaken is refused, changes nothing, and a refusal for another reason uses none up."""
    plain = KrakenPlain(sandbox)
    assert plain.call("AddOrder", limit_order("first"), nonce=1000)[0] == []
    for nonce in (1000, 999):
        assert plain.call("AddOrder", limit_order("again"), nonce=nonce)[0] == INVALID
    assert plain.call("OpenOrders", nonce=1001)[1]["open"].keys() == {
        sandbox.admin.ledger(client_order_id="first")[0]["order_id"]
    }
    wrong = KrakenPlain(sandbox, secret="d3Jvbmc=")
    assert wrong.call("Balance", nonce=5000)[0] == ["EAPI:Invalid signature"]
    assert plain.call("Balance", nonce=1002)[0] == []
    for nonsense in (-1, 2**64):
        assert plain.call("Balance", nonce=nonsense)[0] == INVALID
    assert [row["notes"] for row in sandbox.admin.ledger(client_order_id="again")] == [["refused"]] * 2


def test_the_same_bytes_again(sandbox: SandboxProcess) -> None:
    """A request sent again byte for byte is refused for its nonce, and the ledger says that it was sent twice."""
    plain, nonce = KrakenPlain(sandbox), next_nonce()
    assert plain.call("AddOrder", limit_order("twice"), nonce=nonce)[0] == []
    assert plain.call("AddOrder", limit_order("twice"), nonce=nonce)[0] == INVALID
    found = sandbox.admin.checks()
    assert [(each["client_order_id"], each["executed"]) for each in found["sent_twice"]] == [("twice", 1)]
    assert found["executed_twice"] == []


def test_window_on_kraken_and_nonces_on_binance() -> None:
    """A key with a window may be overtaken on Kraken; on Binance's face a nonce, or the timestamp, has to rise."""
    with SandboxProcess(quiet=True, extra_args=("--account", "k:s:main:read+cancel+trade:nonce=100")) as running:
        kraken = KrakenPlain(running, "k", "cw==")
        assert [kraken.call("Balance", nonce=nonce)[0] for nonce in (500, 450, 450, 400)] == [[], [], INVALID, INVALID]
        binance = Plain(running, "k", "s")
        codes = [binance.call("GET", "/api/v3/account", {"nonce": nonce})[1].get("code") for nonce in (600, 601, 601)]
        assert codes == [None, None, -1021]
        assert binance.call("GET", "/api/v3/account")[0] == 200
        assert binance.call("GET", "/api/v3/account", {"nonce": 700})[1]["code"] == -1021


def test_nonces_survive_a_kill(tmp_path: Path) -> None:
    """With a state file a key's highest nonce is still known after a kill."""
    with SandboxProcess(quiet=True, state=tmp_path / "state") as running:
        assert KrakenPlain(running).call("Balance", nonce=5000)[0] == []
        running.restart()
        assert KrakenPlain(running).call("Balance", nonce=5000)[0] == INVALID
        assert KrakenPlain(running).call("Balance", nonce=5001)[0] == []
