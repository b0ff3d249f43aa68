"""`post()` through real processes: accepted into the durable queue, sent in order when the venue is there, told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import jackstay
from e2e_bot import HOST, RESOLVING, client_for, order_params, order_request, quick_profiles, routed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Outcome, Refused, ValidationError

FORM = [("Content-Type", "application/x-www-form-urlencoded")]
ORDER = "/api/v3/order"


@pytest.fixture
def resolving(sandbox: SandboxProcess, tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent with a key of its own, which asks with little patience."""
    config = RESOLVING.replace("live = false", "live = false\nlimits = { orders_10s = 0 }")
    with AgentProcess(quick_profiles(tmp_path / "profiles") + routed(sandbox.url, config)) as running:
        yield running


def post(client: jackstay.Client, client_id: str, *, ttl_s: float = 30.0, **options: Any) -> jackstay.Posted:
    """An order that the agent signs."""
    body = urlencode(order_params(client_id) | options.pop("params", {})).encode()
    return client.post("POST", f"{HOST}{ORDER}", headers=FORM, body=body, sign=True, ttl_s=ttl_s, **options)


def kill(venue: SandboxProcess, agent: AgentProcess) -> None:
    """The venue dies, and the agent knows: what leaves on a line that it believes alive is unknown and not queued."""
    venue.kill()
    until = time.monotonic() + 10.0
    while any(each["pool"]["live"] for each in agent.status()["upstreams"].values()):
        assert time.monotonic() < until, "the agent does not notice that its lines ended"
        time.sleep(0.01)


def arrived(sandbox: SandboxProcess, path: str = ORDER, method: str = "POST") -> list[str]:
    return [row["client_order_id"] for row in sandbox.admin.ledger(path=path, method=method)]


def test_what_is_posted_is_accepted_sent_and_told(sandbox: SandboxProcess, resolving: AgentProcess) -> None:
    """Twenty posts: twenty acceptances, twenty orders at the venue in their order, twenty outcomes, once each."""
    names = [f"post-{n}" for n in range(20)]
    with client_for(resolving) as client:
        posted = [post(client, name) for name in names]
        told = [client.outcome(each, 10) for each in posted]
        assert [each.outcome for each in told] == [Outcome.OK] * 20
        assert [each.json()["clientOrderId"] for each in told] == names
        assert list(client.outcomes(0.3)) == []
    assert arrived(sandbox) == names
    assert resolving.status()["queue"]["uncollected"] == {}


def test_a_bots_own_signature_travels_with_its_headers(sandbox: SandboxProcess, resolving: AgentProcess) -> None:
    """A post that the bot signed leaves as it is: the venue takes the signature."""
    method, url, headers, body = order_request("own-signature")
    with client_for(resolving) as client:
        done = client.outcome(client.post(method, url, headers=headers, body=body, ttl_s=5), 10)
    assert (done.outcome, done.status) == (Outcome.OK, 200)


def test_a_rejected_post_says_why(sandbox: SandboxProcess, resolving: AgentProcess) -> None:
    """The venue's own no is the outcome, with its words."""
    with client_for(resolving) as client:
        done = client.outcome(post(client, "too-much", params={"quantity": "50"}), 10)
    assert done.outcome is Outcome.REJECTED
    assert done.json()["code"] == -2010


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), 86_401, "5"])
def test_a_time_to_live_that_is_none_is_the_callers_mistake(agent: AgentProcess, ttl_s: Any) -> None:
    """Zero, negative, not a number, beyond the wire's bound: refused before anything is sent."""
    with client_for(agent) as client, pytest.raises(ValidationError, match="ttl_s"):
        post(client, "ttl", ttl_s=ttl_s)


def test_a_time_to_live_beyond_the_agents_limit_is_refused(sandbox: SandboxProcess, resolving: AgentProcess) -> None:
    """The configured limit of the queue, with the words what to do."""
    with client_for(resolving) as client, pytest.raises(ValidationError, match="at most 3600"):
        post(client, "ttl", ttl_s=4_000)
    assert arrived(sandbox) == []


def test_the_same_key_again_is_the_same_request(sandbox: SandboxProcess, resolving: AgentProcess) -> None:
    """Posted twice under one key: one acceptance, one order; under another body the key is refused."""
    with client_for(resolving) as client:
        first = post(client, "keyed", idempotency_key="k-1")
        assert client.outcome(first, 10).outcome is Outcome.OK
        assert post(client, "keyed", idempotency_key="k-1") == first
        with pytest.raises(Refused, match="another request"):
            post(client, "other", idempotency_key="k-1")
    assert arrived(sandbox) == ["keyed"]


def test_a_later_life_of_the_bot_can_ask_by_key(sandbox: SandboxProcess, resolving: AgentProcess) -> None:
    """A bot that lost its memory posts the same key again and gets the first outcome, not a second order."""
    with client_for(resolving) as client:
        assert client.outcome(post(client, "again", idempotency_key="k-2"), 10).outcome is Outcome.OK
        client.status()  # carries the acknowledgement
    with client_for(resolving) as client:
        done = client.outcome(post(client, "again", idempotency_key="k-2"), 10)
        assert done.outcome is Outcome.OK
        assert done.idempotency_key == "k-2"
    assert arrived(sandbox) == ["again"]


def test_a_reply_that_is_lost_is_asked_for_and_never_sent_again(
    sandbox: SandboxProcess, resolving: AgentProcess
) -> None:
    """Processed and then reset: done. Reset before it was processed: not executed. Each arrived once."""
    with client_for(resolving) as client:
        assert client.outcome(post(client, "warm"), 10).outcome is Outcome.OK
        sandbox.admin.fault("reset_after", route=f"POST {ORDER}", count=1)
        done = client.outcome(post(client, "lost-after"), 10)
        sandbox.admin.fault("reset_before", route=f"POST {ORDER}", count=1)
        absent = client.outcome(post(client, "lost-before"), 15)
    assert (done.outcome, done.json()["clientOrderId"]) == (Outcome.OK, "lost-after")
    assert (absent.outcome, absent.cause) == (Outcome.FAILED, "absent")
    assert sorted(arrived(sandbox)) == ["lost-after", "lost-before", "warm"]


def test_an_outcome_nobody_waited_for_is_there_after_a_restart_of_the_bot(
    sandbox: SandboxProcess, resolving: AgentProcess
) -> None:
    """More outcomes than one page: a new life of the bot hears every one of them, once."""
    with client_for(resolving) as client:
        posted = {post(client, f"left-{n}").id for n in range(230)}
        until = time.monotonic() + 30
        while sum(resolving.status()["queue"]["open"].values()):
            assert time.monotonic() < until
    with client_for(resolving) as client:
        told = [each.id for each in client.outcomes(2.0)]
        client.status()
    assert sorted(told) == sorted(posted)
    assert resolving.status()["queue"]["uncollected"] == {}


def test_a_batch_is_queued_as_one_and_ends_item_by_item(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """OKX, three orders in one post, one of them refused: three outcomes, each its own."""
    config = f'[upstreams]\n"www.okx.com" = "{sandbox.url}"\n' + RESOLVING.replace("binance", "okx")
    items = ",".join(
        f'{{"instId":"BTC-USDT","tdMode":"cash","side":"buy","ordType":"limit","px":"{21000 + n}","sz":"{size}",'
        f'"clOrdId":"batch{n}"}}'
        for n, size in enumerate(("0.001", "9999", "0.002"))
    )
    with AgentProcess(config) as agent, client_for(agent) as client:
        posted = client.post(
            "POST",
            "https://www.okx.com/api/v5/trade/batch-orders",
            headers=[("Content-Type", "application/json")],
            body=f"[{items}]".encode(),
            sign=True,
            ttl_s=10,
        )
        told = list(client.outcomes(1.5))
    assert posted.id in {each.id for each in told}
    assert sorted(each.outcome for each in told) == ["ok", "ok", "rejected"]
    rows = sandbox.admin.ledger(path="/api/v5/trade/batch-orders", method="POST")
    assert [row["client_order_id"] for row in rows] == ["batch0", "batch1", "batch2"]


# ---------------------------------------------------------------- while the venue is away


def test_held_while_the_venue_is_away_then_cancels_first_and_the_rest_in_order(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """An outage, mixed times to live: the old ones expire, then cancels leave, then the rest in order and paced."""
    with SandboxProcess(seed=3, state=tmp_path / "venue") as venue:
        config = routed(venue.url, RESOLVING + "[queue]\nflush_per_s = 25\n")
        with AgentProcess(config) as agent, client_for(agent) as client:
            assert client.outcome(post(client, "open"), 10).outcome is Outcome.OK
            venue.admin.save()
            kill(venue, agent)
            brief = [post(client, f"brief-{n}", ttl_s=0.6) for n in range(5)]
            rest = [post(client, f"rest-{n}", ttl_s=60) for n in range(10)]
            query = urlencode({"symbol": "BTCUSDT", "origClientOrderId": "open"})
            cancel = client.post("DELETE", f"{HOST}{ORDER}?{query}", sign=True, ttl_s=60)
            late = [client.outcome(each, 10) for each in brief]
            assert [(each.outcome, each.cause) for each in late] == [(Outcome.FAILED, "expired")] * 5
            assert agent.status()["queue"]["open"]["recorded"] == 11
            venue.start()
            done = [client.outcome(each, 20) for each in rest]
            assert client.outcome(cancel, 5).outcome is Outcome.OK
            assert [each.outcome for each in done] == [Outcome.OK] * 10
            rows = [row for row in venue.admin.ledger() if row["path"] == ORDER and row["method"] in ("POST", "DELETE")]
            assert agent.events("queue.held")
            assert agent.events("queue.flushed")
    rows = rows[-11:]
    assert rows[0]["method"] == "DELETE"
    assert [row["client_order_id"] for row in rows[1:]] == [f"rest-{n}" for n in range(10)]
    gaps = [after["at"] - before["at"] for before, after in zip(rows[1:], rows[2:], strict=False)]
    assert sum(gaps) >= 0.8 * 9 / 25, gaps


def test_after_a_kill_of_the_agent_the_queue_goes_on(tmp_path: Path) -> None:
    """Signed by the agent: signed anew and sent. Signed by the bot: expired, its signature ended with the process."""
    with SandboxProcess(seed=4, state=tmp_path / "venue") as venue:
        agent = AgentProcess(routed(venue.url, RESOLVING))
        with agent, client_for(agent) as client:
            assert client.outcome(post(client, "open"), 10).outcome is Outcome.OK
            kill(venue, agent)
            anew = post(client, "anew", ttl_s=60)
            method, url, headers, body = order_request("presigned")
            gone = client.post(method, url, headers=headers, body=body, ttl_s=60)
            agent.kill()
            venue.start()
            agent.start()
            first, second = client.outcome(anew, 15), client.outcome(gone, 15)
            names = arrived(venue)
    assert (first.outcome, first.json()["clientOrderId"]) == (Outcome.OK, "anew")
    assert (second.outcome, second.cause) == (
        Outcome.FAILED,
        "its signature was made by the bot and ended with the process that held it",
    )
    assert names == ["open", "anew"]


def test_an_operator_holds_releases_and_drops(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """`jackstay queue`: held ones stay although the venue is there, released ones leave, dropped ones never do."""
    with SandboxProcess(seed=5, state=tmp_path / "venue") as venue:
        with AgentProcess(routed(venue.url, RESOLVING)) as agent, client_for(agent) as client:

            def queue(*words: str) -> str:
                done = cli("queue", *words, "--agent", agent.name, runtime_dir=agent.runtime_dir)
                assert done.returncode == 0, done.stderr
                return done.stdout

            assert client.outcome(post(client, "open"), 10).outcome is Outcome.OK
            venue.admin.save()
            kill(venue, agent)
            held, dropped, free = (post(client, name, ttl_s=60) for name in ("held", "dropped", "free"))
            queue("hold", held.id)
            queue("drop", dropped.id, "--why", "not wanted any more")
            venue.start()
            assert client.outcome(dropped, 5).cause == "dropped"
            queue("release", held.id)
            assert client.outcome(held, 15).outcome is Outcome.OK
            assert client.outcome(free, 15).outcome is Outcome.OK
            assert arrived(venue)[-2:] == ["held", "free"]


def test_a_full_queue_refuses_at_once_and_cancels_still_pass(tmp_path: Path) -> None:
    """At its bound: a typed refusal with a word when to come back; the de-risking places are others."""
    with SandboxProcess(seed=6) as venue:
        url = venue.url
        venue.kill()
        config = routed(url, RESOLVING + "[queue]\nqueue_max = 3\n")
        with AgentProcess(config) as agent, client_for(agent) as client:
            for n in range(3):
                post(client, f"full-{n}")
            with pytest.raises(Refused, match="holds its 3") as caught:
                post(client, "one-more")
            assert (caught.value.reason, caught.value.retry_after_s) == ("queue_full", 1.0)
            query = urlencode({"symbol": "BTCUSDT", "origClientOrderId": "any"})
            client.post("DELETE", f"{HOST}{ORDER}?{query}", sign=True, ttl_s=60)
            assert agent.status()["queue"]["open"]["recorded"] == 4


def test_without_a_key_the_agent_signs_nothing(agent: AgentProcess) -> None:
    """`sign=True` where no key is configured: refused by name, nothing queued."""
    with client_for(agent) as client, pytest.raises(Refused, match="holds no key"):
        post(client, "nosign")
