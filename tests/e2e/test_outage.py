"""A venue is away with requests queued, of mixed times to live; two minutes and 500 of them in `make prove-outbox`."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

import pytest

import jackstay
from intended import FORM, FULL, HOST, ORDER, agent_for, order_of, sized
from jackstay_agent.sandbox import SandboxProcess

OUTAGE_S = 120.0 if FULL else 6.0
COUNT = sized(500, 120)
FLUSH_PER_S = 25
TTLS_S = (5, 30, 60, 90, 300, 600) if FULL else (1, 2, 3, 60, 300, 600)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_outage_expires_what_is_old_and_sends_the_rest_in_order(tmp_path: Path) -> None:
    """What outlived its time is told expired while the venue is away; after its return cancels come first, then the
    rest in order, paced, each once.
    """
    with SandboxProcess(seed=15, state=tmp_path / "venue", quiet=True) as venue:
        agent = agent_for(venue, tmp_path, f"[queue]\nflush_per_s = {FLUSH_PER_S}\n")
        with agent, jackstay.Client("t", runtime_dir=agent.runtime_dir, bot_id="outage") as client:

            def post(name: str, number: int, ttl_s: float) -> str:
                body = urlencode(order_of(name, number)).encode()
                return client.post("POST", f"{HOST}{ORDER}", headers=FORM, body=body, sign=True, ttl_s=ttl_s).id

            first = post("first", 100_000, 30)
            assert client.outcome(first, 10).outcome == "ok"
            venue.admin.save()
            venue.kill()
            gone_at = time.monotonic()
            while agent.status()["upstreams"][HOST]["pool"][
                "live"
            ]:  # what is written to a dead line is unknown, not unsent
                assert time.monotonic() < gone_at + 5
            ttls = {f"o{n}": TTLS_S[n % len(TTLS_S)] for n in range(COUNT)}
            ids = {post(name, n, ttl): name for n, (name, ttl) in enumerate(ttls.items())}
            cancels = []
            for n in range(20):
                query = urlencode({"symbol": "BTCUSDT", "origClientOrderId": f"none{n}"})
                cancels.append(client.post("DELETE", f"{HOST}{ORDER}?{query}", sign=True, ttl_s=600).id)
            expired, when = {}, {}
            while (left_s := gone_at + OUTAGE_S - time.monotonic()) > 0:
                for news in client.outcomes(min(1.0, left_s)):
                    expired[ids[news.id]] = news.cause
                    when[ids[news.id]] = time.monotonic() - gone_at
            brief = {name for name, ttl in ttls.items() if ttl < OUTAGE_S}
            assert expired == dict.fromkeys(brief, "expired")
            assert all(ttls[name] <= at <= ttls[name] + 8 for name, at in when.items())
            venue.start()
            back_at = time.monotonic()
            outcomes: dict[str, str] = {}
            awaited = {*cancels, *(each for each, name in ids.items() if name not in brief)}
            while awaited - outcomes.keys() and time.monotonic() < back_at + 60:
                for news in client.outcomes(0.5):  # the way back has its own backoff
                    outcomes[news.id] = str(news.outcome)
            for news in client.outcomes(2.0):  # and one too many would come now
                outcomes[news.id] = str(news.outcome)
            rows = [row for row in venue.admin.ledger() if row["path"] == ORDER and row["method"] in ("POST", "DELETE")]
            queue = agent.status()["queue"]
    rows = [row for row in rows if row["client_order_id"] != "first"]
    names = [row["client_order_id"] for row in rows if row["method"] == "POST"]
    assert names == [name for name in ttls if name not in brief], "in order, each once"
    assert [row["method"] for row in rows[:20]] == ["DELETE"] * 20
    assert {ids[each] for each, outcome in outcomes.items() if outcome == "ok" and each in ids} == set(names)
    assert set(cancels) <= set(outcomes)
    at = [row["at"] for row in rows[20:]]
    per_s = (len(at) - 1) / (at[-1] - at[0])
    busiest = max(Counter(int(each) for each in at).values())
    assert per_s <= FLUSH_PER_S * 1.02
    assert busiest <= FLUSH_PER_S + 2
    assert queue["open"] == {"recorded": 0, "in_flight": 0, "unknown": 0}
    print(f"\n{len(brief)} expired, {len(names)} sent in order at {per_s:.1f}/s (at most {busiest} in a second), ")
    print(f"20 cancels first; the first {at[0] - rows[0]['at']:.2f} s after them; {back_at - gone_at:.0f} s of outage")
