"""Replies are lost, before and after the venue acted: no order twice, none lost, each outcome the venue's own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlencode

import jackstay
from intended import FORM, HOST, ORDER, Told, agent_for, by_name, order_of, place_all, sized
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess

LOST_BEFORE = ("reset_before", "stall")
LOST_AFTER = ("reset_after", "drop_reply")


def test_lost_replies_double_nothing_and_lose_nothing(tmp_path: Path) -> None:
    """A tenth of the orders is lost before it is processed, a tenth of the replies after: the ledger has each intended
    order once, what was lost before is told absent, all others with their true outcome.
    """
    count = sized(5_000, 160)
    names = [f"lost-{n}" for n in range(count)]
    told = Told()

    async def bot(runtime_dir: Path) -> None:
        async with jackstay.AsyncClient("t", runtime_dir=runtime_dir, bot_id="lost") as client:
            await place_all(client, names, told, deadline_s=4.0, at_once=64)
            for intent, name in told.late.items():
                news = await client.outcome(intent, 60)
                told.outcomes[name] = f"{news.outcome}: {news.cause}" if news.outcome != "ok" else "ok"

    with SandboxProcess(seed=11, quiet=True) as venue, agent_for(venue, tmp_path) as agent:
        for kind in (*LOST_BEFORE, *LOST_AFTER):
            venue.admin.fault(kind, route=f"POST {ORDER}", probability=0.05)
        asyncio.run(bot(agent.runtime_dir))
        venue.admin.clear()
        rows = by_name(venue.admin.ledger(path=ORDER, method="POST"))
        checks = venue.admin.checks()
        status = agent.status()["queue"]

    assert set(rows) == set(names)
    assert {name: len(each) for name, each in rows.items() if len(each) != 1} == {}
    assert (checks["sent_twice"], checks["executed_twice"]) == ([], [])
    before = {name for name, (row,) in rows.items() if row["fault"] in LOST_BEFORE}
    after = {name for name, (row,) in rows.items() if row["fault"] in LOST_AFTER}
    executed = {name for name, (row,) in rows.items() if row["executed"]}
    refused = set(names) - before - executed  # by the venue itself, as when its clock found a request too old
    absent = {name for name, outcome in told.outcomes.items() if outcome == "failed: absent"}
    assert {name for name, outcome in told.outcomes.items() if outcome == "ok"} == executed
    assert before <= absent <= before | refused
    assert {name for name, outcome in told.outcomes.items() if outcome == "rejected"} == refused - absent
    assert len(before) > count / 40
    assert len(after) > count / 40
    assert status["open"] == {"recorded": 0, "in_flight": 0, "unknown": 0}
    print(f"\n{count} orders: {len(before)} lost before, {len(after)} replies lost, {len(refused)} refused, none twice")
    print(f"told late: {len(told.late)}; refused unsent and tried again: {dict(told.refused)}")


def test_the_venues_stream_tells_of_an_order_whose_reply_is_lost(tmp_path: Path) -> None:
    """Nobody can ask (no question is answered), but the account's stream shows the order: that is its outcome."""
    extra = '"ws-api.binance.com:443" = "{url}"\n"ws-api.binance.com" = "{url}"\n'
    with SandboxProcess(seed=16, quiet=True) as venue:
        agent = agent_for(venue, tmp_path)
        config = agent.config_path.read_text()
        agent.config_path.write_text(config.replace("[upstreams]\n", "[upstreams]\n" + extra.format(url=venue.url)))
        with agent, jackstay.Client("t", runtime_dir=agent.runtime_dir, bot_id="lost") as client:
            until = time.monotonic() + 10
            while agent.status()["user_streams"].get("binance", {}).get("state") != "live":
                assert time.monotonic() < until, agent.status()["user_streams"]
            venue.admin.fault("stall", route=f"GET {ORDER}")
            venue.admin.fault("stall", route="GET /api/v3/openOrders")
            venue.admin.fault("reset_after", route=f"POST {ORDER}", count=1)
            body = urlencode(order_of("streamed", 0)).encode()
            answer = client.request("POST", f"{HOST}{ORDER}", headers=FORM, body=body, sign=True, deadline_s=4)
            (found,) = ask(agent.runtime_dir / "t" / "control.sock", "why", {"id": "streamed"})["intents"]
    assert answer.header("x-jackstay-outcome") == "resolved"
    # in the words of an answer, not of the stream: a bot that knows only those must find its order's id
    told = answer.json()
    assert (told["clientOrderId"], str(told["orderId"])) == ("streamed", found["ending"]["venue_order_id"])
    assert (found["state"], found["ending"]["source"]) == ("done", "stream")
